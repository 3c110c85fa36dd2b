//! Validates `[[token_api]]` and `[[upstream]]`: what routes name.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::settings::{WAIT, path};
use crate::config::endpoint::endpoint;
use crate::config::fault::{Findings, nearest, quoted};
use crate::config::issuer::Issuer;
use crate::config::pattern::{PathPattern, Segment};
use crate::config::routing::{
    AccountsStyle, Algorithm, RegistrationMode, Style, TokenApi, Upstream, UpstreamTls,
};
use crate::config::section::{Placed, Section};
use crate::config::tls_files::{check_authorities, check_identity};
use crate::tls::{CertificateFiles, Trust};
use crate::upstream::{Endpoint, Protocol};

/// What `style` must be.
const STYLES: &str = "\"allowlist-jwt\", \"tenant-tokens\", \"agent-tokens\" or \"accounts\"";
/// What `prefix` must be.
const PREFIX: &str = "1 to 32 letters, digits, \"-\", \"_\" or \".\", as in \"sk-\"";
/// How every JWT begins: `{"` in base64url.
const JWT_BEGINS: &str = "ey";

/// Objects that others name. The names include those of objects with a fault: whoever names one is
/// right to.
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
    pub(super) fn read_name(
        &mut self,
        section: &mut Section<'_>,
        findings: &Findings<'_>,
    ) -> Option<Arc<str>> {
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
    findings
        .fault(Some(name.at), format!("no [[{what}]] has the name {}{hint}", quoted(&name.value)));
}

/// Token APIs and issuers share their names: `accept` of a route holds both.
pub(super) fn token_apis(
    sections: Vec<Section<'_>>,
    issuers: &Named<Issuer>,
    findings: &Findings<'_>,
) -> Named<TokenApi> {
    let mut named = Named::new();
    let mut mounts: Vec<Placed<String>> = Vec::new();
    let mut prefixes: Vec<Placed<String>> = Vec::new();
    let mut has_accounts = false;
    // Agent tokens without an issuer: those need a login of our own.
    let mut callerless: Vec<usize> = Vec::new();
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    for mut section in sections {
        let name = named.read_name_beside(&issuers.names, &mut section, findings);
        let style = match section.need_parsed("style", STYLES, style) {
            Some(Style::Accounts(default)) => {
                Some(Style::Accounts(accounts(&mut section, default)))
            }
            other => other,
        };
        let pattern = section.need_parsed(
            "mount",
            "a path as in \"/{organization}/{username}/api/v1\"",
            mount,
        );
        let algorithm = section.take_choice("algorithm", Algorithm::default(), &algorithms);
        let prefix = section.maybe_parsed("prefix", PREFIX, prefix);
        let callers = section
            .maybe_one_or_list("issuer", "the name of an [[issuer]]", |text| Ok(text.into()));
        let callers = callers.unwrap_or_default();
        report_twice("issuer", &callers, findings);
        for caller in &callers {
            issuers.check("issuer", caller, findings);
        }
        if let Some(style) = &style {
            has_accounts |= matches!(style, Style::Accounts(_));
            if *style == Style::AgentTokens && !section.is_given("issuer") {
                callerless.extend(section.at());
            }
            check_style(style, &mut section);
            let default = style.default_prefix();
            if let Some(prefix) =
                prefix.as_deref().or_else(|| Some(default).filter(|default| !default.is_empty()))
                && let Some(at) = section.place("prefix").or_else(|| section.at())
            {
                let placed = Placed { at, value: prefix.to_owned() };
                check_prefix(&placed, &prefixes, findings);
                prefixes.push(placed);
            }
        }
        if let (Some(Style::Accounts(_)), Some(pattern)) = (&style, &pattern)
            && pattern.segments().iter().any(|segment| !matches!(segment, Segment::Literal(_)))
        {
            section.fault(
                "mount",
                "\"mount\" of \"accounts\" has no parameters: who registers is nobody yet",
            );
        }
        if let (Some(pattern), Some(at)) = (&pattern, section.place("mount")) {
            let shape = pattern.shape();
            if let Some(other) = mounts.iter().find(|other| other.value == shape) {
                let line = findings.line(other.at);
                findings.fault(
                    Some(at),
                    format!("\"mount\" {pattern} is taken by the [[token_api]] on line {line}"),
                );
            }
            mounts.push(Placed { at, value: shape });
        }
        if let (Some(name), Some(style), Some(mount)) = (name, style, pattern) {
            let prefix = prefix.unwrap_or_else(|| style.default_prefix().to_owned());
            let issuers = callers.into_iter().map(|caller| caller.value).collect();
            named.objects.push(TokenApi { name, style, mount, algorithm, prefix, issuers });
        }
    }
    if !has_accounts {
        for at in callerless {
            findings.fault(Some(at), NOBODY.to_owned());
        }
    }
    named
}

/// Reads what only the style `accounts` has.
fn accounts(section: &mut Section<'_>, default: AccountsStyle) -> AccountsStyle {
    let registrations = [("open", RegistrationMode::Open), ("closed", RegistrationMode::Closed)];
    AccountsStyle {
        session: section.take_duration("session", default.session, SESSION),
        registration: section.take_choice("registration", default.registration, &registrations),
    }
}

/// How long a login may last.
const SESSION: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);
const NOBODY: &str =
    "this [[token_api]] has nobody to make tokens for: name an [[issuer]] in \"issuer\"";

