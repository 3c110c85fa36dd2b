//! The administrator's operations, carried out by this process.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::control::now;
use super::explain::explain;
use super::parts::Parts;
use crate::admin::{
    AdminError, AdminFuture, Administration, BootstrapRequest, ExplainRequest, IssuedBootstrap,
    Listing, Revocation, TokenKind, UserAction, UserChange, UserListing, UserOutcome, UserRequest,
};
use crate::config::{Config, Style};
use crate::domain::TokenId;
use crate::gateway::Shared;
use crate::telemetry::Explanation;
use crate::tokens::accounts::{AccountError, AccountsService, Registration};
use crate::tokens::command::CommandError;
use crate::tokens::service::{BootstrapOrder, TokenService};
use crate::tokens::store::Filter;

/// Carries out what the command line asks for.
pub(super) struct OwnAdministration {
    service: TokenService,
    accounts: AccountsService,
    /// What the workers share; `None`: there are none.
    shared: Option<Arc<Shared>>,
    config: ArcSwap<Config>,
    /// Held so that the store stays open, and is closed in order when this is dropped.
    parts: Parts,
}

impl OwnAdministration {
    /// `shared`: what the workers share, where there are any.
    pub(super) fn new(parts: Parts, config: &Config, shared: Option<Arc<Shared>>) -> Self {
        Self {
            service: parts.service(),
            accounts: parts.accounts(),
            shared,
            config: ArcSwap::from_pointee(config.clone()),
            parts,
        }
    }

    /// Follows a reload.
    pub(super) fn replace(&self, config: &Config) {
        self.config.store(Arc::new(config.clone()));
    }

    /// The token API that an account is of: the one that is named, or the only one there is.
    fn account_api(&self, named: Option<&str>) -> Result<String, AdminError> {
        let config = self.config.load();
        let known = config.token_apis.iter().filter(|api| api.style == Style::Accounts);
        let known: Vec<&str> = known.map(|api| &*api.name).collect();
        Err(AdminError::Refused(match (named, known.as_slice()) {
            (Some(named), known) if known.contains(&named) => return Ok(named.to_owned()),
            (None, [only]) => return Ok((*only).to_owned()),
            (Some(named), _) => {
                format!("there is no token API of the style accounts named {named:?}")
            }
            (None, []) => "there is no token API of the style accounts".to_owned(),
            (None, several) => format!("say which token API is meant: {}", several.join(", ")),
        }))
    }
}

/// What is taken is refused; everything else may be tried again.
fn account_error(error: AccountError) -> AdminError {
    match error {
        AccountError::UsernameTaken | AccountError::EmailTaken => {
            AdminError::Refused(error.to_string())
        }
        AccountError::Store(fault) => fault.into(),
        other => AdminError::Unavailable(other.to_string()),
    }
}

impl Administration for OwnAdministration {
    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        Box::pin(async move {
            request.check()?;
            let name = request.token_api;
            let config = self.config.load();
            let Some(api) = config.token_apis.iter().find(|api| *api.name == *name) else {
                return Err(AdminError::Refused(format!("there is no token API named {name:?}")));
            };
            if !api.style.takes_bootstrap() {
                let words = format!("the token API {name:?} takes no bootstrap tokens");
                return Err(AdminError::Refused(words));
            }
            let order = BootstrapOrder {
                token_api: name,
                algorithm: api.algorithm,
                identity: request.identity,
                mints: request.mints,
                lifetime: request.expires_in,
                limits: request.limits,
            };
            let (token, record) =
                self.service.bootstrap(order, now()).await.map_err(|fault| match fault {
                    CommandError::Store(fault) => AdminError::from(fault),
                    other => AdminError::Unavailable(other.to_string()),
                })?;
            Ok(IssuedBootstrap { id: record.id, token })
        })
    }

    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>> {
        Box::pin(async move {
            Ok(self.service.browse(filter).await?.iter().filter_map(Listing::of).collect())
        })
    }

    fn revoke(&self, kind: TokenKind, id: TokenId) -> AdminFuture<'_, Revocation> {
        Box::pin(async move {
            let config = self.config.load();
            let names: Vec<_> = config.token_apis.iter().map(|api| Arc::clone(&api.name)).collect();
            let revoked =
                self.service.revoke_as_administrator(&names, id, kind.into(), now()).await?;
            Ok(if revoked { Revocation::Revoked } else { Revocation::NotFound })
        })
    }

    fn explain(&self, request: ExplainRequest) -> AdminFuture<'_, Explanation> {
        Box::pin(async move {
            let asked = request.to_http().map_err(AdminError::Refused)?;
            let (config, parts, shared) =
                (self.config.load_full(), self.parts.clone(), self.shared.clone());
            let from = request.from;
            // What a worker has of its own is not Send, so it gets a thread.
            let explained =
                tokio::task::spawn_blocking(move || explain(&config, &parts, shared, from, asked));
            let given_up = |_| AdminError::Unavailable("the explanation was given up".to_owned());
            explained.await.map_err(given_up)?
        })
    }

    fn user_add(&self, request: UserRequest) -> AdminFuture<'_, UserListing> {
        Box::pin(async move {
            let token_api = self.account_api(request.token_api.as_deref())?;
            let registration = Registration {
                username: request.username,
                email: request.email,
                password: request.password,
                full_name: request.full_name,
            };
            let account =
                self.accounts.add(token_api, registration, now()).await.map_err(account_error)?;
            Ok(UserListing::from(&account))
        })
    }

    fn users(&self, token_api: Option<String>, limit: usize) -> AdminFuture<'_, Vec<UserListing>> {
        Box::pin(async move {
            Ok(self.accounts.list(token_api, limit).await?.iter().map(UserListing::from).collect())
        })
    }

    fn user_change(&self, change: UserChange) -> AdminFuture<'_, UserOutcome> {
        Box::pin(async move {
            let token_api = self.account_api(change.token_api.as_deref())?;
            let username = &change.username;
            let found = match change.action {
                UserAction::Disable => self.accounts.disable(&token_api, username, now()).await,
                UserAction::Enable => self.accounts.enable(&token_api, username).await,
                UserAction::SetPassword(password) => {
                    self.accounts.set_password(&token_api, username, password).await
                }
            };
            Ok(if found.map_err(account_error)?.is_some() {
                UserOutcome::Done
            } else {
                UserOutcome::NotFound
            })
        })
    }
}
