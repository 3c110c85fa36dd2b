//! The port of accounts, each operation in SQL. The sessions and keys of an account are records.

use rusqlite::{Params, Row};

use super::EmbeddedStore;
use super::fault::Fault;
use super::tables::{Tables, sql_count, sql_limit};
use crate::domain::{Account, AccountId, Owner, Record, Timestamp, TokenDigest};
use crate::store::account_codec;
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::{
    AccountStore, Credentials, MOST_SESSIONS, Registered, SessionOpening,
};
use crate::tokens::store::StoreFuture;

/// Selects accounts, as [`Tables::read_credentials`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, token_api, username, email, created_at, body FROM account ", $rest)
    };
}

impl AccountStore for EmbeddedStore {
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered> {
        let credentials = Credentials { account, hash };
        self.writer.queue.ask(move |tables| {
            let account = &credentials.account;
            let (username, email) = (account.username.folded(), account.email.folded());
            let taken = |sql: &str, value: &str| {
                Ok::<_, Fault>(tables.statement(sql)?.exists((&account.token_api, value))?)
            };
            if taken("SELECT 1 FROM account WHERE token_api = ?1 AND username = ?2", &username)? {
                return Ok(Registered::UsernameTaken);
            }
            if taken("SELECT 1 FROM account WHERE token_api = ?1 AND email = ?2", &email)? {
                return Ok(Registered::EmailTaken);
            }
            let sql = "INSERT INTO account (id, token_api, username, email, created_at, body)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            tables.statement(sql)?.execute((
                account.id.as_bytes(),
                &account.token_api,
                username,
                email,
                account.created_at.unix_millis(),
                account_codec::encode(&tables.key, &credentials)?,
            ))?;
            Ok(Registered::Registered)
        })
    }

    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>> {
        self.lookups.queue.ask(move |tables| {
            let sql = select!("WHERE token_api = ?1 AND username = ?2");
            Ok(tables.credentials(sql, (&token_api, &folded))?.pop())
        })
    }

    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>> {
        self.lookups
            .queue
            .ask(move |tables| Ok(tables.account(&token_api, id)?.map(|found| found.account)))
    }

    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>> {
        self.listings.queue.ask(move |tables| {
            let sql =
                select!("WHERE (?1 IS NULL OR token_api = ?1) ORDER BY created_at, seq LIMIT ?2");
            let found = tables.credentials(sql, (&token_api, sql_limit(limit)))?;
            Ok(found.into_iter().map(|found| found.account).collect())
        })
    }

    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.writer.queue.ask(move |tables| {
            let Some(mut found) = tables.account(&token_api, id)? else { return Ok(None) };
            found.account.is_disabled = true;
            found.account.revision = found.account.revision.wrapping_add(1);
            tables.replace(&found)?;
            let owner = owner(&found.account);
            let mut removed = tables.delete_sessions(&owner, 0)?;
            tables.retire_owned(&owner, now)?;
            removed.extend(tables.delete_owned(&owner)?);
            let sql = "DELETE FROM record WHERE origin = ?1 AND subject = ?2 RETURNING digest";
            removed.extend(tables.digests(sql, (&token_api, &owner.subject))?);
            Ok(Some(removed))
        })
    }

    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool> {
        self.writer.queue.ask(move |tables| {
            let Some(mut found) = tables.account(&token_api, id)? else { return Ok(false) };
            found.account.is_disabled = false;
            tables.replace(&found)?;
            Ok(true)
        })
    }

    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.writer.queue.ask(move |tables| {
            let Some(mut found) = tables.account(&token_api, id)? else { return Ok(None) };
            found.account.revision = found.account.revision.wrapping_add(1);
            found.hash = hash.clone();
            tables.replace(&found)?;
            tables.delete_sessions(&owner(&found.account), 0).map(Some)
        })
    }

    fn rehash(
        &self,
        token_api: String,
        id: AccountId,
        revision: u32,
        hash: PasswordHash,
    ) -> StoreFuture<()> {
        self.writer.queue.ask(move |tables| match tables.account(&token_api, id)? {
            Some(mut found) if found.account.revision == revision => {
                found.hash = hash.clone();
                tables.replace(&found)
            }
            _ => Ok(()),
        })
    }

    fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: Record,
    ) -> StoreFuture<SessionOpening> {
        self.writer.queue.ask(move |tables| {
            match tables.account(&session.token_api, id)? {
                Some(Credentials { account, .. })
                    if account.revision == revision && !account.is_disabled => {}
                _ => return Ok(SessionOpening::Stale),
            }
            tables.provision(&session)?;
            let removed = tables.delete_sessions(&session.owner(), MOST_SESSIONS)?;
            Ok(SessionOpening::Opened { removed })
        })
    }
}

/// The owner of the account's sessions and keys.
fn owner(account: &Account) -> Owner {
    let (token_api, subject) = (account.token_api.clone(), account.id.to_string());
    Owner { token_api, origin: None, subject }
}

impl Tables {
    /// Reads every account: what cannot be read is damage.
    pub(super) fn verify_accounts(&self) -> Result<(), Fault> {
        self.rows(select!(""), [], |row| self.read_credentials(row).map(drop)).map(drop)
    }

    fn account(&self, token_api: &str, id: AccountId) -> Result<Option<Credentials>, Fault> {
        let sql = select!("WHERE id = ?2 AND token_api = ?1");
        Ok(self.credentials(sql, (token_api, id.as_bytes()))?.pop())
    }

    /// Deletes the sessions of `owner` but the newest `kept`, and names them.
    fn delete_sessions(&self, owner: &Owner, kept: usize) -> Result<Vec<TokenDigest>, Fault> {
        // SQLite takes a negative limit for none.
        let sql = "DELETE FROM record WHERE seq IN
                   (SELECT seq FROM record WHERE token_api = ?1 AND subject = ?2 AND origin IS ?3 \
                   AND sort = 'session'
                    ORDER BY issued_at DESC, seq DESC LIMIT -1 OFFSET ?4)
                   RETURNING digest";
        let params = (&owner.token_api, &owner.subject, &owner.origin, sql_count(kept));
        self.digests(sql, params)
    }

    fn replace(&self, credentials: &Credentials) -> Result<(), Fault> {
        let body = account_codec::encode(&self.key, credentials)?;
        self.statement("UPDATE account SET body = ?2 WHERE id = ?1")?
            .execute((credentials.account.id.as_bytes(), body))?;
        Ok(())
    }

    fn credentials(&self, sql: &str, params: impl Params) -> Result<Vec<Credentials>, Fault> {
        self.rows(sql, params, |row| self.read_credentials(row))
    }

    /// A row of `select!`. The columns are there to look accounts up by and can be altered; what
    /// counts is the body.
    fn read_credentials(&self, row: &Row<'_>) -> Result<Credentials, Fault> {
        let body = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
        let credentials = account_codec::decode(&self.key, body)?;
        let account = &credentials.account;
        let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let columns = [
            ("id", row.get::<_, [u8; 16]>(0)? == *account.id.as_bytes()),
            ("token API", text(1)? == account.token_api),
            ("username", text(2)? == account.username.folded()),
            ("email address", text(3)? == account.email.folded()),
            ("time of registration", row.get::<_, i64>(4)? == account.created_at.unix_millis()),
        ];
        match columns.into_iter().find(|(_, agrees)| !agrees) {
            Some((column, _)) => Err(Fault::Corrupt(format!("an account's {column} was altered"))),
            None => Ok(credentials),
        }
    }
}
