//! What requests are counted together.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};

use crate::domain::TokenDigest;

/// By what a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// By token, or by the JWT of an outside issuer.
    Token,
    /// By holder: all its tokens together.
    Subject,
    /// By tenant: all its holders together.
    Tenant,
    /// By address of the client.
    Address,
    /// All requests of the route together.
    Route,
}

impl Scope {
    /// All of them, in the order of the declaration.
    pub const ALL: [Self; 5] =
        [Self::Token, Self::Subject, Self::Tenant, Self::Address, Self::Route];

    /// Its name in the configuration, the fields of responses and the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Subject => "subject",
            Self::Tenant => "tenant",
            Self::Address => "address",
            Self::Route => "route",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit of the configuration: made of what it is of, its scope and its period, so that it is the
/// same in all instances and after a reload. How many requests it lets through is not in it: what
/// is used up stays so when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitId([u8; 16]);

impl LimitId {
    /// From what tells it from every other limit.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self(hashed(parts))
    }
}

/// What is counted together: a limit, and what it counts by. It tells nothing of the token, the
/// subject or the tenant that it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterKey {
    limit: LimitId,
    value: [u8; 16],
}

impl CounterKey {
    /// One token.
    #[must_use]
    pub fn token(limit: LimitId, digest: &TokenDigest) -> Self {
        // Half of a MAC is a name that no client can choose.
        let mut value = [0; 16];
        value.copy_from_slice(digest.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
        Self { limit, value }
    }

    /// One subject: `origin` is the issuer or the token API within which it is unique.
    #[must_use]
    pub fn subject(limit: LimitId, origin: &str, subject: &str) -> Self {
        Self { limit, value: hashed(&[origin, subject]) }
    }

    /// One tenant.
    #[must_use]
    pub fn tenant(limit: LimitId, tenant: &str) -> Self {
        Self { limit, value: hashed(&[tenant]) }
    }

    /// One address; of IPv6 its network of 64 bits, which one client has whole. An IPv4 address
    /// that is written as one of IPv6 is the IPv4 address. None: clients of Unix sockets, together.
    #[must_use]
    pub fn address(limit: LimitId, address: Option<IpAddr>) -> Self {
        let bits = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(address)) => address.to_bits() >> 64 << 64 | 1,
            None => 0,
        };
        Self { limit, value: bits.to_be_bytes() }
    }

    /// All requests.
    #[must_use]
    pub const fn route(limit: LimitId) -> Self {
        Self { limit, value: [0; 16] }
    }

    /// A number by which keys are spread over locks. Whoever chooses it gains nothing.
    pub(super) fn spread(&self) -> usize {
        let bits = self
            .value
            .iter()
            .fold(0_u64, |bits, byte| (bits ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        usize::try_from(bits >> 32).unwrap_or_default()
    }

    /// The limit and the value, for the name of a counter in a store.
    #[must_use]
    pub fn as_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (limit, value) = bytes.split_at_mut(16);
        limit.copy_from_slice(&self.limit.0);
        value.copy_from_slice(&self.value);
        bytes
    }
}

impl fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CounterKey({:032x})", u128::from_be_bytes(self.value))
    }
}

/// 128 bits of SHA-256 over the parts, each with its length.
fn hashed(parts: &[&str]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.as_ref().first_chunk::<16>().unwrap_or(&[0; 16]));
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn address(text: &str) -> CounterKey {
        CounterKey::address(LimitId::of(&["limit"]), Some(text.parse().expect("an address")))
    }

    #[test]
    fn addresses_count_by_what_one_client_has() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
        let others = [
            address("2001:db8::1"),
            address("2001:db8:0:1::1"),
            address("::"),
            address("192.0.2.1"),
            address("192.0.2.2"),
            CounterKey::address(LimitId::of(&["limit"]), None),
        ];
        assert_eq!(others.iter().collect::<HashSet<_>>().len(), others.len());
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let limit = LimitId::of(&["limit"]);
        assert_ne!(
            CounterKey::subject(limit, "ab", "c"),
            CounterKey::subject(limit, "a", "bc"),
            "another origin has other subjects"
        );
        assert_ne!(LimitId::of(&["a", ""]), LimitId::of(&["", "a"]));
        assert_ne!(CounterKey::route(LimitId::of(&["a"])), CounterKey::route(LimitId::of(&["b"])),);
    }
}
