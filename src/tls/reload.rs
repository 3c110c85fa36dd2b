//! A configuration that is made from files, and made anew when they have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::TlsError;
use super::files::{Contents, Stamps};

/// How a configuration is made.
pub(super) trait Recipe {
    type Config;

    /// Every file that it is made from.
    fn paths(&self) -> Vec<PathBuf>;

    /// Makes it from the contents of these files. After an error, the recipe is as before.
    fn make(&mut self, contents: &Contents) -> Result<Self::Config, TlsError>;
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

/// A configuration in force and the files behind it.
pub(super) struct Reloadable<R: Recipe> {
    current: ArcSwap<R::Config>,
    /// Locked by a refresh, and by no handshake.
    state: Mutex<State<R>>,
}

/// What is known of the files.
pub(super) struct State<R> {
    recipe: R,
    paths: Vec<PathBuf>,
    /// Taken before the contents were read: what changes in between is noticed at the next look.
    stamps: Stamps,
    /// Of the contents that were tried last.
    digest: Vec<u8>,
    /// Whether those could not be used. They are then tried again at each look, since not every
    /// reason shows in a stamp.
    is_failing: bool,
}

impl<R: Recipe> Reloadable<R> {
    /// Makes the first configuration.
    pub(super) fn load(mut recipe: R, now: SystemTime) -> Result<Self, TlsError> {
        let paths = recipe.paths();
        let stamps = Stamps::take(&paths, now);
        let contents = Contents::read(&paths);
        let config = recipe.make(&contents)?;
        let state = State { recipe, paths, stamps, digest: contents.digest(), is_failing: false };
        Ok(Self { current: ArcSwap::from_pointee(config), state: Mutex::new(state) })
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<R::Config> {
        self.current.load_full()
    }

    /// Looks at the files. Blocks on the file system.
    pub(super) fn refresh(&self, now: SystemTime) -> RefreshOutcome {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.refresh(now) {
            Ok(None) => RefreshOutcome::Unchanged,
            Ok(Some(config)) => {
                self.current.store(Arc::new(config));
                RefreshOutcome::Reloaded
            }
            Err(fault) => RefreshOutcome::Failed(fault),
        }
    }

    /// The files.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).paths.clone()
    }
}

impl<R: Recipe> State<R> {
    /// A new configuration, if the files have changed since the last look.
    fn refresh(&mut self, now: SystemTime) -> Result<Option<R::Config>, TlsError> {
        let stamps = Stamps::take(&self.paths, now);
        if !self.is_failing && self.stamps.vouch_for(&stamps) {
            return Ok(None);
        }
        let contents = Contents::read(&self.paths);
        self.stamps = stamps;
        let digest = contents.digest();
        let is_known = digest == self.digest;
        if is_known && !self.is_failing {
            return Ok(None);
        }
        self.digest = digest;
        let made = self.recipe.make(&contents);
        self.is_failing = made.is_err();
        // The same contents that fail again are no news.
        if is_known { Ok(made.ok()) } else { made.map(Some) }
    }
}
