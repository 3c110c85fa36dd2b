//! The store's operations as calls of scripts, and what their answers mean. Nothing here talks to
//! Redis.
//!
//! How the arguments of each script are numbered is said at the top of its file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Cmd, Value};

use super::announced::{Announced, announced, fresh_generation, outcome};
use super::calls::{self, Call};
use super::fault::unexpected;
use super::layout::{Layout, hex, id_name, owner_name, time_to_live_millis, vouched_name};
use super::reply::{self, Fields, Kept};
use super::script::Script;
use crate::domain::{Owner, Record, RecordSort, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::{RecordKey, RecordState};
use crate::tokens::store::{
    AuthorizedBy, Issue, IssueMode, Listed, MOST_RETIRED, OnRemove, Removal, StoreError,
};

/// How many records of a list come in the answer that has their names, so that the list is of one
/// moment. A longer list is read on in parts of that size.
pub(super) const WHOLE: usize = 512;

/// How many entries a step of a listing looks at: some milliseconds in which Redis does nothing
/// else.
pub(super) const PAGE: usize = 256;

/// How many expired records one step of the purge deletes. No more than an announcement can name.
pub(super) const PURGED: usize = 1000;

/// How many entries one step of the purge looks after.
const LOOKED_AFTER: usize = 1000;

/// The operations of one store.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    pub(super) layout: Layout,
    pub(super) key: RecordKey,
    /// Which instance announces.
    pub(super) instance: String,
    /// The number of its next announcement.
    pub(super) announcements: Arc<AtomicU64>,
}

/// What a step of a listing found.
pub(super) struct Page {
    pub(super) kept: Vec<Listed>,
    /// Where to go on; `None`: this was all.
    pub(super) next: Option<Cursor>,
}

/// Which records a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Live,
    Retired,
}

/// A place in the list of all records: the score and the member of the entry before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    pub(super) score: Vec<u8>,
    pub(super) member: Vec<u8>,
}

impl Cursor {
    /// What a step of a listing returned as the last entry that it looked at; `None`: there are no
    /// more.
    pub(super) fn read(score: Value, member: Value) -> Result<Option<Self>, StoreError> {
        let next = Self {
            score: reply::bytes(score)?.unwrap_or_default(),
            member: reply::bytes(member)?.unwrap_or_default(),
        };
        Ok(Some(next).filter(|next| !next.member.is_empty()))
    }
}

/// What was found of an owner's keys.
pub(super) struct Owned {
    pub(super) keys: Vec<Kept>,
    /// Members and digests of those that are to be read.
    pub(super) others: Vec<Vec<u8>>,
}

/// What a step of the purge did.
pub(super) struct Purged {
    pub(super) expired: usize,
    pub(super) announced: Option<Announced>,
}

impl Operations {
    pub(super) fn new(layout: Layout, key: RecordKey, instance: String) -> Self {
        Self { layout, key, instance, announcements: Arc::default() }
    }

    /// One command, and not of a script: this is asked for each request whose token is not in the
    /// cache.
    pub(super) fn find(&self, digest: TokenDigest) -> Cmd {
        let mut command = redis::cmd("HMGET");
        command.arg(self.layout.record(digest)).arg(&["i", "b", "e", "m"]);
        command
    }

    pub(super) fn found(
        &self,
        digest: TokenDigest,
        value: Value,
    ) -> Result<Option<Record>, StoreError> {
        let [id, body, ends_at, mints_left] = reply::parts::<4>(value)?.map(reply::bytes);
        let (id, body) = (id?, body?);
        if id.is_none() && body.is_none() {
            return Ok(None);
        }
        let fields = Fields {
            id: id.unwrap_or_default(),
            body: body.unwrap_or_default(),
            ends_at: ends_at?.unwrap_or_default(),
            mints_left: mints_left?.unwrap_or_default(),
        };
        fields.open(&self.key, digest, None).map(Some)
    }

    pub(super) fn find_by_id(&self, id: TokenId) -> Call {
        self.call(&calls::BY_ID, []).argument(id_name(id))
    }

    pub(super) fn found_by_id(
        &self,
        token_api: &str,
        id: TokenId,
        value: Value,
    ) -> Result<Option<Listed>, StoreError> {
        if value == Value::Nil {
            return Ok(None);
        }
        let found = Kept::read(value)?.open(&self.key)?;
        if found.record.id != id {
            return Err(reply::disagreement("id"));
        }
        Ok(Some(found).filter(|found| found.record.token_api == token_api))
    }

    pub(super) fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: &Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> Result<Call, StoreError> {
        let owner = owner_name(&child.owner());
        let mut keys = vec![
            self.layout.record(child.digest),
            self.layout.retired(child.digest),
            self.layout.owned(&owner),
            self.layout.retired_of(&owner),
        ];
        keys.extend(self.key_of(authorized_by));
        let mode = match mode {
            IssueMode::Add => "beside",
            IssueMode::Replace => "instead",
            IssueMode::IfNone => "alone",
        };
        let call = self
            .call(&calls::ISSUE, keys)
            .lasting()
            .argument(name_of(authorized_by))
            .number(Some(now.unix_millis()))
            .argument(mode);
        self.adding(call, child)
    }

