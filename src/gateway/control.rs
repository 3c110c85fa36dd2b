//! The state of one exchange that its parties share while it is under way: the gateway, the bodies
//! in both directions, and the driver of the client's connection (HTTP/1) or stream (HTTP/2).
//!
//! On HTTP/1 one control serves all exchanges of a connection, one after the other, and the waits
//! between them. On HTTP/2 each stream has its own, so cutting one off leaves the others alone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::admitted::Admitted;
use super::connection::Credential;
use super::exchange_times::ExchangeTimes;
use super::open_streams::OpenStream;
use crate::domain::Timestamp;
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
    Coming,
    /// The next piece is being waited for.
    Awaited,
    /// It broke off, or its framing is broken.
    Broken,
    /// It is larger than its route takes, and was broken off.
    TooLarge,
    /// It stopped coming behind the head of the response, and was broken off.
    Stalled,
}

impl Upload {
    /// The ending of an exchange that it broke off; `None`: it did not.
    pub(super) const fn ending(self) -> Option<Ending> {
        match self {
            Self::Broken => Some(Ending::UploadBroke),
            Self::TooLarge => Some(Ending::UploadTooLarge),
            Self::Stalled => Some(Ending::UploadStalled),
            Self::Over | Self::Coming | Self::Awaited => None,
        }
    }
}

/// Why an exchange ended before its response did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed or reset the connection or the stream.
    ClientGone,
    /// The client took nothing of the response, or sent nothing in its tunnel, within its time.
    ClientStalled,
    /// The upstream sent nothing within the time for a response's body.
    UpstreamStalled,
    /// The upstream broke off.
    UpstreamBroke,
    /// The client's upload broke off.
    UploadBroke,
    /// The client's upload stopped behind the head of the response.
    UploadStalled,
    /// The client's upload was larger than its route takes.
    UploadTooLarge,
    /// The client had closed its side of a WebSocket, and the upstream did not in time.
    UpstreamOpen,
    /// The upstream had closed its side of a WebSocket, and the client did not in time.
    ClientOpen,
    /// It took longer than an exchange may take as a whole.
    TookTooLong,
    /// The token was revoked or expired, or the store could not vouch for it for too long.
    TokenEnded,
    /// keyward stops.
    Stopping,
}

impl Ending {
    /// The reason of an exchange that ended so before it was answered, and the cause for the log.
    pub(super) const fn logged(self) -> (Reason, &'static str) {
        match self {
            Self::ClientGone => (Reason::ClientGone, "the client left"),
            Self::ClientStalled => (Reason::ClientGone, "the client stopped reading the response"),
            Self::UpstreamStalled => {
                (Reason::UpstreamSlow, "the upstream stopped sending the response")
            }
            Self::UpstreamBroke => (Reason::UpstreamBroken, "the upstream broke off the response"),
            Self::UploadBroke => (Reason::BrokenBody, "the client broke off its request body"),
            Self::UploadStalled => {
                (Reason::SlowBody, "the client stopped sending its request body")
            }
            Self::UploadTooLarge => (Reason::BodyTooLarge, "the request body is too large"),
            Self::UpstreamOpen => (
                Reason::UpstreamSlow,
                "the client had closed its side, and the upstream did not within \"body\" in \
                 [timeouts]",
            ),
            Self::ClientOpen => (
                Reason::ClientGone,
                "the upstream had closed its side, and the client did not within \"body\" in \
                 [timeouts]",
            ),
            Self::TookTooLong => (Reason::UpstreamSlow, "the exchange took too long"),
            Self::TokenEnded => (Reason::NoRecord, "the token was revoked or has expired"),
            Self::Stopping => (Reason::Stopping, "keyward stopped"),
        }
    }
}

/// The token that admitted an exchange, and the fence at that time.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) admitted: Rc<Admitted>,
    pub(super) shown: Shown,
    pub(super) fence: Fence,
}

/// What the client showed.
#[derive(Clone)]
pub(super) enum Shown {
    /// The token, or a JWT of an outside issuer.
    Token(Rc<Credential>),
    /// A ticket that was made for it.
    Ticket { redeemed_at: Timestamp },
}

