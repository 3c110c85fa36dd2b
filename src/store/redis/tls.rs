//! TLS towards Redis: rustls with aws-lc-rs, the server's certificate always checked.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::TlsSettings;

/// Reads the files into a configuration that every connection shares.
///
/// # Errors
///
/// The operator's to mend, in words that name the file and nothing that is in it.
pub(super) fn load(settings: &TlsSettings) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = match &settings.ca_file {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| fault.to_string())?
        .with_root_certificates(roots);
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(&client.certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(&client.key_file)
                .map_err(|fault| format!("{}: {fault}", client.key_file.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|fault| {
                format!("{} does not fit {}: {fault}", client.key_file.display(), client.certificate_file.display())
            })?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|fault| format!("{}: {fault}", path.display()))?;
    if list.is_empty() {
        return Err(format!("{}: holds no certificate in PEM form", path.display()));
    }
    Ok(list)
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|fault| format!("{}: {fault}", path.display()))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One of them that cannot be read is no reason to do without the others.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("the system has no certificates of authorities: name them with ca_file".to_owned());
    }
    Ok(roots)
}
