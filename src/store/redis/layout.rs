//! The names of the keys, and of the channels.
//!
//! Layout 1. Every key begins with the prefix in braces, `{keyward}:` by default: one hash tag, so
//! in a Cluster all of them are in one slot, and a script can change them in one step.
//!
//! | key | type | what |
//! |---|---|---|
//! | `r:<digest>` | hash | a record that is not retired: `b` the sealed body, `i` the id, `e` its end if it has one, `m` keys left to make if it is a bootstrap token. The only keys that the instances' caches follow. Time to live: [`BACKSTOP`] beyond its life |
//! | `x:<digest>` | hash | a retired API key: as it was, and `x` when it was retired. No time to live |
//! | `catalog` | hash | id → digest, sequence number (12 digits), owner if it is an API key; `s` and owner if it is a session; `v` and origin and subject if it has an origin; without separators |
//! | `all` | sorted set | every entry of the catalog by time of issue |
//! | `expiry` | sorted set | every record with an end by that end; not the retired ones |
//! | `o:<owner>` | sorted set | the API keys of one owner by time of issue |
//! | `ox:<owner>` | sorted set | the retired API keys of one owner by time of retirement, the newest [`crate::tokens::store::MOST_RETIRED`] |
//! | `s:<owner>` | sorted set | the sessions of one owner by time of issue |
//! | `v:<origin and subject>` | sorted set | the live records that one subject of an origin has at whichever token API, by time of issue |
//! | `a:<token API>:<id>` | hash | an account: `b` the sealed body, in which everything is that it has, the hash of its password, its revision and whether it is disabled included. No time to live: accounts are not removed |
//! | `an:<token API>` | hash | username as it is folded → id of the account |
//! | `ae:<token API>` | hash | email address as it is folded → id of the account |
//! | `accounts` | sorted set | every account, by time of registration; a member is a sequence number, the token API and the id |
//! | `c:<counter>` | hash | what failed in one window: `e` when it ends, `s` how many are spent, `r` how many reserved. Time to live: a minute beyond a window, by intervals |
//! | `l:<limit and value>` | hash | what is spent of a limit that the fleet shares: `b`, when all permits are there again, in nanoseconds from `t`, a moment of Redis' clock in microseconds; `i`, in how many one permit comes back; `f`, what of `b` is forgiven to instances whose burst is `n`. Time to live: until then |
//! | `g:<group>` | hash | remembered member → until when, a space, and a number that grows; `` → the last such number. At most [`crate::tokens::accounts::counters::MOST_REMEMBERED`] members. Time to live: [`BACKSTOP`] beyond that of the latest |
//! | `t:<digest>` | hash | an open ticket, under the SHA-256 of it: `h` the digest of its token, `u` and `n` the names of its subject and tenant, `e` when it ends, `s` its seal. Time to live: a minute beyond its life |
//! | `to:<digest>` | sorted set | the open tickets of one token by their end. Time to live: as the latest of them |
//! | `ts:<subject>` | sorted set | those of one subject, in the same way |
//! | `tt:<tenant>` | sorted set | those of one tenant, in the same way; a subject without one is a tenant of its own |
//! | `tickets` | sorted set | all open tickets by their end. Time to live: as the latest of them |
//! | `used` | hash | digest → when it was last used. Outside `r:`, or each use would take the record out of the caches |
//! | `meta` | hash | `layout`, `keys` (their fingerprint), `generation` (of the data), `sequence` (of the latest record), `looked_after` (how far the purge has come), `probe` |
//! | `instances` | hash | instance id → beat, space, and for how many milliseconds after it the instance may use what it remembers: the members of the fleet |
//!
//! | channel | what |
//! |---|---|
//! | `revoked` | number, space, revoker's instance id, space, then 32 bytes for each digest; `*`: more than 1024; nothing: everything that was removed before |
//! | `confirmed:<instance id>` | to the instance that announced something, from the others: number, space, their id |
//!
//! Digest and owner are 64 hexadecimal digits, ids 32, times milliseconds since 1970. An owner is
//! the SHA-256 of its parts, each with its length; so are a token API, and an origin with a subject.
//! The subject and the tenant of a ticket are half of such a hash. Counters and groups are 32
//! hexadecimal digits: usernames, and passwords typed in their place, are in none of them. A member
//! of a sorted set is a sequence number and an id: at the same moment, the one that was added first
//! comes first. Times are exact there up to 2^53 ms.
//!
//! The indexes are for finding records. The owner and the end of a record are in its sealed body;
//! where the two disagree, the store is damaged. Redis' clock decides nothing but limits:
//! `now` is the caller's, and the time to live, counted from the time of issue, is a backstop for a fleet that
//! has stopped. Entries of the indexes outlive a record that went that way, or by an operator's
//! `DEL`; lists leave them out, and the purge removes them with time.

