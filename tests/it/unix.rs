//! Unix sockets on both sides of keyward.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{Client, Plan, Request, Upstream, World, eventually};

const REFUSED: &str = "outcome=\"refused\"";

/// A folder for sockets, whose paths must be short.
fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kwu").tempdir().expect("a temporary folder")
}

fn listening(plan: Plan, path: &Path, lines: &str) -> Plan {
    plan.table("listener", &format!("address = \"unix:{}\"\n{lines}", path.display()))
}

/// Sends these bytes on a connection of its own, and reads until that is closed.
fn exchange(path: &Path, bytes: &str) -> String {
    let mut client = Client::connect_unix(path);
    client.send(bytes);
    let answer = client.rest().expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(fields: &str) -> String {
    format!("GET /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n")
}

/// One request on a kept connection: its status.
fn status_on(client: &mut Client) -> u16 {
    client.ask("GET /public/kept HTTP/1.1\r\nHost: a.example\r\n\r\n").status
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn received(upstream: &Upstream) -> Request {
    upstream.take().requests.pop().expect("it was forwarded")
}

fn logged(world: &World, words: &str) -> bool {
    eventually(|| {
        world
            .output()
            .lines()
            .any(|line| line.contains("\"path\":\"/public/x\"") && line.contains(words))
    })
}

#[test]
fn a_client_on_a_unix_socket_has_no_address_and_cannot_make_one_up() {
    let (dir, upstream) = (folder(), Upstream::start());
    let path = dir.path().join("s.sock");
    let mut world = listening(Plan::usual(&upstream), &path, "").start();
    assert_eq!(mode(&path), 0o660);
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n\
                   Forwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: evil.example\r\n";
    for fields in ["", spoofed] {
        let answer = exchange(&path, &get(fields));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let request = received(&upstream);
        assert!(!request.fields.has("x-forwarded-for"), "{:?}", request.fields);
        assert!(!request.fields.has("x_forwarded_for"), "{:?}", request.fields);
        assert!(!request.fields.has("x-real-ip"), "{:?}", request.fields);
        assert_eq!(request.fields.all("forwarded"), ["for=unknown;host=a.example;proto=http"]);
        assert_eq!(request.fields.all("x-forwarded-proto"), ["http"]);
        assert_eq!(request.fields.all("x-forwarded-host"), ["a.example"]);
    }
    assert!(logged(&world, "\"client\":\"unix\",\"peer\":\"unix\""), "{}", world.output());
    let answer = exchange(&path, &get("").replace("/public/", "/private/"));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    world.stop();
    assert!(!path.exists(), "the file is removed at the end");
}

#[test]
fn what_a_trusted_client_on_a_unix_socket_says_of_others_stays() {
    let (dir, upstream) = (folder(), Upstream::start());
    let path = dir.path().join("s.sock");
    let _world = listening(Plan::usual(&upstream), &path, "trusted_proxies = [\"unix\"]").start();
    let said = "X-Forwarded-For: 192.0.2.7, 10.0.0.5\r\nForwarded: for=192.0.2.7\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n";
    let answer = exchange(&path, &get(said));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let request = received(&upstream);
    assert_eq!(request.fields.all("x-forwarded-for"), ["192.0.2.7, 10.0.0.5"]);
    // X-Forwarded-For is what counts; Forwarded is made from it.
    let forwarded =
        "for=10.0.0.5;host=shop.example;proto=https, for=unknown;host=a.example;proto=http";
    assert_eq!(request.fields.all("forwarded"), [forwarded]);
    assert_eq!(request.fields.all("x-real-ip"), ["10.0.0.5"]);
    assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields.all("x-forwarded-host"), ["shop.example"]);
    // One that says nothing has no address either.
    exchange(&path, &get(""));
    assert!(!received(&upstream).fields.has("x-forwarded-for"));
}

#[test]
fn a_proxy_header_on_a_unix_socket_names_the_client() {
    let (dir, upstream) = (folder(), Upstream::start());
    let path = dir.path().join("s.sock");
    let lines = "trusted_proxies = [\"unix\"]\nproxy_protocol = \"required\"";
    let world = listening(Plan::usual(&upstream), &path, lines).start();
    let header = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n";
    let answer = exchange(&path, &format!("{header}{}", get("X-Forwarded-For: 6.6.6.6\r\n")));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let request = received(&upstream);
    assert_eq!(request.fields.all("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(request.fields.all("forwarded"), ["for=192.0.2.7;host=a.example;proto=http"]);
    assert!(logged(&world, "\"client\":\"192.0.2.7\",\"peer\":\"unix\""), "{}", world.output());
    assert_eq!(exchange(&path, &get("")), "", "a connection without the header is closed");
    assert_eq!(upstream.take().requests.len(), 0);
}

/// They cannot be told apart; those of another listener, and those that a trusted proxy names, can.
#[test]
fn for_the_limits_of_logins_the_clients_of_one_unix_listener_are_one() {
    let (dir, upstream) = (folder(), Upstream::start());
    let (plain, trusted) = (dir.path().join("plain.sock"), dir.path().join("trusted.sock"));
    let accounts = "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"";
    let plan = Plan::usual(&upstream).table("token_api", accounts).set("logins", "failures", "2");
    let plan = listening(plan, &plain, "");
    let _world = listening(plan, &trusted, "trusted_proxies = [\"unix\"]").start();
    let login = |path: &Path, fields: &str| {
        let body = r#"{"username":"hershel","password":"a wrong one"}"#;
        let answer = exchange(
            path,
            &format!(
                "POST /v1/auth/login HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
                 {fields}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    // What an untrusted client says of others makes no difference.
    let statuses = ["", "X-Forwarded-For: 192.0.2.1\r\n", ""].map(|fields| login(&plain, fields));
    assert_eq!(statuses, ["401", "401", "429"]);
    assert_eq!([""; 3].map(|fields| login(&trusted, fields)), ["401", "401", "429"]);
    for address in ["192.0.2.1", "192.0.2.2"] {
        let fields = format!("X-Forwarded-For: 6.6.6.6, {address}\r\n");
        assert_eq!([(); 3].map(|()| login(&trusted, &fields)), ["401", "401", "429"], "{address}");
    }
}

#[test]
fn a_file_that_a_dead_process_left_is_replaced() {
    let (dir, upstream) = (folder(), Upstream::start());
    let path = dir.path().join("s.sock");
    drop(UnixListener::bind(&path).expect("bound"));
    let mut world = listening(Plan::usual(&upstream), &path, "mode = \"0600\"").start();
    assert_eq!(mode(&path), 0o600);
    assert!(exchange(&path, &get("")).starts_with("HTTP/1.1 200 OK\r\n"));
    // Killed, it leaves its own.
    world.kill();
    assert!(path.exists());
    world.restart();
    assert!(exchange(&path, &get("")).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn the_socket_of_a_living_process_and_a_file_that_is_none_are_left_alone() {
    let (dir, upstream) = (folder(), Upstream::start());
    let (live, regular) = (dir.path().join("live.sock"), dir.path().join("file"));
    let listener = UnixListener::bind(&live).expect("bound");
    fs::write(&regular, "precious").expect("written");
    for (path, why) in [(&live, "is in use"), (&regular, "is not a socket")] {
        let mut world = listening(Plan::usual(&upstream), path, "").launch();
        assert!(!world.ended().success());
        let said = world.output();
        assert!(said.contains(why) && said.contains(&*path.to_string_lossy()), "{said}");
    }
    assert_eq!(fs::read_to_string(&regular).expect("it is there"), "precious");
    let _client = Client::connect_unix(&live);
    listener.accept().expect("the other process still has its clients");
}

#[test]
fn a_reload_adds_keeps_and_removes_unix_listeners() {
    let (dir, upstream) = (folder(), Upstream::start());
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let (kept, new) = (path("kept.sock"), path("new.sock"));
    let world = listening(Plan::usual(&upstream), &kept, "").start();
    let mut client = Client::connect_unix(&kept);
    assert_eq!(status_on(&mut client), 200);

    world.configure(&listening(
        listening(Plan::usual(&upstream), &kept, "mode = \"0666\""),
        &new,
        "",
    ));
    world.reload();
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 0.0);
    assert_eq!((mode(&kept), mode(&new)), (0o666, 0o660));
    assert_eq!(status_on(&mut client), 200);
    let mut newcomer = Client::connect_unix(&new);
    assert_eq!(status_on(&mut newcomer), 200);
    assert_eq!(status_on(&mut Client::connect_unix(&kept)), 200);

    // A path that is taken: nothing changes.
    fs::write(path("file"), "precious").expect("written");
    world.configure(&listening(Plan::usual(&upstream), &path("file"), ""));
    world.reload();
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 1.0);
    assert_eq!(status_on(&mut Client::connect_unix(&kept)), 200);
    assert_eq!(status_on(&mut Client::connect_unix(&new)), 200);

    world.configure(&listening(Plan::usual(&upstream), &new, ""));
    world.reload();
    assert!(eventually(|| !kept.exists()), "its file is removed");
    assert_eq!(status_on(&mut client), 200, "a connection from before is served");
    assert_eq!(status_on(&mut newcomer), 200);

    // The path can be listened on again.
    world.configure(&listening(listening(Plan::usual(&upstream), &kept, ""), &new, ""));
    world.reload();
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 1.0, "{}", world.output());
    assert_eq!(status_on(&mut Client::connect_unix(&kept)), 200);
}

/// Passes each connection to the Unix socket on to a scripted upstream, both ways.
fn on_unix_socket(path: &Path, upstream: &Upstream) {
    let listener = UnixListener::bind(path).expect("bound");
    let address = upstream.address();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(near), Ok(far)) = (stream, TcpStream::connect(address)) else { return };
            let (near_too, far_too) =
                (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &near, &mut &far);
                let _ = far.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &far_too, &mut &near_too);
                let _ = near_too.shutdown(std::net::Shutdown::Write);
            });
        }
    });
}

#[test]
fn an_upstream_on_a_unix_socket_keeps_its_connection_and_is_called_localhost() {
    let (dir, upstream) = (folder(), Upstream::start());
    let path = dir.path().join("app.sock");
    on_unix_socket(&path, &upstream);
    for (preserves, host) in [("false", "localhost"), ("true", "a.example")] {
        let world = Plan::bare()
            .set("server", "workers", "1")
            .table(
                "upstream",
                &format!(
                    "name = \"app\"\nendpoints = [\"unix:{}\"]\npreserve_host = {preserves}",
                    path.display()
                ),
            )
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
            .start();
        for _ in 0..3 {
            let response = world.ask("POST", "/public/x", "", "hello");
            assert_eq!(response.status, 200, "{response}");
        }
        let requests = upstream.take().requests;
        assert_eq!(requests.len(), 3);
        for (nth, request) in requests.iter().enumerate() {
            assert_eq!(request.fields.all("host"), [host]);
            assert_eq!(request.body, b"hello");
            assert_eq!(
                (request.connection, request.nth),
                (requests[0].connection, nth),
                "one connection"
            );
        }
    }
}
