//! One client connection from its first byte to its last: request after request, each with its answer, and around them what keeps
//! the deadlines, drains and closes.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::request;
use super::response::{self, Asked, Said};
use super::socket::{Next, Patience, Rest, Socket, Writer};
use super::stream::{ClientStream, Shared};
use super::tunnel;
use super::worker::Worker;
use crate::gateway::{self, ClientConnection, ClientOrigin, IncomingBody, Phase, ResponseBody};
use crate::wire::sending::Sending;

/// Serves a connection until it ends.
pub(super) async fn serve(worker: &Rc<Worker>, stream: ClientStream, origin: ClientOrigin) {
    let settings = worker.settings();
    let client = Rc::new(ClientConnection::new(origin, worker.deadlines.register()));
    client.deadline.set(settings.first_byte);
    worker.gateway.look_after(&client);
    let patience = Patience { head: settings.head, body: settings.body };
    let socket = Socket::new(stream, Rc::clone(&client), settings.head_limits, patience);
    let connection =
        Connection { worker, client: &client, socket: &Rc::new(RefCell::new(socket)), idle: settings.idle };

    let ending = connection.exchange_all(settings.first_byte).await;

    let tunnel = client.tunnel.borrow_mut().take();
    match (ending, tunnel) {
        (Ok(Done), Some(upstream)) => tunnel::carry(&client, connection.socket, upstream, settings.body).await,
        (Ok(Done), None) => close(connection.socket).await,
        // Without a farewell: the client is gone, or has used up its patience.
        (Err(Broken), _) => {}
    }
    connection.socket.borrow_mut().hang_up();
}

/// There are no more requests.
struct Done;

/// The client is gone, or is to be.
struct Broken;

/// A connection while it is driven.
struct Connection<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Rc<ClientConnection>,
    socket: &'a Rc<RefCell<Socket>>,
    idle: Duration,
}

