//! The port of records.
//!
//! How the arguments of each script are numbered is said at the top of its file.

use redis::Value;

use super::RedisStore;
use super::calls::{self, Call, Script};
use super::failure::unknown_outcome;
use super::layout::{id_name, origin_name, owner_name, time_to_live_millis};
use super::operations::Operations;
use super::reply;
use crate::domain::{Owner, Record, RecordSort, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::RecordState;
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, MOST_RETIRED, OnRemove, Removal, Store,
    StoreError, StoreFuture,
};

/// How many records of a list come in the answer that has their names. A longer list is read on in
/// parts of that size, and so is not of one moment.
const WHOLE: usize = 512;

/// How many expired records one step of the purge deletes. No more than an announcement can name.
const PURGED: usize = 1000;

/// How many entries one step of the purge looks after.
const LOOKED_AFTER: usize = 1000;

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

impl Operations {
    /// A call of a script on the records or lists with these keys, that begins with what authorizes
    /// it (an empty argument if that is outside the store), and now.
    fn authorized(
        &self,
        script: &'static Script,
        keys: impl IntoIterator<Item = String>,
        authorized_by: AuthorizedBy,
        now: Timestamp,
    ) -> Call {
        match authorized_by {
            AuthorizedBy::Record(by) => {
                let keys = keys.into_iter().chain([self.layout.record(by)]);
                self.call(script, keys).digest(by).time(now)
            }
            AuthorizedBy::Outside => self.call(script, keys).argument("").time(now),
        }
    }

    /// The keys of an owner's lists.
    fn lists_of(&self, owner: &str) -> [String; 2] {
        [self.layout.owned(owner), self.layout.retired_of(owner)]
    }

    /// The keys under which a record may be.
    fn places_of(&self, digest: TokenDigest) -> [String; 2] {
        [self.layout.record(digest), self.layout.retired(digest)]
    }

