//! The server side: certificates by name, client certificates, resumption, ALPN.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};

use super::*;

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let ca_file = folder.write("ca.pem", &authority.pem);
    let issued = [&["a.example"][..], &["*.b.example", "c.example"], &["d.example"]]
        .map(|names| authority.issue(names));
    let files =
        issued.iter().enumerate().map(|(at, issued)| folder.write_pair(&at.to_string(), issued));
    let settings =
        ServerSettings { certificates: files.collect(), client_auth: None, alpn: Vec::new() };
    let server = Server::load(settings).expect("a server");
    let client = client(&ca_file);
    for (name, at) in [
        ("a.example", 0),
        ("x.b.example", 1),
        ("X.B.EXAMPLE", 1),
        ("c.example", 1),
        ("d.example", 2),
        ("D.example", 2),
    ] {
        let met =
            meet(&server, &client, name).await.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(met.leaf == issued[at].der, "{name}");
    }
    // Of every other name the first certificate is shown, and the client refuses it.
    for name in ["b.example", "x.y.b.example", "e.example", "127.0.0.1"] {
        let fault = meet(&server, &client, name).await.expect_err(name).to_string();
        assert!(
            fault.contains("not valid for name") && fault.contains("a.example"),
            "{name}: {fault}"
        );
    }
}

#[tokio::test]
async fn alpn_takes_what_the_server_likes_best_and_refuses_what_it_does_not_know() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let ca_file = folder.write("ca.pem", &authority.pem);
    let files = folder.write_pair("a", &authority.issue(&["a.example"]));
    let alpn = [b"h2".as_slice(), b"http/1.1", b"http/1.0"].to_vec();
    let server = Server::load(ServerSettings { alpn, ..plain(files) }).expect("a server");
    let offered = async |alpn: &[&'static [u8]]| {
        let settings = ClientSettings { alpn: alpn.to_vec(), ..trusting(&ca_file) };
        let client = Client::load(settings).expect("a client").config();
        meet(&server, &client, "a.example")
            .await
            .map(|met| met.alpn.map(|protocol| String::from_utf8(protocol).unwrap()))
    };
    assert_eq!(offered(&[b"http/1.1", b"h2"]).await.unwrap().as_deref(), Some("h2"));
    assert_eq!(offered(&[b"spdy/3", b"http/1.1"]).await.unwrap().as_deref(), Some("http/1.1"));
    assert_eq!(offered(&[b"http/1.0"]).await.unwrap().as_deref(), Some("http/1.0"));
    assert_eq!(offered(&[]).await.unwrap(), None);
    assert!(offered(&[b"spdy/3"]).await.is_err());
}

/// A server for `a.example` that asks for certificates, and what clients need.
struct CertificateFixture {
    folder: Folder,
    authority: Authority,
    ca_file: PathBuf,
    files: CertificateFiles,
}

impl CertificateFixture {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new("authority"));
        let ca_file = folder.write("ca.pem", &authority.pem);
        let files = folder.write_pair("server", &authority.issue(&["a.example"]));
        folder.write("clients.pem", &authority.pem);
        Self { folder, authority, ca_file, files }
    }

    fn server(&self, mode: ClientAuthMode) -> Arc<Server> {
        let client_auth = Some(ClientAuth { ca_file: self.folder.path("clients.pem"), mode });
        Server::load(ServerSettings { client_auth, ..plain(self.files.clone()) }).expect("a server")
    }

    fn client_of(&self, authority: &Authority) -> Arc<ClientConfig> {
        let identity =
            Some(self.folder.write_pair("client", &authority.issue(&["client.example"])));
        Client::load(ClientSettings { identity, ..trusting(&self.ca_file) })
            .expect("a client")
            .config()
    }

    /// A client that speaks one version only; it has a certificate, or none.
    fn client_with(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
        identity: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("versions")
            .with_root_certificates(
                roots::of_file(
                    &self.ca_file,
                    &files::Contents::read(std::slice::from_ref(&self.ca_file)),
                )
                .unwrap(),
            );
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![issued.der.clone()], key).expect("a pair")
            }
        })
    }
}

