//! The path on its way to the upstream: forwarded as it came, with another prefix, by a template;
//! and the addresses in responses, which become those of keyward again.

use serde_json::Value;

use crate::support::h2::{Connection, Head};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::{Act, Plan, Reply, TestUser, Upstream, World, eventually, json};

/// The target that the upstream got, asked over HTTP/1.1 and over HTTP/2; or the status of both.
#[track_caller]
fn forwarded(world: &World, upstream: &Upstream, target: &str) -> Result<String, u16> {
    let first = world.ask("GET", target, "", "").status;
    let second = Connection::open(world.address()).ask(&Head::get(target)).status;
    assert_eq!(first, second, "{target}: both versions are judged alike");
    let mut targets: Vec<_> =
        upstream.take().requests.into_iter().map(|request| request.target).collect();
    if first != 200 {
        assert!(targets.is_empty(), "{target}: {first}, and {targets:?} arrived");
        return Err(first);
    }
    assert_eq!(targets.len(), 2, "{target}: {targets:?}");
    assert_eq!(targets[0], targets[1], "{target}");
    Ok(targets.swap_remove(0))
}

fn public(lines: &str) -> String {
    format!("upstream = \"app\"\npublic = true\n{lines}")
}

fn start(routes: &[&str]) -> (World, Upstream) {
    let upstream = Upstream::start();
    let plan = Plan::bare().upstream("app", upstream.address());
    let plan = routes.iter().fold(plan, |plan, route| plan.route(&public(route)));
    (plan.start(), upstream)
}

#[test]
fn names_of_packages_objects_and_projects_are_forwarded_as_they_came() {
    let (world, upstream) = start(&["path = \"/{*rest}\"\nforward_path = \"raw\""]);
    for target in [
        // npm
        "/@scope%2fpkg",
        "/@scope%2Fpkg/-/pkg-1.0.0.tgz?write=true",
        // S3
        "/bucket/x//y",
        "/bucket/a%20b//",
        "/bucket/%7Euser/%41",
        "/bucket/a+b%2Bc/%c3%a9",
        // GitLab
        "/api/v4/projects/group%2Fsub%2Fproject/repository/files/src%2Flib.rs?ref=main",
        "/bucket/a|b",
        "/plain/a/b",
    ] {
        assert_eq!(forwarded(&world, &upstream, target).as_deref(), Ok(target));
    }
    assert_eq!(world.ask("GET", "/logged/x%2f//y", "", "").status, 200);
    let line = world.access_line("/logged/x%2f//y");
    assert_eq!((&line["status"], &line["route"]), (&200.into(), &"/{*rest}".into()), "{line}");
}

#[test]
fn a_path_as_it_came_forges_no_field_of_the_access_log() {
    let (world, upstream) = start(&["path = \"/{*rest}\"\nforward_path = \"raw\""]);
    let target = "/x//y\",\"status\":500,\"z\":\"";
    assert_eq!(forwarded(&world, &upstream, target).as_deref(), Ok(target));
    let logged = "/x//y%22,%22status%22:500,%22z%22:%22";
    assert!(eventually(|| {
        let lines = world.access_lines();
        lines.iter().filter(|line| line["path"] == logged && line["status"] == 200).count() == 2
    }));
}

#[test]
fn an_upstream_of_http2_gets_the_path_as_it_came_too() {
    let upstream = Http2Upstream::start(100);
    let endpoint = format!("http://{}", upstream.address());
    let world = Plan::bare()
        .table(
            "upstream",
            &format!("name = \"app\"\nendpoints = [{endpoint:?}]\nprotocol = \"http2\""),
        )
        .route(&public("path = \"/{*rest}\"\nforward_path = \"raw\""))
        .start();
    let target = "/b/@scope%2fpkg//x?y=%2f";
    assert_eq!(world.ask("GET", target, "", "").status, 200);
    assert_eq!(Connection::open(world.address()).ask(&Head::get(target)).status, 200);
    let targets: Vec<_> = upstream.arrivals().into_iter().map(|arrival| arrival.target).collect();
    assert_eq!(targets, [target, target]);
}