impl Connection<'_> {
    /// Answers requests until there are no more.
    async fn exchange_all(&self, first_byte: Duration) -> Result<Done, Broken> {
        let mut is_last_call = false;
        loop {
            let next = std::future::poll_fn(|cx| self.poll_next(cx, first_byte, &mut is_last_call)).await?;
            let (request, asked) = match self.request(next) {
                Some(asked) => asked?,
                None => return Ok(Done),
            };
            let response = self.answer(request).await?;
            let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let keeps_alive = self.respond(asked, response).await?;
            // Also where the connection is closed: what is still read for the upstream must not be read by who closes.
            if is_switch || self.upload_has_ended().await? == Rest::Unread || !keeps_alive {
                return Ok(Done);
            }
            self.client.phase.set(Phase::Idle);
            self.client.deadline.set(self.idle);
        }
    }

    /// What every wait has to look at first.
    fn look(&self, cx: &Context<'_>) -> Result<(), Broken> {
        self.client.deadline.wake_by(cx);
        if self.client.is_cut() {
            return Err(Broken);
        }
        let is_ours = match self.client.phase.get() {
            Phase::FirstByte | Phase::Idle | Phase::Streaming | Phase::Leaving => true,
            // Theirs to judge, when they are polled.
            Phase::Head | Phase::Exchange => false,
        };
        if is_ours && self.client.deadline.is_over() { Err(Broken) } else { Ok(()) }
    }

    fn poll_next(
        &self,
        cx: &mut Context<'_>,
        first_byte: Duration,
        is_last_call: &mut bool,
    ) -> Poll<Result<Next, Broken>> {
        self.look(cx)?;
        let next = self.socket.borrow_mut().poll_next(cx, &mut self.worker.room.borrow_mut());
        // Only after what has come has been read: a request that was sent before the end is answered.
        if next.is_pending() && self.worker.is_draining() {
            match self.client.phase.get() {
                // Whoever has just connected is about to say why.
                Phase::FirstByte if !*is_last_call => {
                    *is_last_call = true;
                    self.client.deadline.set(first_byte.min(LAST_CALL));
                }
                // A head that has begun is a request that has begun, and has its own time.
                Phase::FirstByte | Phase::Head => {}
                _ => return Poll::Ready(Ok(Next::End)),
            }
        }
        next.map(Ok)
    }

    /// The request that came, and what of it matters to the form of its response; `None`, if none did.
    fn request(&self, next: Next) -> Option<Result<(Request<IncomingBody>, Asked), Broken>> {
        let fault = match next {
            Next::Head(head, bytes) => {
                match request::of(
                    &head,
                    &bytes,
                    &self.worker.room.borrow().lines,
                    self.client.headers.take(),
                    self.socket,
                ) {
                    Ok(request) => {
                        let asked = Asked {
                            for_head: *request.method() == Method::HEAD,
                            version: head.version,
                            keeps_alive: head.keeps_alive,
                            takes_trailers: head.takes_trailers,
                        };
                        return Some(Ok((request, asked)));
                    }
                    Err(fault) => fault,
                }
            }
            Next::Refused(fault) => fault,
            Next::End => return None,
            Next::Broken => return Some(Err(Broken)),
        };
        self.client.head_fault.set(Some(fault));
        let asked = Asked { for_head: false, version: Version::HTTP_11, keeps_alive: false, takes_trailers: false };
        Some(Ok((request::refused(), asked)))
    }

    /// Has the gateway answer, and passes on what is said in between.
    async fn answer(&self, request: Request<IncomingBody>) -> Result<Response<ResponseBody>, Broken> {
        let mut running = pin!(gateway::run(Rc::clone(&self.worker.gateway), Rc::clone(self.client), request));
        std::future::poll_fn(|cx| {
            self.look(cx)?;
            if let Poll::Ready(Ok(response)) = running.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            self.client.interim.wake_by(cx);
            let mut socket = self.socket.borrow_mut();
            if let Poll::Ready(Err(_)) = socket.poll_interim(cx) {
                return Poll::Ready(Err(Broken));
            }
            socket.watch(cx, &mut self.worker.room.borrow_mut());
            Poll::Pending
        })
        .await
    }

    /// Sends a response, and says whether another request may follow.
    async fn respond(&self, asked: Asked, response: Response<ResponseBody>) -> Result<bool, Broken> {
        let rest = std::future::poll_fn(|cx| Poll::Ready(self.socket.borrow_mut().rest(cx))).await;
        let may_follow = rest != Rest::Unread && !self.worker.is_draining();
        let asked = Asked { keeps_alive: asked.keeps_alive && may_follow, ..asked };
        let (mut sending, keeps_alive) = self.message(asked, response);
        std::future::poll_fn(|cx| {
            self.look(cx)?;
            let sent = sending.poll(&mut Writer(self.socket), cx);
            if sent.is_pending() {
                self.socket.borrow_mut().watch(cx, &mut self.worker.room.borrow_mut());
            }
            sent.map_err(|fault| {
                tracing::debug!(client = %self.client.origin.address, ?fault, "a response was not sent to its end");
                Broken
            })
        })
        .await?;
        self.worker.spare.put(sending.take_buffer());
        Ok(keeps_alive)
    }

    /// A response in the form in which it is sent, behind what interim responses wait.
    fn message(&self, asked: Asked, response: Response<ResponseBody>) -> (Sending<ResponseBody>, bool) {
        let mut head = self.worker.spare.take();
        head.clear();
        self.socket.borrow_mut().take_interim(&mut head);
        let body = response.body();
        let said = Said {
            status: response.status(),
            headers: response.headers(),
            lines: body.lines(),
            size: body.size_hint(),
            content_length: body.content_length(),
        };
        let form = response::write_head(&mut head, asked, &said, self.worker.date.borrow().as_bytes());
        (Sending::new(head, response.into_body(), form.body), form.keeps_alive)
    }

    /// Waits for the end of a request's body that is read for longer than its response took, and says whether it came to it.
    async fn upload_has_ended(&self) -> Result<Rest, Broken> {
        std::future::poll_fn(|cx| {
            self.look(cx)?;
            match self.socket.borrow_mut().rest(cx) {
                Rest::Wanted => Poll::Pending,
                rest @ (Rest::None | Rest::Unread) => Poll::Ready(Ok(rest)),
            }
        })
        .await
    }
}

/// How long a connection without a first request is kept while keyward stops.
const LAST_CALL: Duration = Duration::from_millis(500);

/// How long a closed connection is still read from, and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Closes so that the client gets the last answer whole: closing with bytes unread would reset the connection under it (RFC
/// 9112, section 9.6).
async fn close(socket: &RefCell<Socket>) {
    let is_over = socket.borrow().is_over();
    let mut stream = Shared(socket);
    let drain = async {
        // Over TLS there is a farewell to write, and the client may not be reading.
        if stream.shutdown().await.is_err() || is_over {
            return;
        }
        // Not in the future, whose room each connection has from its beginning.
        let mut sink = vec![0; 4096];
        let mut drained = 0;
        while drained < LINGER_BYTES {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(read) => drained += read,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
