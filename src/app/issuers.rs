//! The outside issuers of the configuration: from settings to a set, and the tasks that keep their
//! keys fresh.
//!
//! The tasks run on the control thread, so no request waits for a handshake with an issuer. A
//! reload takes over what did not change: keys stay, even where their issuer is away just then.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::{self, Config, IssuerKeys, METADATA, Proxy, ProxyEnvironment};
use crate::domain::{ClaimPath, OutsideAlgorithm};
use crate::files::{self, FileError};
use crate::gateway::Requirement;
use crate::tls::{Trust, Watcher};
use crate::tokens::issuer::jwk::MOST_BYTES;
use crate::tokens::issuer::metadata::jwks_uri;
use crate::tokens::issuer::{
    Issuer, IssuerSet, IssuerSettings, KeyFetch, KeyRing, KeySet, KeySource, KeySourceFault,
    Tenancy,
};
use crate::tokens::keyring::Peppers;
use crate::upstream::document::{
    Document, DocumentAddress, DocumentError, DocumentLimits, HttpProxy,
};

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
/// Outside tokens that are remembered, at most: each has its claims with it, and costs one
/// signature check when forgotten.
const MOST_REMEMBERED: usize = 100_000;

/// The issuers in force. Dropped, their keys are fetched no more.
pub(super) struct Issuers {
    all: Vec<Configured>,
    set: Option<Arc<IssuerSet>>,
    tasks: Vec<JoinHandle<()>>,
    /// Watches the certificates with which the issuers' servers are verified.
    watcher: Watcher,
}

