//! keyward as a service of systemd: sockets that are passed to it, and what it tells.
//!
//! The parent is `systemd-socket-activate`, where the system has it, and a small one of our own,
//! which passes what that cannot: Unix sockets with names, and what is no listening socket.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::redis::{RedisServer, free_port};
use crate::support::{Client, Plan, Upstream, World, eventually};

const GET: &str = "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A keyward that a service manager has started.
struct Service(Child);

impl Service {
    /// With these sockets. A shell puts them where they are expected, and says whose they are.
    fn start(world: &World, sockets: Vec<OwnedFd>, variables: &[(&str, &str)]) -> Self {
        let own = world.command(&[]);
        let mut moves = String::new();
        // First out of the way, so that none is put over another one.
        for (number, socket) in sockets.iter().enumerate() {
            fcntl_setfd(socket, FdFlags::empty()).expect("it is inherited");
            moves.push_str(&format!("exec {}<&{}\n", 60 + number, socket.as_raw_fd()));
        }
        for number in 0..sockets.len() {
            moves.push_str(&format!("exec {}<&{from} {from}<&-\n", 3 + number, from = 60 + number));
        }
        let arguments: Vec<_> =
            own.get_args().map(|word| word.to_str().expect("UTF-8").to_owned()).collect();
        let script =
            format!("{moves}export LISTEN_FDS={} LISTEN_PID=$$\nexec \"$0\" \"$@\"", sockets.len());
        let output = |name: &str| {
            let path = world.folder().join(name);
            std::fs::File::options().create(true).append(true).open(path).expect("an output file")
        };
        let child = Command::new("bash")
            .arg("-c")
            .arg(script)
            .arg(own.get_program())
            .args(arguments)
            .current_dir(world.folder())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("a shell");
        // The sockets of this process go; the service has its own.
        drop(sockets);
        Self(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed()).expect("an id")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our child can be signalled");
    }

    fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        assert!(eventually(|| {
            status = self.0.try_wait().expect("our child can be waited for");
            status.is_some()
        }));
        status.and_then(|status| status.code())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a service manager hears.
struct Notices(UnixDatagram);

impl Notices {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        Self(socket)
    }

    /// The next message with these words.
    fn wait_for(&self, words: &str) -> String {
        let (mut heard, mut found) = (Vec::new(), None);
        let is_found = eventually(|| {
            let mut buffer = [0; 4096];
            match self.0.recv(&mut buffer) {
                Ok(length) => heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
            found = heard.iter().find(|message| message.contains(words)).cloned();
            found.is_some()
        });
        assert!(is_found, "{words:?} in {heard:?}");
        found.unwrap_or_default()
    }
}

fn tcp(address: SocketAddr) -> OwnedFd {
    TcpListener::bind(address).expect("a free address").into()
}

#[test]
fn sockets_that_are_passed_are_used_for_the_listeners_with_their_addresses() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.sock");
    let unix = UnixListener::bind(&path).expect("bound");
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&path, mode).expect("chmod");
    let beside = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let world = Plan::usual(&upstream)
        .table("listener", &format!("address = \"unix:{}\"", path.display()))
        .table("listener", &format!("address = \"{beside}\""))
        .prepare();
    let sockets = vec![tcp(world.address()), unix.into(), tcp(world.admin_address())];
    // They are listened on before keyward is there: a client waits for it.
    let mut early = Client::connect(world.address());
    early.send(GET);
    let mut service = Service::start(&world, sockets, &[]);
    assert_eq!(early.response().expect("an answer").status, 200);
    assert_eq!(Client::connect_unix(&path).ask(GET).status, 200);
    assert_eq!(Client::connect(beside).ask(GET).status, 200, "bound by keyward itself");
    assert!(eventually(|| world.ready() == Some(200)));
    service.signal(Signal::TERM);
    assert_eq!(service.ended(), Some(0), "{}", world.output());
    assert!(path.exists(), "the file is the service manager's");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_socket_that_no_listener_has_is_said_and_kept_for_a_reload() {
    let upstream = Upstream::start();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound");
    let plan = || Plan::usual(&upstream);
    let with_other = || plan().table("listener", &format!("address = \"{address}\""));
    let world = plan().prepare();
    let service = Service::start(&world, vec![tcp(world.address()), other.into()], &[]);
    assert!(eventually(|| world.ready() == Some(200)), "{}", world.output());
    assert!(
        world.output().contains(&format!("systemd listens on {address} for keyward")),
        "{}",
        world.output()
    );
    let reload = |plan: &Plan| {
        let count = || world.metric("keyward_config_reloads_total", "outcome=\"done\"");
        let before = count();
        world.configure(plan);
        service.signal(Signal::HUP);
        assert!(eventually(|| count() > before), "{}", world.output());
    };
    // A client that has connected meanwhile is served as soon as there is a listener.
    let mut waiting = Client::connect(address);
    waiting.send(GET);
    for _ in 0..3 {
        reload(&with_other());
        assert_eq!(waiting.response().expect("an answer").status, 200);
        assert_eq!(Client::connect(address).ask(GET).status, 200);
        reload(&plan());
        waiting = Client::connect(address);
        waiting.send(GET);
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
}

#[test]
fn a_socket_that_cannot_be_listened_on_is_refused_in_words() {
    let upstream = Upstream::start();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (connected, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    for socket in [OwnedFd::from(datagrams), OwnedFd::from(connected)] {
        let world = Plan::usual(&upstream).prepare();
        let mut service = Service::start(&world, vec![socket], &[("LISTEN_FDNAMES", "odd.socket")]);
        assert_eq!(service.ended(), Some(1), "{}", world.output());
        assert!(
            world.output().contains("a socket that keyward cannot listen on")
                && world.output().contains("odd.socket"),
            "{}",
            world.output()
        );
    }
}

/// The program of systemd itself, where the system has it.
#[test]
fn systemd_socket_activate_passes_its_sockets() {
    let program = "/usr/bin/systemd-socket-activate";
    if !Path::new(program).exists() {
        return;
    }
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).prepare();
    let own = world.command(&[]);
    let child = Command::new(program)
        .arg(format!("--listen={}", world.address()))
        .arg("--fdname=web")
        .arg(own.get_program())
        .args(own.get_args())
        .current_dir(world.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let _service = Service(child);
    // It starts keyward when a client connects.
    let mut client = None;
    assert!(eventually(|| {
        client = Client::try_connect(world.address());
        client.is_some()
    }));
    let mut client = client.expect("a connection");
    assert_eq!(client.ask(GET).status, 200);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

#[test]
fn the_service_manager_is_told_of_the_start_reloads_and_the_end() {
    let upstream = Upstream::start();
    let plan = || Plan::usual(&upstream);
    let world = plan().prepare();
    let path = world.folder().join("notify.sock");
    let notices = Notices::at(&path);
    let path = path.to_str().expect("UTF-8");
    let variables = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "400000")];
    let mut service = Service::start(&world, Vec::new(), &variables);
    let started = notices.wait_for("READY=1");
    assert!(started.contains("STATUS=serving"), "{started}");
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "it is ready when it says so");
    for _ in 0..3 {
        notices.wait_for("WATCHDOG=1");
    }
    service.signal(Signal::HUP);
    let reloading = notices.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    notices.wait_for("READY=1");
    world.configure_raw("nonsense = [");
    service.signal(Signal::HUP);
    notices.wait_for("RELOADING=1");
    let refused = notices.wait_for("READY=1");
    assert!(refused.contains("STATUS=serving; the new configuration was refused: "), "{refused}");
    service.signal(Signal::TERM);
    notices.wait_for("STOPPING=1");
    assert_eq!(service.ended(), Some(0), "{}", world.output());
}

