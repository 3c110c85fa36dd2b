//! The operations on accounts as calls of scripts, and what their answers mean. Nothing here talks
//! to Redis.
//!
//! Everything about an account is in its sealed body, which no script can read or write. So an
//! account is changed by putting another body in the place of the one that was read, if that is
//! still there: otherwise the script says what is there now.

use redis::{Cmd, Value};

use super::announced::{Announced, outcome};
use super::calls::{self, Call};
use super::fault::unexpected;
use super::layout::{hex, owner_name, token_api_name, vouched_name};
use super::operations::{Cursor, Operations, PAGE};
use super::reply;
use crate::domain::{Account, AccountId, Owner, Record, Timestamp, TokenDigest};
use crate::store::account_codec::{self, AccountFault};
use crate::tokens::accounts::store::{Credentials, MOST_SESSIONS, Registered};
use crate::tokens::store::{MOST_RETIRED, StoreError};

/// An account as it was read.
pub(super) struct Kept {
    pub(super) credentials: Credentials,
    /// The body that a change replaces.
    body: Vec<u8>,
}

/// What of an account ends with a change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    /// Nothing.
    Nothing,
    /// Its sessions.
    Sessions,
    /// Its sessions, what they made at other token APIs, and its keys, which are retired at this
    /// moment.
    All(Timestamp),
}

/// What became of a step that builds on an account as it was read.
pub(super) enum Step {
    /// It was made. What was removed, and the announcement of it if there was something to remove.
    Made(Vec<TokenDigest>, Option<Announced>),
    /// Nothing was changed, for the account is not what it was: this is what is there now.
    Stale(Option<Kept>),
}

/// What a step of a listing found.
pub(super) struct Page {
    pub(super) accounts: Vec<Account>,
    /// Where to go on; `None`: this was all.
    pub(super) next: Option<Cursor>,
}

impl From<AccountFault> for StoreError {
    fn from(fault: AccountFault) -> Self {
        Self::Corrupt(fault.to_string())
    }
}

impl Operations {
    pub(super) fn register(&self, credentials: &Credentials) -> Result<Call, StoreError> {
        let account = &credentials.account;
        let token_api = token_api_name(&account.token_api);
        let keys = [
            self.layout.account(&token_api, account.id),
            self.layout.usernames(&token_api),
            self.layout.emails(&token_api),
            self.layout.accounts(),
        ];
        Ok(self
            .call(&calls::REGISTER, keys)
            .lasting()
            .argument(token_api)
            .argument(hex(account.id.as_bytes()))
            .argument(account.username.folded())
            .argument(account.email.folded())
            .number(Some(account.created_at.unix_millis()))
            .argument(account_codec::encode(&self.key, credentials)?))
    }

    /// One command: this is asked for each login.
    pub(super) fn account(&self, token_api: &str, id: AccountId) -> Cmd {
        let mut command = redis::cmd("HMGET");
        command.arg(self.layout.account(&token_api_name(token_api), id)).arg("b");
        command
    }

    pub(super) fn account_found(
        &self,
        token_api: &str,
        id: AccountId,
        value: Value,
    ) -> Result<Option<Kept>, StoreError> {
        let [body] = reply::parts::<1>(value)?;
        reply::bytes(body)?.map(|body| self.open(token_api, id, body)).transpose()
    }

    pub(super) fn account_by_username(&self, token_api: &str, folded: &str) -> Call {
        let token_api = token_api_name(token_api);
        Call::new(&calls::ACCOUNT_BY_NAME, vec![self.layout.usernames(&token_api)])
            .argument(self.layout.accounts_of(&token_api))
            .argument(folded)
    }

    pub(super) fn account_by_username_found(
        &self,
        token_api: &str,
        folded: &str,
        value: Value,
    ) -> Result<Option<Credentials>, StoreError> {
        if value == Value::Nil {
            return Ok(None);
        }
        let [id, body] = reply::parts::<2>(value)?.map(reply::bytes);
        let Credentials { account, hash } = self.decode(token_api, &body?.unwrap_or_default())?;
        if id?.as_deref() != Some(hex(account.id.as_bytes()).as_bytes()) {
            Err(disagreement("id"))
        } else if account.username.folded() != folded {
            Err(disagreement("username"))
        } else {
            Ok(Some(Credentials { account, hash }))
        }
    }

    pub(super) fn accounts(&self, token_api: Option<&str>, from: &Cursor) -> Call {
        self.call(&calls::ACCOUNTS, [self.layout.accounts()])
            .argument(from.score.as_slice())
            .argument(from.member.as_slice())
            .argument(PAGE.to_string())
            .argument(token_api.map(token_api_name).unwrap_or_default())
    }

