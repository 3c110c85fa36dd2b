//! Listeners that share a port, and listeners that move: several addresses of one port are listened
//! on together, the most specific one takes the connection, and a reload hands a port over without
//! a refused connection.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::redis::free_port;
use crate::support::{Plan, TIMEOUT, Upstream, World, eventually};

const REFUSED: &str = "outcome=\"refused\"";
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A world whose listeners are these lines, each the rest of a `[[listener]]` after its address,
/// with `PORT` for its port.
fn listen(world: &World, plan: &Plan, listeners: &[&str]) {
    world.configure(plan);
    let path = world.folder().join("keyward.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let usual = format!("[[listener]]\naddress = \"{}\"\n", world.address());
    let port = world.address().port().to_string();
    let new: String =
        listeners.iter().map(|lines| format!("[[listener]]\naddress = {lines}\n")).collect();
    assert!(text.contains(&usual), "{text}");
    world.configure_raw(&text.replace(&usual, &new.replace("PORT", &port)));
}

/// One request on a connection of its own, in clear. An error is one of the connection.
fn ask(address: SocketAddr) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    status
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

fn is_served(world: &World, ip: IpAddr) -> bool {
    ask(SocketAddr::new(ip, world.address().port())).is_ok_and(|status| status == 200)
}

#[test]
fn both_families_and_specific_addresses_share_a_port_whatever_their_order() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    for listeners in [
        &["\"0.0.0.0:PORT\"", "\"[::]:PORT\""][..],
        &["\"[::]:PORT\"", "\"0.0.0.0:PORT\""],
        &["\"0.0.0.0:PORT\"", "\"127.0.0.1:PORT\"", "\"[::1]:PORT\"", "\"[::]:PORT\""],
        &["\"127.0.0.1:PORT\"", "\"[::]:PORT\""],
        &["\"[::]:PORT\""],
    ] {
        let mut world = plan.clone().prepare();
        listen(&world, &plan, listeners);
        let judged = world.run(&["validate"]);
        assert!(
            judged.status.success(),
            "{listeners:?}: {}",
            String::from_utf8_lossy(&judged.stderr)
        );
        world.restart();
        assert!(
            is_served(&world, V4) && is_served(&world, V6),
            "{listeners:?}: {}",
            world.output()
        );
    }
}

#[test]
fn the_most_specific_address_takes_the_connection() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    // A client of this one without a PROXY header is refused.
    let picky = "\nproxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.0/8\", \"::1\"]";
    for (specific, wild) in
        [("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "[::]"), ("0.0.0.0", "[::]"), ("[::1]", "[::]")]
    {
        let mut world = plan.clone().prepare();
        let (specific, wild) = (format!("\"{specific}:PORT\"{picky}"), format!("\"{wild}:PORT\""));
        for listeners in [[&*specific, &*wild], [&*wild, &*specific]] {
            listen(&world, &plan, &listeners);
            world.restart();
            let is_v6 = specific.starts_with("\"[::1]");
            let (to_specific, other) = if is_v6 { (V6, V4) } else { (V4, V6) };
            assert!(!is_served(&world, to_specific), "{listeners:?}");
            if wild.starts_with("\"[::]") {
                assert!(is_served(&world, other), "{listeners:?}");
            } else {
                assert!(
                    is_served(&world, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))),
                    "{listeners:?}"
                );
            }
            world.stop();
        }
    }
}

/// Asks again and again, each time on a new connection, until told to stop; every request must be
/// answered.
fn load(address: SocketAddr, over: &AtomicBool, served: &AtomicUsize) {
    while !over.load(Ordering::SeqCst) {
        match ask(address) {
            Ok(200) => served.fetch_add(1, Ordering::SeqCst),
            other => panic!("{address}: {other:?}"),
        };
    }
}

#[test]
fn a_listener_that_moves_refuses_no_connection() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().prepare();
    let port = world.address().port();
    let (loopback, all, both) = ("\"127.0.0.1:PORT\"", "\"0.0.0.0:PORT\"", "\"[::]:PORT\"");
    listen(&world, &plan, &[loopback]);
    let mut world = world;
    world.restart();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load(SocketAddr::new(V4, port), &over, &served));
        }
        let stop = Stop(&over);
        for _ in 0..3 {
            for listeners in [
                &[all][..],
                &[loopback],
                &[both],
                &[all],
                &[both],
                &[loopback],
                &[all, both],
                &[all, loopback],
                &[both, loopback],
                &[all],
                &[all, both, loopback],
                &[loopback],
            ] {
                listen(&world, &plan, listeners);
                world.reload();
                assert_eq!(
                    world.metric("keyward_config_reloads_total", REFUSED),
                    0.0,
                    "{}",
                    world.output()
                );
                let so_far = served.load(Ordering::SeqCst);
                assert!(
                    eventually(|| served.load(Ordering::SeqCst) > so_far + 20),
                    "{listeners:?}: load goes on"
                );
            }
        }
        drop(stop);
    });
    // What is not configured any more is closed, at the latest after the handshakes that had begun.
    assert!(eventually(|| ask(SocketAddr::new(V6, port)).is_err()), "{}", world.output());
    let other = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port);
    assert!(eventually(|| TcpStream::connect(other).is_err()), "{}", world.output());
    assert!(is_served(&world, V4));
}

