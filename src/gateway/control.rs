//! What the parties to one exchange share while it is under way: the gateway, the bodies in both
//! directions, and the driver of the client's connection (HTTP/1) or stream (HTTP/2).
//!
//! On HTTP/1 one control serves all exchanges of a connection, one after the other, and the waits
//! between them. On HTTP/2 each stream has its own, so cutting one off leaves the others alone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::admitted::Admitted;
use super::connection::Credential;
use super::open_streams::OpenStream;
use crate::telemetry::Reason;
use crate::tokens::cache::Fence;
use crate::upstream::UpstreamTunnel;
use crate::wire::deadline::Deadline;

/// What the deadline means at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first byte of the connection is awaited.
    FirstByte,
    /// The next request is awaited.
    Idle,
    /// The rest of a head is awaited.
    Head,
    /// The gateway works at the response's head, and judges the deadline itself.
    Exchange,
    /// A body is under way after the response has begun, in either direction; or a tunnel.
    Streaming,
}

/// How far the request's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// There is none, or it has been read to its end.
    Over,
    /// There is more of it.
    Coming,
    /// There is more of it, and it is being waited for.
    Awaited,
    /// It broke off, or its framing is broken.
    Broken,
}

/// Why an exchange ended before its response did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed or reset the connection or the stream.
    ClientGone,
    /// The client took nothing of the response within the time for a body.
    ClientStalled,
    /// The upstream sent nothing within the time for a body.
    UpstreamStalled,
    /// The upstream broke off.
    UpstreamBroke,
    /// The client's upload broke off.
    UploadBroke,
    /// The token was revoked or expired, or the store could not vouch for it for too long.
    TokenEnded,
    /// keyward stops.
    Stopping,
}

impl Ending {
    /// For the log: what ended it.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::ClientGone => "the client left",
            Self::ClientStalled => "the client stopped reading the response",
            Self::UpstreamStalled => "the upstream stopped sending the response",
            Self::UpstreamBroke => "the upstream broke off the response",
            Self::UploadBroke => "the client broke off its request body",
            Self::TokenEnded => "the token was revoked or has expired",
            Self::Stopping => "keyward stopped",
        }
    }

    /// The reason for which a request came to nothing that ended so before it was answered.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::ClientGone | Self::ClientStalled => Reason::ClientGone,
            Self::UpstreamStalled => Reason::UpstreamSlow,
            Self::UpstreamBroke => Reason::UpstreamBroken,
            Self::UploadBroke => Reason::BrokenBody,
            Self::TokenEnded => Reason::NoRecord,
            Self::Stopping => Reason::Stopping,
        }
    }
}

/// The token that admitted an exchange, and the fence at that time.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) admitted: Rc<Admitted>,
    pub(super) credential: Rc<Credential>,
    pub(super) fence: Fence,
}

/// What goes on with an exchange after its response has been handed over. `Exchange` is the one
/// implementation; the trait keeps this file from importing that one, which imports this one.
pub(super) trait Unfinished {
    /// The control of the exchange.
    fn control(&self) -> &Rc<Control>;

    /// A tunnel has ended that carried so many bytes to the client and from it.
    fn carried(&mut self, sent: u64, received: u64, is_complete: bool);

    /// Whether the response, all of which had been handed over, reached the client.
    fn confirm(&mut self, is_received: bool);
}

/// A switched protocol: the upstream's side, and the exchange, which ends with it.
pub struct Tunnel {
    pub(super) upstream: UpstreamTunnel,
    pub(super) exchange: Box<dyn Unfinished>,
    /// How long the other side may still send after one side has closed.
    pub(super) closing: Duration,
}

/// See the module.
pub struct Control {
    /// When the time for the current phase ends.
    pub deadline: Rc<Deadline>,
    phase: Cell<Phase>,
    stream: Option<OpenStream>,
    upload: Cell<Upload>,
    /// Whether the response has been handed over to its end.
    response_is_over: Cell<bool>,
    /// Whether the upstream, not the client, is being waited for.
    awaits_upstream: Cell<bool>,
    /// Whether the client has closed its sending side.
    client_has_finished: Cell<bool>,
    ending: Cell<Option<Ending>>,
    is_cut: Cell<bool>,
    /// Whether what is under way ends only when one side wants it to.
    is_endless: Cell<bool>,
    /// How long the client may take for its next request.
    idle: Cell<Duration>,
    holder: RefCell<Option<Holder>>,
    tunnel: RefCell<Option<Tunnel>>,
    unconfirmed: RefCell<Option<Box<dyn Unfinished>>>,
}

impl Control {
    /// Of an HTTP/1 connection, which has not sent a byte.
    #[must_use]
    pub fn of_connection(deadline: Rc<Deadline>, idle: Duration) -> Self {
        Self::new(deadline, Phase::FirstByte, None, idle)
    }

    /// Of one HTTP/2 stream, which counts as open for as long as this lives.
    #[must_use]
    pub fn of_stream(deadline: Rc<Deadline>, open: OpenStream) -> Self {
        Self::new(deadline, Phase::Exchange, Some(open), Duration::ZERO)
    }

