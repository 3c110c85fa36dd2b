//! A configuration that is made from files, and made anew when they have changed.
//!
//! The files are in parts, each judged by itself: a certificate with its key, or authorities. What
//! is wrong with one keeps its last good state in force, and no other part from being renewed.

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

    /// Renews each part from the contents of these files.
    fn renew(&mut self, contents: &Contents) -> Renewal;

    /// Makes it from the parts, each in its last good state.
    ///
    /// # Errors
    ///
    /// When a part was never good, or a combination is refused.
    fn make(&mut self) -> Result<Made<Self::Config>, TlsError>;
}

/// What a recipe makes.
pub struct Made<C> {
    /// The configuration.
    pub config: C,
    /// The certificates that it shows to the other side.
    pub certificates: Vec<OwnCertificate>,
}

/// What became of the parts of a recipe.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Whether the configuration is to be made anew.
    pub has_changes: bool,
    /// What is wrong and was not known.
    pub faults: Vec<TlsError>,
    /// Whether anything is wrong, be it known or not.
    pub is_failing: bool,
}

/// Files that only together can be used or not, and what was made of them.
pub(super) struct Part<T> {
    files: Vec<PathBuf>,
    /// None: before the first state that can be used.
    value: Option<T>,
    /// Of the contents that were tried last.
    digest: Vec<u8>,
    /// Whether those could not be used. They are then tried again at each look, since not every
    /// reason is in the contents.
    is_failing: bool,
}

impl<T> Part<T> {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, value: None, digest: Vec::new(), is_failing: false }
    }

    /// The files.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What is in force.
    pub(super) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Makes it anew if the contents of its files have changed. An error leaves it as it is.
    pub(super) fn renew(
        &mut self,
        contents: &Contents,
        renewal: &mut Renewal,
        make: impl FnOnce() -> Result<T, TlsError>,
    ) {
        let digest = contents.digest(&self.files);
        let is_known = digest == self.digest;
        if is_known && !self.is_failing {
            return;
        }
        self.digest = digest;
        match make() {
            Ok(made) => {
                (self.value, self.is_failing) = (Some(made), false);
                renewal.has_changes = true;
            }
            Err(fault) => {
                (self.is_failing, renewal.is_failing) = (true, true);
                // The same contents that fail again are no news.
                if !is_known {
                    renewal.faults.push(fault);
                }
            }
        }
    }
}

/// A configuration that is made from files, as a [`Watcher`](super::Watcher) sees it.
pub trait Watched: Send + Sync {
    /// Looks at the files, and puts them in force if they have changed and can be used. Blocks on
    /// the file system.
    fn refresh(&self, now: SystemTime) -> Refreshed;

    /// The files.
    fn paths(&self) -> Vec<PathBuf>;

    /// The certificates in force that are shown to the other side.
    fn certificates(&self) -> Vec<OwnCertificate>;

    /// Whether the files, as they were at the last look, cannot be used.
    fn is_failing(&self) -> bool;
}

/// What a look at the files found: nothing new, unless it says so.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Files have changed, and are in force for handshakes from now on.
    pub is_reloaded: bool,
    /// Files have changed and cannot be used. Of those, what was in force stays so.
    pub faults: Vec<TlsError>,
}

/// A configuration in force and the files that it was made from.
pub struct Reloadable<R: Recipe> {
    current: ArcSwap<R::Config>,
    /// Those in `current`. Apart from it, as handshakes do not need them.
    certificates: ArcSwap<Vec<OwnCertificate>>,
    /// Whether any of what was tried last could not be used. It is then tried again at each look,
    /// since not every reason shows in a stamp.
    is_failing: AtomicBool,
    /// Locked by a refresh, and by no handshake.
    state: Mutex<State<R>>,
}

/// What is known of the files.
struct State<R> {
    recipe: R,
    /// Taken before the contents were read: what changes in between is noticed at the next look.
    stamps: Stamps,
    /// Parts have changed, and the configuration could not be made of them yet.
    is_to_make: bool,
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
        if let Some(fault) = recipe.renew(&Contents::read(&paths)).faults.into_iter().next() {
            return Err(fault);
        }
        let Made { config, certificates } = recipe.make()?;
        let state = State { recipe, stamps, is_to_make: false };
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
    fn refresh(&self, now: SystemTime) -> Refreshed {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = state.recipe.paths();
        let stamps = Stamps::take(&paths, now);
        if !self.is_failing() && state.stamps.vouch_for(&stamps) {
            return Refreshed::default();
        }
        let contents = Contents::read(&paths);
        state.stamps = stamps;
        let Renewal { has_changes, mut faults, mut is_failing } = state.recipe.renew(&contents);
        let mut is_reloaded = false;
        if has_changes || state.is_to_make {
            match state.recipe.make() {
                Ok(Made { config, certificates }) => {
                    self.current.store(Arc::new(config));
                    self.certificates.store(Arc::new(certificates));
                    is_reloaded = true;
                }
                Err(fault) => {
                    is_failing = true;
                    if has_changes {
                        faults.push(fault);
                    }
                }
            }
            state.is_to_make = !is_reloaded;
        }
        self.is_failing.store(is_failing, Ordering::Release);
        Refreshed { is_reloaded, faults }
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
