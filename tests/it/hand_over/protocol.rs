//! The messages of a hand-over, with a test in the place of the new process: it ends, hangs or says
//! what is not of the protocol at any step.

use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
use rustix::process::Signal;

use super::{fails, patient, private};
use crate::support::{TIMEOUT, TestUser, Upstream, World, eventually};

const HELLO: &str = "{\"hello\":{\"protocol\":1}}";

/// The other end of the protocol, to be cut at any step.
pub(super) struct Taker(UnixStream);

impl Taker {
    /// It has been offered everything, and reports nothing.
    pub(super) fn offered(world: &World) -> Self {
        let mut taker = Self::begin(world);
        taker.say(HELLO);
        taker.wait_for("offered");
        taker
    }

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
    let steps: [fn(&mut Taker); 7] = [
        |_| {},
        |taker| taker.say(HELLO),
        |taker| {
            taker.say(HELLO);
            taker.wait_for("offered");
        },
        |taker| {
            taker.say(HELLO);
            taker.wait_for("offered");
            taker.say("{\"ready\":{\"taken\":[0]}}");
            // From here on, the other process remembers nothing.
            taker.wait_for("go");
        },
        // What is not of the protocol.
        |taker| taker.say("[]"),
        |taker| taker.say("{\"hello\":{\"protocol\":99}}"),
        |taker| {
            taker.say(HELLO);
            taker.wait_for("offered");
            taker.say("{\"ready\":{\"taken\":[99]}}");
        },
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let mut taker = Taker::begin(&world);
        step(&mut taker);
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
    let first = Taker::offered(&world);
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
    let taker = Taker::offered(&world);
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
    let mut taker = Taker::offered(&world);
    world.signal(Signal::TERM);
    assert_eq!(world.ended().code(), Some(0), "{}", world.output());
    assert!(taker.hear().is_none(), "the connection has ended");
}

/// Its control thread stands still, for instance. One that says that it is at work is waited for.
#[test]
fn a_new_process_that_says_nothing_is_given_up_after_15_seconds() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let mut taker = Taker::begin(&world);
    taker.say("{\"hello\":{\"protocol\":1,\"reports\":true}}");
    taker.wait_for("offered");
    let begun = Instant::now();
    taker.say("{\"preparing\":{}}");
    let given_up = || world.output().contains("the new process has said nothing for 15 s");
    assert!(eventually(given_up), "{}", world.output());
    assert!(begun.elapsed() > Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(taker.hear().is_none(), "the connection has ended");
    world.take_over();
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}
