//! Real Redis processes on free ports of the loopback interface. They end with the test, also when
//! it fails.
//!
//! This file and the folder of its name use nothing of the modules beside them, because the tests
//! of the library include this file by its path.

#[path = "redis/monitor.rs"]
mod monitor;
#[path = "redis/topologies.rs"]
mod topologies;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[allow(unused_imports, reason = "of the two programs that include this file, one uses it")]
pub(crate) use monitor::Monitor;
#[allow(unused_imports, reason = "of the two programs that include this file, one uses it")]
pub(crate) use topologies::{cluster, cluster_with_replicas, sentinels};

/// After this time a test fails because a server does not come up or does not answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server of its own: append-only file on, `noeviction`, nothing else changed.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    dir: TempDir,
    config: PathBuf,
    sentinel: bool,
    child: Option<Child>,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
}

impl Reply {
    /// Text of a simple or bulk string; of anything else, its `Debug`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    pub(crate) fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("no integer: {other:?}"),
        }
    }
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// With these lines added to its configuration.
    pub(crate) fn start_with(lines: &str) -> Self {
        Self::start_as(false, free_port(), lines)
    }

    /// As a sentinel, with these lines.
    pub(crate) fn start_sentinel(lines: &str) -> Self {
        Self::start_as(true, free_port(), lines)
    }

    /// On this port, which a client has been told already.
    pub(crate) fn start_as(sentinel: bool, port: u16, lines: &str) -> Self {
        let dir =
            in_memory().map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a folder");
        let config = dir.path().join("redis.conf");
        let mut text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nprotected-mode no\n",
            dir.path().display()
        );
        if !sentinel {
            text.push_str(
                "appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n",
            );
        }
        let _ = writeln!(text, "{lines}");
        fs::write(&config, text).expect("the configuration");
        let mut server = Self { port, dir, config, sentinel, child: None };
        server.spawn();
        server
    }

    fn spawn(&mut self) {
        let program = "redis-server";
        let log = fs::File::create(self.dir.path().join("log")).expect("a log");
        let child = Command::new(program)
            .arg(&self.config)
            .args(self.sentinel.then_some("--sentinel"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|fault| {
                panic!("{program} does not start ({fault}): `make test` installs it")
            });
        self.child = Some(child);
        let answers = holds_within(TIMEOUT, || {
            let ended = self
                .child
                .as_mut()
                .is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
            assert!(!ended, "redis ended: {}", self.log());
            // Any answer will do: with a password set it is an error.
            self.try_command(&[b"PING"]).is_ok()
        });
        assert!(answers, "redis did not come up: {}", self.log());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the server runs");
        Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid")
    }

    /// Stops answering, keeps its connections (SIGSTOP).
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("stopped");
    }

    /// Goes on (SIGCONT).
    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("continued");
    }

    /// SIGKILL, and waits for the end. Its files stay.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts again on the same port with the same files.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Starts again on the same port with no data.
    pub(crate) fn restart_empty(&mut self) {
        self.kill();
        for name in ["appendonlydir", "dump.rdb", "appendonly.aof"] {
            let path = self.dir.path().join(name);
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
        }
        self.spawn();
    }

    /// One command on a connection of its own.
    pub(crate) fn command(&self, words: &[&str]) -> Reply {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.command_within(TIMEOUT, &words).expect("an answer")
    }

    /// As [`command`](Self::command), in bytes, for a server that may be away: an answer within
    /// five seconds.
    pub(crate) fn try_command(&self, words: &[&[u8]]) -> std::io::Result<Reply> {
        self.command_within(Duration::from_secs(5), words)
    }

    fn command_within(&self, time: Duration, words: &[&[u8]]) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect_timeout(&self.address(), time)?;
        stream.set_read_timeout(Some(time))?;
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        stream.write_all(&request)?;
        read_reply(&mut BufReader::new(stream))
    }

    /// From now on its background saves fail, and so it refuses changes (MISCONF): the file that
    /// they write is a folder.
    pub(crate) fn fail_saves(&self) {
        fs::create_dir(self.dir.path().join("dump.rdb")).expect("a folder");
        self.command(&["CONFIG", "SET", "save", "3600 1"]);
        self.save("err");
    }

    /// They succeed again.
    pub(crate) fn mend_saves(&self) {
        fs::remove_dir(self.dir.path().join("dump.rdb")).expect("removed");
        self.save("ok");
    }

    fn save(&self, status: &str) {
        let status = format!("rdb_last_bgsave_status:{status}");
        wait_until("a background save has come to its end", || {
            let info = self.command(&["INFO", "persistence"]).text();
            if info.contains("rdb_bgsave_in_progress:1") {
                return false;
            }
            let is_so = info.contains(&status);
            // Not while one is under way: there would be one at each look.
            if !is_so {
                self.command(&["BGSAVE"]);
            }
            is_so
        });
    }

    /// How often each command was called since the server started (`INFO commandstats`), all of
    /// them together for `""`.
    pub(crate) fn calls(&self, name: &str) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]).text();
        stats
            .lines()
            .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="))
            .filter(|(command, _)| name.is_empty() || command.eq_ignore_ascii_case(name))
            .filter_map(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok())
            .sum()
    }
}

