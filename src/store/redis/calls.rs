//! The scripts of the operations, and how one is called.
//!
//! Each operation that changes something is one script: Redis runs it as one step, with nothing in
//! between. The files in `scripts/` have a common beginning for those that share one. A script is
//! named by its SHA-1; a server that does not know it (it was restarted, or somebody emptied its
//! scripts) says so before it has done anything, and gets the source.

use std::sync::LazyLock;

use redis::Cmd;

use super::data::ScriptCall;
use super::script::Script;

const ANNOUNCE: &str = include_str!("scripts/announce.lua");
const RECORDS: &str = include_str!("scripts/records.lua");

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = [$($part:expr),*];)*) => {
        $($(#[$doc])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(&[$($part),*].join("\n")));)*
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
    TOUCH = [ANNOUNCE, RECORDS, include_str!("scripts/touch.lua")];
}

/// A script with its keys and arguments.
#[derive(Clone)]
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
    endurance: Endurance,
}

/// Whether what a script changes must have reached the replicas before it is acknowledged, where
/// that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endurance {
    /// It may be lost with a master: a note, or what will be done again.
    Fleeting,
    /// A failover must not undo it.
    Lasting,
}

impl Call {
    pub(super) fn new(script: &'static Script, keys: Vec<String>) -> Self {
        Self { script, keys, arguments: Vec::new(), endurance: Endurance::Fleeting }
    }

    pub(super) fn lasting(self) -> Self {
        Self { endurance: Endurance::Lasting, ..self }
    }

    pub(super) fn endurance(&self) -> Endurance {
        self.endurance
    }

    pub(super) fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A number, or nothing for what is not there.
    pub(super) fn number(self, number: Option<i64>) -> Self {
        self.argument(number.map(|number| number.to_string()).unwrap_or_default())
    }

    /// By its name, for a server that knows it.
    pub(super) fn by_name(&self) -> Cmd {
        self.command("EVALSHA", &self.script.sha)
    }

    /// By its source, which the server keeps.
    pub(super) fn by_source(&self) -> Cmd {
        self.command("EVAL", &self.script.source)
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in &self.arguments {
            command.arg(argument.as_slice());
        }
        command
    }
}

impl ScriptCall for Call {
    fn by_name(&self) -> Cmd {
        Self::by_name(self)
    }

    fn by_source(&self) -> Cmd {
        Self::by_source(self)
    }
}
