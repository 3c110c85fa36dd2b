//! Fields in which a client could tell the upstream of another path, method, host, scheme or caller
//! than keyward has judged: they do not reach it, or are judged themselves.

use crate::support::h2::{Connection, Head};
use crate::support::{Plan, TestUser, Upstream, World};

/// Of the path and the caller: nobody in front of keyward knows better.
const OF_NOBODY: [&str; 36] = [
    "SCRIPT_NAME",
    "Script-Name",
    "script.name",
    "Script_Name",
    "PATH_INFO",
    "Path-Info",
    "X-Script-Name",
    "X_SCRIPT_NAME",
    "X-Original-URL",
    "x_original_url",
    "X-Original-URI",
    "X-Original-Path",
    "X-Original-Method",
    "X-Rewrite-URL",
    "X_Rewrite_Url",
    "X-Envoy-Original-Path",
    "X-Envoy-Original-Host",
    "Remote-User",
    "REMOTE_USER",
    "Remote-Groups",
    "Remote-Email",
    "Remote-Name",
    "X-Remote-User",
    "X_Remote_User",
    "X-Remote-Group",
    "X-Remote-Extra-Scopes",
    "X-Auth-Request-User",
    "X-Auth-Request-Groups",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-WebAuth-User",
    "X-Authenticated-Userid",
    "X-Authentik-Username",
    "Proxy",
    "X-Sendfile-Type",
    "X-Accel-Mapping",
];

/// What a proxy in front of keyward may know.
const OF_THE_EDGE: [&str; 20] = [
    "Client-IP",
    "client_ip",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "X-Original-For",
    "X-Original-Host",
    "X-HTTP-Host-Override",
    "X-Scheme",
    "X-HTTPS",
    "Front-End-Https",
    "Client-Cert",
    "Client_Cert_Chain",
    "SSL_CLIENT_S_DN",
    "ssl-client-subject-dn",
    "X-SSL-Client-Verify",
    "X-Amzn-Oidc-Identity",
    "X-MS-Client-Principal-Name",
    "Tailscale-User-Login",
];

fn fields(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name}: evil\r\n")).collect()
}

/// How many of the fields of the next request have a value from the client.
fn arrived(upstream: &Upstream) -> usize {
    let request = upstream.take().requests.pop().expect("it was forwarded");
    format!("{request:?}").matches("evil").count()
}

#[test]
fn a_client_cannot_tell_the_upstream_of_another_path_or_caller() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let bearer = format!("Authorization: Bearer {}\r\n", alice.token);
    let all: Vec<&str> = OF_NOBODY.into_iter().chain(OF_THE_EDGE).collect();
    for name in all.iter().copied() {
        for (path, credential) in [("/public/x", ""), ("/private/x", &*bearer)] {
            let lines = format!("{credential}{}", fields(&[name]));
            assert_eq!(world.ask("GET", path, &lines, "").status, 200, "{name}");
            assert_eq!(arrived(&upstream), 0, "{name} of a client reached {path}");
        }
    }
    // And in the other version of HTTP.
    let head = all
        .iter()
        .fold(Head::get("/public/x"), |head, name| head.with(name.to_ascii_lowercase(), "evil"));
    assert_eq!(Connection::open(world.address()).ask(&head).status, 200);
    assert_eq!(arrived(&upstream), 0);
    // What only looks like one of them is the upstream's.
    let others = ["X-Original-Filename", "X-Remote-Control", "Client-Id", "Remote", "Path"];
    assert_eq!(world.ask("GET", "/public/x", &fields(&others), "").status, 200);
    assert_eq!(arrived(&upstream), others.len());
}

#[test]
fn a_trusted_proxy_tells_of_its_client_and_not_of_another_path_or_caller() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).listener("trusted_proxies = [\"127.0.0.1\"]").start();
    assert_eq!(world.ask("GET", "/public/x", &fields(&OF_THE_EDGE), "").status, 200);
    assert_eq!(arrived(&upstream), OF_THE_EDGE.len());
    assert_eq!(world.ask("GET", "/public/x", &fields(&OF_NOBODY), "").status, 200);
    assert_eq!(arrived(&upstream), 0);
}

#[test]
fn an_operator_may_tell_the_upstream_where_the_app_is() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(
            "path = \"/x/{*rest}\"\nupstream = \"app\"\npublic = true\n\
             request_headers.set = { SCRIPT_NAME = \"/x\" }",
        )
        .start();
    assert_eq!(world.ask("GET", "/x/a", "SCRIPT-NAME: /evil\r\n", "").status, 200);
    let request = upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(request.fields.all("script_name"), ["/x"]);
    assert_eq!(request.fields.all("script-name"), [""; 0]);
}

/// One route for some methods, one for the others, and one for all.
fn by_method(upstream: &Upstream) -> World {
    let route = |path: &str, more: &str| format!("path = {path:?}\nupstream = \"app\"\n{more}");
    Plan::usual(upstream)
        .route(&route("/items", "methods = [\"GET\", \"POST\"]\npublic = true"))
        .route(&route("/items", "methods = [\"DELETE\", \"PUT\"]\naccept = [\"jarvispy\"]"))
        .route(&route("/some", "methods = [\"POST\", \"PUT\"]\npublic = true"))
        .route(&route("/any", "public = true"))
        .route("path = \"/fixed\"\npublic = true\nmethods = [\"POST\"]\nrespond.status = 204")
        .start()
}

#[test]
fn a_method_in_a_header_opens_no_route_that_the_requests_own_does_not() {
    let upstream = Upstream::start();
    let world = by_method(&upstream);
    for name in
        ["X-HTTP-Method-Override", "X_HTTP_METHOD_OVERRIDE", "X-HTTP-Method", "X-Method-Override"]
    {
        for word in ["DELETE", "delete", "PUT", "PATCH", "GET, DELETE", "no method", "é"] {
            let line = format!("{name}: {word}\r\n");
            let response = world.ask("POST", "/items", &line, "");
            assert_eq!(response.status, 400, "{line}: {response}");
            assert_eq!(upstream.take().requests.len(), 0, "{line}");
        }
        for (path, word) in [("/items", "GET"), ("/some", "put"), ("/some", ""), ("/any", "DELETE")]
        {
            let line = format!("{name}: {word}\r\n");
            let response = world.ask("POST", path, &line, "");
            assert_eq!(response.status, 200, "{line} for {path}: {response}");
            let request = upstream.take().requests.pop().expect("it was forwarded");
            assert_eq!(request.fields.all(&name.to_ascii_lowercase()), [word], "{path}");
        }
        // keyward itself takes the method for what it is.
        let line = format!("{name}: DELETE\r\n");
        assert_eq!(world.ask("POST", "/fixed", &line, "").status, 204, "{line}");
    }
    let line = "X-HTTP-Method-Override: MOVE\r\nDestination: /items\r\n";
    assert_eq!(world.ask("POST", "/any", line, "").status, 400);
    // On two lines, each is read.
    let lines = "X-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: DELETE\r\n";
    assert_eq!(world.ask("POST", "/items", lines, "").status, 400);
    let head = Head::get("/items").with("x-http-method-override", "DELETE");
    assert_eq!(Connection::open(world.address()).ask(&head).status, 400);
    assert_eq!(upstream.take().requests.len(), 0);
}
