//! `redis://user:password@host:port/database`, as an operator writes it.

use percent_encoding::percent_decode_str;

use super::net::{number, split_port, split_user_info};
use crate::settings::Secret;

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    /// A host name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub(super) host: String,
    /// `None`: the default port, which depends on whether it is a server or a sentinel.
    pub(super) port: Option<u16>,
    pub(super) database: Option<u32>,
}

impl RedisUrl {
    /// # Errors
    /// The reason, for the operator, which repeats nothing of the URL.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            _ => return Err("the schemes are redis and rediss".to_owned()),
        };
        let (user_info, rest) = split_user_info(rest);
        if rest.contains(['?', '#']) {
            return Err("it takes no query and no fragment".to_owned());
        }
        let (authority, database) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), None),
            Some((authority, digits)) => {
                let database = number(digits).filter(|database| *database <= 65_535);
                let fault = "what follows the \"/\" must be the number of a database";
                (authority, Some(database.ok_or(fault)?))
            }
        };
        let (host, port) = split_port(authority)?;
        let (username, password) = user_info.map_or(Ok((None, None)), decode_user_info)?;
        Ok(Self { tls, username, password, host, port, database })
    }
}

fn decode_user_info(text: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let decode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8();
        let decoded = decoded.map_err(|_| "its user or password is not UTF-8".to_owned())?;
        Ok::<_, String>(Some(decoded.into_owned()).filter(|text| !text.is_empty()))
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decode(user)?, decode(password)?.map(Secret::new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        RedisUrl::read(text).map(|url| {
            let port = url.port.map_or("none".to_owned(), |port| port.to_string());
            let (user, password) = (url.username.unwrap_or_default(), url.password);
            let password =
                password.map(|password| password.expose().to_owned()).unwrap_or_default();
            format!("{} {user} {password} {} {port} {:?}", url.tls, url.host, url.database)
        })
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, parts) in [
            ("redis://Host", "false   host none None"),
            ("rediss://host:1/", "true   host 1 None"),
            ("redis://[::1]:1/3", "false   ::1 1 Some(3)"),
            ("redis://me:p%40ss@h", "false me p@ss h none None"),
            ("redis://:p@ss/word@h/0", "false  p@ss/word h none Some(0)"),
            ("redis://me@h", "false me  h none None"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(parts), "{text}");
        }
    }

    #[test]
    fn bad_urls_say_why_and_repeat_nothing() {
        for (text, why) in [
            ("hunter2", "no scheme"),
            ("http://hunter2", "schemes"),
            ("redis://u:hunter2@", "host"),
            ("redis://u:hunter2@h:0", "port"),
            ("redis://u:hunter2@h/x", "database"),
            ("redis://u:hunter2@h/-1", "database"),
            ("redis://u:hunter2@h/99999", "database"),
            ("redis://u:hunter2@h?a=b", "query"),
            ("redis://u:%ff@h", "UTF-8"),
        ] {
            let reason = read(text).unwrap_err();
            assert!(reason.contains(why) && !reason.contains("hunter2"), "{text}: {reason}");
        }
    }
}
