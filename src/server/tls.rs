//! TLS towards clients: rustls with aws-lc-rs, TLS 1.2 and 1.3, one or several certificates, chosen by SNI.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key: PKCS#8, PKCS#1 or SEC 1.
    pub key: PathBuf,
}

/// A certificate cannot be used: the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Loads certificates into a configuration; the first one serves clients whose name no other has.
///
/// # Errors
///
/// When a file cannot be read, is no PEM, or key and certificate do not belong together.
pub fn load(files: &[CertificateFiles]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut keys = Vec::with_capacity(files.len());
    for pair in files {
        let at = |path: &PathBuf, fault: String| TlsError(format!("{}: {fault}", path.display()));
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&pair.certificate)
            .and_then(Iterator::collect)
            .map_err(|fault| at(&pair.certificate, fault.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|fault| at(&pair.key, fault.to_string()))?;
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|fault| at(&pair.key, format!("does not fit {}: {fault}", pair.certificate.display())))?;
        keys.push(Named { names: names_of(&certified), key: Arc::new(certified) });
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| TlsError(fault.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(keys)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // 0-RTT stays off (the default): a request that can be replayed is no request to act on.
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct ByName(Vec<Named>);

#[derive(Debug)]
struct Named {
    /// The DNS names of the leaf, in lower case.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let asked = asked.as_deref().map(|name| name.trim_end_matches('.'));
        let named =
            asked.and_then(|asked| self.0.iter().find(|named| named.names.iter().any(|name| covers(name, asked))));
        named.or(self.0.first()).map(|named| Arc::clone(&named.key))
    }
}

/// Whether a certificate's name covers a host: to the letter, or by a wildcard for its first label (RFC 6125, section 6.4.3).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == parent),
        None => name == host,
    }
}

/// The DNS names in the leaf's subject alternative names. Read from the DER by its tags: a `dNSName` is context tag 2 within the
/// extension 2.5.29.17 (RFC 5280, section 4.2.1.6).
fn names_of(key: &CertifiedKey) -> Vec<String> {
    const SUBJECT_ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
    let Some(leaf) = key.cert.first() else { return Vec::new() };
    let der = leaf.as_ref();
    let Some(at) = memchr::memmem::find(der, SUBJECT_ALT_NAME) else { return Vec::new() };
    let mut rest = der.get(at + SUBJECT_ALT_NAME.len()..).unwrap_or_default();
    // `critical BOOLEAN` may stand before the value.
    if let [0x01, 0x01, _, tail @ ..] = rest {
        rest = tail;
    }
    let Some((0x04, value, _)) = element(rest) else { return Vec::new() };
    let Some((0x30, mut names, _)) = element(value) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some((tag, name, tail)) = element(names) {
        if tag == 0x82
            && let Ok(name) = std::str::from_utf8(name)
        {
            found.push(name.to_ascii_lowercase());
        }
        names = tail;
    }
    found
}

/// The first DER element: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 3 {
            return None;
        }
        (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
    };
    let (content, tail) = rest.split_at_checked(length)?;
    Some((tag, content, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(directory: &std::path::Path, name: &str, dns: &[&str]) -> CertificateFiles {
        let names: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let files = CertificateFiles {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, made.cert.pem()).expect("written");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        files
    }

    #[test]
    fn the_names_of_a_certificate_are_read_from_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = pair(directory.path(), "a", &["a.example", "*.B.example"]);
        assert!(load(std::slice::from_ref(&files)).is_ok());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(&files.certificate).expect("a file").collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
        let certified = CertifiedKey::from_der(chain, key, &provider).expect("a pair");
        assert_eq!(names_of(&certified), ["a.example", "*.b.example"]);
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("a.example", "a.example") && covers("*.example", "a.example"));
        assert!(
            !covers("*.example", "a.b.example") && !covers("*.example", "example") && !covers("*.example", ".example")
        );
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_in_words() {
        let directory = tempfile::tempdir().expect("a directory");
        let a = pair(directory.path(), "a", &["a.example"]);
        let b = pair(directory.path(), "b", &["b.example"]);
        let mixed = CertificateFiles { certificate: a.certificate.clone(), key: b.key };
        let fault = load(&[mixed]).expect_err("refused").to_string();
        assert!(fault.contains("b.key") && fault.contains("does not fit"), "{fault}");
        let missing = CertificateFiles { certificate: directory.path().join("none.pem"), key: a.key };
        assert!(load(&[missing]).expect_err("refused").to_string().contains("none.pem"));
    }
}