    fn issuing(
        &self,
        authorized_by: AuthorizedBy,
        child: &Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> Result<Call, StoreError> {
        let lists = self.lists_of(&owner_name(&child.owner()));
        let keys = self.places_of(child.digest).into_iter().chain(lists);
        let mode = match mode {
            IssueMode::Add => "add",
            IssueMode::Replace => "replace",
            IssueMode::IfNone => "if none",
        };
        let call = self.authorized(&calls::ISSUE, keys, authorized_by, now).lasting();
        self.adding(call.argument(mode), child)
    }

    /// With a record that the script is to add: `record_at` in `scripts/records.lua`.
    pub(super) fn adding(&self, call: Call, record: &Record) -> Result<Call, StoreError> {
        let state = RecordState::of(record);
        let sort = match record.kind.sort() {
            RecordSort::ApiKey => "key",
            RecordSort::Session => "session",
            RecordSort::Bootstrap => "",
        };
        let derived =
            record.origin.as_ref().map(|origin| origin_name(origin, &record.identity.subject));
        Ok(call
            .digest(record.digest)
            .argument(id_name(record.id))
            .argument(owner_name(&record.owner()))
            .argument(sort)
            .argument(derived.unwrap_or_default())
            .time(record.issued_at)
            .optional(record.expires_at.map(Timestamp::unix_millis))
            .optional(time_to_live_millis(record))
            .optional(state.mints_left.map(i64::from))
            .optional(state.last_used_at.map(Timestamp::unix_millis))
            .argument(self.key.encode(record)?))
    }

    async fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<Vec<Listed>>, StoreError> {
        let name = owner_name(owner);
        let call = self.authorized(&calls::OWNED, self.lists_of(&name), authorized_by, now);
        let call = call.argument(name).argument(WHOLE);
        let (outcome, payload) = self.change(call).await?;
        if outcome == "gone" {
            return Ok(None);
        }
        let (mut rows, others): (Vec<Value>, Vec<u8>) = reply::read(payload)?;
        // Members and digests.
        for names in others.chunks(WHOLE * (44 + 64)) {
            let call = self.call(&calls::RECORDS_OF, []);
            let call = names.chunks(44 + 64).fold(call, Call::argument);
            rows.extend(reply::read::<Vec<Value>>(self.executor.run(call).await?)?);
        }
        let mut list = Vec::with_capacity(rows.len());
        for row in rows {
            let (listed, member) = reply::listed(&self.key, row)?;
            if listed.record.kind.sort() != RecordSort::ApiKey || listed.record.owner() != *owner {
                return Err(reply::disagreement("owner"));
            }
            if listed.retired_at.is_some() || !listed.record.is_expired(now) {
                list.push((listed, member));
            }
        }
        list.sort_by(|(a, a_member), (b, b_member)| {
            (a.record.issued_at, a_member).cmp(&(b.record.issued_at, b_member))
        });
        Ok(Some(list.into_iter().map(|(listed, _)| listed).collect()))
    }

    /// Records that match, oldest first; at most `limit` of them, 0: all. `which` is `live` or
    /// `retired`.
    async fn browse(
        &self,
        which: &str,
        limit: usize,
        matches: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Listed>, StoreError> {
        let call = self.call(&calls::BROWSE, []).argument(which);
        let read = |row| Ok(reply::listed(&self.key, row)?.0);
        self.list(call, limit, read, |listed| matches(&listed.record)).await
    }
}

fn on_remove_name(on_remove: OnRemove) -> &'static str {
    match on_remove {
        OnRemove::Delete => "delete",
        OnRemove::Retire => "retire",
    }
}

impl Store for RedisStore {
    /// One command and no script: this is asked for each request whose token is not in the cache.
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.operations.layout.record(digest)).arg(&["i", "b", "e", "m"]);
        let answer = self.operations.executor.read(command);
        self.run(async move |operations| {
            let fields = answer.await?;
            let is_absent = |fields: &[Value]| matches!(fields, [Value::Nil, Value::Nil, ..]);
            if fields.as_sequence().is_some_and(is_absent) {
                return Ok(None);
            }
            reply::record(&operations.key, digest, reply::read(fields)?, None).map(Some)
        })
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.run(async move |operations| {
            let call = operations.call(&calls::BY_ID, []).argument(id_name(id));
            let row = operations.executor.run(call).await?;
            if row == Value::Nil {
                return Ok(None);
            }
            let (found, _) = reply::listed(&operations.key, row)?;
            if found.record.id != id {
                return Err(reply::disagreement("id"));
            }
            Ok(Some(found).filter(|found| found.record.token_api == token_api))
        })
    }

    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue> {
        self.run(async move |operations| {
            let call = operations.issuing(authorized_by, &child, mode, now)?;
            let (outcome, payload) = operations.change(call).await?;
            match outcome.as_str() {
                "issued" => Ok(Issue::Issued { removed: reply::digests(payload)? }),
                "taken" => {
                    let (taken, _) = reply::listed(&operations.key, payload)?;
                    Ok(Issue::Taken(Box::new(taken.record)))
                }
                "gone" => Ok(Issue::AuthorizationGone),
                "spent" => Ok(Issue::AuthorizationSpent),
                _ => unknown_outcome(),
            }
        })
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        self.restore(Listed { record, retired_at: None })
    }

    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>> {
        self.run(async move |operations| operations.owned(authorized_by, &owner, now).await)
    }

    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Removal> {
        self.run(async move |operations| {
            let places = operations.places_of(target);
            let call = operations
                .authorized(&calls::REMOVE, places, authorized_by, now)
                .lasting()
                .digest(target)
                .argument(on_remove_name(on_remove))
                .argument(MOST_RETIRED);
            match operations.change(call).await?.0.as_str() {
                "removed" => Ok(Removal::Removed),
                "absent" => Ok(Removal::Absent),
                "gone" => Ok(Removal::AuthorizationGone),
                _ => unknown_outcome(),
            }
        })
    }

    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |operations| {
            let owner = owner_name(&owner);
            let lists = operations.lists_of(&owner);
            let call = operations
                .authorized(&calls::REMOVE_OWNED, lists, authorized_by, now)
                .lasting()
                .argument(owner)
                .argument(on_remove_name(on_remove))
                .argument(MOST_RETIRED);
            let (outcome, payload) = operations.change(call).await?;
            match outcome.as_str() {
                "removed" => reply::digests(payload).map(Some),
                "gone" => Ok(None),
                _ => unknown_outcome(),
            }
        })
    }

    fn settle(&self) -> StoreFuture<()> {
        self.run(async move |operations| {
            operations.change(operations.call(&calls::SETTLE, []).lasting()).await.map(|_| ())
        })
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.run(async move |operations| {
            let Filter { token_api, subject, sort, limit } = filter;
            let matches = |record: &Record| {
                token_api.as_ref().is_none_or(|wanted| record.token_api == *wanted)
                    && subject.as_ref().is_none_or(|wanted| record.identity.subject == *wanted)
                    && sort.is_none_or(|wanted| record.kind.sort() == wanted)
            };
            let found = operations.browse("live", limit, matches).await?;
            Ok(found.into_iter().map(|listed| listed.record).collect())
        })
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.run(async move |operations| operations.browse("retired", 0, |_| true).await)
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.run(async move |operations| {
            let Listed { record, retired_at } = kept;
            let now = record.issued_at;
            let call = operations.issuing(AuthorizedBy::Outside, &record, IssueMode::Add, now)?;
            let call = match retired_at {
                None => call,
                Some(retired_at) => call.time(retired_at).argument(MOST_RETIRED),
            };
            operations.change(call).await.map(|_| ())
        })
    }

    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        self.run(async move |operations| {
            for part in uses.chunks(TOUCHES) {
                let keys = part.iter().map(|&(digest, _)| operations.layout.record(digest));
                let call = operations.call(&calls::TOUCH, keys);
                let call = part.iter().fold(call, |call, &(used, at)| call.digest(used).time(at));
                operations.executor.run(call).await?;
            }
            Ok(())
        })
    }

    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize> {
        self.run(async move |operations| {
            let mut deleted = 0_usize;
            loop {
                let wanted = limit.saturating_sub(deleted).min(PURGED);
                let call = operations.call(&calls::PURGE, []).time(now);
                let call = call.argument(wanted).argument(LOOKED_AFTER);
                let (_, expired) = operations.change(call).await?;
                let expired = reply::count(expired)?;
                deleted = deleted.saturating_add(expired);
                if expired < wanted || deleted >= limit {
                    return Ok(deleted);
                }
            }
        })
    }

    fn check(&self) -> StoreFuture<()> {
        self.run(async move |operations| {
            let meta = operations.layout.meta();
            let mut command = redis::cmd("EXISTS");
            command.arg(&meta);
            operations.executor.read(command).await?;
            let call = Call::new(&calls::CHECK, vec![meta]).argument(&operations.instance);
            operations.executor.run(call).await.map(|_| ())
        })
    }
}
