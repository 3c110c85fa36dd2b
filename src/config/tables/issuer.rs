//! The keys of `[[issuer]]`.

use std::path::PathBuf;
use std::time::Duration;

use super::claims::{CLAIM, Claims};
use super::files::{AUTHORITIES, KEY_SET, SHARED_SECRET};
use super::texts::{NAME, Name, empty, is_word, refused, visible_up_to};
use crate::config::issuer::Proxy;
use crate::config::proxy::proxy;
use crate::domain::{ClaimNames, ClaimPath, ClaimRule, OutsideAlgorithm, TENANT};
use crate::settings::key::{KindExt as _, table};
use crate::settings::kind::{Private, Text, boolean, duration, text};
use crate::settings::list::{Placed, at, filled};
use crate::settings::settings;
use crate::settings::units::{days, minutes, seconds};
use crate::upstream::document::DocumentAddress;

settings! {
    /// An outside party whose JWTs are accepted: an OIDC provider, or a site's own login. None or
    /// more. Its tokens are verified with its keys, which come from one of `jwks_url`, `jwks_file`
    /// and `secret_file`, or, without them, from where the issuer's own
    /// `/.well-known/openid-configuration` says. [Identity providers](identity-providers.md) has an
    /// `[[issuer]]` for each common provider.
    ///
    /// Claims are named with dots for claims in claims: `"realm_access.roles"`. A name that holds a
    /// dot is quoted in the string, `"'my.claims'.role"`; one that begins with `https://` is one
    /// name as it stands.
    pub(crate) struct IssuerTable {
        /// What routes, logs and metrics call it. No token API may have the same name.
        pub(crate) name: Option<Name> = NAME.required(),
        /// The `iss` claim of its tokens, to the letter. With `{tenant}` in it, it is a template:
        /// each tenant in `tenants` is an issuer with keys of its own, and its tenant is the active
        /// one, whatever the claims say.
        pub(crate) issuer: Option<String> = ISSUER.required(),
        /// The tenants of a template, at most 1000; required with `{tenant}` in `issuer`.
        pub(crate) tenants: Option<Vec<String>> = filled(TENANT_NAME).unique().optional(),
        /// Where its keys are fetched; redirects are not followed. May hold `{tenant}`.
        pub(crate) jwks_url: Option<String> = KEYS_URL.optional(),
        /// A JWK set (RFC 7517), read again every `refresh`.
        pub(crate) jwks_file: Option<PathBuf> = KEY_SET.optional(),
        /// A secret of at least 32 bytes (48 for HS384, 64 for HS512) that is shared with the
        /// issuer; a line end at its end is cut off.
        pub(crate) secret_file: Option<PathBuf> = SHARED_SECRET.optional(),
        /// The authorities that are trusted where keys are fetched, in PEM form; absent: those of
        /// the system.
        pub(crate) ca_file: Option<PathBuf> = AUTHORITIES.optional(),
        /// Through what keys are fetched: a proxy, or `"environment"` for `HTTPS_PROXY`
        /// (`http_proxy` where keys come over http) and `NO_PROXY`. A user and a password stand in
        /// it as in `"http://user:${PASSWORD}@proxy.example.com:3128"`. Absent: no proxy.
        pub(crate) proxy: Option<Proxy> = PROXY.optional(),
        /// `true`: `http://` is allowed for other hosts than loopback ones.
        pub(crate) allow_insecure: bool = boolean().or(false),
        /// One of these must be in the `aud` claim. Required, unless `required_claims` say what a
        /// token is for, for issuers whose tokens have no `aud`.
        pub(crate) audience: Option<Vec<String>> = filled(AUDIENCE).unique().optional(),
        /// What it may sign with; a key narrows it further. Absent: `["HS256"]` with `secret_file`,
        /// and otherwise all that use public keys. HS384 and HS512 count only where they are named.
        pub(crate) algorithms: Option<Vec<Placed<OutsideAlgorithm>>> =
            filled(at(ALGORITHM)).unique().optional(),
        /// What else its tokens must say: a string, an integer, a boolean, or an array of those, of
        /// which one is enough. Where the claim is a list, it must hold one. Absent: nothing.
        pub(crate) required_claims: Option<Vec<ClaimRule>> = Claims.optional(),
        /// Which claims say who it is.
        pub(crate) claims: ClaimKeys = table(),
        /// How far its clock may be off, for `exp` and `nbf`.
        pub(crate) leeway: Duration = duration(seconds(0)..=minutes(10)).or(seconds(30)),
        /// How old its keys may become before they are fetched again; a key that the issuer removed
        /// is refused from then on.
        pub(crate) refresh: Duration = duration(seconds(10)..=days(1)).or(minutes(5)),
        /// How long its keys are used beyond that while they cannot be fetched; then its tokens get
        /// 401.
        pub(crate) stale_if_error: Duration = duration(seconds(0)..=days(30)).or(days(1)),
    }
}

