//! The store's operations in SQL. Each runs inside a transaction that [`super::store_thread`]
//! opens and ends.

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, Params, Row};

use super::fault::Fault;
use super::schema;
use super::tie::Tie;
use crate::domain::{Owner, Record, RecordKind, RecordSort, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::{RecordKey, RecordState};
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, StoreError,
};

mod accounts;
mod retired;

/// A connection, and what is needed to make sense of what it returns.
pub(super) struct Tables {
    pub(super) connection: Connection,
    path: PathBuf,
    key: RecordKey,
    /// How long the connection waits for a lock.
    busy: Duration,
    /// Whether the latest attempt to write failed: [`Tables::check`] then tries for itself.
    pub(super) failed: Cell<bool>,
    /// Whether the log is to be written back and cut once the transaction is over.
    pub(super) log_due: Cell<bool>,
    /// What ties the database to its log, as of the last transaction; only of the connection that
    /// writes.
    tie: Cell<Option<Tie>>,
    /// The lock of this instance. Last, so that it is given up after the connection is closed.
    _lock: Option<File>,
}

macro_rules! columns {
    () => {
        "digest, id, token_api, origin, subject, issued_at, expires_at, sort, mints_left, \
         last_used_at, body"
    };
}

impl Tables {
    pub(super) fn new(
        connection: Connection,
        path: PathBuf,
        key: RecordKey,
        busy: Duration,
        lock: Option<File>,
    ) -> Self {
        let (failed, log_due, tie) = (Cell::new(false), Cell::new(false), Cell::new(None));
        Self { connection, path, key, busy, failed, log_due, tie, _lock: lock }
    }

    pub(super) fn explain(&self, fault: &Fault) -> StoreError {
        fault.explain(&self.path)
    }