#[tokio::test]
async fn a_required_certificate_is_required_and_an_optional_one_may_be_absent() {
    let scene = CertificateFixture::new();
    let (required, optional) =
        (scene.server(ClientAuthMode::Required), scene.server(ClientAuthMode::Optional));
    let (with, without) = (scene.client_of(&scene.authority), client(&scene.ca_file));
    for server in [&required, &optional] {
        let peer =
            meet(server, &with, "a.example").await.expect("served").peer.expect("a certificate");
        assert_eq!(peer.names, ["DNS:client.example"]);
    }
    assert_eq!(meet(&optional, &without, "a.example").await.expect("served").peer, None);
    let fault = meet(&required, &without, "a.example").await.expect_err("refused").to_string();
    assert!(fault.contains("no certificates"), "{fault}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_in_both_modes() {
    let scene = CertificateFixture::new();
    let stranger = scene.client_of(&Authority::new("another"));
    for mode in [ClientAuthMode::Required, ClientAuthMode::Optional] {
        let fault = meet(&scene.server(mode), &stranger, "a.example")
            .await
            .expect_err("refused")
            .to_string();
        assert!(fault.contains("UnknownIssuer"), "{mode:?}: {fault}");
    }
}

#[tokio::test]
async fn sessions_go_on_when_only_the_certificate_of_the_server_is_renewed() {
    for version in [&TLS12, &TLS13] {
        let scene = CertificateFixture::new();
        let server = scene.server(ClientAuthMode::Required);
        let client = scene.client_with(version, Some(&scene.authority.issue(&["client.example"])));
        assert!(!meet(&server, &client, "a.example").await.expect("served").is_resumed);
        let again = meet(&server, &client, "a.example").await.expect("served");
        assert!(again.is_resumed, "{version:?}");
        assert_eq!(
            again.peer.expect("the certificate of the session").names,
            ["DNS:client.example"]
        );
        scene.folder.write_pair("server", &scene.authority.issue(&["a.example"]));
        assert!(matches!(server.refresh(later()), RefreshOutcome::Reloaded));
        assert!(
            meet(&server, &client, "a.example").await.expect("served").is_resumed,
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_session_from_before_a_certificate_was_required_is_not_resumed() {
    for version in [&TLS12, &TLS13] {
        let scene = CertificateFixture::new();
        let client = scene.client_with(version, None);
        let open = Server::load(plain(scene.files.clone())).expect("a server");
        for before in [open, scene.server(ClientAuthMode::Optional)] {
            meet(&before, &client, "a.example").await.expect("served");
            assert!(
                meet(&before, &client, "a.example").await.expect("served").is_resumed,
                "{version:?}"
            );
            let required = scene.server(ClientAuthMode::Required);
            let fault =
                meet(&required, &client, "a.example").await.expect_err("refused").to_string();
            assert!(fault.contains("no certificates"), "{version:?}: {fault}");
        }
    }
}

#[tokio::test]
async fn a_session_of_an_authority_that_is_no_longer_trusted_is_not_resumed() {
    for version in [&TLS12, &TLS13] {
        let scene = CertificateFixture::new();
        let server = scene.server(ClientAuthMode::Required);
        let client = scene.client_with(version, Some(&scene.authority.issue(&["client.example"])));
        meet(&server, &client, "a.example").await.expect("served");
        assert!(
            meet(&server, &client, "a.example").await.expect("served").is_resumed,
            "{version:?}"
        );
        scene.folder.write("clients.pem", &Authority::new("authority").pem);
        assert!(matches!(server.refresh(later()), RefreshOutcome::Reloaded));
        assert!(meet(&server, &client, "a.example").await.is_err(), "{version:?}");
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_used_leave_the_sessions_alone() {
    let scene = CertificateFixture::new();
    let server = scene.server(ClientAuthMode::Required);
    let client = scene.client_of(&scene.authority);
    meet(&server, &client, "a.example").await.expect("served");
    scene.folder.write("clients.pem", "");
    assert!(matches!(server.refresh(later()), RefreshOutcome::Failed(_)));
    scene.folder.write("clients.pem", &scene.authority.pem);
    assert!(matches!(server.refresh(later()), RefreshOutcome::Reloaded));
    assert!(meet(&server, &client, "a.example").await.expect("served").is_resumed);
}

#[test]
fn a_server_has_a_certificate() {
    let settings = ServerSettings { certificates: Vec::new(), client_auth: None, alpn: Vec::new() };
    assert!(matches!(Server::load(settings), Err(TlsError::NoCertificate)));
}
