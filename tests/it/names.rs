//! Endpoints that are given by name: their addresses come from a server of names, and change while
//! keyward runs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;
use rustix::process::Signal;

use crate::hand_over::fails;
use crate::support::dns_server::{DnsServer, Says, addresses};
use crate::support::redis::free_port;
use crate::support::{Act, Client, Gate, Plan, Reply, Upstream, World, eventually};

/// Absolute, so that the search list of the machine plays no part.
const NAME: &str = "app.keyward.test";

/// Servers on one port of these addresses.
fn upstreams<const N: usize>(addresses: [&str; N]) -> [Upstream; N] {
    'ports: loop {
        let port = Upstream::start().address().port();
        let mut started = Vec::new();
        for address in addresses {
            let address = SocketAddr::new(address.parse().expect("an address"), port);
            match Upstream::try_start_at(address) {
                Some(upstream) => started.push(upstream),
                None => continue 'ports,
            }
        }
        let Ok(started) = started.try_into() else { panic!("one for each address") };
        return started;
    }
}

/// A plan for a name; `dns` and `lines`: more keys of both tables.
fn plan(server: SocketAddr, port: u16, dns: &[(&'static str, &str)], lines: &str) -> Plan {
    let mut plan = Plan::bare()
        .set("server", "workers", "2")
        .set("dns", "servers", &format!("[\"{server}\"]"))
        .set("dns", "min_ttl", "\"100ms\"")
        .set("dns", "timeout", "\"500ms\"");
    for (key, value) in dns {
        plan = plan.set("dns", key, value);
    }
    let upstream = format!("name = \"app\"\nendpoints = [\"http://{NAME}.:{port}\"]\n{lines}");
    plan.table("upstream", &upstream)
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn get(world: &World) -> u16 {
    world.ask("GET", "/public/x", "", "").status
}

fn requests(upstream: &Upstream) -> usize {
    upstream.take().requests.len()
}

fn counted(output: &str, words: &str) -> usize {
    output.matches(words).count()
}

#[test]
fn every_address_of_a_name_gets_its_share_and_no_request_asks_for_it() {
    let [one, two] = upstreams(["127.0.0.2", "127.0.0.3"]);
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2", "127.0.0.3"], 3600));
    let port = one.address().port();
    let world = plan(server.address(), port, &[], "preserve_host = false").start();
    for _ in 0..100 {
        assert_eq!(get(&world), 200);
    }
    let seen = one.take().requests;
    assert_eq!(seen[0].fields.one("host"), Some(format!("{NAME}.:{port}")));
    let shares = (seen.len(), requests(&two));
    assert!(shares.0.abs_diff(shares.1) <= 10, "{shares:?}");
    for ip in ["127.0.0.2", "127.0.0.3"] {
        let endpoint = format!("endpoint=\"{NAME}.:{port} ({ip})\"");
        assert_eq!(world.metric("keyward_upstream_endpoint_up", &endpoint), 1.0);
    }
    assert_eq!(server.asked(NAME), 1, "once per process, before the first request");
}

#[test]
fn addresses_come_and_go_without_a_lost_request_and_what_is_under_way_goes_on() {
    let [one, two] = upstreams(["127.0.0.2", "127.0.0.3"]);
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_vec();
    let slow = [Act::Send(answer), Act::Wait(gate.clone()), Act::Send(b"old".to_vec())];
    one.answer("/public/slow", Reply::acts(slow));
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    let lines = "ejection.slow_return = \"300ms\"";
    let world = plan(server.address(), one.address().port(), &[], lines).start();
    let mut client = world.client();
    client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(one.wait_until(|log| log.requests.len() == 1));
    let (done, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    failed.fetch_add(usize::from(get(&world) != 200), Ordering::SeqCst);
                    std::thread::park_timeout(Duration::from_millis(2));
                }
            });
        }
        // One is added, the other removed, and then all change at once.
        server.says(NAME, addresses(&["127.0.0.2", "127.0.0.3"], 0));
        assert!(two.wait_until(|log| log.requests.len() > 20), "{}", world.output());
        server.says(NAME, addresses(&["127.0.0.3"], 0));
        let leaves = |upstream: &Upstream| {
            eventually(|| {
                upstream.take();
                std::thread::park_timeout(Duration::from_millis(100));
                requests(upstream) == 0
            })
        };
        assert!(leaves(&one), "it gets no request any more");
        assert!(eventually(|| one.open_connections() == 1), "what was idle is closed");
        server.says(NAME, addresses(&["127.0.0.2"], 0));
        assert!(one.wait_until(|log| log.requests.len() > 20));
        assert!(leaves(&two));
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(failed.into_inner(), 0, "{}", world.output());
    gate.open();
    let (response, _) = client.final_response("GET").expect("a response");
    assert_eq!((response.status, response.text().as_str()), (200, "old"));
}

