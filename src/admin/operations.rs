//! The Unix socket: [`Administration`] and [`Status`] as HTTP/1.1 with JSON.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/bootstrap-tokens` | 201 `id token` |
//! | `GET /v1/bootstrap-tokens?token_api&subject&limit` | 200 `tokens`, oldest first |
//! | `DELETE /v1/bootstrap-tokens/{id}` | 200 `id status`: `revoked` or `not_found` |
//! | `GET /v1/tokens?token_api&subject&limit` | 200 `tokens`, oldest first |
//! | `DELETE /v1/tokens/{id}` | 200 `id status`: `revoked` or `not_found` |
//! | `POST /v1/users` | 201 `id token_api username email full_name created_at is_disabled` |
//! | `GET /v1/users?token_api&limit` | 200 `users`, oldest first |
//! | `POST /v1/users/disable`, `…/enable`, `…/password` | 200 `status`: `done` or `not_found` |
//! | `POST /v1/explain` | 200 what would become of a request: see [`Explanation`](crate::telemetry::Explanation) |
//! | `POST /v1/hand-over`, with `Upgrade: keyward-hand-over` | 101, and the messages of a hand-over |
//! | `GET /v1/status` | 200 `version pid ready reasons components listening` |
//!
//! Errors: 400 for a body that is not JSON or an unknown query, 422 for a wrong value, 503 when the
//! store fails.

pub(super) mod users;

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tracing::info;
use zeroize::Zeroizing;

use super::answer::{self, Answer, and_close, problem};
use super::connection::{Handler, Stop, serve};
use super::hand_over::{self, HAND_OVER, HandOvers};
use super::status::report;
use super::{
    AdminError, AdminFuture, AdminSocket, Administration, BootstrapRequest, ExplainRequest,
    Listing, MAX_LISTED, Revocation, Status, TokenKind,
};
use crate::domain::{Identity, KeyLimits, TokenId};
use crate::tokens::store::Filter;

/// How many entries a list shows by default.
pub(super) const DEFAULT_LISTED: usize = 1000;

/// The longest request body: a bootstrap request is a few hundred bytes.
const BODY_BYTES: usize = 64 * 1024;

/// The longest request body of `/v1/explain`: the 64 KiB that the command takes, escaped as JSON.
const EXPLAIN_BODY_BYTES: usize = 256 * 1024;

/// For a request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// For one operation: longer than the longest deadline of a store.
const OPERATION_DEADLINE: Duration = Duration::from_secs(31);

/// Serves `administration` on `socket`, and hands connections of processes that want to take over
/// to `hand_overs`, until the signal to stop, then lets running exchanges end,
/// for 5 seconds at most, and removes the socket's file. Must run within a tokio runtime with time
/// and I/O.
///
/// # Errors
///
/// The runtime cannot watch the socket: it has no I/O driver, or the system is out of resources.
///
/// # Cancel safety
///
/// Dropping the future closes the socket and all its connections at once; operations that were
/// handed over go on.
pub async fn serve_socket(
    socket: AdminSocket,
    administration: Arc<dyn Administration>,
    status: Arc<dyn Status>,
    hand_overs: Option<HandOvers>,
    stop: Stop,
) -> std::io::Result<()> {
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    let accept =
        |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    serve(accept, Arc::new(Operations { administration, status, hand_overs }), stop).await;
    Ok(())
}

/// The body of `POST /v1/bootstrap-tokens`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    pub(super) token_api: String,
    pub(super) subject: String,
    pub(super) username: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) role: Option<String>,
    pub(super) email: Option<String>,
    #[serde(default = "one")]
    pub(super) mints: u32,
    pub(super) expires_in_seconds: Option<NonZeroU64>,
    // Left out where there are none, so that an older keyward takes the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<KeyLimits>,
}

fn one() -> u32 {
    1
}

/// The answer of `POST /v1/bootstrap-tokens`.
#[derive(Serialize, Deserialize)]
pub(super) struct IssuedBody<'a> {
    pub(super) id: TokenId,
    pub(super) token: Cow<'a, str>,
}

/// The answer of a `DELETE`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RevokedBody {
    pub(super) id: TokenId,
    pub(super) status: Revocation,
}