/// `systemctl status` shows what `/readyz` says.
#[test]
fn the_service_manager_is_told_why_keyward_is_not_ready() {
    let upstream = Upstream::start();
    let port = free_port();
    let plan = || {
        Plan::usual(&upstream).set("store", "kind", "\"redis\"").set(
            "store",
            "url",
            &format!("\"redis://127.0.0.1:{port}\""),
        )
    };
    let world = plan().prepare();
    let path = world.folder().join("notify.sock");
    let notices = Notices::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))];
    let service = Service::start(&world, Vec::new(), &variables);
    notices.wait_for("READY=1");
    let away = "STATUS=serving, but not ready: store unavailable";
    notices.wait_for(away);
    // After a reload, too, whatever becomes of it.
    service.signal(Signal::HUP);
    let reloaded = notices.wait_for("READY=1");
    assert!(reloaded.contains(away), "{reloaded}");
    world.configure_raw("nonsense = [");
    service.signal(Signal::HUP);
    let refused = notices.wait_for("READY=1");
    assert!(refused.contains(away) && refused.contains("configuration was refused"), "{refused}");
    world.configure(&plan());
    service.signal(Signal::HUP);
    notices.wait_for("READY=1");
    let mut redis = RedisServer::start_as(false, port, "");
    assert_eq!(notices.wait_for("STATUS=").trim_end(), "STATUS=serving");
    redis.kill();
    notices.wait_for(away);
}

/// The main process says which one is it from now on, and the sockets of the service manager go
/// along.
#[test]
fn a_hand_over_within_a_service_takes_its_sockets_and_its_place() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).prepare();
    let path = world.folder().join("notify.sock");
    let notices = Notices::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))];
    let mut service = Service::start(&world, vec![tcp(world.address())], &variables);
    notices.wait_for("READY=1");
    let mut kept = world.client();
    assert_eq!(kept.ask(GET).status, 200);
    service.signal(Signal::USR2);
    let said = notices.wait_for("MAINPID=");
    let process = said.lines().find_map(|line| line.strip_prefix("MAINPID="));
    let process = process.and_then(|id| Pid::from_raw(id.parse().ok()?)).expect("an id");
    assert_ne!(process, service.pid());
    notices.wait_for("READY=1");
    assert_eq!(kept.ask(GET).fields.one("connection").as_deref(), Some("close"));
    assert_eq!(service.ended(), Some(0), "{}", world.output());
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    kill_process(process, Signal::TERM).expect("it runs");
    notices.wait_for("STOPPING=1");
    assert!(eventually(|| Client::try_connect(world.address()).is_none()), "{}", world.output());
}
