//! One exchange: what is known of a request from its arrival to the last byte of its response, for
//! the log and the metrics.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};

use super::access_line::LineFacts;
use super::admitted::Admitted;
use super::client_address::ForwardedChain;
use super::connection::ClientConnection;
use super::control::{Control, Ending, Unfinished};
use super::request_id::RequestId;
use super::worker::{Local, WorkerGateway};
use crate::domain::Moment;
use crate::telemetry::Reason;
use crate::tokens::clock;

/// One exchange. It leaves one line in the access log and one count in the metrics when it is
/// dropped, however it ended: with the last byte of its response, with its tunnel, or because the
/// client left.
pub(super) struct Exchange {
    pub(super) id: RequestId,
    begun: Moment,
    gateway: Rc<WorkerGateway>,
    client: Rc<ClientConnection>,
    /// What trusted proxies say of the request's way.
    chain: Option<Box<ForwardedChain>>,
    control: Rc<Control>,
    /// Only of a head that passed the gate.
    method: Option<Method>,
    /// Whether the request is a HEAD, judged or not: the body of its answer is not sent.
    is_head: bool,
    version: Version,
    target: Option<PathAndQuery>,
    local: Rc<Local>,
    route: Option<usize>,
    admitted: Option<Rc<Admitted>>,
    upstream_micros: Option<u64>,
    refusal: Option<(Reason, Option<String>)>,
    /// What was answered; nothing, if the exchange ended before that.
    status: Option<StatusCode>,
    /// Whether refusals are worded for gRPC.
    is_grpc: bool,
    bytes: u64,
    /// Through a tunnel: from the client.
    bytes_received: Option<u64>,
    is_complete: bool,
    /// What broke the response off, where its ending alone does not say it.
    fault: Option<String>,
}

impl Exchange {
    pub(super) fn begin(
        gateway: &Rc<WorkerGateway>,
        client: &Rc<ClientConnection>,
        control: &Rc<Control>,
        version: Version,
        has_body: bool,
    ) -> Box<Self> {
        control.begin(has_body);
        Box::new(Self {
            id: gateway.ids.next(),
            begun: clock::read(),
            gateway: Rc::clone(gateway),
            client: Rc::clone(client),
            chain: None,
            control: Rc::clone(control),
            method: None,
            is_head: false,
            version,
            target: None,
            local: gateway.local(),
            route: None,
            admitted: None,
            upstream_micros: None,
            refusal: None,
            status: None,
            is_grpc: false,
            bytes: 0,
            bytes_received: None,
            is_complete: false,
            fault: None,
        })
    }

    /// The plan that the whole exchange goes by.
    pub(super) fn local(&self) -> Rc<Local> {
        Rc::clone(&self.local)
    }

    pub(super) fn gateway(&self) -> &Rc<WorkerGateway> {
        &self.gateway
    }

    pub(super) fn client(&self) -> &Rc<ClientConnection> {
        &self.client
    }

    /// The head has come, not yet judged. The client's address is known from now on.
    pub(super) fn arrived(&mut self, head: &http::request::Parts) {
        self.chain = ForwardedChain::read(&self.client, &head.headers).map(Box::new);
        self.is_head = head.method == Method::HEAD;
    }

    /// What trusted proxies say of the request's way.
    pub(super) fn chain(&self) -> Option<&ForwardedChain> {
        self.chain.as_deref()
    }

    /// The client's address: as trusted proxies say, or of the connection. None: it has none.
    pub(super) fn client_address(&self) -> Option<IpAddr> {
        let said = self.chain().and_then(ForwardedChain::client_address);
        said.or_else(|| self.client.origin.address.ip())
    }

    /// [`Self::client_address`] as text; `unix` for a client that has none.
    pub(super) fn client_text(&self) -> &str {
        let said = self.chain().and_then(ForwardedChain::client_value);
        said.and_then(|value| value.to_str().ok()).unwrap_or_else(|| self.client.address_text())
    }