settings! {
    /// Which claims say who it is: strings; `role`, `organization` and `tenants` may be lists, or
    /// objects of objects, whose names count (the first role is the one that upstreams are told).
    /// What cannot be used is left out. `""`: no claim says it. Without an organization, the active
    /// tenant is taken for it.
    pub(crate) struct ClaimKeys {
        /// The subject, which must be there; an integer counts as its decimal digits.
        pub(crate) subject: ClaimPath = SUBJECT.or(usual().subject),
        /// The username.
        pub(crate) username: Option<ClaimPath> = CLAIM_OR_NONE.or(usual().username),
        /// The email address.
        pub(crate) email: Option<ClaimPath> = CLAIM_OR_NONE.or(usual().email),
        /// The roles.
        pub(crate) role: Option<ClaimPath> = CLAIM_OR_NONE.or(usual().role),
        /// The organization; with `tenants` of the issuer the default is `""`.
        pub(crate) organization: Option<ClaimPath> = CLAIM_OR_NONE.or(usual().organization),
        /// The tenants; not with `tenants` of the issuer.
        pub(crate) tenants: Option<ClaimPath> = CLAIM_OR_NONE.or(usual().tenants),
        /// The tenant that the caller acts for; not with `tenants` of the issuer.
        pub(crate) active_tenant: Option<ClaimPath> = CLAIM_OR_NONE.or(usual().active_tenant),
    }
}

const ISSUER: Text<String> =
    text("the \"iss\" claim of its tokens, as in \"https://id.example.com\"", |text| {
        visible_up_to(text, 2048)
    });

const TENANT_NAME: Text<String> = text(
    "a tenant: 1 to 128 letters, digits, \"-\", \"_\" or \".\", the first a letter or a digit",
    |text| {
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= 128 && is_word(text) { Ok(text.to_owned()) } else { refused() }
    },
);

const KEYS_URL: Text<String> = text("an address as in \"https://id.example.com/keys\"", |text| {
    text.replace(TENANT, "tenant").parse::<DocumentAddress>().map(|_| text.to_owned())
});

const PROXY: Private<Proxy> = Private {
    what: "a proxy as in \"http://proxy.example.com:3128\", or \"environment\"",
    parse: |text| match text {
        "environment" => Ok(Proxy::Environment),
        _ => proxy(text).map(Proxy::Address),
    },
    advice: Some("into the environment, as in \"http://user:${PASSWORD}@proxy.example.com:3128\""),
};

const AUDIENCE: Text<String> = text("a value of the \"aud\" claim", |text| match text {
    "" => empty(),
    _ if text.chars().any(char::is_control) => Err("it holds a control character".to_owned()),
    _ => Ok(text.to_owned()),
});

const ALGORITHM: Text<OutsideAlgorithm> = Text {
    what: "a signature algorithm as in \"RS256\"",
    parse: |text| {
        OutsideAlgorithm::named(text).ok_or_else(|| {
            let known = OutsideAlgorithm::PUBLIC.iter().chain(&OutsideAlgorithm::SECRET);
            let known: Vec<_> = known.map(|one| one.name()).collect();
            format!("there are {}", known.join(", "))
        })
    },
    show: |algorithm| algorithm.name().to_owned(),
};

const SUBJECT: Text<ClaimPath> = text(CLAIM, str::parse);

const CLAIM_OR_NONE: Text<Option<ClaimPath>> = Text {
    what: "the name of a claim, with dots for claims in claims, as in \"realm_access.roles\", \
           or \"\" for none",
    parse: |text| match text {
        "" => Ok(None),
        _ => text.parse().map(Some),
    },
    show: |path| path.as_ref().map(ToString::to_string).unwrap_or_default(),
};

fn usual() -> ClaimNames {
    ClaimNames::default()
}
