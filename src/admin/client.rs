//! The command line's end of the admin socket, and of the readiness probe.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::operations::users::{AddBody, ChangeBody, ChangedBody, UsersBody};
use super::operations::{CreateBody, DEFAULT_LISTED, RevokedBody, TokensBody};
use super::{
    AdminError, AdminFuture, Administration, BootstrapRequest, ExplainRequest, IssuedBootstrap,
    Listing, Revocation, StatusReport, TokenKind, UserAction, UserChange, UserListing, UserOutcome,
    UserRequest,
};
use crate::domain::{NewPassword, RawToken, RecordSort, TokenId};
use crate::telemetry::Explanation;
use crate::tokens::store::Filter;

/// For one exchange, connecting included: longer than the server's own deadline, whose words are
/// better than ours.
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
    /// It cannot be told, for instance because this user may not open the socket. Whether a keyward
    /// runs is then unknown, so its store must not be opened behind its back.
    pub async fn find(path: &Path) -> Result<Option<Self>, AdminError> {
        match connect(path).await {
            Ok(_) => Ok(Some(Self { path: path.to_owned() })),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(AdminError::Unavailable(format!(
                    "no permission to open the admin socket {}: run this as the user that keyward \
                     runs as",
                    path.display()
                )))
            }
            Err(error) => Err(self::unreachable(path, &error)),
        }
    }

    /// What the running keyward says of itself.
    ///
    /// # Errors
    ///
    /// It did not answer, or not in this version's words.
    pub async fn status(&self) -> Result<StatusReport, AdminError> {
        self.call(Method::GET, "/v1/status", Bytes::new()).await
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
        let (status, body) =
            tokio::time::timeout(EXCHANGE_DEADLINE, exchange).await.map_err(|_| {
                AdminError::Unavailable(
                    "keyward did not answer in time; the operation may still take effect"
                        .to_owned(),
                )
            })??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                AdminError::Unavailable(format!(
                    "keyward answered in words that this version does not know: {error}"
                ))
            });
        }
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let words = serde_json::from_slice(&body).map_or_else(
            |_| format!("keyward answered with status {status}"),
            |problem: Problem| problem.detail,
        );
        Err(if status.is_client_error() {
            AdminError::Refused(words)
        } else {
            AdminError::Unavailable(words)
        })
    }
}

impl Administration for SocketClient {
    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        #[derive(Deserialize)]
        struct Issued {
            id: TokenId,
            token: String,
        }
        Box::pin(async move {
            request.check()?;
            let identity = request.identity;
            let body = CreateBody {
                token_api: request.token_api,
                subject: identity.subject,
                username: identity.username,
                organization: identity.organization,
                role: identity.role,
                email: identity.email,
                mints: request.mints,
                expires_in_seconds: request
                    .expires_in
                    .and_then(|span| NonZeroU64::new(span.as_secs())),
            };
            let issued: Issued =
                self.call(Method::POST, "/v1/bootstrap-tokens", written(&body)?).await?;
            Ok(IssuedBootstrap { id: issued.id, token: RawToken::new(issued.token) })
        })
    }

    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>> {
        Box::pin(async move {
            let kind = if filter.sort == Some(RecordSort::Bootstrap) {
                TokenKind::Bootstrap
            } else {
                TokenKind::ApiKey
            };
            let limit = if filter.limit == 0 { DEFAULT_LISTED } else { filter.limit };
            let mut target = format!("{}?limit={limit}", collection(kind));
            for (key, value) in [("token_api", filter.token_api), ("subject", filter.subject)] {
                if let Some(value) = value {
                    target.push_str(&format!(
                        "&{key}={}",
                        utf8_percent_encode(&value, NON_ALPHANUMERIC)
                    ));
                }
            }
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
                password: spelt(&request.password)?,
            };
            self.call(Method::POST, "/v1/users", written(&body)?).await
        })
    }

    fn users(&self, token_api: Option<String>, limit: usize) -> AdminFuture<'_, Vec<UserListing>> {
        Box::pin(async move {
            let limit = if limit == 0 { DEFAULT_LISTED } else { limit };
            let mut target = format!("/v1/users?limit={limit}");
            if let Some(token_api) = token_api {
                target.push_str(&format!(
                    "&token_api={}",
                    utf8_percent_encode(&token_api, NON_ALPHANUMERIC)
                ));
            }
            let body: UsersBody = self.call(Method::GET, &target, Bytes::new()).await?;
            Ok(body.users)
        })
    }

    fn user_change(&self, change: UserChange) -> AdminFuture<'_, UserOutcome> {
        Box::pin(async move {
            let (target, password) = match &change.action {
                UserAction::Disable => ("/v1/users/disable", None),
                UserAction::Enable => ("/v1/users/enable", None),
                UserAction::SetPassword(password) => ("/v1/users/password", Some(spelt(password)?)),
            };
            let username = change.username.as_str().to_owned();
            let body = ChangeBody { token_api: change.token_api, username, password };
            let body: ChangedBody = self.call(Method::POST, target, written(&body)?).await?;
            Ok(body.status)
        })
    }

    fn explain(&self, request: ExplainRequest) -> AdminFuture<'_, Explanation> {
        Box::pin(async move { self.call(Method::POST, "/v1/explain", written(&request)?).await })
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
    #[derive(Deserialize)]
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
            let reasons = serde_json::from_slice(&body)
                .map_or_else(|_| Vec::new(), |body: Body| body.reasons);
            Ok(if reasons.is_empty() { vec!["no reason given".to_owned()] } else { reasons })
        }
        other => Err(AdminError::Unavailable(format!(
            "{address} answered with status {other}: is it keyward's?"
        ))),
    }
}

fn written(body: &impl Serialize) -> Result<Bytes, AdminError> {
    let written = serde_json::to_vec(body);
    written.map(Bytes::from).map_err(|error| {
        AdminError::Refused(format!("the request cannot be written as JSON: {error}"))
    })
}

/// A password on its way over the socket, which is this user's alone.
fn spelt(password: &NewPassword) -> Result<String, AdminError> {
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

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), AdminError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| {
        AdminError::Unavailable(format!("the connection to keyward broke: {error}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // The connection makes progress only when polled; it ends by itself once the answer has been
    // read.
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(|error| {
                AdminError::Unavailable(format!("the answer of keyward broke off: {error}"))
            })?;
        Ok((status, body.to_bytes()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        // Its error comes out of the answer as well, which says what was being done.
        _ = connection.as_mut() => answer.await,
    }
}
