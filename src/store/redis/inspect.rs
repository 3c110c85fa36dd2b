//! Inspects the Redis that keyward is to trust: whether it can lose records, has what keyward
//! needs, and permits it.
//!
//! Nothing is changed: rights are tried with commands that find nothing to change, on keys that do
//! not exist, and one change is made and undone in one step. Settings that a managed Redis does not
//! show (`CONFIG`) are read from `INFO`, as far as that has them, and otherwise reported as not
//! checked.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::connection::Connection;
use super::discovery_error::words_of;
use super::failure::{FailureKind, RedisFailure};
use super::node::{Facts, field};
use crate::tokens::finding::{Finding, Severity};

mod expectations;
mod rights;
#[cfg(test)]
mod tests;

pub use expectations::Expectations;

/// The clocks may differ by so much before it is reported.
const CLOCK: Duration = Duration::from_secs(1);

/// Inspects the server behind a connection that [`super::node::Nodes::connect`] has made. Takes
/// some forty questions, each with the deadline of the connection, which must not be the link's: it
/// ends tracking and the subscriptions that it tries.
pub async fn inspect(
    connection: &mut Connection,
    facts: &Facts,
    wanted: &Expectations,
) -> Vec<Finding> {
    let (major, minor, patch) = facts.version;
    let mut found = vec![Finding::fine("version", format!("{major}.{minor}.{patch}"))];
    found.push(encryption(wanted));
    let seen = Seen::ask(connection).await;
    found.push(seen.eviction());
    found.push(seen.persistence(wanted));
    found.extend(seen.append_only_file());
    found.extend(seen.replicas(facts, wanted));
    found.push(acknowledgements(facts, wanted));
    found.push(clock(connection).await);
    let rights = rights::check(connection, wanted).await;
    let has_rights = rights.iter().all(|finding| finding.severity == Severity::Fine);
    found.extend(rights);
    // Without a right, what is made could not be undone.
    if has_rights {
        found.push(changes(connection, wanted).await);
    }
    found
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

fn encryption(wanted: &Expectations) -> Finding {
    if wanted.tls {
        return Finding::fine("TLS", "on");
    }
    if wanted.address.is_loopback() {
        return Finding::fine("TLS", "off, on the loopback interface");
    }
    let address = &wanted.address;
    let words =
        format!("records and the password cross the network to {address} in clear: use rediss://");
    warning("TLS", "off", "on", words)
}

/// The server's settings, as far as they can be seen.
struct Seen {
    policy: Option<String>,
    append_only: Option<bool>,
    append_fsync: Option<String>,
    /// Whether there are snapshots.
    saves: Option<bool>,
    /// `stop-writes-on-bgsave-error`.
    stops_writes: Option<bool>,
    /// `min-replicas-to-write` and `min-replicas-max-lag` in seconds.
    min_replicas: Option<(usize, u64)>,
    /// In cluster mode: `cluster-node-timeout` in milliseconds.
    node_timeout: Option<u64>,
}

impl Seen {
    async fn ask(connection: &mut Connection) -> Self {
        let yes = |value: Option<String>| value.map(|value| value == "yes");
        let mut policy = config(connection, "maxmemory-policy").await;
        let mut append_only = yes(config(connection, "appendonly").await);
        // Where CONFIG is closed, INFO tells some of it.
        if policy.is_none() {
            policy = info(connection, "memory", "maxmemory_policy").await;
        }
        if append_only.is_none() {
            append_only = info(connection, "persistence", "aof_enabled").await.map(|on| on == "1");
        }
        let count = number(config(connection, "min-replicas-to-write").await);
        let lag = number(config(connection, "min-replicas-max-lag").await);
        Self {
            policy,
            append_only,
            append_fsync: config(connection, "appendfsync").await,
            saves: config(connection, "save").await.map(|save| !save.is_empty()),
            stops_writes: yes(config(connection, "stop-writes-on-bgsave-error").await),
            min_replicas: count.zip(lag),
            node_timeout: number(config(connection, "cluster-node-timeout").await),
        }
    }

    fn eviction(&self) -> Finding {
        const SUBJECT: &str = "maxmemory-policy";
        let words = "when memory is short, Redis would throw records away, and their tokens would \
                     stop working: set maxmemory-policy noeviction, and maxmemory to what the \
                     machine can spare";
        match self.policy.as_deref() {
            Some("noeviction") => Finding::fine(SUBJECT, "noeviction"),
            Some(policy) => fault(SUBJECT, policy, "noeviction", words),
            None => unseen(SUBJECT, "noeviction"),
        }
    }

    fn persistence(&self, wanted: &Expectations) -> Finding {
        const SUBJECT: &str = "persistence";
        const WANTED: &str = "appendonly yes";
        match (self.append_only, self.saves) {
            (Some(true), _) => Finding::fine(SUBJECT, "append-only file"),
            (Some(false), Some(true)) => {
                let words = "a crash of Redis undoes what was changed since the latest snapshot: \
                             tokens that were issued stop working, and tokens that were revoked \
                             work again";
                warning(SUBJECT, "snapshots only", WANTED, words)
            }
            (Some(false), Some(false)) if wanted.allow_volatile => {
                let words = "a restart of Redis loses every record, and so every token; allowed by \
                             allow_volatile = true";
                warning(SUBJECT, "none", WANTED, words)
            }
            (Some(false), Some(false)) => {
                let words = "a restart of Redis would lose every record, and so every token: set \
                             appendonly yes, or accept that with allow_volatile = true in [store]";
                fault(SUBJECT, "none", WANTED, words)
            }
            (Some(false), None) => {
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
        if self.append_only != Some(true) {
            return found;
        }
        if self.saves == Some(true) && self.stops_writes == Some(true) {
            let words = "a snapshot that fails, on a full disk say, makes Redis refuse every \
                         change (MISCONF): with an append-only file none is needed (save \"\")";
            found.push(fine("stop-writes-on-bgsave-error", "yes", words));
        }
        found.extend(self.append_fsync.as_deref().map(|fsync| match fsync {
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

    fn replicas(&self, facts: &Facts, wanted: &Expectations) -> Option<Finding> {
        const SUBJECT: &str = "min-replicas-to-write";
        const WANTED: &str = "1 or more, and min-replicas-max-lag";
        let bounded = |after: &str, lag: Duration| {
            let bound = (lag + wanted.lease).as_secs_f64();
            format!(
                "a master that is cut off refuses writes after {after}: no instance accepts a \
                 revoked token longer than {bound:.1} s"
            )
        };
        if wanted.cluster {
            // A primary that is cut off stops to take writes after the node timeout by itself.
            return self.node_timeout.map(|millis| {
                let words = bounded("the node timeout", Duration::from_millis(millis));
                fine("cluster-node-timeout", format!("{millis} ms"), words)
            });
        }
        if facts.replicas == 0 {
            return None;
        }
        Some(match self.min_replicas {
            Some((count, lag)) if count > 0 && lag > 0 => {
                let words = bounded(&format!("{lag} s"), Duration::from_secs(lag));
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

/// The subject of [`changes`]: a fault that may pass by itself, and so no reason not to start.
pub(super) const CHANGES: &str = "changes";

/// Whether it takes changes now: one is made and undone.
async fn changes(connection: &mut Connection, wanted: &Expectations) -> Finding {
    const TRY: &str =
        "redis.call('HSET', KEYS[1], 'probe', '1') redis.call('DEL', KEYS[1]) return 1";
    let mut tried = redis::cmd("EVAL");
    tried.arg(TRY).arg(1).arg(rights::probe_key(wanted));
    let Err(error) = tried.exec_async(connection).await else {
        return Finding::fine(CHANGES, "taken");
    };
    let failure = RedisFailure::from(&error);
    let (found, words) = match failure.kind {
        FailureKind::Refused(_) => {
            let code = error.code().unwrap_or("ERR");
            (format!("refused: {code}"), failure.to_string())
        }
        _ => ("refused".to_owned(), format!("Redis refuses changes ({})", words_of(&error))),
    };
    fault(CHANGES, &found, "taken", words)
}

fn acknowledgements(facts: &Facts, wanted: &Expectations) -> Finding {
    const SUBJECT: &str = "replicas";
    let (replicas, acks) = (facts.replicas, wanted.revoke_acks);
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
    let Ok((seconds, micros)) = redis::cmd("TIME").query_async::<(u64, u32)>(connection).await
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
        redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await.ok()?;
    found.into_values().next()
}

/// A value in a section of `INFO`.
async fn info(connection: &mut Connection, section: &str, name: &str) -> Option<String> {
    let info: String = redis::cmd("INFO").arg(section).query_async(connection).await.ok()?;
    field(&info, name).map(str::to_owned)
}

fn number<T: std::str::FromStr>(text: Option<String>) -> Option<T> {
    text?.parse().ok()
}