use std::time::Duration;

use aws_lc_rs::digest;

use crate::domain::{AccountId, Owner, Record, TokenDigest, TokenId, hex};
use crate::tokens::accounts::counters::CounterKey;

/// The layout that this code writes, and the newest one that it reads.
pub(super) const LAYOUT: u32 = 1;

/// How long a record stays in Redis after its end if it is not purged. By far more than any clock
/// is off.
pub(super) const BACKSTOP: Duration = Duration::from_secs(3600);

/// The longest time to live that is set: a hundred years. Redis refuses huge ones.
const LONGEST_TIME_TO_LIVE_MILLIS: i64 = 100 * 366 * 86_400 * 1000;

/// The names of one fleet's keys. Owners and token APIs are given as [`owner_name`] and
/// [`token_api_name`] say them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// `{keyward}:`
    pub(super) prefix: String,
}

impl Layout {
    /// `name` is the prefix without braces; it must not contain any.
    pub(super) fn new(name: &str) -> Self {
        Self { prefix: format!("{{{name}}}:") }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What all records begin with: the prefix that the caches follow.
    pub(super) fn records(&self) -> String {
        self.key("r:")
    }

    pub(super) fn record(&self, digest: TokenDigest) -> String {
        [&self.prefix, "r:", &hex::encode(digest.as_bytes())].concat()
    }

    pub(super) fn retired(&self, digest: TokenDigest) -> String {
        self.key(&format!("x:{}", hex::encode(digest.as_bytes())))
    }

    pub(super) fn owned(&self, owner: &str) -> String {
        self.key(&format!("o:{owner}"))
    }

    pub(super) fn retired_of(&self, owner: &str) -> String {
        self.key(&format!("ox:{owner}"))
    }

    pub(super) fn account(&self, token_api: &str, id: AccountId) -> String {
        self.accounts_of(token_api) + &hex::encode(id.as_bytes())
    }

    /// What the accounts of a token API begin with; an id follows.
    pub(super) fn accounts_of(&self, token_api: &str) -> String {
        self.key(&format!("a:{token_api}:"))
    }

    pub(super) fn usernames(&self, token_api: &str) -> String {
        self.key(&format!("an:{token_api}"))
    }

    pub(super) fn emails(&self, token_api: &str) -> String {
        self.key(&format!("ae:{token_api}"))
    }

    pub(super) fn accounts(&self) -> String {
        self.key("accounts")
    }

    pub(super) fn ticket(&self, ticket: TokenDigest) -> String {
        self.key(&format!("t:{}", hex::encode(ticket.as_bytes())))
    }

    /// What the open tickets of a token, of a subject and of a tenant begin with; its digest or
    /// name follows.
    pub(super) fn tickets_of(&self) -> [String; 3] {
        ["to:", "ts:", "tt:"].map(|begin| self.key(begin))
    }

    pub(super) fn tickets(&self) -> String {
        self.key("tickets")
    }

    pub(super) fn counter(&self, counter: CounterKey) -> String {
        self.key(&format!("c:{}", hex::encode(&counter.0)))
    }

    pub(super) fn group(&self, group: CounterKey) -> String {
        self.key(&format!("g:{}", hex::encode(&group.0)))
    }

    pub(super) fn permits(&self, counter: crate::limits::CounterKey) -> String {
        self.key(&format!("l:{}", hex::encode(&counter.as_bytes())))
    }

    pub(super) fn meta(&self) -> String {
        self.key("meta")
    }

    pub(super) fn instances(&self) -> String {
        self.key("instances")
    }

    /// Those that every operation on records names first: see `scripts/records.lua`.
    pub(super) fn common(&self) -> Vec<String> {
        let mut keys = vec![self.meta(), self.instances()];
        keys.extend(["catalog", "all", "expiry", "used"].map(|name| self.key(name)));
        keys
    }

    /// The channel of announcements.
    pub(super) fn revoked(&self) -> String {
        self.key("revoked")
    }

    /// The channel of the confirmations of an instance's announcements.
    pub(super) fn confirmed(&self, instance: &str) -> String {
        self.key(&format!("confirmed:{instance}"))
    }
}

/// What an owner is called in key names.
pub(super) fn owner_name(owner: &Owner) -> String {
    // The origin third and only if there is one: no length can be taken for its absence.
    name([&owner.token_api, &owner.subject].into_iter().chain(&owner.origin))
}

/// What a subject of an origin is called in key names, whatever the token API.
pub(super) fn origin_name(origin: &str, subject: &str) -> String {
    name([origin, subject])
}

/// What a token API is called in key names.
pub(super) fn token_api_name(token_api: &str) -> String {
    name([token_api])
}

/// Short, whatever the parts look like, and as different as they are.
fn name(parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        let text = part.as_ref();
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    }
    hex::encode(context.finish().as_ref())
}

