//! Validates `[[token_api]]` and `[[upstream]]`: what routes name.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::settings::WAIT;
use crate::config::fault::{Findings, nearest, quoted};
use crate::config::net::Endpoint;
use crate::config::pattern::{PathPattern, Segment};
use crate::config::routing::{AccountsStyle, Algorithm, RegistrationMode, Style, TokenApi, Upstream};
use crate::config::section::{Placed, Section};

/// Objects that others name. The names include those of objects with a fault: whoever names one is right to.
pub(super) struct Named<T> {
    pub(super) objects: Vec<T>,
    pub(super) names: Vec<Placed<Arc<str>>>,
}

impl<T> Named<T> {
    fn new() -> Self {
        Self { objects: Vec::new(), names: Vec::new() }
    }

    /// Reads `name` of a section, which must be new.
    fn read_name(&mut self, section: &mut Section<'_>, findings: &Findings<'_>) -> Option<Arc<str>> {
        let name = section.need_parsed("name", "a name of 1 to 64 letters, digits, \"-\", \"_\" or \".\"", name)?;
        let at = section.place("name")?;
        if let Some(other) = self.names.iter().find(|other| other.value == name) {
            let line = findings.line(other.at);
            findings.fault(Some(at), format!("\"name\" {name:?} is taken on line {line}"));
        }
        self.names.push(Placed { at, value: Arc::clone(&name) });
        Some(name)
    }

    /// Reports a name that nothing has.
    pub(super) fn check(&self, what: &str, name: &Placed<Arc<str>>, findings: &Findings<'_>) {
        let known = || self.names.iter().map(|known| &*known.value);
        if known().any(|known| *known == *name.value) {
            return;
        }
        let hint = match nearest(&name.value, known()) {
            Some(meant) => format!("; did you mean {meant:?}?"),
            None if self.names.is_empty() => format!("; there is no [[{what}]]"),
            None => format!("; there are {}", known().collect::<Vec<_>>().join(", ")),
        };
        findings.fault(Some(name.at), format!("no [[{what}]] has the name {}{hint}", quoted(&name.value)));
    }
}

pub(super) fn token_apis(sections: Vec<Section<'_>>, findings: &Findings<'_>) -> Named<TokenApi> {
    let mut named = Named::new();
    let mut mounts: Vec<Placed<String>> = Vec::new();
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    for mut section in sections {
        let name = named.read_name(&mut section, findings);
        let style = match section.need_parsed("style", "\"allowlist-jwt\" or \"accounts\"", style) {
            Some(Some(Style::Accounts(default))) => Some(Some(Style::Accounts(accounts(&mut section, default)))),
            other => other,
        };
        let pattern = section.need_parsed("mount", "a path as in \"/{organization}/{username}/api/v1\"", mount);
        let algorithm = section.take_choice("algorithm", Algorithm::default(), &algorithms);
        if matches!(style, Some(None)) {
            section.fault(
                "style",
                "this \"style\" is not available in this version; use \"allowlist-jwt\" or \"accounts\"",
            );
            section.forgive_rest();
        }
        if let (Some(Some(Style::Accounts(_))), Some(pattern)) = (&style, &pattern)
            && pattern.segments().iter().any(|segment| !matches!(segment, Segment::Literal(_)))
        {
            section.fault("mount", "\"mount\" of \"accounts\" has no parameters: who registers is nobody yet");
        }
        if let (Some(pattern), Some(at)) = (&pattern, section.place("mount")) {
            let shape = pattern.shape();
            if let Some(other) = mounts.iter().find(|other| other.value == shape) {
                let line = findings.line(other.at);
                findings.fault(Some(at), format!("\"mount\" {pattern} is taken by the [[token_api]] on line {line}"));
            }
            mounts.push(Placed { at, value: shape });
        }
        if let (Some(name), Some(Some(style)), Some(mount)) = (name, style, pattern) {
            named.objects.push(TokenApi { name, style, mount, algorithm });
        }
    }
    named
}

/// Reads what only the style `accounts` has.
fn accounts(section: &mut Section<'_>, default: AccountsStyle) -> AccountsStyle {
    let registrations = [("open", RegistrationMode::Open), ("closed", RegistrationMode::Closed)];
    AccountsStyle {
        prefix: section.take_parsed("prefix", default.prefix, "1 to 16 letters, digits, \"-\" or \"_\"", prefix),
        session: section.take_duration("session", default.session, SESSION),
        registration: section.take_choice("registration", default.registration, &registrations),
    }
}

/// How long a login may last.
const SESSION: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);

/// Reads what opaque tokens begin with.
fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=16).contains(&text.len()) && text.bytes().all(fits) { Ok(text.to_owned()) } else { Err(String::new()) }
}

pub(super) fn upstreams(sections: Vec<Section<'_>>, findings: &Findings<'_>) -> Named<Upstream> {
    let mut named = Named::new();
    for mut section in sections {
        let name = named.read_name(&mut section, findings);
        let endpoints =
            section.need_list("endpoints", "a server as in \"http://127.0.0.1:3000\"", str::parse::<Endpoint>);
        report_twice("endpoints", &endpoints, findings);
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.value).collect();
        let default = Upstream::new("", Vec::new());
        let upstream = Upstream {
            preserve_host: section.take_bool("preserve_host", default.preserve_host),
            idle_connections: section.take_integer("idle_connections", default.idle_connections, 0..=10_000),
            idle_timeout: section.take_duration("idle_timeout", default.idle_timeout, WAIT),
            name: name.unwrap_or(default.name),
            endpoints,
        };
        named.objects.push(upstream);
    }
    named
}

/// Reports items that stand in a list more than once.
pub(super) fn report_twice<T: PartialEq + ToString>(key: &str, list: &[Placed<T>], findings: &Findings<'_>) {
    for (index, item) in list.iter().enumerate() {
        if list.iter().take(index).any(|earlier| earlier.value == item.value) {
            let shown = quoted(&item.value.to_string());
            findings.fault(Some(item.at), format!("{key:?} lists {shown} twice"));
        }
    }
}

/// Reads a name that logs, metrics and headers can carry as it is.
fn name(text: &str) -> Result<Arc<str>, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) { Ok(text.into()) } else { Err(String::new()) }
}

/// Reads a style. `None`: one that is planned. Saying so helps more than calling it and its keys unknown.
fn style(text: &str) -> Result<Option<Style>, String> {
    match text {
        "allowlist-jwt" => Ok(Some(Style::AllowlistJwt)),
        "accounts" => Ok(Some(Style::Accounts(AccountsStyle::default()))),
        "tenant-tokens" | "agent-tokens" => Ok(None),
        _ => Err(String::new()),
    }
}

fn mount(text: &str) -> Result<PathPattern, String> {
    if text.ends_with('/') {
        return Err("it must not end with \"/\"".to_owned());
    }
    let pattern: PathPattern = text.parse()?;
    for segment in pattern.segments() {
        match segment {
            Segment::Literal(_) => {}
            Segment::Parameter(name) if name == "organization" || name == "username" => {}
            Segment::Parameter(name) => {
                return Err(format!("{{{name}}} is none of its parameters, {{organization}} and {{username}}"));
            }
            Segment::Rest(name) => {
                return Err(format!("{{*{name}}} cannot stand in it: its calls come after it"));
            }
        }
    }
    Ok(pattern)
}
