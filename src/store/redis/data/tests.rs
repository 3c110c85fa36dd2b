//! Look-ups and changes against real servers, slow ones and faulty ones.

mod faulty;

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::cmd;
use tokio::sync::{Notify, watch};

use super::*;
use crate::store::redis::calls::Script;
use crate::store::redis::server::{RedisServer, wait_until};
use crate::store::redis::settings::{NodeAddress, RedisSettings, RedisTimeouts};

/// A `Data` whose primary the test publishes.
struct DataBench {
    data: Arc<Data>,
    nodes: Arc<Nodes>,
    primary: watch::Sender<Option<Arc<Primary>>>,
    doubt: Arc<Notify>,
    _control: tokio::sync::oneshot::Sender<()>,
}

/// The control runtime turns on a thread of its own, as in the program, until the sender is
/// dropped.
fn control() -> (Handle, tokio::sync::oneshot::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || runtime.block_on(ended));
    (handle, end)
}

/// Deadlines that a busy machine keeps.
const LONG: RedisTimeouts = RedisTimeouts {
    connect: Duration::from_secs(10),
    read: Duration::from_secs(2),
    change: Duration::from_secs(20),
};

impl DataBench {
    /// For servers that answer.
    fn new(port: u16) -> Self {
        Self::with_timeouts(port, LONG)
    }

    /// For servers of which some answers never come: with the usual deadlines.
    fn with_usual_timeouts(port: u16) -> Self {
        let connect = Duration::from_secs(1);
        Self::with_timeouts(port, RedisTimeouts { connect, ..RedisTimeouts::default() })
    }

    fn with_timeouts(port: u16, timeouts: RedisTimeouts) -> Self {
        let mut settings = RedisSettings::single(NodeAddress::new("127.0.0.1", port));
        settings.timeouts = timeouts;
        let nodes = Arc::new(Nodes::new(settings).unwrap());
        let (primary, current) = watch::channel(None);
        let doubt = Arc::new(Notify::new());
        let (handle, control) = control();
        let watch = PrimaryWatch { current, doubt: Arc::clone(&doubt) };
        let data = Data::new(Arc::clone(&nodes), watch, handle);
        Self { data, nodes, primary, doubt, _control: control }
    }

    /// Publishes the server as it is now.
    async fn publish(&self, term: u64) {
        let address = self.nodes.discover().await.unwrap();
        let (_, facts) = self.nodes.connect(&address, None).await.unwrap();
        self.primary.send_replace(Some(Arc::new(Primary { address, run_id: facts.run_id, term })));
    }

    async fn get(&self, key: &str) -> Result<Value, StoreError> {
        let mut command = cmd("GET");
        command.arg(key);
        self.data.read(command).await
    }
}

/// A call of a script of the test.
fn lua(source: &str, arguments: Vec<&str>) -> Call {
    let script: &'static Script = Box::leak(Box::new(Script::new(source.to_owned())));
    arguments.into_iter().fold(Call::new(script, Vec::new()), Call::argument)
}

const SET: &str = "return redis.call('SET', ARGV[1], ARGV[2])";

fn text(answer: &Value) -> String {
    match answer {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn ten_thousand_look_ups_each_get_their_own_answer_on_one_connection() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    let fill = "for i = 0, 999 do redis.call('SET', 'k' .. i, 'v' .. i) end return 1";
    bench.data.change(lua(fill, Vec::new()), None).await.unwrap();
    let mut tasks = Vec::new();
    for round in 0..10 {
        for key in 0..1000 {
            let data = bench.data.clone();
            tasks.push(tokio::spawn(async move {
                let mut command = cmd("GET");
                command.arg(format!("k{key}"));
                (key, round, data.read(command).await)
            }));
        }
        // In portions below the bound of what may be under way.
        if round % 2 == 1 {
            for task in tasks.drain(..) {
                let (key, _, answer) = task.await.unwrap();
                let answer = answer.unwrap();
                assert_eq!(text(&answer), format!("v{key}"));
            }
        }
    }
    let clients = server.command(&["CLIENT", "LIST"]).text();
    assert_eq!(
        clients.matches("name=keyward").count(),
        2,
        "one for look-ups, one for changes: {clients}"
    );
}

#[tokio::test]
async fn beyond_the_bound_a_look_up_is_refused_at_once() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    bench.get("a").await.unwrap();
    server.freeze();
    let tasks: Vec<_> = (0..LOOKUPS + 10)
        .map(|_| {
            let data = bench.data.clone();
            tokio::spawn(async move {
                let mut command = cmd("GET");
                command.arg("a");
                data.read(command).await
            })
        })
        .collect();
    let (mut overloaded, mut late) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Err(StoreError::Overloaded) => overloaded += 1,
            Err(StoreError::TimedOut | StoreError::Unavailable(_)) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((overloaded, late), (10, LOOKUPS));
    server.thaw();
    wait_for_answer(&bench).await;
}

