//! Retired keys: moved out of `record`, so that no look-up that lets a token in can find them.

use super::Tables;
use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};
use crate::store::embedded::fault::Fault;
use crate::tokens::store::{AuthorizedBy, Listed, MOST_RETIRED, OnRemove};
use rusqlite::{Params, Row};

/// The columns of a record as [`Tables::record`] reads them, and the moment of retirement.
macro_rules! columns {
    () => {
        "digest, id, token_api, origin, subject, issued_at, expires_at, 'api_key', NULL, \
         last_used_at, body, retired_at"
    };
}

/// The columns that `record` and `retired` share.
macro_rules! shared {
    () => {
        "digest, id, token_api, origin, subject, issued_at, expires_at, last_used_at, body"
    };
}

impl Tables {
    /// Copies the record under `target` to the retired ones, if it is an API key that has not
    /// expired.
    pub(super) fn retire(&self, target: TokenDigest, now: Timestamp) -> Result<(), Fault> {
        let sql = concat!(
            "INSERT INTO retired (",
            shared!(),
            ", retired_at) SELECT ",
            shared!(),
            ", ?2 FROM record WHERE digest = ?1 AND sort = 'api_key' AND (expires_at IS NULL OR \
             expires_at > ?2)",
            " RETURNING token_api, origin, subject"
        );
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query((target.as_bytes(), now.unix_millis()))?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let owner = Owner { token_api: row.get(0)?, origin: row.get(1)?, subject: row.get(2)? };
        // To its end: only then is the statement over.
        while rows.next()?.is_some() {}
        self.forget_oldest(&owner)
    }

    /// Copies the API keys of `owner` that have not expired to the retired ones.
    pub(super) fn retire_owned(&self, owner: &Owner, now: Timestamp) -> Result<(), Fault> {
        let sql = concat!(
            "INSERT INTO retired (",
            shared!(),
            ", retired_at) SELECT ",
            shared!(),
            ", ?4 FROM record WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 AND sort = \
             'api_key'",
            " AND (expires_at IS NULL OR expires_at > ?4) ORDER BY issued_at, seq"
        );
        let params = (&owner.token_api, &owner.subject, &owner.origin, now.unix_millis());
        self.statement(sql)?.execute(params)?;
        self.forget_oldest(owner)
    }

    /// The retired keys of `owner`, oldest first.
    pub(super) fn retired_of(&self, owner: &Owner) -> Result<Vec<Listed>, Fault> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM retired WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 ORDER BY \
             issued_at, seq"
        );
        self.listed(sql, (&owner.token_api, &owner.subject, &owner.origin))
    }

    /// All of them, oldest first.
    pub(in crate::store::embedded) fn retired(&self) -> Result<Vec<Listed>, Fault> {
        self.listed(concat!("SELECT ", columns!(), " FROM retired ORDER BY issued_at, seq"), [])
    }

    /// Adds what another store kept.
    pub(in crate::store::embedded) fn restore(&self, kept: &Listed) -> Result<(), Fault> {
        self.provision(&kept.record)?;
        if let Some(retired_at) = kept.retired_at {
            self.remove(AuthorizedBy::Outside, kept.record.digest, OnRemove::Retire, retired_at)?;
        }
        Ok(())
    }

    /// The retired key with this public id.
    pub(super) fn retired_by_id(
        &self,
        token_api: &str,
        id: TokenId,
    ) -> Result<Option<Listed>, Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM retired WHERE id = ?1 AND token_api = ?2");
        Ok(self.listed(sql, (id.as_bytes(), token_api))?.pop())
    }

    /// Whether a retired key has the digest or the id of `record`.
    pub(super) fn is_retired(&self, record: &Record) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM retired WHERE digest = ?1 OR id = ?2";
        Ok(self.statement(sql)?.exists((record.digest.as_bytes(), record.id.as_bytes()))?)
    }

    /// Reads every retired key: what cannot be read is damage.
    pub(super) fn verify_retired(&self) -> Result<(), Fault> {
        let mut statement =
            self.connection.prepare(concat!("SELECT ", columns!(), " FROM retired"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.listing(row)?;
        }
        Ok(())
    }

    /// Keeps the newest [`MOST_RETIRED`] of `owner`.
    fn forget_oldest(&self, owner: &Owner) -> Result<(), Fault> {
        // SQLite takes a negative limit for none.
        let sql = "DELETE FROM retired WHERE seq IN
                   (SELECT seq FROM retired WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3
                    ORDER BY retired_at DESC, seq DESC LIMIT -1 OFFSET ?4)";
        let most = i64::try_from(MOST_RETIRED).unwrap_or(i64::MAX);
        self.statement(sql)?.execute((&owner.token_api, &owner.subject, &owner.origin, most))?;
        Ok(())
    }

    fn listed(&self, sql: &str, params: impl Params) -> Result<Vec<Listed>, Fault> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let mut listed = Vec::new();
        while let Some(row) = rows.next()? {
            listed.push(self.listing(row)?);
        }
        Ok(listed)
    }

    fn listing(&self, row: &Row<'_>) -> Result<Listed, Fault> {
        let retired_at = Some(Timestamp::from_unix_millis(row.get(11)?));
        Ok(Listed { record: self.record(row)?, retired_at })
    }
}