    fn new(
        deadline: Rc<Deadline>,
        phase: Phase,
        stream: Option<OpenStream>,
        idle: Duration,
    ) -> Self {
        Self {
            deadline,
            phase: Cell::new(phase),
            stream,
            upload: Cell::new(Upload::Over),
            response_is_over: Cell::new(true),
            awaits_upstream: Cell::new(false),
            client_has_finished: Cell::new(false),
            ending: Cell::new(None),
            is_cut: Cell::new(false),
            is_endless: Cell::new(false),
            idle: Cell::new(idle),
            holder: RefCell::default(),
            tunnel: RefCell::default(),
            unconfirmed: RefCell::default(),
        }
    }

    /// What is being waited for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Goes on to a phase with its own time.
    pub fn enter(&self, phase: Phase, span: Duration) {
        self.phase.set(phase);
        self.deadline.set(span);
    }

    /// The next request is awaited from now on.
    pub fn enter_idle(&self) {
        self.enter(Phase::Idle, self.idle.get());
    }

    /// Whether this is one of many streams, and not a connection of its own.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// A request has come.
    pub(super) fn begin(&self, has_body: bool) {
        self.phase.set(Phase::Exchange);
        self.deadline.lift();
        self.upload.set(if has_body { Upload::Coming } else { Upload::Over });
        self.response_is_over.set(false);
        self.awaits_upstream.set(false);
        self.ending.set(None);
        self.is_endless.set(false);
        self.holder.borrow_mut().take();
    }

    /// The response has been handed over to its end, or will never be.
    pub(super) fn response_ended(&self) {
        self.response_is_over.set(true);
        self.awaits_upstream.set(false);
        self.holder.borrow_mut().take();
        if self.upload.get() == Upload::Over {
            self.rest();
        }
    }

    fn rest(&self) {
        if self.is_stream() {
            self.deadline.lift();
        } else {
            self.enter_idle();
        }
        // What the client has sent ahead may be read now.
        self.deadline.wake();
    }

    pub(super) fn upload(&self) -> Upload {
        self.upload.get()
    }

    pub(super) fn set_upload(&self, upload: Upload) {
        self.upload.set(upload);
        if upload == Upload::Over && self.response_is_over.get() {
            self.rest();
        }
    }

    /// Whether the request has been read to its end: what comes behind it is of the next one.
    #[must_use]
    pub fn request_is_over(&self) -> bool {
        self.upload.get() == Upload::Over
    }

    pub(super) fn set_awaits_upstream(&self, awaits: bool) {
        self.awaits_upstream.set(awaits);
    }

    /// The client has read a piece of the response: it has `span` for the next one, and for ever if
    /// the response may be silent.
    pub fn note_read_by_client(&self, span: Duration) {
        if self.is_endless.get() {
            self.deadline.lift();
        } else {
            self.deadline.set(span);
        }
    }

    /// The client takes nothing of the response at the moment: it has `span` to go on reading.
    pub fn note_blocked_by_client(&self, span: Duration) {
        self.awaits_upstream.set(false);
        self.deadline.set_if_lifted(span);
    }

    /// The client has closed its sending side; it may still read.
    pub fn note_client_finished(&self) {
        self.client_has_finished.set(true);
    }

    /// Whether the client has closed its sending side.
    #[must_use]
    pub fn client_has_finished(&self) -> bool {
        self.client_has_finished.get()
    }

    pub(super) fn hold(&self, holder: Holder) {
        *self.holder.borrow_mut() = Some(holder);
    }

    /// The token of the response or tunnel that is open, if one is.
    pub(super) fn open_for(&self) -> Option<Holder> {
        if self.phase.get() == Phase::Streaming { self.holder.borrow().clone() } else { None }
    }

    pub(super) fn set_endless(&self) {
        self.is_endless.set(true);
    }

    /// Whether a tunnel or an event stream is under way, which does not end by itself.
    pub(super) fn is_endless(&self) -> bool {
        self.is_endless.get()
    }

    /// Ends the exchange at once, in the middle of whatever it does: the first cause given counts.
    pub fn cut(&self, ending: Ending) {
        self.note_ending(ending);
        self.is_cut.set(true);
        self.deadline.wake();
    }

    /// Whether it is to end at once. The driver asks at each turn, woken by the deadline.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Ends the exchange if its time is over and the driver is to judge that. Says whether it is to
    /// end.
    pub fn is_to_end(&self) -> bool {
        if !self.is_cut.get() && self.phase.get() == Phase::Streaming && self.deadline.is_over() {
            let ending = if self.awaits_upstream.get() {
                Ending::UpstreamStalled
            } else {
                Ending::ClientStalled
            };
            self.cut(ending);
        }
        self.is_cut.get()
    }

    /// The cause for which the exchange is about to end; the first one counts.
    pub fn note_ending(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
        }
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    pub(super) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    /// What is to be carried now that the protocol has been switched.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.borrow_mut().take()
    }

    /// The response has been handed over, but the client had closed its sending side: whether it
    /// was still there shows only when the bytes are acknowledged.
    pub(super) fn await_confirmation(&self, exchange: Box<dyn Unfinished>) {
        *self.unconfirmed.borrow_mut() = Some(exchange);
    }

    /// The response that awaits confirmation was received, or the client had gone.
    pub fn confirm(&self, is_received: bool) {
        if let Some(mut exchange) = self.unconfirmed.borrow_mut().take() {
            exchange.confirm(is_received);
        }
    }

    /// Whether a response awaits confirmation.
    #[must_use]
    pub fn awaits_confirmation(&self) -> bool {
        self.unconfirmed.borrow().is_some()
    }
}