    /// Adds what another store kept.
    pub(super) fn restore(&self, kept: &Listed) -> Result<Call, StoreError> {
        let call =
            self.issue(AuthorizedBy::Outside, &kept.record, IssueMode::Add, kept.record.issued_at)?;
        Ok(match kept.retired_at {
            None => call,
            Some(_) => call
                .number(kept.retired_at.map(Timestamp::unix_millis))
                .argument(MOST_RETIRED.to_string()),
        })
    }

    /// With a record that the script is to add: `record_at` in `scripts/records.lua`.
    pub(super) fn adding(&self, call: Call, record: &Record) -> Result<Call, StoreError> {
        let state = RecordState::of(record);
        let sort = match record.kind.sort() {
            RecordSort::ApiKey => "key",
            RecordSort::Session => "session",
            RecordSort::Bootstrap => "",
        };
        let vouched =
            record.origin.as_ref().map(|origin| vouched_name(origin, &record.identity.subject));
        Ok(call
            .argument(hex(record.digest.as_bytes()))
            .argument(id_name(record.id))
            .argument(owner_name(&record.owner()))
            .argument(sort)
            .argument(vouched.unwrap_or_default())
            .number(Some(record.issued_at.unix_millis()))
            .number(record.expires_at.map(Timestamp::unix_millis))
            .number(time_to_live_millis(record))
            .number(state.mints_left.map(i64::from))
            .number(state.last_used_at.map(Timestamp::unix_millis))
            .argument(self.key.encode(record)?))
    }

    /// The outcome, and the announcement if others had to go.
    pub(super) fn issued(&self, value: Value) -> Result<(Issue, Option<Announced>), StoreError> {
        let mut parts = outcome(value)?;
        let issue = match parts.outcome.as_str() {
            "issued" => Issue::Issued { removed: reply::digests(parts.next()?)? },
            "taken" => Issue::Taken(Box::new(Kept::read(parts.next()?)?.open(&self.key)?.record)),
            "gone" => Issue::AuthorizationGone,
            "spent" => Issue::AuthorizationSpent,
            "conflict" => return Err(StoreError::Conflict),
            _ => return Err(unexpected("a known outcome")),
        };
        Ok((issue, parts.announced()?))
    }

    pub(super) fn owned(&self, authorized_by: AuthorizedBy, owner: &Owner, now: Timestamp) -> Call {
        let owner = owner_name(owner);
        let mut keys = vec![self.layout.owned(&owner), self.layout.retired_of(&owner)];
        keys.extend(self.key_of(authorized_by));
        self.call(&calls::OWNED, keys)
            .argument(name_of(authorized_by))
            .number(Some(now.unix_millis()))
            .argument(owner)
            .argument(WHOLE.to_string())
    }

    pub(super) fn read_owned(&self, value: Value) -> Result<Option<Owned>, StoreError> {
        let mut parts = outcome(value)?;
        if parts.outcome == "gone" {
            return Ok(None);
        }
        let keys = kept(parts.next()?)?;
        let others = reply::bytes(parts.next()?)?.unwrap_or_default();
        Ok(Some(Owned { keys, others: others.chunks(44 + 64).map(<[u8]>::to_vec).collect() }))
    }

    /// The list from everything that was read: what is in it must be the owner's.
    pub(super) fn listed(
        &self,
        owner: &Owner,
        now: Timestamp,
        keys: Vec<Kept>,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut list = Vec::with_capacity(keys.len());
        for kept in keys {
            let listed = kept.open(&self.key)?;
            if listed.record.kind.sort() != RecordSort::ApiKey || listed.record.owner() != *owner {
                return Err(reply::disagreement("owner"));
            }
            if listed.retired_at.is_some() || !listed.record.is_expired(now) {
                list.push((listed, kept.member));
            }
        }
        list.sort_by(|(a, a_member), (b, b_member)| {
            (a.record.issued_at, a_member).cmp(&(b.record.issued_at, b_member))
        });
        Ok(list.into_iter().map(|(listed, _)| listed).collect())
    }

    /// Reads the records with these members and digests.
    pub(super) fn records_of(&self, names: &[Vec<u8>]) -> Call {
        names
            .iter()
            .fold(self.call(&calls::RECORDS_OF, []), |call, name| call.argument(name.as_slice()))
    }

