//! Tokens and the status over the socket.

use super::*;

#[test]
fn a_bootstrap_token_is_made_listed_and_revoked_over_the_socket() {
    let world = World::start();
    let client = world.client();
    runtime().block_on(async {
        let issued = client.bootstrap_create(request()).await.expect("made");
        assert_eq!(issued.token.expose(), format!("token-of-{}", issued.id));
        let filter = Filter {
            token_api: Some("jarvispy".into()),
            subject: Some("u 1+&é".into()),
            sort: Some(RecordSort::Bootstrap),
            limit: 10,
        };
        let listed = client.list(filter.clone()).await.expect("listed");
        assert_eq!(listed, *world.administration.tokens.lock().expect("lock"));
        assert_eq!(
            world.administration.filters.lock().expect("lock").pop(),
            Some(filter),
            "carried to the letter"
        );
        assert_eq!(
            client
                .list(Filter { sort: Some(RecordSort::ApiKey), ..Filter::default() })
                .await
                .expect("listed"),
            []
        );
        assert_eq!(
            client.revoke(TokenKind::ApiKey, issued.id).await,
            Ok(Revocation::NotFound),
            "the other kind"
        );
        assert_eq!(client.revoke(TokenKind::Bootstrap, issued.id).await, Ok(Revocation::Revoked));
        assert_eq!(client.revoke(TokenKind::Bootstrap, issued.id).await, Ok(Revocation::NotFound));
    });
}

#[test]
fn a_store_that_fails_is_said_in_words_and_is_no_refusal() {
    let world = World::start();
    let client = world.client();
    world.administration.outage.store(true, Ordering::SeqCst);
    let failed = runtime().block_on(client.bootstrap_create(request())).expect_err("outage");
    assert_eq!(failed, AdminError::Unavailable("the store is unavailable: unplugged".into()));
    let answer = world.operate(&get("/v1/tokens"));
    assert_eq!(status_of(&answer), "503");
    assert!(answer.to_ascii_lowercase().contains("retry-after: 1"), "{answer}");
    world.administration.outage.store(false, Ordering::SeqCst);
    let wrong = BootstrapRequest { token_api: "other".into(), ..request() };
    let refused = runtime().block_on(client.bootstrap_create(wrong)).expect_err("unknown");
    assert_eq!(refused, AdminError::Refused("there is no token API named \"other\"".into()));
}

#[test]
fn what_is_sent_to_the_socket_is_checked_before_anything_is_done() {
    let world = World::start();
    let good = r#"{"token_api":"jarvispy","subject":"u1"}"#;
    let answer = world.operate(&post(good));
    assert_eq!(status_of(&answer), "201");
    assert!(answer.to_ascii_lowercase().contains("cache-control: no-store"), "{answer}");
    for (status, body) in [
        ("400", "{"),
        ("400", ""),
        ("422", "[]"),
        ("422", r#"{"token_api":"jarvispy"}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","subject":"u2"}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","admin":true}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","mints":0}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","mints":1000001}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","mints":1.5}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","expires_in_seconds":0}"#),
        ("422", r#"{"token_api":"jarvispy","subject":""}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u\u0000"}"#),
    ] {
        let answer = world.operate(&post(body));
        assert_eq!(status_of(&answer), status, "{body}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    assert_eq!(status_of(&world.operate(&post(&format!("\"{}\"", "x".repeat(64 * 1024))))), "413");
    assert_eq!(
        status_of(&world.operate(&post(good).replace("application/json", "text/plain"))),
        "415"
    );
    for (status, method, path) in [
        ("405", "PUT", "/v1/bootstrap-tokens"),
        ("405", "POST", "/v1/tokens"),
        ("405", "GET", "/v1/tokens/f1c2a3b4-5d6e-4f80-9a0b-1c2d3e4f5a6b"),
        ("405", "DELETE", "/v1/status"),
        ("422", "DELETE", "/v1/tokens/f1c2a3b45d6e4f809a0b1c2d3e4f5a6b"),
        ("404", "DELETE", "/v1/tokens/a/b"),
        ("404", "GET", "/v2/tokens"),
        ("400", "GET", "/v1/tokens?limit=0"),
        ("200", "GET", "/v1/tokens"),
    ] {
        let answer = world
            .operate(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert_eq!(status_of(&answer), status, "{method} {path}");
    }
    assert_eq!(
        world.administration.tokens.lock().expect("lock").len(),
        1,
        "only the good one was made"
    );
}

#[test]
fn the_status_over_the_socket_has_version_reasons_and_components() {
    let world = World::start();
    *world.status.reasons.lock().expect("lock") = vec![NotReady::Draining];
    *world.status.components.lock().expect("lock") = vec![Component::well("store")];
    let report = runtime().block_on(world.client().status()).expect("answered");
    assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((report.ready, report.reasons), (false, vec!["draining".to_owned()]));
    assert_eq!(report.components, [Component::well("store")]);
}

#[test]
fn no_keyward_is_found_where_none_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    assert!(runtime().block_on(SocketClient::find(&path)).expect("missing: none").is_none());
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(
        runtime().block_on(SocketClient::find(&path)).expect("no process accepts: none").is_none()
    );
}

#[test]
fn stopping_ends_idle_connections_at_once_and_removes_the_socket() {
    let mut world = World::start();
    let mut idle = std::net::TcpStream::connect(world.probes).expect("connect");
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("answered");
    world.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("closed");
    assert!(!world.socket.exists(), "the socket's file is gone");
    assert!(std::net::TcpStream::connect(world.probes).is_err(), "no process listens");
}
