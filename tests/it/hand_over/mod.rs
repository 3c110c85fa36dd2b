//! `run --take-over`: another process takes the sockets over from the one that runs, and the one
//! that runs goes on if anything is wrong with that.

mod protocol;
mod refusals;

use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal};

use crate::support::redis::RedisServer;
use crate::support::{Client, Ongoing, Plan, TestUser, Upstream, World, eventually, issued, open};

const GET: &str = "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// What is open in the old process stays open as long as a test may take.
fn patient(upstream: &Upstream) -> Plan {
    Plan::usual(upstream).set("server", "shutdown_grace", "\"10m\"").set(
        "server",
        "tunnel_grace",
        "\"10m\"",
    )
}

fn private(token: &str) -> String {
    format!("GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n")
}

#[test]
fn another_process_serves_on_and_the_old_one_ends_by_itself() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let mut kept = world.client();
    assert_eq!(kept.ask(GET).status, 200);
    let mut silent = world.client();
    let first = world.pid();
    world.take_over();
    assert_ne!(world.pid(), first);
    assert_eq!(world.ready(), Some(200), "the admin address is taken over, too");
    // A connection stays with its process, which serves its next request and says that it is the
    // last.
    let last = kept.ask(GET);
    assert_eq!(
        (last.status, last.fields.one("connection").as_deref()),
        (200, Some("close")),
        "{last}"
    );
    assert_eq!(kept.rest().expect("the connection ends"), b"");
    assert_eq!(silent.ask(GET).status, 200, "the first request of a connection is answered");
    assert_eq!(world.status_with(&alice.token), 200, "the store is taken over");
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
    assert_eq!(world.status_with(&alice.token), 200);
    // The administrator's commands reach the new process.
    let bob = world.key(TestUser::BOB);
    assert_eq!(world.status_with(&bob.token), 200);
    assert!(world.folder().join("admin.sock").exists());
}

/// The old process has a connection that is idle when it is told: it is not closed at once, as a
/// request may be on its way, and it does not hold the end up for long.
#[test]
fn an_idle_connection_is_kept_for_some_seconds_and_does_not_delay_the_end_for_longer() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let mut idle = world.client();
    assert_eq!(idle.ask(GET).status, 200);
    world.take_over();
    assert_eq!(idle.rest().expect("the connection ends"), b"");
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
}

/// What is open keeps the old process alive; a revocation in the new one ends it there.
#[test]
fn a_revocation_in_either_process_holds_in_the_other_at_once() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = TestUser::ALICE;
    let [held, first, second, third] = [(); 4].map(|()| world.key(alice).token);
    let (mut tunnel, _gate) = open(&world, &upstream, "/private/ws", Ongoing::WebSocket, &held);
    let mut old: Vec<Client> = (0..3).map(|_| world.client()).collect();
    for client in &mut old {
        // Both processes have seen all tokens.
        for token in [&first, &second, &third] {
            assert_eq!(client.ask(private(token)).status, 200);
        }
    }
    world.take_over();
    for token in [&first, &second, &third] {
        assert_eq!(world.status_with(token), 200);
    }
    // In the old process, which has one request left for each of its connections.
    let revoke = format!(
        "POST {} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {first}\r\n\
         Content-Length: 0\r\n\r\n",
        world.api(alice).path("/auth/revoke")
    );
    let revoked = old[0].ask(revoke);
    assert_eq!((revoked.status, revoked.fields.one("connection").as_deref()), (200, Some("close")));
    assert_eq!(world.status_with(&first), 401, "the new process does not remember it");
    // In the new one.
    assert_eq!(world.api(alice).revoke(&second).status, 200);
    let refused = old[1].ask(private(&second));
    assert_eq!((refused.status, refused.fields.one("connection").as_deref()), (401, Some("close")));
    assert_eq!(old[2].ask(private(&third)).status, 200, "others are good in the old one");
    // What is open in the old process.
    assert_eq!(world.older_processes(), 1);
    assert_eq!(world.api(alice).revoke(&held).status, 200);
    let _ = tunnel.rest();
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
    // Alone again, the new process remembers, and forgets what is revoked.
    assert_eq!(world.status_with(&third), 200);
    assert_eq!(world.api(alice).revoke(&third).status, 200);
    assert_eq!(world.status_with(&third), 401);
}