    pub(super) fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        after: OnRemove,
        now: Timestamp,
    ) -> Call {
        let mut keys = vec![self.layout.record(target), self.layout.retired(target)];
        keys.extend(self.key_of(authorized_by));
        self.removing(
            self.call(&calls::REMOVE, keys),
            authorized_by,
            now,
            hex(target.as_bytes()),
            after,
        )
    }

    pub(super) fn removed(&self, value: Value) -> Result<(Removal, Option<Announced>), StoreError> {
        let parts = outcome(value)?;
        let removal = match parts.outcome.as_str() {
            "removed" => Removal::Removed,
            "absent" => Removal::Absent,
            "gone" => Removal::AuthorizationGone,
            _ => return Err(unexpected("a known outcome")),
        };
        Ok((removal, parts.announced()?))
    }

    pub(super) fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: &Owner,
        after: OnRemove,
        now: Timestamp,
    ) -> Call {
        let owner = owner_name(owner);
        let mut keys = vec![self.layout.owned(&owner), self.layout.retired_of(&owner)];
        keys.extend(self.key_of(authorized_by));
        self.removing(self.call(&calls::REMOVE_OWNED, keys), authorized_by, now, owner, after)
    }

    pub(super) fn removed_owned(
        &self,
        value: Value,
    ) -> Result<(Option<Vec<TokenDigest>>, Option<Announced>), StoreError> {
        let mut parts = outcome(value)?;
        let removed = match parts.outcome.as_str() {
            "removed" => Some(reply::digests(parts.next()?)?),
            "gone" => None,
            _ => return Err(unexpected("a known outcome")),
        };
        Ok((removed, parts.announced()?))
    }

    pub(super) fn browse(&self, which: ListKind, from: &Cursor) -> Call {
        let which = match which {
            ListKind::Live => "live",
            ListKind::Retired => "retired",
        };
        self.call(&calls::BROWSE, [])
            .argument(from.score.as_slice())
            .argument(from.member.as_slice())
            .argument(PAGE.to_string())
            .argument(which)
    }

    pub(super) fn page(&self, value: Value) -> Result<Page, StoreError> {
        let [rows, score, member] = reply::parts::<3>(value)?;
        let kept = kept(rows)?
            .iter()
            .map(|kept| kept.open(&self.key))
            .collect::<Result<_, StoreError>>()?;
        Ok(Page { kept, next: Cursor::read(score, member)? })
    }

    pub(super) fn touch(&self, uses: &[(TokenDigest, Timestamp)]) -> Call {
        let call =
            self.call(&calls::TOUCH, uses.iter().map(|&(digest, _)| self.layout.record(digest)));
        uses.iter().fold(call, |call, &(digest, moment)| {
            call.argument(hex(digest.as_bytes())).number(Some(moment.unix_millis()))
        })
    }

    pub(super) fn purge(&self, now: Timestamp, limit: usize) -> Call {
        self.call(&calls::PURGE, [])
            .number(Some(now.unix_millis()))
            .argument(limit.min(PURGED).to_string())
            .argument(LOOKED_AFTER.to_string())
    }

    pub(super) fn purged(&self, value: Value) -> Result<Purged, StoreError> {
        let mut parts = reply::list(value)?.into_iter();
        let expired = reply::count(parts.next().unwrap_or_default())?;
        let announced =
            parts.nth(1).filter(|part| *part != Value::Nil).map(announced).transpose()?;
        Ok(Purged { expired: usize::try_from(expired).unwrap_or(usize::MAX), announced })
    }

    pub(super) fn settle(&self) -> Call {
        self.call(&calls::SETTLE, []).lasting()
    }

    /// Whether reads would be served: a question whose answer does not matter.
    pub(super) fn check_reads(&self) -> Cmd {
        let mut command = redis::cmd("EXISTS");
        command.arg(self.layout.meta());
        command
    }

    /// Whether changes would be.
    pub(super) fn check_changes(&self) -> Call {
        Call::new(&calls::CHECK, vec![self.layout.meta()]).argument(self.instance.as_str())
    }

    /// A call of a script that begins with `announce.lua`.
    pub(super) fn call(
        &self,
        script: &'static Script,
        keys: impl IntoIterator<Item = String>,
    ) -> Call {
        let mut all = self.layout.common();
        all.extend(keys);
        Call::new(script, all)
            .argument(self.layout.prefix.as_str())
            .argument(format!(
                "{} {}",
                self.announcements.fetch_add(1, Ordering::Relaxed),
                self.instance
            ))
            .argument(fresh_generation())
    }

    fn removing(
        &self,
        call: Call,
        authorized_by: AuthorizedBy,
        now: Timestamp,
        what: String,
        after: OnRemove,
    ) -> Call {
        let after = match after {
            OnRemove::Delete => "gone",
            OnRemove::Retire => "retired",
        };
        call.lasting()
            .argument(name_of(authorized_by))
            .number(Some(now.unix_millis()))
            .argument(what)
            .argument(after)
            .argument(MOST_RETIRED.to_string())
    }

    fn key_of(&self, authorized_by: AuthorizedBy) -> Option<String> {
        match authorized_by {
            AuthorizedBy::Record(digest) => Some(self.layout.record(digest)),
            AuthorizedBy::Outside => None,
        }
    }
}

/// The records of a list.
pub(super) fn kept(value: Value) -> Result<Vec<Kept>, StoreError> {
    reply::list(value)?.into_iter().map(Kept::read).collect()
}

/// Who vouches, as the scripts name it; empty for somebody outside.
fn name_of(authorized_by: AuthorizedBy) -> String {
    match authorized_by {
        AuthorizedBy::Record(digest) => hex(digest.as_bytes()),
        AuthorizedBy::Outside => String::new(),
    }
}
