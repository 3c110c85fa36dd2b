//! Which certificate a client is shown.

#![expect(
    clippy::disallowed_methods,
    reason = "a handshake asks once whether certificates are valid, and only of several for a name"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use webpki::EndEntityCert;

use super::OwnCertificate;

/// A certificate of a server, with its key.
#[derive(Debug)]
pub(super) struct ServerIdentity {
    identity: Arc<CertifiedKey>,
    /// What is shown. None: it cannot be read.
    pub(super) certificate: Option<OwnCertificate>,
}

impl ServerIdentity {
    /// The pair whose certificate was read from `file`.
    pub(super) fn of(identity: CertifiedKey, file: &Path) -> Self {
        let certificate = OwnCertificate::of(file, &identity.cert);
        Self { identity: Arc::new(identity), certificate }
    }

    fn leaf(&self) -> Option<EndEntityCert<'_>> {
        EndEntityCert::try_from(self.identity.end_entity_cert().ok()?).ok()
    }

    /// Whether a client would take it for one of this name, wildcards included (RFC 9525, section
    /// 6.3).
    fn is_for(&self, name: &ServerName<'_>) -> bool {
        self.leaf().is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
    }

    fn names(&self) -> BTreeSet<String> {
        let leaf = self.leaf();
        leaf.iter().flat_map(|leaf| leaf.valid_dns_names()).map(str::to_ascii_lowercase).collect()
    }

    fn is_valid_at(&self, now: SystemTime) -> bool {
        let certificate = self.certificate.as_ref();
        certificate.is_some_and(|found| (found.not_before..=found.not_after).contains(&now))
    }

    /// Whether its key can sign as the client wants it: by the schemes that it knows, less those
    /// that none of its cipher suites go with.
    fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.identity.key.choose_scheme(schemes).is_some()
    }
}

/// Chooses a certificate by the name that the client asks for, and by what it can use.
#[derive(Debug)]
pub(super) struct ByName {
    all: Vec<Arc<ServerIdentity>>,
    /// Those with the names of the first one, itself included; without names, it alone.
    like_first: Vec<Arc<ServerIdentity>>,
}

impl ByName {
    pub(super) fn new(all: Vec<Arc<ServerIdentity>>) -> Self {
        let first = all.first().map(|first| first.names()).unwrap_or_default();
        let others = all.iter().skip(1);
        let others = others.filter(|other| !first.is_empty() && other.names() == first);
        let like_first = all.first().into_iter().chain(others).cloned().collect();
        Self { all, like_first }
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().filter(|_| self.all.len() > 1);
        let asked = asked.and_then(|name| ServerName::try_from(name.trim_end_matches('.')).ok());
        let is_asked = |identity: &&Arc<ServerIdentity>| {
            asked.as_ref().is_some_and(|asked| identity.is_for(asked))
        };
        let schemes = hello.signature_schemes();
        let chosen = best(self.all.iter().filter(is_asked), schemes)
            .or_else(|| best(self.like_first.iter(), schemes))?;
        Some(Arc::clone(&chosen.identity))
    }
}

/// The first that is valid and whose key suits the client; else one whose key does, else the first.
fn best<'a>(
    mut candidates: impl Iterator<Item = &'a Arc<ServerIdentity>>,
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<ServerIdentity>> {
    let first = candidates.next()?;
    let Some(second) = candidates.next() else { return Some(first) };
    let now = SystemTime::now();
    let rank = |identity: &ServerIdentity| (identity.suits(schemes), identity.is_valid_at(now));
    let (mut best, mut of_best) = (first, rank(first));
    for candidate in [second].into_iter().chain(candidates) {
        let of_candidate = rank(candidate);
        if of_candidate > of_best {
            (best, of_best) = (candidate, of_candidate);
        }
    }
    Some(best)
}
