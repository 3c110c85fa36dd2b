//! The store against real servers, without the parts that find the primary and follow the fleet.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ToRedisArgs, Value};

use super::calls::Call;
use super::failure::RedisFailure;
use super::layout::Layout;
use super::membership::{Announced, Registered};
use super::node::Nodes;
use super::operations::{Executor, Operations};
use super::settings::{NodeAddress, RedisSettings, RedisTimeouts, Servers};
use super::*;
use crate::domain::{Owner, Record, Timestamp, TokenDigest};
use crate::store::record_codec::RecordKey;
use crate::store::tests::conformance::{
    self, NOW, api_key, at, bootstrap, by, digest, expiring, owner, session, some_limits,
};
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreError,
    StoreFuture,
};

mod accounts;
mod announcements;
mod counters;
mod damage;
mod large;
mod membership;
mod model;
mod outages;
mod permits;
mod tickets;

use super::server::RedisServer;

impl RedisSettings {
    /// A single server without TLS and without a password.
    pub(crate) fn single(address: NodeAddress) -> Self {
        Self {
            servers: Servers::Single(address),
            tls: None,
            username: None,
            password: None,
            database: 0,
            prefix: "keyward".to_owned(),
            timeouts: RedisTimeouts::default(),
        }
    }
}

/// Runs commands on one connection to one server, and keeps what was announced.
#[derive(Clone)]
struct DirectExecutor {
    connection: MultiplexedConnection,
    announcements: Arc<Mutex<Vec<Announced>>>,
}

impl DirectExecutor {
    async fn connect(url: &str) -> Self {
        let slow = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let client = redis::Client::open(url).unwrap();
        let connection = client.get_multiplexed_async_connection_with_config(&slow).await.unwrap();
        Self { connection, announcements: Arc::default() }
    }

    async fn send(mut connection: MultiplexedConnection, call: Call) -> Result<Value, StoreError> {
        call.run(&mut connection).await.map_err(|error| RedisFailure::from(error).into())
    }
}

impl Executor for DirectExecutor {
    fn read(&self, command: Cmd) -> StoreFuture<Value> {
        let mut connection = self.connection.clone();
        Box::pin(async move {
            let answer = command.query_async(&mut connection).await;
            answer.map_err(|error| RedisFailure::from(error).into())
        })
    }

    fn run(&self, call: Call) -> StoreFuture<Value> {
        Box::pin(Self::send(self.connection.clone(), call))
    }

    fn ask(&self, call: Call) -> StoreFuture<Value> {
        self.run(call)
    }

    fn acknowledged(
        &self,
        announced: Announced,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.announcements.lock().unwrap().push(announced);
        Box::pin(std::future::ready(()))
    }
}

/// How long the instances of the tests may use what they remember.
const BOUND: Duration = Duration::from_millis(1500);

fn registered(instance: &str, beat: u64) -> Registered {
    Registered { instance: instance.into(), beat, bound: BOUND }
}

/// A server with a store on it.
struct World {
    server: RedisServer,
    connection: MultiplexedConnection,
    store: Arc<RedisStore>,
    announcements: Arc<Mutex<Vec<Announced>>>,
}

impl World {
    async fn new() -> Self {
        Self::speaking("resp3").await
    }

    async fn speaking(protocol: &str) -> Self {
        let server = RedisServer::start();
        let executor =
            DirectExecutor::connect(&format!("{}/?protocol={protocol}", server.url())).await;
        let (connection, announcements) =
            (executor.connection.clone(), Arc::clone(&executor.announcements));
        let layout = Layout::new("keyward");
        let operations = Operations::new(layout, key(), "me".into(), Arc::new(executor));
        let store = Arc::new(without_link(&server, operations));
        Self { server, connection, store, announcements }
    }

    async fn with(records: impl IntoIterator<Item = Record>) -> Self {
        let world = Self::new().await;
        for record in records {
            world.store.provision(record).await.unwrap();
        }
        world
    }

    /// What an operator, or another program, may do.
    async fn command<T: redis::FromRedisValue>(
        &self,
        name: &str,
        arguments: &[&dyn Argument],
    ) -> T {
        let mut command = redis::cmd(name);
        for argument in arguments {
            argument.add(&mut command);
        }
        command.query_async(&mut self.connection.clone()).await.unwrap()
    }

