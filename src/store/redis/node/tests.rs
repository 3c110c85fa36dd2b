//! Connecting to real servers.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::store::redis::server::{RedisServer, free_port};
use crate::store::redis::settings::Secret;
use crate::tls::{CertificateFiles, ClientSettings, Trust};

fn settings(server: &RedisServer) -> RedisSettings {
    RedisSettings::single(NodeAddress::new("127.0.0.1", server.port))
}

async fn connect(settings: RedisSettings) -> Result<(Connection, Facts), DiscoveryError> {
    let nodes = Nodes::new(settings).unwrap();
    let address = nodes.discover().await?;
    nodes.connect(&address, None).await
}

#[test]
fn facts_are_read_from_info() {
    let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n\
                # Replication\r\nrole:master\r\nconnected_slaves:2\r\n";
    let facts = Facts::read(info).unwrap();
    assert_eq!((facts.version, facts.run_id.as_str(), facts.replicas), ((7, 0, 15), "abc", 2));
    assert_eq!(Facts::read(&info.replace("7.0.15", "8.0-rc1")).unwrap().version, (8, 0, 0));
    assert_eq!(Facts::read(&info.replace("run_id", "runid")), None);
    assert_eq!(Facts::read(""), None);
}

#[tokio::test]
async fn a_connection_tells_the_servers_role_and_has_our_name() {
    let server = RedisServer::start();
    let (mut connection, facts) =
        connect(RedisSettings { database: 3, ..settings(&server) }).await.unwrap();
    assert_eq!(
        (facts.role.as_str(), facts.mode.as_str(), facts.run_id.len()),
        ("master", "standalone", 40)
    );
    let clients = server.command(&["CLIENT", "LIST"]).text();
    assert!(
        clients.contains("name=keyward") && clients.contains("resp=3") && clients.contains("db=3"),
        "{clients}"
    );
    assert!(!connection.is_closed());
    let other = connection.clone();
    connection.discard();
    connection.closed().await;
    assert!(other.is_closed());
    let fault = redis::cmd("PING").exec_async(&mut connection.inner).await.unwrap_err();
    assert!(fault.is_connection_dropped(), "{fault}");
}

#[tokio::test]
async fn a_wrong_password_is_definitive_and_is_not_repeated() {
    let server = RedisServer::start_with("requirepass right-one");
    let right =
        RedisSettings { password: Some(Secret::new("right-one".to_owned())), ..settings(&server) };
    let nodes = Nodes::new(right.clone()).unwrap();
    let address = nodes.discover().await.unwrap();
    assert!(nodes.connect(&address, None).await.is_ok());
    let wrong =
        RedisSettings { password: Some(Secret::new("hunter2".to_owned())), ..right.clone() };
    for (settings, why) in [
        (wrong.clone(), "WRONGPASS"),
        (RedisSettings { password: None, ..right.clone() }, "NOAUTH"),
    ] {
        let fault = connect(settings).await.unwrap_err();
        assert!(
            matches!(fault, DiscoveryError::Refused { .. }) && fault.is_definitive(),
            "{fault:?}"
        );
        assert!(
            fault.to_string().contains(why) && !format!("{fault:?}").contains("hunter2"),
            "{fault}"
        );
    }
    nodes.replace(ReloadableSettings::of(&wrong).unwrap());
    assert!(matches!(nodes.connect(&address, None).await, Err(DiscoveryError::Refused { .. })));
    nodes.replace(ReloadableSettings::of(&right).unwrap());
    assert!(nodes.connect(&address, None).await.is_ok());
}

#[tokio::test]
async fn a_user_without_a_right_hears_which() {
    let server = RedisServer::start_with("user app on >secret ~* &* +@all -info");
    let settings = RedisSettings {
        username: Some("app".to_owned()),
        password: Some(Secret::new("secret".to_owned())),
        ..settings(&server)
    };
    let fault = connect(settings).await.unwrap_err();
    assert_eq!(
        fault,
        DiscoveryError::NotPermitted(NodeAddress::new("127.0.0.1", server.port), "INFO".to_owned())
    );
}

#[tokio::test]
async fn a_replica_is_not_trusted() {
    let master = RedisServer::start();
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    let fault = connect(settings(&replica)).await.unwrap_err();
    assert!(matches!(&fault, DiscoveryError::NotMaster(_, role) if role == "replica"), "{fault:?}");
    assert!(!fault.is_definitive());
}

