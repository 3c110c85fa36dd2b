//! The outside issuers of the configuration: from settings to a set, and the tasks that keep their
//! keys fresh.
//!
//! The tasks run on the control thread, so no request waits for a handshake with an issuer. A
//! reload keeps the keys of what did not change, even if their issuer cannot be reached then.

mod sources;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use sources::{Discovered, Fetched, File, Proxies, read};

use crate::config::{self, Config, Fault, IssuerKeys};
use crate::domain::{ClaimPath, OutsideAlgorithm};
use crate::files;
use crate::gateway::Requirement;
use crate::tls::{Trust, Watcher};
use crate::tokens::issuer::jwk::MOST_BYTES;
use crate::tokens::issuer::{
    Issuer, IssuerSet, IssuerSettings, KeyRing, KeySet, KeySource, Tenancy,
};
use crate::tokens::keyring::Peppers;
use crate::upstream::document::{Document, DocumentLimits};

/// What one fetch of keys may take.
const FETCH: DocumentLimits = DocumentLimits {
    connect: Duration::from_secs(3),
    head: Duration::from_secs(3),
    whole: Duration::from_secs(5),
    bytes: MOST_BYTES,
};
/// How many documents of one `[[issuer]]` are fetched at the same time: a template may have a
/// thousand tenants.
const FETCHES_AT_A_TIME: usize = 16;
/// The most outside tokens that are cached: each has its claims with it.
const MOST_REMEMBERED: usize = 100_000;

/// The issuers in force. Dropped, their keys are fetched no more.
pub(super) struct Issuers {
    all: Vec<Configured>,
    set: Option<Arc<IssuerSet>>,
    tasks: Vec<JoinHandle<()>>,
    /// Watches the certificates with which the issuers' servers are verified.
    watcher: Watcher,
}

