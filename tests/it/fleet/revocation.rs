//! A revocation means it: when it is answered, no instance accepts the token, be an instance
//! stopped, killed or cut off.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::raw_client::RawClient;
use super::{Fleet, LEASE, percentiles, with_long_timeouts};
use crate::support::lateness::{between, slack, unless_held_up};
use crate::support::redis::RedisServer;
use crate::support::{Issued, Ongoing, Relay, TestUser, Upstream, Way, eventually, open};

const ALICE: TestUser = TestUser::ALICE;

fn rounds() -> usize {
    std::env::var("KEYWARD_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// Three instances, each with a client that keeps its connection.
struct RevocationBench {
    redis: RedisServer,
    fleet: Fleet,
    clients: Vec<RawClient>,
    root: String,
}

impl RevocationBench {
    fn start() -> Self {
        let redis = RedisServer::start();
        let fleet = Fleet::start(3, &redis);
        let clients = (0..3).map(|instance| fleet.client(instance)).collect();
        let root = fleet.root();
        Self { redis, fleet, clients, root }
    }

    fn mint(&mut self) -> Issued {
        let mut body = Vec::new();
        let status = unless_held_up(|| {
            let answer = self.clients[0]
                .call(ALICE, "POST", "/auth/issue-token", &self.root)
                .expect("an answer");
            body = answer.body;
            answer.status
        });
        assert_eq!(status, 200);
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let text = |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
        Issued { token: text("token"), jti: text("jti") }
    }

    /// A token that every instance remembers as good.
    fn warm(&mut self) -> Issued {
        let issued = self.mint();
        for instance in 0..self.clients.len() {
            assert_eq!(self.asks(instance, &issued.token), 200);
        }
        issued
    }

    fn asks(&mut self, instance: usize, token: &str) -> u16 {
        unless_held_up(|| self.clients[instance].get(token).expect("an answer").status)
    }

    /// Revokes on the first instance.
    fn revoke(&mut self, call: &str, token: &str) -> Revoked {
        let asked = Instant::now();
        let answer = self.clients[0].call(ALICE, "POST", call, token).expect("an answer");
        assert_eq!(answer.status, 200, "{call}");
        let answered = Instant::now();
        Revoked { took: answered - asked, slack: slack(asked, answered) }
    }
}

/// A revocation that was answered.
#[derive(Debug)]
struct Revoked {
    took: Duration,
    /// What it may have taken longer than it should.
    slack: Duration,
}

impl Revoked {
    fn is_within(&self, time: Duration) -> bool {
        self.took <= time + self.slack
    }
}

#[test]
fn what_is_revoked_on_one_instance_is_refused_by_the_very_next_request_on_the_others() {
    let mut bench = RevocationBench::start();
    let (mut own, mut by_id, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds() {
        for way in 0..3 {
            let victims: Vec<Issued> =
                (0..if way == 2 { 2 } else { 1 }).map(|_| bench.warm()).collect();
            let (victim, root) = (victims[0].clone(), bench.root.clone());
            let revoked = match way {
                0 => bench.revoke("/auth/revoke", &victim.token),
                1 => bench.revoke(&format!("/auth/revoke/{}", victim.jti), &root),
                _ => bench.revoke("/auth/revoke-all", &root),
            };
            for victim in &victims {
                for instance in [1, 2, 0] {
                    let status = bench.asks(instance, &victim.token);
                    assert_eq!(
                        status, 401,
                        "round {round}, way {way}, instance {instance}, {}",
                        victim.jti
                    );
                }
            }
            [&mut own, &mut by_id, &mut all][way].push(revoked.took);
        }
    }
    for (way, took) in [("revoke", own), ("revoke by id", by_id), ("revoke-all", all)] {
        let (middle, most) = percentiles(took);
        eprintln!("{way} with three instances: p50 {middle:?}, p99 {most:?}");
    }
}

#[test]
fn what_the_command_line_revokes_is_refused_by_the_very_next_request_on_the_others() {
    let mut bench = RevocationBench::start();
    // Each is a process of its own: fewer of them.
    for round in 0..rounds().div_ceil(10) {
        let victim = bench.warm();
        let output = bench.fleet.worlds[0].run(&["token", "revoke", &victim.jti]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for instance in [1, 2, 0] {
            assert_eq!(
                bench.asks(instance, &victim.token),
                401,
                "round {round}, instance {instance}"
            );
        }
    }
}

#[test]
fn a_stopped_instance_is_waited_for_once_as_long_as_its_lease_and_refuses_when_it_goes_on() {
    let mut bench = RevocationBench::start();
    let (first, second, other) = (bench.warm(), bench.warm(), bench.warm());
    let mut asking = bench.fleet.client(2);
    let began = Instant::now();
    bench.fleet.worlds[2].signal(Signal::STOP);
    let waited = bench.revoke("/auth/revoke", &first.token);
    let again = bench.revoke("/auth/revoke", &second.token);
    for victim in [&first, &second] {
        assert_eq!((bench.asks(0, &victim.token), bench.asks(1, &victim.token)), (401, 401));
    }
    // Asked while it is stopped, and so after the answers: it has to refuse when it goes on.
    for victim in [&first, &second] {
        asking.send(super::raw_client::get(&victim.token).as_bytes()).expect("the kernel takes it");
    }
    bench.fleet.worlds[2].signal(Signal::CONT);
    for _ in 0..2 {
        let status = asking.read_answer().expect("an answer").status;
        assert!(matches!(status, 401 | 503), "{status}");
    }
    let fleet = &bench.fleet;
    assert!(eventually(|| fleet.status(2, &other.token) == 200), "it serves again");
    assert_eq!((fleet.status(2, &first.token), fleet.status(2, &second.token)), (401, 401));
    eprintln!("revoke with a stopped instance: {waited:?}, then {again:?}");
    // An instance that was late with a heartbeat before it was stopped has less of its lease left.
    let late = between(began.checked_sub(LEASE).expect("the test is older"), began);
    assert!(
        waited.took + late >= LEASE / 2,
        "the stopped instance was not waited for: {waited:?}, {late:?}"
    );
    assert!(waited.is_within(LEASE), "waited {waited:?}");
    assert!(again.is_within(LEASE / 2), "waited again: {again:?}");
}

#[test]
fn a_killed_instance_is_waited_for_once() {
    let mut bench = RevocationBench::start();
    let victims: Vec<Issued> = (0..4).map(|_| bench.warm()).collect();
    bench.fleet.worlds[2].kill();
    let mut took = Vec::new();
    for victim in &victims {
        took.push(bench.revoke("/auth/revoke", &victim.token));
        assert_eq!((bench.asks(0, &victim.token), bench.asks(1, &victim.token)), (401, 401));
    }
    bench.fleet.worlds[2].restart();
    bench.clients[2].close();
    for victim in &victims {
        assert_eq!(bench.asks(2, &victim.token), 401);
    }
    eprintln!("revoke with a killed instance: {took:?}");
    assert!(took[0].is_within(LEASE), "{took:?}");
    assert!(took[1..].iter().all(|revoked| revoked.is_within(LEASE / 2)), "{took:?}");
}

/// An instance that stops in good order leaves the register, and is not waited for.
#[test]
fn an_instance_that_has_stopped_in_good_order_is_not_waited_for() {
    let mut bench = RevocationBench::start();
    let victim = bench.warm();
    bench.fleet.worlds[2].signal(Signal::TERM);
    bench.clients[2].close();
    assert!(bench.fleet.worlds[2].ended().success());
    let revoked = bench.revoke("/auth/revoke", &victim.token);
    assert!(revoked.is_within(LEASE / 2), "{revoked:?}");
}

#[test]
fn an_instance_that_is_cut_off_accepts_nothing_longer_than_its_lease_and_nothing_after_the_answer()
{
    let redis = RedisServer::start();
    for way in ["both ways", "from Redis", "to Redis", "with a reset"] {
        let relay = Relay::start(redis.address());
        let (direct, relayed) = (redis.url(), format!("redis://{}", relay.address()));
        let fleet = Fleet::start_with(&[&direct, &relayed], |plan| {
            plan.set("store", "prefix", &format!("\"{}\"", way.replace(' ', "-")))
        });
        let root = fleet.root();
        let (victim, other) = (fleet.mint(0, &root), fleet.mint(0, &root));
        fleet.warm(&victim);
        fleet.warm(&other);
        match way {
            "both ways" => relay.set_both(Way::Hold),
            "from Redis" => relay.set(Way::Pass, Way::Hold),
            "to Redis" => relay.set(Way::Hold, Way::Pass),
            _ => relay.cut(),
        }
        let cut = Instant::now();
        let (revoked, latest, latest_of_other) = std::thread::scope(|scope| {
            let revoking = scope.spawn(|| {
                let answer = fleet
                    .client(0)
                    .call(ALICE, "POST", "/auth/revoke", &victim.token)
                    .expect("an answer");
                assert_eq!(answer.status, 200);
                Instant::now()
            });
            let mut client = fleet.client(1);
            let (mut latest, mut latest_of_other) = (None, None);
            while cut.elapsed() < 3 * LEASE {
                for (token, latest) in [(&victim, &mut latest), (&other, &mut latest_of_other)] {
                    let began = Instant::now();
                    match client.get(&token.token).expect("an answer").status {
                        200 => *latest = Some(began),
                        503 => {}
                        // It learned of the revocation before it was cut off.
                        401 if token.jti == victim.jti => {}
                        status => panic!("{way}: {status}"),
                    }
                }
            }
            (revoking.join().expect("it is revoked"), latest, latest_of_other)
        });
        let bound = LEASE + slack(cut, revoked);
        let after = |moment: Option<Instant>| {
            moment.map(|moment| moment.duration_since(cut)).unwrap_or_default()
        };
        eprintln!(
            "cut off {way}: revoked after {:?}, last success {:?}, of another token {:?}, allowed \
             {LEASE:?} and {bound:?}",
            revoked.duration_since(cut),
            after(latest),
            after(latest_of_other)
        );
        assert!(latest.is_none_or(|latest| latest <= revoked), "{way}: a success after the answer");
        assert!(after(latest) <= LEASE && after(latest_of_other) <= LEASE, "{way}: too long");
        assert!(revoked.duration_since(cut) <= bound, "{way}: the answer took too long");
        relay.mend();
        if way != "both ways" {
            // As after a partition that lasted: the connections of before it are gone.
            relay.cut();
            relay.mend();
        }
        assert!(eventually(|| fleet.status(1, &other.token) == 200), "{way}: it serves again");
        assert_eq!(fleet.status(1, &victim.token), 401, "{way}");
    }
}

#[test]
fn a_record_that_is_deleted_by_hand_is_refused_everywhere_at_once() {
    let mut bench = RevocationBench::start();
    let (victim, other) = (bench.warm(), bench.warm());
    let pattern = bench.redis.command(&["KEYS", "{keyward}:r:*"]);
    let crate::support::redis::Reply::Array(before) = pattern else {
        panic!("no list: {pattern:?}")
    };
    assert!(before.len() >= 3, "the records of two tokens and of a bootstrap token: {before:?}");
    // The names of records do not say which token they are of: all are deleted, one by one.
    let deleted = Instant::now();
    for key in &before {
        bench.redis.command(&["DEL", &key.text()]);
    }
    for token in [&victim, &other] {
        for instance in 0..3 {
            let clients = &mut bench.clients;
            assert!(eventually(
                || clients[instance].get(&token.token).expect("an answer").status == 401
            ));
        }
    }
    let took = deleted.elapsed();
    let slack = slack(deleted, deleted + took);
    eprintln!("deleted by hand: refused everywhere after {took:?}");
    assert!(took <= Duration::from_millis(300) + slack, "{took:?}");
}

#[test]
fn what_is_open_on_another_instance_ends_within_a_second_of_the_revocation() {
    let redis = RedisServer::start();
    let upstream = Upstream::start();
    let address = upstream.address();
    let url = redis.url();
    let fleet = Fleet::start_with(&[&url, &url], |plan| {
        with_long_timeouts(plan)
            .upstream("open", address)
            .route("path = \"/open/{*rest}\"\nupstream = \"open\"\naccept = [\"jarvispy\"]")
    });
    let root = fleet.root();
    let (victim, other) = (fleet.mint(0, &root), fleet.mint(0, &root));
    let open = |path, kept, token: &str| open(&fleet.worlds[1], &upstream, path, kept, token);
    let (mut stream, stream_gate) = open("/open/events", Ongoing::Events, &victim.token);
    let (mut socket, socket_gate) = open("/open/socket", Ongoing::WebSocket, &victim.token);
    let (mut others, others_gate) = open("/open/others", Ongoing::WebSocket, &other.token);
    fleet.revoke(0, &victim.token);
    let revoked = Instant::now();
    for client in [&mut stream, &mut socket] {
        let _ = client.rest();
    }
    let took = revoked.elapsed();
    eprintln!("what was open on another instance ended after {took:?}");
    assert!(
        took < Duration::from_secs(1) + slack(revoked, revoked + took),
        "they ended after {took:?}"
    );
    stream_gate.open();
    socket_gate.open();
    others_gate.open();
    assert_eq!(others.exactly(4).expect("what the upstream says next"), b"more");
}

/// How long what is open may go on without an answer from Redis: as docs/fleet.md says.
const OPEN_WITHOUT_STORE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "takes half a minute: make soak"]
fn soak_what_is_open_goes_on_for_half_a_minute_without_redis_and_no_longer() {
    let redis = RedisServer::start();
    let upstream = Upstream::start();
    let address = upstream.address();
    let fleet = Fleet::start_with(&[&redis.url()], |plan| {
        plan.upstream("open", address)
            .route("path = \"/open/{*rest}\"\nupstream = \"open\"\naccept = [\"jarvispy\"]")
    });
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    let open = |path, kept| open(&fleet.worlds[0], &upstream, path, kept, &good.token);
    let (stream, _stream_gate) = open("/open/events", Ongoing::Events);
    let (socket, _socket_gate) = open("/open/socket", Ongoing::WebSocket);
    let (mut early, early_gate) = open("/open/early", Ongoing::WebSocket);
    let frozen = Instant::now();
    redis.freeze();
    // The fault's time, not a wait for anything.
    std::thread::sleep(OPEN_WITHOUT_STORE - 5 * LEASE);
    early_gate.open();
    assert_eq!(early.exactly(4).expect("it goes on"), b"more");
    for mut client in [stream, socket] {
        client = client.with_timeout(Duration::from_secs(20));
        let _ = client.rest().expect("it is closed");
        let took = frozen.elapsed();
        eprintln!("closed {took:?} after Redis fell silent");
        // The time counts from the last heartbeat, and what is open is looked at about once a
        // second.
        assert!(took > OPEN_WITHOUT_STORE - LEASE, "closed after {took:?}");
        let looked_at = Duration::from_secs(1) + slack(frozen, frozen + took);
        assert!(took < OPEN_WITHOUT_STORE + looked_at, "closed after {took:?}");
    }
    redis.thaw();
}
