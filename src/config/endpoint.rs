//! Reads where a server of an upstream listens.

use super::net::{socket_path, split_port};
use crate::upstream::connect::server_name;
use crate::upstream::{Endpoint, EndpointAddress};

/// Reads `http://host:port`, `https://host:port` and `unix:/path`. Without a port it is 80, or 443
/// with TLS. A Unix socket may also be written `unix:///path` or `http://unix:/path`.
///
/// # Errors
///
/// The reason, for the operator. What it advises to write can be read.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = without_prefix(text, "unix:") {
        return socket(path.strip_prefix("//").unwrap_or(path));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        let meant =
            if text.starts_with('/') { format!("unix:{text}") } else { format!("http://{text}") };
        let example =
            if endpoint(&meant).is_ok() { meant.as_str() } else { "http://127.0.0.1:3000" };
        return Err(format!(
            "it must begin with \"http://\", \"https://\" or \"unix:\", as in \"{example}\""
        ));
    };
    let (is_tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return Err("the schemes are http, https and unix".to_owned()),
    };
    if let Some(path) = without_prefix(authority, "unix:").filter(|path| path.starts_with('/')) {
        let (path, is_alone) = path.split_once(':').map_or((path, true), |(path, _)| (path, false));
        let endpoint = socket(path)?;
        return match (is_tls, is_alone) {
            (true, _) => Err(format!("TLS is not spoken on Unix sockets: write \"unix:{path}\"")),
            (false, true) => Ok(endpoint),
            (false, false) => Err(format!(
                "nothing can stand behind the path of a Unix socket: write \"unix:{path}\""
            )),
        };
    }
    if authority.contains('@') {
        return Err("it must not hold a user or a password".to_owned());
    }
    let (authority, path) =
        authority.find(['/', '?', '#']).map_or((authority, ""), |at| authority.split_at(at));
    let (host, port) = split_port(authority)?;
    let address = EndpointAddress::Tcp { host, port: port.unwrap_or(default_port) };
    let endpoint = Endpoint { address, is_tls, resolved: None };
    if is_tls && server_name(&endpoint).is_none() {
        return Err("no certificate can be for this host".to_owned());
    }
    if !path.is_empty() {
        return Err(format!("it has no path or query: write \"{scheme}://{authority}\""));
    }
    Ok(endpoint)
}

/// A socket at an absolute path.
fn socket(path: &str) -> Result<Endpoint, String> {
    let path = socket_path(path)?;
    Ok(Endpoint { address: EndpointAddress::Unix(path), is_tls: false, resolved: None })
}

/// What follows a prefix, whose case does not matter.
fn without_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn an_endpoint_is_read_with_its_default_port() {
        for (text, shown, is_tls) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000", false),
            ("http://App.svc.:3000", "app.svc.:3000", false),
            ("http://my_app", "my_app:80", false),
            ("HTTP://[::1]:3000", "[::1]:3000", false),
            ("http://[::1]", "[::1]:80", false),
            ("http://unix:3000", "unix:3000", false),
            ("https://app.example.com", "app.example.com:443", true),
            ("https://app.example.com.", "app.example.com.:443", true),
            ("HTTPS://my_app:8443", "my_app:8443", true),
            ("https://[::1]", "[::1]:443", true),
            ("https://10.0.0.1", "10.0.0.1:443", true),
            ("unix:/run/app.sock", "unix:/run/app.sock", false),
            ("unix:///run/app.sock", "unix:/run/app.sock", false),
            ("http://unix:/run/app.sock", "unix:/run/app.sock", false),
        ] {
            let endpoint = endpoint(text).unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.is_tls), (shown, is_tls), "{text}");
        }
        let EndpointAddress::Tcp { host, port } = endpoint("http://[::1]:1").unwrap().address
        else {
            panic!()
        };
        assert_eq!((host.as_str(), port), ("::1", 1));
        let EndpointAddress::Unix(path) = endpoint("unix:/run/app.sock").unwrap().address else {
            panic!()
        };
        assert_eq!(path, PathBuf::from("/run/app.sock"));
    }

    #[test]
    fn a_wrong_endpoint_says_why_and_what_it_advises_can_be_read() {
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, why) in [
            ("127.0.0.1:3000", "as in \"http://127.0.0.1:3000\""),
            ("/run/app.sock", "as in \"unix:/run/app.sock\""),
            ("app:3000/v1", "as in \"http://127.0.0.1:3000\""),
            ("", "as in \"http://127.0.0.1:3000\""),
            ("ftp://app", "schemes are http, https and unix"),
            ("http://app/", "write \"http://app\""),
            ("https://app:1/v1", "write \"https://app:1\""),
            ("http://app?x", "write \"http://app\""),
            ("http:///v1", "host is empty"),
            ("http://a b/v1", "cannot stand"),
            ("http://me:pw@app", "user or a password"),
            ("http://", "host is empty"),
            ("http://.", "host is empty"),
            ("http://app:0", "1 to 65535"),
            ("http://app:65536", "1 to 65535"),
            ("http://app:", "1 to 65535"),
            ("http://app:+1", "1 to 65535"),
            ("http://::1:3000", "brackets"),
            ("http://[::1", "no \"]\""),
            ("http://[app]:1", "IPv6"),
            ("http://[::1]1", "comes \":\""),
            ("http://a b", "cannot stand"),
            ("http://a..b", "1 to 63"),
            ("http://-a", "begins or ends"),
            ("http://10.0.0.300", "looks like an IPv4"),
            ("http://unix:", "1 to 65535"),
            ("unix:", "as in \"unix:/run/app.sock\""),
            ("unix:app.sock", "as in \"unix:/run/app.sock\""),
            ("unix://run/app.sock", "as in \"unix:/run/app.sock\""),
            ("unix:/run/", "does not end with"),
            ("unix:/run/a\u{7}", "control character"),
            ("http://unix:/run/app.sock:/v1", "write \"unix:/run/app.sock\""),
            ("https://unix:/run/app.sock", "write \"unix:/run/app.sock\""),
            (long.as_str(), "at most 107 bytes"),
        ] {
            let reason = endpoint(text).unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
            for advice in ["write \"", "as in \""] {
                let advised = reason.split_once(advice).and_then(|(_, rest)| rest.split_once('"'));
                // The faults of a host give an example of a host, not of an endpoint.
                if let Some((advised, _)) = advised.filter(|(advised, _)| *advised != "[::1]") {
                    assert!(endpoint(advised).is_ok(), "{text} advises {advised}");
                }
            }
        }
    }
}
