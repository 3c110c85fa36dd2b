//! The tables of the database: how their rows are read, written and checked. What is called here
//! runs inside a transaction that [`super::store_thread`] opens and ends.

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, Params, Row};

use super::fault::Fault;
use super::schema;
use super::tie::Tie;
use crate::domain::{Owner, Record, RecordSort, Timestamp, TokenDigest};
use crate::store::record_codec::{RecordKey, RecordState};
use crate::tokens::store::{AuthorizedBy, StoreError};

/// A connection, and what is needed to make sense of what it returns.
pub(super) struct Tables {
    pub(super) connection: Connection,
    path: PathBuf,
    pub(super) key: RecordKey,
    /// How long the connection waits for a lock.
    busy: Duration,
    /// Whether the latest attempt to write failed: [`Tables::check`] then tries for itself.
    pub(super) failed: Cell<bool>,
    /// Whether the log is to be written back and cut once the transaction is over.
    pub(super) log_due: Cell<bool>,
    /// The lock of this instance. Last, so that it is given up after the connection is closed.
    _lock: Option<Arc<File>>,
}

/// Selects records, as [`Tables::record`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT digest, id, token_api, origin, subject, issued_at, expires_at, sort, \
             mints_left, last_used_at, body FROM record ",
            $rest
        )
    };
}
pub(super) use select;

impl Tables {
    pub(super) fn new(
        connection: Connection,
        path: PathBuf,
        key: RecordKey,
        busy: Duration,
    ) -> Self {
        let (failed, log_due) = (Cell::new(false), Cell::new(false));
        Self { connection, path, key, busy, failed, log_due, _lock: None }
    }

    /// The same, which gives `lock` up at its end.
    pub(super) fn holding(self, lock: Arc<File>) -> Self {
        Self { _lock: Some(lock), ..self }
    }

    pub(super) fn explain(&self, fault: &Fault) -> StoreError {
        fault.explain(&self.path)
    }

    pub(super) fn find(&self, digest: TokenDigest) -> Result<Option<Record>, Fault> {
        self.one(select!("WHERE digest = ?1"), [digest.as_bytes()])
    }

