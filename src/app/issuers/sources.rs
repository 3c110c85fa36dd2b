//! Where the keys of issuers come from: fetched from an address, by their metadata, or from a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{METADATA, Proxy, ProxyEnvironment};
use crate::files::{self, FileError};
use crate::tokens::issuer::jwk::MOST_BYTES;
use crate::tokens::issuer::metadata::jwks_uri;
use crate::tokens::issuer::{KeyFetch, KeySource, KeySourceFault};
use crate::upstream::document::{Document, DocumentAddress, DocumentError, HttpProxy};

/// Through what an issuer's documents are fetched.
#[derive(Clone)]
pub(super) enum Proxies {
    Always(Option<HttpProxy>),
    Environment(Arc<ProxyEnvironment>),
}

impl Proxies {
    /// Reads the environment if the configuration says so.
    pub(super) fn of(configured: &Proxy) -> Result<Self, String> {
        Ok(match configured {
            Proxy::Direct => Self::Always(None),
            Proxy::Address(proxy) => Self::Always(Some(proxy.clone())),
            Proxy::Environment => Self::Environment(Arc::new(ProxyEnvironment::read(|name| {
                std::env::var(name).ok()
            })?)),
        })
    }

    pub(super) fn proxy_for(&self, url: &DocumentAddress) -> Option<HttpProxy> {
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
pub(super) struct Fetched {
    pub(super) document: Document,
    pub(super) turns: Arc<Semaphore>,
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
pub(super) struct Discovered {
    pub(super) metadata: Document,
    /// Where those are.
    pub(super) url: DocumentAddress,
    pub(super) issuer: String,
    pub(super) proxies: Proxies,
    pub(super) turns: Arc<Semaphore>,
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
        let text = jwks_uri(metadata, &self.issuer)?;
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
pub(super) struct File(pub(super) PathBuf);

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
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let found = files::read_trusted(path, MOST_BYTES as u64)?;
    Ok(files::text_of(&found.content).into_owned())
}
