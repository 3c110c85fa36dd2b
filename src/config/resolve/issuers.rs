//! What the keys of `[[issuer]]` say together, and beside our own issuer.

use super::names::Named;
use crate::config::issuer::{Fetching, Issuer, IssuerKeys, METADATA, metadata_of, of_each};
use crate::config::tables::{ClaimKeys, IssuerTable, Name};
use crate::domain::{ClaimNames, OutsideAlgorithm, TENANT};
use crate::settings::fault::{Findings, Spot};
use crate::settings::list::Placed;
use crate::settings::section::Row;
use crate::tokens::issuer::{IssuerSettings, Rhythm};
use crate::upstream::document::DocumentAddress;

/// Each is compared with the `iss` of a token that is not cached, and may have keys to fetch.
const MOST_TENANTS: usize = 1000;
/// Where keys come from; without one of them, the metadata of the issuer say where they are.
const SOURCES: [&str; 3] = ["jwks_url", "jwks_file", "secret_file"];

/// `own`: the `iss` of our own tokens.
pub(super) fn resolve(
    rows: Vec<Row<IssuerTable>>,
    own: &str,
    findings: &Findings<'_>,
) -> Named<Issuer> {
    let mut named = Named::new();
    let mut taken: Vec<Placed<String>> = Vec::new();
    for Row { mut keys, path } in rows {
        let spot = findings.table(&path);
        named.add(keys.name.as_ref(), &[], findings);
        let tenants = keys.tenants.take().unwrap_or_default();
        check_template(keys.issuer.as_deref(), &tenants, spot);
        check_taken(keys.issuer.as_deref(), &tenants, own, &mut taken, spot);
        let source = source(&mut keys, &tenants, spot);
        check_audience(&keys, spot);
        let algorithms = algorithms(keys.algorithms, spot);
        let claims = claims(keys.claims, !tenants.is_empty(), spot);
        let rhythm = Rhythm { refresh: keys.refresh, stale_if_error: keys.stale_if_error };
        if let (Some(Name { value: name, .. }), Some(issuer), Some(keys_from)) =
            (keys.name, keys.issuer, source)
        {
            let settings = IssuerSettings {
                name,
                issuer,
                tenancy: None,
                audience: keys.audience.unwrap_or_default(),
                algorithms,
                required_claims: keys.required_claims.unwrap_or_default(),
                claims,
                leeway: keys.leeway,
                kept_claims: Vec::new(),
            };
            named.objects.push(Issuer { settings, tenants, keys: keys_from, rhythm });
        }
    }
    named
}

/// A template has tenants, and only a template has.
fn check_template(issuer: Option<&str>, tenants: &[String], spot: Spot<'_>) {
    if tenants.len() > MOST_TENANTS {
        let count = tenants.len();
        spot.fault("tenants", format!("\"tenants\" lists {count}, more than {MOST_TENANTS}"));
    }
    match issuer.map(|issuer| issuer.matches(TENANT).count()) {
        Some(0) if spot.is_given("tenants") => {
            spot.fault("tenants", "\"tenants\" is of no use: \"issuer\" holds no \"{tenant}\"");
        }
        Some(1) if !spot.is_given("tenants") => spot.fault(
            "issuer",
            "\"issuer\" holds \"{tenant}\": list those whose tokens are accepted in \"tenants\", \
             as otherwise whoever opens an account there could come in",
        ),
        Some(2..) => spot.fault("issuer", "\"issuer\" holds \"{tenant}\" more than once"),
        _ => {}
    }
}

/// No two issuers have the same `iss`, and none has ours.
fn check_taken(
    issuer: Option<&str>,
    tenants: &[String],
    own: &str,
    taken: &mut Vec<Placed<String>>,
    spot: Spot<'_>,
) {
    let (Some(issuer), Some(at)) = (issuer, spot.place("issuer")) else { return };
    for value in of_each(issuer, tenants) {
        if value == own {
            let message = format!("\"issuer\" {value:?} is our own: see \"issuer\" in [keys]");
            spot.fault("issuer", message);
        }
        if let Some(other) = taken.iter().find(|other| other.value == value) {
            let line = spot.findings.line(other.at);
            let message =
                format!("\"issuer\" {value:?} is taken on line {line}: only one could be asked");
            spot.fault("issuer", message);
        }
        taken.push(Placed { at, value });
    }
}

/// `audience` may be left out where `required_claims` says what a token is for.
fn check_audience(keys: &IssuerTable, spot: Spot<'_>) {
    if keys.audience.is_some() {
        return;
    }
    if spot.is_given("required_claims") {
        spot.findings.warn(
            spot.at(),
            "without \"audience\", every token of this [[issuer]] passes that has its \
             \"required_claims\", whoever it was made for: they must name this API or its client, \
             as in { client_id = \"...\", token_use = \"access\" }"
                .to_owned(),
        );
    } else {
        spot.miss(
            "audience",
            "missing key \"audience\" in [[issuer]]: it must be an array, each item a value of \
             the \"aud\" claim. For an issuer whose tokens have none, leave it out and say in \
             \"required_claims\" what they have instead, as in { client_id = \"...\", token_use = \
             \"access\" }",
        );
    }
}