    /// The record, unless it has expired.
    pub(super) fn live(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Record>, Fault> {
        Ok(self.find(digest)?.filter(|record| !record.is_expired(now)))
    }

    /// The API keys of `owner` that have not expired, oldest first.
    pub(super) fn live_of(&self, owner: &Owner, now: Timestamp) -> Result<Vec<Record>, Fault> {
        let sql = select!(
            "WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 AND sort = 'api_key'
             AND (expires_at IS NULL OR expires_at > ?4) ORDER BY issued_at, seq"
        );
        let params = (&owner.token_api, &owner.subject, &owner.origin, now.unix_millis());
        self.rows(sql, params, |row| self.record(row))
    }

    pub(super) fn is_good(&self, by: AuthorizedBy, now: Timestamp) -> Result<bool, Fault> {
        match by {
            AuthorizedBy::Record(digest) => Ok(self.live(digest, now)?.is_some()),
            AuthorizedBy::Outside => Ok(true),
        }
    }

    pub(super) fn provision(&self, record: &Record) -> Result<(), Fault> {
        if self.is_retired(record)? {
            return Err(Fault::Taken);
        }
        let sql = "INSERT INTO record (digest, id, token_api, origin, subject, issued_at, \
                   expires_at, sort, mints_left, last_used_at, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
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

    /// Deletes the record, and says whether there was one.
    pub(super) fn delete(&self, digest: TokenDigest) -> Result<bool, Fault> {
        let sql = "DELETE FROM record WHERE digest = ?1";
        Ok(self.statement(sql)?.execute([digest.as_bytes()])? > 0)
    }

    /// Deletes all API keys of `owner` and names them.
    pub(super) fn delete_owned(&self, owner: &Owner) -> Result<Vec<TokenDigest>, Fault> {
        let sql = "DELETE FROM record WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 AND \
                   sort = 'api_key'
                   RETURNING digest";
        self.digests(sql, (&owner.token_api, &owner.subject, &owner.origin))
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

    /// Makes what ties the database to its log for a database from before there was such a thing.
    pub(super) fn tie_log(&self) -> Result<(), Fault> {
        match Tie::read(&self.connection)? {
            Some(_) => Ok(()),
            None => Tie::new().map_err(Fault::System)?.write(&self.connection),
        }
    }

    /// Counts the open transaction, which has changed something; see [`super::tie`]. The count is
    /// read within it: the transaction before may be another process's.
    pub(super) fn count_transaction(&self) -> Result<(), Fault> {
        match Tie::read(&self.connection)? {
            Some(tie) => tie.next().write(&self.connection),
            None => Ok(()),
        }
    }

    /// Ties the store to the keys with this fingerprint, if it is tied to none yet.
    pub(super) fn bind_keys(&self, fingerprint: &[u8]) -> Result<(), Fault> {
        if schema::meta(&self.connection, "keys")?.is_some() {
            return Ok(());
        }
        let transaction = self.connection.unchecked_transaction()?;
        schema::set_meta(&self.connection, "keys", fingerprint)?;
        self.count_transaction()?;
        Ok(transaction.commit()?)
    }

    /// Writes the log back into the database and cuts it. Where a listing still reads from the log,
    /// it does what can be done without waiting.
    pub(super) fn cut_log(&self) -> Result<(), Fault> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.connection.busy_timeout(self.busy)?;
        Ok(done?)
    }

    /// Reads every row: what cannot be read is damage.
    pub(super) fn verify(&self) -> Result<(), Fault> {
        self.rows(select!(""), [], |row| self.record(row).map(drop))?;
        self.verify_retired()?;
        self.verify_accounts()
    }

    pub(super) fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.statement(sql)?.query_and_then(params, read)?.collect()
    }

    pub(super) fn one(&self, sql: &str, params: impl Params) -> Result<Option<Record>, Fault> {
        self.statement(sql)?.query_and_then(params, |row| self.record(row))?.next().transpose()
    }

    pub(super) fn digests(
        &self,
        sql: &str,
        params: impl Params,
    ) -> Result<Vec<TokenDigest>, Fault> {
        self.rows(sql, params, |row| Ok(TokenDigest::from_bytes(row.get(0)?)))
    }

    /// A row of `select!`. The columns are there to look records up by and can be altered; what
    /// counts is the body.
    pub(super) fn record(&self, row: &Row<'_>) -> Result<Record, Fault> {
        let time = |column| {
            row.get::<_, Option<i64>>(column).map(|time| time.map(Timestamp::from_unix_millis))
        };
        let digest = TokenDigest::from_bytes(row.get(0)?);
        let state = RecordState { mints_left: row.get(8)?, last_used_at: time(9)? };
        let body = row.get_ref(10)?.as_blob().map_err(rusqlite::Error::from)?;
        let record = self.key.decode(digest, body, state)?;
        let text =
            |column: usize| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
        let columns = [
            ("id", row.get::<_, [u8; 16]>(1)? == *record.id.as_bytes()),
            ("token API", text(2)? == Some(record.token_api.as_str())),
            ("origin", text(3)? == record.origin.as_deref()),
            ("subject", text(4)? == Some(record.identity.subject.as_str())),
            ("time of issue", time(5)? == Some(record.issued_at)),
            ("expiry", time(6)? == record.expires_at),
            ("sort", text(7)? == Some(sort_name(record.kind.sort()))),
        ];
        match columns.into_iter().find(|(_, agrees)| !agrees) {
            Some((column, _)) => Err(Fault::Corrupt(format!("a record's {column} was altered"))),
            None => Ok(record),
        }
    }
}

/// What the column `sort` says.
pub(super) const fn sort_name(sort: RecordSort) -> &'static str {
    match sort {
        RecordSort::ApiKey => "api_key",
        RecordSort::Session => "session",
        RecordSort::Bootstrap => "bootstrap",
    }
}

/// A count as SQLite has it.
pub(super) fn sql_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// For `LIMIT`: SQLite takes a negative number for no limit, the port takes 0.
pub(super) fn sql_limit(limit: usize) -> i64 {
    if limit == 0 { -1 } else { sql_count(limit) }
}