    pub(super) fn control(&self) -> &Rc<Control> {
        &self.control
    }

    /// The one reading of the clocks that everything in the exchange goes by.
    pub(super) fn now(&self) -> Moment {
        self.begun
    }

    /// Whether refusals are worded for gRPC.
    pub(super) fn set_grpc(&mut self, is_grpc: bool) {
        self.is_grpc = is_grpc;
    }

    /// The head has passed the gate.
    pub(super) fn judged(&mut self, head: &http::request::Parts) {
        self.target = head.uri.path_and_query().cloned();
        self.method = Some(head.method.clone());
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    pub(super) fn routed(&mut self, route: usize) {
        self.route = Some(route);
    }

    pub(super) fn admitted(&mut self, admitted: &Rc<Admitted>) {
        self.admitted = Some(Rc::clone(admitted));
    }

    /// Whose credential was found good.
    pub(super) fn caller(&self) -> Option<&Rc<Admitted>> {
        self.admitted.as_ref()
    }

    pub(super) fn upstream_took(&mut self, since: Instant) {
        self.upstream_micros = Some(micros(since.elapsed()));
    }

    pub(super) fn refused(&mut self, reason: Reason, cause: Option<String>) {
        self.refusal = Some((reason, cause));
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So many bytes of the response have been handed over.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Whether the body of the response is not sent (RFC 9110, section 9.3.2).
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// The response has been handed over to its end, or not.
    pub(super) fn set_complete(&mut self, is_complete: bool) {
        self.is_complete = is_complete;
    }

    /// The response broke off, for this reason.
    pub(super) fn broke(&mut self, fault: String) {
        self.fault = Some(fault);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Counts and logs.
    fn end(&mut self) {
        let took = clock::uptime().since(self.begun.uptime);
        let otherwise =
            if self.gateway.is_stopping() { Ending::Stopping } else { Ending::ClientGone };
        let ending = self.control.ending().unwrap_or(otherwise);
        let status = match self.status {
            Some(status) => status.as_u16(),
            None => {
                self.refusal.get_or_insert((ending.reason(), None));
                Reason::CLIENT_GONE_STATUS
            }
        };
        let counters = &self.gateway.counters;
        counters.requests.count(status);
        counters.durations.observe(took);
        if let Some((reason, _)) = &self.refusal {
            counters.refusals.count(*reason);
        }
        let took = micros(took);
        let refused_because = self.refusal.as_ref().and_then(|(_, cause)| cause.as_deref());
        // A response that was handed over to its end has none.
        let ended_because =
            (!self.is_complete).then(|| self.fault.as_deref().unwrap_or(ending.cause()));
        let cause = refused_because.or(ended_because);
        self.gateway.log_line(self.begun.wall, |line, is_json| {
            let facts = LineFacts {
                request_id: self.id.as_str(),
                client: self.client_text(),
                peer: self.client.peer_text(),
                method: self.method.as_ref().map_or("-", Method::as_str),
                path: self.target.as_ref().map_or("-", |target| target.path()),
                protocol: protocol(self.version),
                status,
                bytes: self.bytes,
                bytes_received: self.bytes_received,
                took_micros: took,
                route: self.route.and_then(|at| self.local.plan.routes.get(at)),
                upstream_micros: self.upstream_micros,
                admitted: self.admitted.as_deref(),
                refusal: self.refusal.as_ref().map(|(reason, _)| *reason),
                cause,
                is_complete: self.is_complete,
            };
            if is_json { facts.write_json(line) } else { facts.write_text(line) }
        });
    }
}

impl Unfinished for Exchange {
    fn control(&self) -> &Rc<Control> {
        &self.control
    }

    fn carried(&mut self, sent: u64, received: u64, is_complete: bool) {
        self.bytes = sent;
        self.bytes_received = Some(received);
        self.is_complete = is_complete;
    }

    fn confirm(&mut self, is_received: bool) {
        if !is_received {
            self.is_complete = false;
            self.status = None;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
