//! Looks at the Redis that keyward is to trust: can it lose records, does it do what keyward needs,
//! may keyward do it?
//!
//! Nothing is changed: rights are tried with commands that find nothing to change, on keys that
//! nobody has, and one change is made and undone in one step. What a managed Redis does not let us
//! see (`CONFIG`) is looked up in `INFO`, as far as that goes, and otherwise reported as not
//! checked.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::connection::Connection;
use super::fault::change_refusal;
use super::node::{Facts, field};
use super::settings::{NodeAddress, RedisSettings, Servers};
use super::site_fault::words_of;
use crate::tokens::finding::{Finding, Severity};

mod rights;
#[cfg(test)]
mod tests;

/// What the operator has asked for, as far as the server must fit it.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Where the server is.
    pub address: NodeAddress,
    /// Whether the connections are encrypted.
    pub tls: bool,
    /// Whether it is a node of a Cluster.
    pub cluster: bool,
    /// What the fleet's keys begin with, without braces.
    pub prefix: String,
    /// How many replicas must have a revocation before it is acknowledged; 0: it is not asked.
    pub revoke_acks: usize,
    /// Whether records may be lost when Redis is restarted (`allow_volatile`).
    pub allow_volatile: bool,
    /// `coherence_lease`: part of the bound that is stated.
    pub lease: Duration,
}

impl Expectations {
    /// From the settings, for a server at this address.
    #[must_use]
    pub fn of(settings: &RedisSettings, address: NodeAddress) -> Self {
        Self {
            address,
            tls: settings.tls.is_some(),
            cluster: matches!(settings.servers, Servers::Cluster(_)),
            prefix: settings.prefix.clone(),
            revoke_acks: 0,
            allow_volatile: false,
            lease: Duration::from_secs(1),
        }
    }
}

/// The clocks may differ by so much before it is said.
const CLOCK: Duration = Duration::from_secs(1);

/// Looks at the server behind a connection that [`super::node::Nodes::connect`] has made. Takes
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
    let mut seen = Seen::default();
    seen.look(connection).await;
    found.push(seen.eviction());
    found.extend(seen.persistence(wanted));
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

fn encryption(wanted: &Expectations) -> Finding {
    if wanted.tls {
        Finding::fine("TLS", "on")
    } else if wanted.address.is_loopback() {
        Finding::fine("TLS", "off, on the loopback interface")
    } else {
        Finding::of(
            Severity::Warning,
            "TLS",
            "off",
            "on",
            format!(
                "records and the password cross the network to {} in clear: use rediss://",
                wanted.address
            ),
        )
    }
}

/// What the server's settings are, as far as they can be seen.
#[derive(Default)]
struct Seen {
    policy: Option<String>,
    append_only: Option<bool>,
    append_fsync: Option<String>,
    save: Option<String>,
    /// `stop-writes-on-bgsave-error`.
    stops_writes: Option<bool>,
    /// `min-replicas-to-write` and `min-replicas-max-lag` in seconds.
    min_replicas: Option<(usize, u64)>,
    /// In cluster mode: `cluster-node-timeout` in milliseconds.
    node_timeout: Option<u64>,
}

impl Seen {
    async fn look(&mut self, connection: &mut Connection) {
        self.policy = config(connection, "maxmemory-policy").await;
        self.append_only = config(connection, "appendonly").await.map(|value| value == "yes");
        self.append_fsync = config(connection, "appendfsync").await;
        self.save = config(connection, "save").await;
        self.stops_writes =
            config(connection, "stop-writes-on-bgsave-error").await.map(|value| value == "yes");
        self.node_timeout =
            config(connection, "cluster-node-timeout").await.and_then(|value| value.parse().ok());
        let count =
            config(connection, "min-replicas-to-write").await.and_then(|value| value.parse().ok());
        let lag =
            config(connection, "min-replicas-max-lag").await.and_then(|value| value.parse().ok());
        self.min_replicas = count.zip(lag);
        // Where CONFIG is closed, INFO tells some of it.
        if self.policy.is_none() {
            self.policy =
                info(connection, "memory").await.and_then(|info| owned(&info, "maxmemory_policy"));
        }
        if self.append_only.is_none() {
            self.append_only = info(connection, "persistence")
                .await
                .and_then(|info| owned(&info, "aof_enabled"))
                .map(|on| on == "1");
        }
    }

