//! A client's certificate, as far as an upstream may be told of it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use rustls::ServerConnection;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The names in a client's certificate, which was verified in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The distinguished name of its subject, in the form of RFC 4514; empty where it has none.
    /// Holds no control character; may hold characters beyond ASCII.
    pub subject: String,
    /// Its subject alternative names (RFC 5280, section 4.2.1.6) in their order, each after its
    /// kind: `DNS:a.example`, `URI:spiffe://a.example/b`, `email:a@b.example`, `IP:192.0.2.1`.
    /// Names of other kinds are left out. Visible ASCII.
    pub names: Vec<String>,
}

/// A certificate that was verified and still cannot be used. The client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerCertificateError {
    /// It is broken, or has names with characters that not every program reads the same way.
    #[error("the client's certificate has names that cannot be read")]
    Unreadable,
    /// It has expired since the session was begun that is resumed now, or is not valid yet.
    #[error("the client's certificate is not valid at this time")]
    NotValidNow,
}

impl PeerCertificate {
    /// The certificate of the client of a connection whose handshake is complete; none: it has sent
    /// none, or was not asked for one.
    ///
    /// Its validity is checked again: rustls checks it at the start of a session, which can be
    /// resumed for 12 hours.
    ///
    /// # Errors
    ///
    /// When the connection must be closed.
    pub fn of(
        connection: &ServerConnection,
        now: SystemTime,
    ) -> Result<Option<Self>, PeerCertificateError> {
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        leaf.map(|leaf| Self::read(leaf, now)).transpose()
    }

    /// Reads a certificate in DER form.
    ///
    /// # Errors
    ///
    /// When its names cannot be read, or it is not valid at `now`.
    pub fn read(der: &[u8], now: SystemTime) -> Result<Self, PeerCertificateError> {
        let unreadable = |_| PeerCertificateError::Unreadable;
        // Raw: webpki has applied the rules of RFC 5280 that matter; a serial number beyond them
        // changes no name.
        let certificate = CertificateInner::<Raw>::from_der(der).map_err(unreadable)?;
        let certificate = certificate.tbs_certificate();
        let validity = certificate.validity();
        if now < validity.not_before.to_system_time() || validity.not_after.to_system_time() < now {
            return Err(PeerCertificateError::NotValidNow);
        }
        let mut subject = String::new();
        write!(subject, "{}", certificate.subject())
            .map_err(|_| PeerCertificateError::Unreadable)?;
        if subject.chars().any(char::is_control) {
            return Err(PeerCertificateError::Unreadable);
        }
        let names = match certificate.get_extension::<SubjectAltName>().map_err(unreadable)? {
            None => Vec::new(),
            Some((_, SubjectAltName(names))) => names
                .iter()
                .filter_map(|name| written(name).transpose())
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { subject, names })
    }
}

/// One name after its kind; none: it is of a kind that is left out.
fn written(name: &GeneralName) -> Result<Option<String>, PeerCertificateError> {
    let (kind, name) = match name {
        GeneralName::DnsName(name) => ("DNS", name.as_str()),
        GeneralName::UniformResourceIdentifier(name) => ("URI", name.as_str()),
        GeneralName::Rfc822Name(name) => ("email", name.as_str()),
        GeneralName::IpAddress(address) => {
            let address = address.as_bytes();
            let address = <[u8; 4]>::try_from(address)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from))
                .map_err(|_| PeerCertificateError::Unreadable)?;
            return Ok(Some(format!("IP:{address}")));
        }
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => return Ok(None),
    };
    // None of these kinds has spaces or control characters (RFC 5280, section 4.2.1.6).
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(PeerCertificateError::Unreadable);
    }
    Ok(Some(format!("{kind}:{name}")))
}