/// After this time a test fails because something hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Looks up until it works again.
async fn wait_for_answer(bench: &DataBench) {
    let deadline = Instant::now() + TIMEOUT;
    while let Err(fault) = bench.get("a").await {
        assert!(Instant::now() < deadline, "{fault}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until this condition holds; the tasks of the test go on meanwhile.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the link is told that the server may be another one.
async fn doubted(bench: &DataBench) {
    tokio::time::timeout(TIMEOUT, bench.doubt.notified()).await.expect("the link is told");
}

#[tokio::test]
async fn a_server_that_stands_still_costs_every_call_its_deadline_and_no_more() {
    let server = RedisServer::start();
    let bench = DataBench::with_usual_timeouts(server.port);
    bench.publish(1).await;
    bench.get("a").await.unwrap();
    bench.data.change(lua(SET, vec!["a", "1"]), None).await.unwrap();
    server.freeze();
    for _ in 0..3 {
        let start = Instant::now();
        bench.get("a").await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    let start = Instant::now();
    let fault = bench.data.change(lua(SET, vec!["a", "2"]), None).await.unwrap_err();
    assert!(matches!(fault, StoreError::TimedOut), "{fault:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.thaw();
    wait_for_answer(&bench).await;
}

#[tokio::test]
async fn connections_are_thrown_away_when_the_term_ends() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    assert!(matches!(bench.get("a").await, Err(StoreError::Unavailable(_))), "no primary yet");
    bench.publish(1).await;
    bench.get("a").await.unwrap();
    bench.data.change(lua(SET, vec!["a", "1"]), None).await.unwrap();
    let ours = || server.command(&["CLIENT", "LIST"]).text().matches("name=keyward").count();
    assert_eq!(ours(), 2);
    bench.primary.send_replace(None);
    assert!(matches!(bench.get("a").await, Err(StoreError::Unavailable(_))));
    until("the connections are closed", || ours() == 0).await;
    bench.publish(2).await;
    assert_eq!(text(&bench.get("a").await.unwrap()), "1");
    assert_eq!(ours(), 1, "over a new connection");
}

/// As after a failover: the server is gone, and everything that needs it tries to connect anew.
#[tokio::test]
async fn the_attempts_of_a_term_that_ends_do_not_delay_the_next_one() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    // It takes connections, and does not greet.
    server.freeze();
    let acks = Some(Acks { count: 1, timeout: Duration::from_millis(100) });
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let data = bench.data.clone();
            tokio::spawn(async move { data.change(lua(SET, vec!["a", "1"]), acks).await })
        })
        .collect();
    let data = bench.data.clone();
    let reading = tokio::spawn(async move { data.read(cmd("PING")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.primary.send_replace(None);
    reading.await.unwrap().unwrap_err();
    server.thaw();
    let begun = Instant::now();
    bench.publish(2).await;
    bench.get("a").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // They are made in the next term, and want for a replica alone.
    for call in calls {
        let fault = call.await.unwrap().unwrap_err().to_string();
        assert!(fault.contains("not confirmed"), "{fault}");
    }
}

#[tokio::test]
async fn another_server_at_the_same_address_is_doubted_and_not_read() {
    let mut server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    bench.get("a").await.unwrap();
    server.restart();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match bench.get("a").await {
            Err(StoreError::Unavailable(words)) if words.contains("another server") => break,
            Ok(answer) => panic!("read from another server: {answer:?}"),
            Err(fault) => assert!(Instant::now() < deadline, "{fault}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    doubted(&bench).await;
}

#[tokio::test]
async fn a_change_waits_for_a_site_and_survives_a_server_that_forgot_its_scripts() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    let data = bench.data.clone();
    let early = tokio::spawn(async move { data.change(lua(SET, vec!["a", "early"]), None).await });
    tokio::task::yield_now().await;
    assert!(!early.is_finished(), "it waits for a primary");
    bench.publish(1).await;
    early.await.unwrap().unwrap();
    server.command(&["SCRIPT", "FLUSH"]);
    bench.data.change(lua(SET, vec!["a", "late"]), None).await.unwrap();
    assert_eq!(server.command(&["GET", "a"]).text(), "late");
    let fault = bench
        .data
        .change(lua("return redis.call('INCR', 'a')", Vec::new()), None)
        .await
        .unwrap_err();
    assert!(
        matches!(&fault, StoreError::Unavailable(words) if words.contains("not an integer")),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_change_on_a_replica_is_made_at_the_next_site() {
    let old = RedisServer::start();
    let new = RedisServer::start();
    let bench = DataBench::new(old.port);
    bench.publish(1).await;
    bench.data.change(lua(SET, vec!["a", "1"]), None).await.unwrap();
    old.command(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
    let data = bench.data.clone();
    let change = tokio::spawn(async move { data.change(lua(SET, vec!["a", "2"]), None).await });
    doubted(&bench).await;
    let address = NodeAddress::new("127.0.0.1", new.port);
    let (_, facts) = bench.nodes.connect(&address, None).await.unwrap();
    bench.primary.send_replace(Some(Arc::new(Primary { address, run_id: facts.run_id, term: 2 })));
    change.await.unwrap().unwrap();
    assert_eq!(new.command(&["GET", "a"]).text(), "2");
}

#[tokio::test]
async fn too_few_replicas_are_an_error_and_enough_are_not() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    let wait = Some(Acks { count: 1, timeout: Duration::from_millis(100) });
    let start = Instant::now();
    let fault = bench.data.change(lua(SET, vec!["a", "1"]), wait).await.unwrap_err();
    let words = fault.to_string();
    assert!(words.contains("not confirmed by 1 replicas") && words.contains("repeat"), "{words}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", server.port));
    wait_until("the replica has its copy", || {
        replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let wait = Some(Acks { count: 1, timeout: Duration::from_secs(10) });
    bench.data.change(lua(SET, vec!["a", "2"]), wait).await.unwrap();
    assert_eq!(replica.command(&["GET", "a"]).text(), "2");
    // A change that waits for a replica that is away delays no other.
    replica.freeze();
    let wait = Some(Acks { count: 1, timeout: Duration::from_secs(4) });
    let data = bench.data.clone();
    let waiting = tokio::spawn(async move { data.change(lua(SET, vec!["a", "3"]), wait).await });
    until("it is made and waits", || server.command(&["GET", "a"]).text() == "3").await;
    bench.data.change(lua(SET, vec!["b", "1"]), None).await.unwrap();
    assert!(!waiting.is_finished(), "the first change waits still");
    assert!(waiting.await.unwrap().is_err());
    replica.thaw();
}

#[tokio::test]
async fn a_full_server_is_full_and_not_broken() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let fault = bench.data.change(lua(SET, vec!["a", "1"]), None).await.unwrap_err();
    assert!(matches!(fault, StoreError::Full(_)), "{fault:?}");
    assert!(bench.get("a").await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_away_is_not_stormed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(client);
        }
    });
    let bench = DataBench::with_usual_timeouts(port);
    let address = NodeAddress::new("127.0.0.1", port);
    bench.primary.send_replace(Some(Arc::new(Primary {
        address,
        run_id: "r".to_owned(),
        term: 1,
    })));
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let _ = bench.get("a").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seen = seen.load(Ordering::SeqCst);
    assert!((2..=20).contains(&seen), "{seen} connections in two seconds");
}