    fn eviction(&self) -> Finding {
        const SUBJECT: &str = "maxmemory-policy";
        match self.policy.as_deref() {
            Some("noeviction") => Finding::fine(SUBJECT, "noeviction"),
            Some(policy) => Finding::of(
                Severity::Fault,
                SUBJECT,
                policy,
                "noeviction",
                "when memory is short, Redis would throw records away, and their tokens would stop \
                 working: set \
                 maxmemory-policy noeviction, and maxmemory to what the machine can spare",
            ),
            None => unseen(SUBJECT, "noeviction"),
        }
    }

    fn persistence(&self, wanted: &Expectations) -> Vec<Finding> {
        const SUBJECT: &str = "persistence";
        let saves = self.save.as_deref().map(|save| !save.is_empty());
        let mut found = match (self.append_only, saves) {
            (Some(true), _) => vec![Finding::fine(SUBJECT, "append-only file")],
            (Some(false), Some(true)) => vec![Finding::of(
                Severity::Warning,
                SUBJECT,
                "snapshots only",
                "appendonly yes",
                "a crash of Redis undoes what was changed since the latest snapshot: tokens that \
                 were issued stop working, \
                 and tokens that were revoked work again",
            )],
            (Some(false), Some(false)) if wanted.allow_volatile => vec![Finding::of(
                Severity::Warning,
                SUBJECT,
                "none",
                "appendonly yes",
                "a restart of Redis loses every record, and so every token; allowed by \
                 allow_volatile = true",
            )],
            (Some(false), Some(false)) => vec![Finding::of(
                Severity::Fault,
                SUBJECT,
                "none",
                "appendonly yes",
                "a restart of Redis would lose every record, and so every token: set appendonly \
                 yes, or accept that with \
                 allow_volatile = true in [store]",
            )],
            (Some(false), None) => vec![Finding::of(
                Severity::Warning,
                SUBJECT,
                "no append-only file; snapshots could not be checked",
                "appendonly yes",
                "a crash of Redis may undo what was changed shortly before, or lose every record",
            )],
            (None, _) => vec![unseen(SUBJECT, "appendonly yes")],
        };
        if self.append_only == Some(true) {
            if saves == Some(true) && self.stops_writes == Some(true) {
                found.push(Finding {
                    words: "a snapshot that fails, on a full disk say, makes Redis refuse every \
                         change (MISCONF): with an \
                        append-only file none is needed (save \"\")"
                        .to_owned(),
                    ..Finding::fine("stop-writes-on-bgsave-error", "yes")
                });
            }
            found.extend(self.append_fsync.as_deref().map(|fsync| {
                match fsync {
                    "always" => Finding::fine("appendfsync", "always"),
                    "everysec" => Finding {
                        words:
                            "a power failure may undo the latest second of changes, revocations \
                                among them, unless \
                            replicas have them (revoke_acks)"
                                .to_owned(),
                        ..Finding::fine("appendfsync", "everysec")
                    },
                    other => Finding::of(
                        Severity::Warning,
                        "appendfsync",
                        other,
                        "everysec or always",
                        "a power failure may undo many seconds of changes, revocations among them",
                    ),
                }
            }));
        }
        found
    }

