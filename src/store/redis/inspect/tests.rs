//! What is wrong with a real server is found, and what is right is not called wrong.

use super::*;
use crate::store::redis::node::Nodes;
use crate::store::redis::server::{RedisServer, wait_until};
use crate::store::redis::settings::{Acks, RedisSettings, Secret};

async fn look(settings: RedisSettings, change: impl FnOnce(&mut RedisOptions)) -> Vec<Finding> {
    let nodes = Nodes::new(settings.clone()).unwrap();
    let address = nodes.discover().await.unwrap();
    let (mut connection, facts) = nodes.connect(&address, None).await.unwrap();
    let mut options = RedisOptions { settings, acks: None, allow_volatile: false };
    change(&mut options);
    inspect(&mut connection, &facts, &address, &options, Duration::from_secs(1)).await
}

fn replicas(count: usize) -> Option<Acks> {
    (count > 0).then_some(Acks { count, timeout: Duration::from_secs(1) })
}

fn single(server: &RedisServer) -> RedisSettings {
    RedisSettings::single(NodeAddress::new("127.0.0.1", server.port))
}

/// What is not fine: severity and subject.
fn complaints(findings: &[Finding]) -> Vec<(Severity, &str)> {
    findings
        .iter()
        .filter(|finding| finding.severity != Severity::Fine)
        .map(|finding| (finding.severity, finding.subject.as_str()))
        .collect()
}

#[tokio::test]
async fn a_server_as_it_should_be_gives_no_complaint_and_is_not_changed() {
    let server = RedisServer::start();
    let findings = look(single(&server), |_| {}).await;
    assert_eq!(complaints(&findings), [], "{findings:#?}");
    assert_eq!(server.command(&["DBSIZE"]).integer(), 0);
    assert_eq!(
        server.command(&["PUBSUB", "CHANNELS"]),
        crate::store::redis::server::Reply::Array(Vec::new())
    );
}

#[tokio::test]
async fn eviction_and_missing_persistence_are_faults() {
    let server = RedisServer::start();
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    server.command(&["CONFIG", "SET", "appendonly", "no"]);
    let findings = look(single(&server), |_| {}).await;
    let both = [(Severity::Fault, "maxmemory-policy"), (Severity::Fault, "persistence")];
    assert_eq!(complaints(&findings), both, "{findings:#?}");
    let findings = look(single(&server), |options| options.allow_volatile = true).await;
    assert_eq!(complaints(&findings), [both[0], (Severity::Warning, "persistence")]);
    server.command(&["CONFIG", "SET", "save", "60 1000"]);
    let findings = look(single(&server), |_| {}).await;
    assert_eq!(complaints(&findings), [both[0], (Severity::Warning, "persistence")]);
}

