//! The port of accounts.
//!
//! Everything about an account is in its sealed body, which no script can read or write. So an
//! account is changed by putting another body in the place of the one that was read, if that is
//! still there: otherwise the script returns the body that is there now.

use redis::Value;

use super::RedisStore;
use super::calls::{self, Call, Script};
use super::failure::unknown_outcome;
use super::layout::{origin_name, owner_name, token_api_name};
use super::operations::Operations;
use super::reply;
use crate::domain::{Account, AccountId, Owner, Record, Timestamp, TokenDigest, hex};
use crate::store::account_codec;
use crate::tokens::accounts::store::{Credentials, MOST_SESSIONS, Registered, SessionOpening};
use crate::tokens::accounts::{AccountStore, PasswordHash};
use crate::tokens::store::{MOST_RETIRED, StoreError, StoreFuture};

/// How often a step is tried whose account has changed since it was read. An account has few
/// changes at the same time.
const TRIES: usize = 64;

/// An account as it was read.
struct StoredAccount {
    credentials: Credentials,
    /// The body that a change replaces.
    body: Vec<u8>,
}

/// What of an account ends with a change.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// Nothing.
    Nothing,
    /// Its sessions.
    Sessions,
    /// Its sessions, what they made at other token APIs, and its keys, which are retired at this
    /// moment.
    All(Timestamp),
}

impl Operations {
    /// One command: this is asked for each login.
    async fn account(
        &self,
        token_api: &str,
        id: AccountId,
    ) -> Result<Option<StoredAccount>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.layout.account(&token_api_name(token_api), id)).arg("b");
        let (body,): (Option<Vec<u8>>,) = reply::read(self.executor.read(command).await?)?;
        body.map(|body| self.open(token_api, id, body)).transpose()
    }

    /// A step on an account, if that is still what was read.
    fn step(&self, script: &'static Script, read: &StoredAccount) -> Call {
        let account = &read.credentials.account;
        let key = self.layout.account(&token_api_name(&account.token_api), account.id);
        self.call(script, [key]).lasting().argument(&read.body)
    }

    /// Makes steps of what `make` says about the account that is there, until one is made in time.
    /// Returns what was removed; `None`: there is no such account, or `make` wants no step.
    async fn try_steps(
        &self,
        token_api: &str,
        id: AccountId,
        make: impl Fn(&StoredAccount) -> Result<Option<Call>, StoreError>,
    ) -> Result<Option<Vec<TokenDigest>>, StoreError> {
        let mut found = self.account(token_api, id).await?;
        for _ in 0..TRIES {
            let Some(read) = &found else { return Ok(None) };
            let Some(call) = make(read)? else { return Ok(None) };
            let (outcome, payload) = self.change(call).await?;
            match outcome.as_str() {
                "changed" | "opened" => return reply::digests(payload).map(Some),
                "stale" => {
                    let body: Vec<u8> = reply::read(payload)?;
                    let is_there = !body.is_empty();
                    found = is_there.then(|| self.open(token_api, id, body)).transpose()?;
                }
                _ => return unknown_outcome(),
            }
        }
        Err(StoreError::Overloaded)
    }

    /// Changes an account, unless `change` returns `false`. Returns what was removed; `None`: there
    /// is no such account, or it was not to be changed.
    async fn change_account(
        &self,
        token_api: String,
        id: AccountId,
        ends: Ends,
        change: impl Fn(&mut Credentials) -> bool,
    ) -> Result<Option<Vec<TokenDigest>>, StoreError> {
        let (what, now) = match ends {
            Ends::Nothing => ("nothing", None),
            Ends::Sessions => ("sessions", None),
            Ends::All(now) => ("all", Some(now.unix_millis())),
        };
        let subject = id.to_string();
        let derived = origin_name(&token_api, &subject);
        let owner = owner_name(&Owner { token_api: token_api.clone(), origin: None, subject });
        let make = |read: &StoredAccount| {
            let mut credentials = read.credentials.clone();
            if !change(&mut credentials) {
                return Ok(None);
            }
            let call = self
                .step(&calls::CHANGE_ACCOUNT, read)
                .argument(account_codec::encode(&self.key, &credentials)?)
                .argument(what)
                .argument(&owner)
                .argument(&derived)
                .optional(now)
                .argument(MOST_RETIRED);
            Ok(Some(call))
        };
        self.try_steps(&token_api, id, make).await
    }

    async fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: &Record,
    ) -> Result<SessionOpening, StoreError> {
        let make = |read: &StoredAccount| {
            let account = &read.credentials.account;
            if account.revision != revision || account.is_disabled {
                return Ok(None);
            }
            let call = self.step(&calls::OPEN_SESSION, read).argument(MOST_SESSIONS);
            self.adding(call, session).map(Some)
        };
        let removed = self.try_steps(&session.token_api, id, make).await?;
        Ok(removed.map_or(SessionOpening::Stale, |removed| SessionOpening::Opened { removed }))
    }

    fn listed_account(&self, row: Value) -> Result<Account, StoreError> {
        let (member, created_at, body): (Vec<u8>, i64, Vec<u8>) = reply::read(row)?;
        let account = account_codec::decode(&self.key, &body)?.account;
        let name = token_api_name(&account.token_api) + &hex::encode(account.id.as_bytes());
        if member.get(12..) != Some(name.as_bytes()) {
            Err(disagreement("id"))
        } else if created_at != account.created_at.unix_millis() {
            Err(disagreement("time of registration"))
        } else {
            Ok(account)
        }
    }

    fn open(
        &self,
        token_api: &str,
        id: AccountId,
        body: Vec<u8>,
    ) -> Result<StoredAccount, StoreError> {
        let credentials = self.decode(token_api, &body)?;
        if credentials.account.id != id {
            return Err(disagreement("id"));
        }
        Ok(StoredAccount { credentials, body })
    }

    fn decode(&self, token_api: &str, body: &[u8]) -> Result<Credentials, StoreError> {
        let credentials = account_codec::decode(&self.key, body)?;
        if credentials.account.token_api != token_api {
            return Err(disagreement("token API"));
        }
        Ok(credentials)
    }
}

