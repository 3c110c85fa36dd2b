//! Reads where keys are: `https://host[:port]/path[?query]`, or `http://`.

use std::str::FromStr;

use super::net::split_port;
use crate::upstream::document::DocumentAddress;

impl FromStr for DocumentAddress {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it must begin with \"https://\"")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the only schemes are https and http".to_owned()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it must not hold a user or a password".to_owned());
        }
        if target.contains('#') {
            return Err("it has no fragment: \"#\" and what follows it".to_owned());
        }
        // RFC 3986: what else could end the request line early, or is to be percent-encoded.
        if let Some(wrong) =
            target.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\'))
        {
            return Err(format!("{wrong:?} must be percent-encoded"));
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if is_https { 443 } else { 80 });
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { is_https, host, port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_keys_are_read() {
        for (text, is_https, host, port, target) in [
            (
                "https://id.example.com/realms/a/certs",
                true,
                "id.example.com",
                443,
                "/realms/a/certs",
            ),
            ("HTTPS://ID.example.com:8443/k?v=1", true, "id.example.com", 8443, "/k?v=1"),
            ("https://id.example.com", true, "id.example.com", 443, "/"),
            ("https://id.example.com?v=1", true, "id.example.com", 443, "/?v=1"),
            ("http://[::1]:8080/k", false, "::1", 8080, "/k"),
            ("http://localhost/k", false, "localhost", 80, "/k"),
        ] {
            let expected =
                DocumentAddress { is_https, host: host.into(), port, target: target.into() };
            assert_eq!(text.parse::<DocumentAddress>(), Ok(expected), "{text}");
        }
        for (text, is_loopback) in [
            ("http://127.9.9.9/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://LOCALHOST/", true),
            ("http://localhost.example.com/", false),
            ("http://169.254.169.254/", false),
            ("http://10.0.0.1/", false),
            ("http://id/", false),
        ] {
            assert_eq!(
                text.parse::<DocumentAddress>().unwrap().is_loopback(),
                is_loopback,
                "{text}"
            );
        }
    }

    #[test]
    fn broken_addresses_of_keys_say_why() {
        for (text, why) in [
            ("", "begin with"),
            ("id.example.com/k", "begin with"),
            ("ftp://id/k", "the only schemes"),
            ("file:///etc/passwd", "the only schemes"),
            ("https://me:pw@id/k", "user or a password"),
            ("https://id/k#a", "no fragment"),
            ("https://id/k a", "percent-encoded"),
            ("https://id/k\r\nX: y", "percent-encoded"),
            ("https://id/ä", "percent-encoded"),
            ("https:///k", "host is empty"),
            ("https://id:0/k", "1 to 65535"),
            ("https://id:x/k", "1 to 65535"),
            ("https://::1/k", "brackets"),
        ] {
            let reason = text.parse::<DocumentAddress>().unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }
}