#[tokio::test]
async fn replicas_need_bounds_and_acknowledgements() {
    let master = RedisServer::start();
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    wait_until("the replica has its copy", || {
        replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let findings = look(single(&master), |_| {}).await;
    assert_eq!(
        complaints(&findings),
        [(Severity::Warning, "min-replicas-to-write"), (Severity::Warning, "replicas")],
        "{findings:#?}"
    );
    master.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    wait_until("the replica has acknowledged what it has", || {
        master.command(&["INFO", "replication"]).text().contains("min_slaves_good_slaves:1")
    });
    let findings = look(single(&master), |options| options.acks = replicas(1)).await;
    assert_eq!(complaints(&findings), [], "{findings:#?}");
    assert!(
        findings.iter().any(|finding| finding.words.contains("longer than 11.0 s")),
        "{findings:#?}"
    );
    let findings = look(single(&master), |options| options.acks = replicas(2)).await;
    assert_eq!(complaints(&findings), [(Severity::Fault, "replicas")]);
}

/// What is said of changes: how it is, and why.
fn of_changes(findings: &[Finding]) -> (&str, &str) {
    let found =
        findings.iter().find(|finding| finding.subject == CHANGES).expect("changes are tried");
    (&found.found, &found.words)
}

#[tokio::test]
async fn a_server_that_refuses_changes_is_named_with_the_setting_that_it_is_about() {
    let server = RedisServer::start();
    assert_eq!(of_changes(&look(single(&server), |_| {}).await), ("taken", ""));
    server.fail_saves();
    let findings = look(single(&server), |_| {}).await;
    assert_eq!(complaints(&findings), [(Severity::Fault, CHANGES)], "{findings:#?}");
    let (found, words) = of_changes(&findings);
    assert_eq!(found, "refused: MISCONF");
    assert!(
        words.contains("save \"\"") && words.contains("stop-writes-on-bgsave-error"),
        "{words}"
    );
    server.mend_saves();
    assert_eq!(of_changes(&look(single(&server), |_| {}).await), ("taken", ""));
    for (setting, value, usual, code, word) in [
        ("min-replicas-to-write", "1", "0", "refused: NOREPLICAS", "min-replicas-to-write"),
        ("maxmemory", "1", "0", "refused: OOM", "maxmemory"),
    ] {
        server.command(&["CONFIG", "SET", setting, value]);
        let findings = look(single(&server), |_| {}).await;
        assert_eq!(complaints(&findings), [(Severity::Fault, CHANGES)], "{findings:#?}");
        let (found, words) = of_changes(&findings);
        assert!(found == code && words.contains(word), "{found}: {words}");
        server.command(&["CONFIG", "SET", setting, usual]);
    }
    assert_eq!(of_changes(&look(single(&server), |_| {}).await), ("taken", ""));
    assert_eq!(server.command(&["DBSIZE"]).integer(), 0, "what was tried is undone");
}

#[tokio::test]
async fn a_server_that_is_still_loading_is_named_as_that() {
    // 2 ms for each key, and a look at its clients after each kilobyte.
    let slowly =
        "rdbcompression no\nkey-load-delay 2000\nloading-process-events-interval-bytes 1024";
    let mut server = RedisServer::start_with(slowly);
    server.command(&[
        "EVAL",
        "for n = 1, 6000 do redis.call('SET', n, string.rep('x', 100)) end",
        "0",
    ]);
    server.command(&["BGREWRITEAOF"]);
    wait_until("it is written", || {
        let info = server.command(&["INFO", "persistence"]).text();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
    server.restart();
    assert!(server.command(&["PING"]).text().starts_with("LOADING"), "it takes its time");
    let (found, words) = {
        let findings = look(single(&server), |_| {}).await;
        let (found, words) = of_changes(&findings);
        (found.to_owned(), words.to_owned())
    };
    assert!(found == "refused: LOADING" && words.contains("loading its data"), "{found}: {words}");
}

/// The rights that the documentation names, and one that is taken away.
async fn with_rule(rule: &str, revoke_acks: usize) -> Vec<Finding> {
    let server = RedisServer::start_with(&format!("user app on >secret {rule}"));
    let settings = RedisSettings {
        username: Some("app".to_owned()),
        password: Some(Secret::new("secret".to_owned())),
        ..single(&server)
    };
    let findings = look(settings, |options| options.acks = replicas(revoke_acks)).await;
    assert_eq!(server.command(&["DBSIZE"]).integer(), 0, "{rule}");
    findings
}

/// The rule that operators read, on one line.
fn enough() -> String {
    let page = include_str!("../../../../docs/fleet.md");
    let rule = page.split("```text\n~").nth(1).and_then(|rest| rest.split("\n```").next());
    format!("~{}", rule.unwrap().replace('\n', " "))
}

#[test]
fn what_is_deployed_has_the_rule_that_operators_read() {
    let rule = enough();
    let commands = rule.split(' ').filter(|word| word.starts_with(['+', '-']));
    let commands: Vec<_> = commands.collect();
    for file in [
        include_str!("../../../../deploy/compose/setup.sh"),
        include_str!("../../../../deploy/kubernetes/make-secrets"),
    ] {
        // Of what the shell puts together.
        let words = file.lines().filter(|line| line.trim_start().starts_with("rights="));
        let words: Vec<_> = words.flat_map(|line| line.split(['\'', '"', ' ', '='])).collect();
        let given: Vec<_> = words.into_iter().filter(|word| word.starts_with(['+', '-'])).collect();
        assert_eq!(given, commands);
    }
}

#[tokio::test]
async fn a_user_that_may_empty_the_server_is_named_and_no_other() {
    // Of DRYRUN, and without it.
    let wide = "~{keyward}:* &{keyward}:* +@read +@write +@scripting +@connection +@pubsub +info";
    for (rule, right) in [
        (enough(), None),
        (wide.to_owned(), Some("right to SWAPDB")),
        (format!("{wide} +acl|whoami +acl|dryrun"), Some("right to FLUSHALL")),
        (format!("{} +acl|whoami +acl|dryrun", enough()), None),
        ("~* &* +@all".to_owned(), Some("right to FLUSHALL")),
        ("~* &* +@all -acl".to_owned(), Some("right to SWAPDB")),
        ("~* &* +@all -@dangerous +info".to_owned(), None),
    ] {
        let server = RedisServer::start_with(&format!("user app on >secret {rule}"));
        server.command(&["SET", "kept", "1"]);
        server.command(&["HSET", "{keyward}:kept", "a", "1"]);
        let settings = RedisSettings {
            username: Some("app".to_owned()),
            password: Some(Secret::new("secret".to_owned())),
            ..single(&server)
        };
        let nodes = Nodes::new(settings).unwrap();
        let address = nodes.discover().await.unwrap();
        let (mut connection, _) = nodes.connect(&address, None).await.unwrap();
        let found = excess(&mut connection).await;
        let found = found.map(|finding| (finding.severity, finding.subject));
        let wanted = right.map(|right| (Severity::Warning, right.to_owned()));
        assert_eq!(found, wanted, "{rule}");
        assert_eq!(server.command(&["DBSIZE"]).integer(), 2, "{rule}");
    }
}

#[tokio::test]
async fn every_missing_right_is_named() {
    let enough = &enough();
    let without = |rule: &str| format!("{enough} {rule}");
    // Without CONFIG: INFO tells what matters.
    let findings = with_rule(enough, 0).await;
    assert_eq!(complaints(&findings), [], "{findings:#?}");
    for (rule, name) in [
        ("-hget", "right to HGET"),
        ("-hset", "right to HSET"),
        ("-incr", "right to INCR"),
        ("-del", "right to DEL"),
        ("-zadd", "right to ZADD"),
        ("-eval", "right to EVAL"),
        ("-evalsha", "right to EVALSHA"),
        ("-publish", "right to PUBLISH {keyward}:confirmed:probe"),
        ("-client|tracking", "right to CLIENT TRACKING"),
    ] {
        let findings = with_rule(&without(rule), 0).await;
        let faults: Vec<_> = findings
            .iter()
            .filter(|f| f.severity == Severity::Fault)
            .map(|f| f.subject.as_str())
            .collect();
        assert!(faults.contains(&name), "{rule}: {findings:#?}");
        assert!(faults.len() <= 2, "{rule}: {faults:?}");
    }
    let other_keys = with_rule("~other:* &* +@all", 0).await;
    assert!(
        complaints(&other_keys).contains(&(Severity::Fault, "right to EVAL")),
        "{other_keys:#?}"
    );
    let other_channels = with_rule("~* &other +@all", 0).await;
    assert!(
        complaints(&other_channels)
            .contains(&(Severity::Fault, "right to SUBSCRIBE {keyward}:revoked")),
        "{other_channels:#?}"
    );
}

#[test]
fn encryption_matters_beyond_this_machine() {
    let severity = |host: &str| encryption(&NodeAddress::new(host, 6379), false).severity;
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
        assert_eq!(severity(host), Severity::Fine, "{host}");
    }
    for host in ["10.0.0.1", "redis", "::2"] {
        assert_eq!(severity(host), Severity::Warning, "{host}");
    }
}
