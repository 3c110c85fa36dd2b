//! Inspects the Redis that keyward is to trust: whether it can lose records, has what keyward
//! needs, and permits it.
//!
//! Nothing is left changed: rights are tried on keys that do not exist, and one change is made and
//! undone in one step. Settings that a managed Redis does not show (`CONFIG`) are read from `INFO`,
//! as far as that has them, and otherwise reported as not checked.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::connection::Connection;
use super::failure::RedisFailure;
use super::node::{Facts, field};
use super::settings::{NodeAddress, RedisOptions, Servers};
use crate::tokens::finding::{Finding, Severity};

mod rights;
#[cfg(test)]
mod tests;

/// The clocks may differ by so much before it is reported.
const CLOCK: Duration = Duration::from_secs(1);

/// Inspects the server at `address`, behind a connection that [`super::node::Nodes::connect`] has
/// made. Takes some forty questions, each with the deadline of the connection, which must not be
/// the link's: it ends tracking and the subscriptions that it tries. `lease` is `coherence_lease`,
/// part of the bound that is stated.
pub async fn inspect(
    connection: &mut Connection,
    facts: &Facts,
    address: &NodeAddress,
    options: &RedisOptions,
    lease: Duration,
) -> Vec<Finding> {
    let (major, minor, patch) = facts.version;
    let seen = Seen::ask(connection).await;
    let mut found = vec![
        Finding::fine("version", format!("{major}.{minor}.{patch}")),
        encryption(address, options.settings.tls.is_some()),
        seen.eviction(),
        seen.persistence(options.allow_volatile),
    ];
    found.extend(seen.append_only_file());
    found.extend(match options.settings.servers {
        Servers::Cluster(_) => seen.node_timeout(lease),
        _ => seen.replicas(facts, lease),
    });
    found.push(acknowledgements(facts, options.acks.map_or(0, |acks| acks.count)));
    found.push(clock(connection).await);
    let rights = rights::check(connection, options).await;
    let has_rights = rights.iter().all(|finding| finding.severity == Severity::Fine);
    found.extend(rights);
    // Without a right, what is made could not be undone.
    if has_rights {
        found.push(changes(connection, &options.settings.prefix).await);
    }
    found
}

/// Warns where keyward's user may empty the server, which keyward never does.
pub async fn excess(connection: &mut Connection) -> Option<Finding> {
    rights::excess(connection).await
}

fn fine(subject: &str, found: impl Into<String>, words: impl Into<String>) -> Finding {
    Finding { words: words.into(), ..Finding::fine(subject, found) }
}

fn warning(subject: &str, found: &str, wanted: &str, words: impl Into<String>) -> Finding {
    Finding::of(Severity::Warning, subject, found, wanted, words)
}

fn fault(subject: &str, found: &str, wanted: &str, words: impl Into<String>) -> Finding {
    Finding::of(Severity::Fault, subject, found, wanted, words)
}

fn unseen(subject: &str, wanted: &str) -> Finding {
    let words =
        "the server does not let us see it (a managed Redis often does not): check it yourself";
    warning(subject, "could not be checked", wanted, words)
}

fn encryption(address: &NodeAddress, is_encrypted: bool) -> Finding {
    if is_encrypted {
        return Finding::fine("TLS", "on");
    }
    if address.is_loopback() {
        return Finding::fine("TLS", "off, on the loopback interface");
    }
    let words =
        format!("records and the password cross the network to {address} in clear: use rediss://");
    warning("TLS", "off", "on", words)
}