/// Reports the keys that a style has no use for, and those that it needs.
fn check_style(style: &Style, section: &mut Section<'_>) {
    let name = style.as_str();
    match style {
        Style::AllowlistJwt => {
            for key in ["prefix", "issuer"] {
                if section.is_given(key) {
                    section.fault(
                        key,
                        format!(
                            "{key:?} is of no use here: the tokens of {name:?} are \
                                             signed by keyward"
                        ),
                    );
                }
            }
        }
        Style::TenantTokens | Style::AgentTokens => {
            if section.is_given("algorithm") {
                section.fault(
                    "algorithm",
                    format!(
                        "\"algorithm\" is of no use here: the tokens of {name:?} are not signed"
                    ),
                );
            }
            if *style == Style::TenantTokens && !section.is_given("issuer") {
                section.miss("issuer", NOBODY.to_owned());
            }
        }
        Style::Accounts(_) => {
            if section.is_given("issuer") {
                section.fault(
                    "issuer",
                    "\"issuer\" is of no use here: people log in with their accounts",
                );
            }
        }
    }
}

/// Reports a prefix by which a token could not be told from those of another token API.
fn check_prefix(prefix: &Placed<String>, others: &[Placed<String>], findings: &Findings<'_>) {
    let is_alike = |other: &&Placed<String>| {
        prefix.value.starts_with(&*other.value) || other.value.starts_with(&*prefix.value)
    };
    let Some(other) = others.iter().find(is_alike) else { return };
    let line = findings.line(other.at);
    let message = if other.value == prefix.value {
        format!("\"prefix\" {:?} is that of the [[token_api]] on line {line}", prefix.value)
    } else {
        format!(
            "\"prefix\" {:?} cannot be told from {:?} of the [[token_api]] on line {line}: one \
             begins with the other",
            prefix.value, other.value
        )
    };
    findings.fault(Some(prefix.at), message);
}

pub(super) fn upstreams(sections: Vec<Section<'_>>, findings: &Findings<'_>) -> Named<Upstream> {
    let mut named = Named::new();
    for mut section in sections {
        let name = named.read_name(&mut section, findings);
        let endpoints =
            section.need_list("endpoints", "a server as in \"http://127.0.0.1:3000\"", endpoint);
        report_twice("endpoints", &endpoints, findings);
        let protocols =
            [("http1", Protocol::Http1), ("http2", Protocol::Http2), ("auto", Protocol::Auto)];
        let protocol = section.take_choice("protocol", Protocol::default(), &protocols);
        let tls = upstream_tls(&mut section, &endpoints);
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.value).collect();
        let default = Upstream::new("", Vec::new());
        let upstream = Upstream {
            preserve_host: section.take_bool("preserve_host", default.preserve_host),
            idle_connections: section.take_integer(
                "idle_connections",
                default.idle_connections,
                0..=10_000,
            ),
            idle_timeout: section.take_duration("idle_timeout", default.idle_timeout, WAIT),
            name: name.unwrap_or(default.name),
            endpoints,
            protocol,
            tls,
        };
        named.objects.push(upstream);
    }
    named
}

/// Reads `tls` of an upstream. That a key fits its certificate is checked when the files are
/// loaded.
fn upstream_tls(section: &mut Section<'_>, endpoints: &[Placed<Endpoint>]) -> UpstreamTls {
    const FILE: &str = "the path of a PEM file";
    let mut tls = section.table("tls");
    let ca_file = tls.maybe_parsed("ca_file", FILE, path);
    let server_name = tls.maybe_parsed("server_name", "a host name or an IP address", |text| {
        ServerName::try_from(text.to_owned()).map_err(|_| String::new())
    });
    let certificate = tls.maybe_parsed("certificate", FILE, path);
    let key = tls.maybe_parsed("key", FILE, path);
    if let Some(Err(reason)) = ca_file.as_deref().map(check_authorities) {
        tls.fault("ca_file", format!("\"ca_file\": {reason}"));
    }
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if tls.is_given(one) && !tls.is_given(other) {
            tls.miss(
                other,
                format!(
                    "missing key {other:?} in tls of [[upstream]]: {one:?} is of no use without it"
                ),
            );
        }
    }
    if section.is_given("tls") && !endpoints.iter().any(|endpoint| endpoint.value.is_tls) {
        section.fault("tls", "\"tls\" is of no use: no endpoint begins with \"https://\"");
    }
    let identity =
        certificate.zip(key).map(|(certificate, key)| CertificateFiles { certificate, key });
    if let Some(files) = &identity {
        check_identity(&tls, ["certificate", "key"], files);
    }
    UpstreamTls { trust: ca_file.map_or(Trust::System, Trust::File), server_name, identity }
}

/// Reports items that stand in a list more than once.
pub(super) fn report_twice<T: PartialEq + ToString>(
    key: &str,
    list: &[Placed<T>],
    findings: &Findings<'_>,
) {
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
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.into())
    } else {
        Err(String::new())
    }
}

/// Reads what opaque tokens begin with. It goes into headers and shells as it is.
fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=32).contains(&text.len()) || !text.bytes().all(fits) {
        return Err(String::new());
    }
    if text.starts_with(JWT_BEGINS) || JWT_BEGINS.starts_with(text) {
        return Err(format!("every JWT begins with {JWT_BEGINS:?}"));
    }
    Ok(text.to_owned())
}

fn style(text: &str) -> Result<Style, String> {
    match text {
        "allowlist-jwt" => Ok(Style::AllowlistJwt),
        "tenant-tokens" => Ok(Style::TenantTokens),
        "agent-tokens" => Ok(Style::AgentTokens),
        "accounts" => Ok(Style::Accounts(AccountsStyle::default())),
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
                return Err(format!(
                    "{{{name}}} is none of its parameters, {{organization}} and {{username}}"
                ));
            }
            Segment::Rest(name) => {
                return Err(format!("{{*{name}}} cannot stand in it: its calls come after it"));
            }
        }
    }
    Ok(pattern)
}