#[test]
fn dot_segments_and_what_no_path_may_hold_are_refused_where_paths_are_forwarded_as_they_came() {
    let (world, upstream) = start(&["path = \"/{*rest}\"\nforward_path = \"raw\""]);
    for target in [
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a%2f..%2fb",
        "/a%2f%2e%2e%2fb",
        "/a/..%2fb",
        "/a/..;x/b",
        "/a/..%3bx/b",
        "/a%2f..;x",
        "/a/;x",
        "/a%2f;x",
        "/a%00",
        "/a%2f%00",
        "/a%5c..%5cb",
        "/a\\b",
        "/a%0d%0ax",
        "/a%7f",
        "/a%2",
        "/a%zz",
        // A host to some servers and browsers.
        "//evil.example/x",
        "/%2fevil.example/x",
        "/%2Fevil.example",
    ] {
        assert_eq!(forwarded(&world, &upstream, target), Err(400), "{target}");
    }
}

#[test]
fn a_path_that_could_be_read_as_one_of_another_route_is_refused() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(&public("path = \"/b/{*rest}\"\nforward_path = \"raw\""))
        .route(
            "path = \"/b/admin/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             forward_path = \"raw\"",
        )
        .route("path = \"/b/narrow\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
        .start();
    for target in ["/b/x%2fadmin%2fy", "/b/x//admin/y", "/b/admin%2d/x//y", "/b/x%2f"] {
        assert_eq!(forwarded(&world, &upstream, target).as_deref(), Ok(target));
    }
    for target in [
        "/b/admin%2fx",
        "/b//admin/x",
        "/b//admin%2fx",
        "/b/%2fadmin/x",
        "/b/%2Fadmin%2Fx",
        "/b//%61dmin/x",
        "/b/%2fnarrow",
        "/b//narrow",
        "//b/x",
        "/b%2fx",
        "/b%2f/x",
        // A call of a token API in one reading.
        "/b%2f..%2fjarvispy",
    ] {
        assert_eq!(forwarded(&world, &upstream, target), Err(400), "{target}");
    }
    // Decided by the normal form.
    for target in ["/b/%61dmin/x", "/b/%61dmin//x", "/b/%6earrow"] {
        assert_eq!(forwarded(&world, &upstream, target), Err(401), "{target}");
    }
    // Before the rest, the upstream gets the normal form; and what a token opens stays raw.
    let alice = world.key(TestUser::ALICE);
    let bearer = format!("Authorization: Bearer {}\r\n", alice.token);
    upstream.take();
    assert_eq!(world.ask("GET", "/b/%61dmin/x%2fy//z", &bearer, "").status, 200);
    assert_eq!(upstream.take().requests[0].target, "/b/admin/x%2fy//z");
    for target in ["/b/admin%2fx", "/b//admin/x", "/b/admin/..%2fx"] {
        assert_eq!(world.ask("GET", target, &bearer, "").status, 400, "{target}");
    }
    // A token API is found in none of the readings.
    let own = "/jarvispy/my-org%2falice/api/v1/auth/tokens";
    assert_eq!(world.ask("GET", own, &bearer, "").status, 400);
}

#[test]
fn beside_a_route_that_forwards_paths_as_they_came_others_are_as_ever() {
    let (world, upstream) = start(&[
        "path = \"/raw/{*rest}\"\nforward_path = \"raw\"",
        "path = \"/normal/{*rest}\"\nforward_path = \"normal\"",
    ]);
    for (target, normal) in [
        ("/normal/a/../%61|", "/normal/a%7C"),
        ("/raw/../normal/x", "/normal/x"),
        ("//normal/x?a=%2f", "/normal/x?a=%2f"),
    ] {
        assert_eq!(forwarded(&world, &upstream, target).as_deref(), Ok(normal));
    }
    for target in [
        "/normal/a%2fb",
        "/normal%2fa",
        "/normal/a//b",
        "/normal//",
        "/raw%2fx",
        "/other%2fx",
        "/normal/..%2fraw/x",
    ] {
        assert_eq!(forwarded(&world, &upstream, target), Err(400), "{target}");
    }
    assert_eq!(forwarded(&world, &upstream, "/other//x"), Err(404));
    // A target in absolute form is spelled by its path alone.
    let absolute = "http://a.example/raw/a%2fb//c";
    assert_eq!(world.ask("GET", absolute, "", "").status, 200);
    assert_eq!(upstream.take().requests[0].target, "/raw/a%2fb//c");
}