/// The answer of a list.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TokensBody {
    pub(super) tokens: Vec<Listing>,
}

struct Operations {
    administration: Arc<dyn Administration>,
    status: Arc<dyn Status>,
    hand_overs: Option<HandOvers>,
}

impl Handler for Operations {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.handle(request).await.unwrap_or_else(|refusal| refusal)
    }
}

impl Operations {
    async fn handle(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let path = request.uri().path().to_owned();
        let has_body = !request.body().is_end_stream();
        if request.method() == Method::POST && path == "/v1/bootstrap-tokens" {
            return self.create(request).await;
        }
        if request.method() == Method::POST && path == "/v1/explain" {
            return self.explain(request).await;
        }
        if request.method() == Method::POST && path == HAND_OVER && !has_body {
            return Ok(hand_over::begin(self.hand_overs.as_ref(), request));
        }
        let call = path.strip_prefix("/v1/").unwrap_or_default();
        let (collection, item) = call.split_once('/').unwrap_or((call, ""));
        if collection == "users" && (request.method() == Method::POST || !has_body) {
            return self.users(request, item).await;
        }
        if has_body {
            let refused = problem(StatusCode::PAYLOAD_TOO_LARGE, "this call takes no request body");
            return Err(and_close(refused));
        }
        let query = request.uri().query();
        let id = Some(item).filter(|item| !item.is_empty() && !item.contains('/'));
        match (request.method(), collection, item, id) {
            (&Method::GET, "status", "", _) => {
                Ok(answer::json(StatusCode::OK, &report(self.status.as_ref()).await))
            }
            (&Method::GET, "bootstrap-tokens", "", _) => {
                self.list(TokenKind::Bootstrap, query).await
            }
            (&Method::GET, "tokens", "", _) => self.list(TokenKind::ApiKey, query).await,
            (&Method::DELETE, "bootstrap-tokens", _, Some(id)) => {
                self.revoke(TokenKind::Bootstrap, id).await
            }
            (&Method::DELETE, "tokens", _, Some(id)) => self.revoke(TokenKind::ApiKey, id).await,
            (_, "status" | "tokens", "", _) => Err(answer::method_not_allowed("GET")),
            (_, "explain" | "hand-over", "", _) => Err(answer::method_not_allowed("POST")),
            (_, "bootstrap-tokens", "", _) => Err(answer::method_not_allowed("GET, POST")),
            (_, "bootstrap-tokens" | "tokens", _, Some(_)) => {
                Err(answer::method_not_allowed("DELETE"))
            }
            _ => Err(answer::not_found()),
        }
    }

    async fn create(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let CreateBody {
            token_api,
            subject,
            username,
            organization,
            role,
            email,
            mints,
            expires_in_seconds,
            limits,
        } = read_json(request).await?;
        let request = BootstrapRequest {
            token_api,
            identity: Identity { subject, username, organization, role, email },
            mints,
            expires_in: expires_in_seconds.map(|seconds| Duration::from_secs(seconds.get())),
            limits,
        };
        request.check().map_err(|error| refusal(&error))?;
        let (token_api, subject) = (request.token_api.clone(), request.identity.subject.clone());
        let issued = in_time(self.administration.bootstrap_create(request)).await?;
        info!(id = %issued.id, token_api, subject, "a bootstrap token was made at the command \
         line");

        let body = IssuedBody { id: issued.id, token: issued.token.expose().into() };
        Ok(answer::json(StatusCode::CREATED, &body))
    }

    /// Leaves nothing in the log: the request may hold a token where none is expected.
    async fn explain(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let body = Zeroizing::new(read_body(request, EXPLAIN_BODY_BYTES).await?.to_vec());
        let asked: ExplainRequest = serde_json::from_slice(&body).map_err(|error| {
            // Its message may quote the body.
            let words = format!("the request body is wrong at column {}", error.column());
            problem(StatusCode::UNPROCESSABLE_ENTITY, &words)
        })?;
        let explanation = in_time(self.administration.explain(asked)).await?;
        Ok(answer::json(StatusCode::OK, &explanation))
    }

