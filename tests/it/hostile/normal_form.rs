//! The one form in which keyward forwards a request.

use super::world::PERSON;
use super::{HostileWorld, Want};
use crate::support::Request;

impl HostileWorld {
    /// The one form in which keyward forwards: RELIABILITY's checklist, seen from the upstream.
    pub(crate) fn normal(&self, request: &Request) -> Result<(), String> {
        let fields = &request.fields;
        let path = request.target.split('?').next().unwrap_or_default();
        let hidden = ["%2f", "%5c", "%00", "%2e", "//", "/../", "/./", "..;", "#", "\\"];
        if !path.starts_with('/')
            || hidden.iter().any(|bad| path.to_ascii_lowercase().contains(bad))
        {
            return Err(format!("the path {path:?} is not in normal form"));
        }
        if !request.trailers.0.is_empty() {
            return Err(format!("trailers reached the upstream: {:?}", request.trailers));
        }
        let host = fields
            .one("host")
            .filter(|host| !host.is_empty())
            .ok_or("not exactly one Host, or an empty one")?;
        let websocket =
            fields.one("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let hop_by_hop = [
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "trailer",
            "http2-settings",
            "te",
            "connection",
        ];
        let every_value_is = |name: &str, expected: &str| {
            fields.all(name).iter().all(|value| value.eq_ignore_ascii_case(expected))
        };
        for name in hop_by_hop {
            let fine = match name {
                "te" => fields.all("te").len() == 1 && every_value_is("te", "trailers"),
                // RFC 9110, 10.1.4: a sender of TE lists it.
                "connection" => websocket || fields.has("te") && every_value_is(name, "te"),
                _ => false,
            };
            if fields.has(name) && !fine {
                return Err(format!(
                    "{name} is hop-by-hop and reached the upstream: {:?}",
                    fields.all(name)
                ));
            }
        }
        if fields.has("upgrade") && !websocket {
            return Err(format!("Upgrade reached the upstream: {:?}", fields.all("upgrade")));
        }
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", host.as_str()),
        ] {
            if fields.all(name) != [value] {
                return Err(format!("{name} is {:?}, not once {value:?}", fields.all(name)));
            }
        }
        for name in ["forwarded", "x-request-id", "via"] {
            fields.one(name).ok_or(format!("not exactly one {name}: {:?}", fields.all(name)))?;
        }
        for (name, value) in &fields.0 {
            let folded: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
                .collect();
            let ours = folded.starts_with("x-keyward-")
                || [
                    "x-forwarded-for",
                    "x-forwarded-proto",
                    "x-forwarded-host",
                    "forwarded",
                    "x-request-id",
                ]
                .contains(&folded.as_str());
            if ours && !name.eq_ignore_ascii_case(&folded) {
                return Err(format!("the alias {name} reached the upstream"));
            }
            if ours
                && (fields.all(name).len() != 1 || String::from_utf8_lossy(value).contains("evil"))
            {
                return Err(format!("{name} is not ours alone: {:?}", fields.all(name)));
            }
        }
        let identity = [
            ("x-keyward-subject", PERSON.subject),
            ("x-keyward-username", PERSON.username),
            ("x-keyward-organization", PERSON.organization),
            ("x-keyward-role", PERSON.role),
            ("x-keyward-token-id", self.issued.jti.as_str()),
            ("x-keyward-credential", "jarvispy"),
        ];
        let private = path.starts_with("/private/");
        for (name, value) in identity {
            let right = if private { fields.all(name) == [value] } else { !fields.has(name) };
            if !right {
                return Err(format!("{name} is {:?} on {path}", fields.all(name)));
            }
        }
        if fields.has("x-keyward-email") || (private && fields.has("authorization")) {
            return Err("an e-mail address or the credential reached the upstream".into());
        }
        Ok(())
    }
}

impl Want {
    pub(crate) fn check(&self, request: &Request) -> Result<(), String> {
        let right = match self {
            Self::Target(target) => request.target == *target,
            Self::Method(method) => request.method == *method,
            Self::Host(host) => request.fields.all("host") == [*host],
            Self::Body(body) => request.body == *body,
            Self::Field(name, value) => request.fields.all(name) == [*value],
            Self::Without(name) => !request.fields.has(name),
        };
        if right {
            Ok(())
        } else {
            Err(format!("the upstream received {request:?}, against {self:?}"))
        }
    }
}

impl std::fmt::Debug for Want {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target(target) => write!(f, "target {target}"),
            Self::Method(method) => write!(f, "method {method}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Body(body) => write!(f, "body {:?}", String::from_utf8_lossy(body)),
            Self::Field(name, value) => write!(f, "{name}: {value}"),
            Self::Without(name) => write!(f, "no {name}"),
        }
    }
}
