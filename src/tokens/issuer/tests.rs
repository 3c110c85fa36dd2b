//! An issuer of the tests: its keys, its key set, and any token that it, or an attacker, could
//! write.

mod accepted;
mod forge;
mod hostile;
mod hostile_table;
mod key_sets;
mod keycloak;
mod shapes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::set::OutsideVerdict;
use super::*;
use crate::domain::{
    ClaimNames, ClaimPath, ClaimRule, ClaimValue, Identity, Moment, OutsideAlgorithm, Timestamp,
};
use crate::tokens::keyring::{Peppers, SecretBytes};
pub(super) use forge::*;

pub(super) const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

/// The time at which tokens are forged and judged, in seconds.
fn now() -> i64 {
    NOW.unix_seconds()
}

/// How long after it was forged a token may be judged, in seconds.
const MARGIN: i64 = 0;

pub(super) fn settings() -> IssuerSettings {
    IssuerSettings {
        name: "main".into(),
        issuer: ISS.into(),
        tenancy: None,
        audience: vec!["account".into(), "api".into()],
        algorithms: OutsideAlgorithm::PUBLIC.to_vec(),
        required_claims: vec![ClaimRule {
            path: "typ".parse().expect("a path"),
            one_of: vec![ClaimValue::Text("Bearer".into())],
        }],
        claims: ClaimNames::default(),
        leeway: Duration::ZERO,
        kept_claims: Vec::new(),
    }
}

pub(super) fn set_of(issuers: Vec<Issuer>) -> IssuerSet {
    let peppers = Arc::new(Peppers::new(&SecretBytes::new([9; 32]), []));
    IssuerSet::new(issuers.into_iter().map(Arc::new).collect(), peppers, 100, 8192)
}

/// An issuer with these settings and keys.
pub(super) fn issuer(settings: IssuerSettings, keys: &[Value]) -> Issuer {
    let set = KeySet::read(&document(keys), &settings.algorithms).expect("a key set");
    let ring = Arc::new(KeyRing::fixed(Arc::clone(&settings.name), set));
    Issuer::new(settings, ring)
}

/// The usual set.
pub(super) fn usual() -> IssuerSet {
    set_of(vec![issuer(settings(), &key_set())])
}

/// An issuer with a shared secret.
pub(super) fn with_secret() -> IssuerSet {
    let settings = IssuerSettings { algorithms: vec![OutsideAlgorithm::Hs256], ..settings() };
    let ring = Arc::new(KeyRing::fixed(
        "main".into(),
        KeySet::secret(SECRET, &[OutsideAlgorithm::Hs256]).expect("a secret"),
    ));
    set_of(vec![Issuer::new(settings, ring)])
}

impl IssuerSet {
    /// As a request does it: by what is remembered, or else by the whole check.
    pub(super) async fn verify(
        &self,
        token: &[u8],
        now: Moment,
    ) -> Result<OutsideVerdict, IssuerUnavailable> {
        let digest = self.digest(token);
        match self.recall(&digest, now)? {
            Some(outside) => Ok(OutsideVerdict::Passed(outside)),
            None => self.check(token, digest, now).await,
        }
    }

    /// How many tokens are remembered.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }
}

pub(super) fn at(wall: Timestamp) -> Moment {
    Moment { wall, uptime: crate::tokens::clock::uptime() }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

pub(super) fn verify_at(
    set: &IssuerSet,
    token: impl AsRef<[u8]>,
    now: Timestamp,
) -> OutsideVerdict {
    block_on(set.verify(token.as_ref(), at(now))).expect("its keys are here")
}

pub(super) fn verify(set: &IssuerSet, token: impl AsRef<[u8]>) -> OutsideVerdict {
    verify_at(set, token, NOW)
}

#[track_caller]
pub(super) fn passed(verdict: OutsideVerdict) -> Arc<Outside> {
    match verdict {
        OutsideVerdict::Passed(outside) => outside,
        other => panic!("{other:?}"),
    }
}

/// Why it is refused, as the log says it.
#[track_caller]
pub(super) fn cause(verdict: &OutsideVerdict) -> String {
    match verdict {
        OutsideVerdict::Refused(refusal) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn refused(verdict: &OutsideVerdict) -> Option<OutsideFault> {
    match verdict {
        OutsideVerdict::Refused(refusal) => Some(refusal.fault),
        _ => None,
    }
}