/// A key of an issuer's table, and what is wrong there.
type Wrong = (&'static str, String);

/// What one `[[issuer]]` has become: one issuer, or one for each tenant of a template.
struct Configured {
    settings: config::Issuer,
    issuers: Vec<Arc<Issuer>>,
}

/// Issuers that could be put in force: everything that can fail has been done.
pub(super) struct Prepared {
    all: Vec<Configured>,
    set: Arc<IssuerSet>,
    /// Keys that were read from files, for rings that may be in use already.
    keys: Vec<(Arc<KeyRing>, KeySet)>,
    fetched: Vec<FetchedRing>,
}

/// A ring, and where its keys come from.
struct FetchedRing {
    ring: Arc<KeyRing>,
    accepted: Arc<[OutsideAlgorithm]>,
    source: Arc<dyn KeySource>,
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
    ///
    /// # Errors
    ///
    /// What is wrong with files and with proxies of the environment.
    pub(super) fn prepare(
        &self,
        config: &Config,
        peppers: &Arc<Peppers>,
    ) -> Result<Prepared, Vec<Fault>> {
        let mut faults = Vec::new();
        let (mut all, mut keys, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
        let kept_claims = kept_claims(config);
        for (number, settings) in config.issuers.iter().enumerate() {
            let issuers = self.issuers(settings, &kept_claims);
            let mut rings: Vec<_> = issuers.iter().map(|issuer| Arc::clone(&issuer.ring)).collect();
            rings.dedup_by(|one, other| Arc::ptr_eq(one, other));
            match self.sources(settings).and_then(|found| Ok((found, keys_of_file(settings)?))) {
                Ok((sources, of_file)) => {
                    keys.extend(rings.first().map(Arc::clone).zip(of_file));
                    let accepted: Arc<[_]> = settings.settings.algorithms.as_slice().into();
                    fetched.extend(rings.into_iter().zip(sources).map(|(ring, source)| {
                        FetchedRing { ring, accepted: Arc::clone(&accepted), source }
                    }));
                }
                Err((key, words)) => {
                    faults.push(config.places.fault(&format!("issuer[{number}].{key}"), words));
                }
            }
            all.push(Configured { settings: settings.clone(), issuers });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let issuers = all.iter().flat_map(|configured| configured.issuers.iter().cloned());
        let capacity = config.limits.cached_tokens.min(MOST_REMEMBERED);
        let (issuers, peppers) = (issuers.collect(), Arc::clone(peppers));
        let set = Arc::new(IssuerSet::new(issuers, peppers, capacity, config.limits.token));
        Ok(Prepared { all, set, keys, fetched })
    }

    /// The issuers in force if nothing of them has changed, or else new ones, with the keys that
    /// were fetched from the same place.
    fn issuers(&self, configured: &config::Issuer, kept_claims: &[ClaimPath]) -> Vec<Arc<Issuer>> {
        let is_same = |known: &&Configured| {
            known.settings == *configured
                && known.issuers.iter().all(|issuer| issuer.settings.kept_claims == kept_claims)
        };
        if let Some(same) = self.all.iter().find(is_same) {
            return same.issuers.clone();
        }
        let mut shared: Option<Arc<KeyRing>> = None;
        let template: Arc<str> = configured.settings.issuer.as_str().into();
        let each = configured.each().enumerate().map(|(at, (tenant, iss))| {
            let tenancy = tenant.map(|tenant| {
                Tenancy::new(&configured.settings.name, Arc::clone(&template), tenant)
            });
            let ring = match (&shared, &tenancy) {
                (Some(ring), _) => Arc::clone(ring),
                (None, Some(tenancy)) if has_keys_of_its_own(configured) => {
                    self.ring(configured, at, &tenancy.origin)
                }
                (None, _) => {
                    Arc::clone(shared.insert(self.ring(configured, 0, &configured.settings.name)))
                }
            };
            let settings = IssuerSettings {
                issuer: iss,
                tenancy,
                kept_claims: kept_claims.to_vec(),
                ..configured.settings.clone()
            };
            Arc::new(Issuer::new(settings, ring))
        });
        each.collect()
    }

    /// The ring of the keys at this place: the one in force if its keys come in the same way.
    fn ring(&self, configured: &config::Issuer, at: usize, name: &str) -> Arc<KeyRing> {
        let is_alike = |known: &&Configured| {
            let known = &known.settings;
            known.settings.name == configured.settings.name
                && known.settings.algorithms == configured.settings.algorithms
                && known.rhythm == configured.rhythm
        };
        let before = self.all.iter().find(is_alike).and_then(|known| {
            let place = match (&known.settings.keys, &configured.keys) {
                (
                    IssuerKeys::Url { urls: before, fetching: fetched },
                    IssuerKeys::Url { urls, fetching },
                )
                | (
                    IssuerKeys::Discovery { urls: before, fetching: fetched },
                    IssuerKeys::Discovery { urls, fetching },
                ) if fetched == fetching => before.iter().position(|url| urls.get(at) == Some(url)),
                (before, now) => (before == now).then_some(0),
            };
            known.issuers.get(place?)
        });
        match before {
            Some(issuer) if **issuer.ring.name() == *name => Arc::clone(&issuer.ring),
            _ => Arc::new(ring(configured, name.into())),
        }
    }

    /// Where the keys come from that are fetched, in the order of the rings. No network.
    fn sources(&self, configured: &config::Issuer) -> Result<Vec<Arc<dyn KeySource>>, Wrong> {
        let (urls, fetching, is_metadata) = match &configured.keys {
            IssuerKeys::Url { urls, fetching } => (urls, fetching, false),
            IssuerKeys::Discovery { urls, fetching } => (urls, fetching, true),
            IssuerKeys::File(path) => return Ok(vec![Arc::new(File(path.clone()))]),
            IssuerKeys::Secret(_) => return Ok(Vec::new()),
        };
        let proxies =
            Proxies::of(&fetching.proxy).map_err(|fault| ("proxy", wrong(configured, &fault)))?;
        let turns = Arc::new(Semaphore::new(FETCHES_AT_A_TIME));
        let mut documents: Vec<Document> = Vec::new();
        for url in urls {
            let (address, proxy) = (url.clone(), proxies.proxy_for(url));
            // Certificates are read once for all tenants.
            let document = match documents.first() {
                Some(first) if first.is_https() == url.is_https => first.elsewhere(address, proxy),
                _ => {
                    let trust = fetching.ca_file.clone().map_or(Trust::System, Trust::File);
                    Document::new(address, trust, proxy, FETCH)
                }
            };
            let key = match (&fetching.ca_file, is_metadata) {
                (Some(_), _) => "ca_file",
                (None, true) => "issuer",
                (None, false) => "jwks_url",
            };
            documents.push(document.map_err(|fault| (key, wrong(configured, &fault)))?);
        }
        if let Some(client) = documents.first().and_then(Document::tls) {
            self.watcher.register(client);
        }
        let sources = documents.into_iter().zip(urls).zip(configured.each()).map(
            |((document, url), (_, issuer))| {
                let turns = Arc::clone(&turns);
                let source: Arc<dyn KeySource> = if is_metadata {
                    let (url, proxies) = (url.clone(), proxies.clone());
                    Arc::new(Discovered { metadata: document, url, issuer, proxies, turns })
                } else {
                    Arc::new(Fetched { document, turns })
                };
                source
            },
        );
        Ok(sources.collect())
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
            prepared.set.replace(&before);
        }
        self.all = prepared.all;
        for FetchedRing { ring, accepted, source } in prepared.fetched {
            self.tasks.push(tokio::spawn(async move { ring.keep(source, accepted).await }));
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

/// Whether each tenant has its own keys, and not all the same.
fn has_keys_of_its_own(configured: &config::Issuer) -> bool {
    match &configured.keys {
        IssuerKeys::Discovery { .. } => true,
        IssuerKeys::Url { urls, .. } => urls.len() > 1,
        IssuerKeys::File(_) | IssuerKeys::Secret(_) => false,
    }
}

fn ring(configured: &config::Issuer, name: Arc<str>) -> KeyRing {
    match configured.keys {
        IssuerKeys::Secret(_) => KeyRing::fixed(name, KeySet::default()),
        IssuerKeys::Url { .. } | IssuerKeys::Discovery { .. } | IssuerKeys::File(_) => {
            KeyRing::empty(name, configured.rhythm)
        }
    }
}

/// The claims that routes ask for.
fn kept_claims(config: &Config) -> Vec<ClaimPath> {
    let requirements = config.routes.iter().flat_map(|route| &route.require);
    let mut paths: Vec<_> = requirements
        .filter_map(|requirement| match requirement {
            Requirement::Claim(rule) => Some(rule.path.clone()),
            Requirement::Field { .. } | Requirement::Scope(_) => None,
        })
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What is wrong with the keys of an issuer, in words.
fn wrong(configured: &config::Issuer, words: &dyn std::fmt::Display) -> String {
    format!("[[issuer]] {}: {words}", configured.settings.name)
}

/// The keys of an issuer that has them in a file; `None`: it has an address.
fn keys_of_file(configured: &config::Issuer) -> Result<Option<KeySet>, Wrong> {
    let (key, path) = match &configured.keys {
        IssuerKeys::File(path) => ("jwks_file", path),
        IssuerKeys::Secret(path) => ("secret_file", path),
        IssuerKeys::Url { .. } | IssuerKeys::Discovery { .. } => return Ok(None),
    };
    let at = |words: &dyn std::fmt::Display| {
        (key, wrong(configured, &format_args!("{}: {words}", path.display())))
    };
    if matches!(configured.keys, IssuerKeys::Secret(_)) {
        let found = files::read_secret(path, MOST_BYTES as u64).map_err(|fault| at(&fault))?;
        let secret = files::shared_secret(&found.content).map_err(|fault| at(&fault))?;
        let set = KeySet::secret(&secret, &configured.settings.algorithms);
        return set.map(Some).map_err(|fault| at(&fault));
    }
    let text = Zeroizing::new(read(path).map_err(|fault| at(&fault))?);
    let set = KeySet::read(&text, &configured.settings.algorithms).map_err(|fault| at(&fault))?;
    if set.is_empty() {
        return Err(at(&format_args!(
            "it holds no key that can be used. {}",
            set.passed_over().join("; ")
        )));
    }
    Ok(Some(set))
}
