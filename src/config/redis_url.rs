//! `redis://user:password@host:port/database`, as an operator writes it.

use percent_encoding::percent_decode_str;

use super::net::split_port;
use crate::settings::Secret;

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    /// A host name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub(super) host: String,
    /// None: that of a server or of a sentinel, whichever it is.
    pub(super) port: Option<u16>,
    pub(super) database: Option<u32>,
}

impl RedisUrl {
    /// Reads it.
    ///
    /// # Errors
    /// The reason, in words for the one who typed it, which repeat nothing of it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            _ => return Err("the schemes are redis and rediss".to_owned()),
        };
        let (user_info, rest) = match rest.rsplit_once('@') {
            Some((user_info, rest)) => (Some(user_info), rest),
            None => (None, rest),
        };
        if rest.contains(['?', '#']) {
            return Err("it takes no query and no fragment".to_owned());
        }
        let (authority, database) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), None),
            Some((authority, number)) => {
                let number =
                    Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
                let number = number
                    .and_then(|number| number.parse().ok())
                    .filter(|number| *number <= 65_535);
                (
                    authority,
                    Some(number.ok_or("what follows the \"/\" must be the number of a database")?),
                )
            }
        };
        let (host, port) = split_port(authority)?;
        let port = port.map(|digits| {
            digits
                .parse()
                .ok()
                .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or("the port must be 1 to 65535")
        });
        let port = port.transpose()?;
        let (username, password) = user_info.map_or(Ok((None, None)), split_user_info)?;
        Ok(Self { tls, username, password, host, port, database })
    }
}

fn split_user_info(text: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let decode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8().map(|text| text.into_owned());
        decoded.map_err(|_| "its user or password is not UTF-8".to_owned())
    };
    let (user, password) =
        text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let user = Some(decode(user)?).filter(|user| !user.is_empty());
    let password = password.map(decode).transpose()?.filter(|password| !password.is_empty());
    Ok((user, password.map(Secret::new)))
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