/// How long Redis keeps a record unasked; `None`: for ever.
pub(super) fn time_to_live_millis(record: &Record) -> Option<i64> {
    let life =
        record.expires_at?.unix_millis().saturating_sub(record.issued_at.unix_millis()).max(0);
    let backstop = i64::try_from(BACKSTOP.as_millis()).unwrap_or(i64::MAX);
    Some(life.saturating_add(backstop)).filter(|&millis| millis <= LONGEST_TIME_TO_LIVE_MILLIS)
}

/// An id as it stands in the catalog.
pub(super) fn id_name(id: TokenId) -> String {
    hex::encode(id.as_bytes())
}

/// The digest from its 64 hexadecimal digits; `None`: it is something else.
pub(super) fn digest_from_hex(text: &[u8]) -> Option<TokenDigest> {
    let (pairs, rest) = text.as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex::value(*high)? << 4 | hex::value(*low)?;
    }
    Some(TokenDigest::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Identity, RecordKind, Timestamp};

    fn owner(token_api: &str, origin: Option<&str>, subject: &str) -> Owner {
        Owner {
            token_api: token_api.into(),
            origin: origin.map(Into::into),
            subject: subject.into(),
        }
    }

    #[test]
    fn every_key_has_the_hash_tag() {
        let layout = Layout::new("keyward");
        let digest = TokenDigest::from_bytes([0xab; 32]);
        assert_eq!(layout.record(digest), format!("{{keyward}}:r:{}", "ab".repeat(32)));
        assert!(layout.record(digest).starts_with(&layout.records()));
        assert_eq!(layout.common().len(), 6);
        let mut keys = layout.common();
        keys.extend([
            layout.retired(digest),
            layout.owned("o"),
            layout.retired_of("o"),
            layout.revoked(),
        ]);
        let (id, counter) = (AccountId::from_uuid(uuid::Uuid::nil()), CounterKey([1; 16]));
        keys.extend([
            layout.account("o", id),
            layout.usernames("o"),
            layout.emails("o"),
            layout.accounts(),
        ]);
        keys.extend([layout.counter(counter), layout.group(counter)]);
        keys.extend([layout.ticket(digest), layout.tickets()]);
        keys.extend(layout.tickets_of());
        assert!(
            keys.iter()
                .all(|key| key.starts_with("{keyward}:") && !key.starts_with(&layout.records())),
            "{keys:?}"
        );
    }

    #[test]
    fn different_owners_have_different_names() {
        let owners = [
            owner("a", None, "b"),
            owner("b", None, "a"),
            owner("ab", None, ""),
            owner("", None, "ab"),
            owner("a", Some(""), "b"),
            owner("a", Some("b"), ""),
            owner("a", Some("b"), "b"),
        ];
        let names: std::collections::BTreeSet<_> = owners.iter().map(owner_name).collect();
        assert_eq!(names.len(), owners.len());
        assert!(names.iter().all(|name| name.len() == 64));
    }

    #[test]
    fn a_digest_survives_its_hexadecimal_form() {
        let digest =
            TokenDigest::from_bytes(std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap()));
        assert_eq!(digest_from_hex(hex::encode(digest.as_bytes()).as_bytes()), Some(digest));
        let (short, signed, word) = ("a".repeat(63), "+a".repeat(32), "é".repeat(32));
        for wrong in ["", short.as_str(), &signed, &word] {
            assert_eq!(digest_from_hex(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_time_to_live_is_the_life_and_an_hour() {
        let record = |issued, end: Option<i64>| Record {
            digest: TokenDigest::from_bytes([0; 32]),
            id: TokenId::from_uuid(uuid::Uuid::nil()),
            token_api: "a".into(),
            kind: RecordKind::ApiKey,
            origin: None,
            identity: Identity {
                subject: "s".into(),
                username: None,
                organization: None,
                role: None,
                email: None,
            },
            name: None,
            hint: None,
            limits: None,
            issued_at: Timestamp::from_unix_millis(issued),
            expires_at: end.map(Timestamp::from_unix_millis),
            last_used_at: None,
        };
        assert_eq!(time_to_live_millis(&record(5, None)), None);
        assert_eq!(time_to_live_millis(&record(1_000, Some(61_000))), Some(3_660_000));
        assert_eq!(
            time_to_live_millis(&record(61_000, Some(1_000))),
            Some(3_600_000),
            "never in the past"
        );
        assert_eq!(time_to_live_millis(&record(i64::MIN, Some(i64::MAX))), None);
    }
}
