//! The store's operations in SQL. Each runs inside a transaction that [`super::lane`] opens and ends.

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, Params, Row};

use super::fault::Fault;
use super::schema;
use crate::domain::{Owner, Record, RecordKind, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::{RecordKey, RecordState};
use crate::tokens::store::{Filter, Issue, Removal, StoreError};

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
    /// The lock of this instance. Last, so that it is given up after the connection is closed.
    _lock: Option<File>,
}

macro_rules! columns {
    () => {
        "digest, id, token_api, subject, issued_at, expires_at, mints_left, last_used_at, body"
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
        Self { connection, path, key, busy, failed: Cell::new(false), log_due: Cell::new(false), _lock: lock }
    }

    pub(super) fn explain(&self, fault: &Fault) -> StoreError {
        fault.explain(&self.path)
    }

    pub(super) fn find(&self, digest: TokenDigest) -> Result<Option<Record>, Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM record WHERE digest = ?1");
        self.one(sql, [digest.as_bytes()])
    }

    pub(super) fn find_by_id(&self, token_api: &str, id: TokenId) -> Result<Option<Record>, Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM record WHERE id = ?1 AND token_api = ?2");
        self.one(sql, (id.as_bytes(), token_api))
    }

    pub(super) fn issue(&self, parent: TokenDigest, child: &Record, now: Timestamp) -> Result<Issue, Fault> {
        let Some(parent) = self.live(parent, now)? else { return Ok(Issue::ParentGone) };
        match parent.kind {
            RecordKind::ApiKey => {}
            RecordKind::Bootstrap { mints_left: 0 } => return Ok(Issue::ParentSpent),
            RecordKind::Bootstrap { .. } => {
                let sql = "UPDATE record SET mints_left = mints_left - 1 WHERE digest = ?1";
                self.statement(sql)?.execute([parent.digest.as_bytes()])?;
            }
        }
        self.provision(child)?;
        Ok(Issue::Issued)
    }

    pub(super) fn provision(&self, record: &Record) -> Result<(), Fault> {
        let sql = concat!("INSERT INTO record (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        let state = RecordState::of(record);
        self.statement(sql)?.execute((
            record.digest.as_bytes(),
            record.id.as_bytes(),
            &record.token_api,
            &record.identity.subject,
            record.issued_at.unix_millis(),
            record.expires_at.map(Timestamp::unix_millis),
            state.mints_left,
            state.last_used_at.map(Timestamp::unix_millis),
            self.key.encode(record)?,
        ))?;
        Ok(())
    }

    pub(super) fn owned(
        &self,
        caller: TokenDigest,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<Vec<Record>>, Fault> {
        if self.live(caller, now)?.is_none() {
            return Ok(None);
        }
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE token_api = ?1 AND subject = ?2 AND mints_left IS NULL",
            " AND (expires_at IS NULL OR expires_at > ?3) ORDER BY issued_at, seq"
        );
        self.many(sql, (&owner.token_api, &owner.subject, now.unix_millis())).map(Some)
    }

    pub(super) fn remove(
        &self,
        caller: Option<TokenDigest>,
        target: TokenDigest,
        now: Timestamp,
    ) -> Result<Removal, Fault> {
        if let Some(caller) = caller
            && self.live(caller, now)?.is_none()
        {
            return Ok(Removal::CallerGone);
        }
        let removed = self.statement("DELETE FROM record WHERE digest = ?1")?.execute([target.as_bytes()])?;
        Ok(if removed == 0 { Removal::Absent } else { Removal::Removed })
    }

    pub(super) fn remove_owned(
        &self,
        caller: TokenDigest,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<Vec<TokenDigest>>, Fault> {
        if self.live(caller, now)?.is_none() {
            return Ok(None);
        }
        let sql = "DELETE FROM record WHERE token_api = ?1 AND subject = ?2 AND mints_left IS NULL RETURNING digest";
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query((&owner.token_api, &owner.subject))?;
        let mut removed = Vec::new();
        while let Some(row) = rows.next()? {
            removed.push(TokenDigest::from_bytes(row.get(0)?));
        }
        Ok(Some(removed))
    }

    pub(super) fn browse(&self, filter: &Filter) -> Result<Vec<Record>, Fault> {
        // SQLite takes a negative limit for none.
        let limit = if filter.limit == 0 { -1 } else { i64::try_from(filter.limit).unwrap_or(i64::MAX) };
        let params = (&filter.token_api, &filter.subject, filter.bootstrap, limit);
        if filter.token_api.is_some() && filter.subject.is_some() {
            // In these words SQLite uses the index of owners; in the others it reads every record.
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM record WHERE token_api = ?1 AND subject = ?2",
                " AND (?3 IS NULL OR (mints_left IS NOT NULL) = ?3) ORDER BY issued_at, seq LIMIT ?4"
            );
            return self.many(sql, params);
        }
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM record WHERE (?1 IS NULL OR token_api = ?1) AND (?2 IS NULL OR subject = ?2)",
            " AND (?3 IS NULL OR (mints_left IS NOT NULL) = ?3) ORDER BY issued_at, seq LIMIT ?4"
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

    /// Writes if writing failed last, else only reads: a probe every few seconds should not keep the disk busy.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.failed.get() {
            // Random and larger than a page, so that it needs room in the log as any change does.
            let sql = "INSERT INTO meta (name, value) VALUES ('probe', randomblob(16384))
                       ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            self.statement(sql)?.execute([])?;
        }
        self.statement("SELECT seq FROM record LIMIT 1")?.query([])?.next()?;
        Ok(())
    }

    /// Stores the fingerprint at first use; afterwards, says whether it is the same.
    pub(super) fn bind_keys(&self, fingerprint: &[u8]) -> Result<bool, Fault> {
        if let Some(bound) = schema::meta(&self.connection, "keys")? {
            return Ok(bound == fingerprint);
        }
        schema::set_meta(&self.connection, "keys", fingerprint)?;
        Ok(true)
    }

    /// Writes the log back into the database and cuts it. Where a listing still reads from the log, it does what can be
    /// done without waiting.
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
        Ok(())
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

    /// A row of `columns!()`. The columns are there to look records up by and can be altered; what counts is the body.
    fn record(&self, row: &Row<'_>) -> Result<Record, Fault> {
        let time = |column| row.get::<_, Option<i64>>(column).map(|time| time.map(Timestamp::from_unix_millis));
        let digest = TokenDigest::from_bytes(row.get(0)?);
        let state = RecordState { mints_left: row.get(6)?, last_used_at: time(7)? };
        let body = row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?;
        let record = self.key.decode(digest, body, state)?;
        let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let disagreement = if row.get::<_, [u8; 16]>(1)? != *record.id.as_bytes() {
            "id"
        } else if text(2)? != record.token_api {
            "token API"
        } else if text(3)? != record.identity.subject {
            "subject"
        } else if time(4)? != Some(record.issued_at) {
            "time of issue"
        } else if time(5)? != record.expires_at {
            "expiry"
        } else {
            return Ok(record);
        };
        Err(Fault::Disagreement(disagreement))
    }
}
