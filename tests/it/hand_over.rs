//! `run --take-over`: another process takes the sockets over from the one that runs, and the one
//! that runs goes on if anything is wrong with that.

use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
use rustix::process::Signal;

use crate::support::redis::RedisServer;
use crate::support::{
    Client, Ongoing, Plan, TIMEOUT, TestUser, Upstream, World, eventually, issued, open,
};

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
fn fails(world: &World) -> ExitStatus {
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

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_as_it_was() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let mut kept = world.client();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("address = \"{}\"", taken.local_addr().expect("it is bound"));
    let cases = [
        (patient(&upstream).set("server", "workers", "-1"), "workers"),
        (patient(&upstream).table("listener", &taken), "another program has port"),
        (patient(&upstream).set("log", "access", "\"/nowhere/access.log\""), "/nowhere"),
        (patient(&upstream).set("store", "path", "\"other.db\""), "is not that of the keyward"),
        (patient(&upstream).redis("redis://127.0.0.1:1"), "[store] is another one"),
    ];
    for (plan, words) in cases {
        world.configure(&plan);
        assert_eq!(fails(&world).code(), Some(1), "{words}: {}", world.output());
        assert!(world.output().contains(words), "{words}: {}", world.output());
        let answer = kept.ask(private(&alice.token));
        assert_eq!(
            (answer.status, answer.fields.one("connection").as_deref()),
            (200, None),
            "{answer}"
        );
        assert_eq!(world.status_with(&alice.token), 200);
    }
    // Nothing is left of the attempts.
    world.configure(&patient(&upstream));
    world.take_over();
    assert_eq!(world.status_with(&alice.token), 200);
    drop(kept);
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
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

/// The other end of the protocol, to be cut at any step.
struct Taker(UnixStream);

impl Taker {
    fn begin(world: &World) -> Self {
        let mut stream =
            UnixStream::connect(world.folder().join("admin.sock")).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("set");
        stream
            .write_all(
                b"POST /v1/hand-over HTTP/1.1\r\nHost: keyward\r\nConnection: upgrade\r\n\
                  Upgrade: keyward-hand-over\r\n\r\n",
            )
            .expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    fn say(&mut self, message: &str) {
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        self.0.write_all(&[&length[..], message.as_bytes()].concat()).expect("sent");
    }

    /// The next message; its file descriptors are closed.
    fn hear(&mut self) -> Option<String> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.fill(&mut body)?;
        Some(String::from_utf8(body).expect("JSON"))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [IoSliceMut::new(&mut buffer[filled..])];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&self.0, &mut bytes, &mut ancillary, flags) {
                Ok(received) if received.bytes > 0 => filled += received.bytes,
                _ => return None,
            }
        }
        Some(())
    }

    /// Hears messages up to this one.
    fn wait_for(&mut self, message: &str) {
        loop {
            let heard = self.hear().expect("a message");
            if heard.contains(message) {
                return;
            }
        }
    }
}

#[test]
fn a_new_process_that_ends_at_any_step_leaves_the_old_one_as_it_was() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = TestUser::ALICE;
    let token = world.key(alice).token;
    let mut kept = world.client();
    let hello = "{\"hello\":{\"protocol\":1}}";
    let steps: [fn(&mut Taker, &str); 7] = [
        |_, _| {},
        |taker, hello| taker.say(hello),
        |taker, hello| {
            taker.say(hello);
            taker.wait_for("offered");
        },
        |taker, hello| {
            taker.say(hello);
            taker.wait_for("offered");
            taker.say("{\"ready\":{\"taken\":[0]}}");
            // From here on, the other process remembers nothing.
            taker.wait_for("go");
        },
        // What is not of the protocol.
        |taker, _| taker.say("[]"),
        |taker, _| taker.say("{\"hello\":{\"protocol\":99}}"),
        |taker, hello| {
            taker.say(hello);
            taker.wait_for("offered");
            taker.say("{\"ready\":{\"taken\":[99]}}");
        },
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let mut taker = Taker::begin(&world);
        step(&mut taker, hello);
        assert_eq!(world.status_with(&token), 200, "step {number}");
        drop(taker);
        let said = || world.output().matches("does not take over; this one goes on").count();
        assert!(eventually(|| said() == number + 1), "step {number}: {}", world.output());
        let answer = kept.ask(private(&token));
        assert_eq!(
            (answer.status, answer.fields.one("connection").as_deref()),
            (200, None),
            "step {number}"
        );
        // It remembers tokens again, and forgets what is revoked.
        let other = world.key(alice).token;
        assert_eq!(world.status_with(&other), 200);
        assert_eq!(world.api(alice).revoke(&other).status, 200);
        assert_eq!(world.status_with(&other), 401, "step {number}");
        world.reload();
    }
    world.take_over();
    assert_eq!(world.status_with(&token), 200);
}

#[test]
fn of_two_that_take_over_at_once_the_second_is_refused() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let mut first = Taker::begin(&world);
    first.say("{\"hello\":{\"protocol\":1}}");
    first.wait_for("offered");
    assert_eq!(fails(&world).code(), Some(1));
    assert!(world.output().contains("another process is taking over"), "{}", world.output());
    drop(first);
    assert!(eventually(|| world.output().contains("this one goes on")));
    world.take_over();
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

/// A signal to reload that comes while another process takes over is not lost.
#[test]
fn a_reload_waits_for_the_outcome_of_a_hand_over() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let mut taker = Taker::begin(&world);
    taker.say("{\"hello\":{\"protocol\":1}}");
    taker.wait_for("offered");
    world
        .configure(&patient(&upstream).route("path = \"/new\"\nupstream = \"app\"\npublic = true"));
    world.signal(Signal::HUP);
    drop(taker);
    assert!(eventually(|| world.ask("GET", "/new", "", "").status == 200), "{}", world.output());
}

#[test]
fn a_keyward_that_is_told_to_stop_during_a_hand_over_stops() {
    let upstream = Upstream::start();
    let mut world = patient(&upstream).start();
    let mut taker = Taker::begin(&world);
    taker.say("{\"hello\":{\"protocol\":1}}");
    taker.wait_for("offered");
    world.signal(Signal::TERM);
    assert_eq!(world.ended().code(), Some(0), "{}", world.output());
    assert!(taker.hear().is_none(), "the connection has ended");
}

#[test]
fn a_keyward_that_is_stopping_hands_nothing_over_and_says_so_at_once() {
    let upstream = Upstream::start();
    let mut world = patient(&upstream).set("server", "shutdown_delay", "\"5m\"").start();
    world.signal(Signal::TERM);
    assert!(eventually(|| world.ready() == Some(503)), "/readyz says 503");
    assert_eq!(fails(&world).code(), Some(1));
    assert!(world.output().contains("keyward is stopping: start when it has ended"));
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "it serves to its end");
    assert!(eventually(|| {
        world.signal(Signal::TERM);
        world.has_ended()
    }));
    assert_eq!(world.ended().code(), Some(0));
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
