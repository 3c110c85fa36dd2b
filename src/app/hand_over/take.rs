//! The side of the process that takes over.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::frames::{AT_ONCE, Frames};
use super::reporting::Reporting;
use super::{Alive, LeftOutNote, Message, OfferNote, PROTOCOL, SocketNote};
use crate::admin::SocketClient;
use crate::server::{InheritedSocket, ListenAddress, SocketOrigin};
use crate::upstream::LeftOut;

/// The keyward that is taken over from, and what it has handed over.
pub(in crate::app) struct Predecessor {
    frames: Arc<Frames>,
    /// Tells it that this process is at work.
    reporting: Option<Reporting>,
    pub(in crate::app) process: u32,
    /// In the order of their numbers.
    pub(in crate::app) sockets: Vec<InheritedSocket>,
    /// The admin socket, and the lock on its file.
    pub(in crate::app) admin_socket: Option<(UnixListener, File)>,
    /// What the store is, and the lock of one that is embedded.
    pub(in crate::app) store: (String, Option<File>),
    /// Of it, and of those before it that are not over.
    pub(in crate::app) alive: Vec<Alive>,
    /// Names of endpoints of which it knows no address.
    pub(in crate::app) without_address: Vec<String>,
    /// Endpoints that it leaves out because they failed, and when it said so.
    left_out: (Vec<LeftOutNote>, Instant),
}

impl Predecessor {
    /// Asks the keyward at this admin socket for what it has. `None`: none runs.
    ///
    /// # Errors
    ///
    /// It does not hand over, for the operator.
    pub(in crate::app) async fn ask(admin_socket: &Path) -> Result<Option<Self>, String> {
        let found = SocketClient::find(admin_socket).await.map_err(|fault| fault.to_string())?;
        let Some(client) = found else { return Ok(None) };
        let stream = client.hand_over().await.map_err(|fault| fault.to_string())?;
        let frames = Arc::new(Frames::new(stream));
        let failed = |fault: io::Error| format!("nothing was handed over: {fault}");
        let (process, _) = frames.peer().map_err(failed)?;
        let hello = Message::Hello { protocol: PROTOCOL, reports: true };
        frames.send(&hello, &[]).await.map_err(failed)?;
        let mut predecessor = Self {
            frames,
            reporting: None,
            process,
            sockets: Vec::new(),
            admin_socket: None,
            store: (String::new(), None),
            alive: Vec::new(),
            without_address: Vec::new(),
            left_out: (Vec::new(), Instant::now()),
        };
        loop {
            let (message, descriptors) =
                predecessor.frames.receive(AT_ONCE).await.map_err(failed)?;
            match message {
                Message::Offered(note) => {
                    predecessor.note(note);
                    return Ok(Some(predecessor));
                }
                Message::Refused { why, process: id } => {
                    let process = id.unwrap_or(process);
                    return Err(format!("process {process} does not hand over: {why}"));
                }
                other => predecessor.take(other, descriptors).map_err(failed)?,
            }
        }
    }

    fn note(&mut self, note: OfferNote) {
        let OfferNote { process, wants_reports, without_address, left_out } = note;
        // The system's answer is of the process that listened first.
        self.process = process.unwrap_or(self.process);
        self.reporting = wants_reports.then(|| Reporting::begin(Arc::clone(&self.frames)));
        self.without_address = without_address;
        self.left_out = (left_out, Instant::now());
    }

    /// The endpoints that it leaves out because they failed, as of now.
    pub(in crate::app) fn left_out(&self) -> impl Iterator<Item = LeftOut> {
        let (notes, said) = &self.left_out;
        notes.iter().map(|note| note.after(said.elapsed()))
    }

    fn take(&mut self, message: Message, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let mut descriptors = descriptors.into_iter();
        let mut next =
            || descriptors.next().ok_or_else(|| io::Error::other("a file descriptor is missing"));
        match message {
            Message::Socket(note) => {
                let (socket, lock) = (next()?, next().ok().map(File::from));
                self.sockets.push(socket_of(&note, socket)?.with_lock(lock));
            }
            Message::AdminSocket {} => {
                let (listener, lock) = (UnixListener::from(next()?), File::from(next()?));
                listener.set_nonblocking(true)?;
                self.admin_socket = Some((listener, lock));
            }
            Message::Store { name } => self.store = (name, next().ok().map(File::from)),
            Message::Alive {} => self.alive.push(next()?.into()),
            other => return Err(io::Error::other(format!("it said {other:?}"))),
        }
        Ok(())
    }

    /// Says that this process could serve on the sockets with these numbers, and waits until it
    /// may. From then on, the other process remembers no token.
    ///
    /// # Errors
    ///
    /// The other process does not hand over after all: it goes on.
    pub(in crate::app) async fn wait_to_serve(&mut self, taken: Vec<usize>) -> Result<(), String> {
        if let Some(reporting) = self.reporting.take() {
            reporting.end().await;
        }
        let failed = |fault: io::Error| {
            format!("process {} has not handed over after all: {fault}", self.process)
        };
        self.frames.send(&Message::Ready { taken }, &[]).await.map_err(failed)?;
        match self.frames.receive(AT_ONCE).await.map_err(failed)? {
            (Message::Go {}, _) => Ok(()),
            (other, _) => Err(failed(io::Error::other(format!("it said {other:?}")))),
        }
    }

    /// Says that this process serves, and waits until the other one accepts nothing any more.
    ///
    /// # Errors
    ///
    /// It has not said that it does; this process serves all the same.
    pub(in crate::app) async fn note_serving(&self) -> io::Result<()> {
        self.frames.send(&Message::Serving {}, &[]).await?;
        match self.frames.receive(AT_ONCE).await? {
            (Message::Done {}, _) => Ok(()),
            (other, _) => Err(io::Error::other(format!("it said {other:?}"))),
        }
    }
}

fn socket_of(note: &SocketNote, descriptor: OwnedFd) -> io::Result<InheritedSocket> {
    let address = |text: &str| {
        ListenAddress::parse(text)
            .ok_or_else(|| io::Error::other(format!("it said that {text:?} is an address")))
    };
    let origin = if note.is_of_service_manager {
        SocketOrigin::ServiceManager
    } else {
        SocketOrigin::Keyward
    };
    let socket = InheritedSocket::handed_over(address(&note.address)?, descriptor, origin)?;
    Ok(socket.configured_as(address(&note.configured)?, note.is_admin))
}
