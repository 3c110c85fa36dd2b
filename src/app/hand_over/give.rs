//! The side of the process that hands over.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::frames::{AT_ONCE, Frames};
use super::{Alive, Message, OfferNote, PROTOCOL, SocketNote};
use crate::server::{InheritedSocket, SocketOrigin};
use crate::upstream::LeftOut;

/// How long the new process may take from the offer until it is ready to serve: it reads the whole
/// store meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// How long it may say nothing in that time, if it says that it reports: its control thread hangs,
/// or the process stands still.
const SILENT_FOR: Duration = Duration::from_secs(15);

/// The most names that are told, in bytes: they must fit into a message.
const MOST_NAMES: usize = 32 * 1024;

/// The most bytes of what is told of endpoints that are left out, and how many each has beside its
/// names.
const MOST_LEFT_OUT: usize = 16 * 1024;
const NOTE_BYTES: usize = 160;

/// What is handed over.
pub(in crate::app) struct Offer {
    pub(in crate::app) sockets: Vec<InheritedSocket>,
    /// The admin socket, and the lock on its file.
    pub(in crate::app) admin_socket: [OwnedFd; 2],
    /// What the store is, and the lock of one that is embedded.
    pub(in crate::app) store: (String, Option<OwnedFd>),
    /// Of this process, and of those before it that are not over.
    pub(in crate::app) alive: Vec<Alive>,
    /// Names of endpoints of which this process knows no address.
    pub(in crate::app) without_address: Vec<String>,
    /// Endpoints that this process leaves out because they failed.
    pub(in crate::app) left_out: Vec<LeftOut>,
}

/// What the new process has come to. The task that talks to it goes on when it is answered.
pub(in crate::app) enum Step {
    /// It is ready to serve on the sockets with these numbers.
    Ready { taken: Vec<usize>, go: oneshot::Sender<()> },
    /// It serves; `done` is for when this process accepts nothing any more.
    Serving { process: u32, done: oneshot::Sender<Said> },
    /// It does not come to that.
    Failed(String),
}

/// Dropped once the new process has been told: this one must not have ended before.
pub(in crate::app) type Said = oneshot::Sender<()>;

/// Hands over on this connection. Every step is reported to `steps`; the last one is
/// [`Step::Serving`] or [`Step::Failed`].
pub(in crate::app) async fn give(stream: UnixStream, offer: Offer, steps: mpsc::Sender<Step>) {
    if let Err(why) = negotiate(&Frames::new(stream), offer, &steps).await {
        let _ = steps.send(Step::Failed(why)).await;
    }
}

/// Tells a process that nothing is handed over to it.
pub(in crate::app) async fn refuse(stream: UnixStream, why: String) {
    let frames = Frames::new(stream);
    // It speaks first, and must not find the connection closed.
    let _ = frames.receive(AT_ONCE).await;
    let _ = frames.send(&refused(why), &[]).await;
}

fn refused(why: String) -> Message {
    Message::Refused { why, process: Some(std::process::id()) }
}

