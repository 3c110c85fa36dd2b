//! Preparation: everything of a configuration that can fail is done before anything takes effect.
//!
//! A start, `keyward validate` and a reload all come through [`prepare`], so that they judge alike
//! and say the same. It leaves no trace: files are read and not made, addresses are bound and not
//! listened on. Every fault is found in one go, with its place in the file.

mod fixed;
mod in_vain;
mod unbound;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use fixed::needs_restart;
use in_vain::{InVain, in_vain};
use unbound::why_not_bound;

use super::running::Running;
use super::{clashes, writable};
use crate::admin::{AdminSocket, SocketError};
use crate::app::assemble;
use crate::app::issuers::{self, Issuers};
use crate::app::keys::{Keys, MissingKeys, ReadKeys};
use crate::app::neighbour::Neighbour;
use crate::app::open_store::PreparedStore;
use crate::config::{Config, Fault, Faults, Listener, Upstream};
use crate::gateway::{Plan, UpstreamPlan};
use crate::server::{
    BoundAddress, InheritedSocket, ListenAddress, ListenerSettings, OpenSocket, SocketOrigin,
};
use crate::store::EmbeddedStore;
use crate::store::key_directory::KeyDirectoryError;
use crate::telemetry::access_log::AccessLogTarget;
use crate::tls::Watcher;
use crate::wire::socket_file;

