//! Validates `[[issuer]]`.

use std::path::Path;
use std::time::Duration;

use super::routing::{Named, report_twice};
use super::settings::path;
use crate::config::fault::Findings;
use crate::config::file::{Entry, Node, Value};
use crate::config::issuer::{Fetching, Issuer, IssuerKeys, KeysUrl, METADATA, Proxy};
use crate::config::proxy::ProxyUrl;
use crate::config::section::{Placed, Section};
use crate::config::settings::Keys;
use crate::config::tls_files::{Expected, check_authorities, read_secret};
use crate::domain::{ClaimNames, ClaimPath, ClaimRule, ClaimValue, OutsideAlgorithm, TENANT};
use crate::files::FileKind;

/// What has a claim in it that names itself.
const CLAIM: &str =
    "the name of a claim, with dots for claims in claims, as in \"realm_access.roles\"";
/// What stands in `proxy`.
const PROXY: &str = "a proxy as in \"http://proxy.example.com:3128\", or \"environment\"";
/// Each is looked for at every token that is not remembered, and may have keys of its own to fetch.
const MOST_TENANTS: usize = 1000;
const SOURCES: [&str; 3] = ["jwks_url", "jwks_file", "secret_file"];
const SET: Expected = Expected { kind: FileKind::Trusted, most: 1024 * 1024 };
const SECRET: Expected = Expected { kind: FileKind::Secret, most: 64 * 1024 };

pub(super) fn read_all(
    sections: Vec<Section<'_>>,
    own: &Keys,
    findings: &Findings<'_>,
) -> Named<Issuer> {
    let mut named = Named::new();
    let mut taken: Vec<Placed<String>> = Vec::new();
    for mut section in sections {
        let name = named.read_name(&mut section, findings);
        let issuer = section.need_parsed(
            "issuer",
            "the \"iss\" claim of its tokens, as in \"https://id.example.com\"",
            |text| {
                let visible = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
                if (1..=2048).contains(&text.len()) && visible {
                    Ok(text.to_owned())
                } else {
                    Err(String::new())
                }
            },
        );
        let tenants = tenants(&mut section, issuer.as_deref(), findings);
        if let (Some(issuer), Some(at)) = (&issuer, section.place("issuer")) {
            for value in expanded(issuer, &tenants) {
                if value == own.issuer {
                    section.fault(
                        "issuer",
                        format!("\"issuer\" {value:?} is our own: see \"issuer\" in [keys]"),
                    );
                }
                if let Some(other) = taken.iter().find(|other| other.value == value) {
                    let line = findings.line(other.at);
                    section.fault(
                        "issuer",
                        format!(
                            "\"issuer\" {value:?} is taken on line {line}: only one could be asked"
                        ),
                    );
                }
                taken.push(Placed { at, value });
            }
        }
        let keys = keys(&mut section, issuer.as_deref(), &tenants, findings);
        let audience = section.maybe_list("audience", "a value of the \"aud\" claim", text);
        let algorithms = algorithms(&mut section, findings);
        let required_claims = required_claims(&mut section, findings);
        let audience = checked_audience(&mut section, audience, findings);
        let claims = claims(section.table("claims"), !tenants.is_empty());
        let second = Duration::from_secs;
        let day = second(24 * 3600);
        let leeway = section.take_duration("leeway", second(30), Duration::ZERO..=second(600));
        let refresh = section.take_duration("refresh", second(300), second(10)..=day);
        let stale_if_error =
            section.take_duration("stale_if_error", day, Duration::ZERO..=day * 30);
        if let (Some(name), Some(issuer), Some(keys)) = (name, issuer, keys) {
            named.objects.push(Issuer {
                name,
                issuer,
                tenants,
                keys,
                audience,
                algorithms,
                required_claims,
                claims,
                leeway,
                refresh,
                stale_if_error,
            });
        }
    }
    named
}

