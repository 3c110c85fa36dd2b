//! Several instances on one Redis, and what their Redis may do to them (DESIGN.md, sections 5 and
//! 6).

mod flood;
mod linearizability;
mod members;
mod mirror;
mod mix;
mod outage;
mod raw_client;
mod revocation;
mod rights;
mod shared_limits;
mod topology;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::lateness::{self, unless_held_up};
use crate::support::redis::RedisServer;
use crate::support::{Issued, Plan, TestIssuer, TestUser, World};
use mirror::Mirror;
use raw_client::RawClient;

/// The lease of the instances here, unless a test says otherwise.
const LEASE: Duration = Duration::from_millis(500);

/// How long a call to the store may take, as the instances here are configured.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Instances with the same keys on the same Redis, in front of one upstream. They end when this is
/// dropped.
struct Fleet {
    worlds: Vec<World>,
    mirror: Mirror,
    keys: TempDir,
    /// The issuer of JWTs, with which its users get their keys for agents.
    issuer: TestIssuer,
}

/// How long a look-up may take, by default.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// Where a user's key for agents is.
const AGENTS: &str = "/api/agent-tokens/me";

impl Fleet {
    /// So many instances on this Redis, with long timeouts for it.
    fn start(count: usize, redis: &RedisServer) -> Self {
        let url = redis.url();
        Self::start_with(&vec![url.as_str(); count], with_long_timeouts)
    }

    /// One instance for each URL, with a plan that may be changed.
    fn start_with(urls: &[&str], change: impl Fn(Plan) -> Plan) -> Self {
        let mut fleet = Self::prepare(urls, change);
        for world in &mut fleet.worlds {
            world.restart();
        }
        fleet
    }

    /// Everything but the processes.
    fn prepare(urls: &[&str], change: impl Fn(Plan) -> Plan) -> Self {
        lateness::watch();
        let mirror = Mirror::start();
        let keys = tempfile::tempdir().expect("a directory");
        let issuer = TestIssuer::open();
        let worlds = urls
            .iter()
            .map(|url| change(plan(&mirror, keys.path(), &issuer, url)).prepare())
            .collect();
        Self { worlds, mirror, keys, issuer }
    }

    fn client(&self, instance: usize) -> RawClient {
        RawClient::to(self.worlds[instance].address())
    }

    /// A client of each instance.
    fn clients(&self) -> Vec<RawClient> {
        (0..self.worlds.len()).map(|instance| self.client(instance)).collect()
    }

    fn are_ready(&self) -> bool {
        self.worlds.iter().all(|world| world.ready() == Some(200))
    }

    /// The status that an instance gives to a token on the guarded route.
    fn status(&self, instance: usize, token: &str) -> u16 {
        unless_held_up(|| self.worlds[instance].status_with(token))
    }

    /// The status that each instance gives to a token.
    fn statuses(&self, token: &str) -> Vec<u16> {
        (0..self.worlds.len()).map(|instance| self.status(instance, token)).collect()
    }

    /// A token that all instances remember as good.
    fn warm(&self, issued: &Issued) {
        for _ in 0..2 {
            assert!(
                self.statuses(&issued.token).iter().all(|&status| status == 200),
                "a good token is good everywhere"
            );
        }
    }

    /// Revokes a token on this instance. Where the machine kept it from being told, it is asked
    /// again: then it may have been done.
    #[track_caller]
    fn revoke(&self, instance: usize, token: &str) {
        let mut times = 0;
        let status = unless_held_up(|| {
            times += 1;
            self.worlds[instance].api(TestUser::ALICE).revoke(token).status
        });
        assert!(status == 200 || status == 401 && times > 1, "{status}, asked {times} times");
    }

    /// A token of the owner of `root`, issued through this instance.
    fn mint(&self, instance: usize, root: &str) -> Issued {
        self.worlds[instance].api(TestUser::ALICE).mint(root)
    }

    /// An instance with the same keys that keeps its records elsewhere: what it issues is signed,
    /// and unknown to the others.
    fn elsewhere(&self, redis: &RedisServer) -> World {
        plan(&self.mirror, self.keys.path(), &self.issuer, &redis.url())
            .set("store", "prefix", "\"elsewhere\"")
            .start()
    }

    /// Something to issue and revoke with for as long as a test takes.
    fn root(&self) -> String {
        self.worlds[0].bootstrap(TestUser::ALICE, 1_000_000)
    }
}

/// `url`: one, or several with a comma between them.
fn plan(mirror: &Mirror, keys: &Path, issuer: &TestIssuer, url: &str) -> Plan {
    let urls: Vec<String> = url.split(',').map(|url| format!("\"{url}\"")).collect();
    Plan::bare()
        .upstream("app", mirror.address())
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .route(
            "path = \"/private/{*rest}\"\nupstream = \"app\"\n\
                accept = [\"jarvispy\", \"agents\"]",
        )
        .table("issuer", &issuer.table("site"))
        .table(
            "token_api",
            "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/api/agent-tokens\"\n\
             issuer = \"site\"",
        )
        .set("keys", "directory", &format!("\"{}\"", keys.display()))
        .set("store", "kind", "\"redis\"")
        .set("store", "url", &format!("[{}]", urls.join(", ")))
        .set("store", "timeout", &millis(STORE_TIMEOUT))
        .set("store", "coherence_lease", &millis(LEASE))
        .set("log", "level", "\"info\"")
        .set("log", "access", "\"off\"")
}

/// With long timeouts for Redis, in tests that do not measure them.
fn with_long_timeouts(plan: Plan) -> Plan {
    plan.set("store", "timeout", "\"10s\"").set("store", "read_timeout", "\"10s\"")
}

/// A duration as the configuration has it.
fn millis(span: Duration) -> String {
    format!("\"{}ms\"", span.as_millis())
}

/// Sorted, then the shares of it: the middle, and the one that 99 of 100 are below.
fn percentiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}
