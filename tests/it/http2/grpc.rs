//! gRPC: calls pass with their trailers, and refusals have a status of gRPC.

use std::net::TcpListener;

use super::connect;
use crate::support::h2::{Connection, Head};
use crate::support::{Plan, Reply, Response, TestUser, Upstream};

/// A gRPC call of this path.
fn call(path: &str) -> Head {
    Head::post(path).with("content-type", "application/grpc").with("te", "trailers")
}

/// The answer is a trailers-only response (gRPC over HTTP/2, "Responses") with this status.
#[track_caller]
fn assert_refused(connection: &mut Connection, head: &Head, status: &str) {
    let id = connection.next_id();
    connection.send(head.with_body(id, b"\0\0\0\0\0"));
    let response: Response = connection.answer(id);
    assert_eq!(response.status, 200, "{response}");
    assert!(
        connection.state.stream(id).is_head_only,
        "one HEADERS frame with END_STREAM: {response}"
    );
    assert_eq!(response.fields.all("grpc-status"), [status], "{response}");
    let kind = response.fields.one("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/grpc"), "{response}");
    let message = response.fields.one("grpc-message").unwrap_or_default();
    assert!(message.bytes().all(|b| (0x20..0x7f).contains(&b)), "{response}");
}

#[test]
fn a_refusal_of_a_grpc_call_is_a_trailers_only_response_with_its_status() {
    let upstream = Upstream::start();
    let away = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = away.local_addr().expect("an address");
    drop(away);
    let world = Plan::usual(&upstream)
        .upstream("away", address)
        .route("path = \"/away/{*rest}\"\nupstream = \"away\"\npublic = true")
        .route(
            "path = \"/admin/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             require = { role = [\"admin\"] }",
        )
        .start();
    let issued = world.key(TestUser::ALICE);
    let with_token = |head: Head| head.with("authorization", format!("Bearer {}", issued.token));
    let mut connection = connect(&world);
    assert_refused(&mut connection, &call("/private/x"), "16");
    assert_refused(
        &mut connection,
        &call("/private/x").with("authorization", "Bearer a.b.c"),
        "16",
    );
    assert_refused(&mut connection, &with_token(call("/admin/x")), "7");
    assert_refused(&mut connection, &call("/nowhere.Service/Method"), "12");
    assert_refused(&mut connection, &call("/away/x"), "14");
    let sub = call("/private/x").set("content-type", "application/grpc+proto");
    assert_refused(&mut connection, &sub, "16");
    assert!(upstream.take().heads.is_empty(), "nothing was forwarded");
    // What only resembles gRPC gets the refusal that any other request gets.
    for kind in ["application/grpcx", "application/json"] {
        let response = connection.ask(&Head::post("/private/x").with("content-type", kind));
        assert_eq!(response.status, 401, "{kind}: {response}");
    }
}

#[test]
fn a_grpc_call_passes_with_its_trailers() {
    let upstream = Upstream::start();
    upstream.answer(
        "/private/x",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\n\0\0\0\0\0\r\n0\r\ngrpc-status: 0\r\n\
             grpc-message: fine\r\n\r\n",
        ),
    );
    let world = Plan::usual(&upstream).start();
    let issued = world.key(TestUser::ALICE);
    let mut connection = connect(&world);
    let id = connection.next_id();
    let head = call("/private/x").with("authorization", format!("Bearer {}", issued.token));
    connection.send(head.with("grpc-timeout", "5S").with_body(id, b"\0\0\0\0\0"));
    let response = connection.answer(id);
    assert_eq!((response.status, response.body.as_slice()), (200, &b"\0\0\0\0\0"[..]));
    assert_eq!(response.trailers.all("grpc-status"), ["0"], "{response:?}");
    let request = upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(request.fields.all("te"), ["trailers"], "{request:?}");
    assert_eq!(request.body, b"\0\0\0\0\0");
}