#[test]
fn a_chain_of_processes_keeps_to_the_revocations_of_all() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = TestUser::ALICE;
    let [held, token, other] = [(); 3].map(|()| world.key(alice).token);
    let (mut tunnel, _gate) = open(&world, &upstream, "/private/ws", Ongoing::WebSocket, &held);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = world.client();
        assert_eq!(client.ask(private(&token)).status, 200);
        assert_eq!(client.ask(private(&other)).status, 200);
        clients.push(client);
        world.take_over();
    }
    assert_eq!(world.status_with(&token), 200);
    assert_eq!(world.api(alice).revoke(&token).status, 200);
    for client in &mut clients {
        // An old process may have closed its idle connections by now.
        if client.try_send(private(&token)).is_ok()
            && let Ok((answer, _)) = client.final_response("GET")
        {
            assert_eq!(answer.status, 401, "{answer}");
        }
    }
    assert_eq!(world.status_with(&other), 200);
    assert_eq!(world.api(alice).revoke(&held).status, 200);
    let _ = tunnel.rest();
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
}

/// The admin socket is older than the process that has it.
#[test]
fn each_process_of_a_chain_is_named_by_its_own_id() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let said = |words: &str, process: Pid| {
        let process = format!("\"process\":{}", process.as_raw_nonzero());
        world.output().lines().any(|line| line.contains(words) && line.contains(&process))
    };
    for _ in 0..3 {
        let old = world.pid();
        world.take_over();
        let new = world.pid();
        assert!(said("\"taken over\"", old), "{}", world.output());
        assert!(said("another process has taken over", new), "{}", world.output());
        let has_ended = || said("the process before has ended", old);
        assert!(eventually(has_ended), "{}", world.output());
    }
    let _taker = protocol::Taker::offered(&world);
    assert_eq!(fails(&world).code(), Some(1));
    let refused = format!("process {} does not hand over", world.pid().as_raw_nonzero());
    assert!(world.output().contains(&refused), "{refused}: {}", world.output());
}

#[test]
fn with_redis_the_new_process_joins_the_fleet_and_the_old_one_leaves_it() {
    let (upstream, redis) = (Upstream::start(), RedisServer::start());
    let world = patient(&upstream).redis(&redis.url()).start();
    let alice = TestUser::ALICE;
    let [first, second] = [(); 2].map(|()| world.key(alice).token);
    let mut old = world.client();
    assert_eq!(old.ask(private(&first)).status, 200);
    world.take_over();
    assert_eq!(world.status_with(&first), 200);
    assert_eq!(world.api(alice).revoke(&first).status, 200);
    let refused = old.ask(private(&first));
    assert_eq!((refused.status, refused.fields.one("connection").as_deref()), (401, Some("close")));
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
    assert_eq!(world.status_with(&second), 200);
    assert_eq!(world.api(alice).revoke(&second).status, 200);
    assert_eq!(world.status_with(&second), 401);
}

#[test]
fn without_a_keyward_to_take_over_from_it_starts_as_usual() {
    let upstream = Upstream::start();
    let world = patient(&upstream).prepare();
    let mut alone = world.command(&[]).arg("--take-over").spawn().expect("the binary starts");
    assert!(eventually(|| world.ready() == Some(200)), "{}", world.output());
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    let _ = alone.kill();
    let _ = alone.wait();
}

/// Tries to take over; the process ends by itself.
pub(crate) fn fails(world: &World) -> ExitStatus {
    let mut next = world.command(&[]).arg("--take-over").spawn().expect("the binary starts");
    let mut status = None;
    let ended = eventually(|| {
        status = next.try_wait().expect("our child can be waited for");
        status.is_some()
    });
    if !ended {
        let _ = next.kill();
    }
    status.unwrap_or_else(|| panic!("it has ended:\n{}", world.output()))
}

