//! What holds for the body of any call: JSON, at most 64 KiB, each key once.

use super::{AllowlistJwtWorld, data, error};
use crate::support::Client;

const ISSUED: &str = "Token issued successfully";

fn send(
    world: &AllowlistJwtWorld,
    fields: &str,
    body: impl AsRef<[u8]>,
) -> crate::support::Response {
    let fields = format!("Authorization: Bearer {}\r\n{fields}", world.alice.token);
    world.keyward.ask("POST", &world.api().path("/auth/issue-token"), &fields, body)
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn what_is_no_json_gets_400() {
    let world = AllowlistJwtWorld::start();
    let bodies: [&[u8]; 24] = [
        b"{",
        b"}",
        b"{\"name\"",
        b"{\"name\":}",
        b"{\"name\":\"x\",}",
        b"{\"name\":\"x\"} x",
        b"{\"name\":\"x\"}{}",
        b"{name:\"x\"}",
        b"{'name':'x'}",
        b"{\"name\":\"x}",
        b"{\"name\":\"\t\"}",
        b"{\"name\":\"\\x\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"\xc0\x80\"}",
        b"{\"expires_in_minutes\":05}",
        b"{\"expires_in_minutes\":+5}",
        b"{\"expires_in_minutes\":0x5}",
        b"{\"expires_in_minutes\":NaN}",
        b"{\"expires_in_minutes\":Infinity}",
        b"{\"expires_in_minutes\":5.}",
        b"\xef\xbb\xbf{}",
        b"// comment\n{}",
        b"name=x&expires_in_minutes=5",
    ];
    for body in bodies {
        let response = send(&world, JSON, body);
        assert_eq!(response.status, 400, "{:?}: {response}", String::from_utf8_lossy(body));
        error(&response, 400);
    }
    assert_eq!(world.api().jtis(&world.alice.token).len(), 1, "nothing was issued");
}

#[test]
fn json_that_is_no_object_is_refused() {
    let world = AllowlistJwtWorld::start();
    for body in ["true", "5", "\"x\"", "[]", "[{}]"] {
        let response = send(&world, JSON, body);
        assert!([400, 422].contains(&response.status), "{body}: {response}");
    }
}

/// CVE-2022-25757: two readers of a key that is there twice may read two different things.
#[test]
fn a_key_twice_gets_400() {
    let world = AllowlistJwtWorld::start();
    for body in [
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","name":"a"}"#,
        r#"{"name":"a","n\u0061me":"b"}"#,
        r#"{"expires_in_minutes":5,"expires_in_minutes":null}"#,
        r#"{"name":"a","expires_in_minutes":5,"name":null}"#,
        r#"{"x":1,"x":2}"#,
    ] {
        let response = send(&world, JSON, body);
        assert_eq!(response.status, 400, "{body}: {response}");
        error(&response, 400);
    }
}

#[test]
fn deep_json_gets_400_and_the_next_call_is_answered() {
    let world = AllowlistJwtWorld::start();
    for depth in [200, 10_000, 30_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            for body in
                [format!("{open}1{close}"), format!("{{\"name\":{open}1{close}}}"), open.clone()]
            {
                if body.len() <= 65_536 {
                    error(&send(&world, JSON, body), 400);
                }
            }
        }
    }
    data(&send(&world, JSON, "{}"), ISSUED);
}

#[test]
fn a_body_of_64_kib_is_taken_and_one_byte_more_gets_413() {
    let world = AllowlistJwtWorld::start();
    let padded = |length: usize| format!("{{\"name\":\"x\"{}}}", " ".repeat(length - 12));
    assert_eq!(padded(65_536).len(), 65_536);
    data(&send(&world, JSON, padded(65_536)), ISSUED);
    error(&send(&world, JSON, padded(65_537)), 413);
    error(&send(&world, JSON, padded(1 << 20)), 413);
    assert_eq!(world.api().jtis(&world.alice.token).len(), 2, "one was issued");
}

#[test]
fn chunks_are_counted_like_any_other_body() {
    let world = AllowlistJwtWorld::start();
    let chunked = |client: &mut Client, body: &str| {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\
             {JSON}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
            world.api().path("/auth/issue-token"),
            world.alice.token
        );
        client.ask(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
    };
    data(&chunked(&mut world.keyward.client(), r#"{"name":"x"}"#), ISSUED);
    error(&chunked(&mut world.keyward.client(), &" ".repeat(70_000)), 413);
}

/// The length is enough: keyward does not wait for a body that it is not going to read.
#[test]
fn a_length_that_is_too_large_is_refused_before_the_body_arrives() {
    let world = AllowlistJwtWorld::start();
    let mut client = world.keyward.client();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\
         {JSON}Content-Length: 10000000\r\n\r\n",
        world.api().path("/auth/issue-token"),
        world.alice.token
    );
    error(&client.ask(head), 413);
}

#[test]
fn another_content_type_gets_415_if_there_is_a_body() {
    let world = AllowlistJwtWorld::start();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/jsonx",
        "application/xml",
        "json",
        "*/*",
        "application/",
        "application/json, text/plain",
    ] {
        let fields = format!("Content-Type: {kind}\r\n");
        error(&send(&world, &fields, "{}"), 415);
        data(&send(&world, &fields, ""), ISSUED);
    }
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
    ] {
        data(&send(&world, &format!("Content-Type: {kind}\r\n"), "{}"), ISSUED);
    }
}

/// A browser sends such a body to any origin without a preflight, so it is not taken for JSON.
#[test]
fn a_body_without_a_content_type_is_not_misread() {
    let world = AllowlistJwtWorld::start();
    let response = send(&world, "", r#"{"name":"x"}"#);
    assert!([200, 415].contains(&response.status), "{response}");
}

#[test]
fn a_compressed_body_is_not_opened() {
    let world = AllowlistJwtWorld::start();
    let response = send(
        &world,
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "\u{1f}garbage",
    );
    assert!([400, 415].contains(&response.status), "{response}");
}
