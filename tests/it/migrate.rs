//! `keyward store migrate`: what one store holds is in the other, and nothing else.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::redis::{RedisServer, cluster, sentinels, wait_until};
use crate::support::{Issued, Person, Plan, Upstream, World, eventually, json as body_of};

const EMBEDDED: &str = "keyward.toml";
const REDIS: &str = "redis.toml";
const BACK: &str = "back.toml";

/// A keyward that stands still, with an embedded store, a Redis, and a second embedded store to
/// move between.
struct Move {
    world: World,
    upstream: Upstream,
    redis: RedisServer,
}

impl Move {
    fn plan(upstream: &Upstream) -> Plan {
        Plan::usual(upstream)
    }

    /// With what `fill` has done to the running keyward.
    fn of<T>(fill: impl FnOnce(&World) -> T) -> (Self, T) {
        let (upstream, redis) = (Upstream::start(), RedisServer::start());
        let mut world = Self::plan(&upstream).start();
        let filled = fill(&world);
        world.stop();
        world.write(REDIS, &Self::plan(&upstream).redis(&redis.url()));
        world.write(BACK, &Self::plan(&upstream).set("store", "path", "\"back.db\""));
        (Self { world, upstream, redis }, filled)
    }

    fn migrate(&self, from: &str, to: &str) -> Output {
        self.world.run(&["store", "migrate", "--from", from, "--to", to, "--json"])
    }

