//! The port of records.
//!
//! How the arguments of each script are numbered is said at the top of its file.

use redis::Value;

use super::RedisStore;
use super::announced::unknown_outcome;
use super::calls::{self, Call, Script};
use super::layout::{id_name, origin_name, owner_name, time_to_live_millis};
use super::operations::{Cursor, Operations, Page};
use super::reply::{self, Fields, Kept};
use crate::domain::{Owner, Record, RecordSort, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::RecordState;
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, MOST_RETIRED, OnRemove, Removal, Store,
    StoreError, StoreFuture,
};

/// How many records of a list come in the answer that has their names, so that the list is of one
/// moment. A longer list is read on in parts of that size.
const WHOLE: usize = 512;

/// How many expired records one step of the purge deletes. No more than an announcement can name.
const PURGED: usize = 1000;

/// How many entries one step of the purge looks after.
const LOOKED_AFTER: usize = 1000;

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

/// Which records a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Live,
    Retired,
}

impl Operations {
    /// A call of a script on an owner's lists.
    fn on_owner(&self, script: &'static Script, owner: &str, by: AuthorizedBy) -> Call {
        let lists = [self.layout.owned(owner), self.layout.retired_of(owner)];
        self.call(script, lists.into_iter().chain(self.record_of(by)))
    }

    /// A call of a script on one record.
    fn on_record(&self, script: &'static Script, digest: TokenDigest, by: AuthorizedBy) -> Call {
        let keys = [self.layout.record(digest), self.layout.retired(digest)];
        self.call(script, keys.into_iter().chain(self.record_of(by)))
    }

    fn record_of(&self, authorized_by: AuthorizedBy) -> Option<String> {
        match authorized_by {
            AuthorizedBy::Record(digest) => Some(self.layout.record(digest)),
            AuthorizedBy::Outside => None,
        }
    }

    fn issuing(
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
        keys.extend(self.record_of(authorized_by));
        let mode = match mode {
            IssueMode::Add => "add",
            IssueMode::Replace => "replace",
            IssueMode::IfNone => "if none",
        };
        let call = self.call(&calls::ISSUE, keys).lasting().authorized(authorized_by, now);
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
            .number(record.expires_at.map(Timestamp::unix_millis))
            .number(time_to_live_millis(record))
            .number(state.mints_left.map(i64::from))
            .number(state.last_used_at.map(Timestamp::unix_millis))
            .argument(self.key.encode(record)?))
    }

    async fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<Vec<Listed>>, StoreError> {
        let name = owner_name(owner);
        let call = self.on_owner(&calls::OWNED, &name, authorized_by);
        let call = call.authorized(authorized_by, now).argument(name).count(WHOLE);
        let (outcome, payload) = self.change(call).await?;
        if outcome == "gone" {
            return Ok(None);
        }
        let [whole, others] = reply::parts::<2>(payload)?;
        let mut keys = reply::list(whole)?;
        let others = reply::bytes_or_none(others)?;
        // Members and digests.
        for names in others.chunks(WHOLE * (44 + 64)) {
            let call = self.call(&calls::RECORDS_OF, []);
            let call = names.chunks(44 + 64).fold(call, Call::argument);
            keys.extend(reply::list(self.executor.run(call).await?)?);
        }
        let mut list = Vec::with_capacity(keys.len());
        for kept in keys {
            let kept = Kept::read(kept)?;
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
        Ok(Some(list.into_iter().map(|(listed, _)| listed).collect()))
    }

    /// A step of a listing of all records.
    pub(super) async fn records(
        &self,
        kind: ListKind,
        from: &Cursor,
    ) -> Result<Page<Listed>, StoreError> {
        let kind = match kind {
            ListKind::Live => "live",
            ListKind::Retired => "retired",
        };
        let call = self.call(&calls::BROWSE, []).argument(kind);
        self.page(call, from, |row| Kept::read(row)?.open(&self.key)).await
    }

    async fn all(
        &self,
        kind: ListKind,
        limit: usize,
        matches: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Listed>, StoreError> {
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next.filter(|_| found.len() < limit) {
            let page = self.records(kind, &cursor).await?;
            found.extend(page.rows.into_iter().filter(|listed| matches(&listed.record)));
            next = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn on_remove_name(on_remove: OnRemove) -> &'static str {
    match on_remove {
        OnRemove::Delete => "delete",
        OnRemove::Retire => "retire",
    }
}

impl Store for RedisStore {
    /// One command, and not of a script: this is asked for each request whose token is not in the
    /// cache.
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.operations.layout.record(digest)).arg(&["i", "b", "e", "m"]);
        let answer = self.operations.executor.read(command);
        self.run(async move |operations| {
            let fields = reply::parts::<4>(answer.await?)?;
            if matches!(fields, [Value::Nil, Value::Nil, ..]) {
                return Ok(None);
            }
            Fields::read(fields)?.open(&operations.key, digest, None).map(Some)
        })
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.run(async move |operations| {
            let call = operations.call(&calls::BY_ID, []).argument(id_name(id));
            let value = operations.executor.run(call).await?;
            if value == Value::Nil {
                return Ok(None);
            }
            let found = Kept::read(value)?.open(&operations.key)?;
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
                    let taken = Kept::read(payload)?.open(&operations.key)?;
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
            let call = operations.on_record(&calls::REMOVE, target, authorized_by);
            let call = call.lasting().authorized(authorized_by, now).digest(target);
            let call = call.argument(on_remove_name(on_remove)).count(MOST_RETIRED);
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
            let call = operations.on_owner(&calls::REMOVE_OWNED, &owner, authorized_by);
            let call = call.lasting().authorized(authorized_by, now).argument(owner);
            let call = call.argument(on_remove_name(on_remove)).count(MOST_RETIRED);
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
            let matches = |record: &Record| {
                filter.token_api.as_ref().is_none_or(|wanted| record.token_api == *wanted)
                    && filter
                        .subject
                        .as_ref()
                        .is_none_or(|wanted| record.identity.subject == *wanted)
                    && filter.sort.is_none_or(|wanted| record.kind.sort() == wanted)
            };
            let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
            let found = operations.all(ListKind::Live, limit, matches).await?;
            Ok(found.into_iter().map(|listed| listed.record).collect())
        })
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.run(async move |operations| {
            operations.all(ListKind::Retired, usize::MAX, |_| true).await
        })
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.run(async move |operations| {
            let Listed { record, retired_at } = kept;
            let now = record.issued_at;
            let call = operations.issuing(AuthorizedBy::Outside, &record, IssueMode::Add, now)?;
            let call = match retired_at {
                None => call,
                Some(retired_at) => call.time(retired_at).count(MOST_RETIRED),
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
                let (_, expired) =
                    operations.change(call.count(wanted).count(LOOKED_AFTER)).await?;
                let expired = usize::try_from(reply::count(expired)?).unwrap_or(usize::MAX);
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
            let call = Call::new(&calls::CHECK, vec![meta]);
            let call = call.argument(operations.instance.as_str());
            operations.executor.run(call).await.map(|_| ())
        })
    }
}