/// The tenants of a template: there if `issuer` is one, and only then.
fn tenants(
    section: &mut Section<'_>,
    issuer: Option<&str>,
    findings: &Findings<'_>,
) -> Vec<String> {
    let list = section.maybe_list(
        "tenants",
        "a tenant: 1 to 128 letters, digits, \"-\", \"_\" or \".\", the first a letter or a digit",
        |text| {
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
            if begins && text.len() <= 128 && text.bytes().all(fits) {
                Ok(text.to_owned())
            } else {
                Err(String::new())
            }
        },
    );
    let list = list.unwrap_or_default();
    report_twice("tenants", &list, findings);
    if list.len() > MOST_TENANTS {
        section.fault(
            "tenants",
            format!("\"tenants\" lists {}, more than {MOST_TENANTS}", list.len()),
        );
    }
    match issuer.map(|issuer| issuer.matches(TENANT).count()) {
        Some(0) if section.is_given("tenants") => {
            section.fault("tenants", "\"tenants\" is of no use: \"issuer\" holds no \"{tenant}\"");
        }
        Some(1) if !section.is_given("tenants") => section.fault(
            "issuer",
            "\"issuer\" holds \"{tenant}\": list those whose tokens are accepted in \"tenants\", \
             as otherwise whoever opens \
             an account there could come in",
        ),
        Some(2..) => section.fault("issuer", "\"issuer\" holds \"{tenant}\" more than once"),
        _ => {}
    }
    list.into_iter().map(|tenant| tenant.value).collect()
}

/// A text for each tenant, or, without tenants, as it stands.
fn expanded(text: &str, tenants: &[String]) -> Vec<String> {
    match tenants {
        [] => vec![text.to_owned()],
        _ => tenants.iter().map(|tenant| text.replace(TENANT, tenant)).collect(),
    }
}

/// `audience`, which may be left out where `required_claims` says what a token is for.
fn checked_audience(
    section: &mut Section<'_>,
    audience: Option<Vec<Placed<String>>>,
    findings: &Findings<'_>,
) -> Vec<String> {
    let Some(audience) = audience else {
        if section.is_given("required_claims") {
            findings.warn(
                section.at(),
                "without \"audience\", every token of this [[issuer]] passes that has \
                 its \"required_claims\", whoever it was \
                 made for: they must name this API or its client, as in { client_id = \"...\", \
                 token_use = \"access\" }"
                    .to_owned(),
            );
        } else {
            section.miss(
                "audience",
                "missing key \"audience\" in [[issuer]]: it must be an array, each item a value of \
                 the \"aud\" claim. For an \
                 issuer whose tokens have none, leave it out and say in \"required_claims\" what \
                 they have instead, as in \
                 { client_id = \"...\", token_use = \"access\" }"
                    .to_owned(),
            );
        }
        return Vec::new();
    };
    report_twice("audience", &audience, findings);
    audience.into_iter().map(|audience| audience.value).collect()
}

/// Where its keys are: exactly one of three, or what the metadata of the issuer say.
fn keys(
    section: &mut Section<'_>,
    issuer: Option<&str>,
    tenants: &[String],
    findings: &Findings<'_>,
) -> Option<IssuerKeys> {
    let url = section.maybe_parsed(
        "jwks_url",
        "an address as in \"https://id.example.com/keys\"",
        |text| text.replace(TENANT, "tenant").parse::<KeysUrl>().map(|_| text.to_owned()),
    );
    let file = section.maybe_parsed("jwks_file", "the path of a file with a JWK set", path);
    let secret =
        section.maybe_parsed("secret_file", "the path of a file with a shared secret", path);
    let ca_file = section.maybe_parsed("ca_file", "the path of a PEM file", path);
    let proxy = proxy(section, findings);
    let allow_insecure = section.take_bool("allow_insecure", false);
    let check = |key: &str, checked: Option<Result<(), String>>| {
        if let Some(Err(reason)) = checked {
            section.fault(key, format!("{key:?}: {reason}"));
        }
    };
    let read = |key, path: &Path, expected| read_secret(section, key, path, expected).map(drop);
    check("jwks_file", file.as_deref().map(|path| read("jwks_file", path, SET)));
    check("secret_file", secret.as_deref().map(|path| read("secret_file", path, SECRET)));
    check("ca_file", ca_file.as_deref().map(|path: &Path| check_authorities(path)));
    let given: Vec<_> = SOURCES.into_iter().filter(|key| section.is_given(key)).collect();
    if let [first, second, ..] = given.as_slice() {
        section.fault(
            second,
            format!("{first:?} and {second:?} exclude each other: keys come from one place"),
        );
    }
    let is_fetched = given.is_empty() || section.is_given("jwks_url");
    if !is_fetched {
        for key in ["ca_file", "proxy", "allow_insecure"] {
            if section.is_given(key) {
                section.fault(
                    key,
                    format!("{key:?} says how \"jwks_url\" is fetched, and there is none"),
                );
            }
        }
    }
    if given.is_empty() {
        let urls = metadata(section, issuer?, tenants)?;
        check_scheme(section, "issuer", &urls, ca_file.is_some(), allow_insecure, findings);
        return Some(IssuerKeys::Discovery { urls, fetching: Fetching { ca_file, proxy } });
    }
    if let Some(url) = url {
        if url.contains(TENANT) && tenants.is_empty() {
            section
                .fault("jwks_url", "\"jwks_url\" holds \"{tenant}\", and there are no \"tenants\"");
        }
        let texts = if url.contains(TENANT) { expanded(&url, tenants) } else { vec![url] };
        let urls: Vec<KeysUrl> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        check_scheme(section, "jwks_url", &urls, ca_file.is_some(), allow_insecure, findings);
        return Some(IssuerKeys::Url { urls, fetching: Fetching { ca_file, proxy } });
    }
    match (file, secret) {
        (Some(file), _) => Some(IssuerKeys::File(file)),
        (None, secret) => secret.map(IssuerKeys::Secret),
    }
}