    /// What every record looks like to an administrator.
    fn listed(&self, config: &str) -> Value {
        let list = |what: &str| {
            let output = self.world.run_on(config, &[what, "list", "--json"]);
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
        self.world.configure(&Self::plan(&self.upstream).redis(&self.redis.url()));
        self.world.restart();
    }

    fn serve_from_back(&mut self) {
        self.world.configure(&Self::plan(&self.upstream).set("store", "path", "\"back.db\""));
        self.world.restart();
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
    let bootstrap = world.bootstrap(Person::ALICE, 3);
    let api = world.api(Person::ALICE);
    let (first, revoked) = (api.mint(&bootstrap), api.mint(&bootstrap));
    let named = api.issue(&first.token, r#"{"name":"laptop","expires_in_minutes":600}"#);
    assert_eq!(named.status, 200, "{named}");
    world.key(Person::BOB);
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

#[test]
fn there_and_back_nothing_is_lost_and_nothing_is_added() {
    let (mut moved, (bootstrap, key, revoked)) = Move::of(fill);
    let before = moved.listed(EMBEDDED);
    assert!(
        before[0].as_array().expect("a list").iter().any(|key| key["last_used_at"].is_string()),
        "{before}"
    );
    let there = moved.migrate(EMBEDDED, REDIS);
    let found = summary(&there, 0);
    assert_eq!(counts(&found, "api_keys"), [3, 0, 0, 3, 3]);
    assert_eq!(counts(&found, "bootstrap_tokens"), [2, 0, 0, 2, 2]);
    assert_eq!((&found["differing"], &found["differences"]), (&json!(0), &json!([])));
    assert!(words(&there).contains("copied 5 of 5"), "{}", words(&there));
    assert_eq!(moved.listed(REDIS), before);
    let again = summary(&moved.migrate(EMBEDDED, REDIS), 0);
    assert_eq!(counts(&again, "api_keys"), [3, 0, 3, 0, 3], "a second run has nothing to do");
    assert_eq!(moved.listed(EMBEDDED), before, "nothing is taken away");

    let back = summary(&moved.migrate(REDIS, BACK), 0);
    assert_eq!(counts(&back, "bootstrap_tokens"), [2, 0, 0, 2, 2]);
    assert_eq!(moved.listed(BACK), before);

    // Each of the copies serves: keys open, what was revoked does not, and the bootstrap token has
    // one left.
    for serve in [Move::serve_from_redis, Move::serve_from_back] {
        serve(&mut moved);
        let (world, api) = (&moved.world, moved.world.api(Person::ALICE));
        assert_eq!((world.status_with(&key.token), world.status_with(&revoked.token)), (200, 401));
        assert_eq!(api.jtis(&key.token).len(), 2);
        assert_eq!(
            (api.issue(&bootstrap, "").status, api.issue(&bootstrap, "").status),
            (200, 401)
        );
        moved.world.stop();
    }
}

/// To a store in this Redis, and back; what was revoked stays so, and each copy serves.
fn there_and_back_by_way_of(in_redis: impl Fn(Plan) -> Plan) {
    let (mut moved, (_, key, revoked)) = Move::of(fill);
    let plan = |upstream: &Upstream| in_redis(Move::plan(upstream));
    moved.world.write(REDIS, &plan(&moved.upstream));
    let before = moved.listed(EMBEDDED);
    let there = summary(&moved.migrate(EMBEDDED, REDIS), 0);
    assert_eq!(counts(&there, "api_keys"), [3, 0, 0, 3, 3]);
    assert_eq!(counts(&there, "bootstrap_tokens"), [2, 0, 0, 2, 2]);
    assert_eq!(moved.listed(REDIS), before);
    let back = summary(&moved.migrate(REDIS, BACK), 0);
    assert_eq!(counts(&back, "api_keys"), [3, 0, 0, 3, 3]);
    assert_eq!(moved.listed(BACK), before);
    moved.world.configure(&plan(&moved.upstream));
    moved.world.restart();
    assert_eq!(
        (moved.world.status_with(&key.token), moved.world.status_with(&revoked.token)),
        (200, 401)
    );
    moved.world.write("embedded.toml", &Move::plan(&moved.upstream));
    refused(&moved.migrate("embedded.toml", REDIS), "a keyward is running");
}

fn urls(servers: &[RedisServer]) -> String {
    format!(
        "[{}]",
        servers.iter().map(|server| format!("{:?}", server.url())).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn there_and_back_by_way_of_a_master_under_sentinels() {
    let master = RedisServer::start_with("repl-diskless-sync-delay 0\nmin-replicas-to-write 1");
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    wait_until("the replica has its copy", || {
        replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let sentinels = sentinels(3, &master, Duration::from_secs(5));
    there_and_back_by_way_of(|plan| {
        plan.redis(&master.url())
            .set("store", "url", &urls(&sentinels))
            .set("store", "topology", "\"sentinel\"")
            .set("store", "sentinel_master", "\"fleet\"")
            .set("store", "revoke_acks", "1")
    });
}

#[test]
fn there_and_back_by_way_of_a_cluster() {
    let nodes = cluster(3);
    there_and_back_by_way_of(|plan| {
        plan.redis(&nodes[0].url()).set("store", "url", &urls(&nodes)).set(
            "store",
            "topology",
            "\"cluster\"",
        )
    });
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next() {
    let (moved, key) = Move::of(|world| {
        let api = world.api(Person::ALICE);
        let bootstrap = world.bootstrap(Person::ALICE, 400);
        let keys: Vec<_> = (0..400).map(|_| api.mint(&bootstrap)).collect();
        keys.into_iter().next_back().expect("a key")
    });
    let folder = moved.world.folder();
    let mut first = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["store", "migrate", "--from", EMBEDDED, "--to", REDIS])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    wait_until("something has been copied", || {
        moved.redis.command(&["HLEN", "{keyward}:catalog"]).integer() > 0
    });
    first.kill().expect("killed");
    first.wait().expect("it has ended");
    // One more that is missing for certain, by an operator's hand.
    let Some(record) = keys(&moved.redis, "{keyward}:r:*").pop() else {
        panic!("nothing was copied")
    };
    assert_eq!(moved.redis.command(&["DEL", &record]).integer(), 1);
    let found = summary(&moved.migrate(EMBEDDED, REDIS), 0);
    let [all, expired, there, copied, verified] = counts(&found, "api_keys")[..] else {
        panic!("{found}")
    };
    assert_eq!((all, expired, there + copied, verified), (400, 0, 400, 400), "{found}");
    assert_eq!(moved.listed(REDIS), moved.listed(EMBEDDED));
    let mut moved = moved;
    moved.serve_from_redis();
    assert_eq!(moved.world.status_with(&key.token), 200);
}

fn keys(redis: &RedisServer, pattern: &str) -> Vec<String> {
    let crate::support::redis::Reply::Array(found) = redis.command(&["KEYS", pattern]) else {
        panic!("no list")
    };
    found.iter().map(crate::support::redis::Reply::text).collect()
}

#[test]
fn other_keys_are_refused_and_nothing_is_written() {
    let (moved, _) = Move::of(fill);
    let other = Move::plan(&moved.upstream).start();
    let directory = format!("{:?}", other.folder().join("keys").display().to_string());
    let plan =
        Move::plan(&moved.upstream).redis(&moved.redis.url()).set("keys", "directory", &directory);
    moved.world.write(REDIS, &plan);
    refused(&moved.migrate(EMBEDDED, REDIS), "different [keys]");
    assert_eq!(keys(&moved.redis, "*"), [""; 0]);
    refused(&moved.migrate(EMBEDDED, EMBEDDED), "the same store");
    assert_eq!(moved.migrate(EMBEDDED, "nowhere.toml").status.code(), Some(1));
    // The same store's key, but one of what makes its tokens is missing.
    let (whole, partial) =
        (moved.world.folder().join("keys"), moved.world.folder().join("partial"));
    let plan = Move::plan(&moved.upstream).set("store", "path", "\"back.db\"").set(
        "keys",
        "directory",
        &format!("{:?}", partial.display().to_string()),
    );
    moved.world.write(BACK, &plan);
    for (missing, added, word) in [
        ("jwt-", None, "is missing: tokens that it has signed"),
        (
            "mac-",
            Some("mac-2.key"),
            "a mac-….key of the source is missing: opaque tokens that were made with it",
        ),
        (
            "pepper",
            Some("pepper-2.key"),
            "a pepper-….key of the source is missing: tokens that are known under it",
        ),
    ] {
        std::fs::create_dir(&partial).expect("a folder");
        for entry in std::fs::read_dir(&whole).expect("the keys").flatten() {
            let name = entry.file_name().into_string().expect("a name");
            if !name.starts_with(missing) {
                std::fs::copy(entry.path(), partial.join(name)).expect("copied");
            }
        }
        if let Some(name) = added {
            std::fs::copy(whole.join("store.key"), partial.join(name)).expect("copied");
        }
        refused(&moved.migrate(EMBEDDED, BACK), word);
        assert!(!moved.world.folder().join("back.db").exists(), "{missing}");
        std::fs::remove_dir_all(&partial).expect("removed");
    }
}

#[test]
fn a_target_that_holds_anything_else_is_refused_and_the_differences_are_named() {
    let (moved, (_, key, _)) = Move::of(fill);
    summary(&moved.migrate(EMBEDDED, REDIS), 0);
    let issued = moved.world.run_on(
        REDIS,
        &[
            "bootstrap",
            "create",
            "--token-api",
            "jarvispy",
            "--sub",
            "s",
            "--username",
            "u",
            "--organization",
            "o",
            "--role",
            "r",
        ],
    );
    assert!(issued.status.success(), "{}", words(&issued));
    let record = keys(&moved.redis, "{keyward}:r:*").into_iter().find(|record| {
        let id = moved.redis.command(&["HGET", record, "i"]).text();
        id == key.jti.replace('-', "")
    });
    let digest = record.expect("the key's record")["{keyward}:r:".len()..].to_owned();
    moved.redis.command(&["HSET", "{keyward}:used", &digest, "9000000000000"]);
    let before = keys(&moved.redis, "*").len();
    let output = moved.migrate(EMBEDDED, REDIS);
    let found = summary(&output, 1);
    assert_eq!(found["differing"], 2, "{found}");
    let said = words(&output);
    assert!(
        said.contains(&format!("API key {} of \"jarvispy\" differs: last use", key.jti)),
        "{said}"
    );
    assert!(said.contains("bootstrap token ") && said.contains("is only at the target"), "{said}");
    assert!(!said.contains(&digest) && !found.to_string().contains(&digest));
    assert_eq!(keys(&moved.redis, "*").len(), before);
}

#[test]
fn a_store_that_is_served_or_not_there_is_refused() {
    let (mut moved, _) = Move::of(fill);
    refused(&moved.migrate(BACK, REDIS), "there is no store at");
    refused(&moved.migrate(REDIS, BACK), "there is no store of the fleet");
    assert!(!moved.world.folder().join("back.db").exists());
    moved.world.write("embedded.toml", &Move::plan(&moved.upstream));
    moved.world.restart();
    refused(&moved.migrate(EMBEDDED, REDIS), "the source");
    moved.world.stop();
    summary(&moved.migrate("embedded.toml", REDIS), 0);
    moved.serve_from_redis();
    refused(&moved.migrate(REDIS, BACK), "a keyward is running");
    refused(&moved.migrate("embedded.toml", REDIS), "a keyward is running");
    // One that died has not said goodbye, but it does not beat.
    moved.world.kill();
    assert_eq!(moved.redis.command(&["HLEN", "{keyward}:instances"]).integer(), 1);
    summary(&moved.migrate(REDIS, BACK), 0);
}

/// Accounts, logins, keys, and those that were retired.
#[test]
fn people_move_with_their_passwords_logins_and_keys() {
    let (upstream, redis) = (Upstream::start(), RedisServer::start());
    let plan = || {
        Plan::usual(&upstream)
            .table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"")
            .route("path = \"/v1/me/{*rest}\"\nupstream = \"app\"\naccept = [\"accounts\"]")
    };
    let mut world = plan().start();
    world.write(REDIS, &plan().redis(&redis.url()));
    world.write(BACK, &plan().set("store", "path", "\"back.db\""));
    let call = |world: &World, method: &str, target: &str, session: &str, body: Value| {
        let fields =
            format!("Content-Type: application/json\r\nAuthorization: Bearer {session}\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        world.ask(
            method,
            target,
            if session.is_empty() { "Content-Type: application/json\r\n" } else { &fields },
            body,
        )
    };
    let register = |world: &World, name: &str| {
        let body = json!({
            "username": name,
            "email": format!("{name}@example.com"),
            "password": "correct horse",
            "full_name": "A",
        });
        assert_eq!(call(world, "POST", "/v1/auth/register", "", body).status, 200);
    };
    let login = |world: &World, name: &str| {
        let answer = call(
            world,
            "POST",
            "/v1/auth/login",
            "",
            json!({ "username": name, "password": "correct horse" }),
        );
        (answer.status, body_of(&answer)["access_token"].as_str().unwrap_or_default().to_owned())
    };
    register(&world, "ann");
    register(&world, "bob");
    let (_, session) = login(&world, "ann");
    let key = || {
        let made =
            body_of(&call(&world, "POST", "/v1/auth/api-keys", &session, json!({ "name": "k" })));
        (
            made["raw_key"].as_str().expect("a key").to_owned(),
            made["id"].as_str().expect("an id").to_owned(),
        )
    };
    let ((kept, _), (gone, gone_id)) = (key(), key());
    let target = format!("/v1/auth/api-keys/{gone_id}");
    assert_eq!(call(&world, "DELETE", &target, &session, Value::Null).status, 204);
    assert!(world.run(&["user", "disable", "bob"]).status.success());
    let list =
        |world: &World| body_of(&call(world, "GET", "/v1/auth/api-keys", &session, Value::Null));
    let listed = list(&world);
    world.stop();
    let migrate = |world: &World, from: &str, to: &str| {
        summary(&world.run(&["store", "migrate", "--from", from, "--to", to, "--json"]), 0)
    };
    for (from, to, there) in [
        (EMBEDDED, REDIS, plan().redis(&redis.url())),
        (REDIS, BACK, plan().set("store", "path", "\"back.db\"")),
    ] {
        // The first is overwritten by what is served below.
        world.write(EMBEDDED, &plan());
        let found = migrate(&world, from, to);
        assert_eq!(counts(&found, "accounts")[..2], [2, 0]);
        assert_eq!(counts(&found, "retired_keys"), [1, 0, 0, 1, 1]);
        world.configure(&there);
        world.restart();
        let status =
            |key: &str| world.ask("GET", "/v1/me/x", &format!("X-API-Key: {key}\r\n"), "").status;
        assert_eq!((status(&kept), status(&gone)), (200, 401));
        assert_eq!(list(&world), listed, "with the one that was retired");
        assert_eq!((login(&world, "ann").0, login(&world, "bob").0), (200, 401));
        let taken = json!({
            "username": "ANN",
            "email": "x@example.com",
            "password": "correct horse",
            "full_name": "A",
        });
        assert_eq!(call(&world, "POST", "/v1/auth/register", "", taken).status, 409);
        world.stop();
    }
}
