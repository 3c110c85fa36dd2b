//! Which of the commands that keyward sends it may send: each is tried where it finds nothing to
//! do.
//!
//! `ACL DRYRUN` would tell without trying, but is itself a right of administrators, and newer than
//! 6. It is asked for what keyward should not be permitted.

use std::time::{SystemTime, UNIX_EPOCH};

use redis::aio::ConnectionLike as _;
use redis::{Cmd, Value};

use crate::store::redis::connection::Connection;
use crate::store::redis::settings::{RedisOptions, Servers};
use crate::tokens::finding::{Finding, Severity};

/// The commands of the scripts, each with arguments that change nothing where the key (`?`) is not
/// there. Those that would make something get a number that is none, or a name without a value:
/// Redis looks at the right first. `INCR` has no such arguments; what it makes is removed in the
/// same step.
const IN_SCRIPTS: [&str; 20] = [
    "EXISTS ?",
    "DEL ?",
    "RENAME ? ?",
    "PERSIST ?",
    "PEXPIRE ? 1000",
    "INCR ?",
    "HGET ? f",
    "HSET ? f v g",
    "HDEL ? f",
    "HMGET ? f",
    "HGETALL ?",
    "HINCRBY ? f not",
    "ZADD ? not m",
    "ZREM ? m",
    "ZRANGE ? 0 0",
    "ZRANGEBYSCORE ? 0 0",
    "ZRANK ? m",
    "ZCARD ?",
    "ZCOUNT ? 0 0",
    "TIME",
];

/// Says what a command would be told, without an error that a script cannot look at.
const TRY: &str = "local args = {} \
    for at = 2, #ARGV do args[at - 1] = ARGV[at] == '?' and KEYS[1] or ARGV[at] end \
    local answer = redis.pcall(ARGV[1], unpack(args)) \
    if ARGV[1] == 'INCR' and type(answer) == 'number' then redis.pcall('DEL', KEYS[1]) end \
    return type(answer) == 'table' and answer.err or ''";

/// A name that no key has: of this moment.
pub(super) fn probe_key(prefix: &str) -> String {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{{{prefix}}}:probe:{moment}")
}

/// Tries every right, and names those that are missing.
pub(super) async fn check(connection: &mut Connection, options: &RedisOptions) -> Vec<Finding> {
    let key = probe_key(&options.settings.prefix);
    let mut missing = Missing::default();
    let eval = redis::cmd("EVAL").arg("return 1").arg(1).arg(&key).take();
    missing.note("EVAL", connection, &eval).await;
    let by_name = redis::cmd("EVALSHA").arg("0".repeat(40)).arg(1).arg(&key).take();
    missing.note("EVALSHA", connection, &by_name).await;
    for command in IN_SCRIPTS {
        let name = command.split(' ').next().unwrap_or_default();
        // What INCR makes could not be removed without DEL.
        if missing.has("EVAL") || (name == "INCR" && missing.has("DEL")) {
            continue;
        }
        let mut call = redis::cmd("EVAL");
        call.arg(TRY).arg(1).arg(&key).arg(command.split(' ').collect::<Vec<_>>());
        missing.note(name, connection, &call).await;
    }
    for words in outside_scripts(&key, options) {
        let mut command = Cmd::new();
        command.arg(&words);
        missing.note(&name_of(&words), connection, &command).await;
    }
    if missing.0.is_empty() {
        return vec![Finding::fine("rights", "every command that keyward needs")];
    }
    let finding = |(name, words): (String, String)| {
        // The arguments of a probe differ each time.
        let words = words.split(", with args").next().unwrap_or_default();
        let words = format!(
            "keyward cannot do its work without it ({words}): see the ACL rule in the documentation"
        );
        Finding::of(Severity::Fault, format!("right to {name}"), "missing", "permitted", words)
    };
    missing.0.into_iter().map(finding).collect()
}

