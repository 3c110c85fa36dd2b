//! The connection on which a process asks to take over: an exchange of the admin socket that is
//! switched to another protocol (RFC 9110, section 7.8). What is said on it is for others.

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::warn;

use super::answer::{Answer, problem};

/// Where connections go on which a process asks to take over.
pub type HandOvers = mpsc::Sender<UnixStream>;

pub(super) const HAND_OVER: &str = "/v1/hand-over";

/// The protocol that the exchange is switched to.
pub(super) const PROTOCOL: &str = "keyward-hand-over";

/// Switches the connection of this request.
pub(super) fn begin(hand_overs: Option<&HandOvers>, request: Request<Incoming>) -> Answer {
    let Some(hand_overs) = hand_overs else {
        return problem(StatusCode::CONFLICT, "this keyward hands nothing over");
    };
    let asked = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    if asked.is_none_or(|asked| !asked.eq_ignore_ascii_case(PROTOCOL)) {
        let mut refused = problem(StatusCode::UPGRADE_REQUIRED, "this call is one of upgrading");
        refused.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        return refused;
    }
    let permit = match hand_overs.clone().try_reserve_owned() {
        Ok(permit) => permit,
        Err(TrySendError::Full(_)) => {
            let words = "another process is about to take over: try again when that is over";
            return problem(StatusCode::CONFLICT, words);
        }
        Err(TrySendError::Closed(_)) => {
            return problem(StatusCode::CONFLICT, "keyward is stopping: start when it has ended");
        }
    };
    tokio::spawn(async move {
        let switched = match hyper::upgrade::on(request).await {
            Ok(switched) => switched.downcast::<TokioIo<UnixStream>>().ok(),
            Err(fault) => {
                warn!(%fault, "a process that was to take over has gone");
                return;
            }
        };
        // The other side says nothing before it has the answer.
        if let Some(parts) = switched.filter(|parts| parts.read_buf.is_empty()) {
            permit.send(parts.io.into_inner());
        }
    });
    let mut answer = Response::new(http_body_util::Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    answer
}
