//! Retired keys: moved out of `record`, so that no look-up that lets a token in can find them.

use rusqlite::{Params, Row};

use super::fault::Fault;
use super::tables::{Tables, sql_count};
use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};
use crate::tokens::store::{Listed, MOST_RETIRED};

/// Selects retired keys: the columns of a record as [`Tables::record`] reads them, and the moment
/// of retirement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT digest, id, token_api, origin, subject, issued_at, expires_at, 'api_key', \
             NULL, last_used_at, body, retired_at FROM retired ",
            $rest
        )
    };
}

/// Copies API keys that have not expired at `?1` to the retired ones.
macro_rules! retire {
    ($rest:literal) => {
        concat!(
            "INSERT INTO retired (digest, id, token_api, origin, subject, issued_at, expires_at, \
             last_used_at, body, retired_at)
             SELECT digest, id, token_api, origin, subject, issued_at, expires_at, \
             last_used_at, body, ?1 FROM record
             WHERE sort = 'api_key' AND (expires_at IS NULL OR expires_at > ?1) AND ",
            $rest
        )
    };
}

impl Tables {
    /// Copies the record under `target` to the retired ones, if it is an API key that has not
    /// expired.
    pub(super) fn retire(&self, target: TokenDigest, now: Timestamp) -> Result<(), Fault> {
        let sql = retire!("digest = ?2 RETURNING token_api, origin, subject");
        let owners = self.rows(sql, (now.unix_millis(), target.as_bytes()), |row| {
            Ok(Owner { token_api: row.get(0)?, origin: row.get(1)?, subject: row.get(2)? })
        })?;
        owners.iter().try_for_each(|owner| self.forget_oldest(owner))
    }

    /// Copies the API keys of `owner` that have not expired to the retired ones.
    pub(super) fn retire_owned(&self, owner: &Owner, now: Timestamp) -> Result<(), Fault> {
        let sql =
            retire!("token_api = ?2 AND subject = ?3 AND origin IS ?4 ORDER BY issued_at, seq");
        let params = (now.unix_millis(), &owner.token_api, &owner.subject, &owner.origin);
        self.statement(sql)?.execute(params)?;
        self.forget_oldest(owner)
    }

    /// The retired keys of `owner`, oldest first.
    pub(super) fn retired_of(&self, owner: &Owner) -> Result<Vec<Listed>, Fault> {
        let sql = select!(
            "WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 ORDER BY issued_at, seq"
        );
        self.listed(sql, (&owner.token_api, &owner.subject, &owner.origin))
    }

    /// All of them, oldest first.
    pub(super) fn retired(&self) -> Result<Vec<Listed>, Fault> {
        self.listed(select!("ORDER BY issued_at, seq"), [])
    }

    /// The retired key with this public id.
    pub(super) fn retired_by_id(
        &self,
        token_api: &str,
        id: TokenId,
    ) -> Result<Option<Listed>, Fault> {
        let sql = select!("WHERE id = ?1 AND token_api = ?2");
        Ok(self.listed(sql, (id.as_bytes(), token_api))?.pop())
    }

    /// Whether a retired key has the digest or the id of `record`.
    pub(super) fn is_retired(&self, record: &Record) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM retired WHERE digest = ?1 OR id = ?2";
        Ok(self.statement(sql)?.exists((record.digest.as_bytes(), record.id.as_bytes()))?)
    }

    /// Reads every retired key: what cannot be read is damage.
    pub(super) fn verify_retired(&self) -> Result<(), Fault> {
        self.rows(select!(""), [], |row| self.listing(row).map(drop)).map(drop)
    }

    /// Keeps the newest [`MOST_RETIRED`] of `owner`.
    fn forget_oldest(&self, owner: &Owner) -> Result<(), Fault> {
        // SQLite takes a negative limit for none.
        let sql = "DELETE FROM retired WHERE seq IN
                   (SELECT seq FROM retired WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3
                    ORDER BY retired_at DESC, seq DESC LIMIT -1 OFFSET ?4)";
        let most = sql_count(MOST_RETIRED);
        self.statement(sql)?.execute((&owner.token_api, &owner.subject, &owner.origin, most))?;
        Ok(())
    }

    fn listed(&self, sql: &str, params: impl Params) -> Result<Vec<Listed>, Fault> {
        self.rows(sql, params, |row| self.listing(row))
    }

    fn listing(&self, row: &Row<'_>) -> Result<Listed, Fault> {
        let retired_at = Some(Timestamp::from_unix_millis(row.get(11)?));
        Ok(Listed { record: self.record(row)?, retired_at })
    }
}