/// Warns where the user may empty the server or swap its databases.
///
/// `ACL DRYRUN` tells of `FLUSHALL` without trying. Where it cannot be asked, `SWAPDB` is tried with
/// what is no number: Redis looks at the right first, and does nothing then.
pub(super) async fn excess(connection: &mut Connection) -> Option<Finding> {
    const WORDS: &str = "an error of another program with this user, or a thief of its password, can \
                         delete every token: give the user the ACL rule in the documentation";
    let warning = |name: &str| {
        Finding::of(Severity::Warning, format!("right to {name}"), "permitted", "missing", WORDS)
    };
    let inner = &mut connection.inner;
    let user: Option<String> = redis::cmd("ACL").arg("WHOAMI").query_async(inner).await.ok();
    if let Some(user) = user {
        let dry_run = redis::cmd("ACL").arg(&["DRYRUN", &user, "FLUSHALL"]).take();
        if let Ok(answer) = dry_run.query_async::<String>(inner).await {
            return (answer == "OK").then(|| warning("FLUSHALL"));
        }
    }
    let swap = redis::cmd("SWAPDB").arg(&["keyward", "keyward"]).take();
    let answer = inner.req_packed_command(&swap).await;
    let is_permitted = match answer {
        Ok(Value::ServerError(error)) => {
            let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
            SWAPS_NOT.iter().any(|sign| words.contains(sign))
        }
        _ => false,
    };
    is_permitted.then(|| warning("SWAPDB"))
}

/// What Redis says of `SWAPDB` with what is no number to a user who may.
const SWAPS_NOT: [&str; 2] = ["DB index", "not allowed in cluster mode"];

/// The commands that are sent as they are. `SUBSCRIBE` must be undone on this connection, in this
/// order. Their names have the channel with them, because rights to channels are given one by one.
fn outside_scripts(key: &str, options: &RedisOptions) -> Vec<Vec<String>> {
    let revoked = format!("{{{}}}:revoked", options.settings.prefix);
    // The channel of an instance that does not exist.
    let confirmed = format!("{{{}}}:confirmed:probe", options.settings.prefix);
    let always: [&[&str]; 9] = [
        &["PING"],
        &["ECHO", "keyward"],
        &["HMGET", key, "f"],
        &["CLIENT", "TRACKING", "OFF"],
        &["PUBLISH", &confirmed, ""],
        &["SUBSCRIBE", &revoked],
        &["UNSUBSCRIBE", &revoked],
        &["SUBSCRIBE", &confirmed],
        &["UNSUBSCRIBE", &confirmed],
    ];
    let mut commands = always.to_vec();
    if options.acks.is_some() {
        commands.push(&["WAIT", "0", "1"]);
    }
    if matches!(options.settings.servers, Servers::Cluster(_)) {
        commands.push(&["CLUSTER", "SLOTS"]);
    }
    commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect()
}

/// `CLIENT TRACKING`, not `CLIENT`.
fn name_of(words: &[String]) -> String {
    match words {
        [name, second, ..] if !matches!(name.as_str(), "ECHO" | "HMGET" | "WAIT") => {
            format!("{name} {second}")
        }
        [name, ..] => name.clone(),
        [] => String::new(),
    }
}

/// The rights that are missing, and what the server says about each.
#[derive(Default)]
struct Missing(Vec<(String, String)>);

impl Missing {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Tries `command`, and notes under `name` that it is not permitted.
    async fn note(&mut self, name: &str, connection: &mut Connection, command: &Cmd) {
        let denied =
            |words: String| DENIALS.iter().any(|sign| words.contains(sign)).then_some(words);
        let refused = match connection.inner.req_packed_command(command).await {
            Ok(Value::ServerError(error)) => {
                let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
                denied(words.trim_end().to_owned())
            }
            Ok(Value::SimpleString(text)) => denied(text),
            Ok(Value::BulkString(bytes)) => denied(String::from_utf8_lossy(&bytes).into_owned()),
            // Another error than one of rights would have been met by everything before.
            Ok(_) => None,
            Err(fault) => Some(fault.to_string()),
        };
        if let Some(words) = refused
            && !self.has(name)
        {
            self.0.push((name.to_owned(), words));
        }
    }
}

/// How Redis 6, 7 and later say that a right is missing, in and outside scripts. A command that the
/// server does not know (renamed away, or blocked by the provider) is missing as well.
const DENIALS: [&str; 6] = [
    "NOPERM",
    "ACL failure",
    "can't run this command",
    "no permissions",
    "unknown command",
    "Unknown Redis command",
];