/// What is wrong with one `[[issuer]]`: the operator's to mend.
pub(super) struct IssuerFault {
    /// Which, from 0 on.
    pub(super) number: usize,
    /// At which of its keys.
    pub(super) key: &'static str,
    /// What, in words.
    pub(super) words: String,
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

/// One `[[issuer]]` of them.
struct PreparedOne {
    configured: Configured,
    keys: Option<(Arc<KeyRing>, KeySet)>,
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
    ) -> Result<Prepared, Vec<IssuerFault>> {
        let mut faults = Vec::new();
        let (mut all, mut keys, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
        let kept_claims = kept_claims(config);
        for (number, configured) in config.issuers.iter().enumerate() {
            match self.prepare_one(configured, &kept_claims) {
                Ok(one) => {
                    keys.extend(one.keys);
                    fetched.extend(one.fetched);
                    all.push(one.configured);
                }
                Err((key, words)) => faults.push(IssuerFault { number, key, words }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let issuers =
            all.iter().flat_map(|configured| configured.issuers.iter().map(Arc::clone)).collect();
        let capacity = config.limits.cached_tokens.min(MOST_REMEMBERED);
        let set =
            Arc::new(IssuerSet::new(issuers, Arc::clone(peppers), capacity, config.limits.token));
        Ok(Prepared { all, set, keys, fetched })
    }

    fn prepare_one(
        &self,
        configured: &config::Issuer,
        kept_claims: &[ClaimPath],
    ) -> Result<PreparedOne, Wrong> {
        let issuers = self.issuers(configured, kept_claims);
        let mut rings: Vec<Arc<KeyRing>> =
            issuers.iter().map(|issuer| Arc::clone(issuer.ring())).collect();
        rings.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let accepted: Arc<[OutsideAlgorithm]> = configured.settings.algorithms.as_slice().into();
        let sources = self.sources(configured)?.into_iter();
        let fetched = rings.iter().zip(sources).map(|(ring, source)| FetchedRing {
            ring: Arc::clone(ring),
            accepted: Arc::clone(&accepted),
            source,
        });
        Ok(PreparedOne {
            fetched: fetched.collect(),
            keys: rings.first().map(Arc::clone).zip(keys_of_file(configured)?),
            configured: Configured { settings: configured.clone(), issuers },
        })
    }

    /// The issuers that are in force already if they are the same, or new ones, with the keys that
    /// are here where those are.
    fn issuers(&self, configured: &config::Issuer, kept_claims: &[ClaimPath]) -> Vec<Arc<Issuer>> {
        let is_same = |known: &&Configured| {
            known.settings == *configured
                && known.issuers.iter().all(|issuer| issuer.settings().kept_claims == kept_claims)
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

    /// The ring of the keys at this place, with the keys that are here already if they were fetched
    /// in the same way.
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
            Some(issuer) if **issuer.ring().name() == *name => Arc::clone(issuer.ring()),
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
        return KeySet::secret(&secret, &configured.settings.algorithms)
            .map(Some)
            .map_err(|fault| at(&fault));
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

/// Through what an issuer's documents are fetched.
#[derive(Clone)]
enum Proxies {
    Always(Option<HttpProxy>),
    Environment(Arc<ProxyEnvironment>),
}

impl Proxies {
    /// Reads the environment if the configuration says so.
    fn of(configured: &Proxy) -> Result<Self, String> {
        Ok(match configured {
            Proxy::Direct => Self::Always(None),
            Proxy::Address(proxy) => Self::Always(Some(proxy.clone())),
            Proxy::Environment => Self::Environment(Arc::new(ProxyEnvironment::read(|name| {
                std::env::var(name).ok()
            })?)),
        })
    }

    fn proxy_for(&self, url: &DocumentAddress) -> Option<HttpProxy> {
        match self {
            Self::Always(proxy) => proxy.clone(),
            Self::Environment(environment) => environment.proxy_for(url).cloned(),
        }
    }
}

async fn fetch(document: &Document) -> Result<Vec<u8>, KeySourceFault> {
    let body = document.fetch().await.map_err(|fault| KeySourceFault(fault.to_string()))?;
    Ok(files::text_of(&body).into_owned())
}

/// Waits until not too many others of the same `[[issuer]]` fetch.
async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, KeySourceFault> {
    turns.acquire().await.map_err(|_| KeySourceFault("the fetch was given up".to_owned()))
}

/// A set from an address.
struct Fetched {
    document: Document,
    turns: Arc<Semaphore>,
}

impl KeySource for Fetched {
    fn fetch(&self) -> KeyFetch<'_> {
        Box::pin(async move {
            let _turn = turn(&self.turns).await?;
            fetch(&self.document).await
        })
    }
}

/// A set from where the issuer's metadata say that it is. They are asked each time, as the place
/// may change.
struct Discovered {
    metadata: Document,
    /// Where those are.
    url: DocumentAddress,
    issuer: String,
    proxies: Proxies,
    turns: Arc<Semaphore>,
}

impl KeySource for Discovered {
    fn fetch(&self) -> KeyFetch<'_> {
        Box::pin(async move {
            let _turn = turn(&self.turns).await?;
            let of_metadata =
                |fault: String| KeySourceFault(format!("the metadata of the issuer: {fault}"));
            let metadata =
                self.fetch_metadata().await.map_err(|fault| of_metadata(fault.to_string()))?;
            let keys = self.keys(&files::text_of(&metadata)).map_err(|fault| {
                of_metadata(format!("{fault} (\"jwks_url\" says where the keys are without them)"))
            })?;
            fetch(&keys).await
        })
    }
}

impl Discovered {
    /// Those of OpenID Connect, or, of a server that has none, those of OAuth 2.0 (RFC 8414,
    /// section 3.1), whose place is in front of the path of the issuer.
    async fn fetch_metadata(&self) -> Result<Bytes, DocumentError> {
        let not_found = match self.metadata.fetch().await {
            Err(DocumentError::Status(status)) if status == StatusCode::NOT_FOUND => {
                DocumentError::Status(status)
            }
            answer => return answer,
        };
        let path = self.url.target.strip_suffix(METADATA).unwrap_or_default();
        let url = DocumentAddress {
            target: format!("/.well-known/oauth-authorization-server{path}"),
            ..self.url.clone()
        };
        match self.metadata.elsewhere(url.clone(), self.proxies.proxy_for(&url)) {
            // What is said is what was asked for first.
            Ok(document) => document.fetch().await.map_err(|_| not_found),
            Err(_) => Err(not_found),
        }
    }

    /// Where the keys are by these metadata. What came over TLS leads to nothing without.
    fn keys(&self, metadata: &[u8]) -> Result<Document, String> {
        let text = jwks_uri(metadata, &self.issuer).map_err(|fault| fault.to_string())?;
        let wrong = |reason: String| format!("\"jwks_uri\" {text:?}: {reason}");
        let url: DocumentAddress = text.parse().map_err(wrong)?;
        if url.is_https != self.url.is_https {
            return Err(wrong("it has another scheme than \"issuer\"".to_owned()));
        }
        if !url.is_https && url.host != self.url.host && !url.is_loopback() {
            return Err(wrong(
                "it would be fetched in clear from another host than \"issuer\"".to_owned(),
            ));
        }
        self.metadata
            .elsewhere(url.clone(), self.proxies.proxy_for(&url))
            .map_err(|fault| wrong(fault.to_string()))
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