#[test]
fn a_path_whose_meaning_its_normal_form_would_change_is_refused_with_what_helps() {
    let (world, upstream) = start(&["path = \"/bucket/{*rest}\""]);
    for target in ["/bucket/x//y", "/bucket//x", "/bucket/x//"] {
        let answer = world.ask("GET", target, "", "");
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.text().contains("forward_path"), "{}", answer.text());
    }
    // A base address with a slash at its end, and a path behind it.
    assert_eq!(forwarded(&world, &upstream, "//bucket/x").as_deref(), Ok("/bucket/x"));
    assert_eq!(forwarded(&world, &upstream, "/bucket/x/").as_deref(), Ok("/bucket/x/"));
}

#[test]
fn a_tenant_is_the_same_in_every_reading() {
    let upstream = Upstream::start();
    let route = "path = \"/t/{tenant_id}/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
                 forward_path = \"raw\"";
    let world = Plan::bare()
        .upstream("app", upstream.address())
        .route(&format!("{route}\nresolve_tenant = true\nstrip_prefix = \"/t\""))
        .start();
    let alice = world.key(TestUser::ALICE);
    let bearer = format!("Authorization: Bearer {}\r\n", alice.token);
    let status = |target: &str| world.ask("GET", target, &bearer, "").status;
    for (target, own) in [
        ("/t/active/a%2fb//c", "/my-org/a%2fb//c"),
        ("/t/my-org/x%2f", "/my-org/x%2f"),
        ("/t/my%2Dorg/a//b?c", "/my-org/a//b?c"),
        ("/t/active/plain", "/my-org/plain"),
    ] {
        assert_eq!(status(target), 200, "{target}");
        let request = upstream.take().requests.pop().expect("forwarded");
        assert_eq!(request.target, own);
        assert_eq!(request.fields.all("x-forwarded-prefix"), ["/t"]);
    }
    for target in [
        "/t/my-org%2fother/x",
        "/t/my-org%2f../x",
        "/t/my-org/..%2fother/x",
        "/t//my-org/x",
        "/t/my-org/%2e%2e/other/x",
        "/t%2fmy-org/other/x",
    ] {
        assert_eq!(status(target), 400, "{target}");
    }
    assert_eq!(status("/t/other/x%2f"), 403);
    assert!(upstream.take().requests.is_empty());
}

#[test]
fn prefixes_are_taken_away_and_added_and_the_upstream_is_told() {
    let (world, upstream) = start(&[
        "path = \"/api/{*rest}\"\nstrip_prefix = \"/api\"",
        "path = \"/api\"\nstrip_prefix = \"/api\"",
        "path = \"/added/{*rest}\"\nadd_prefix = \"/v2\"",
        "path = \"/both/deep/{*rest}\"\nstrip_prefix = \"/both/deep\"\nadd_prefix = \"/x/y\"",
        "path = \"/raw/{*rest}\"\nstrip_prefix = \"/raw\"\nforward_path = \"raw\"",
    ]);
    for (target, own) in [
        ("/api/x/y?z=/api", "/x/y?z=/api"),
        ("/api/", "/"),
        ("/api", "/"),
        ("//api/x", "/x"),
        ("/api/api/x", "/api/x"),
        ("/%61pi/../api/x", "/x"),
        ("/added/x", "/v2/added/x"),
        ("/both/deep/z", "/x/y/z"),
        ("/raw/a%2fb//c", "/a%2fb//c"),
    ] {
        assert_eq!(forwarded(&world, &upstream, target).as_deref(), Ok(own), "{target}");
    }
    for target in
        ["/api//x", "/raw//evil.example/x", "/raw/%2fevil.example", "/raw/..%2fx", "/raw%2fx"]
    {
        assert_eq!(forwarded(&world, &upstream, target), Err(400), "{target}");
    }
    assert_eq!(forwarded(&world, &upstream, "/apix"), Err(404));
    let lie = "X-Forwarded-Prefix: /lie\r\nX_Forwarded_Prefix: /lie\r\n\
               Connection: close, x-forwarded-prefix\r\n";
    for (target, prefix) in
        [("/api/x", &["/api"][..]), ("/added/x", &[]), ("/both/deep/x", &["/both/deep"])]
    {
        assert_eq!(world.ask("GET", target, lie, "").status, 200);
        let request = upstream.take().requests.pop().expect("forwarded");
        assert_eq!(request.fields.all("x-forwarded-prefix"), prefix, "{target}");
        assert!(!format!("{:?}", request.fields).contains("lie"), "{:?}", request.fields);
    }
    let line = world.access_line("/both/deep/x");
    assert_eq!(line["status"], 200, "the access log has the client's path: {line}");
}