/// Ends the load however the test ends: a panic must not leave threads that wait for it.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The first move lasts a second, because clients that had begun to connect are waited for.
#[test]
fn a_listener_moves_back_before_its_first_move_is_over() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let mut world = plan.clone().prepare();
    let all: &[&str] = &["\"0.0.0.0:PORT\"", "\"[::]:PORT\""];
    listen(&world, &plan, all);
    world.restart();
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for _ in 0..10 {
        for listeners in [&["\"127.0.0.1:PORT\""][..], all] {
            listen(&world, &plan, listeners);
            world.reload();
        }
        for ip in [V4, V6, other] {
            assert!(is_served(&world, ip), "{ip}: {}", world.output());
        }
    }
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 0.0, "{}", world.output());
    listen(&world, &plan, &["\"127.0.0.1:PORT\""]);
    world.reload();
    assert!(
        eventually(|| !is_served(&world, other) && !is_served(&world, V6)),
        "{}",
        world.output()
    );
    assert!(is_served(&world, V4));
}

/// The settings are those of the listener that is configured, through whichever socket a connection
/// comes.
#[test]
fn a_listener_that_moved_is_served_by_its_new_settings_at_once() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let picky = "\nproxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.0/8\", \"::1\"]";
    let mut world = plan.clone().prepare();
    listen(&world, &plan, &["\"127.0.0.1:PORT\""]);
    world.restart();
    assert!(is_served(&world, V4));
    listen(&world, &plan, &[&format!("\"0.0.0.0:PORT\"{picky}")]);
    world.reload();
    assert!(!is_served(&world, V4), "a PROXY header is required");
    listen(&world, &plan, &["\"0.0.0.0:PORT\""]);
    world.reload();
    assert!(is_served(&world, V4));
    listen(&world, &plan, &[&format!("\"127.0.0.1:PORT\"{picky}"), "\"[::]:PORT\""]);
    world.reload();
    assert!(!is_served(&world, V4) && is_served(&world, V6), "each by its own");
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 0.0, "{}", world.output());
}

/// A reload takes effect whole or not at all: of two new addresses, one of which is taken, none is
/// listened on.
#[test]
fn a_reload_that_moves_one_listener_and_cannot_have_another_moves_none() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let free = free_port();
    let new =
        ["\"0.0.0.0:PORT\"".to_owned(), format!("\"127.0.0.1:{free}\""), format!("\"{address}\"")];
    listen(&world, &plan, &new.each_ref().map(String::as_str));
    world.reload();
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 1.0);
    let words =
        format!("{address} cannot be listened on: another program has port {}", address.port());
    assert!(world.output().contains(&words), "{}", world.output());
    assert!(is_served(&world, V4));
    let other = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), world.address().port());
    assert!(TcpStream::connect(other).is_err(), "the wildcard is not listened on");
    assert!(TcpStream::connect(SocketAddr::new(V4, free)).is_err(), "nor is what was free");
    drop(taken);
    world.reload();
    assert_eq!(world.metric("keyward_config_reloads_total", REFUSED), 1.0, "{}", world.output());
    assert!(TcpStream::connect(other).is_ok() && TcpStream::connect(address).is_ok());
}

/// What is asked of the system while sockets change hands is not asked for longer: another program
/// is refused the port.
#[test]
fn a_port_that_changed_hands_is_not_shared_with_other_programs() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().start();
    listen(&world, &plan, &["\"0.0.0.0:PORT\"", "\"[::]:PORT\""]);
    world.reload();
    let port = world.address().port();
    for ip in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]"] {
        let address: SocketAddr = format!("{ip}:{port}").parse().expect("an address");
        let fault = std::net::TcpListener::bind(address).expect_err(ip);
        assert_eq!(fault.kind(), std::io::ErrorKind::AddrInUse, "{ip}");
    }
}
