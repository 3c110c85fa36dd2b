//! Checks a token with the keys of its issuer that are at hand.

use std::sync::Arc;

use super::compact::Compact;
use super::configured::Issuer;
use super::jwk::Selection;
use super::outside::Outside;
use super::refusal::{OutsideFault, OutsideRefusal, names, quoted};
use super::{claims, ring};
use crate::domain::{Moment, OutsideAlgorithm};

/// The outcome of a check with the keys that are at hand.
pub(super) enum Judgement {
    Passed(Arc<Outside>),
    Refused(OutsideRefusal),
    /// Its key is missing, and may be new. If it is not, the token is refused for this reason.
    KeyMissing(OutsideRefusal),
    /// There are no usable keys.
    Unavailable,
}

impl Issuer {
    pub(super) fn judge(self: &Arc<Self>, token: &Compact<'_>, now: Moment) -> Judgement {
        let algorithm = match token.header.check() {
            Ok(algorithm) if self.settings.algorithms.contains(&algorithm) => algorithm,
            Ok(_) | Err(OutsideRefusal { fault: OutsideFault::Algorithm, .. }) => {
                let accepted = format!("accepted are {}", names(&self.settings.algorithms));
                return Judgement::Refused(other_algorithm(token, &accepted));
            }
            Err(refusal) => return Judgement::Refused(refusal),
        };
        if !self.ring.are_usable(ring::now()) {
            return Judgement::Unavailable;
        }
        let kid = token.header.kid.as_deref();
        let (keys, not_tried) = match self.ring.select(kid, algorithm) {
            Selection::Keys { keys, not_tried } => (keys, not_tried),
            Selection::OtherAlgorithm(good_for) => {
                let accepted = format!("its key is good for {}", names(&good_for));
                return Judgement::Refused(other_algorithm(token, &accepted));
            }
            Selection::Unusable(why) => {
                return Judgement::KeyMissing(self.unusable_key(kid, &why));
            }
            Selection::Missing => return Judgement::KeyMissing(self.unknown_key(kid, algorithm)),
        };
        let Some(key) = keys.into_iter().find(|key| key.verifies(algorithm, &token.signed)) else {
            let refusal = token.header.signature_fault(not_tried);
            // Without a name, the token may be of a new key.
            let judge = if kid.is_none() { Judgement::KeyMissing } else { Judgement::Refused };
            return judge(refusal);
        };
        match claims::check(&token.claims, &self.settings, now.wall) {
            Ok(claims) => {
                Judgement::Passed(Arc::new(Outside { issuer: Arc::clone(self), key, claims }))
            }
            Err(refusal) => Judgement::Refused(refusal),
        }
    }

    fn unusable_key(&self, kid: Option<&str>, why: &str) -> OutsideRefusal {
        let (name, kid) = (&self.settings.name, quoted(kid.unwrap_or_default()));
        OutsideFault::UnknownKey
            .with(format!("issuer {name} has a key called {kid} that cannot be used: {why}"))
    }

    fn unknown_key(&self, kid: Option<&str>, algorithm: OutsideAlgorithm) -> OutsideRefusal {
        let name = &self.settings.name;
        OutsideFault::UnknownKey.with(match kid {
            Some(kid) => format!("issuer {name} publishes no key called {}", quoted(kid)),
            None => format!("it names none, and issuer {name} publishes none for {algorithm}"),
        })
    }
}

/// `accepted`: which algorithms are right, for the log.
fn other_algorithm(token: &Compact<'_>, accepted: &str) -> OutsideRefusal {
    let found = token.header.algorithm.as_deref().unwrap_or("none that can be read");
    OutsideFault::Algorithm.with(format!("it is {}; {accepted}", quoted(found)))
}
