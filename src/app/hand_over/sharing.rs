//! For how long two processes have the embedded store.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tokio::io::AsyncReadExt as _;

use crate::app::open_store::OpenStore;
use crate::app::parts::Parts;
use crate::store::embedded;
use crate::tokens::cache::ReadAnew;

/// While it lives, this process remembers no token, and lets another one change the store.
pub(in crate::app) struct Sharing {
    _reads: ReadAnew,
    _turns: embedded::Shared,
}

impl Sharing {
    /// None: instances of a fleet share their store anyway.
    pub(in crate::app) fn begin(parts: &Parts) -> Option<Self> {
        let OpenStore::Embedded(store) = &parts.store else { return None };
        Some(Self { _reads: parts.cache.read_anew(), _turns: store.share() })
    }
}

/// One end of a connection whose other end another process keeps open to its own end.
#[derive(Debug)]
pub(in crate::app) struct Alive(UnixStream);

impl Alive {
    /// An end to keep, and one to give away.
    pub(in crate::app) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self(one), Self(other)))
    }

    pub(in crate::app) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Whether the process with the other end is gone.
    pub(in crate::app) fn has_ended(&self) -> bool {
        // Nothing is ever sent.
        self.0.set_nonblocking(true).is_ok() && matches!((&self.0).read(&mut [0]), Ok(0))
    }

    /// Returns when the process with the other end is gone; never, if that cannot be told.
    pub(in crate::app) async fn wait_for_end(self) {
        let watch = async {
            self.0.set_nonblocking(true)?;
            let mut stream = tokio::net::UnixStream::from_std(self.0)?;
            // Nothing is ever sent.
            stream.read(&mut [0]).await
        };
        if let Err(fault) = watch.await {
            tracing::error!(%fault, "the end of the process before cannot be waited for");
            std::future::pending::<()>().await;
        }
    }
}

impl From<OwnedFd> for Alive {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }
}

impl From<Alive> for OwnedFd {
    fn from(alive: Alive) -> Self {
        alive.0.into()
    }
}