#[test]
fn what_waits_for_a_place_gets_that_of_an_address_that_comes() {
    let [one, two] = upstreams(["127.0.0.2", "127.0.0.3"]);
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold".to_vec();
    one.answer("/public/slow", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer)]));
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    let lines = "max_requests = 1\nqueue = 50\nqueue_timeout = \"1h\"\n\
                 ejection.slow_return = \"0s\"";
    let world = plan(server.address(), one.address().port(), &[], lines).start();
    let ask = |path: &str| {
        let mut client = world.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client
    };
    let mut holder = ask("/public/slow");
    assert!(one.wait_until(|log| log.requests.len() == 1));
    let mut waiting: Vec<_> = (0..10).map(|_| ask("/public/x")).collect();
    assert!(eventually(|| world.metric("keyward_upstream_waiting", "") == 10.0));
    server.says(NAME, addresses(&["127.0.0.2", "127.0.0.3"], 0));
    for client in &mut waiting {
        let (response, _) = client.final_response("GET").expect("a response");
        assert_eq!(response.status, 200, "{}", world.output());
    }
    assert_eq!((requests(&one), requests(&two)), (1, 10));
    gate.open();
    assert_eq!(holder.final_response("GET").expect("a response").0.status, 200);
}

#[test]
fn connections_to_addresses_that_stay_are_kept_and_a_new_one_begins_with_a_small_share() {
    let [one, two] = upstreams(["127.0.0.2", "127.0.0.3"]);
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    let lines = "idle_timeout = \"1h\"\nejection.slow_return = \"1h\"";
    let plan = plan(server.address(), one.address().port(), &[], lines);
    let world = plan.set("server", "workers", "1").start();
    assert_eq!(get(&world), 200);
    server.says(NAME, addresses(&["127.0.0.2", "127.0.0.3"], 0));
    let endpoints = || world.metric("keyward_upstream_endpoint_up", "");
    assert!(eventually(|| endpoints() == 2.0), "{}", world.output());
    for _ in 0..200 {
        assert_eq!(get(&world), 200);
    }
    assert_eq!(one.connections(), 1, "the connection from before is still in use");
    let share = requests(&two);
    assert!(share < 50, "{share} of 200");
}

#[test]
fn while_no_server_of_names_answers_the_addresses_stay_also_through_a_reload() {
    let [one] = upstreams(["127.0.0.2"]);
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    let plan = || plan(server.address(), one.address().port(), &[("hold", "\"0s\"")], "");
    let world = plan().start();
    assert_eq!(get(&world), 200);
    for says in [Says::Nothing, Says::Code(ResponseCode::ServFail), Says::Garbage] {
        server.says(NAME, says.clone());
        let before = server.asked(NAME);
        assert!(eventually(|| server.asked(NAME) >= before + 2), "it is asked on");
        assert_eq!(get(&world), 200, "{says:?}");
    }
    world.configure(&plan().set("limits", "headers", "99"));
    world.reload();
    assert_eq!(get(&world), 200, "a reload forgets nothing");
    assert_eq!(counted(&world.output(), "the servers of names say nothing"), 1, "it is said once");
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    assert!(eventually(|| counted(&world.output(), "a name is answered for again") == 1));
}

#[test]
fn a_name_that_is_gone_keeps_its_addresses_for_a_while_and_then_the_answer_says_why() {
    let [one] = upstreams(["127.0.0.2"]);
    for (says, why) in [
        (Says::Code(ResponseCode::NXDomain), "NXDOMAIN"),
        (Says::Addresses(Vec::new(), 0), "it has no address"),
    ] {
        let server = DnsServer::start();
        server.says(NAME, addresses(&["127.0.0.2"], 0));
        let port = one.address().port();
        let world = plan(server.address(), port, &[("hold", "\"1500ms\"")], "").start();
        assert_eq!(get(&world), 200);
        server.says(NAME, says);
        assert!(eventually(|| counted(&world.output(), "a name has no address;") == 1));
        assert_eq!(get(&world), 200, "for a while they stay");
        let dropped = || counted(&world.output(), "a name has no address any more") == 1;
        assert!(eventually(dropped), "{}", world.output());
        assert_eq!(world.ask("GET", "/public/gone", "", "").status, 502);
        let cause = world.access_line("/public/gone")["cause"].to_string();
        assert!(cause.contains("cannot be resolved") && cause.contains(why), "{cause}");
        server.says(NAME, addresses(&["127.0.0.2"], 0));
        assert!(eventually(|| get(&world) == 200), "it returns by itself");
    }
}

#[test]
fn keyward_starts_without_an_answer_and_serves_once_there_is_one() {
    let [one] = upstreams(["127.0.0.2"]);
    let server = DnsServer::start();
    server.says(NAME, Says::Nothing);
    let world = plan(server.address(), one.address().port(), &[], "").start();
    assert_eq!(world.ask("GET", "/public/early", "", "").status, 502);
    let cause = world.access_line("/public/early")["cause"].to_string();
    assert!(cause.contains("cannot be resolved") && cause.contains("does not answer"), "{cause}");
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    assert!(eventually(|| get(&world) == 200), "{}", world.output());
}