/// Where the metadata of an issuer are that says nothing of its keys.
fn metadata(section: &mut Section<'_>, issuer: &str, tenants: &[String]) -> Option<Vec<KeysUrl>> {
    let mut urls = Vec::new();
    for issuer in expanded(issuer, tenants) {
        let below = issuer.strip_suffix('/').unwrap_or(&issuer);
        match format!("{below}{METADATA}").parse::<KeysUrl>() {
            Ok(url) if !url.target.contains('?') => urls.push(url),
            wrong => {
                let reason = wrong.err().unwrap_or_else(|| "it has a query".to_owned());
                section.miss(
                    "jwks_url",
                    format!(
                        "this [[issuer]] has no keys: give it \"jwks_url\", \"jwks_file\" \
                         or \"secret_file\". Without them its \
                         {METADATA} would be asked, and {issuer:?} is no address for that: {reason}"
                    ),
                );
                return None;
            }
        }
    }
    Some(urls)
}

/// Keys, and what says where they are, come over TLS, or else over nothing that anybody listens to.
fn check_scheme(
    section: &Section<'_>,
    key: &str,
    urls: &[KeysUrl],
    has_authorities: bool,
    allow_insecure: bool,
    findings: &Findings<'_>,
) {
    let Some(first) = urls.first() else { return };
    if let Some(url) = urls.iter().find(|url| !url.is_https && !url.is_loopback()) {
        if allow_insecure {
            findings.warn(
                section.place(key),
                format!(
                    "{key:?} is fetched in clear from {}: whoever is on the way decides who \
                         may pass",
                    url.host
                ),
            );
        } else {
            section.fault(
                key,
                format!(
                    "{key:?} is not https: whoever is on the way could put keys of their own in; \
                     if nobody is, say \
                     \"allow_insecure = true\""
                ),
            );
        }
    }
    if !first.is_https && has_authorities {
        section.fault("ca_file", format!("\"ca_file\" is of no use: {key:?} is not https"));
    }
}

/// Through what its keys are fetched.
fn proxy(section: &mut Section<'_>, findings: &Findings<'_>) -> Proxy {
    let texts = section.maybe_texts("proxy", PROXY).unwrap_or_default();
    let [typed] = texts.as_slice() else {
        if texts.len() > 1 || (section.is_given("proxy") && section.is_silent("proxy")) {
            section.fault("proxy", format!("\"proxy\" must be {PROXY}, found an array"));
        }
        return Proxy::Direct;
    };
    if typed.value == "environment" {
        return Proxy::Environment;
    }
    match ProxyUrl::read(&typed.value) {
        Ok(url) => {
            if url.has_password && !typed.is_expanded {
                findings.fault(
                    Some(typed.at),
                    "\"proxy\" holds a password in clear: put it into the environment, as in \
                     \"http://user:${PASSWORD}@proxy.example.com:3128\""
                        .to_owned(),
                );
            }
            Proxy::Address(url.proxy)
        }
        // What was typed may hold a password: it is not repeated.
        Err(reason) => {
            findings.fault(Some(typed.at), format!("\"proxy\" must be {PROXY}: {reason}"));
            Proxy::Direct
        }
    }
}