#[test]
fn the_prefix_of_a_trusted_proxy_comes_first() {
    let upstream = Upstream::start();
    let world = Plan::bare()
        .upstream("app", upstream.address())
        .route(&public("path = \"/api/{*rest}\"\nstrip_prefix = \"/api\""))
        .listener("trusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    for (said, prefix) in
        [("/outer", "/outer/api"), ("/outer/", "/outer/api"), ("/a, /b", "/api"), ("/../x", "/api")]
    {
        let field = format!("X-Forwarded-Prefix: {said}\r\n");
        assert_eq!(world.ask("GET", "/api/x", &field, "").status, 200);
        let request = upstream.take().requests.pop().expect("forwarded");
        assert_eq!(request.fields.all("x-forwarded-prefix"), [prefix]);
    }
}

#[test]
fn a_path_is_made_by_a_template() {
    let (world, upstream) = start(&[
        "path = \"/api/{version}/{*rest}\"\nrewrite = \"/{version}/app/{*rest}\"",
        "path = \"/users/{name}\"\nrewrite = \"/v2/people/{name}/profile\"",
        "path = \"/old/{*rest}\"\nrewrite = \"/new\"",
        "path = \"/r/{name}/{*rest}\"\nrewrite = \"/{rest}\"\nforward_path = \"raw\"",
    ]);
    for (target, own) in [
        ("/api/v1/x/y?z", "/v1/app/x/y?z"),
        ("/api/v1/", "/v1/app/"),
        ("/users/a%20b", "/v2/people/a%20b/profile"),
        ("/users/%7Bname%7D", "/v2/people/%7Bname%7D/profile"),
        ("/old/x?y", "/new?y"),
        ("/r/n/a%2fb//c", "/a%2fb//c"),
        ("/r/n/", "/"),
    ] {
        assert_eq!(forwarded(&world, &upstream, target).as_deref(), Ok(own), "{target}");
    }
    for target in ["/r/n//evil.example", "/r/n/%2fx", "/r/n/a/..%2fb", "/r/n%2fm/x"] {
        assert_eq!(forwarded(&world, &upstream, target), Err(400), "{target}");
    }
    assert_eq!(forwarded(&world, &upstream, "/api/%2e%2e/x"), Err(404));
}

/// A redirect of the upstream's with these fields, and the fields as the client gets them.
fn answered(
    world: &World,
    upstream: &Upstream,
    target: &str,
    fields: &str,
) -> Vec<(String, String)> {
    upstream.take();
    let own = |target: &str| {
        let _ = world.ask("GET", target, "", "");
        upstream.take().requests.pop().expect("forwarded").target
    };
    let head = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n{fields}\r\n");
    upstream.answer(&own(target), Reply::bytes(head));
    let first = world.ask("GET", target, "", "");
    let second = Connection::open(world.address()).ask(&Head::get(target));
    let read = |response: &crate::support::Response| -> Vec<(String, String)> {
        let names = ["location", "content-location", "set-cookie", "refresh"];
        let all = |name: &'static str| {
            response.fields.all(name).into_iter().map(move |value| (name.to_owned(), value))
        };
        names.into_iter().flat_map(all).collect()
    };
    assert_eq!((first.status, second.status), (302, 302));
    assert_eq!(read(&first), read(&second), "both versions get the same");
    read(&first)
}

