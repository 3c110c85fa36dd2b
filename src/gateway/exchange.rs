//! One exchange: what is known of a request from its arrival to the last byte of its response, for
//! the log and the metrics.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};

use super::admitted::Admitted;
use super::challenge::RouteChallenge;
use super::client_address::ForwardedChain;
use super::connection::ClientConnection;
use super::control::{Control, Ending};
use super::cors_policy::CorsFields;
use super::credential::CredentialField;
use super::gate::is_grpc;
use super::limit_state::LimitState;
use super::trace_context;
use super::worker::{Local, WorkerGateway};
use crate::domain::Moment;
use crate::limits::UnderWay;
use crate::telemetry::Reason;
use crate::telemetry::histogram::Took;
use crate::tokens::clock;

/// One exchange. It leaves one line in the access log and one count in the metrics when it is
/// dropped, however it ended: with the last byte of its response, with its tunnel, or because the
/// client left.
pub(super) struct Exchange {
    pub(super) id: HeaderValue,
    /// The one reading of the clocks that everything in the exchange goes by.
    pub(super) now: Moment,
    pub(super) gateway: Rc<WorkerGateway>,
    /// The plan that the whole exchange goes by.
    pub(super) local: Rc<Local>,
    pub(super) client: Rc<ClientConnection>,
    pub(super) control: Rc<Control>,
    /// What trusted proxies say of the request's way.
    pub(super) chain: Option<Box<ForwardedChain>>,
    pub(super) version: Version,
    /// Method and target of a head that passed the gate.
    pub(super) method: Option<Method>,
    pub(super) target: Option<PathAndQuery>,
    /// Whether the request is a HEAD, judged or not: the body of its answer is not sent (RFC 9110,
    /// section 9.3.2).
    pub(super) is_head: bool,
    /// Whether a refusal is one of gRPC.
    pub(super) is_grpc: bool,
    /// The trace that the request says it belongs to, as members of a JSON log line.
    pub(super) trace: Option<Box<str>>,
    /// The route, by its place in the plan.
    pub(super) route: Option<usize>,
    /// What is put on the answer, of whatever kind, where a policy says what pages of other origins
    /// may do.
    pub(super) cors: Option<Box<CorsFields>>,
    /// What limits of requests said, where there are any; and its places among what is under way.
    pub(super) limits: Option<Box<LimitState>>,
    /// Its place among all requests that are under way, where these are bounded.
    pub(super) under_way: Option<Box<UnderWay>>,
    /// Where the credential was found.
    pub(super) credential_field: CredentialField,
    /// The caller, once its credential was found good.
    pub(super) admitted: Option<Rc<Admitted>>,
    pub(super) upstream_took: Option<Duration>,
    pub(super) refusal: Option<(Reason, Option<String>)>,
    /// What was answered; `None`: the exchange ended before that.
    pub(super) status: Option<StatusCode>,
    /// Bytes of the response's body that were handed over, or of a tunnel to the client.
    pub(super) bytes: u64,
    /// Bytes of a tunnel from the client.
    pub(super) bytes_received: Option<u64>,
    /// Whether the response was handed over to its end.
    pub(super) is_complete: bool,
    /// What broke the response off, where its ending alone does not say it.
    pub(super) fault: Option<String>,
}

/// What is known of an exchange only at its end.
pub(super) struct ExchangeEnd<'a> {
    pub(super) status: u16,
    pub(super) took: Duration,
    pub(super) cause: Option<&'a str>,
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
            now: clock::read(),
            gateway: Rc::clone(gateway),
            local: gateway.local(),
            client: Rc::clone(client),
            control: Rc::clone(control),
            chain: None,
            version,
            method: None,
            target: None,
            is_head: false,
            is_grpc: false,
            trace: None,
            route: None,
            cors: None,
            limits: None,
            under_way: None,
            credential_field: CredentialField::Authorization,
            admitted: None,
            upstream_took: None,
            refusal: None,
            status: None,
            bytes: 0,
            bytes_received: None,
            is_complete: false,
            fault: None,
        })
    }

    /// The head has come, not yet judged. The client's address is known from now on.
    pub(super) fn arrived(&mut self, head: &Parts) {
        self.is_grpc = is_grpc(head);
        self.chain = ForwardedChain::read(&self.client, &head.headers).map(Box::new);
        self.is_head = head.method == Method::HEAD;
    }

    /// The trace that the request says it belongs to is known from now on, if it is to be logged.
    pub(super) fn note_trace(&mut self, headers: &HeaderMap) {
        if self.gateway.logs_json() {
            self.trace = trace_context::log_members(headers);
        }
    }

    /// The limit of its route that ended it, in words.
    fn limit_reached(&self, ending: Ending) -> Option<String> {
        let route = self.local.plan.routes.get(self.route?)?;
        route.limits.cause_of(ending, &self.control.times.get())
    }

    pub(super) fn id_text(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// How its route asks for a credential, where it says so.
    pub(super) fn route_challenge(&self) -> Option<&RouteChallenge> {
        self.local.plan.routes.get(self.route?)?.challenge.as_deref()
    }

    /// The client's address: as trusted proxies say, or of the connection. None: it has none.
    pub(super) fn client_address(&self) -> Option<IpAddr> {
        let said = self.chain.as_ref().and_then(|chain| chain.client_address());
        said.or_else(|| self.client.origin.address.ip())
    }

    /// [`Self::client_address`] as text; `unix` for a client that has none.
    pub(super) fn client_text(&self) -> &str {
        let said = self.chain.as_ref().and_then(|chain| chain.client.as_ref());
        said.and_then(|value| value.to_str().ok()).unwrap_or_else(|| self.client.address_text())
    }
}

/// The end of the exchange: counts and logs.
impl Drop for Exchange {
    fn drop(&mut self) {
        let took = clock::uptime().since(self.now.uptime);
        let otherwise =
            if self.gateway.is_stopping.get() { Ending::Stopping } else { Ending::ClientGone };
        let ending = self.control.ending.get().unwrap_or(otherwise);
        let (reason, cause) = ending.logged();
        let status = match self.status {
            Some(status) => status.as_u16(),
            None => {
                self.refusal.get_or_insert((reason, None));
                Reason::CLIENT_GONE_STATUS
            }
        };
        let counters = &self.gateway.counters;
        let counted = Took::new(took);
        counters.requests.count(status);
        counters.durations.observe(counted);
        let of_route = self.local.counters.route(self.route);
        if let Some(of_route) = of_route {
            of_route.count(status, counted);
        }
        if let Some((reason, _)) = &self.refusal {
            counters.refusals.count(*reason);
            of_route.into_iter().for_each(|of_route| of_route.count_refusal(*reason));
        }
        let refused_because = self.refusal.as_ref().and_then(|(_, cause)| cause.as_deref());
        // A response that was handed over to its end has none.
        let limit = if self.is_complete { None } else { self.limit_reached(ending) };
        let fault = self.fault.as_deref().or(limit.as_deref());
        let ended_because = (!self.is_complete).then(|| fault.unwrap_or(cause));
        let outcome = ExchangeEnd { status, took, cause: refused_because.or(ended_because) };
        self.gateway.log_line(self.now.wall, |line, is_json| {
            if is_json { self.write_json(line, &outcome) } else { self.write_text(line, &outcome) }
        });
    }
}