/// Both processes change the database at once, and a crash of both loses nothing.
#[test]
fn what_both_processes_have_written_is_there_after_a_crash_of_both() {
    const CHANGES: usize = 40;
    let upstream = Upstream::start();
    let mut world = patient(&upstream).set("store", "timeout", "\"10s\"").start();
    let alice = TestUser::ALICE;
    let first = world.key(alice).token;
    let mut old: Vec<Client> = (0..CHANGES).map(|_| world.client()).collect();
    for client in &mut old {
        assert_eq!(client.ask(GET).status, 200);
    }
    let issue = format!(
        "POST {} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {first}\r\n\
         Content-Length: 0\r\n\r\n",
        world.api(alice).path("/auth/issue-token")
    );
    world.take_over();
    let (world_now, issue) = (&world, &issue);
    let made: Vec<String> = std::thread::scope(|scope| {
        let of_old = old.iter_mut().map(|client| {
            scope.spawn(move || {
                let answer = client.ask(issue);
                assert_eq!(
                    answer.fields.one("connection").as_deref(),
                    Some("close"),
                    "of the old process"
                );
                issued(&answer).token
            })
        });
        let of_new =
            (0..CHANGES).map(|_| scope.spawn(move || issued(&world_now.client().ask(issue)).token));
        let all: Vec<_> = of_old.chain(of_new).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    world.kill();
    world.restart();
    assert_eq!(made.len(), 2 * CHANGES);
    for token in made.iter().chain([&first]) {
        assert_eq!(world.status_with(token), 200);
    }
}

#[test]
fn a_listener_on_a_unix_socket_is_taken_over_and_its_file_stays() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.sock");
    let plan = |mode: &str| {
        let listener = format!("address = \"unix:{}\"\nmode = \"{mode}\"", path.display());
        patient(&upstream).table("listener", &listener)
    };
    let mode = || std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
    let mut world = plan("0660").start();
    assert_eq!(mode(), 0o660);
    world.configure(&plan("0600"));
    assert_eq!(Client::connect_unix(&path).ask(GET).status, 200);
    world.take_over();
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
    assert_eq!(Client::connect_unix(&path).ask(GET).status, 200);
    assert_eq!(mode(), 0o600, "as the new process has it in its configuration");
    world.take_over();
    assert_eq!(Client::connect_unix(&path).ask(GET).status, 200);
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
    world.stop();
    assert!(!path.exists(), "the last process removes it");
}

/// The new configuration has other listeners.
#[test]
fn listeners_that_are_new_are_bound_and_those_that_are_gone_are_closed() {
    let upstream = Upstream::start();
    let free = || {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.local_addr().expect("it is bound")
    };
    let (gone, new) = (free(), free());
    let listener = |address| format!("address = \"{address}\"");
    let world = patient(&upstream).table("listener", &listener(gone)).start();
    assert_eq!(Client::connect(gone).ask(GET).status, 200);
    world.configure(&patient(&upstream).table("listener", &listener(new)));
    world.take_over();
    assert_eq!(Client::connect(new).ask(GET).status, 200);
    assert!(eventually(|| Client::try_connect(gone).is_none()), "it is closed");
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

/// As an operator of nginx does it.
#[test]
fn sigusr2_starts_the_program_anew_and_has_it_take_over() {
    let upstream = Upstream::start();
    let mut world = patient(&upstream).start();
    let first = world.pid();
    world.signal(Signal::USR2);
    assert!(eventually(|| world.output().contains("\"taken over\"")), "{}", world.output());
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    assert_eq!(world.ended().code(), Some(0), "the first one ends");
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    // No child of ours: it is asked who it is.
    let status = world.admin_socket_get("/v1/status");
    let second = status["pid"].as_i64().expect("a process id");
    assert_ne!(i64::from(first.as_raw_nonzero().get()), second);
    let second = rustix::process::Pid::from_raw(i32::try_from(second).expect("an id"));
    let second = second.expect("an id");
    rustix::process::kill_process(second, Signal::TERM).expect("it runs");
    assert!(eventually(|| world.ready().is_none()), "{}", world.output());
}
