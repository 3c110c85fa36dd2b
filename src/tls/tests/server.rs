//! The server side: certificates by name, client certificates, resumption, ALPN.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa;
use rustls::SignatureScheme;
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

/// A certificate of an RSA key for a client that knows no other, beside one of ECDSA: each client
/// gets what it can use, whatever their order.
#[tokio::test]
async fn of_several_certificates_for_a_name_the_first_that_the_client_can_use_is_shown() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let ca_file = folder.write("ca.pem", &authority.pem);
    let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().expect("PKCS#8");
    let rsa = KeyPair::try_from(rsa.as_ref()).expect("a key");
    let rsa = authority.sign_for(&parameters(&["a.example"]), &rsa);
    let ecdsa = authority.issue(&["a.example"]);
    let mut gone = parameters(&["a.example"]);
    (gone.not_before, gone.not_after) =
        (rcgen::date_time_ymd(1999, 1, 1), rcgen::date_time_ymd(2000, 1, 1));
    let gone = authority.sign(&gone);
    let other = authority.issue(&["b.example"]);
    let all = [("rsa", &rsa), ("ecdsa", &ecdsa), ("gone", &gone), ("other", &other)];
    let files = all.map(|(name, issued)| (name, folder.write_pair(name, issued)));
    let client_of = |version, knows_ecdsa: bool| {
        let mut provider = CryptoProvider::clone(&provider());
        // What it offers for handshakes; the chain is verified by whatever there is.
        let offered = provider.signature_verification_algorithms.mapping.iter();
        let is_rsa = |scheme| {
            matches!(scheme, SignatureScheme::RSA_PSS_SHA256 | SignatureScheme::RSA_PKCS1_SHA256)
        };
        let offered: Vec<_> =
            offered.filter(|(scheme, _)| knows_ecdsa || is_rsa(*scheme)).copied().collect();
        provider.signature_verification_algorithms.mapping = Vec::leak(offered);
        let contents = files::Contents::read(std::slice::from_ref(&ca_file));
        let roots = roots::of_file(&ca_file, &contents).expect("roots");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    for order in [["gone", "ecdsa", "rsa"], ["rsa", "gone", "ecdsa"], ["other", "ecdsa", "rsa"]] {
        let found = |name: &str| {
            let (_, files) = files.iter().find(|(known, _)| *known == name).expect("files");
            files.clone()
        };
        let certificates = order.map(found).to_vec();
        let settings = ServerSettings { certificates, client_auth: None, alpn: Vec::new() };
        let server = Server::load(settings).expect("a server");
        for version in [&TLS12, &TLS13] {
            let first = if order[0] == "rsa" { &rsa } else { &ecdsa };
            for (knows_ecdsa, expected) in [(true, first), (false, &rsa)] {
                let met = meet(&server, &client_of(version, knows_ecdsa), "a.example").await;
                let shown = met.unwrap_or_else(|fault| panic!("{order:?}: {fault}")).leaf;
                assert!(shown == expected.der, "{order:?}, {version:?}, ECDSA: {knows_ecdsa}");
            }
        }
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
        assert!(server.refresh(later()).is_reloaded);
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
        assert!(server.refresh(later()).is_reloaded);
        assert!(meet(&server, &client, "a.example").await.is_err(), "{version:?}");
    }
}

/// Each pair of a listener and the authorities of its clients are parts of their own.
#[tokio::test]
async fn a_broken_pair_keeps_neither_another_one_nor_the_authorities_from_being_renewed() {
    let scene = CertificateFixture::new();
    let (folder, authority) = (&scene.folder, &scene.authority);
    let second = folder.write_pair("second", &authority.issue(&["b.example"]));
    let settings = ServerSettings {
        certificates: vec![scene.files.clone(), second],
        client_auth: Some(ClientAuth {
            ca_file: folder.path("clients.pem"),
            mode: ClientAuthMode::Required,
        }),
        alpn: Vec::new(),
    };
    let server = Server::load(settings).expect("a server");
    // Each time another one, so that no session is resumed.
    let shown =
        async |name| meet(&server, &scene.client_of(authority), name).await.map(|met| met.leaf);
    let of_a = shown("a.example").await.expect("served");
    let look = || {
        let Refreshed { is_reloaded, faults } = server.refresh(later());
        let files = faults.iter().filter_map(TlsError::path).filter_map(Path::file_name);
        (is_reloaded, files.map(|name| name.display().to_string()).collect::<Vec<_>>())
    };
    folder.write("server.key", &authority.issue(&["a.example"]).key);
    assert_eq!(look(), (false, vec!["server.key".to_owned()]));
    let renewed = authority.issue(&["b.example"]);
    folder.write_pair("second", &renewed);
    assert_eq!(look(), (true, vec![]), "what is wrong is known");
    assert!(server.is_failing());
    assert!(shown("b.example").await.expect("served") == renewed.der);
    assert!(shown("a.example").await.expect("served") == of_a);

    // A pair and the authorities are broken, and the other pair is renewed.
    folder.write("clients.pem", "");
    let renewed = authority.issue(&["b.example"]);
    folder.write_pair("second", &renewed);
    folder.write("server.key", "no key");
    assert_eq!(look(), (true, ["server.key", "clients.pem"].map(str::to_owned).to_vec()));
    assert_eq!(look(), (false, vec![]));
    assert!(shown("b.example").await.expect("served") == renewed.der);

    // Other authorities of clients are in force though a pair is broken.
    let other = Authority::new("another");
    folder.write("clients.pem", &other.pem);
    assert_eq!(look(), (true, vec![]));
    assert!(shown("b.example").await.is_err(), "of authorities that are gone");
    let client = scene.client_of(&other);
    assert!(meet(&server, &client, "a.example").await.expect("served").leaf == of_a);
    folder.write_pair("server", &authority.issue(&["a.example"]));
    assert_eq!(look(), (true, vec![]));
    assert!(!server.is_failing());
}

#[tokio::test]
async fn authorities_that_cannot_be_used_leave_the_sessions_alone() {
    let scene = CertificateFixture::new();
    let server = scene.server(ClientAuthMode::Required);
    let client = scene.client_of(&scene.authority);
    meet(&server, &client, "a.example").await.expect("served");
    scene.folder.write("clients.pem", "");
    let refreshed = server.refresh(later());
    assert_eq!((refreshed.is_reloaded, refreshed.faults.len()), (false, 1));
    scene.folder.write("clients.pem", &scene.authority.pem);
    assert!(server.refresh(later()).is_reloaded);
    assert!(meet(&server, &client, "a.example").await.expect("served").is_resumed);
}

#[test]
fn a_server_has_a_certificate() {
    let settings = ServerSettings { certificates: Vec::new(), client_auth: None, alpn: Vec::new() };
    assert!(matches!(Server::load(settings), Err(TlsError::NoCertificate)));
}
