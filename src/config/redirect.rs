//! The address of a redirect as it is typed.

use std::fmt;
use std::str::FromStr;

use super::net::check_host_name;
use super::pattern::PathPattern;
use crate::gateway::RedirectServer;

/// An address, absolute or a path, of which parts come from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedirectAddress {
    text: String,
    /// `None`: the one that was asked.
    pub(super) server: Option<RedirectServer>,
    /// `None`: the path of the request, `{path}`.
    pub(super) path: Option<PathPattern>,
    /// Without its question mark.
    pub(super) query: Option<String>,
}

/// The whole path of the request.
const PATH: &str = "{path}";

impl FromStr for RedirectAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            return Err("it has no fragment: browsers keep that of the request".to_owned());
        }
        let (address, query) = match text.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (text, None),
        };
        if let Some(query) = query
            && (query.is_empty() || !query.bytes().all(is_query_byte))
        {
            return Err("its query must be visible ASCII characters, without parameters".to_owned());
        }
        let (server, path) = match address.split_once("://") {
            Some((scheme, rest)) => {
                let end = rest.find(PATH).into_iter().chain(rest.find('/')).min();
                let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
                (Some(server(scheme, authority)?), if path.is_empty() { "/" } else { path })
            }
            None if address.starts_with("//") => {
                return Err("say \"https:\" before \"//\"".to_owned());
            }
            None => (None, address),
        };
        let path = if path == PATH { None } else { Some(path.parse::<PathPattern>()?) };
        if server.is_none() && path.is_none() {
            return Err("it would lead to itself".to_owned());
        }
        Ok(Self { text: text.to_owned(), server, path, query: query.map(ToOwned::to_owned) })
    }
}

fn server(scheme: &str, authority: &str) -> Result<RedirectServer, String> {
    let scheme = match scheme {
        "http" => "http",
        "https" => "https",
        _ => return Err("it begins with \"https://\", \"http://\" or \"/\"".to_owned()),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0);
            (host, Some(port.ok_or("its port is none")?))
        }
        _ => (authority, None),
    };
    if host == "{host}" {
        return Ok(RedirectServer { scheme, host: None, port });
    }
    if host.contains(['{', '}']) {
        return Err(
            "of the request, only {host} can be the host: otherwise clients could be led anywhere"
                .to_owned(),
        );
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => {}
        _ => check_host_name(host)?,
    }
    Ok(RedirectServer { scheme, host: Some(host.to_ascii_lowercase()), port })
}

const fn is_query_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'{' | b'}')
}

impl fmt::Display for RedirectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_absolute_or_a_path_and_its_host_comes_from_no_parameter() {
        for text in [
            "https://www.example.com/{rest}",
            "https://www.example.com",
            "https://www.example.com:8443/a?b=c",
            "https://{host}{path}",
            "https://{host}:8443/x/{rest}",
            "http://[::1]:80/{rest}",
            "http://192.0.2.1/",
            "/v2/{rest}",
            "/",
        ] {
            let address: Result<RedirectAddress, _> = text.parse();
            assert!(address.is_ok(), "{text}: {address:?}");
        }
        for (text, why) in [
            ("", "must begin"),
            ("v2", "must begin"),
            ("//www.example.com/x", "https:"),
            ("ftp://a/x", "begins with"),
            ("javascript:alert(1)", "must begin"),
            ("https://{rest}/x", "only {host}"),
            ("https://{host}.example.com/x", "only {host}"),
            ("https://{tenant}.example.com/x", "only {host}"),
            ("https://user@www.example.com/x", ""),
            ("https://www.example.com:0/x", "port"),
            ("https://www.example.com:x/x", "port"),
            ("https:///x", ""),
            ("https://www.example.com/x#y", "fragment"),
            ("/x?", "query"),
            ("/x?a={rest}", "query"),
            ("/x{path}", "whole segment"),
            ("{path}", "itself"),
        ] {
            let address: Result<RedirectAddress, _> = text.parse();
            let reason = address.expect_err(text);
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }
}