/// A switched protocol.
pub struct Tunnel {
    pub(super) control: Rc<Control>,
    pub(super) upstream: UpstreamTunnel,
    /// How long the other side may still send after one side has closed; `None`: for ever.
    pub(super) closing: Option<Duration>,
    /// Has the exchange; takes the bytes that were carried to the client and from it, and whether
    /// both sides have closed.
    pub(super) end: Box<dyn FnOnce(u64, u64, bool)>,
}

/// Has the exchange; takes whether the client has acknowledged the bytes of the response.
pub(super) type Confirm = Box<dyn FnOnce(bool)>;

/// See the module.
pub struct Control {
    /// When the time for the current phase ends.
    pub deadline: Rc<Deadline>,
    phase: Cell<Phase>,
    stream: Option<OpenStream>,
    /// Changed by [`Self::set_upload`] alone.
    pub(super) upload: Cell<Upload>,
    response_is_over: Cell<bool>,
    /// Whether the upstream, not the client, is being waited for.
    pub(super) awaits_upstream: Cell<bool>,
    client_has_finished: Cell<bool>,
    /// Whether its request waits, or may be about to, for a place at an upstream.
    is_queued: Cell<bool>,
    pub(super) ending: Cell<Option<Ending>>,
    is_cut: Cell<bool>,
    /// Whether a tunnel or an event stream is under way, which does not end by itself.
    pub(super) is_endless: Cell<bool>,
    /// Changed by [`Self::limit`] and [`Self::go_by`] alone.
    pub(super) times: Cell<ExchangeTimes>,
    /// How many bytes of the request's body may still come.
    body_left: Cell<u64>,
    /// Of the one that reads the request's body, as long as the head of the response is awaited.
    upload_waker: Cell<Option<Waker>>,
    /// How long the client of an HTTP/1 connection may take for its next request.
    idle: Duration,
    pub(super) holder: RefCell<Option<Holder>>,
    /// What is to be carried once the driver has switched the protocol.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    /// Of a response that was handed over after the client had closed its sending side.
    pub(super) unconfirmed: RefCell<Option<Confirm>>,
}

impl Control {
    /// Of an HTTP/1 connection, which has not sent a byte and may be idle for so long.
    #[must_use]
    pub fn of_connection(deadline: Rc<Deadline>, idle: Duration) -> Self {
        Self {
            deadline,
            phase: Cell::new(Phase::FirstByte),
            stream: None,
            upload: Cell::new(Upload::Over),
            response_is_over: Cell::new(true),
            awaits_upstream: Cell::new(false),
            client_has_finished: Cell::new(false),
            is_queued: Cell::new(false),
            ending: Cell::new(None),
            is_cut: Cell::new(false),
            is_endless: Cell::new(false),
            times: Cell::default(),
            body_left: Cell::new(u64::MAX),
            upload_waker: Cell::default(),
            idle,
            holder: RefCell::default(),
            tunnel: RefCell::default(),
            unconfirmed: RefCell::default(),
        }
    }

    /// Of one HTTP/2 stream, which counts as open for as long as this lives.
    #[must_use]
    pub fn of_stream(deadline: Rc<Deadline>, open: OpenStream) -> Self {
        let phase = Cell::new(Phase::Exchange);
        Self { phase, stream: Some(open), ..Self::of_connection(deadline, Duration::ZERO) }
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

    /// Goes on to a phase with its own time; `None`: it has none.
    pub(super) fn enter_for(&self, phase: Phase, span: Option<Duration>) {
        self.phase.set(phase);
        self.set_or_lift(span);
    }

    pub(super) fn set_or_lift(&self, span: Option<Duration>) {
        match span {
            Some(span) => self.deadline.set(span),
            None => self.deadline.lift(),
        }
    }

    /// The exchange goes by these times from now on, and the body of its request may have so many
    /// bytes. `elapsed`: how long the exchange has been under way.
    pub(super) fn limit(
        &self,
        times: ExchangeTimes,
        body: u64,
        elapsed: impl FnOnce() -> Duration,
    ) {
        self.body_left.set(body);
        self.times.set(times);
        if let Some(whole) = times.whole {
            self.deadline.bind(whole.saturating_sub(elapsed()));
        }
    }

    /// The exchange has turned out to be one that goes by other times.
    pub(super) fn go_by(&self, times: ExchangeTimes) {
        // It has begun before, and so the time for the whole runs if there is one.
        if times.whole.is_none() {
            self.deadline.unbind();
        }
        self.times.set(times);
    }

    /// A piece of the request's body has come; false: the body is too large with it.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        let left = self.body_left.get().checked_sub(bytes as u64);
        self.body_left.set(left.unwrap_or_default());
        left.is_some()
    }

