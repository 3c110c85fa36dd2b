//! Validates `[[issuer]]`.

use std::path::Path;
use std::time::Duration;

use super::routing::{Named, report_twice};
use super::settings::path;
use crate::config::fault::Findings;
use crate::config::file::{Entry, Node, Value};
use crate::config::issuer::{Issuer, IssuerKeys, KeysUrl};
use crate::config::section::{Placed, Section};
use crate::config::settings::Keys;
use crate::config::tls_files::{Expected, check_authorities, read_secret};
use crate::domain::{ClaimNames, ClaimPath, ClaimRule, ClaimValue, OutsideAlgorithm};
use crate::files::FileKind;

/// What has a claim in it that names itself.
const CLAIM: &str = "the name of a claim, with dots for claims in claims, as in \"realm_access.roles\"";
const SOURCES: [&str; 3] = ["jwks_url", "jwks_file", "secret_file"];
const SET: Expected = Expected { kind: FileKind::Trusted, most: 1024 * 1024 };
const SECRET: Expected = Expected { kind: FileKind::Secret, most: 64 * 1024 };

pub(super) fn read_all(sections: Vec<Section<'_>>, own: &Keys, findings: &Findings<'_>) -> Named<Issuer> {
    let mut named = Named::new();
    let mut taken: Vec<Placed<String>> = Vec::new();
    for mut section in sections {
        let name = named.read_name(&mut section, findings);
        let issuer = section.need_parsed(
            "issuer",
            "the \"iss\" claim of its tokens, as in \"https://id.example.com\"",
            |text| {
                let visible = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
                if (1..=2048).contains(&text.len()) && visible { Ok(text.to_owned()) } else { Err(String::new()) }
            },
        );
        if let (Some(issuer), Some(at)) = (&issuer, section.place("issuer")) {
            if *issuer == own.issuer {
                section.fault("issuer", format!("\"issuer\" {issuer:?} is our own: see \"issuer\" in [keys]"));
            }
            if let Some(other) = taken.iter().find(|other| other.value == *issuer) {
                let line = findings.line(other.at);
                section
                    .fault("issuer", format!("\"issuer\" {issuer:?} is taken on line {line}: only one could be asked"));
            }
            taken.push(Placed { at, value: issuer.clone() });
        }
        let keys = keys(&mut section, findings);
        let audience = section.need_list("audience", "a value of the \"aud\" claim", text);
        report_twice("audience", &audience, findings);
        let algorithms = algorithms(&mut section, findings);
        let required_claims = required_claims(&mut section, findings);
        let claims = claims(section.table("claims"));
        let second = Duration::from_secs;
        let day = second(24 * 3600);
        let leeway = section.take_duration("leeway", Duration::ZERO, Duration::ZERO..=second(600));
        let refresh = section.take_duration("refresh", second(300), second(10)..=day);
        let stale_if_error = section.take_duration("stale_if_error", day, Duration::ZERO..=day * 30);
        if let (Some(name), Some(issuer), Some(keys)) = (name, issuer, keys) {
            named.objects.push(Issuer {
                name,
                issuer,
                keys,
                audience: audience.into_iter().map(|audience| audience.value).collect(),
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

/// Where its keys are: exactly one of three.
fn keys(section: &mut Section<'_>, findings: &Findings<'_>) -> Option<IssuerKeys> {
    let url =
        section.maybe_parsed("jwks_url", "an address as in \"https://id.example.com/keys\"", str::parse::<KeysUrl>);
    let file = section.maybe_parsed("jwks_file", "the path of a file with a JWK set", path);
    let secret = section.maybe_parsed("secret_file", "the path of a file with a shared secret", path);
    let ca_file = section.maybe_parsed("ca_file", "the path of a PEM file", path);
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
    match given.as_slice() {
        [] => section.miss(
            "jwks_url",
            "this [[issuer]] has no keys: give it \"jwks_url\", \"jwks_file\" or \"secret_file\"".to_owned(),
        ),
        [_] => {}
        [first, second, ..] => {
            section.fault(second, format!("{first:?} and {second:?} exclude each other: keys come from one place"));
        }
    }
    if !section.is_given("jwks_url") {
        for key in ["ca_file", "allow_insecure"] {
            if section.is_given(key) && !given.is_empty() {
                section.fault(key, format!("{key:?} says how \"jwks_url\" is fetched, and there is none"));
            }
        }
    }
    if let Some(url) = &url {
        if !url.is_https && !url.is_loopback() && !allow_insecure {
            section.fault(
                "jwks_url",
                "\"jwks_url\" is not https: whoever is on the way could put keys of their own in; if nobody is, say \
                 \"allow_insecure = true\"",
            );
        } else if !url.is_https && !url.is_loopback() {
            findings.warn(
                section.place("jwks_url"),
                format!(
                    "\"jwks_url\" is fetched in clear from {}: whoever is on the way decides who may pass",
                    url.host
                ),
            );
        }
        if !url.is_https && ca_file.is_some() {
            section.fault("ca_file", "\"ca_file\" is of no use: \"jwks_url\" is not https");
        }
    }
    match (url, file, secret) {
        (Some(url), ..) => Some(IssuerKeys::Url { url, ca_file }),
        (_, Some(file), _) => Some(IssuerKeys::File(file)),
        (.., secret) => secret.map(IssuerKeys::Secret),
    }
}

fn algorithms(section: &mut Section<'_>, findings: &Findings<'_>) -> Vec<OutsideAlgorithm> {
    let is_secret = section.is_given("secret_file");
    let list = section.maybe_list("algorithms", "a signature algorithm as in \"RS256\"", |text| {
        OutsideAlgorithm::named(text).ok_or_else(|| {
            let known: Vec<_> =
                OutsideAlgorithm::PUBLIC.iter().chain(&OutsideAlgorithm::SECRET).map(|one| one.name()).collect();
            format!("there are {}", known.join(", "))
        })
    });
    let Some(list) = list else {
        return if is_secret { OutsideAlgorithm::SECRET.to_vec() } else { OutsideAlgorithm::PUBLIC.to_vec() };
    };
    report_twice("algorithms", &list, findings);
    for algorithm in &list {
        // A public key taken for a secret lets anybody sign (CVE-2016-10555): the two never mix.
        if is_secret != OutsideAlgorithm::SECRET.contains(&algorithm.value) {
            let why = if is_secret { "is not for a shared secret" } else { "needs \"secret_file\"" };
            findings
                .fault(Some(algorithm.at), format!("\"algorithms\" lists {:?}, which {why}", algorithm.value.name()));
        }
    }
    list.into_iter().map(|algorithm| algorithm.value).collect()
}

fn claims(mut section: Section<'_>) -> ClaimNames {
    let default = ClaimNames::default();
    let subject = section.take_parsed("subject", default.subject, CLAIM, str::parse::<ClaimPath>);
    let mut take = |key, default| {
        section.take_parsed(key, default, &format!("{CLAIM}, or \"\" for none"), |text| match text {
            "" => Ok(None),
            _ => text.parse().map(Some),
        })
    };
    ClaimNames {
        subject,
        username: take("username", default.username),
        email: take("email", default.email),
        role: take("role", default.role),
        organization: take("organization", default.organization),
        tenants: take("tenants", default.tenants),
        active_tenant: take("active_tenant", default.active_tenant),
    }
}

fn required_claims(section: &mut Section<'_>, findings: &Findings<'_>) -> Vec<ClaimRule> {
    claim_rules("required_claims", section, findings)
}

/// Reads a table of claims and what they must be.
pub(super) fn claim_rules(key: &'static str, section: &mut Section<'_>, findings: &Findings<'_>) -> Vec<ClaimRule> {
    let entries = section.take_entries(key, "a table of claims, as in { typ = \"Bearer\" }");
    let mut rules = Vec::new();
    for entry in entries {
        read_rules(key, None, entry, &mut rules, findings);
    }
    rules
}

/// Reads `claim = value`, `claim = [value, …]` and `claim = { inner = … }`, the last to any depth.
fn read_rules(key: &str, outer: Option<&ClaimPath>, entry: Entry, rules: &mut Vec<ClaimRule>, findings: &Findings<'_>) {
    let inner: ClaimPath = match entry.key.parse() {
        Ok(path) => path,
        Err(reason) => {
            findings.fault(Some(entry.at), format!("each key of {key:?} must be {CLAIM}: {reason}"));
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

fn claim_value(key: &str, path: &ClaimPath, node: &Node, findings: &Findings<'_>) -> Option<ClaimValue> {
    match &node.value {
        Value::Text { value, .. } if !value.chars().any(char::is_control) => Some(ClaimValue::Text(value.clone())),
        Value::Integer { value: Some(value), .. } => Some(ClaimValue::Integer(*value)),
        Value::Boolean(value) => Some(ClaimValue::Boolean(*value)),
        Value::Broken => None,
        other => {
            let found = other.describe();
            findings.fault(
                Some(node.at),
                format!(
                    "{key:?}: \"{path}\" must be a string, an integer, a boolean or an array of those, found {found}"
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
