//! The keys of `[[token_api]]`.

use std::sync::Arc;
use std::time::Duration;

use super::cors::CorsKeys;
use super::rate_limits::{CONCURRENT, RateKeys};
use super::texts::{NAME, Name, is_word, reference, refused};
use crate::config::pattern::{PathPattern, Segment};
use crate::config::routing::Style;
use crate::settings::key::{KindExt as _, table, tables};
use crate::settings::kind::{Text, duration, text, words};
use crate::settings::list::{At, Placed, at, one_or_list};
use crate::settings::section::Row;
use crate::settings::settings;
use crate::settings::units::{days, minutes};
use crate::tokens::accounts::Enrolment;
use crate::tokens::signed::SigningAlgorithm;

settings! {
    /// A REST face that manages tokens: none or more.
    ///
    /// `allowlist-jwt`: signed tokens that are good as long as their record stands; the first of a
    /// user is made with a bootstrap token of an administrator. `tenant-tokens`: keys of a user for
    /// one tenant, until a stated date, made with a JWT of the issuer or with such a key; its calls
    /// are `{tenant_id}/tokens/` below the mount, and `docs` and `openapi.json` there are Swagger
    /// UI and the document of all token APIs. `agent-tokens`: one key per user, for the user's
    /// agents, made with a JWT of the issuer or a login of `accounts`, never with such a key; how
    /// that is done is served at `/api/doc/raw/token-management-user-jwt`. `accounts`: people
    /// register, log in, and make API keys, which open routes in `Authorization: Bearer` and in
    /// `X-API-Key`; only on routes that accept it, `X-API-Key` is read, and kept from the upstream.
    pub(crate) struct TokenApiKeys {
        /// What routes, logs and metrics call it. No issuer may have the same name.
        pub(crate) name: Option<Name> = NAME.required(),
        /// The contract that it speaks.
        pub(crate) style: Option<Style> = words(Style::WORDS).required(),
        /// The path in front of its calls. It may hold `{organization}` and `{username}`, which
        /// must then be the caller's; not with the style `accounts`.
        pub(crate) mount: Option<PathPattern> = MOUNT.required(),
        /// What its tokens are signed with; of the style `accounts`, its sessions.
        pub(crate) algorithm: SigningAlgorithm =
            words(ALGORITHMS).or(SigningAlgorithm::Hs256).useless_with("style", UNSIGNED),
        /// What its tokens begin with. No prefix may begin with that of another token API, or as
        /// JWTs do (`ey`). Absent: `"sk-"`, `"sk_agt_"` or `"rst_"`, by the style.
        pub(crate) prefix: Option<Placed<String>> =
            at(PREFIX).optional().useless_with("style", SIGNED),
        /// Whose JWTs make its calls: the name of an `[[issuer]]`, or several. Required with the
        /// style `tenant-tokens`, and with `agent-tokens` where there are no `accounts`.
        pub(crate) issuer: Option<Vec<Name>> =
            one_or_list(ISSUER).unique().optional().useless_with("style", WITHOUT_ISSUER),
        /// How many requests may be made with its tokens, on all routes and as calls of token APIs
        /// together, and as calls of its own with other credentials: none or more limits, all of
        /// which hold. Absent: any number.
        pub(crate) rate_limits: Vec<Row<RateKeys>> = tables(),
        /// How many requests of one token may be under way at the same time, on this instance: the
        /// next one is answered with 429. Absent: any number.
        pub(crate) concurrent_requests: Option<u32> = CONCURRENT.optional(),
        /// What pages of other origins may do with its calls and its pages. Absent: nothing is said
        /// to browsers, which then keep them from such pages.
        pub(crate) cors: CorsKeys = table(),
        /// How long a login lasts.
        pub(crate) session: Duration =
            duration(minutes(1)..=days(30)).or(minutes(60)).only_with("style", "accounts"),
        /// Who makes accounts: `"open"`: each person for themselves; `"closed"`: an administrator,
        /// with `keyward user add`.
        pub(crate) registration: Enrolment =
            words(REGISTRATIONS).or(Enrolment::Open).only_with("style", "accounts"),
    }
}

const ALGORITHMS: &[(&str, SigningAlgorithm)] = &[
    (SigningAlgorithm::Hs256.name(), SigningAlgorithm::Hs256),
    (SigningAlgorithm::EdDsa.name(), SigningAlgorithm::EdDsa),
    (SigningAlgorithm::Es256.name(), SigningAlgorithm::Es256),
    (SigningAlgorithm::Rs256.name(), SigningAlgorithm::Rs256),
];

/// Styles whose tokens are signed, and what that makes of a prefix.
const SIGNED: &[(&str, &str)] =
    &[("allowlist-jwt", "the tokens of \"allowlist-jwt\" are signed by keyward")];

/// Styles whose tokens are not signed, and what that makes of an algorithm.
const UNSIGNED: &[(&str, &str)] = &[
    ("tenant-tokens", "the tokens of \"tenant-tokens\" are not signed"),
    ("agent-tokens", "the tokens of \"agent-tokens\" are not signed"),
];

/// Styles whose calls are made without a JWT of an issuer.
const WITHOUT_ISSUER: &[(&str, &str)] = &[
    ("allowlist-jwt", "the tokens of \"allowlist-jwt\" are signed by keyward"),
    ("accounts", "people log in with their accounts"),
];

const REGISTRATIONS: &[(&str, Enrolment)] =
    &[("open", Enrolment::Open), ("closed", Enrolment::Closed)];

const ISSUER: At<Text<Arc<str>>> = reference("the name of an [[issuer]]");

/// How every JWT begins: `{"` in base64url.
const JWT_BEGINS: &str = "ey";

/// What opaque tokens begin with. It goes into headers and shells as it is.
const PREFIX: Text<String> =
    text("1 to 32 letters, digits, \"-\", \"_\" or \".\", as in \"sk-\"", |text| {
        if !(1..=32).contains(&text.len()) || !is_word(text) {
            return refused();
        }
        if text.starts_with(JWT_BEGINS) || JWT_BEGINS.starts_with(text) {
            return Err(format!("every JWT begins with {JWT_BEGINS:?}"));
        }
        Ok(text.to_owned())
    });

const MOUNT: Text<PathPattern> =
    text("a path as in \"/{organization}/{username}/api/v1\"", |text| {
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
    });
