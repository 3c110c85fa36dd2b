//! The outside issuers of the configuration: from settings to a set, and the tasks that keep their keys fresh.
//!
//! The tasks run on the control thread, so no request waits for a handshake with an issuer. A reload takes over what did not
//! change: keys stay, even where their issuer is away just then.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::{self, Config, IssuerKeys};
use crate::domain::ClaimPath;
use crate::files::{self, FileError};
use crate::tls::{Trust, Watcher};
use crate::tokens::issuer::jwk::MOST_BYTES;
use crate::tokens::issuer::{
    Issuer, IssuerSet, IssuerSettings, KeyFetch, KeyRing, KeySet, KeySource, KeySourceFault, Rhythm,
};
use crate::tokens::keyring::Peppers;
use crate::upstream::document::{Document, DocumentAddress, DocumentLimits};

/// What one fetch of keys may take.
const FETCH: DocumentLimits = DocumentLimits {
    connect: Duration::from_secs(3),
    head: Duration::from_secs(3),
    whole: Duration::from_secs(5),
    bytes: MOST_BYTES,
};
/// Outside tokens that are remembered, at most: each has its claims with it, and costs one signature check when forgotten.
const MOST_REMEMBERED: usize = 100_000;

/// The issuers in force. Dropped, their keys are fetched no more.
pub(super) struct Issuers {
    all: Vec<(config::Issuer, Arc<Issuer>)>,
    set: Option<Arc<IssuerSet>>,
    tasks: Vec<JoinHandle<()>>,
    /// Watches the certificates with which the issuers' servers are verified.
    watcher: Watcher,
}

/// Issuers that could be put in force: everything that can fail has been done.
pub(super) struct Prepared {
    all: Vec<(config::Issuer, Arc<Issuer>)>,
    set: Arc<IssuerSet>,
    /// Keys that were read from files, for rings that may be in use already.
    keys: Vec<(Arc<KeyRing>, KeySet)>,
    sources: Vec<(Arc<Issuer>, Arc<dyn KeySource>)>,
}

impl Prepared {
    /// The set, for the plan.
    pub(super) fn set(&self) -> Arc<IssuerSet> {
        Arc::clone(&self.set)
    }
}

impl Issuers {
    /// None yet; the files of their certificates will be registered with `watcher`.
    pub(super) fn new(watcher: Watcher) -> Self {
        Self { all: Vec::new(), set: None, tasks: Vec::new(), watcher }
    }

    /// Makes the issuers of a configuration, with all files read now. No network.
    pub(super) fn prepare(&self, config: &Config, peppers: &Arc<Peppers>) -> Result<Prepared, String> {
        let (mut all, mut keys, mut sources) = (Vec::new(), Vec::new(), Vec::<(_, Arc<dyn KeySource>)>::new());
        let kept_claims = kept_claims(config);
        for configured in &config.issuers {
            let issuer = self.issuer(configured, &kept_claims);
            match &configured.keys {
                IssuerKeys::Url { url, ca_file } => {
                    let address = DocumentAddress {
                        is_https: url.is_https,
                        host: url.host.clone(),
                        port: url.port,
                        target: url.target.clone(),
                    };
                    let trust = ca_file.clone().map_or(Trust::System, Trust::File);
                    let document = Document::new(address, trust, FETCH).map_err(|fault| wrong(configured, &fault))?;
                    if let Some(client) = document.tls() {
                        self.watcher.register(client);
                    }
                    sources.push((Arc::clone(&issuer), Arc::new(Fetched(document))));
                }
                IssuerKeys::File(path) => sources.push((Arc::clone(&issuer), Arc::new(File(path.clone())))),
                IssuerKeys::Secret(_) => {}
            }
            if let Some(set) = keys_of_file(configured)? {
                keys.push((Arc::clone(issuer.ring()), set));
            }
            all.push((configured.clone(), issuer));
        }
        let issuers = all.iter().map(|(_, issuer)| Arc::clone(issuer)).collect();
        let capacity = config.limits.cached_tokens.min(MOST_REMEMBERED);
        let set = Arc::new(IssuerSet::new(issuers, Arc::clone(peppers), capacity, config.limits.token));
        Ok(Prepared { all, set, keys, sources })
    }

    /// The issuer that is in force already if it is the same, or a new one, with the keys that are here if it has the same.
    fn issuer(&self, configured: &config::Issuer, kept_claims: &[ClaimPath]) -> Arc<Issuer> {
        let is_same = |(known, issuer): &&(config::Issuer, Arc<Issuer>)| {
            known == configured && issuer.settings().kept_claims == kept_claims
        };
        if let Some((_, same)) = self.all.iter().find(is_same) {
            return Arc::clone(same);
        }
        let has_same_keys = |known: &config::Issuer| {
            known.name == configured.name
                && known.keys == configured.keys
                && known.algorithms == configured.algorithms
                && known.refresh == configured.refresh
                && known.stale_if_error == configured.stale_if_error
        };
        let ring = match self.all.iter().find(|(known, _)| has_same_keys(known)) {
            Some((_, other)) => Arc::clone(other.ring()),
            None => Arc::new(ring(configured)),
        };
        Arc::new(Issuer::new(settings(configured, kept_claims), ring))
    }

