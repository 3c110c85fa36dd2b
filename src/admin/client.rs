//! The command line's end of the admin socket, and of the readiness probe.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::hand_over::{HAND_OVER, PROTOCOL};
use super::operations::users::{AddBody, ChangeBody, ChangedBody, UsersBody};
use super::operations::{CreateBody, DEFAULT_LISTED, IssuedBody, RevokedBody, TokensBody};
use super::{
    AdminError, AdminFuture, Administration, BootstrapRequest, ExplainRequest, IssuedBootstrap,
    Listing, Revocation, StatusReport, TokenKind, UserAction, UserChange, UserListing, UserOutcome,
    UserRequest,
};
use crate::domain::{Identity, NewPassword, RawToken, RecordSort, TokenId};
use crate::telemetry::Explanation;
use crate::tokens::store::Filter;

/// For one exchange, connecting included: longer than the server's deadline, so that its error is
/// shown.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(35);

/// For a readiness probe.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// The longest answer: a list of 100000 tokens with long claims.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// A running keyward, reached over its admin socket. Every operation is a connection of its own.
#[derive(Clone, Debug)]
pub struct SocketClient {
    path: PathBuf,
}

impl SocketClient {
    /// Finds the keyward that listens at `path`. `None`: none runs, as the file is missing or no
    /// process accepts.
    ///
    /// # Errors
    ///
    /// It cannot be told, for instance because this user may not open the socket. A keyward may
    /// then run, so its store must not be opened beside it.
    pub async fn find(path: &Path) -> Result<Option<Self>, AdminError> {
        match connect(path).await {
            Ok(_) => Ok(Some(Self { path: path.to_owned() })),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
                ErrorKind::PermissionDenied => Err(AdminError::Unavailable(format!(
                    "no permission to open the admin socket {}: run this as the user that keyward \
                     runs as",
                    path.display()
                ))),
                _ => Err(unreachable(path, &error)),
            },
        }
    }

    /// The state of the running keyward.
    ///
    /// # Errors
    ///
    /// It did not answer, or in a form of another version.
    pub async fn status(&self) -> Result<StatusReport, AdminError> {
        self.call(Method::GET, "/v1/status", Bytes::new()).await
    }

    /// Asks to take over from the running keyward. Returns the connection, on which it says what it
    /// has.
    ///
    /// # Errors
    ///
    /// It hands nothing over, because another process is taking over, for instance.
    pub async fn hand_over(&self) -> Result<UnixStream, AdminError> {
        let mut request = request(Method::POST, HAND_OVER, Bytes::new())?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        let switch = async {
            let stream =
                connect(&self.path).await.map_err(|error| unreachable(&self.path, &error))?;
            switch(stream, request).await
        };
        tokio::time::timeout(PROBE_DEADLINE, switch).await.map_err(|_| {
            AdminError::Unavailable("keyward did not answer in time: it goes on".to_owned())
        })?
    }

    async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, AdminError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            AdminError::Refused(format!("the request cannot be written as JSON: {error}"))
        })?;
        self.call(Method::POST, target, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<T, AdminError> {
        let request = request(method, target, body)?;
        let exchange = async {
            let stream =
                connect(&self.path).await.map_err(|error| unreachable(&self.path, &error))?;
            exchange(stream, request).await
        };
        let answered = tokio::time::timeout(EXCHANGE_DEADLINE, exchange).await;
        let (status, body) = answered.map_err(|_| {
            let words = "keyward did not answer in time; the operation may still take effect";
            AdminError::Unavailable(words.to_owned())
        })??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                AdminError::Unavailable(format!(
                    "keyward answered in words that this version does not know: {error}"
                ))
            });
        }
        let words = words_of(status, &body);
        Err(if status.is_client_error() {
            AdminError::Refused(words)
        } else {
            AdminError::Unavailable(words)
        })
    }
}

impl Administration for SocketClient {
    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        Box::pin(async move {
            request.check()?;
            let Identity { subject, username, organization, role, email } = request.identity;
            let span = request.expires_in;
            let body = CreateBody {
                token_api: request.token_api,
                subject,
                username,
                organization,
                role,
                email,
                mints: request.mints,
                expires_in_seconds: span.and_then(|span| NonZeroU64::new(span.as_secs())),
                limits: request.limits,
            };
            let issued: IssuedBody<'static> = self.post("/v1/bootstrap-tokens", &body).await?;
            Ok(IssuedBootstrap { id: issued.id, token: RawToken::new(issued.token.into_owned()) })
        })
    }

    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>> {
        Box::pin(async move {
            let kind = match filter.sort {
                Some(RecordSort::Bootstrap) => TokenKind::Bootstrap,
                _ => TokenKind::ApiKey,
            };
            let filters = [("token_api", filter.token_api), ("subject", filter.subject)];
            let target = list_target(collection(kind), filter.limit, filters);
            let body: TokensBody = self.call(Method::GET, &target, Bytes::new()).await?;
            Ok(body.tokens)
        })
    }

    fn user_add(&self, request: UserRequest) -> AdminFuture<'_, UserListing> {
        Box::pin(async move {
            let body = AddBody {
                token_api: request.token_api,
                username: request.username.as_str().to_owned(),
                email: request.email.as_str().to_owned(),
                full_name: request.full_name.as_str().to_owned(),
                password: password_text(&request.password)?,
            };
            self.post("/v1/users", &body).await
        })
    }

    fn users(&self, token_api: Option<String>, limit: usize) -> AdminFuture<'_, Vec<UserListing>> {
        Box::pin(async move {
            let target = list_target("/v1/users", limit, [("token_api", token_api)]);
            let body: UsersBody = self.call(Method::GET, &target, Bytes::new()).await?;
            Ok(body.users)
        })
    }

    fn user_change(&self, change: UserChange) -> AdminFuture<'_, UserOutcome> {
        Box::pin(async move {
            let (target, password) = match &change.action {
                UserAction::Disable => ("/v1/users/disable", None),
                UserAction::Enable => ("/v1/users/enable", None),
                UserAction::SetPassword(password) => {
                    ("/v1/users/password", Some(password_text(password)?))
                }
            };
            let username = change.username.as_str().to_owned();
            let body = ChangeBody { token_api: change.token_api, username, password };
            let body: ChangedBody = self.post(target, &body).await?;
            Ok(body.status)
        })
    }

    fn explain(&self, request: ExplainRequest) -> AdminFuture<'_, Explanation> {
        Box::pin(async move { self.post("/v1/explain", &request).await })
    }

    fn revoke(&self, kind: TokenKind, id: TokenId) -> AdminFuture<'_, Revocation> {
        Box::pin(async move {
            let target = format!("{}/{id}", collection(kind));
            let body: RevokedBody = self.call(Method::DELETE, &target, Bytes::new()).await?;
            Ok(body.status)
        })
    }
}