impl AccountStore for RedisStore {
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let credentials = Credentials { account, hash };
            let account = &credentials.account;
            let token_api = token_api_name(&account.token_api);
            let keys = [
                layout.account(&token_api, account.id),
                layout.usernames(&token_api),
                layout.emails(&token_api),
                layout.accounts(),
            ];
            let call = operations
                .call(&calls::REGISTER, keys)
                .lasting()
                .argument(token_api)
                .argument(hex::encode(account.id.as_bytes()))
                .argument(account.username.folded())
                .argument(account.email.folded())
                .time(account.created_at)
                .argument(account_codec::encode(&operations.key, &credentials)?);
            match operations.change(call).await?.0.as_str() {
                "registered" => Ok(Registered::Registered),
                "username" => Ok(Registered::UsernameTaken),
                "email" => Ok(Registered::EmailTaken),
                _ => unknown_outcome(),
            }
        })
    }

    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let name = token_api_name(&token_api);
            let call = Call::new(&calls::ACCOUNT_BY_NAME, vec![layout.usernames(&name)])
                .argument(layout.accounts_of(&name))
                .argument(&folded);
            let found: Option<(String, Vec<u8>)> =
                reply::read(operations.executor.run(call).await?)?;
            let Some((id, body)) = found else { return Ok(None) };
            let credentials = operations.decode(&token_api, &body)?;
            let account = &credentials.account;
            if id != hex::encode(account.id.as_bytes()) {
                Err(disagreement("id"))
            } else if account.username.folded() != folded {
                Err(disagreement("username"))
            } else {
                Ok(Some(credentials))
            }
        })
    }

    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>> {
        self.run(async move |operations| {
            Ok(operations.account(&token_api, id).await?.map(|found| found.credentials.account))
        })
    }

    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>> {
        self.run(async move |operations| {
            let token_api = token_api.as_deref().map(token_api_name).unwrap_or_default();
            let accounts = [operations.layout.accounts()];
            let call = operations.call(&calls::ACCOUNTS, accounts).argument(token_api);
            operations.list(call, limit, |row| operations.listed_account(row), |_| true).await
        })
    }

    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |operations| {
            let disabled = |credentials: &mut Credentials| {
                credentials.account.is_disabled = true;
                raise_revision(credentials);
                true
            };
            operations.change_account(token_api, id, Ends::All(now), disabled).await
        })
    }

    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool> {
        self.run(async move |operations| {
            let enabled = |credentials: &mut Credentials| {
                credentials.account.is_disabled = false;
                true
            };
            let changed = operations.change_account(token_api, id, Ends::Nothing, enabled).await?;
            Ok(changed.is_some())
        })
    }

    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |operations| {
            let with_another = |credentials: &mut Credentials| {
                credentials.hash = hash.clone();
                raise_revision(credentials);
                true
            };
            operations.change_account(token_api, id, Ends::Sessions, with_another).await
        })
    }

    fn rehash(
        &self,
        token_api: String,
        id: AccountId,
        revision: u32,
        hash: PasswordHash,
    ) -> StoreFuture<()> {
        self.run(async move |operations| {
            let rehashed = |credentials: &mut Credentials| {
                credentials.hash = hash.clone();
                credentials.account.revision == revision
            };
            operations.change_account(token_api, id, Ends::Nothing, rehashed).await.map(|_| ())
        })
    }

    fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: Record,
    ) -> StoreFuture<SessionOpening> {
        self.run(async move |operations| operations.open_session(id, revision, &session).await)
    }
}

fn raise_revision(credentials: &mut Credentials) {
    credentials.account.revision = credentials.account.revision.wrapping_add(1);
}

/// What led to a body is not what the body says.
fn disagreement(what: &str) -> StoreError {
    StoreError::Corrupt(format!("an account's {what} is not the one that was sealed"))
}
