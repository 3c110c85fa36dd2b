//! Accounts, and what changes with them: their sessions and keys, which are records.

use rusqlite::{Params, Row};

use super::Tables;
use crate::domain::{Account, AccountId, Owner, Record, Timestamp, TokenDigest};
use crate::store::account_codec;
use crate::store::embedded::fault::Fault;
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::{Credentials, MOST_SESSIONS, Registered, SessionOpening};

macro_rules! columns {
    () => {
        "id, token_api, username, email, created_at, body"
    };
}

impl Tables {
    pub(in crate::store::embedded) fn register(
        &self,
        credentials: &Credentials,
    ) -> Result<Registered, Fault> {
        let account = &credentials.account;
        let (username, email) = (account.username.folded(), account.email.folded());
        let taken = |sql: &str, value: &str| {
            Ok::<_, Fault>(self.statement(sql)?.exists((&account.token_api, value))?)
        };
        if taken("SELECT 1 FROM account WHERE token_api = ?1 AND username = ?2", &username)? {
            return Ok(Registered::UsernameTaken);
        }
        if taken("SELECT 1 FROM account WHERE token_api = ?1 AND email = ?2", &email)? {
            return Ok(Registered::EmailTaken);
        }
        let sql = concat!("INSERT INTO account (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        self.statement(sql)?.execute((
            account.id.as_bytes(),
            &account.token_api,
            username,
            email,
            account.created_at.unix_millis(),
            account_codec::encode(&self.key, credentials)?,
        ))?;
        Ok(Registered::Registered)
    }

    pub(in crate::store::embedded) fn account_by_username(
        &self,
        token_api: &str,
        folded: &str,
    ) -> Result<Option<Credentials>, Fault> {
        let sql =
            concat!("SELECT ", columns!(), " FROM account WHERE token_api = ?1 AND username = ?2");
        Ok(self.credentials(sql, (token_api, folded))?.pop())
    }

    pub(in crate::store::embedded) fn account(
        &self,
        token_api: &str,
        id: AccountId,
    ) -> Result<Option<Credentials>, Fault> {
        let sql = concat!("SELECT ", columns!(), " FROM account WHERE id = ?2 AND token_api = ?1");
        Ok(self.credentials(sql, (token_api, id.as_bytes()))?.pop())
    }

    pub(in crate::store::embedded) fn accounts(
        &self,
        token_api: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Account>, Fault> {
        // SQLite takes a negative limit for none.
        let limit = if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(i64::MAX) };
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM account WHERE (?1 IS NULL OR token_api = ?1) ORDER BY created_at, seq LIMIT ?2"
        );
        Ok(self
            .credentials(sql, (token_api, limit))?
            .into_iter()
            .map(|found| found.account)
            .collect())
    }

    pub(in crate::store::embedded) fn disable(
        &self,
        token_api: &str,
        id: AccountId,
        now: Timestamp,
    ) -> Result<Option<Vec<TokenDigest>>, Fault> {
        let Some(mut credentials) = self.account(token_api, id)? else { return Ok(None) };
        credentials.account.is_disabled = true;
        credentials.account.revision = credentials.account.revision.wrapping_add(1);
        self.replace(&credentials)?;
        let owner =
            Owner { token_api: token_api.to_owned(), origin: None, subject: id.to_string() };
        let mut removed = self.delete_sessions(&owner, 0)?;
        self.retire_owned(&owner, now)?;
        removed.extend(self.delete_owned(&owner)?);
        let sql = "DELETE FROM record WHERE origin = ?1 AND subject = ?2 RETURNING digest";
        removed.extend(self.digests(sql, (token_api, id.to_string()))?);
        Ok(Some(removed))
    }

    pub(in crate::store::embedded) fn enable(
        &self,
        token_api: &str,
        id: AccountId,
    ) -> Result<bool, Fault> {
        let Some(mut credentials) = self.account(token_api, id)? else { return Ok(false) };
        credentials.account.is_disabled = false;
        self.replace(&credentials)?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn set_password(
        &self,
        token_api: &str,
        id: AccountId,
        hash: &PasswordHash,
    ) -> Result<Option<Vec<TokenDigest>>, Fault> {
        let Some(mut credentials) = self.account(token_api, id)? else { return Ok(None) };
        credentials.account.revision = credentials.account.revision.wrapping_add(1);
        credentials.hash = hash.clone();
        self.replace(&credentials)?;
        let owner =
            Owner { token_api: token_api.to_owned(), origin: None, subject: id.to_string() };
        self.delete_sessions(&owner, 0).map(Some)
    }

    pub(in crate::store::embedded) fn rehash(
        &self,
        token_api: &str,
        id: AccountId,
        revision: u32,
        hash: &PasswordHash,
    ) -> Result<(), Fault> {
        match self.account(token_api, id)? {
            Some(mut credentials) if credentials.account.revision == revision => {
                credentials.hash = hash.clone();
                self.replace(&credentials)
            }
            _ => Ok(()),
        }
    }

    pub(in crate::store::embedded) fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: &Record,
    ) -> Result<SessionOpening, Fault> {
        match self.account(&session.token_api, id)? {
            Some(Credentials { account, .. })
                if account.revision == revision && !account.is_disabled => {}
            _ => return Ok(SessionOpening::Stale),
        }
        self.provision(session)?;
        let removed = self.delete_sessions(&session.owner(), MOST_SESSIONS)?;
        Ok(SessionOpening::Opened { removed })
    }

    /// Reads every account: what cannot be read is damage.
    pub(super) fn verify_accounts(&self) -> Result<(), Fault> {
        let mut statement =
            self.connection.prepare(concat!("SELECT ", columns!(), " FROM account"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.read_credentials(row)?;
        }
        Ok(())
    }

    /// Deletes the sessions of `owner` but the newest `kept`, and names them.
    fn delete_sessions(&self, owner: &Owner, kept: usize) -> Result<Vec<TokenDigest>, Fault> {
        // SQLite takes a negative limit for none.
        let sql = "DELETE FROM record WHERE seq IN
                   (SELECT seq FROM record WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 \
                   AND sort = 'session'
                    ORDER BY issued_at DESC, seq DESC LIMIT -1 OFFSET ?4)
                   RETURNING digest";
        let kept = i64::try_from(kept).unwrap_or(i64::MAX);
        self.digests(sql, (&owner.token_api, &owner.subject, &owner.origin, kept))
    }

    fn digests(&self, sql: &str, params: impl Params) -> Result<Vec<TokenDigest>, Fault> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let mut digests = Vec::new();
        while let Some(row) = rows.next()? {
            digests.push(TokenDigest::from_bytes(row.get(0)?));
        }
        Ok(digests)
    }

    fn replace(&self, credentials: &Credentials) -> Result<(), Fault> {
        let body = account_codec::encode(&self.key, credentials)?;
        self.statement("UPDATE account SET body = ?2 WHERE id = ?1")?
            .execute((credentials.account.id.as_bytes(), body))?;
        Ok(())
    }

    fn credentials(&self, sql: &str, params: impl Params) -> Result<Vec<Credentials>, Fault> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(self.read_credentials(row)?);
        }
        Ok(found)
    }

    /// A row of `columns!()`. The columns are there to look accounts up by and can be altered; what
    /// counts is the body.
    fn read_credentials(&self, row: &Row<'_>) -> Result<Credentials, Fault> {
        let body = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
        let credentials = account_codec::decode(&self.key, body)?;
        let account = &credentials.account;
        let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let disagreement = if row.get::<_, [u8; 16]>(0)? != *account.id.as_bytes() {
            "id"
        } else if text(1)? != account.token_api {
            "token API"
        } else if text(2)? != account.username.folded() {
            "username"
        } else if text(3)? != account.email.folded() {
            "email address"
        } else if row.get::<_, i64>(4)? != account.created_at.unix_millis() {
            "time of registration"
        } else {
            return Ok(credentials);
        };
        Err(Fault::AccountDisagreement(disagreement))
    }
}