#[track_caller]
fn is_answered(world: &World, upstream: &Upstream, target: &str, field: (&str, &str), to: &str) {
    let (name, value) = field;
    let fields = answered(world, upstream, target, &format!("{name}: {value}\r\n"));
    assert_eq!(fields, [(name.to_ascii_lowercase(), to.to_owned())], "{target} {name}: {value}");
}

#[test]
fn addresses_in_responses_become_the_clients() {
    let (world, upstream) = start(&[
        "path = \"/plain/{*rest}\"",
        "path = \"/api/{*rest}\"\nstrip_prefix = \"/api\"",
        "path = \"/t/{name}/{*rest}\"\nrewrite = \"/v2/{rest}\"",
    ]);
    let own = upstream.address();
    let is = |target: &str, name: &str, value: &str, to: &str| {
        is_answered(&world, &upstream, target, (name, value), to);
    };
    let at = |path: &str| format!("http://{own}{path}");
    is("/plain/x", "Location", &at("/plain/y?z#f"), "http://a.example/plain/y?z#f");
    is("/plain/x", "Content-Location", &at("/plain/y"), "http://a.example/plain/y");
    is("/plain/x", "Refresh", &format!("5; url={}", at("/y")), "5; url=http://a.example/y");
    // Of nginx: the host that it was asked for, with its own port.
    let of_nginx = format!("http://a.example:{}/plain/dir/", own.port());
    is("/plain/x", "Location", &of_nginx, "http://a.example/plain/dir/");
    for elsewhere in ["https://other.example/x", "/y", "y", "https://a.example/x", "//cdn.example/"]
    {
        is("/plain/x", "Location", elsewhere, elsewhere);
    }
    is("/api/x", "Location", &at("/login?next=%2Fx"), "http://a.example/api/login?next=%2Fx");
    is("/api/x", "Location", "/login", "/api/login");
    is("/api/x", "Location", "/api/login", "/api/login");
    is("/api/x", "Location", "https://other.example/login", "https://other.example/login");
    is("/t/acme/x", "Location", "/v2/y/", "/t/acme/y/");
    is("/t/acme/x", "Location", "/v3/y", "/v3/y");
    is("/api/x", "Set-Cookie", "a=b; Path=/; Secure", "a=b; Path=/api; Secure");
    is("/plain/x", "Set-Cookie", "a=b; Path=/; Secure", "a=b; Path=/; Secure");
    is("/plain/x", "Set-Cookie", "a=b; Domain=127.0.0.1; Secure", "a=b; Secure");
    is("/plain/x", "Set-Cookie", "a=b; Domain=example", "a=b; Domain=example");
    let cookies = "Set-Cookie: a=1; Path=/x\r\nSet-Cookie: b=2; Path=/y\r\nLocation: /z\r\n";
    let found = answered(&world, &upstream, "/api/x", cookies);
    let values: Vec<_> = found.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["/api/z", "a=1; Path=/api/x", "b=2; Path=/api/y"]);
}

