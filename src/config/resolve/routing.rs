//! Validates `[[token_api]]` and `[[upstream]]`: what routes name.

use std::sync::Arc;

use super::settings::WAIT;
use crate::config::fault::{Findings, nearest, quoted};
use crate::config::issuer::Issuer;
use crate::config::net::Endpoint;
use crate::config::pattern::{PathPattern, Segment};
use crate::config::routing::{Algorithm, Style, TokenApi, Upstream};
use crate::config::section::{Placed, Section};

/// Objects that others name. The names include those of objects with a fault: whoever names one is right to.
pub(super) struct Named<T> {
    pub(super) objects: Vec<T>,
    pub(super) names: Vec<Placed<Arc<str>>>,
}

/// What a name must be.
const NAME: &str = "a name of 1 to 64 letters, digits, \"-\", \"_\" or \".\"";

impl<T> Named<T> {
    pub(super) fn new() -> Self {
        Self { objects: Vec::new(), names: Vec::new() }
    }

    /// Reads `name` of a section, which must be new.
    pub(super) fn read_name(&mut self, section: &mut Section<'_>, findings: &Findings<'_>) -> Option<Arc<str>> {
        self.read_name_beside(&[], section, findings)
    }

    /// The same, where others may not have the name either.
    fn read_name_beside(
        &mut self,
        others: &[Placed<Arc<str>>],
        section: &mut Section<'_>,
        findings: &Findings<'_>,
    ) -> Option<Arc<str>> {
        let name = section.need_parsed("name", NAME, name)?;
        let at = section.place("name")?;
        if let Some(other) = self.names.iter().chain(others).find(|other| other.value == name) {
            let line = findings.line(other.at);
            findings.fault(Some(at), format!("\"name\" {name:?} is taken on line {line}"));
        }
        self.names.push(Placed { at, value: Arc::clone(&name) });
        Some(name)
    }

    /// Reports a name that nothing has.
    pub(super) fn check(&self, what: &str, name: &Placed<Arc<str>>, findings: &Findings<'_>) {
        check_name(&self.names, what, name, findings);
    }
}

/// Reports a name that none of those has; `what` would have it.
pub(super) fn check_name<'n>(
    names: impl IntoIterator<Item = &'n Placed<Arc<str>>> + Clone,
    what: &str,
    name: &Placed<Arc<str>>,
    findings: &Findings<'_>,
) {
    let known = || names.clone().into_iter().map(|known| &*known.value);
    if known().any(|known| *known == *name.value) {
        return;
    }
    let hint = match nearest(&name.value, known()) {
        Some(meant) => format!("; did you mean {meant:?}?"),
        None if known().next().is_none() => format!("; there is no [[{what}]]"),
        None => format!("; there are {}", known().collect::<Vec<_>>().join(", ")),
    };
    findings.fault(Some(name.at), format!("no [[{what}]] has the name {}{hint}", quoted(&name.value)));
}

/// Token APIs and issuers share their names: `accept` of a route holds both.
pub(super) fn token_apis(
    sections: Vec<Section<'_>>,
    issuers: &Named<Issuer>,
    findings: &Findings<'_>,
) -> Named<TokenApi> {
    let mut named = Named::new();
    let mut mounts: Vec<Placed<String>> = Vec::new();
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    for mut section in sections {
        let name = named.read_name_beside(&issuers.names, &mut section, findings);
        let style = section.need_parsed("style", "\"allowlist-jwt\"", style);
        let pattern = section.need_parsed("mount", "a path as in \"/{organization}/{username}/api/v1\"", mount);
        let algorithm = section.take_choice("algorithm", Algorithm::default(), &algorithms);
        if style == Some(None) {
            section.fault("style", "this \"style\" is not available in this version; use \"allowlist-jwt\"");
            section.forgive_rest();
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
        "tenant-tokens" | "agent-tokens" | "accounts" => Ok(None),
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
