//! Look-ups and changes against real servers, slow ones and mad ones.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::cmd;
use tokio::sync::{Notify, watch};

use super::*;
use crate::store::redis::calls::Script;
use crate::store::redis::server::{RedisServer, wait_until};
use crate::store::redis::settings::{NodeAddress, RedisSettings};

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

impl DataBench {
    fn new(port: u16) -> Self {
        let mut settings = RedisSettings::single(NodeAddress::new("127.0.0.1", port));
        settings.timeouts.connect = Duration::from_secs(1);
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

/// Looks up until it works again.
async fn wait_for_answer(bench: &DataBench) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(fault) = bench.get("a").await {
        assert!(Instant::now() < deadline, "{fault}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_stands_still_costs_every_call_its_deadline_and_no_more() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    bench.get("a").await.unwrap();
    bench.data.change(lua(SET, vec!["a", "1"]), None).await.unwrap();
    server.freeze();
    for _ in 0..3 {
        let start = Instant::now();
        bench.get("a").await.unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    }
    let start = Instant::now();
    let fault = bench.data.change(lua(SET, vec!["a", "2"]), None).await.unwrap_err();
    assert!(matches!(fault, StoreError::TimedOut), "{fault:?}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
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
    let mut left = ours();
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        left = ours();
    }
    bench.publish(2).await;
    assert_eq!(text(&bench.get("a").await.unwrap()), "1");
    assert_eq!(ours(), 1, "over a new connection");
}

#[tokio::test]
async fn another_server_at_the_same_address_is_doubted_and_not_read() {
    let mut server = RedisServer::start();
    let bench = DataBench::new(server.port);
    bench.publish(1).await;
    bench.get("a").await.unwrap();
    server.restart();
    let fault = loop {
        match bench.get("a").await {
            Err(StoreError::Unavailable(words)) if words.contains("another server") => break words,
            Ok(answer) => panic!("read from another server: {answer:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    assert!(fault.contains("another server"), "{fault}");
    tokio::time::timeout(Duration::from_secs(1), bench.doubt.notified())
        .await
        .expect("the link is told");
}

#[tokio::test]
async fn a_change_waits_for_a_site_and_survives_a_server_that_forgot_its_scripts() {
    let server = RedisServer::start();
    let bench = DataBench::new(server.port);
    let data = bench.data.clone();
    let early = tokio::spawn(async move { data.change(lua(SET, vec!["a", "early"]), None).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
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
    tokio::time::timeout(Duration::from_secs(1), bench.doubt.notified())
        .await
        .expect("the link is told");
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
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", server.port));
    wait_until("the replica has its copy", || {
        replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let wait = Some(Acks { count: 1, timeout: Duration::from_secs(1) });
    bench.data.change(lua(SET, vec!["a", "2"]), wait).await.unwrap();
    assert_eq!(replica.command(&["GET", "a"]).text(), "2");
    // A change that waits for a replica that is away delays no other.
    replica.freeze();
    let wait = Some(Acks { count: 1, timeout: Duration::from_secs(1) });
    let data = bench.data.clone();
    let waiting = tokio::spawn(async move { data.change(lua(SET, vec!["a", "3"]), wait).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    bench.data.change(lua(SET, vec!["b", "1"]), None).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
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

/// What a relay does with what the server says, once it is told to.
#[derive(Clone, Copy, Debug)]
enum Madness {
    /// An answer without a question.
    Surplus,
    /// The answer to an earlier look-up of the same key, in front of the right one.
    Earlier,
    /// The first answer of what has arrived is left out.
    Missing,
    /// Half of it, and then nothing more.
    Cut,
    /// Something that is no RESP.
    Garbage,
}

/// Stands in front of a server; goes mad for one reply when told to.
struct Relay {
    port: u16,
    mad: Arc<AtomicBool>,
}

impl Relay {
    fn start(server: u16, madness: Madness) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mad = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&mad);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut down);
                    let _ = down.shutdown(Shutdown::Both);
                });
                let switch = Arc::clone(&switch);
                std::thread::spawn(move || pass_on(server, client, &switch, madness));
            }
        });
        Self { port, mad }
    }
}

fn pass_on(mut server: TcpStream, mut client: TcpStream, switch: &AtomicBool, madness: Madness) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let mut reply = buffer[..length].to_vec();
        let mut ends = false;
        if switch.swap(false, Ordering::SeqCst) {
            match madness {
                Madness::Surplus => {
                    reply.splice(..0, *b"$5\r\nwrong\r\n");
                }
                Madness::Earlier => {
                    reply.splice(..0, *b"$3\r\nold\r\n");
                }
                Madness::Missing => {
                    // "$n\r\n…\r\n": the second line break ends it.
                    let ends: Vec<_> =
                        reply.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").collect();
                    reply.drain(..ends[1].0 + 2);
                }
                Madness::Cut => {
                    reply.truncate(length / 2);
                    ends = true;
                }
                Madness::Garbage => reply = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            }
        }
        if client.write_all(&reply).is_err() || ends {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

#[tokio::test]
async fn whatever_a_mad_server_says_no_answer_goes_to_another_question() {
    for madness in [Madness::Surplus, Madness::Missing, Madness::Cut, Madness::Garbage] {
        let server = RedisServer::start();
        let relay = Relay::start(server.port, madness);
        let bench = DataBench::new(relay.port);
        bench.publish(1).await;
        let fill = "for i = 0, 999 do redis.call('SET', 'k' .. i, 'v' .. i) end redis.call('SET', \
                    'a', 'a') return 1";
        bench.data.change(lua(fill, Vec::new()), None).await.unwrap();
        bench.get("a").await.unwrap();
        let (mut right, mut failed) = (0, 0);
        for round in 0..5 {
            let mut tasks = Vec::new();
            for key in 0..500 {
                let data = bench.data.clone();
                tasks.push(tokio::spawn(async move {
                    let mut command = cmd("GET");
                    command.arg(format!("k{key}"));
                    (key, data.read(command).await)
                }));
            }
            relay.mad.store(round % 2 == 0, Ordering::SeqCst);
            for task in tasks {
                let (key, answer) = task.await.unwrap();
                match answer {
                    Ok(answer) => {
                        assert_eq!(text(&answer), format!("v{key}"), "{madness:?}");
                        right += 1;
                    }
                    Err(_) => failed += 1,
                }
            }
            relay.mad.store(false, Ordering::SeqCst);
            wait_for_answer(&bench).await;
        }
        assert!(right > 0 && failed > 0, "{madness:?}: {right} right, {failed} failed");
    }
}

/// A record's seal would not reveal it: the answer is right but for its time.
#[tokio::test]
async fn the_answer_to_an_earlier_look_up_of_the_same_key_is_not_taken() {
    let server = RedisServer::start();
    let relay = Relay::start(server.port, Madness::Earlier);
    let bench = DataBench::new(relay.port);
    bench.publish(1).await;
    bench.data.change(lua(SET, vec!["a", "old"]), None).await.unwrap();
    assert_eq!(text(&bench.get("a").await.unwrap()), "old");
    bench.data.change(lua(SET, vec!["a", "new"]), None).await.unwrap();
    relay.mad.store(true, Ordering::SeqCst);
    let answer = bench.get("a").await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    wait_for_answer(&bench).await;
    assert_eq!(text(&bench.get("a").await.unwrap()), "new");
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
    let bench = DataBench::new(port);
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
