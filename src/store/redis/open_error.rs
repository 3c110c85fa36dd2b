//! Why keyward does not start on a Redis, for the operator.

use std::io;

use super::discovery_error::DiscoveryError;
use crate::tokens::finding::Finding;

/// The store cannot be used as it is: keyward must not start on it.
#[derive(Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// It will not be reached until an operator changes something.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// It is tied to other keys than ours.
    #[error(
        "the store belongs to other keys: this instance's [keys] differ from those of its fleet"
    )]
    OtherKeys,
    /// A newer keyward has written it.
    #[error("the store has layout {0}, which a newer keyward has written")]
    Newer(String),
    /// keyward could not keep its promises on it.
    #[error("the Redis server is not fit for keyward: {}", sentences(.0))]
    Unfit(Vec<Finding>),
    /// The thread of the link could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

fn sentences(findings: &[Finding]) -> String {
    let sentence = |finding: &Finding| {
        let Finding { subject, found, wanted, words, .. } = finding;
        format!("{subject} is {found}, wanted is {wanted} ({words})")
    };
    findings.iter().map(sentence).collect::<Vec<_>>().join("; ")
}
