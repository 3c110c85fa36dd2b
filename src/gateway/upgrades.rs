//! Which protocols clients may switch to along a route. What is not among them is an offer that is
//! left out, and the request is served without it (RFC 9110, section 7.8).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::gate::{Passed, WebSocketForm};
use super::head_fault::HeadFault;
use super::refusal::Refusal;

/// The protocols of a route that names them. The default of others is WebSocket alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades {
    /// WebSocket, of which keyward reads the handshake.
    pub websocket: bool,
    /// Others by their names, as in `tcp` or `SPDY/3.1`: keyward knows nothing of them.
    pub others: Vec<HeaderValue>,
}

impl Upgrades {
    /// The names of all.
    pub(super) fn names(&self) -> Vec<String> {
        let websocket = self.websocket.then(|| "websocket".to_owned());
        let text = |name: &HeaderValue| name.to_str().unwrap_or_default().to_owned();
        websocket.into_iter().chain(self.others.iter().map(text)).collect()
    }
}

/// The protocol of a request that is to be switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    WebSocket(WebSocketForm),
    /// As the route names it.
    Other(HeaderValue),
}

/// The WebSocket that a request asks for and that its route takes; `upgrades`: those of the route,
/// where it names them.
///
/// # Errors
///
/// When an extended CONNECT (RFC 8441) asks in vain: without the switch it is no request.
pub(super) fn websocket(
    upgrades: Option<&Upgrades>,
    asked: Option<WebSocketForm>,
) -> Result<Option<WebSocketForm>, Refusal> {
    match (asked, upgrades) {
        (Some(form), None) => Ok(Some(form)),
        (Some(form), Some(upgrades)) if upgrades.websocket => Ok(Some(form)),
        (Some(WebSocketForm::Connect), _) => Err(HeadFault::Method.into()),
        (Some(WebSocketForm::Upgrade) | None, _) => Ok(None),
    }
}

/// What a request with these fields is to be switched to, if anything.
///
/// # Errors
///
/// See [`websocket`].
pub(super) fn asked(
    upgrades: Option<&Upgrades>,
    passed: Passed,
    headers: &HeaderMap,
) -> Result<Option<Asked>, Refusal> {
    if let Some(form) = websocket(upgrades, passed.websocket)? {
        return Ok(Some(Asked::WebSocket(form)));
    }
    let Some(upgrades) = upgrades.filter(|_| passed.offers_upgrade) else { return Ok(None) };
    // One name on one line: of several, client and upstream could mean different ones.
    let only = only(headers, &header::UPGRADE);
    let is_offered = |name: &&HeaderValue| {
        only.is_some_and(|offered| offered.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
    };
    Ok(upgrades.others.iter().find(is_offered).cloned().map(Asked::Other))
}

/// The value of a field that comes once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
