//! Overload: beyond `limits.requests` and `limits.memory` what is new is refused first, what is
//! under way goes on, and no caller shuts the others out.

use std::time::{Duration, Instant};

use crate::support::h2::{Connection, Head, State, code, flag, reset, setting, window_update};
use crate::support::{
    Act, Client, Gate, Ongoing, Plan, Reply, Response, TestUser, Upstream, World, eventually,
    lateness, open,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn plan(upstream: &Upstream, requests: u32) -> Plan {
    Plan::usual(upstream).set("limits", "requests", &requests.to_string())
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn under_way(world: &World) -> f64 {
    world.metric("keyward_requests_under_way", "")
}

/// A request that the upstream has, and answers when the gate is opened.
#[track_caller]
fn hold(world: &World, upstream: &Upstream, path: &str, token: &str, gate: &Gate) -> Client {
    upstream.answer(path, Reply::acts([Act::Wait(gate.clone()), Act::Send(OK.into())]));
    let before = upstream.take().heads.len();
    assert_eq!(before, 0, "what came before was taken");
    let mut client = world.client();
    client.send(get(path, token));
    assert!(upstream.wait_until(|log| !log.heads.is_empty()), "{path} comes to the upstream");
    upstream.take();
    client
}

#[track_caller]
fn is_overloaded(response: &Response) {
    assert_eq!(response.status, 503, "{response}");
    assert_eq!(response.fields.one("retry-after").as_deref(), Some("1"), "{response}");
}

#[test]
fn a_request_beyond_the_limit_gets_503_and_those_under_way_finish() {
    let upstream = Upstream::start();
    let world = plan(&upstream, 2).start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    // Connections without a request count for nothing.
    let mut idle: Vec<Client> = (0..10).map(|_| world.client()).collect();
    for client in &mut idle {
        assert_eq!(client.ask(get("/public/x", "")).status, 200);
    }
    assert!(eventually(|| under_way(&world) == 0.0));
    upstream.take();
    let gate = Gate::default();
    let mut first = hold(&world, &upstream, "/public/held", "", &gate);
    let mut second = hold(&world, &upstream, "/private/held", &alice.token, &gate);
    assert_eq!(under_way(&world), 2.0);

    let misses = || world.metric("keyward_token_cache_misses_total", "");
    let before = misses();
    is_overloaded(&world.get_with("/private/beyond", &bob.token));
    is_overloaded(&world.get_with("/private/forged", "no-token-at-all"));
    assert_eq!(misses(), before, "no credential was looked up");
    let line = world.access_line("/private/beyond");
    assert_eq!((&line["refusal"], line["subject"].is_null()), (&"overloaded".into(), true));
    let cause = "there are as many requests under way as limits.requests";
    assert_eq!(line["cause"], cause, "{line}");
    let call = world.api(TestUser::BOB).list(&bob.token);
    is_overloaded(&call);
    assert!(call.text().contains("temporarily unavailable"), "in the shape of the API: {call}");
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    let head = Head::post("/private/grpc").with("content-type", "application/grpc");
    h2.send(head.with("te", "trailers").with_body(id, b"\0\0\0\0\0"));
    assert_eq!(h2.answer(id).fields.all("grpc-status"), ["14"], "UNAVAILABLE");
    // What keyward has at hand takes no place.
    assert_eq!(world.ask("GET", "/.well-known/jwks.json", "", "").status, 200);
    assert!(upstream.take().heads.is_empty(), "the upstream heard nothing of them");

    gate.open();
    assert_eq!(first.response().expect("an answer").status, 200);
    assert_eq!(second.response().expect("an answer").status, 200);
    assert!(eventually(|| under_way(&world) == 0.0));
    assert_eq!(world.get_with("/private/x", &bob.token).status, 200);
    assert!(world.metric("keyward_refusals_total", "overloaded") >= 4.0);
}

#[test]
fn a_greedy_token_does_not_shut_out_another() {
    let upstream = Upstream::start();
    let world = plan(&upstream, 8).start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    assert!(eventually(|| under_way(&world) == 0.0));
    upstream.take();
    let gate = Gate::default();
    let mut held: Vec<Client> =
        (0..4).map(|_| hold(&world, &upstream, "/private/held", &alice.token, &gate)).collect();
    // Half of the places: as many as are left free.
    let refused = world.get_with("/private/greedy", &alice.token);
    assert_eq!(refused.status, 429, "{refused}");
    assert_eq!(refused.fields.one("retry-after").as_deref(), Some("1"), "{refused}");
    let line = world.access_line("/private/greedy");
    assert_eq!(line["refusal"], "too_many_concurrent", "{line}");
    let cause = "the token has its share of limits.requests under way, which is 3 at the moment";
    assert_eq!(line["cause"], cause, "{line}");
    let call = world.api(TestUser::ALICE).list(&alice.token);
    assert_eq!(call.status, 429, "calls of token APIs count, too: {call}");
    for _ in 0..10 {
        assert_eq!(world.get_with("/private/x", &bob.token).status, 200);
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
    assert!(eventually(|| under_way(&world) == 4.0));
    upstream.take();
    // Those without a token share by address.
    let mut open: Vec<Client> =
        (0..2).map(|_| hold(&world, &upstream, "/public/held", "", &gate)).collect();
    assert_eq!(world.ask("GET", "/public/greedy", "", "").status, 429);
    let cause = "the address has its share of limits.requests under way, which is 1 at the moment";
    assert_eq!(world.access_line("/public/greedy")["cause"], cause);
    assert_eq!(world.get_with("/private/x", &bob.token).status, 200);
    gate.open();
    for client in held.iter_mut().chain(&mut open) {
        assert_eq!(client.response().expect("an answer").status, 200);
    }
    assert!(eventually(|| under_way(&world) == 0.0));
    assert_eq!(world.get_with("/private/x", &alice.token).status, 200);
}

#[test]
fn places_come_back_however_a_request_ends() {
    let upstream = Upstream::start();
    let world = plan(&upstream, 4).set("timeouts", "response_head", "\"400ms\"").start();
    let alice = world.key(TestUser::ALICE);
    let is_free = || eventually(|| under_way(&world) == 0.0);
    assert!(is_free());
    upstream.take();
    let never = Gate::default();

    let timed_out = hold(&world, &upstream, "/private/late", &alice.token, &never).response();
    assert_eq!(timed_out.expect("an answer").status, 504);
    assert!(is_free(), "after a timeout");

    for kept in [Ongoing::Events, Ongoing::WebSocket] {
        let (client, _gate) = open(&world, &upstream, "/private/open", kept, &alice.token);
        assert_eq!(under_way(&world), 1.0, "{kept:?}");
        client.reset();
        assert!(is_free(), "after {kept:?}");
    }
    upstream.take();

    let mut h2 = Connection::open(world.address());
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                  Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let acts = [Act::Send(events.into()), Act::Wait(never.clone())];
    upstream.answer("/public/events", Reply::acts(acts));
    let id = h2.request(&Head::get("/public/events"));
    assert!(h2.read_until(|state| state.stream(id).body == b"first"));
    assert_eq!(under_way(&world), 1.0);
    h2.send(reset(id, code::CANCEL));
    assert!(is_free(), "after a stream that was reset");

    // A client without a credential that reads no refusal holds no place.
    let mut starved = Connection::raw(world.address()).without_grants();
    starved.begin(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let ids = [0; 20].map(|_| starved.request(&Head::get("/private/x")));
    let is_answered = |state: &State| ids.iter().all(|id| state.stream(*id).status.is_some());
    assert!(starved.read_until(is_answered), "{:?}", starved.state);
    assert!(ids.iter().all(|id| starved.state.stream(*id).status == Some(401)));
    assert_eq!(under_way(&world), 0.0, "refusals that are not read");
    never.open();
}

#[test]
fn a_reload_changes_how_many_requests_may_be_under_way() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    upstream.take();
    let gate = Gate::default();
    let mut before = hold(&world, &upstream, "/public/held", "", &gate);
    assert_eq!(under_way(&world), 0.0, "what is not bounded is not counted");
    world.configure(&plan(&upstream, 1));
    world.reload();
    let mut held = hold(&world, &upstream, "/private/held", &alice.token, &gate);
    is_overloaded(&world.get_with("/private/x", &bob.token));
    world.configure(&plan(&upstream, 0));
    world.reload();
    assert_eq!(world.get_with("/private/x", &bob.token).status, 200);
    gate.open();
    assert_eq!(before.response().expect("an answer").status, 200);
    assert_eq!(held.response().expect("an answer").status, 200);
    assert!(eventually(|| under_way(&world) == 0.0));
}

#[test]
fn beyond_the_memory_limit_what_is_new_is_refused_until_there_is_less() {
    let upstream = Upstream::start();
    let unbounded = Plan::usual(&upstream).set("limits", "memory", "\"off\"");
    let world = unbounded.clone().start();
    let alice = world.key(TestUser::ALICE);
    upstream.take();
    let gate = Gate::default();
    let mut held = hold(&world, &upstream, "/private/held", &alice.token, &gate);
    let mut kept = world.client();
    assert_eq!(kept.ask(get("/public/x", "")).status, 200);
    assert_eq!(world.metric("keyward_memory_limit_bytes", ""), 0.0);

    // Less than any process takes.
    world.configure(&unbounded.clone().set("limits", "memory", "\"1MiB\""));
    world.reload();
    assert!(world.metric("keyward_memory_bytes", "") > 1_048_576.0);
    assert_eq!(world.metric("keyward_memory_limit_bytes", ""), 1_048_576.0);
    assert_eq!(world.metric("keyward_memory_exceeded", ""), 1.0);
    assert!(world.admin_text("/healthz").contains("limits.memory"));
    assert_eq!(world.ready(), Some(200), "it is no reason to be left out");
    is_overloaded(&kept.ask(get("/public/kept", "")));
    let cause = "keyward takes more memory than limits.memory";
    assert_eq!(world.access_line("/public/kept")["cause"], cause);
    let mut new = world.client();
    is_overloaded(&new.response().expect("an answer, unasked"));
    assert_eq!(new.rest().expect("the connection ends"), b"");
    assert!(world.metric("keyward_client_connections_refused_total", "") >= 1.0);
    gate.open();
    assert_eq!(held.response().expect("an answer").status, 200, "what is under way goes on");

    // More than any process takes.
    world.configure(&unbounded.set("limits", "memory", "\"512GiB\""));
    world.reload();
    assert_eq!(world.metric("keyward_memory_exceeded", ""), 0.0);
    assert_eq!(kept.ask(get("/public/x", "")).status, 200);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    assert_eq!(world.metric("keyward_memory_exceeded_total", ""), 1.0);
    let output = world.output();
    for words in ["takes more memory than limits.memory: new", "takes less memory again"] {
        assert_eq!(output.matches(words).count(), 1, "{words}");
    }
}

/// The allocator keeps what is freed, and hands it back in passing: that must not take requests,
/// which are refused.
#[test]
fn requests_are_served_again_soon_after_the_memory_is_free() {
    let upstream = Upstream::start();
    let large =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n{}", "x".repeat(4_000_000));
    upstream.answer("/public/large", Reply::bytes(large.as_bytes()));
    let plan = |memory: &str| Plan::usual(&upstream).set("limits", "memory", memory);
    let world = plan("\"off\"").start();
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    let taken = || world.metric("keyward_memory_bytes", "");
    let exceeded = || world.metric("keyward_memory_exceeded", "") == 1.0;
    let limit = (taken() / 1_048_576.0) as u64 + 40;
    world.configure(&plan(&format!("\"{limit}MiB\"")));
    world.reload();
    assert!(!exceeded());

    // Clients that do not read.
    let mut clients = Vec::new();
    let is_exceeded = eventually(|| {
        let mut client = world.client();
        client.send("GET /public/large HTTP/1.1\r\nHost: a.example\r\n\r\n");
        clients.push(client);
        exceeded()
    });
    assert!(is_exceeded, "{} of {limit} MiB with {} clients", taken() / 1_048_576.0, clients.len());
    assert_eq!(world.ready(), Some(200), "it is no reason to be left out");
    drop(clients);
    assert!(eventually(|| world.metric("keyward_client_connections", "") <= 1.0));
    let since = Instant::now();
    // Seldom, so that the requests themselves are no reason for the allocator.
    while world.ask("GET", "/public/x", "", "").status != 200 {
        let late = lateness::is_over(since, Duration::from_secs(2));
        assert!(!late, "{} of {limit} MiB, and nothing is open", taken() / 1_048_576.0);
        std::thread::park_timeout(Duration::from_millis(250));
    }
}

/// The times of bodies are short, and everything else is as always.
fn with_short_bodies(upstream: &Upstream) -> World {
    Plan::usual(upstream)
        .set("timeouts", "body", "\"400ms\"")
        .route("path = \"/packed/{*rest}\"\nupstream = \"app\"\npublic = true\ncompression = {}")
        .start()
}

/// A byte from time to time is no progress: a call has so long for its whole body.
#[test]
fn a_call_of_a_token_api_whose_body_drips_is_cut() {
    let upstream = Upstream::start();
    let world = with_short_bodies(&upstream);
    let alice = world.key(TestUser::ALICE);
    let path = world.api(TestUser::ALICE).path("/auth/issue-token");
    let mut client = world.client().with_timeout(Duration::from_millis(50));
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n",
        alice.token
    ));
    let is_cut = eventually(|| client.try_send(b" ").is_err() || client.rest().is_ok());
    assert!(is_cut, "still open");
    let seen = String::from_utf8_lossy(client.seen()).into_owned();
    assert!(seen.starts_with("HTTP/1.1 408 "), "{seen}");
}

/// An event stream may be silent, and its client may not: over HTTP/2 as over HTTP/1.1.
#[test]
fn a_stream_whose_client_takes_nothing_is_cut_and_one_that_is_silent_is_not() {
    let upstream = Upstream::start();
    let never = Gate::default();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let large = format!("{head}186a0\r\n{}\r\n", "x".repeat(100_000));
    let one = format!("{head}9\r\ndata: 1\n\n\r\n");
    for (path, begins) in
        [("/public/large", large), ("/public/silent", one.clone()), ("/packed/silent", one)]
    {
        let acts = [Act::Send(begins.into()), Act::Wait(never.clone())];
        upstream.answer(path, Reply::acts(acts));
    }
    let world = with_short_bodies(&upstream);
    let mut silent = Connection::open(world.address());
    let kept = ["/public/silent", "/packed/silent"]
        .map(|path| silent.request(&Head::get(path).with("accept-encoding", "gzip")));
    for id in kept {
        assert!(silent.read_until(|state| !state.stream(id).body.is_empty()));
    }
    assert!(silent.state.stream(kept[1]).fields.has("content-encoding"));
    // Some bytes and then nothing, nothing at all, and a byte from time to time.
    for (window, grants) in [(1000, false), (0, false), (1, true)] {
        let mut connection = Connection::raw(world.address()).without_grants();
        connection.begin(&[(setting::INITIAL_WINDOW_SIZE, window)]);
        let id = connection.next_id();
        connection.send(Head::get("/public/large").frame(id, flag::WHOLE));
        let is_cut = eventually(|| {
            if grants {
                connection.send(window_update(id, 1));
            }
            connection.glance();
            connection.state.is_over(id)
        });
        assert!(is_cut, "with a window of {window}: {:?}", connection.state);
        assert!(connection.state.stream(id).reset.is_some());
    }
    silent.glance();
    assert!(kept.iter().all(|id| !silent.state.is_over(*id)), "{:?}", silent.state);
    never.open();
}