#[test]
fn a_process_that_finds_no_address_of_a_name_leaves_it_to_the_one_that_has_one() {
    let [one] = upstreams(["127.0.0.2"]);
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    let world = plan(server.address(), one.address().port(), &[], "").start();
    assert_eq!(get(&world), 200);
    server.says(NAME, Says::Nothing);
    assert_eq!(fails(&world).code(), Some(1), "{}", world.output());
    assert!(world.output().contains("has no address now"), "{}", world.output());
    assert_eq!(get(&world), 200, "the old process goes on with what it knows");
}

#[test]
fn a_name_of_which_the_old_process_has_no_address_either_does_not_hold_a_hand_over_up() {
    let [one] = upstreams(["127.0.0.2"]);
    let server = DnsServer::start();
    server.says(NAME, Says::Nothing);
    let world = plan(server.address(), one.address().port(), &[], "").start();
    assert_eq!(get(&world), 502);
    world.take_over();
    assert_eq!(get(&world), 502);
    server.says(NAME, addresses(&["127.0.0.2"], 0));
    assert!(eventually(|| get(&world) == 200), "{}", world.output());
}

#[test]
fn a_name_that_a_reload_brings_has_its_addresses_when_it_is_in_force() {
    let [one] = upstreams(["127.0.0.2"]);
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 3600));
    let world = Plan::usual(&one).start();
    world.configure(&plan(server.address(), one.address().port(), &[], ""));
    world.reload();
    assert_eq!(get(&world), 200);
    assert_eq!(server.asked(NAME), 1);
}

/// A connection to it would wait for as long as the server of names does.
#[test]
fn a_listener_that_a_reload_brings_takes_no_connection_before_it_is_served() {
    let [one] = upstreams(["127.0.0.2"]);
    let server = DnsServer::start();
    server.says(NAME, Says::Nothing);
    let world = Plan::usual(&one).start();
    let new = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let with_name = plan(server.address(), one.address().port(), &[("timeout", "\"10s\"")], "");
    world.configure(&with_name.table("listener", &format!("address = \"{new}\"")));
    world.signal(Signal::HUP);
    assert!(eventually(|| server.asked(NAME) > 0), "the reload waits for an answer");
    let mut client = None;
    assert!(eventually(|| {
        client = Client::try_connect(new);
        client.is_some()
    }));
    let mut client = client.expect("a connection");
    let since = Instant::now();
    client.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.response().expect("an answer").status, 502, "the name has no address");
    assert!(since.elapsed() < Duration::from_secs(3), "served after {:?}", since.elapsed());
}

#[test]
fn an_address_that_takes_no_connection_makes_the_name_be_asked_for_before_its_time() {
    let [one, two] = upstreams(["127.0.0.2", "127.0.0.3"]);
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2"], 3600));
    let world = plan(server.address(), one.address().port(), &[], "").start();
    assert_eq!(get(&world), 200);
    server.says(NAME, addresses(&["127.0.0.3"], 3600));
    drop(one);
    assert!(eventually(|| get(&world) == 200), "{}", world.output());
    assert!(requests(&two) > 0);
}

#[test]
fn every_address_of_a_name_has_its_own_health_check() {
    let [one, two] = upstreams(["127.0.0.2", "127.0.0.3"]);
    let unwell = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    two.answer("/health", Reply::bytes(unwell));
    let server = DnsServer::start();
    server.says(NAME, addresses(&["127.0.0.2", "127.0.0.3"], 0));
    let lines = "health_check = { path = \"/health\", interval = \"100ms\", unhealthy_after = 1 }";
    let world = plan(server.address(), one.address().port(), &[], lines).start();
    let is_up = |ip: &str| world.metric("keyward_upstream_endpoint_up", &format!("({ip})"));
    assert!(eventually(|| is_up("127.0.0.3") == 0.0), "{}", world.output());
    assert_eq!(is_up("127.0.0.2"), 1.0);
    two.take();
    for _ in 0..20 {
        assert_eq!(get(&world), 200);
    }
    assert!(two.take().heads.iter().all(|target| target == "/health"));
}

#[test]
fn addresses_of_both_families_are_used_where_the_machine_has_both() {
    let port = Upstream::start().address().port();
    let v6 = SocketAddr::new("::1".parse().expect("an address"), port);
    let v4 = SocketAddr::new("127.0.0.1".parse().expect("an address"), port);
    let (Some(six), Some(four)) = (Upstream::try_start_at(v6), Upstream::try_start_at(v4)) else {
        return;
    };
    let server = DnsServer::start();
    server.says(NAME, addresses(&["::1", "127.0.0.1"], 3600));
    let world = plan(server.address(), port, &[], "").start();
    for _ in 0..20 {
        assert_eq!(get(&world), 200);
    }
    assert!(requests(&six) > 0 && requests(&four) > 0);
}

#[test]
fn a_configuration_is_validated_without_a_server_of_names() {
    let silent = DnsServer::start();
    let world = plan(silent.address(), 80, &[], "").prepare();
    let outcome = world.run(&["validate"]);
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(silent.asked(NAME), 0);
}