    fn layout(&self) -> &Layout {
        &self.store.operations.layout
    }

    /// What was announced since this was last asked.
    fn announcements(&self) -> Vec<Announced> {
        std::mem::take(&mut *self.announcements.lock().unwrap())
    }

    async fn all(&self) -> Vec<Record> {
        self.store.browse(Filter::default()).await.unwrap()
    }
}

/// A store that joins no fleet.
fn without_link(server: &RedisServer, operations: Operations) -> RedisStore {
    let settings = RedisSettings::single(NodeAddress::new("127.0.0.1", server.port));
    RedisStore {
        operations: Arc::new(operations),
        nodes: Arc::new(Nodes::new(settings).unwrap()),
        state: Arc::default(),
        thread: Arc::default(),
    }
}

trait Argument {
    fn add(&self, command: &mut Cmd);
}

impl<T: ToRedisArgs> Argument for T {
    fn add(&self, command: &mut Cmd) {
        command.arg(self);
    }
}

fn key() -> RecordKey {
    RecordKey::new(&[7; 32])
}

async fn fresh() -> (RedisServer, Arc<dyn Store>) {
    let world = World::new().await;
    (world.server, world.store)
}

mod conforms {
    use super::*;
    conformance::conforms! { fresh }
}

#[tokio::test]
async fn the_older_protocol_will_do() {
    let world = World::speaking("resp2").await;
    let records = [expiring(api_key(1, "ann"), at(1)), bootstrap(2, "ann", 2)];
    for record in records.clone() {
        world.store.provision(record).await.unwrap();
    }
    assert_eq!(world.store.find(digest(1)).await.unwrap(), Some(records[0].clone()));
    assert_eq!(world.all().await, records);
    let removed =
        world.store.remove_owned(by(2), owner("ann"), OnRemove::Delete, NOW).await.unwrap();
    assert_eq!(removed, Some(vec![digest(1)]));
    assert_eq!(world.announcements().len(), 1);
}

#[tokio::test]
async fn what_was_issued_at_the_same_moment_is_listed_in_the_order_of_issue() {
    let tied = |number| Record { issued_at: NOW, ..api_key(number, "ann") };
    let order: Vec<u64> = (1..40).map(|number| number * 17 % 40).collect();
    let world = World::with(order.iter().map(|&number| tied(number))).await;
    let expected: Vec<_> = order.into_iter().map(digest).collect();
    let listed =
        world.store.owned(AuthorizedBy::Outside, owner("ann"), NOW).await.unwrap().unwrap();
    assert_eq!(listed.iter().map(|listed| listed.record.digest).collect::<Vec<_>>(), expected);
    assert_eq!(world.all().await.iter().map(|record| record.digest).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_look_up_is_one_command() {
    let world = World::with([api_key(1, "ann")]).await;
    let (all, reads) = (world.server.calls(""), world.server.calls("hmget"));
    assert_eq!(world.store.find(digest(1)).await.unwrap(), Some(api_key(1, "ann")));
    assert_eq!(world.store.find(digest(2)).await.unwrap(), None);
    assert_eq!(world.server.calls("hmget") - reads, 2);
    // And the three INFO by which we know.
    assert_eq!(world.server.calls("") - all, 2 + 3);
}

#[tokio::test]
async fn a_record_lives_an_hour_longer_in_redis_than_its_token_by_whichever_clock() {
    let start = crate::domain::Timestamp::from_system(std::time::SystemTime::now());
    // Redis' clock is years off from the tokens' in both directions.
    for (number, issued_at) in [(1, NOW), (2, Timestamp::from_unix_millis(1_000)), (3, start)] {
        let ends = Timestamp::from_unix_millis(issued_at.unix_millis() + 60_000);
        let world =
            World::with([expiring(Record { issued_at, ..api_key(number, "ann") }, ends)]).await;
        let left: i64 = world.command("PTTL", &[&world.layout().record(digest(number))]).await;
        assert!((3_650_000..=3_660_000).contains(&left), "{left} ms");
    }
}