    /// Puts them in force. Must run on the control runtime.
    pub(super) fn replace(&mut self, prepared: Prepared) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let now = Instant::now();
        for (ring, keys) in prepared.keys {
            ring.take(keys, now);
        }
        if let Some(before) = self.set.replace(Arc::clone(&prepared.set)) {
            prepared.set.succeed(&before);
        }
        self.all = prepared.all;
        for (issuer, source) in prepared.sources {
            self.tasks.push(tokio::spawn(async move {
                let accepted: Arc<[_]> = issuer.settings().algorithms.as_slice().into();
                issuer.ring().keep(source, accepted).await;
            }));
        }
    }
}

impl Drop for Issuers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn ring(configured: &config::Issuer) -> KeyRing {
    let name = Arc::clone(&configured.name);
    match configured.keys {
        IssuerKeys::Secret(_) => KeyRing::fixed(name, KeySet::default()),
        IssuerKeys::Url { .. } | IssuerKeys::File(_) => {
            KeyRing::empty(name, Rhythm { refresh: configured.refresh, stale_if_error: configured.stale_if_error })
        }
    }
}

/// The claims that routes ask for.
fn kept_claims(config: &Config) -> Vec<ClaimPath> {
    let rules = config.routes.iter().flat_map(|route| &route.require.claims);
    let mut paths: Vec<_> = rules.map(|rule| rule.path.clone()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

fn settings(configured: &config::Issuer, kept_claims: &[ClaimPath]) -> IssuerSettings {
    IssuerSettings {
        name: Arc::clone(&configured.name),
        issuer: configured.issuer.clone(),
        audience: configured.audience.clone(),
        algorithms: configured.algorithms.clone(),
        required_claims: configured.required_claims.clone(),
        claims: configured.claims.clone(),
        leeway: configured.leeway,
        kept_claims: kept_claims.to_vec(),
    }
}

/// What is wrong with the keys of an issuer, in words.
fn wrong(configured: &config::Issuer, words: &dyn std::fmt::Display) -> String {
    format!("[[issuer]] {}: {words}", configured.name)
}

/// The keys of an issuer that has them in a file; `None`: it has an address.
fn keys_of_file(configured: &config::Issuer) -> Result<Option<KeySet>, String> {
    let (IssuerKeys::File(path) | IssuerKeys::Secret(path)) = &configured.keys else { return Ok(None) };
    let at = |words: &dyn std::fmt::Display| wrong(configured, &format_args!("{}: {words}", path.display()));
    if matches!(configured.keys, IssuerKeys::Secret(_)) {
        let found = files::read_secret(path, MOST_BYTES as u64).map_err(|fault| at(&fault))?;
        let secret = files::shared_secret(&found.content).map_err(|fault| at(&fault))?;
        return KeySet::secret(&secret).map(Some).map_err(|fault| at(&fault));
    }
    let text = Zeroizing::new(read(path).map_err(|fault| at(&fault))?);
    let set = KeySet::read(&text, &configured.algorithms).map_err(|fault| at(&fault))?;
    if set.is_empty() {
        return Err(at(&format_args!("it holds no key that can be used. {}", set.passed_over().join("; "))));
    }
    Ok(Some(set))
}

/// What is wrong with files of keys, a line each: what a start would find.
pub(super) fn file_faults(config: &Config) -> Vec<String> {
    config.issuers.iter().filter_map(|configured| keys_of_file(configured).err()).collect()
}

/// A set from an address.
struct Fetched(Document);

impl KeySource for Fetched {
    fn fetch(&self) -> KeyFetch<'_> {
        Box::pin(async move {
            let body = self.0.fetch().await.map_err(|fault| KeySourceFault(fault.to_string()))?;
            Ok(files::text_of(&body).into_owned())
        })
    }
}

/// A set from a file, which may be replaced while we run.
struct File(PathBuf);

impl KeySource for File {
    fn fetch(&self) -> KeyFetch<'_> {
        let path = self.0.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                read(&path).map_err(|fault| format!("{}: {fault}", path.display()))
            });
            match read.await {
                Ok(text) => text.map_err(KeySourceFault),
                Err(_) => Err(KeySourceFault("the read was given up".to_owned())),
            }
        })
    }
}

/// Reads a set of keys.
fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let found = files::read_trusted(path, MOST_BYTES as u64)?;
    Ok(files::text_of(&found.content).into_owned())
}
