//! What an inspection holds a server to.

use std::time::Duration;

use crate::store::redis::settings::{NodeAddress, RedisSettings, Servers};

/// What the server must fit: what the operator has asked for.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Where the server is.
    pub address: NodeAddress,
    /// Whether the connections are encrypted.
    pub tls: bool,
    /// Whether it is a node of a Cluster.
    pub cluster: bool,
    /// What the fleet's keys begin with, without braces.
    pub prefix: String,
    /// How many replicas must have a revocation before it is acknowledged; 0: it is not asked.
    pub revoke_acks: usize,
    /// Whether records may be lost when Redis is restarted (`allow_volatile`).
    pub allow_volatile: bool,
    /// `coherence_lease`: part of the bound that is stated.
    pub lease: Duration,
}

impl Expectations {
    /// From the settings, for a server at this address.
    #[must_use]
    pub fn of(settings: &RedisSettings, address: NodeAddress) -> Self {
        Self {
            address,
            tls: settings.tls.is_some(),
            cluster: matches!(settings.servers, Servers::Cluster(_)),
            prefix: settings.prefix.clone(),
            revoke_acks: 0,
            allow_volatile: false,
            lease: Duration::from_secs(1),
        }
    }
}
