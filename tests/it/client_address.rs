//! The address of the client behind proxies: the same in the access log, in the limits of logins
//! and for the upstream.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{Plan, Request, TIMEOUT, TestUser, Upstream, WebSocketServer, World};

/// `127.0.0.1`, from where the tests connect, and `10.0.0.0/8` are proxies.
const PROXIES: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"fd00::/8\"]";

fn received(upstream: &Upstream) -> Request {
    upstream.take().requests.pop().expect("it was forwarded")
}

fn lines(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("{field}\r\n")).collect()
}

#[test]
fn behind_proxies_the_log_and_the_upstream_name_the_same_client() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).listener(PROXIES).start();
    for (at, (fields, client)) in [
        (&["X-Forwarded-For: 203.0.113.9, 10.0.0.5"][..], "203.0.113.9"),
        (&["X-Forwarded-For: 6.6.6.6, 203.0.113.9,10.0.0.5, 10.0.0.6"], "203.0.113.9"),
        (
            &[
                "X-Forwarded-For: 6.6.6.6",
                "X-Forwarded-For: 203.0.113.9",
                "X-Forwarded-For: 10.0.0.5",
            ],
            "203.0.113.9",
        ),
        (&["X-Forwarded-For: 203.0.113.9:51234"], "203.0.113.9"),
        (&["X-Forwarded-For: [2001:db8::1]:51234, fd00::5"], "2001:db8::1"),
        (&["X-Forwarded-For: \"[2001:DB8::1]\""], "2001:db8::1"),
        (&["X-Forwarded-For: ::ffff:203.0.113.9, ::ffff:10.0.0.5"], "203.0.113.9"),
        (&["Forwarded: for=203.0.113.9;proto=https, for=10.0.0.5"], "203.0.113.9"),
        (
            &[
                "forwarded: proto=https;For=\"[2001:db8::1]:51234\"",
                "Forwarded: for=\"10.0.0.5:80\"",
            ],
            "2001:db8::1",
        ),
        (&["Forwarded: for=203.0.113.9, for=unknown, for=10.0.0.5"], "10.0.0.5"),
        (&["Forwarded: for=203.0.113.9, for=_hidden"], "127.0.0.1"),
        (&["Forwarded: for=\"203.0.113.9, 203.0.113.8\""], "127.0.0.1"),
        (&["X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.5"], "10.0.0.5"),
        (&["X-Forwarded-For: evil"], "127.0.0.1"),
        (&["X-Forwarded-For: 10.9.9.9, 10.0.0.5"], "10.9.9.9"),
        (&["X-Forwarded-For: 203.0.113.9", "Forwarded: for=6.6.6.6"], "203.0.113.9"),
        (&["Forwarded: for=6.6.6.6", "X-Forwarded-For: unknown"], "127.0.0.1"),
        (&["X-Forwarded-For: 203.0.113.9", "Connection: close, X-Forwarded-For"], "203.0.113.9"),
        (&["X_Forwarded_For: 6.6.6.6", "X-Real-IP: 6.6.6.6"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/public/{at}");
        assert_eq!(world.ask("GET", &path, &lines(fields), "").status, 200, "{fields:?}");
        let request = received(&upstream);
        assert_eq!(request.fields.all("x-real-ip"), [client], "{fields:?}");
        let line = world.access_line(&path);
        assert_eq!(
            (&line["client"], &line["peer"]),
            (&client.into(), &"127.0.0.1".into()),
            "{fields:?}: {line}"
        );
        // The last address in both fields is that of the peer.
        let listed = request.fields.one("x-forwarded-for").expect("one list");
        assert!(listed == "127.0.0.1" || listed.ends_with(", 127.0.0.1"), "{listed}");
        let forwarded = request.fields.one("forwarded").expect("one list");
        let ours = "for=127.0.0.1;host=a.example;proto=http";
        assert!(forwarded == ours || forwarded.ends_with(&format!(", {ours}")), "{forwarded}");
    }
    // Refused requests have the same client, whether the gate refuses them or a route.
    let fields = lines(&["X-Forwarded-For: 203.0.113.9, 10.0.0.5"]);
    assert_eq!(world.ask("GET", "/private/x", &fields, "").status, 401);
    assert_eq!(world.access_line("/private/x")["client"], "203.0.113.9");
    assert_eq!(world.ask("GET", "/public/a%2fb", &fields, "").status, 400);
    assert_eq!(world.access_line("-")["client"], "203.0.113.9");
}

#[test]
fn the_access_log_for_people_names_client_and_peer() {
    let upstream = Upstream::start();
    let mut world =
        Plan::usual(&upstream).listener(PROXIES).set("log", "format", "\"human\"").start();
    let mut client = world.client();
    for field in ["X-Forwarded-For: 203.0.113.9\r\n", ""] {
        let request = format!("GET /public/a HTTP/1.1\r\nHost: a.example\r\n{field}\r\n");
        assert_eq!(client.ask(request).status, 200);
    }
    drop(client);
    world.stop();
    let output = world.output();
    let lines: Vec<_> = output.lines().filter(|line| line.contains("/public/a")).collect();
    let [behind, direct] = lines[..] else { panic!("{output}") };
    assert!(behind.contains(" 203.0.113.9 200 GET "), "{behind}");
    assert!(behind.ends_with(" peer=127.0.0.1"), "{behind}");
    assert!(direct.contains(" 127.0.0.1 200 GET "), "{direct}");
    assert!(!direct.contains("peer="), "{direct}");
}

#[test]
fn an_upstream_finds_the_same_way_in_x_forwarded_for_and_forwarded() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).listener(PROXIES).start();
    let told = |fields: &[&str]| {
        assert_eq!(world.ask("GET", "/public/x", &lines(fields), "").status, 200, "{fields:?}");
        let request = received(&upstream);
        ["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host"]
            .map(|name| request.fields.one(name).unwrap_or_default())
    };
    let ours = "for=127.0.0.1;host=a.example;proto=http";
    assert_eq!(
        told(&[
            "X-Forwarded-For: 203.0.113.9, 10.0.0.5",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shop.example",
            "Forwarded: for=6.6.6.6;proto=http;host=evil.example"
        ]),
        [
            "203.0.113.9, 10.0.0.5, 127.0.0.1",
            &format!("for=203.0.113.9;host=shop.example;proto=https, for=10.0.0.5, {ours}"),
            "https",
            "shop.example"
        ]
    );
    assert_eq!(
        told(&["Forwarded: for=\"[2001:db8::1]\";proto=https;host=shop.example, for=10.0.0.5"]),
        [
            "2001:db8::1, 10.0.0.5, 127.0.0.1",
            &format!("for=\"[2001:db8::1]\";proto=https;host=shop.example, for=10.0.0.5, {ours}"),
            "https",
            "shop.example"
        ]
    );
    assert_eq!(told(&[]), ["127.0.0.1", ours, "http", "a.example"]);
}

