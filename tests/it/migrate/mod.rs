//! `keyward store migrate`: what one store holds is in the other, and nothing else.

mod accounts;
mod refusals;
mod there_and_back;

use std::process::Output;

use serde_json::{Value, json};

use crate::support::redis::{RedisServer, Reply};
use crate::support::{Issued, Plan, TestUser, Upstream, World, eventually};

const EMBEDDED: &str = "keyward.toml";

const REDIS: &str = "redis.toml";

const BACK: &str = "back.toml";

/// A stopped keyward with an embedded store, a Redis, and a second embedded store. Records are
/// migrated between the three.
struct MigrationWorld {
    keyward: World,
    upstream: Upstream,
    redis: RedisServer,
}

impl MigrationWorld {
    fn plan(upstream: &Upstream) -> Plan {
        Plan::usual(upstream)
    }

    /// With what `fill` has done to the running keyward.
    fn of<T>(fill: impl FnOnce(&World) -> T) -> (Self, T) {
        let (upstream, redis) = (Upstream::start(), RedisServer::start());
        let mut keyward = Self::plan(&upstream).start();
        let filled = fill(&keyward);
        keyward.stop();
        keyward.write(REDIS, &Self::plan(&upstream).redis(&redis.url()));
        keyward.write(BACK, &Self::plan(&upstream).set("store", "path", "\"back.db\""));
        (Self { keyward, upstream, redis }, filled)
    }

    fn migrate(&self, from: &str, to: &str) -> Output {
        self.keyward.run(&["store", "migrate", "--from", from, "--to", to, "--json"])
    }

    /// What every record looks like to an administrator.
    fn listed(&self, config: &str) -> Value {
        let list = |what: &str| {
            let output = self.keyward.run_on(config, &[what, "list", "--json"]);
            assert!(output.status.success(), "{}", words(&output));
            serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
        };
        let mut all = [list("token"), list("bootstrap")];
        // What was issued at the same moment is in no order.
        for list in &mut all {
            list.as_array_mut().expect("a list").sort_by_key(|entry| entry["id"].to_string());
        }
        json!(all)
    }

    /// Starts keyward on another of the configurations.
    fn serve_from_redis(&mut self) {
        self.keyward.configure(&Self::plan(&self.upstream).redis(&self.redis.url()));
        self.keyward.restart();
    }

    fn serve_from_back(&mut self) {
        self.keyward.configure(&Self::plan(&self.upstream).set("store", "path", "\"back.db\""));
        self.keyward.restart();
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The summary of a migration that ended like that: by sort, found, expired, there, copied and
/// verified.
#[track_caller]
fn summary(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", words(output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no summary: {}", words(output)))
}

fn counts(summary: &Value, sort: &str) -> Vec<u64> {
    let counts = summary["counts"].as_array().expect("counts");
    let count = counts.iter().find(|count| count["sort"] == sort).expect("the sort");
    ["found", "expired", "there", "copied", "verified"]
        .map(|name| count[name].as_u64().expect("a number"))
        .to_vec()
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{}", words(output));
    assert!(words(output).contains(why), "{}", words(output));
}

/// A bootstrap token with a key left to make, two keys, of which one was used, and one that was
/// revoked.
fn fill(world: &World) -> (String, Issued, Issued) {
    let bootstrap = world.bootstrap(TestUser::ALICE, 3);
    let api = world.api(TestUser::ALICE);
    let (first, revoked) = (api.mint(&bootstrap), api.mint(&bootstrap));
    let named = api.issue(&first.token, r#"{"name":"laptop","expires_in_minutes":600}"#);
    assert_eq!(named.status, 200, "{named}");
    world.key(TestUser::BOB);
    assert_eq!(world.status_with(&first.token), 200);
    // Uses are noted about once a second.
    assert!(eventually(|| {
        let listed = world.run(&["token", "list", "--json"]);
        serde_json::from_slice::<Value>(&listed.stdout).expect("JSON")[0]["last_used_at"]
            .is_string()
    }));
    assert_eq!(api.revoke(&revoked.token).status, 200);
    (bootstrap, first, revoked)
}

fn keys(redis: &RedisServer, pattern: &str) -> Vec<String> {
    let Reply::Array(found) = redis.command(&["KEYS", pattern]) else { panic!("no list") };
    found.iter().map(Reply::text).collect()
}