    fn replicas(&self, facts: &Facts, wanted: &Expectations) -> Option<Finding> {
        const SUBJECT: &str = "min-replicas-to-write";
        let lease = wanted.lease.as_secs_f64();
        if wanted.cluster {
            // A master that is cut off stops to take writes after the node timeout by itself.
            return self.node_timeout.map(|millis| Finding {
                words: format!(
                    "a master that is cut off refuses writes after the node timeout: no instance \
                     accepts a revoked token \
                     longer than {:.1} s",
                    lease + Duration::from_millis(millis).as_secs_f64()
                ),
                ..Finding::fine("cluster-node-timeout", format!("{millis} ms"))
            });
        }
        if facts.replicas == 0 {
            return None;
        }
        Some(match self.min_replicas {
            Some((count, lag)) if count > 0 && lag > 0 => Finding {
                words: format!(
                    "a master that is cut off refuses writes after {lag} s: no instance accepts a \
                     revoked token longer \
                     than {:.1} s",
                    Duration::from_secs(lag).as_secs_f64() + lease
                ),
                ..Finding::fine(SUBJECT, format!("{count} within {lag} s"))
            },
            Some(_) => Finding::of(
                Severity::Warning,
                SUBJECT,
                "0",
                "1 or more, and min-replicas-max-lag",
                "after a failover, an old master that is cut off with some of the instances goes \
                 on answering them, and they \
                 accept revoked tokens until it notices: without these settings there is no bound; \
                 with them it is \
                 coherence_lease plus min-replicas-max-lag",
            ),
            None => unseen(SUBJECT, "1 or more, and min-replicas-max-lag"),
        })
    }
}

/// The subject of [`changes`]: what passes by itself, and is no reason not to start.
pub(super) const CHANGES: &str = "changes";

/// Whether it takes changes now: one is made and undone.
async fn changes(connection: &mut Connection, wanted: &Expectations) -> Finding {
    const TRY: &str =
        "redis.call('HSET', KEYS[1], 'probe', '1') redis.call('DEL', KEYS[1]) return 1";
    let tried = redis::cmd("EVAL")
        .arg(TRY)
        .arg(1)
        .arg(rights::probe_key(wanted))
        .exec_async(connection)
        .await;
    let Err(fault) = tried else { return Finding::fine(CHANGES, "taken") };
    let said = words_of(&fault);
    match change_refusal(&fault) {
        Some(refusal) => Finding::of(
            Severity::Fault,
            CHANGES,
            format!("refused: {}", fault.code().unwrap_or("ERR")),
            "taken",
            format!("{}: {} ({said})", refusal.state(), refusal.remedy()),
        ),
        None => Finding::of(
            Severity::Fault,
            CHANGES,
            "refused",
            "taken",
            format!("Redis refuses changes ({said})"),
        ),
    }
}

fn acknowledgements(facts: &Facts, wanted: &Expectations) -> Finding {
    const SUBJECT: &str = "replicas";
    let replicas = facts.replicas;
    if wanted.revoke_acks > replicas {
        return Finding::of(
            Severity::Fault,
            SUBJECT,
            replicas.to_string(),
            format!("{} or more", wanted.revoke_acks),
            format!(
                "revoke_acks = {} asks for more replicas than are connected: every revocation \
                 would fail",
                wanted.revoke_acks
            ),
        );
    }
    if replicas > 0 && wanted.revoke_acks == 0 {
        return Finding::of(
            Severity::Warning,
            SUBJECT,
            format!("{replicas}, revoke_acks = 0"),
            "revoke_acks = 1 or more",
            "a failover may undo revocations that were acknowledged shortly before: replicas get \
             them a moment later",
        );
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
    Finding::of(
        Severity::Warning,
        SUBJECT,
        format!("{:.1} s {direction} ours", apart.as_secs_f64()),
        "within 1 s",
        "keyward decides with its own clock whether a token has expired: if the instances' clocks \
         differ, so do their answers",
    )
}

/// A setting; `None` where it may not be asked, or is not known.
async fn config(connection: &mut Connection, name: &str) -> Option<String> {
    // A map in RESP3.
    let found: HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await.ok()?;
    found.into_values().next()
}

async fn info(connection: &mut Connection, section: &str) -> Option<String> {
    redis::cmd("INFO").arg(section).query_async(connection).await.ok()
}

fn owned(info: &str, name: &str) -> Option<String> {
    field(info, name).map(str::to_owned)
}

fn unseen(subject: &str, wanted: &str) -> Finding {
    Finding::of(
        Severity::Warning,
        subject,
        "could not be checked",
        wanted,
        "the server does not let us see it (a managed Redis often does not): check it yourself",
    )
}
