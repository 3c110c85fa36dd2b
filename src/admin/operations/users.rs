//! The calls about accounts.

use std::fmt::Display;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Operations, filter, in_time, read_json};
use crate::admin::answer::{self, Answer, problem};
use crate::admin::users::{UserAction, UserChange, UserListing, UserOutcome, UserRequest};
use crate::domain::{Email, FieldFault, FullName, NewPassword, Password, Username};

/// The body of `POST /v1/users`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct AddBody {
    pub(in crate::admin) token_api: Option<String>,
    pub(in crate::admin) username: String,
    pub(in crate::admin) email: String,
    pub(in crate::admin) full_name: String,
    pub(in crate::admin) password: String,
}

/// The body of `POST /v1/users/{action}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct ChangeBody {
    pub(in crate::admin) token_api: Option<String>,
    pub(in crate::admin) username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::admin) password: Option<String>,
}

/// The answer of a list.
#[derive(Serialize, Deserialize)]
pub(in crate::admin) struct UsersBody {
    pub(in crate::admin) users: Vec<UserListing>,
}

/// The answer of a change.
#[derive(Serialize, Deserialize)]
pub(in crate::admin) struct ChangedBody {
    pub(in crate::admin) status: UserOutcome,
}

/// The refusal of a field, without its value.
fn unfit<F: Display>(field: &'static str) -> impl FnOnce(F) -> Answer {
    move |fault| problem(StatusCode::UNPROCESSABLE_ENTITY, &format!("{field}: {fault}"))
}

fn new_password(text: String) -> Result<NewPassword, FieldFault> {
    NewPassword::new(Password::presented(text))
}

impl Operations {
    /// A call below `/v1/users`, of which `action` is the rest of the path.
    pub(super) async fn users(
        &self,
        request: Request<Incoming>,
        action: &str,
    ) -> Result<Answer, Answer> {
        match (request.method(), action) {
            (&Method::GET, "") => self.list_users(request.uri().query()).await,
            (&Method::POST, "") => self.add_user(request).await,
            (_, "") => Err(answer::method_not_allowed("GET, POST")),
            (&Method::POST, "disable" | "enable" | "password") => {
                self.change_user(request, action).await
            }
            (_, "disable" | "enable" | "password") => Err(answer::method_not_allowed("POST")),
            _ => Err(answer::not_found()),
        }
    }

    async fn list_users(&self, query: Option<&str>) -> Result<Answer, Answer> {
        let bad = |fault: &str| problem(StatusCode::BAD_REQUEST, fault);
        let filter = filter(query.unwrap_or_default()).map_err(|fault| bad(&fault))?;
        if filter.subject.is_some() {
            return Err(bad("unknown query parameter: subject"));
        }
        let users = in_time(self.administration.users(filter.token_api, filter.limit)).await?;
        Ok(answer::json(StatusCode::OK, &UsersBody { users }))
    }

    async fn add_user(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let body: AddBody = read_json(request).await?;
        let request = UserRequest {
            password: new_password(body.password).map_err(unfit("password"))?,
            token_api: body.token_api,
            username: Username::new(&body.username).map_err(unfit("username"))?,
            email: Email::new(&body.email).map_err(unfit("email"))?,
            full_name: FullName::new(&body.full_name).map_err(unfit("full_name"))?,
        };
        let added = in_time(self.administration.user_add(request)).await?;
        info!(id = %added.id, token_api = added.token_api, username = added.username, "an account \
         was added at the command line");
        Ok(answer::json(StatusCode::CREATED, &added))
    }

    async fn change_user(
        &self,
        request: Request<Incoming>,
        action: &str,
    ) -> Result<Answer, Answer> {
        let action = action.to_owned();
        let body: ChangeBody = read_json(request).await?;
        let password = body.password.map(new_password).transpose().map_err(unfit("password"))?;
        let change = UserChange {
            token_api: body.token_api,
            username: Username::new(&body.username).map_err(unfit("username"))?,
            action: match (action.as_str(), password) {
                ("disable", None) => UserAction::Disable,
                ("enable", None) => UserAction::Enable,
                ("password", Some(password)) => UserAction::SetPassword(password),
                _ => {
                    let fault = "it belongs to a change of the password, and to no other";
                    return Err(unfit("password")(fault));
                }
            },
        };
        let username = body.username;
        let status = in_time(self.administration.user_change(change)).await?;
        info!(username, action, ?status, "an account was changed at the command line");
        Ok(answer::json(StatusCode::OK, &ChangedBody { status }))
    }
}
