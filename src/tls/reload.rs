//! A configuration that is made from files, and made anew when they have changed.

#![expect(
    clippy::disallowed_methods,
    reason = "files are compared with the time at which they were read"
)]

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::files::{Contents, Stamps};
use super::{OwnCertificate, TlsError};

/// How a configuration is made.
pub trait Recipe: Send + 'static {
    /// The configuration.
    type Config: Send + Sync;

    /// Every file that it is made from.
    fn paths(&self) -> Vec<PathBuf>;

    /// Makes it from the contents of these files. After an error, the recipe is as before.
    ///
    /// # Errors
    ///
    /// When a file cannot be used: the operator's to mend.
    fn make(&mut self, contents: &Contents) -> Result<Made<Self::Config>, TlsError>;
}

/// What a recipe makes.
pub struct Made<C> {
    /// The configuration.
    pub config: C,
    /// The certificates that it shows to the other side.
    pub certificates: Vec<OwnCertificate>,
}

/// A configuration that is made from files, as a [`Watcher`](super::Watcher) sees it.
pub trait Watched: Send + Sync {
    /// Looks at the files, and puts them in force if they have changed and can be used. Blocks on
    /// the file system.
    fn refresh(&self, now: SystemTime) -> RefreshOutcome;

    /// The files.
    fn paths(&self) -> Vec<PathBuf>;

    /// The certificates in force that are shown to the other side.
    fn certificates(&self) -> Vec<OwnCertificate>;

    /// Whether the files, as they were at the last look, cannot be used.
    fn is_failing(&self) -> bool;
}

/// What a look at the files found.
#[derive(Debug)]
pub enum RefreshOutcome {
    /// Nothing new: neither the files nor, if they were wrong, what is wrong with them.
    Unchanged,
    /// They have changed, and are in force for handshakes from now on.
    Reloaded,
    /// They have changed and cannot be used. What was in force stays so.
    Failed(TlsError),
}

/// A configuration in force and the files that it was made from.
pub struct Reloadable<R: Recipe> {
    current: ArcSwap<R::Config>,
    /// Those in `current`. Apart from it, as handshakes do not need them.
    certificates: ArcSwap<Vec<OwnCertificate>>,
    /// Whether what was tried last could not be used. It is then tried again at each look, since
    /// not every reason shows in a stamp.
    is_failing: AtomicBool,
    /// Locked by a refresh, and by no handshake.
    state: Mutex<State<R>>,
}

/// What is known of the files.
struct State<R> {
    recipe: R,
    /// Taken before the contents were read: what changes in between is noticed at the next look.
    stamps: Stamps,
    /// Of the contents that were tried last.
    digest: Vec<u8>,
}

impl<R: Recipe> Reloadable<R> {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When a file cannot be used, a key and its certificate do not belong together, or the system
    /// trusts no authority: the operator's to mend.
    pub fn load(settings: impl Into<R>) -> Result<Arc<Self>, TlsError> {
        let mut recipe = settings.into();
        let paths = recipe.paths();
        let stamps = Stamps::take(&paths, SystemTime::now());
        let contents = Contents::read(&paths);
        let Made { config, certificates } = recipe.make(&contents)?;
        let state = State { recipe, stamps, digest: contents.digest() };
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(config),
            certificates: ArcSwap::from_pointee(certificates),
            is_failing: AtomicBool::new(false),
            state: Mutex::new(state),
        }))
    }

    /// The configuration in force. Ask for it at each handshake: it costs one atomic increment, and
    /// that of a client keeps its sessions for as long as the files stay the same.
    #[must_use]
    pub fn config(&self) -> Arc<R::Config> {
        self.current.load_full()
    }
}

impl<R: Recipe> Watched for Reloadable<R> {
    fn refresh(&self, now: SystemTime) -> RefreshOutcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = state.recipe.paths();
        let stamps = Stamps::take(&paths, now);
        let was_failing = self.is_failing();
        if !was_failing && state.stamps.vouch_for(&stamps) {
            return RefreshOutcome::Unchanged;
        }
        let contents = Contents::read(&paths);
        state.stamps = stamps;
        let digest = contents.digest();
        let is_known = digest == state.digest;
        if is_known && !was_failing {
            return RefreshOutcome::Unchanged;
        }
        state.digest = digest;
        let made = state.recipe.make(&contents);
        self.is_failing.store(made.is_err(), Ordering::Release);
        match made {
            Ok(Made { config, certificates }) => {
                self.current.store(Arc::new(config));
                self.certificates.store(Arc::new(certificates));
                RefreshOutcome::Reloaded
            }
            // The same contents that fail again are no news.
            Err(_) if is_known => RefreshOutcome::Unchanged,
            Err(fault) => RefreshOutcome::Failed(fault),
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).recipe.paths()
    }

    fn certificates(&self) -> Vec<OwnCertificate> {
        self.certificates.load().to_vec()
    }

    fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }
}

impl<R: Recipe> fmt::Debug for Reloadable<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloadable").field("files", &self.paths()).finish_non_exhaustive()
    }
}