#[test]
fn a_websocket_goes_the_same_way() {
    let (world, upstream) = start(&["path = \"/api/{*rest}\"\nstrip_prefix = \"/api\""]);
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSet-Cookie: a=b; Path=/\r\n\r\n";
    upstream.answer("/chat", Reply::bytes(switched).then(Act::Echo));
    let mut client = world.client();
    client.send(
        "GET /api/chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = client.response().expect("a switch");
    assert_eq!(response.status, 101, "{response}");
    assert_eq!(response.fields.one("set-cookie").as_deref(), Some("a=b; Path=/api"), "{response}");
    client.send("hello");
    assert_eq!(client.exactly(5).expect("an echo"), b"hello");
    assert_eq!(upstream.take().heads, ["/chat"]);
}

#[test]
fn the_public_address_is_the_one_that_a_trusted_proxy_was_asked_for() {
    let upstream = Upstream::start();
    let plan = |trusted: &str| {
        Plan::bare()
            .upstream("app", upstream.address())
            .route(&public("path = \"/{*rest}\""))
            .listener(&format!("trusted_proxies = [{trusted:?}]"))
            .start()
    };
    let location = format!("Location: http://{}/y\r\n", upstream.address());
    let head = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n{location}\r\n");
    upstream.answer("/x", Reply::bytes(head));
    let fields = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example:8443\r\n";
    for (trusted, public) in
        [("127.0.0.0/8", "https://shop.example:8443/y"), ("10.0.0.0/8", "http://a.example/y")]
    {
        let response = plan(trusted).ask("GET", "/x", fields, "");
        assert_eq!(response.fields.one("location").as_deref(), Some(public));
    }
    // Of a list the last: the proxy before that one asked it so, and knows it in a response.
    for (host, public) in
        [("a.example/x?", "/y"), ("evil.example, b.example", "http://b.example/y")]
    {
        let fields = format!("X-Forwarded-Host: {host}\r\n");
        let response = plan("127.0.0.0/8").ask("GET", "/x", &fields, "");
        assert_eq!(response.fields.one("location").as_deref(), Some(public), "{response}");
    }
}

#[test]
fn responses_and_via_are_left_alone_where_the_upstream_says_so() {
    let upstream = Upstream::start();
    let lines = format!("endpoints = [\"http://{}\"]", upstream.address());
    let world = Plan::bare()
        .table("upstream", &format!("name = \"app\"\n{lines}\nrewrite_location = false"))
        .table("upstream", &format!("name = \"quiet\"\n{lines}\nvia = false"))
        .route(&public("path = \"/api/{*rest}\"\nstrip_prefix = \"/api\""))
        .route("path = \"/quiet\"\nupstream = \"quiet\"\npublic = true")
        .start();
    let fields = format!("Location: http://{}/y\r\n", upstream.address());
    let found = answered(&world, &upstream, "/api/x", &fields);
    assert_eq!(found[0].1, format!("http://{}/y", upstream.address()));
    let via = |target: &str| {
        assert!(world.ask("GET", target, "Via: 1.1 before\r\n", "").status < 400);
        upstream.take().requests.pop().expect("forwarded").fields.all("via")
    };
    assert_eq!(via("/api/x"), ["1.1 before", "1.1 keyward"]);
    assert_eq!(via("/quiet"), [""; 0]);
}

fn moved(world: &World, destination: &str, further: &str) -> u16 {
    let fields = format!("Destination: {destination}\r\n{further}");
    world.ask("MOVE", "/dav/a.txt", &fields, "").status
}

#[test]
fn the_destination_of_a_move_is_judged_as_a_request_and_given_as_the_upstream_knows_it() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let world = Plan::usual(&upstream)
        .upstream("other", other.address())
        .route(&public("path = \"/dav/{*rest}\"\nstrip_prefix = \"/dav\""))
        .route(&public("path = \"/dav/raw/{*rest}\"\nforward_path = \"raw\""))
        .route(&public("path = \"/dav/read\"\nmethods = [\"GET\"]"))
        .route("path = \"/dav/secret/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
        .route("path = \"/other/{*rest}\"\nupstream = \"other\"\npublic = true")
        .start();
    for (destination, own) in [
        ("/dav/b.txt", "/b.txt"),
        ("/dav/x/../b%2etxt", "/b.txt"),
        ("http://a.example/dav/b.txt", "http://a.example/b.txt"),
        ("https://A.example/dav/b.txt?c", "http://a.example/b.txt?c"),
        ("/dav/raw/a%2fb", "/dav/raw/a%2fb"),
    ] {
        assert_eq!(moved(&world, destination, ""), 200, "{destination}");
        let request = upstream.take().requests.pop().expect("forwarded");
        assert_eq!((request.method.as_str(), request.target.as_str()), ("MOVE", "/a.txt"));
        assert_eq!(request.fields.all("destination"), [own]);
    }
    for (destination, status) in [
        ("/dav/secret/b.txt", 401),
        ("/dav/x/../secret/b", 401),
        ("http://a.example/dav/secret/b", 401),
        ("/private/b", 401),
        ("/dav/read", 405),
        ("/nowhere", 404),
        ("/other/b", 403),
        ("/dav/a%2fb", 400),
        ("/dav/raw/..%2f..%2fsecret/b", 400),
        ("/dav/../../b", 400),
        ("http://evil.example/dav/b", 403),
        ("http://a.example:81/dav/b", 403),
        ("http://a.example@evil.example/dav/b", 403),
        ("ftp://a.example/dav/b", 403),
        ("/.well-known/jwks.json", 405),
        ("/jarvispy/my-org/alice/api/v1/auth/tokens", 403),
        ("b.txt", 403),
        ("", 403),
        ("/dav/b\r\nDestination: /dav/c", 403),
    ] {
        assert_eq!(moved(&world, destination, ""), status, "{destination}");
    }
    let endpoint = format!("http://{}/dav/b", upstream.address());
    assert_eq!(moved(&world, &endpoint, ""), 403, "the endpoint is no public address");
    assert!(upstream.take().requests.is_empty() && other.take().requests.is_empty());
    let fields = "Destination: /dav/secret/b\r\n";
    assert_eq!(world.ask("move", "/dav/a.txt", fields, "").status, 401);
    // Of other methods it is no address of theirs.
    assert_eq!(world.ask("PUT", "/dav/x", "Destination: x\r\n", "").status, 200);
    assert_eq!(upstream.take().requests[0].fields.all("destination"), ["x"]);
}

#[test]
fn a_token_moves_only_to_where_it_may_write_itself() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route("path = \"/t/{tenant_id}/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
        .route(
            "path = \"/admins/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             require = { role = [\"admin\"] }",
        )
        .start();
    let (alice, admin) = (world.key(TestUser::ALICE), world.key(TestUser::ADMIN));
    let copy = |token: &str, destination: &str| {
        let fields = format!("Authorization: Bearer {token}\r\nDestination: {destination}\r\n");
        world.ask("COPY", "/t/my-org/a", &fields, "").status
    };
    assert_eq!(copy(&alice.token, "/t/my-org/b"), 200);
    assert_eq!(copy(&alice.token, "/private/b"), 200);
    assert_eq!(copy(&admin.token, "/admins/b"), 200);
    assert_eq!(copy(&alice.token, "/admins/b"), 403);
    assert_eq!(copy(&alice.token, "/t/other/b"), 403);
    assert_eq!(copy(&alice.token, "/t/my-org/../other/b"), 403);
}

#[test]
fn explain_shows_the_path_that_the_upstream_would_get() {
    let (world, upstream) = start(&[
        "path = \"/api/{*rest}\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/v2\"",
        "path = \"/raw/{*rest}\"\nforward_path = \"raw\"",
    ]);
    let explained = |path: &str| -> Value {
        let url = format!("http://a.example{path}");
        let output = world.run_reading(&["explain", "GET", &url, "--json"], "");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    for (path, own) in [("/api/x", "/v2/x"), ("/raw/a%2fb//c", "/raw/a%2fb//c")] {
        assert_eq!(explained(path)["upstream_path"], own);
        assert_eq!(forwarded(&world, &upstream, path).as_deref(), Ok(own));
    }
    let refused = explained("/raw/a/../b");
    assert_eq!((&refused["decision"], &refused["status"]), (&"refused".into(), &400.into()));
    let cause = refused["cause"].as_str().expect("a cause");
    assert!(cause.contains("dot segments"), "{refused}");
}

#[test]
fn the_body_and_the_fields_of_a_request_stay_as_they_are_when_its_path_changes() {
    let (world, _upstream) = start(&["path = \"/api/{*rest}\"\nstrip_prefix = \"/api\""]);
    let response = world.ask("POST", "/api/x", "X-Other: 1\r\n", "hello");
    let seen = json(&response);
    assert_eq!((&seen["target"], &seen["body"]), (&"/x".into(), &"hello".into()), "{seen}");
}
