//! Responses whose end is the end of the connection (RFC 9112, section 6.3): so a client of HTTP/1.0
//! reads what has no length, nginx for one. One that breaks off does not look complete: the
//! connection is reset.

use std::io::ErrorKind;
use std::time::Duration;

use crate::support::tls::{connect, self_signed};
use crate::support::{Act, Client, Gate, Plan, Reply, Upstream, World};

const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                       Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";

/// `/public/whole` answers with a body of many pieces, and the others with a part of one.
fn start(more: impl FnOnce(Plan) -> Plan) -> (World, Upstream, Vec<u8>) {
    let upstream = Upstream::start();
    let begun = || Reply::bytes(BEGUN);
    upstream.answer("/public/reset", begun().then(Act::Reset));
    upstream.answer("/public/closed", begun().then(Act::Close));
    upstream.answer("/public/open", begun().then(Act::Wait(Gate::default())));
    upstream.answer("/silent", begun().then(Act::Wait(Gate::default())));
    let piece: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    let chunk = [b"10000\r\n", &*piece, b"\r\n"].concat();
    let whole = [BEGUN, &chunk.repeat(64), b"0\r\n\r\n"].concat();
    upstream.answer("/public/whole", Reply::bytes(whole));
    let world = more(Plan::usual(&upstream).route(
        "path = \"/silent\"\nupstream = \"app\"\npublic = true\n\
         timeouts.response_body = \"300ms\"",
    ));
    (world.start(), upstream, [b"hello", &*piece.repeat(64)].concat())
}

fn ask(client: &mut Client, path: &str) {
    client.send(format!("GET {path} HTTP/1.0\r\nHost: a.example\r\n\r\n"));
}

/// The body, after the connection has ended, and what it ended with.
fn ended(client: &mut Client) -> (Vec<u8>, Option<ErrorKind>) {
    let all = client.rest().expect("the connection ends");
    let head = all.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let text = String::from_utf8_lossy(&all[..head]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.0 200 ") || text.starts_with("http/1.1 200 "), "{text}");
    assert!(!text.contains("content-length") && !text.contains("transfer-encoding"), "{text}");
    (all[head..].to_vec(), client.take_error().map(|error| error.kind()))
}

#[test]
fn a_response_that_breaks_off_ends_with_a_reset() {
    let (world, _upstream, _) = start(|plan| plan);
    for path in ["/public/reset", "/public/closed", "/silent"] {
        let mut client = world.client();
        ask(&mut client, path);
        let (body, end) = ended(&mut client);
        assert_eq!((&*body, end), (&b"hello"[..], Some(ErrorKind::ConnectionReset)), "{path}");
        let line = world.access_line(path);
        assert_ne!(line["cause"], serde_json::Value::Null, "{line}");
    }
}

#[test]
fn so_does_one_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = self_signed(folder.path(), "a.example");
    let (world, _upstream, whole) =
        start(|plan| plan.listener(&format!("tls = {}", certificate.line)));
    for (path, expected, expected_end) in [
        ("/public/reset", &b"hello"[..], Some(ErrorKind::ConnectionReset)),
        ("/public/whole", &whole, None),
    ] {
        let mut client =
            connect(world.address(), "a.example", &[&certificate]).expect("a connection");
        ask(&mut client, path);
        let (body, end) = ended(&mut client);
        assert!(body == expected, "{path}: {} bytes", body.len());
        assert_eq!(end, expected_end, "{path}");
    }
}

/// Whatever keyward itself comes to.
#[test]
fn so_does_one_that_ends_with_keyward() {
    for is_killed in [true, false] {
        let (mut world, _upstream, _) =
            start(|plan| plan.set("server", "shutdown_grace", "\"100ms\""));
        let mut client = world.client();
        ask(&mut client, "/public/open");
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            let some = client.some().expect("the response begins");
            assert!(!some.is_empty(), "the connection ended");
            seen.extend(some);
        }
        if is_killed {
            world.kill()
        } else {
            world.stop()
        }
        assert_eq!(client.rest().expect("the connection ends"), b"");
        let end = client.take_error().map(|error| error.kind());
        assert_eq!(end, Some(ErrorKind::ConnectionReset), "killed: {is_killed}");
    }
}

/// More than the buffers of the system hold, so that it is still being sent when keyward has
/// written the last of it.
#[test]
fn a_whole_response_comes_whole_to_a_client_that_is_slow_or_has_closed_its_side() {
    let (world, _upstream, whole) = start(|plan| plan);
    for finishes in [false, true] {
        let mut client = world.client();
        ask(&mut client, "/public/whole");
        if finishes {
            client.finish();
        }
        std::thread::park_timeout(Duration::from_millis(200));
        let (body, end) = ended(&mut client);
        assert!(body == whole, "{} of {} bytes", body.len(), whole.len());
        assert_eq!(end, None);
    }
}