    async fn list(&self, kind: TokenKind, query: Option<&str>) -> Result<Answer, Answer> {
        let mut filter = filter(query.unwrap_or_default())
            .map_err(|fault| problem(StatusCode::BAD_REQUEST, &fault))?;
        filter.sort = Some(kind.into());
        let tokens = in_time(self.administration.list(filter)).await?;
        Ok(answer::json(StatusCode::OK, &TokensBody { tokens }))
    }

    async fn revoke(&self, kind: TokenKind, id: &str) -> Result<Answer, Answer> {
        let id = TokenId::parse(id).ok_or_else(|| {
            problem(StatusCode::UNPROCESSABLE_ENTITY, "a token id is a UUID: 8-4-4-4-12 digits")
        })?;
        let status = in_time(self.administration.revoke(kind, id)).await?;
        info!(%id, %kind, ?status, "a revocation at the command line");
        Ok(answer::json(StatusCode::OK, &RevokedBody { id, status }))
    }
}

/// Reads a request's body, which must be JSON.
async fn read_json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Answer> {
    let body = read_body(request, BODY_BYTES).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let status = if error.is_data() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::BAD_REQUEST
        };
        problem(status, &error.to_string())
    })
}

/// Reads a request's body of at most `limit` bytes, which is declared as JSON.
async fn read_body(request: Request<Incoming>, limit: usize) -> Result<Bytes, Answer> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let (status, words) = if !media_type.eq_ignore_ascii_case("application/json") {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body must be application/json".to_owned())
    } else {
        let body = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => return Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let words = format!("the request body is longer than {} KiB", limit / 1024);
                (StatusCode::PAYLOAD_TOO_LARGE, words)
            }
            Ok(Err(_)) => (StatusCode::BAD_REQUEST, "the request body ended early".to_owned()),
            Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request body took too long".to_owned()),
        }
    };
    Err(and_close(problem(status, &words)))
}

async fn in_time<T>(operation: AdminFuture<'_, T>) -> Result<T, Answer> {
    match tokio::time::timeout(OPERATION_DEADLINE, operation).await {
        Ok(outcome) => outcome.map_err(|error| refusal(&error)),
        Err(_) => {
            let words =
                "the operation did not end in time and may still take effect: list, and try again";
            Err(problem(StatusCode::SERVICE_UNAVAILABLE, words))
        }
    }
}

fn refusal(error: &AdminError) -> Answer {
    match error {
        AdminError::Refused(words) => problem(StatusCode::UNPROCESSABLE_ENTITY, words),
        AdminError::Unavailable(words) => problem(StatusCode::SERVICE_UNAVAILABLE, words),
    }
}

/// Reads `token_api`, `subject` and `limit`, each at most once, in the form of HTML forms (`+` is a
/// space).
fn filter(query: &str) -> Result<Filter, String> {
    let mut filter = Filter::default();
    let mut limit = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8();
        let value = value.map_err(|_| format!("{key}: not UTF-8"))?.into_owned();
        let taken = match key {
            "token_api" => filter.token_api.replace(value).is_some(),
            "subject" => filter.subject.replace(value).is_some(),
            "limit" => {
                let number = value.parse().ok().filter(|number| (1..=MAX_LISTED).contains(number));
                let number =
                    number.ok_or_else(|| format!("limit: must be between 1 and {MAX_LISTED}"))?;
                limit.replace(number).is_some()
            }
            _ => return Err(format!("unknown query parameter: {key}")),
        };
        if taken {
            return Err(format!("{key}: given twice"));
        }
    }
    filter.limit = limit.unwrap_or(DEFAULT_LISTED);
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_to_the_letter() {
        let read = filter("token_api=a%20b&subject=u+1%2B&limit=7").expect("well-formed");
        assert_eq!(read.token_api.as_deref(), Some("a b"));
        assert_eq!(read.subject.as_deref(), Some("u 1+"));
        assert_eq!(read.limit, 7);
        assert_eq!(filter("").expect("nothing asked for").limit, DEFAULT_LISTED);
        for wrong in [
            "limit=0",
            "limit=100001",
            "limit=-1",
            "limit=x",
            "limit=1&limit=1",
            "sub=1",
            "subject=%ff",
            "subject",
        ] {
            let outcome = filter(wrong);
            // A key without a value is an empty value: it matches nothing, and is no fault.
            assert_eq!(outcome.is_err(), wrong != "subject", "{wrong}");
        }
    }
}
