//! The configuration of a world.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::Upstream;

/// What a world's configuration says; every key that is not set keeps its default.
#[derive(Clone)]
pub(crate) struct Plan {
    tables: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    listener: Vec<String>,
    arrays: String,
}

impl Plan {
    /// Only the listeners, the files of its own folder, and the token API `jarvispy`.
    pub(crate) fn bare() -> Self {
        let mut plan =
            Self { tables: BTreeMap::new(), listener: Vec::new(), arrays: String::new() };
        plan.arrays.push_str(
            "[[token_api]]\nname = \"jarvispy\"\nstyle = \"allowlist-jwt\"\n\
             mount = \"/jarvispy/{organization}/{username}/api/v1\"\n\n",
        );
        plan.set("server", "workers", "2").set("server", "pin", "false")
    }

    /// The usual world: `/public/…` for all and `/private/…` for tokens of `jarvispy`, both to this
    /// upstream.
    pub(crate) fn usual(upstream: &Upstream) -> Self {
        Self::bare()
            .upstream("app", upstream.address())
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
            .route("path = \"/private/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
    }

    /// Sets one key of a table; the value is TOML.
    pub(crate) fn set(mut self, table: &'static str, key: &'static str, value: &str) -> Self {
        self.tables.entry(table).or_default().insert(key, value.into());
        self
    }

    /// With its records in the Redis at this URL, and deadlines that a busy machine keeps: for
    /// tests that are not about time.
    pub(crate) fn redis(self, url: &str) -> Self {
        self.set("store", "kind", "\"redis\"")
            .set("store", "url", &format!("{url:?}"))
            .set("store", "timeout", "\"10s\"")
            .set("store", "read_timeout", "\"10s\"")
    }

    /// Adds a line to the one listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        self.listener.push(line.into());
        self
    }

    pub(crate) fn upstream(self, name: &str, endpoint: SocketAddr) -> Self {
        self.table("upstream", &format!("name = \"{name}\"\nendpoints = [\"http://{endpoint}\"]"))
    }

    pub(crate) fn route(self, lines: &str) -> Self {
        self.table("route", lines)
    }

    /// Adds one `[[name]]` table with these lines.
    pub(crate) fn table(mut self, name: &str, lines: &str) -> Self {
        writeln!(self.arrays, "[[{name}]]\n{lines}\n").expect("a string takes what is written");
        self
    }

    /// Adds a line to each of the `[[name]]` tables so far.
    pub(crate) fn in_every(mut self, name: &str, line: &str) -> Self {
        let begin = format!("[[{name}]]\n");
        self.arrays = self.arrays.replace(&begin, &format!("{begin}{line}\n"));
        self
    }

    /// The text of the configuration, for a world in this folder and with these addresses.
    pub(super) fn render(&self, folder: &Path, listen: SocketAddr, admin: SocketAddr) -> String {
        let mut tables = self.tables.clone();
        let mut add = |table, key, value: String| {
            tables.entry(table).or_default().entry(key).or_insert(value);
        };
        let path = |name: &str| format!("\"{}\"", folder.join(name).display());
        add("admin", "address", format!("\"{admin}\""));
        add("admin", "socket", path("admin.sock"));
        if !self.tables.get("store").is_some_and(|store| store.contains_key("url")) {
            add("store", "path", path("keyward.db"));
        }
        add("keys", "directory", path("keys"));
        add("log", "level", "\"debug\"".into());
        let mut text =
            format!("[[listener]]\naddress = \"{listen}\"\n{}\n\n", self.listener.join("\n"));
        for (table, keys) in &tables {
            writeln!(text, "[{table}]").expect("a string takes what is written");
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").expect("a string takes what is written");
            }
            text.push('\n');
        }
        text + &self.arrays
    }
}
