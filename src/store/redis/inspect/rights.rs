//! Which of the commands that keyward sends it may send: each is tried where it finds nothing to
//! do.
//!
//! `ACL DRYRUN` would tell without trying, but is itself a right of administrators, and newer than
//! 6.

use std::time::{SystemTime, UNIX_EPOCH};

use redis::aio::ConnectionLike as _;
use redis::{Cmd, Value};

use super::expectations::Expectations;
use crate::store::redis::connection::Connection;
use crate::tokens::finding::{Finding, Severity};

/// The commands of the scripts, each with arguments that change nothing where the key (`?`) is not
/// there. Those that would make something get a number that is none, or a name without a value:
/// Redis looks at the right first. `INCR` has no such arguments; what it makes is removed in the
/// same step.
const IN_SCRIPTS: &[(&str, &[&str])] = &[
    ("EXISTS", &["?"]),
    ("DEL", &["?"]),
    ("RENAME", &["?", "?"]),
    ("PERSIST", &["?"]),
    ("PEXPIRE", &["?", "1000"]),
    ("INCR", &["?"]),
    ("HGET", &["?", "f"]),
    ("HSET", &["?", "f", "v", "g"]),
    ("HDEL", &["?", "f"]),
    ("HMGET", &["?", "f"]),
    ("HGETALL", &["?"]),
    ("HINCRBY", &["?", "f", "not"]),
    ("ZADD", &["?", "not", "m"]),
    ("ZREM", &["?", "m"]),
    ("ZRANGE", &["?", "0", "0"]),
    ("ZRANGEBYSCORE", &["?", "0", "0"]),
    ("ZRANK", &["?", "m"]),
    ("ZCARD", &["?"]),
    ("ZCOUNT", &["?", "0", "0"]),
];

/// Says what a command would be told, without an error that a script cannot look at.
const TRY: &str = "local args = {} \
    for at = 2, #ARGV do args[at - 1] = ARGV[at] == '?' and KEYS[1] or ARGV[at] end \
    local answer = redis.pcall(ARGV[1], unpack(args)) \
    if ARGV[1] == 'INCR' and type(answer) == 'number' then redis.pcall('DEL', KEYS[1]) end \
    return type(answer) == 'table' and answer.err or ''";

/// A name that no key has: of this moment.
pub(super) fn probe_key(wanted: &Expectations) -> String {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{{{}}}:probe:{moment}", wanted.prefix)
}

/// Tries every right, and names those that are missing.
pub(super) async fn check(connection: &mut Connection, wanted: &Expectations) -> Vec<Finding> {
    let key = probe_key(wanted);
    let mut missing = Vec::new();

    let mut eval = redis::cmd("EVAL");
    eval.arg("return 1").arg(1).arg(&key);
    let may_run_scripts = note(&mut missing, "EVAL", tried(connection, &eval).await);
    let mut by_name = redis::cmd("EVALSHA");
    by_name.arg("0".repeat(40)).arg(1).arg(&key);
    note(&mut missing, "EVALSHA", tried(connection, &by_name).await);
    if may_run_scripts {
        for (name, args) in IN_SCRIPTS {
            // What it makes could not be removed.
            if *name == "INCR" && missing.iter().any(|(missing, _)| missing == "DEL") {
                continue;
            }
            let mut call = redis::cmd("EVAL");
            call.arg(TRY).arg(1).arg(&key).arg(name).arg(args);
            note(&mut missing, name, tried(connection, &call).await);
        }
    }
    for words in outside_scripts(&key, wanted) {
        let mut command = Cmd::new();
        command.arg(&words);
        note(&mut missing, &name_of(&words), tried(connection, &command).await);
    }
    if missing.is_empty() {
        return vec![Finding::fine("rights", "every command that keyward needs")];
    }
    missing
        .into_iter()
        .map(|(name, words)| {
            // The arguments of a probe differ each time.
            let words = words.split(", with args").next().unwrap_or_default();
            Finding::of(
                Severity::Fault,
                format!("right to {name}"),
                "missing",
                "permitted",
                format!(
                    "keyward cannot do its work without it ({words}): see the ACL rule in the \
                         documentation"
                ),
            )
        })
        .collect()
}

/// The commands that are sent as they are. `SUBSCRIBE` must be undone on this connection, in this
/// order.
fn outside_scripts(key: &str, wanted: &Expectations) -> Vec<Vec<String>> {
    let revoked = format!("{{{}}}:revoked", wanted.prefix);
    // The channel of an instance that does not exist.
    let confirmed = format!("{{{}}}:confirmed:probe", wanted.prefix);
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
    if wanted.revoke_acks > 0 {
        commands.push(&["WAIT", "0", "1"]);
    }
    if wanted.cluster {
        commands.push(&["CLUSTER", "SLOTS"]);
    }
    commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect()
}

/// `CLIENT TRACKING`, not `CLIENT`; the channel with a subscription, because rights to channels are
/// given one by one.
fn name_of(words: &[String]) -> String {
    match words {
        [name, second, ..] if !matches!(name.as_str(), "ECHO" | "HMGET" | "WAIT") => {
            format!("{name} {second}")
        }
        [name, ..] => name.clone(),
        [] => String::new(),
    }
}

/// Why it is not permitted, in the server's words; `None`: it is.
async fn tried(connection: &mut Connection, command: &Cmd) -> Option<String> {
    let words = match connection.req_packed_command(command).await {
        Ok(Value::ServerError(error)) => {
            format!("{} {}", error.code(), error.details().unwrap_or_default())
                .trim_end()
                .to_owned()
        }
        Ok(Value::SimpleString(text)) => text,
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        // Another error than one of rights would have been met by everything before.
        Ok(_) => return None,
        Err(fault) => return Some(fault.to_string()),
    };
    is_denied(&words).then_some(words)
}

/// How Redis 6, 7 and later say that a right is missing, in and outside scripts. A command that the
/// server does not know (renamed away, or blocked by the provider) is missing as well.
fn is_denied(words: &str) -> bool {
    [
        "NOPERM",
        "ACL failure",
        "can't run this command",
        "no permissions",
        "unknown command",
        "Unknown Redis command",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

fn note(missing: &mut Vec<(String, String)>, name: &str, refused: Option<String>) -> bool {
    let is_permitted = refused.is_none();
    if let Some(words) = refused
        && !missing.iter().any(|(known, _)| known == name)
    {
        missing.push((name.to_owned(), words));
    }
    is_permitted
}