    /// The request's body is read by a task that is to look again when the response has begun.
    pub(super) fn wake_upload_by(&self, cx: &Context<'_>) {
        self.upload_waker.set(Some(cx.waker().clone()));
    }

    /// The response has begun: what reads the request's body looks again.
    pub(super) fn wake_upload(&self) {
        if let Some(waker) = self.upload_waker.take() {
            waker.wake();
        }
    }

    /// The next request is awaited from now on.
    pub fn enter_idle(&self) {
        self.enter(Phase::Idle, self.idle);
    }

    /// Whether this is one of many streams, and not a connection of its own.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn begin(&self, has_body: bool) {
        self.phase.set(Phase::Exchange);
        self.deadline.unbind();
        self.deadline.lift();
        self.upload.set(if has_body { Upload::Coming } else { Upload::Over });
        self.response_is_over.set(false);
        self.awaits_upstream.set(false);
        self.ending.set(None);
        self.is_endless.set(false);
        self.holder.take();
    }

    /// The response has been handed over to its end, or will never be.
    pub(super) fn response_ended(&self) {
        self.response_is_over.set(true);
        self.awaits_upstream.set(false);
        self.holder.take();
        if self.upload.get() == Upload::Over {
            self.rest();
        }
    }

    fn rest(&self) {
        self.deadline.unbind();
        if self.is_stream() {
            self.deadline.lift();
        } else {
            self.enter_idle();
        }
        // What the client has sent ahead may be read now.
        self.deadline.wake();
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

    /// A piece has come on its way, of the response to the client or of the request's body behind
    /// the head of the response: there is time for the next one, unless the response may be silent.
    pub fn note_progress(&self) {
        self.set_or_lift(self.times.get().response_body);
    }

    /// The client takes nothing of the response at the moment: it has `span` to go on reading.
    pub fn note_blocked_by_client(&self, span: Duration) {
        self.awaits_upstream.set(false);
        self.deadline.set_if_lifted(span);
    }

    /// Whether the request waits for a place at an upstream from now on.
    pub(super) fn set_queued(&self, is_queued: bool) {
        self.is_queued.set(is_queued);
    }

    /// Whether the request waits for a place at an upstream: nothing reads its body meanwhile.
    #[must_use]
    pub fn waits_for_place(&self) -> bool {
        self.phase.get() == Phase::Exchange && self.is_queued.get()
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

    /// The token of the response or tunnel that is open, if one is.
    pub(super) fn open_for(&self) -> Option<Holder> {
        if self.phase.get() == Phase::Streaming { self.holder.borrow().clone() } else { None }
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

    /// Whether the exchange is to end. It is cut off if its time for a body or as a whole is over.
    pub fn is_to_end(&self) -> bool {
        if !self.is_cut.get() && self.phase.get() == Phase::Streaming && self.deadline.is_over() {
            self.cut(if self.deadline.is_bound_over() {
                Ending::TookTooLong
            } else if self.awaits_upstream.get() {
                Ending::UpstreamStalled
            } else {
                Ending::ClientStalled
            });
        }
        self.is_cut.get()
    }

    /// The cause for which the exchange is about to end; the first one counts.
    pub fn note_ending(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
        }
    }

    /// What is to be carried now that the protocol has been switched.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// The response that awaits confirmation was received, or the client had gone.
    pub fn confirm(&self, is_received: bool) {
        if let Some(confirm) = self.unconfirmed.take() {
            confirm(is_received);
        }
    }

    /// Whether a response awaits confirmation.
    #[must_use]
    pub fn awaits_confirmation(&self) -> bool {
        self.unconfirmed.borrow().is_some()
    }
}