#[tokio::test]
async fn another_topology_than_configured_is_said() {
    let plain = RedisServer::start();
    let node = RedisServer::start_with("cluster-enabled yes");
    let sentinel = RedisServer::start_sentinel("");
    let cluster = RedisSettings {
        servers: Servers::Cluster(vec![NodeAddress::new("127.0.0.1", plain.port)]),
        ..settings(&plain)
    };
    for (settings, words) in [
        (settings(&node), "node of a Cluster"),
        (settings(&sentinel), "sentinel"),
        (cluster, "no node of a Cluster"),
    ] {
        let fault = connect(settings).await.unwrap_err();
        assert!(fault.to_string().contains(words) && fault.is_definitive(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_the_deadline_and_no_more() {
    let server = RedisServer::start();
    let mut settings = settings(&server);
    settings.timeouts.connect = Duration::from_millis(300);
    server.freeze();
    let start = Instant::now();
    let fault = connect(settings.clone()).await.unwrap_err();
    assert!(matches!(fault, DiscoveryError::TimedOut { .. }), "{fault:?}");
    // Without a deadline it would wait for ever.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.thaw();
    settings.timeouts.connect = Duration::from_secs(10);
    assert!(connect(settings).await.is_ok());
    let absent = RedisSettings::single(NodeAddress::new("127.0.0.1", free_port()));
    let fault = connect(absent).await.unwrap_err();
    assert!(
        matches!(&fault, DiscoveryError::Unreachable(_, reason) if reason.contains("refused")),
        "{fault:?}"
    );
}

/// An authority, and certificates of it for a server and a client, as PEM files.
fn certificates(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", authority.self_signed(&authority_key).unwrap().pem());
    let issuer = Issuer::new(authority, authority_key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let mut certificate = CertificateParams::new(names).unwrap();
        certificate.distinguished_name.push(DnType::CommonName, name);
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[tokio::test]
async fn tls_checks_the_server_and_shows_our_certificate() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name);
    let port = free_port();
    let server = RedisServer::start_with(&format!(
        "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
         tls-auth-clients yes",
        file("server.pem").display(),
        file("server.key").display(),
        file("ca.pem").display()
    ));
    let client = CertificateFiles { certificate: file("client.pem"), key: file("client.key") };
    let tls = |ca: &str, identity: Option<CertificateFiles>, host: &str| RedisSettings {
        tls: Some(ClientSettings { trust: Trust::File(file(ca)), identity, alpn: Vec::new() }),
        ..RedisSettings::single(NodeAddress::new(host, port))
    };
    connect(tls("ca.pem", Some(client.clone()), "localhost")).await.unwrap();
    let fault = connect(tls("ca.pem", None, "localhost")).await.unwrap_err();
    assert!(fault.to_string().contains("ertificate"), "no certificate of ours: {fault:?}");
    let fault = connect(tls("client.pem", Some(client.clone()), "localhost")).await.unwrap_err();
    assert!(
        matches!(&fault, DiscoveryError::Tls { .. }) && fault.is_definitive(),
        "another authority: {fault:?}"
    );
    let fault = connect(tls("ca.pem", Some(client.clone()), "127.0.0.1")).await.unwrap_err();
    assert!(
        matches!(&fault, DiscoveryError::Tls(_, reason) if reason.contains("name")),
        "another name: {fault:?}"
    );
    // TLS to a port without it, and the other way round.
    let fault = connect(RedisSettings {
        servers: Servers::Single(NodeAddress::new("localhost", server.port)),
        ..tls("ca.pem", Some(client.clone()), "localhost")
    });
    // It waits for the end of what it takes for a command.
    assert!(matches!(
        fault.await.unwrap_err(),
        DiscoveryError::Tls { .. } | DiscoveryError::TimedOut { .. }
    ));
    let fault =
        connect(RedisSettings::single(NodeAddress::new("localhost", port))).await.unwrap_err();
    assert!(fault.to_string().contains("TLS"), "{fault:?}");
    let missing = Nodes::new(tls("none.pem", None, "localhost")).unwrap_err();
    assert!(
        matches!(&missing, DiscoveryError::Settings(words) if words.contains("none.pem")),
        "{missing:?}"
    );
    assert!(Nodes::new(tls("server.key", None, "localhost")).is_err());
}