#[test]
fn a_peer_that_is_not_trusted_names_no_other_client() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).listener("trusted_proxies = [\"10.0.0.0/8\"]").start();
    let fields = lines(&[
        "X-Forwarded-For: 203.0.113.9, 10.0.0.5",
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 6.6.6.6",
    ]);
    assert_eq!(world.ask("GET", "/public/x", &fields, "").status, 200);
    let request = received(&upstream);
    for name in ["x-forwarded-for", "x-real-ip"] {
        assert_eq!(request.fields.all(name), ["127.0.0.1"], "{name}");
    }
    assert_eq!(request.fields.all("forwarded"), ["for=127.0.0.1;host=a.example;proto=http"]);
    let line = world.access_line("/public/x");
    assert_eq!((&line["client"], &line["peer"]), (&"127.0.0.1".into(), &"127.0.0.1".into()));
}

#[test]
fn failed_logins_are_counted_for_the_client_in_whatever_form_it_is_named() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .listener(PROXIES)
        .table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"")
        .set("logins", "failures", "3")
        .start();
    let login = |field: &str| {
        let fields = format!("Content-Type: application/json\r\n{field}\r\n");
        world
            .ask(
                "POST",
                "/v1/auth/login",
                &fields,
                r#"{"username":"hershel","password":"a wrong one"}"#,
            )
            .status
    };
    let forms = [
        "X-Forwarded-For: 203.0.113.9, 10.0.0.5",
        "X-Forwarded-For: 6.6.6.6, 203.0.113.9:51234",
        "Forwarded: for=\"203.0.113.9:1\", for=10.0.0.6",
        "X-Forwarded-For: ::ffff:203.0.113.9",
    ];
    assert_eq!(forms.map(login), [401, 401, 401, 429]);
    // Another one behind the same proxies is another.
    assert_eq!(login("X-Forwarded-For: 203.0.113.10, 10.0.0.5"), 401);
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 of the PROXY protocol.
fn version_2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("it fits").to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