/// Where its keys are: exactly one of three, or what the metadata of the issuer say.
fn source(keys: &mut IssuerTable, tenants: &[String], spot: Spot<'_>) -> Option<IssuerKeys> {
    let given: Vec<_> = SOURCES.into_iter().filter(|key| spot.is_given(key)).collect();
    if let [first, second, ..] = given.as_slice() {
        let message =
            format!("{first:?} and {second:?} exclude each other: keys come from one place");
        spot.fault(second, message);
    }
    if !given.is_empty() && !spot.is_given("jwks_url") {
        let keys = ["ca_file", "proxy", "allow_insecure"];
        spot.refuse_given(&keys, "says how \"jwks_url\" is fetched, and there is none");
    }
    let fetching =
        Fetching { ca_file: keys.ca_file.clone(), proxy: keys.proxy.take().unwrap_or_default() };
    if given.is_empty() {
        let urls = metadata(keys.issuer.as_deref()?, tenants, spot)?;
        check_scheme("issuer", &urls, keys, spot);
        return Some(IssuerKeys::Discovery { urls, fetching });
    }
    if let Some(url) = keys.jwks_url.take() {
        if url.contains(TENANT) && tenants.is_empty() {
            let message = "\"jwks_url\" holds \"{tenant}\", and there are no \"tenants\"";
            spot.fault("jwks_url", message);
        }
        let texts = if url.contains(TENANT) { of_each(&url, tenants) } else { vec![url] };
        let urls: Vec<_> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        check_scheme("jwks_url", &urls, keys, spot);
        return Some(IssuerKeys::Url { urls, fetching });
    }
    let file = keys.jwks_file.take().map(IssuerKeys::File);
    file.or_else(|| keys.secret_file.take().map(IssuerKeys::Secret))
}

/// Where the metadata are of an issuer whose table says nothing of keys.
fn metadata(issuer: &str, tenants: &[String], spot: Spot<'_>) -> Option<Vec<DocumentAddress>> {
    let address = |issuer: String| match metadata_of(&issuer) {
        Ok(url) => Some(url),
        Err(reason) => {
            let message = format!(
                "this [[issuer]] has no keys: give it \"jwks_url\", \"jwks_file\" or \
                 \"secret_file\". Without them its {METADATA} would be asked, and {issuer:?} is no \
                 address for that: {reason}"
            );
            spot.miss("jwks_url", message);
            None
        }
    };
    // The first that is wrong is enough: they differ by the tenant alone.
    of_each(issuer, tenants).into_iter().map(address).collect()
}

/// Keys and metadata come over TLS, or from this machine, or where `allow_insecure` says so.
fn check_scheme(key: &str, urls: &[DocumentAddress], keys: &IssuerTable, spot: Spot<'_>) {
    if let Some(url) = urls.iter().find(|url| !url.is_https && !url.is_loopback()) {
        if keys.allow_insecure {
            let message = format!(
                "{key:?} is fetched in clear from {}: a machine on the way can replace the keys",
                url.host
            );
            spot.warn(key, message);
        } else {
            let message = format!(
                "{key:?} is not https: a machine on the way could replace the keys; if there is \
                 none, say \"allow_insecure = true\""
            );
            spot.fault(key, message);
        }
    }
    if keys.ca_file.is_some() && urls.first().is_some_and(|first| !first.is_https) {
        spot.fault("ca_file", format!("\"ca_file\" is of no use: {key:?} is not https"));
    }
}

/// If a public key were taken for a secret, anyone could sign (CVE-2016-10555): the two never mix.
fn algorithms(
    typed: Option<Vec<Placed<OutsideAlgorithm>>>,
    spot: Spot<'_>,
) -> Vec<OutsideAlgorithm> {
    let is_secret = spot.is_given("secret_file");
    let Some(list) = typed else {
        return match is_secret {
            true => vec![OutsideAlgorithm::Hs256],
            false => OutsideAlgorithm::PUBLIC.to_vec(),
        };
    };
    for Placed { at, value } in &list {
        if is_secret != OutsideAlgorithm::SECRET.contains(value) {
            let why =
                if is_secret { "is not for a shared secret" } else { "needs \"secret_file\"" };
            let message = format!("\"algorithms\" lists {:?}, which {why}", value.name());
            spot.findings.fault(Some(*at), message);
        }
    }
    list.into_iter().map(|algorithm| algorithm.value).collect()
}

/// `by_template`: each tenant signs with keys of its own and is what its `iss` says, so no claim
/// says it by default.
fn claims(keys: ClaimKeys, by_template: bool, spot: Spot<'_>) -> ClaimNames {
    let of_tenant = |key: &str, name| {
        if by_template && !spot.is_given(&format!("claims.{key}")) { None } else { name }
    };
    let names = ClaimNames {
        subject: keys.subject,
        username: keys.username,
        email: keys.email,
        role: keys.role,
        organization: of_tenant("organization", keys.organization),
        tenants: of_tenant("tenants", keys.tenants),
        active_tenant: of_tenant("active_tenant", keys.active_tenant),
    };
    for (key, name) in [("tenants", &names.tenants), ("active_tenant", &names.active_tenant)] {
        if by_template && name.is_some() {
            let message = format!(
                "{key:?} is of no use: of an issuer by template the tenant is that of its \"iss\""
            );
            spot.fault(&format!("claims.{key}"), message);
        }
    }
    names
}