fn algorithms(section: &mut Section<'_>, findings: &Findings<'_>) -> Vec<OutsideAlgorithm> {
    let is_secret = section.is_given("secret_file");
    let list = section.maybe_list("algorithms", "a signature algorithm as in \"RS256\"", |text| {
        OutsideAlgorithm::named(text).ok_or_else(|| {
            let known: Vec<_> = OutsideAlgorithm::PUBLIC
                .iter()
                .chain(&OutsideAlgorithm::SECRET)
                .map(|one| one.name())
                .collect();
            format!("there are {}", known.join(", "))
        })
    });
    let Some(list) = list else {
        return if is_secret {
            vec![OutsideAlgorithm::Hs256]
        } else {
            OutsideAlgorithm::PUBLIC.to_vec()
        };
    };
    report_twice("algorithms", &list, findings);
    for algorithm in &list {
        // A public key taken for a secret lets anybody sign (CVE-2016-10555): the two never mix.
        if is_secret != OutsideAlgorithm::SECRET.contains(&algorithm.value) {
            let why =
                if is_secret { "is not for a shared secret" } else { "needs \"secret_file\"" };
            findings.fault(
                Some(algorithm.at),
                format!("\"algorithms\" lists {:?}, which {why}", algorithm.value.name()),
            );
        }
    }
    list.into_iter().map(|algorithm| algorithm.value).collect()
}

/// `by_template`: each tenant signs with keys of its own and is what its `iss` says, so no claim
/// says it by default.
fn claims(mut section: Section<'_>, by_template: bool) -> ClaimNames {
    let mut default = ClaimNames::default();
    if by_template {
        (default.organization, default.tenants, default.active_tenant) = (None, None, None);
    }
    let subject = section.take_parsed("subject", default.subject, CLAIM, str::parse::<ClaimPath>);
    let mut take =
        |key, default| {
            section.take_parsed(key, default, &format!("{CLAIM}, or \"\" for none"), |text| {
                match text {
                    "" => Ok(None),
                    _ => text.parse().map(Some),
                }
            })
        };
    let names = ClaimNames {
        subject,
        username: take("username", default.username),
        email: take("email", default.email),
        role: take("role", default.role),
        organization: take("organization", default.organization),
        tenants: take("tenants", default.tenants),
        active_tenant: take("active_tenant", default.active_tenant),
    };
    for (key, name) in [("tenants", &names.tenants), ("active_tenant", &names.active_tenant)] {
        if by_template && name.is_some() {
            section.fault(
                key,
                format!(
                    "{key:?} is of no use: of an issuer by template the tenant is that of \
                         its \"iss\""
                ),
            );
        }
    }
    names
}

fn required_claims(section: &mut Section<'_>, findings: &Findings<'_>) -> Vec<ClaimRule> {
    claim_rules("required_claims", section, findings)
}

/// Reads a table of claims and what they must be.
pub(super) fn claim_rules(
    key: &'static str,
    section: &mut Section<'_>,
    findings: &Findings<'_>,
) -> Vec<ClaimRule> {
    let entries = section.take_entries(key, "a table of claims, as in { typ = \"Bearer\" }");
    let mut rules = Vec::new();
    for entry in entries {
        read_rules(key, None, entry, &mut rules, findings);
    }
    rules
}

/// Reads `claim = value`, `claim = [value, …]` and `claim = { inner = … }`, the last to any depth.
fn read_rules(
    key: &str,
    outer: Option<&ClaimPath>,
    entry: Entry,
    rules: &mut Vec<ClaimRule>,
    findings: &Findings<'_>,
) {
    let inner: ClaimPath = match entry.key.parse() {
        Ok(path) => path,
        Err(reason) => {
            findings
                .fault(Some(entry.at), format!("each key of {key:?} must be {CLAIM}: {reason}"));
            return;
        }
    };
    let path = match outer {
        Some(outer) => outer.clone().join(inner),
        None => inner,
    };
    let one_of: Vec<ClaimValue> = match entry.node.value {
        Value::Table(table) if !table.entries.is_empty() => {
            for entry in table.entries {
                read_rules(key, Some(&path), entry, rules, findings);
            }
            return;
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().filter_map(|item| claim_value(key, &path, item, findings)).collect()
        }
        _ => claim_value(key, &path, &entry.node, findings).into_iter().collect(),
    };
    rules.push(ClaimRule { path, one_of });
}

fn claim_value(
    key: &str,
    path: &ClaimPath,
    node: &Node,
    findings: &Findings<'_>,
) -> Option<ClaimValue> {
    match &node.value {
        Value::Text { value, .. } if !value.chars().any(char::is_control) => {
            Some(ClaimValue::Text(value.clone()))
        }
        Value::Integer { value: Some(value), .. } => Some(ClaimValue::Integer(*value)),
        Value::Boolean(value) => Some(ClaimValue::Boolean(*value)),
        Value::Broken => None,
        other => {
            let found = other.describe();
            findings.fault(
                Some(node.at),
                format!(
                    "{key:?}: \"{path}\" must be a string, an integer, a boolean or an array of \
                     those, found {found}"
                ),
            );
            None
        }
    }
}

fn text(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("it holds a control character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}