async fn negotiate(
    frames: &Frames,
    offer: Offer,
    steps: &mpsc::Sender<Step>,
) -> Result<(), String> {
    let gone = |fault: std::io::Error| format!("the connection to the new process: {fault}");
    let unexpected = |message: &Message| format!("the new process said {message:?}");
    let (process, user) = frames.peer().map_err(gone)?;
    if rustix::process::geteuid().as_raw() != user {
        let why = format!("process {process} is of another user ({user})");
        // It speaks first, and must not find the connection closed.
        let _ = frames.receive(AT_ONCE).await;
        let _ = frames.send(&refused(why.clone()), &[]).await;
        return Err(why);
    }
    let reports = match frames.receive(AT_ONCE).await.map_err(gone)? {
        (Message::Hello { protocol: PROTOCOL, reports }, _) => reports,
        (Message::Hello { protocol, .. }, _) => {
            let why = format!(
                "process {process} takes over by version {protocol} of the protocol, and this one \
                 hands over by version {PROTOCOL}"
            );
            let _ = frames.send(&refused(why.clone()), &[]).await;
            return Err(why);
        }
        (other, _) => return Err(unexpected(&other)),
    };
    tracing::info!(process, "another process is to take over");
    let number = offer.sockets.len();
    for socket in offer.sockets {
        let note = Message::Socket(SocketNote {
            configured: socket.configured.to_string(),
            address: socket.address.to_string(),
            is_admin: socket.is_admin,
            is_of_service_manager: socket.origin == SocketOrigin::ServiceManager,
        });
        let (socket, lock) = socket.into_descriptors();
        let descriptors: Vec<_> = [Some(socket), lock].into_iter().flatten().collect();
        frames.send(&note, &descriptors).await.map_err(gone)?;
    }
    frames.send(&Message::AdminSocket {}, &offer.admin_socket).await.map_err(gone)?;
    let (name, lock) = offer.store;
    let lock: Vec<_> = lock.into_iter().collect();
    frames.send(&Message::Store { name }, &lock).await.map_err(gone)?;
    for alive in offer.alive {
        frames.send(&Message::Alive {}, &[alive.into()]).await.map_err(gone)?;
    }
    let note = OfferNote {
        process: Some(std::process::id()),
        wants_reports: true,
        without_address: within(offer.without_address, MOST_NAMES, String::len),
        left_out: within(offer.left_out, MOST_LEFT_OUT, |out| {
            out.upstream.len() + out.endpoint.len() + NOTE_BYTES
        })
        .into_iter()
        .map(Into::into)
        .collect(),
    };
    frames.send(&Message::Offered(note), &[]).await.map_err(gone)?;
    let taken = match until_ready(frames, reports).await? {
        Message::Ready { taken } if taken.iter().all(|&one| one < number) => taken,
        other => return Err(unexpected(&other)),
    };
    let (go, may_go) = oneshot::channel();
    let stopped = || "keyward is stopping".to_owned();
    steps.send(Step::Ready { taken, go }).await.map_err(|_| stopped())?;
    may_go.await.map_err(|_| stopped())?;
    frames.send(&Message::Go {}, &[]).await.map_err(gone)?;
    match frames.receive(AT_ONCE).await.map_err(gone)? {
        (Message::Serving {}, _) => {}
        (other, _) => return Err(unexpected(&other)),
    }
    let (done, is_done) = oneshot::channel();
    steps.send(Step::Serving { process, done }).await.map_err(|_| stopped())?;
    if let Ok(_said) = is_done.await {
        // It serves, whether or not it hears of this.
        let _ = frames.send(&Message::Done {}, &[]).await;
    }
    Ok(())
}

/// What the new process says once it is not at work any more.
async fn until_ready(frames: &Frames, reports: bool) -> Result<Message, String> {
    let patience = if reports { SILENT_FOR } else { READY_WITHIN };
    let not_ready = |within: Duration| {
        format!("the new process is not ready to serve after {} s", within.as_secs())
    };
    let at_work = async {
        loop {
            match frames.receive(patience).await {
                Ok((Message::Preparing {}, _)) => {}
                Ok((other, _)) => return Ok(other),
                Err(fault) if fault.kind() != ErrorKind::TimedOut => {
                    return Err(format!("the connection to the new process: {fault}"));
                }
                Err(_) if reports => {
                    let silent = SILENT_FOR.as_secs();
                    return Err(format!("the new process has said nothing for {silent} s"));
                }
                Err(_) => return Err(not_ready(patience)),
            }
        }
    };
    timeout(READY_WITHIN, at_work).await.unwrap_or_else(|_| Err(not_ready(READY_WITHIN)))
}

/// The first of these, so many bytes of them. A name that is not told counts as one that has an
/// address.
fn within<T>(mut all: Vec<T>, most: usize, length: impl Fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    all.retain(|one| {
        bytes += length(one) + 3;
        bytes <= most
    });
    all
}