    pub(super) fn accounts_page(&self, value: Value) -> Result<Page, StoreError> {
        let [rows, score, member] = reply::parts::<3>(value)?;
        let accounts = reply::list(rows)?
            .into_iter()
            .map(|row| self.listed_account(row))
            .collect::<Result<_, _>>()?;
        Ok(Page { accounts, next: Cursor::read(score, member)? })
    }

    fn listed_account(&self, row: Value) -> Result<Account, StoreError> {
        let [member, created_at, body] = reply::parts::<3>(row)?;
        let body = reply::bytes(body)?.unwrap_or_default();
        let account = account_codec::decode(&self.key, &body)?.account;
        let name = format!("{}{}", token_api_name(&account.token_api), hex(account.id.as_bytes()));
        if reply::bytes(member)?.unwrap_or_default().get(12..) != Some(name.as_bytes()) {
            Err(disagreement("id"))
        } else if reply::number(created_at)? != account.created_at.unix_millis() {
            Err(disagreement("time of registration"))
        } else {
            Ok(account)
        }
    }

    /// Puts `to` in the place of what was read.
    pub(super) fn change_account(
        &self,
        read: &Kept,
        to: &Credentials,
        ends: Ends,
    ) -> Result<Call, StoreError> {
        let account = &to.account;
        let subject = account.id.to_string();
        let vouched = vouched_name(&account.token_api, &subject);
        let owner =
            owner_name(&Owner { token_api: account.token_api.clone(), origin: None, subject });
        let (what, now) = match ends {
            Ends::Nothing => ("nothing", None),
            Ends::Sessions => ("sessions", None),
            Ends::All(now) => ("all", Some(now.unix_millis())),
        };
        Ok(self
            .call(
                &calls::CHANGE_ACCOUNT,
                [self.layout.account(&token_api_name(&account.token_api), account.id)],
            )
            .lasting()
            .argument(read.body.as_slice())
            .argument(account_codec::encode(&self.key, to)?)
            .argument(what)
            .argument(owner)
            .argument(vouched)
            .number(now)
            .argument(MOST_RETIRED.to_string()))
    }

    /// Adds a session of the account that was read.
    pub(super) fn open_session(&self, read: &Kept, session: &Record) -> Result<Call, StoreError> {
        let account = &read.credentials.account;
        let call = self
            .call(
                &calls::OPEN_SESSION,
                [self.layout.account(&token_api_name(&account.token_api), account.id)],
            )
            .lasting()
            .argument(read.body.as_slice())
            .argument(MOST_SESSIONS.to_string());
        self.adding(call, session)
    }

    /// What became of [`Self::change_account`] or [`Self::open_session`] of this account.
    pub(super) fn account_step(
        &self,
        token_api: &str,
        id: AccountId,
        value: Value,
    ) -> Result<Step, StoreError> {
        let mut parts = outcome(value)?;
        match parts.outcome.as_str() {
            "changed" | "opened" => {
                let removed = parts.next_if_any().map_or(Ok(Vec::new()), reply::digests)?;
                Ok(Step::Made(removed, parts.announced()?))
            }
            "stale" => {
                let body = reply::bytes(parts.next()?)?.filter(|body| !body.is_empty());
                Ok(Step::Stale(body.map(|body| self.open(token_api, id, body)).transpose()?))
            }
            "conflict" => Err(StoreError::Conflict),
            _ => Err(unexpected("a known outcome")),
        }
    }

    fn open(&self, token_api: &str, id: AccountId, body: Vec<u8>) -> Result<Kept, StoreError> {
        let credentials = self.decode(token_api, &body)?;
        if credentials.account.id != id {
            return Err(disagreement("id"));
        }
        Ok(Kept { credentials, body })
    }

    fn decode(&self, token_api: &str, body: &[u8]) -> Result<Credentials, StoreError> {
        let credentials = account_codec::decode(&self.key, body)?;
        if credentials.account.token_api != token_api {
            return Err(disagreement("token API"));
        }
        Ok(credentials)
    }
}

/// What [`Operations::register`] returned.
pub(super) fn registered(value: Value) -> Result<Registered, StoreError> {
    match outcome(value)?.outcome.as_str() {
        "registered" => Ok(Registered::Registered),
        "username" => Ok(Registered::UsernameTaken),
        "email" => Ok(Registered::EmailTaken),
        "conflict" => Err(StoreError::Conflict),
        _ => Err(unexpected("a known outcome")),
    }
}

/// What led to a body is not what the body says.
fn disagreement(what: &str) -> StoreError {
    StoreError::Corrupt(format!("an account's {what} is not the one that was sealed"))
}
