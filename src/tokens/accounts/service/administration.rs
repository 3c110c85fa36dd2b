//! What administrators do with accounts.

use uuid::Uuid;

use super::AccountsService;
use crate::domain::{Account, AccountId, NewPassword, Timestamp, Username};
use crate::tokens::accounts::command::{AccountError, Registration};
use crate::tokens::accounts::store::{Credentials, Registered};
use crate::tokens::parts::forget_removed;
use crate::tokens::store::StoreError;

impl AccountsService {
    /// Makes an account, whether or not registration is open.
    ///
    /// # Errors
    ///
    /// The username or the email address is taken, or the store or the pool cannot do it.
    pub async fn add(
        &self,
        token_api: String,
        registration: Registration,
        now: Timestamp,
    ) -> Result<Account, AccountError> {
        let Registration { username, email, password, full_name } = registration;
        let hash = self.hashing(self.parts.hashing.hash(password)).await?;
        let account = Account {
            id: AccountId::from_uuid(Uuid::new_v4()),
            token_api,
            username,
            email,
            full_name,
            created_at: now.truncated_to_seconds(),
            is_disabled: false,
            revision: 0,
        };
        let registration = self.parts.accounts.register(account.clone(), hash);
        match self.parts.tokens.within(registration).await? {
            Registered::Registered => Ok(account),
            Registered::UsernameTaken => Err(AccountError::UsernameTaken),
            Registered::EmailTaken => Err(AccountError::EmailTaken),
        }
    }

    /// At most `limit` accounts (0: all), oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    pub async fn list(
        &self,
        token_api: Option<String>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        self.parts.tokens.within(self.parts.accounts.accounts(token_api, limit)).await
    }

    /// Disables an account. When this has returned `Some`, no instance accepts its sessions and
    /// keys any more. `None`: there is no such account.
    ///
    /// # Errors
    ///
    /// When the store cannot tell or cannot do it. It can be repeated.
    pub async fn disable(
        &self,
        token_api: &str,
        username: &Username,
        now: Timestamp,
    ) -> Result<Option<AccountId>, AccountError> {
        let Some(id) = self.id_of(token_api, username).await? else { return Ok(None) };
        let removal = self.parts.accounts.disable(token_api.to_owned(), id, now);
        Ok(self.parts.tokens.change(removal, forget_removed).await?.map(|_| id))
    }

    /// Enables an account. Its sessions and keys do not come back.
    ///
    /// # Errors
    ///
    /// As for [`Self::disable`].
    pub async fn enable(
        &self,
        token_api: &str,
        username: &Username,
    ) -> Result<Option<AccountId>, AccountError> {
        let Some(id) = self.id_of(token_api, username).await? else { return Ok(None) };
        let enabling = self.parts.accounts.enable(token_api.to_owned(), id);
        Ok(self.parts.tokens.within(enabling).await?.then_some(id))
    }

    /// Gives an account another password, and ends its sessions. Its keys stay.
    ///
    /// # Errors
    ///
    /// As for [`Self::disable`], or the pool cannot hash it.
    pub async fn set_password(
        &self,
        token_api: &str,
        username: &Username,
        password: NewPassword,
    ) -> Result<Option<AccountId>, AccountError> {
        let Some(id) = self.id_of(token_api, username).await? else { return Ok(None) };
        let hash = self.hashing(self.parts.hashing.hash(password)).await?;
        let removal = self.parts.accounts.set_password(token_api.to_owned(), id, hash);
        Ok(self.parts.tokens.change(removal, forget_removed).await?.map(|_| id))
    }

    async fn id_of(
        &self,
        token_api: &str,
        username: &Username,
    ) -> Result<Option<AccountId>, StoreError> {
        Ok(self.by_username(token_api, username).await?.map(|found| found.account.id))
    }

    pub(super) async fn by_username(
        &self,
        token_api: &str,
        username: &Username,
    ) -> Result<Option<Credentials>, StoreError> {
        let found =
            self.parts.accounts.account_by_username(token_api.to_owned(), username.folded());
        self.parts.tokens.within(found).await
    }
}
