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
//! | `GET /v1/status` | 200 `version pid ready reasons components listening` |
//!
//! Errors: 400 for what is not JSON or no such query, 422 for a value that cannot be, 503 when the
//! store fails, in words.

pub(super) mod users;

use std::num::NonZeroU64;
use std::sync::Arc;
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
use super::status::report;
use super::{
    AdminError, AdminFuture, AdminSocket, Administration, BootstrapRequest, ExplainRequest,
    Listing, MAX_LISTED, Revocation, Status, TokenKind,
};
use crate::domain::{Identity, TokenId};
use crate::tokens::store::Filter;

/// What a list shows when it is not told otherwise.
pub(super) const DEFAULT_LISTED: usize = 1000;

/// The longest request body: a bootstrap request is a few hundred bytes.
const BODY_BYTES: usize = 64 * 1024;

/// The longest request body of `/v1/explain`: the 64 KiB that the command takes, each character
/// escaped, as JSON.
const EXPLAIN_BODY_BYTES: usize = 256 * 1024;

/// For a request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// For one operation: longer than the longest deadline of a store.
const OPERATION_DEADLINE: Duration = Duration::from_secs(31);

/// Serves `administration` on `socket` until the signal to stop, then lets running exchanges end,
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
    stop: Stop,
) -> std::io::Result<()> {
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    serve(&listener, Arc::new(Operations { administration, status }), stop).await;
    Ok(())
}

/// The body of `POST /v1/bootstrap-tokens`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    pub(super) token_api: String,
    pub(super) subject: String,
    #[serde(default)]
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) organization: Option<String>,
    #[serde(default)]
    pub(super) role: Option<String>,
    #[serde(default)]
    pub(super) email: Option<String>,
    #[serde(default = "one")]
    pub(super) mints: u32,
    #[serde(default)]
    pub(super) expires_in_seconds: Option<NonZeroU64>,
}

fn one() -> u32 {
    1
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
}

impl Handler for Operations {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        if path == "/v1/bootstrap-tokens" && request.method() == Method::POST {
            return self.create(request).await.unwrap_or_else(|refusal| refusal);
        }
        if path == "/v1/explain" && request.method() == Method::POST {
            return self.explain(request).await.unwrap_or_else(|refusal| refusal);
        }
        if let Some(rest) = path.strip_prefix("/v1/users")
            && (rest.is_empty() || rest.starts_with('/'))
            && (request.method() == Method::POST || request.body().is_end_stream())
        {
            let action = rest.strip_prefix('/').unwrap_or_default();
            return self.users(request, action).await.unwrap_or_else(|refusal| refusal);
        }
        if !request.body().is_end_stream() {
            return and_close(problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "this call takes no request body",
            ));
        }
        let query = request.uri().query();
        let handled = match path
            .strip_prefix("/v1/")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        {
            Some(("status", "")) => match *request.method() {
                Method::GET => {
                    Ok(answer::json(StatusCode::OK, &report(self.status.as_ref()).await))
                }
                _ => Err(answer::method_not_allowed("GET")),
            },
            Some(("explain", "")) => Err(answer::method_not_allowed("POST")),
            Some(("bootstrap-tokens", "")) => match *request.method() {
                Method::GET => self.list(TokenKind::Bootstrap, query).await,
                _ => Err(answer::method_not_allowed("GET, POST")),
            },
            Some(("tokens", "")) => match *request.method() {
                Method::GET => self.list(TokenKind::ApiKey, query).await,
                _ => Err(answer::method_not_allowed("GET")),
            },
            Some(("bootstrap-tokens", id)) if !id.contains('/') => match *request.method() {
                Method::DELETE => self.revoke(TokenKind::Bootstrap, id).await,
                _ => Err(answer::method_not_allowed("DELETE")),
            },
            Some(("tokens", id)) if !id.contains('/') => match *request.method() {
                Method::DELETE => self.revoke(TokenKind::ApiKey, id).await,
                _ => Err(answer::method_not_allowed("DELETE")),
            },
            _ => Err(answer::not_found()),
        };
        handled.unwrap_or_else(|refusal| refusal)
    }
}

impl Operations {
    async fn create(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let body: CreateBody = read_json(request).await?;
        let request = BootstrapRequest {
            token_api: body.token_api,
            identity: Identity {
                subject: body.subject,
                username: body.username,
                organization: body.organization,
                role: body.role,
                email: body.email,
            },
            mints: body.mints,
            expires_in: body.expires_in_seconds.map(|seconds| Duration::from_secs(seconds.get())),
        };
        request.check().map_err(|error| refusal(&error))?;
        let (token_api, subject) = (request.token_api.clone(), request.identity.subject.clone());
        let issued = in_time(self.administration.bootstrap_create(request)).await?;
        info!(id = %issued.id, token_api, subject, "a bootstrap token was made at the command \
         line");

        #[derive(Serialize)]
        struct Issued<'a> {
            id: TokenId,
            token: &'a str,
        }
        Ok(answer::secret_json(
            StatusCode::CREATED,
            &Issued { id: issued.id, token: issued.token.expose() },
        ))
    }

    /// Leaves nothing in the log: what is asked may hold a token where none is expected.
    async fn explain(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let body = Zeroizing::new(read_body(request, EXPLAIN_BODY_BYTES).await?.to_vec());
        let asked: ExplainRequest = serde_json::from_slice(&body).map_err(|error| {
            // Its words may repeat what is wrong.
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

/// Reads a request's body of at most so many bytes, which is said to be JSON.
async fn read_body(request: Request<Incoming>, limit: usize) -> Result<Bytes, Answer> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let words = "the request body must be application/json";
        return Err(and_close(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)));
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let words = format!("the request body is longer than {} KiB", limit / 1024);
            Err(and_close(problem(StatusCode::PAYLOAD_TOO_LARGE, &words)))
        }
        Ok(Err(_)) => {
            Err(and_close(problem(StatusCode::BAD_REQUEST, "the request body ended early")))
        }
        Err(_) => {
            Err(and_close(problem(StatusCode::REQUEST_TIMEOUT, "the request body took too long")))
        }
    }
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
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| format!("{key}: not UTF-8"))?
            .into_owned();
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