    pub(super) fn find(&self, digest: TokenDigest) -> Result<Option<Record>, Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM record WHERE digest = ?1");
        self.one(sql, [digest.as_bytes()])
    }

    pub(super) fn find_by_id(&self, token_api: &str, id: TokenId) -> Result<Option<Listed>, Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM record WHERE id = ?1 AND token_api = ?2");
        match self.one(sql, (id.as_bytes(), token_api))? {
            Some(record) => Ok(Some(Listed { record, retired_at: None })),
            None => self.retired_by_id(token_api, id),
        }
    }

    pub(super) fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: &Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> Result<Issue, Fault> {
        let mut spent = None;
        if let AuthorizedBy::Record(authorized_by) = authorized_by {
            match self.live(authorized_by, now)?.map(|record| record.kind) {
                None => return Ok(Issue::AuthorizationGone),
                Some(RecordKind::Bootstrap { mints_left: 0 }) => {
                    return Ok(Issue::AuthorizationSpent);
                }
                Some(RecordKind::Bootstrap { .. }) => spent = Some(authorized_by),
                Some(RecordKind::ApiKey | RecordKind::Session) => {}
            }
        }
        let owner = child.owner();
        if mode == IssueMode::IfNone
            && let Some(there) = self.live_of(&owner, now)?.into_iter().next()
        {
            return Ok(Issue::Taken(Box::new(there)));
        }
        let removed = match mode {
            IssueMode::Add => Vec::new(),
            // With `Alone`, only expired ones are left by now.
            IssueMode::Replace | IssueMode::IfNone => self.delete_owned(&owner)?,
        };
        if let Some(authorized_by) = spent {
            let sql = "UPDATE record SET mints_left = mints_left - 1 WHERE digest = ?1";
            self.statement(sql)?.execute([authorized_by.as_bytes()])?;
        }
        self.provision(child)?;
        Ok(Issue::Issued { removed })
    }

    pub(super) fn provision(&self, record: &Record) -> Result<(), Fault> {
        if self.is_retired(record)? {
            return Err(Fault::Taken);
        }
        let sql = concat!(
            "INSERT INTO record (",
            columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        );
        let state = RecordState::of(record);
        self.statement(sql)?.execute((
            record.digest.as_bytes(),
            record.id.as_bytes(),
            &record.token_api,
            &record.origin,
            &record.identity.subject,
            record.issued_at.unix_millis(),
            record.expires_at.map(Timestamp::unix_millis),
            sort_name(record.kind.sort()),
            state.mints_left,
            state.last_used_at.map(Timestamp::unix_millis),
            self.key.encode(record)?,
        ))?;
        Ok(())
    }

    pub(super) fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<Vec<Listed>>, Fault> {
        if !self.is_good(authorized_by, now)? {
            return Ok(None);
        }
        let mut keys = self.retired_of(owner)?;
        keys.extend(
            self.live_of(owner, now)?.into_iter().map(|record| Listed { record, retired_at: None }),
        );
        // Stable: each of the two is in order already.
        keys.sort_by_key(|key| key.record.issued_at);
        Ok(Some(keys))
    }

    pub(super) fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> Result<Removal, Fault> {
        if !self.is_good(authorized_by, now)? {
            return Ok(Removal::AuthorizationGone);
        }
        if on_remove == OnRemove::Retire {
            self.retire(target, now)?;
        }
        let removed =
            self.statement("DELETE FROM record WHERE digest = ?1")?.execute([target.as_bytes()])?;
        Ok(if removed == 0 { Removal::Absent } else { Removal::Removed })
    }

    pub(super) fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: &Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> Result<Option<Vec<TokenDigest>>, Fault> {
        if !self.is_good(authorized_by, now)? {
            return Ok(None);
        }
        if on_remove == OnRemove::Retire {
            self.retire_owned(owner, now)?;
        }
        self.delete_owned(owner).map(Some)
    }

    pub(super) fn browse(&self, filter: &Filter) -> Result<Vec<Record>, Fault> {
        // SQLite takes a negative limit for none.
        let limit =
            if filter.limit == 0 { -1 } else { i64::try_from(filter.limit).unwrap_or(i64::MAX) };
        let params = (&filter.token_api, &filter.subject, filter.sort.map(sort_name), limit);
        if filter.token_api.is_some() && filter.subject.is_some() {
            // In these words SQLite uses the index of owners; in the others it reads every record.
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM record WHERE token_api = ?1 AND subject = ?2",
                " AND (?3 IS NULL OR sort = ?3) ORDER BY issued_at, seq LIMIT ?4"
            );
            return self.many(sql, params);
        }
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE (?1 IS NULL OR token_api = ?1) AND (?2 IS NULL OR subject = ?2)",
            " AND (?3 IS NULL OR sort = ?3) ORDER BY issued_at, seq LIMIT ?4"
        );
        self.many(sql, params)
    }

    pub(super) fn touch(&self, uses: &[(TokenDigest, Timestamp)]) -> Result<(), Fault> {
        let sql = "UPDATE record SET last_used_at = ?2
                   WHERE digest = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";
        let mut statement = self.statement(sql)?;
        for (digest, at) in uses {
            statement.execute((digest.as_bytes(), at.unix_millis()))?;
        }
        Ok(())
    }

    pub(super) fn purge(&self, now: Timestamp, limit: usize) -> Result<usize, Fault> {
        self.log_due.set(true);
        let sql = "DELETE FROM record WHERE seq IN
                   (SELECT seq FROM record WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(self.statement(sql)?.execute((now.unix_millis(), limit))?)
    }

    /// Writes if writing failed last, else only reads: a probe every few seconds should not keep
    /// the disk busy.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.failed.get() {
            // Random and larger than a page, so that it needs space in the log as any change does.
            let sql = "INSERT INTO meta (name, value) VALUES ('probe', randomblob(16384))
                       ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            self.statement(sql)?.execute([])?;
        }
        self.statement("SELECT seq FROM record LIMIT 1")?.query([])?.next()?;
        Ok(())
    }

    /// Reads what ties the database to its log, and makes it for a database from before there was
    /// such a thing.
    pub(super) fn tie_log(&self) -> Result<(), Fault> {
        let tie = match Tie::read(&self.connection)? {
            Some(tie) => tie,
            None => {
                let tie = Tie::new().map_err(Fault::System)?;
                tie.write(&self.connection)?;
                tie
            }
        };
        self.tie.set(Some(tie));
        Ok(())
    }

    /// Counts the open transaction, which has changed something; see [`super::tie`].
    pub(super) fn count_transaction(&self) -> Result<(), Fault> {
        match self.tie.get() {
            Some(tie) => tie.next().write(&self.connection),
            None => Ok(()),
        }
    }

    /// The transaction that was counted is in the database.
    pub(super) fn transaction_counted(&self) {
        self.tie.set(self.tie.get().map(Tie::next));
    }

    /// Stores the fingerprint at first use; afterwards, says whether it is the same.
    pub(super) fn bind_keys(&self, fingerprint: &[u8]) -> Result<bool, Fault> {
        if let Some(bound) = schema::meta(&self.connection, "keys")? {
            return Ok(bound == fingerprint);
        }
        schema::set_meta(&self.connection, "keys", fingerprint)?;
        Ok(true)
    }

    /// Writes the log back into the database and cuts it. Where a listing still reads from the log,
    /// it does what can be done without waiting.
    pub(super) fn cut_log(&self) -> Result<(), Fault> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.connection.busy_timeout(self.busy)?;
        Ok(done?)
    }

    /// Reads every record: what cannot be read is damage.
    pub(super) fn verify(&self) -> Result<(), Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM record");
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.record(row)?;
        }
        self.verify_retired()?;
        self.verify_accounts()
    }

    fn is_good(&self, authorized_by: AuthorizedBy, now: Timestamp) -> Result<bool, Fault> {
        match authorized_by {
            AuthorizedBy::Record(digest) => Ok(self.live(digest, now)?.is_some()),
            AuthorizedBy::Outside => Ok(true),
        }
    }

    /// The API keys of `owner` that have not expired, oldest first.
    fn live_of(&self, owner: &Owner, now: Timestamp) -> Result<Vec<Record>, Fault> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 AND sort = \
             'api_key'",
            " AND (expires_at IS NULL OR expires_at > ?4) ORDER BY issued_at, seq"
        );
        self.many(sql, (&owner.token_api, &owner.subject, &owner.origin, now.unix_millis()))
    }

    /// Deletes all API keys of `owner` and names them.
    fn delete_owned(&self, owner: &Owner) -> Result<Vec<TokenDigest>, Fault> {
        let sql = "DELETE FROM record WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 AND \
                   sort = 'api_key'
                   RETURNING digest";
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query((&owner.token_api, &owner.subject, &owner.origin))?;
        let mut removed = Vec::new();
        while let Some(row) = rows.next()? {
            removed.push(TokenDigest::from_bytes(row.get(0)?));
        }
        Ok(removed)
    }

    fn live(&self, digest: TokenDigest, now: Timestamp) -> Result<Option<Record>, Fault> {
        Ok(self.find(digest)?.filter(|record| !record.is_expired(now)))
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    fn one(&self, sql: &str, params: impl Params) -> Result<Option<Record>, Fault> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(|row| self.record(row)).transpose()
    }

    fn many(&self, sql: &str, params: impl Params) -> Result<Vec<Record>, Fault> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(self.record(row)?);
        }
        Ok(records)
    }

    /// A row of `columns!()`. The columns are there to look records up by and can be altered; what
    /// counts is the body.
    fn record(&self, row: &Row<'_>) -> Result<Record, Fault> {
        let time = |column| {
            row.get::<_, Option<i64>>(column).map(|time| time.map(Timestamp::from_unix_millis))
        };
        let digest = TokenDigest::from_bytes(row.get(0)?);
        let state = RecordState { mints_left: row.get(8)?, last_used_at: time(9)? };
        let body = row.get_ref(10)?.as_blob().map_err(rusqlite::Error::from)?;
        let record = self.key.decode(digest, body, state)?;
        let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let disagreement = if row.get::<_, [u8; 16]>(1)? != *record.id.as_bytes() {
            "id"
        } else if text(2)? != record.token_api {
            "token API"
        } else if row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)?
            != record.origin.as_deref()
        {
            "origin"
        } else if text(4)? != record.identity.subject {
            "subject"
        } else if time(5)? != Some(record.issued_at) {
            "time of issue"
        } else if time(6)? != record.expires_at {
            "expiry"
        } else if text(7)? != sort_name(record.kind.sort()) {
            "sort"
        } else {
            return Ok(record);
        };
        Err(Fault::Disagreement(disagreement))
    }
}

/// What the column `sort` says.
const fn sort_name(sort: RecordSort) -> &'static str {
    match sort {
        RecordSort::ApiKey => "api_key",
        RecordSort::Session => "session",
        RecordSort::Bootstrap => "bootstrap",
    }
}