/// What a configuration is prepared for.
#[derive(Clone, Copy)]
pub(in crate::app) enum Occasion<'a> {
    /// A keyward is to run on it. Issuers as of [`Issuers::new`], with the watcher of the process,
    /// and the sockets that are listened on already.
    Start(&'a Issuers, &'a Watcher, &'a Inherited),
    /// It is only to be judged; beside a keyward that runs on the same configuration, or not.
    Validation(Option<&'a Neighbour>),
    /// This keyward is to change over to it.
    Reload(Running<'a>),
}

/// What is listened on already when a keyward starts.
#[derive(Default)]
pub(in crate::app) struct Inherited {
    /// By the service manager, or by the keyward that is taken over from.
    pub(in crate::app) sockets: Vec<InheritedSocket>,
    /// Whether the admin socket is among what is taken over.
    pub(in crate::app) has_admin_socket: bool,
}

impl Inherited {
    pub(super) fn open_sockets(&self) -> Vec<OpenSocket> {
        self.sockets.iter().filter_map(InheritedSocket::open_socket).collect()
    }
}

/// A configuration that is ready to be put in force: its files have been read, its parts made, and
/// nothing of it is in force yet.
pub(in crate::app) struct Prepared {
    pub(in crate::app) keys: PreparedKeys,
    /// Files of keys that are to be made. While there are any, the keys and the plan are good for
    /// nothing but a check.
    pub(in crate::app) lacking: Vec<PathBuf>,
    pub(super) issuers: issuers::Prepared,
    pub(super) plan: Plan,
    pub(super) listeners: Vec<PreparedListener>,
    /// The admin address; none: it is off, or listened on already.
    pub(super) probes: Option<BoundAddress>,
    /// What of the store is taken over by a reload.
    pub(super) store: Option<PreparedStore>,
    /// What a running keyward of this configuration has in use, a line each.
    pub(in crate::app) notes: Vec<String>,
    /// What of the files is allowed, but is probably a mistake, a line each.
    pub(in crate::app) warnings: Vec<String>,
}

impl Prepared {
    /// Checks that no key is lacking that was just made: one that is only for a check would be in
    /// use.
    pub(super) fn check_complete(&self, config: &Config) -> Result<(), Faults> {
        let Some(path) = self.lacking.first() else { return Ok(()) };
        let words = format!(
            "[keys] directory: {} has vanished: something else removes keys there",
            path.display()
        );
        Err(config.places.one("keys.directory", words))
    }
}

/// The keys, for what they are prepared for.
pub(in crate::app) enum PreparedKeys {
    /// To begin with.
    First(Keys),
    /// To take the place of those in use.
    Next(ReadKeys),
}

/// A listener whose files are read and whose address is bound.
pub(super) struct PreparedListener {
    pub(super) settings: ListenerSettings,
    /// None: it is listened on already, or only validated.
    pub(super) bound: Option<BoundAddress>,
}

/// # Errors
///
/// Everything that is wrong, for the operator.
pub(in crate::app) fn prepare(config: &Config, occasion: Occasion<'_>) -> Result<Prepared, Faults> {
    let mut preparation = Preparation {
        config,
        occasion,
        faults: Vec::new(),
        notes: Vec::new(),
        warnings: Vec::new(),
        has_clashes: false,
    };
    let prepared = preparation.run();
    config.places.conclude(preparation.faults)?;
    // Without a fault, nothing is missing.
    prepared.ok_or_else(|| config.places.one("", "the configuration could not be prepared"))
}

struct Preparation<'a> {
    config: &'a Config,
    occasion: Occasion<'a>,
    faults: Vec<Fault>,
    notes: Vec<String>,
    warnings: Vec<String>,
    /// Whether one path is for two things. No Unix socket is bound then: the second would only find
    /// the lock of the first.
    has_clashes: bool,
}

impl<'a> Preparation<'a> {
    /// Every step is taken, whatever the others find. `None`: one of them has found a fault.
    fn run(&mut self) -> Option<Prepared> {
        if let Occasion::Reload(process) = self.occasion {
            for (key, name) in needs_restart(process.config, self.config) {
                self.fault(key, format!("{name} cannot change while keyward runs: restart it"));
            }
        }
        for (key, words) in clashes::clashes(self.config) {
            self.fault(&key, words);
            self.has_clashes = true;
        }
        let own_watcher = Watcher::default();
        let watcher = match self.occasion {
            Occasion::Start(_, watcher, _) => watcher,
            Occasion::Validation(_) => &own_watcher,
            Occasion::Reload(process) => process.watcher,
        };
        let config = self.config;
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .enumerate()
            .map(|(at, one)| self.listener(at, one, watcher))
            .collect();
        let probes = self.probes();
        self.note_unused();
        self.files();
        let store = self.store();
        let upstreams: Vec<_> = config
            .upstreams
            .iter()
            .enumerate()
            .map(|(at, one)| self.upstream(at, one, watcher))
            .collect();
        let (keys, lacking) = self.keys()?;
        let issuers = self.issuers(&keys, watcher)?;
        let signed = match &keys {
            PreparedKeys::First(keys) => &*keys.signed,
            PreparedKeys::Next(keys) => &keys.signed,
        };
        let upstreams = upstreams.into_iter().collect::<Option<Vec<_>>>()?;
        let plan = assemble::plan(config, signed, issuers.set(), upstreams);
        let plan = self.found("route", plan)?;
        for finding in in_vain(&plan) {
            match finding {
                InVain::Fault { key, message } => self.fault(&key, message),
                InVain::Warning { key, message } => {
                    self.warnings.push(config.places.warning(&key, message));
                }
            }
        }
        Some(Prepared {
            keys,
            lacking,
            issuers,
            plan,
            listeners: listeners.into_iter().collect::<Option<Vec<_>>>()?,
            probes: probes?,
            store: store?,
            notes: std::mem::take(&mut self.notes),
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.faults.push(self.config.places.fault(key, message));
    }

    /// What was found, or none, and a fault at this key.
    fn found<T>(&mut self, key: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|words| self.fault(key, words)).ok()
    }

    fn listener(
        &mut self,
        at: usize,
        configured: &Listener,
        watcher: &Watcher,
    ) -> Option<PreparedListener> {
        let settings = assemble::listener(configured, watcher);
        let settings = self.found(
            &format!("listener[{at}].tls"),
            settings.map_err(|words| format!("\"tls\": {words}")),
        );
        let bound = self.address(&format!("listener[{at}].address"), configured);
        Some(PreparedListener { settings: settings?, bound: bound? })
    }

    /// Binds the address of a listener that is not listened on. The outer `None`: it cannot be
    /// bound.
    fn address(&mut self, key: &str, configured: &Listener) -> Option<Option<BoundAddress>> {
        let address = &configured.address;
        if let Occasion::Reload(process) = self.occasion
            && (process.acceptors.contains_key(address) || process.retiring.contains_key(address))
        {
            return Some(None);
        }
        if let Some(socket) = self.inherited(address, false) {
            return self.inherit(key, address, socket);
        }
        if let ListenAddress::Unix(path) = address {
            self.found(key, writable::folder_of(path))?;
            match socket_file::check(path) {
                Err(SocketError::InUse { .. }) if self.is_of_neighbour(address) => {}
                outcome => {
                    let words = |fault| format!("{address} cannot be listened on: {fault}");
                    self.found(key, outcome.map_err(words))?;
                }
            }
            if matches!(self.occasion, Occasion::Validation(_)) || self.has_clashes {
                return Some(None);
            }
        }
        self.bind(key, "\"address\"", address, configured.mode)
    }

    /// The socket that is listened on already, for a listener or the admin address.
    fn inherited(&self, address: &ListenAddress, is_admin: bool) -> Option<&'a InheritedSocket> {
        let sockets: &'a [InheritedSocket] = match self.occasion {
            Occasion::Start(_, _, inherited) => &inherited.sockets,
            Occasion::Reload(process) => process.inherited,
            Occasion::Validation(_) => return None,
        };
        sockets.iter().find(|socket| socket.is_for(address, is_admin))
    }

    /// Uses a socket that is listened on already. The outer `None`: it cannot be used.
    fn inherit(
        &mut self,
        key: &str,
        address: &ListenAddress,
        socket: &InheritedSocket,
    ) -> Option<Option<BoundAddress>> {
        let bound = BoundAddress::inherit(address, socket);
        let words = |fault| format!("{address} cannot be taken over: {fault}");
        self.found(key, bound.map_err(words)).map(Some)
    }

    /// Sockets of the service manager that no listener has: their clients would wait in vain.
    fn note_unused(&mut self) {
        let sockets = match self.occasion {
            Occasion::Start(_, _, inherited) => &inherited.sockets,
            Occasion::Reload(process) => process.inherited,
            Occasion::Validation(_) => return,
        };
        let admin = self.config.admin.address.map(ListenAddress::Tcp);
        for socket in sockets.iter().filter(|one| one.origin == SocketOrigin::ServiceManager) {
            let mut listeners = self.config.listeners.iter();
            let is_used = listeners.any(|listener| socket.is_for(&listener.address, false))
                || admin.as_ref().is_some_and(|admin| socket.is_for(admin, true));
            if !is_used {
                self.warnings.push(format!(
                    "systemd listens on {} for keyward, and neither a [[listener]] nor [admin] has \
                     this address: clients that connect to it wait in vain",
                    socket.address
                ));
            }
        }
    }

    /// Binds the admin address. The outer `None`: it cannot be bound.
    fn probes(&mut self) -> Option<Option<BoundAddress>> {
        match self.config.admin.address.map(ListenAddress::Tcp) {
            Some(address) if !matches!(self.occasion, Occasion::Reload(_)) => {
                if let Some(socket) = self.inherited(&address, true) {
                    return self.inherit("admin.address", &address, socket);
                }
                self.bind("admin.address", "[admin] address", &address, 0)
            }
            _ => Some(None),
        }
    }

    /// Binds an address. The outer `None`: it cannot be bound; the inner: a running keyward of this
    /// configuration has it.
    fn bind(
        &mut self,
        key: &str,
        name: &str,
        address: &ListenAddress,
        mode: u32,
    ) -> Option<Option<BoundAddress>> {
        let beside = match self.occasion {
            Occasion::Reload(process) => process.sockets(),
            Occasion::Start(_, _, inherited) => inherited.open_sockets(),
            Occasion::Validation(_) => Vec::new(),
        };
        match BoundAddress::bind(address, mode, &beside) {
            Ok(bound) => Some(Some(bound)),
            Err(fault) if fault.kind() == ErrorKind::AddrInUse && self.is_of_neighbour(address) => {
                Some(None)
            }
            Err(fault) => {
                let why = why_not_bound(address, &fault);
                self.fault(key, format!("{name} {address} cannot be listened on: {why}"));
                None
            }
        }
    }

    /// Whether a running keyward of this configuration listens there; if so, it is noted.
    fn is_of_neighbour(&mut self, address: &ListenAddress) -> bool {
        let Occasion::Validation(Some(neighbour)) = self.occasion else { return false };
        let is_theirs = neighbour.listens_on(address);
        if is_theirs {
            self.notes.push(neighbour.has(address));
        }
        is_theirs
    }

    /// Looks at the files that will be made or written.
    fn files(&mut self) {
        let config = self.config;
        if let Some(AccessLogTarget::File(path)) = &config.log.access {
            let outcome = writable::log(path);
            self.found(
                "log.access",
                outcome.map_err(|words| assemble::access_log_fault(config, &words)),
            );
        }
        if matches!(self.occasion, Occasion::Reload(_)) {
            return;
        }
        if config.store.redis.is_none() {
            let path = &config.store.path;
            let outcome = [path.clone(), EmbeddedStore::lock_of(path)]
                .iter()
                .try_for_each(|path| writable::file_in_new_folders(path));
            self.found("store.path", outcome.map_err(|words| format!("[store] path: {words}")));
        }
        let socket = &config.admin.socket;
        if let Err(words) = writable::folder(socket.parent().unwrap_or(Path::new("."))) {
            self.fault("admin.socket", format!("[admin] socket: {words}"));
            return;
        }
        if let Occasion::Start(_, _, inherited) = self.occasion
            && inherited.has_admin_socket
        {
            return;
        }
        match (AdminSocket::check(socket), self.occasion) {
            (Ok(()), _) => {}
            // It is the one that was asked over this very socket.
            (Err(SocketError::InUse { .. }), Occasion::Validation(Some(neighbour))) => {
                self.notes.push(neighbour.has(&socket.display()));
            }
            (Err(fault), _) => self.fault("admin.socket", format!("[admin] socket: {fault}")),
        }
    }

    /// What of the store a reload changes. The outer `None`: it cannot be used.
    fn store(&mut self) -> Option<Option<PreparedStore>> {
        let Occasion::Reload(process) = self.occasion else { return Some(None) };
        let prepared = process.parts.store.prepare(self.config);
        self.found("store", prepared.map_err(|words| format!("[store] {words}")))
    }

    fn upstream(
        &mut self,
        at: usize,
        configured: &Upstream,
        watcher: &Watcher,
    ) -> Option<UpstreamPlan> {
        let plan = assemble::upstream(configured, watcher);
        let words = |words| format!("[[upstream]] {:?}: {words}", configured.plan.name);
        self.found(&format!("upstream[{at}].tls"), plan.map_err(words))
    }

    fn keys(&mut self) -> Option<(PreparedKeys, Vec<PathBuf>)> {
        let is_reload = matches!(self.occasion, Occasion::Reload(_));
        let missing = if is_reload { MissingKeys::MakeBesideOthers } else { MissingKeys::Make };
        let (mut keys, lacking) =
            self.found("keys.directory", ReadKeys::look(self.config, missing))?;
        self.warnings.append(&mut keys.warnings);
        if let Some(path) = lacking.first() {
            let outcome = writable::folder(&self.config.keys.directory).map_err(|words| {
                let fault = KeyDirectoryError::Unmade {
                    path: path.clone(),
                    source: io::Error::other(words),
                };
                format!("[keys] directory: {fault}")
            });
            self.found("keys.directory", outcome)?;
        }
        if let Occasion::Reload(process) = self.occasion {
            self.found("keys.directory", process.parts.check_store_key(&keys))?;
            return Some((PreparedKeys::Next(keys), lacking));
        }
        Some((PreparedKeys::First(keys.into()), lacking))
    }

    fn issuers(&mut self, keys: &PreparedKeys, watcher: &Watcher) -> Option<issuers::Prepared> {
        let prepared = match (keys, self.occasion) {
            (PreparedKeys::First(keys), Occasion::Start(issuers, ..)) => {
                issuers.prepare(self.config, &keys.peppers)
            }
            (PreparedKeys::First(keys), _) => {
                Issuers::new(watcher.clone()).prepare(self.config, &keys.peppers)
            }
            (PreparedKeys::Next(_), Occasion::Reload(process)) => {
                process.issuers.prepare(self.config, &process.parts.peppers)
            }
            (PreparedKeys::Next(_), Occasion::Start(..) | Occasion::Validation(_)) => return None,
        };
        prepared.map_err(|faults| self.faults.extend(faults)).ok()
    }
}
