//! The scripts of the operations, and how one is called.
//!
//! Redis runs a script as one step. A script is put together of the files in `scripts/` and named
//! by its SHA-1; a server that does not know it (it was restarted, or its scripts were flushed)
//! answers so before it has done anything, and gets the source.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::aio::ConnectionLike;
use redis::{Cmd, RedisError, ToRedisArgs, Value};

use crate::domain::{Timestamp, TokenDigest, hex};

const ANNOUNCE: &str = include_str!("scripts/announce.lua");
const RECORDS: &str = include_str!("scripts/records.lua");

/// A script: its source, and the SHA-1 of that in hexadecimal, which `EVALSHA` takes.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    sha: String,
}

impl Script {
    pub(super) fn new(source: String) -> Self {
        let sha = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes()).as_ref());
        Self { source, sha }
    }
}

macro_rules! scripts {
    ($($name:ident = [$($part:expr),*];)*) => {
        $(
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new([$($part),*].join("\n")));
        )*
    };
}

scripts! {
    ACCOUNT_BY_NAME = [include_str!("scripts/account_by_name.lua")];
    ACCOUNTS = [ANNOUNCE, RECORDS, include_str!("scripts/accounts.lua")];
    BIND_KEYS = [include_str!("scripts/bind_keys.lua")];
    BROWSE = [ANNOUNCE, RECORDS, include_str!("scripts/browse.lua")];
    BY_ID = [ANNOUNCE, RECORDS, include_str!("scripts/by_id.lua")];
    CHANGE_ACCOUNT = [ANNOUNCE, RECORDS, include_str!("scripts/change_account.lua")];
    CHECK = [include_str!("scripts/check.lua")];
    FORGET_INSTANCES = [include_str!("scripts/forget_instances.lua")];
    GOODBYE = [include_str!("scripts/goodbye.lua")];
    HEARTBEAT = [ANNOUNCE, include_str!("scripts/heartbeat.lua")];
    ISSUE = [ANNOUNCE, RECORDS, include_str!("scripts/issue.lua")];
    OPEN_SESSION = [ANNOUNCE, RECORDS, include_str!("scripts/open_session.lua")];
    OPEN_TICKET = [include_str!("scripts/open_ticket.lua")];
    OWNED = [ANNOUNCE, RECORDS, include_str!("scripts/owned.lua")];
    PURGE = [ANNOUNCE, RECORDS, include_str!("scripts/purge.lua")];
    RECORDS_OF = [ANNOUNCE, RECORDS, include_str!("scripts/records_of.lua")];
    REGISTERED = [include_str!("scripts/registered.lua")];
    REGISTER = [ANNOUNCE, RECORDS, include_str!("scripts/register.lua")];
    REMEMBER = [include_str!("scripts/remember.lua")];
    REMOVE = [ANNOUNCE, RECORDS, include_str!("scripts/remove.lua")];
    REMOVE_OWNED = [ANNOUNCE, RECORDS, include_str!("scripts/remove_owned.lua")];
    RESERVE = [include_str!("scripts/reserve.lua")];
    SETTLE = [ANNOUNCE, include_str!("scripts/settle.lua")];
    SETTLE_COUNTERS = [include_str!("scripts/settle_counters.lua")];
    TAKE_PERMITS = [include_str!("scripts/take_permits.lua")];
    TAKE_TICKET = [include_str!("scripts/take_ticket.lua")];
    TOUCH = [ANNOUNCE, RECORDS, include_str!("scripts/touch.lua")];
}

/// A script with its keys and arguments.
#[derive(Clone)]
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
    /// Whether what it changes must have reached the replicas before it is acknowledged, where that
    /// is asked for. Otherwise it may be lost with a primary: a note, or what will be done again.
    pub(super) is_lasting: bool,
}

impl Call {
    pub(super) fn new(script: &'static Script, keys: Vec<String>) -> Self {
        Self { script, keys, arguments: Vec::new(), is_lasting: false }
    }

    pub(super) fn lasting(self) -> Self {
        Self { is_lasting: true, ..self }
    }

    pub(super) fn argument(mut self, argument: impl ToRedisArgs) -> Self {
        self.arguments.extend(argument.to_redis_args());
        self
    }

    /// A number, or an empty argument.
    pub(super) fn optional(self, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.argument(number),
            None => self.argument(""),
        }
    }

    pub(super) fn time(self, time: Timestamp) -> Self {
        self.argument(time.unix_millis())
    }

    pub(super) fn digest(self, digest: TokenDigest) -> Self {
        self.argument(hex::encode(digest.as_bytes()))
    }

    /// With the script by its name, for a server that knows it.
    pub(super) fn by_name(&self) -> Cmd {
        self.command("EVALSHA", &self.script.sha)
    }

    /// With the source of the script, which the server keeps.
    pub(super) fn by_source(&self) -> Cmd {
        self.command("EVAL", &self.script.source)
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }

    /// Runs the script on the link, or on a connection for it alone.
    pub(super) async fn run(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<Value, RedisError> {
        match self.by_name().query_async(connection).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.by_source().query_async(connection).await
            }
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_the_sha1_of_the_source() {
        // The example of EVALSHA's documentation.
        assert_eq!(
            super::Script::new("return redis.call('get','foo')".into()).sha,
            "6b1bf486c81ceb7edf3c093f4c48582e38c0e791"
        );
    }
}