/// Asks `/readyz` of the admin listener at `address`. An empty list: ready; else the reasons.
///
/// # Errors
///
/// There was no answer, or one of another version.
pub async fn probe_readiness(address: SocketAddr) -> Result<Vec<String>, AdminError> {
    #[derive(Default, Deserialize)]
    struct Body {
        #[serde(default)]
        reasons: Vec<String>,
    }
    let request = request(Method::GET, "/readyz", Bytes::new())?;
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| {
            AdminError::Unavailable(format!(
                "no keyward answers at the admin address {address}: {error}"
            ))
        })?;
        exchange(stream, request).await
    };
    let (status, body) = tokio::time::timeout(PROBE_DEADLINE, exchange).await.map_err(|_| {
        AdminError::Unavailable(format!(
            "{address} did not answer within {} s",
            PROBE_DEADLINE.as_secs()
        ))
    })??;
    match status {
        StatusCode::OK => Ok(Vec::new()),
        StatusCode::SERVICE_UNAVAILABLE => {
            let Body { reasons } = serde_json::from_slice(&body).unwrap_or_default();
            Ok(if reasons.is_empty() { vec!["no reason given".to_owned()] } else { reasons })
        }
        other => Err(AdminError::Unavailable(format!(
            "{address} answered with status {other}: is it keyward's?"
        ))),
    }
}

/// The path and query of a list. `limit`: 0 is the default.
fn list_target<const N: usize>(
    path: &str,
    limit: usize,
    filters: [(&str, Option<String>); N],
) -> String {
    let limit = if limit == 0 { DEFAULT_LISTED } else { limit };
    let mut target = format!("{path}?limit={limit}");
    for (key, value) in filters {
        if let Some(value) = value {
            target += &format!("&{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        }
    }
    target
}

/// A password to send over the socket, which only this user can open.
fn password_text(password: &NewPassword) -> Result<String, AdminError> {
    let text = std::str::from_utf8(password.password().expose());
    text.map(str::to_owned).map_err(|_| AdminError::Refused("the password is not UTF-8".to_owned()))
}

const fn collection(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::ApiKey => "/v1/tokens",
        TokenKind::Bootstrap => "/v1/bootstrap-tokens",
    }
}

fn request(method: Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, AdminError> {
    let mut request = Request::builder().method(method).uri(target).header(HOST, "keyward");
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request
        .body(Full::new(body))
        .map_err(|error| AdminError::Refused(format!("no such request can be made: {error}")))
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    tokio::time::timeout(PROBE_DEADLINE, UnixStream::connect(path))
        .await
        .map_err(io::Error::from)?
}

fn unreachable(path: &Path, error: &io::Error) -> AdminError {
    AdminError::Unavailable(format!(
        "the admin socket {} cannot be reached: {error}",
        path.display()
    ))
}

/// What an answer that is not the wanted one says.
fn words_of(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice(body).map_or_else(
        |_| format!("keyward answered with status {status}"),
        |problem: Problem| problem.detail,
    )
}

/// Sends a request that asks for another protocol, and returns the connection that has switched.
async fn switch(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
) -> Result<UnixStream, AdminError> {
    let broken = |error: hyper::Error| {
        AdminError::Unavailable(format!("the connection to keyward broke: {error}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends when the connection has switched, or with the answer.
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return Err(AdminError::Refused(match status {
            StatusCode::NOT_FOUND => {
                "the running keyward is of a version that hands nothing over: \
                                      stop it, and start this one without taking over"
                    .to_owned()
            }
            _ => words_of(status, &body),
        }));
    }
    let switched = hyper::upgrade::on(answer).await.map_err(broken)?;
    match switched.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
        _ => Err(AdminError::Unavailable("keyward said something before it was asked".to_owned())),
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), AdminError> {
    let broken = |error: hyper::Error| {
        AdminError::Unavailable(format!("the connection to keyward broke: {error}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // `sender` is dropped with the answer, which ends the connection.
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(|error| {
                AdminError::Unavailable(format!("the answer of keyward broke off: {error}"))
            })?;
        Ok((status, body.to_bytes()))
    };
    // An error of the connection is that of the answer as well.
    tokio::join!(answer, connection).0
}