impl RedisServer {
    /// The name of every key with everything that it holds.
    pub(crate) fn everything(&self) -> Vec<u8> {
        fn pour(reply: &Reply, into: &mut Vec<u8>) {
            match reply {
                Reply::Array(parts) => parts.iter().for_each(|part| pour(part, into)),
                Reply::Bulk(bytes) => into.extend_from_slice(bytes),
                other => into.extend_from_slice(other.text().as_bytes()),
            }
            into.push(b'\n');
        }
        let mut all = Vec::new();
        let Reply::Array(keys) = self.command(&["KEYS", "*"]) else { panic!("no list of keys") };
        for key in keys.iter().map(Reply::text) {
            let read: &[&str] = match self.command(&["TYPE", &key]).text().as_str() {
                "hash" => &["HGETALL", &key],
                "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
                "string" => &["GET", &key],
                "set" => &["SMEMBERS", &key],
                "list" => &["LRANGE", &key, "0", "-1"],
                other => panic!("{key} is a {other}"),
            };
            all.extend_from_slice(key.as_bytes());
            pour(&self.command(read), &mut all);
        }
        all
    }
}

/// Where files are kept in memory, if there is space. A disk that is busy with what was built a
/// moment ago holds Redis up for seconds; no test kills the machine, so what is written there is
/// kept as well.
fn in_memory() -> Option<&'static Path> {
    const NEEDED: u64 = 2 * 1024 * 1024 * 1024;
    let place = Path::new("/dev/shm");
    let found = rustix::fs::statvfs(place).ok()?;
    let is_writable = tempfile::tempfile_in(place).is_ok();
    (is_writable && found.f_bavail * found.f_frsize >= NEEDED).then_some(place)
}

/// Waits until this condition holds, for a minute: sentinels that disagree try again after tens of
/// seconds.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(Duration::from_secs(60), condition), "in vain: {what}");
}

/// Looks again and again whether this condition holds; `false` if it does not within this time.
fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_reply(from: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let (kind, rest) = line.split_at(1);
    let number = || rest.parse::<i64>().map_err(std::io::Error::other);
    Ok(match kind {
        "+" => Reply::Simple(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Integer(number()?),
        "$" | "*" if number()? < 0 => Reply::Nil,
        "$" => {
            let mut bytes = vec![0; usize::try_from(number()?).expect("a length") + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bulk(bytes)
        }
        "*" => Reply::Array((0..number()?).map(|_| read_reply(from)).collect::<Result<_, _>>()?),
        _ => return Err(std::io::Error::other(format!("not RESP: {line}"))),
    })
}

/// A port of the loopback interface on which no process listens. The ports lie below the range from
/// which the kernel takes the local ports of outgoing connections, and no two calls in one process
/// return the same. The buses of Redis Cluster, each 10,000 above its node's port, are between the
/// two.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 10_000;
    let start = (std::process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(start) + u32::from(step)) % u32::from(COUNT)) as u16;
        if TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