/// The server's settings by their names, as far as they can be seen.
struct Seen(HashMap<&'static str, String>);

impl Seen {
    async fn ask(connection: &mut Connection) -> Self {
        let mut seen = HashMap::new();
        for name in [
            "maxmemory-policy",
            "appendonly",
            "appendfsync",
            "save",
            "stop-writes-on-bgsave-error",
            "min-replicas-to-write",
            "min-replicas-max-lag",
            "cluster-node-timeout",
        ] {
            seen.extend(config(connection, name).await.map(|value| (name, value)));
        }
        // Where CONFIG is closed, INFO tells some of it.
        if !seen.contains_key("maxmemory-policy") {
            let policy = info(connection, "memory", "maxmemory_policy").await;
            seen.extend(policy.map(|policy| ("maxmemory-policy", policy)));
        }
        if !seen.contains_key("appendonly") {
            let enabled = info(connection, "persistence", "aof_enabled").await;
            let yes_or_no = |enabled: String| if enabled == "1" { "yes" } else { "no" };
            seen.extend(enabled.map(|enabled| ("appendonly", yes_or_no(enabled).to_owned())));
        }
        Self(seen)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Whether there are snapshots.
    fn saves(&self) -> Option<bool> {
        self.get("save").map(|save| !save.is_empty())
    }

    fn eviction(&self) -> Finding {
        const SUBJECT: &str = "maxmemory-policy";
        let words = "when memory is short, Redis would throw records away, and their tokens would \
                     stop working: set maxmemory-policy noeviction, and maxmemory to what the \
                     machine can spare";
        match self.get(SUBJECT) {
            Some("noeviction") => Finding::fine(SUBJECT, "noeviction"),
            Some(policy) => fault(SUBJECT, policy, "noeviction", words),
            None => unseen(SUBJECT, "noeviction"),
        }
    }

    fn persistence(&self, allow_volatile: bool) -> Finding {
        const SUBJECT: &str = "persistence";
        const WANTED: &str = "appendonly yes";
        match (self.get("appendonly"), self.saves()) {
            (Some("yes"), _) => Finding::fine(SUBJECT, "append-only file"),
            (Some(_), Some(true)) => {
                let words = "a crash of Redis undoes what was changed since the latest snapshot: \
                             tokens that were issued stop working, and tokens that were revoked \
                             work again";
                warning(SUBJECT, "snapshots only", WANTED, words)
            }
            (Some(_), Some(false)) if allow_volatile => {
                let words = "a restart of Redis loses every record, and so every token; allowed by \
                             allow_volatile = true";
                warning(SUBJECT, "none", WANTED, words)
            }
            (Some(_), Some(false)) => {
                let words = "a restart of Redis would lose every record, and so every token: set \
                             appendonly yes, or accept that with allow_volatile = true in [store]";
                fault(SUBJECT, "none", WANTED, words)
            }
            (Some(_), None) => {
                let found = "no append-only file; snapshots could not be checked";
                let words = "a crash of Redis may undo what was changed shortly before, or lose \
                             every record";
                warning(SUBJECT, found, WANTED, words)
            }
            (None, _) => unseen(SUBJECT, WANTED),
        }
    }

    /// What is to be said where there is an append-only file.
    fn append_only_file(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.get("appendonly") != Some("yes") {
            return found;
        }
        if self.saves() == Some(true) && self.get("stop-writes-on-bgsave-error") == Some("yes") {
            let words = "a snapshot that fails, on a full disk say, makes Redis refuse every \
                         change (MISCONF): with an append-only file none is needed (save \"\")";
            found.push(fine("stop-writes-on-bgsave-error", "yes", words));
        }
        found.extend(self.get("appendfsync").map(|fsync| match fsync {
            "always" => Finding::fine("appendfsync", "always"),
            "everysec" => {
                let words = "a power failure may undo the latest second of changes, revocations \
                             among them, unless replicas have them (revoke_acks)";
                fine("appendfsync", "everysec", words)
            }
            other => {
                let words =
                    "a power failure may undo many seconds of changes, revocations among them";
                warning("appendfsync", other, "everysec or always", words)
            }
        }));
        found
    }

    /// A primary of a Cluster that is cut off stops to take writes after this by itself.
    fn node_timeout(&self, lease: Duration) -> Option<Finding> {
        const SUBJECT: &str = "cluster-node-timeout";
        let millis = self.number(SUBJECT)?;
        let words = bounded("the node timeout", Duration::from_millis(millis), lease);
        Some(fine(SUBJECT, format!("{millis} ms"), words))
    }

    fn replicas(&self, facts: &Facts, lease: Duration) -> Option<Finding> {
        const SUBJECT: &str = "min-replicas-to-write";
        const WANTED: &str = "1 or more, and min-replicas-max-lag";
        if facts.replicas == 0 {
            return None;
        }
        Some(match self.number(SUBJECT).zip(self.number("min-replicas-max-lag")) {
            Some((count, lag)) if count > 0 && lag > 0 => {
                let words = bounded(&format!("{lag} s"), Duration::from_secs(lag), lease);
                fine(SUBJECT, format!("{count} within {lag} s"), words)
            }
            Some(_) => {
                let words = "after a failover, an old master that is cut off with some of the \
                             instances goes on answering them, and they accept revoked tokens \
                             until it notices: without these settings there is no bound; with \
                             them it is coherence_lease plus min-replicas-max-lag";
                warning(SUBJECT, "0", WANTED, words)
            }
            None => unseen(SUBJECT, WANTED),
        })
    }
}

fn bounded(after: &str, lag: Duration, lease: Duration) -> String {
    let bound = (lag + lease).as_secs_f64();
    format!(
        "a master that is cut off refuses writes after {after}: no instance accepts a revoked \
         token longer than {bound:.1} s"
    )
}

/// The subject of [`changes`]: a fault that may pass by itself, and so no reason not to start.
pub(super) const CHANGES: &str = "changes";

/// Whether it takes changes now: one is made and undone.
async fn changes(connection: &mut Connection, prefix: &str) -> Finding {
    const TRY: &str =
        "redis.call('HSET', KEYS[1], 'probe', '1') redis.call('DEL', KEYS[1]) return 1";
    let mut tried = redis::cmd("EVAL");
    tried.arg(TRY).arg(1).arg(rights::probe_key(prefix));
    let Err(error) = tried.exec_async(&mut connection.inner).await else {
        return Finding::fine(CHANGES, "taken");
    };
    let found = error.code().map_or("refused".to_owned(), |code| format!("refused: {code}"));
    fault(CHANGES, &found, "taken", RedisFailure::from(error).to_string())
}

fn acknowledgements(facts: &Facts, acks: usize) -> Finding {
    const SUBJECT: &str = "replicas";
    let replicas = facts.replicas;
    if acks > replicas {
        let words = format!(
            "revoke_acks = {acks} asks for more replicas than are connected: every revocation \
             would fail"
        );
        return fault(SUBJECT, &replicas.to_string(), &format!("{acks} or more"), words);
    }
    if replicas > 0 && acks == 0 {
        let found = format!("{replicas}, revoke_acks = 0");
        let words = "a failover may undo revocations that were acknowledged shortly before: \
                     replicas get them a moment later";
        return warning(SUBJECT, &found, "revoke_acks = 1 or more", words);
    }
    Finding::fine(SUBJECT, replicas.to_string())
}

async fn clock(connection: &mut Connection) -> Finding {
    const SUBJECT: &str = "clock";
    let asked = SystemTime::now();
    let Ok((seconds, micros)) =
        redis::cmd("TIME").query_async::<(u64, u32)>(&mut connection.inner).await
    else {
        return unseen(SUBJECT, "ours");
    };
    let theirs =
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(u64::from(micros));
    let answered = SystemTime::now();
    // The answer was made somewhere between the two.
    let ahead = theirs.duration_since(answered).unwrap_or_default();
    let behind = asked.duration_since(theirs).unwrap_or_default();
    let apart = ahead.max(behind);
    if apart <= CLOCK {
        return Finding::fine(SUBJECT, "as ours");
    }
    let direction = if ahead > behind { "ahead of" } else { "behind" };
    let found = format!("{:.1} s {direction} ours", apart.as_secs_f64());
    let words = "keyward decides with its own clock whether a token has expired: if the instances' \
                 clocks differ, so do their answers";
    warning(SUBJECT, &found, "within 1 s", words)
}

/// A setting; `None` where it may not be asked, or is not known.
async fn config(connection: &mut Connection, name: &str) -> Option<String> {
    // A map in RESP3.
    let found: HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection.inner).await.ok()?;
    found.into_values().next()
}

/// A value in a section of `INFO`.
async fn info(connection: &mut Connection, section: &str, name: &str) -> Option<String> {
    let info: String =
        redis::cmd("INFO").arg(section).query_async(&mut connection.inner).await.ok()?;
    field(&info, name).map(str::to_owned)
}