/// What is answered to a request behind this PROXY header; nothing, if the connection is closed.
fn behind(world: &World, header: &[u8], path: &str) -> String {
    let mut stream = TcpStream::connect(world.address()).expect("it listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
    let asked = format!(
        "GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
         X-Forwarded-For: 6.6.6.6\r\n\r\n"
    );
    stream.write_all(&[header, asked.as_bytes()].concat()).expect("sent");
    let mut answer = Vec::new();
    // A connection that is refused may be reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_connection_whose_client_has_no_address_is_the_senders_and_is_not_believed() {
    let upstream = Upstream::start();
    let world =
        Plan::usual(&upstream).listener(PROXIES).listener("proxy_protocol = \"required\"").start();
    let v4 = [203, 0, 113, 9, 127, 0, 0, 1, 0xc8, 0x22, 0, 80];
    let tlvs = [&v4[..], &[4, 0, 3, 0, 0, 0]].concat();
    for (at, (header, client)) in [
        (version_2(0x21, 0x11, &v4), "203.0.113.9"),
        (version_2(0x21, 0x12, &tlvs), "203.0.113.9"),
        (b"PROXY TCP4 203.0.113.9 127.0.0.1 51234 80\r\n".to_vec(), "203.0.113.9"),
        (version_2(0x21, 0x00, &[]), "127.0.0.1"),
        (version_2(0x21, 0x00, &v4), "127.0.0.1"),
        (version_2(0x21, 0x31, &[b'/'; 216]), "127.0.0.1"),
        (version_2(0x21, 0x32, &[b'/'; 216]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN 203.0.113.9 127.0.0.1 1 2\r\n".to_vec(), "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/public/{at}");
        let shown = header.escape_ascii();
        assert_eq!(behind(&world, &header, &path), "HTTP/1.1 200 OK", "{shown}");
        let seen = received(&upstream);
        for name in ["x-forwarded-for", "x-real-ip"] {
            assert_eq!(seen.fields.all(name), [client], "{name} {shown}");
        }
        let line = world.access_line(&path);
        assert_eq!(
            (&line["client"], &line["peer"]),
            (&client.into(), &"127.0.0.1".into()),
            "{shown}"
        );
    }
    // The sender's own connection, and that of a proxy which it names: what they say of others
    // counts.
    let proxy = [10, 0, 0, 5, 127, 0, 0, 1, 0xc8, 0x22, 0, 80];
    for (path, header) in [
        ("/public/local", version_2(0x20, 0x11, &v4)),
        ("/public/proxy", version_2(0x21, 0x11, &proxy)),
    ] {
        assert_eq!(behind(&world, &header, path), "HTTP/1.1 200 OK");
        assert_eq!(received(&upstream).fields.all("x-real-ip"), ["6.6.6.6"], "{path}");
        let line = world.access_line(path);
        assert_eq!(
            (&line["client"], &line["peer"]),
            (&"6.6.6.6".into(), &"127.0.0.1".into()),
            "{path}"
        );
    }
    for header in [
        version_2(0x21, 0x13, &v4),
        version_2(0x22, 0x11, &v4),
        version_2(0x21, 0x11, &v4[..11]),
        Vec::new(),
    ] {
        assert_eq!(behind(&world, &header, "/public/x"), "", "{}", header.escape_ascii());
    }
    assert_eq!(upstream.take().requests.len(), 0);
}

/// Of a WebSocket, Traefik says `wss` in `X-Forwarded-Proto`, or `ws`.
#[test]
fn the_scheme_of_a_websocket_is_that_of_the_http_that_opens_it() {
    let (upstream, sockets) = (Upstream::start(), WebSocketServer::start());
    let world = Plan::usual(&upstream)
        .listener(PROXIES)
        .upstream("sockets", sockets.address)
        .route(
            "path = \"/sockets/{*rest}\"\nscheme = \"http\"\npublic = true\n\
             redirect.to = \"https://{host}{path}\"",
        )
        .route(
            "path = \"/sockets/{*rest}\"\nupstream = \"sockets\"\naccept = [\"jarvispy\"]\n\
             credentials.cookie = \"token\"",
        )
        .route("path = \"/plain/{*rest}\"\nupstream = \"sockets\"\npublic = true")
        .start();
    let key = world.key(TestUser::ALICE).token;
    let open = |path: &str, field: &str| {
        let fields = format!(
            "GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://a.example\r\n\
             Cookie: token={key}\r\n{field}\r\n\r\n"
        );
        world.client().ask(fields).status
    };
    for (said, scheme, proto) in [
        ("X-Forwarded-Proto: https", "https", "https"),
        ("X-Forwarded-Proto: wss", "https", "https"),
        ("X-Forwarded-Proto: WSS", "https", "https"),
        ("X-Forwarded-Proto: http, wss", "https", "http, https"),
        ("Forwarded: for=203.0.113.9;proto=wss", "https", "https"),
        ("X-Forwarded-Proto: http", "http", "http"),
        ("X-Forwarded-Proto: ws", "http", "http"),
        ("X-Forwarded-Proto: wss,ws", "http", "https, http"),
        ("X-Forwarded-Proto: wsss", "http", "wsss"),
    ] {
        let is_tls = scheme == "https";
        assert_eq!(open("/sockets/x", said), if is_tls { 101 } else { 308 }, "{said}");
        assert_eq!(open("/plain/x", said), 101, "{said}");
        for _ in 0..1 + usize::from(is_tls) {
            let asked = sockets.asked.recv_timeout(TIMEOUT).expect("the upstream is asked");
            assert_eq!(asked.fields.all("x-forwarded-proto"), [proto], "{said}");
        }
    }
}
