//! Asks for the addresses of a name as the system's resolver does: `/etc/hosts` first, then each
//! name of the search list at the servers.
//!
//! Unlike that one, it goes on with the search list only if a server has said that there is no such
//! name: what cannot be told is not taken for "no", or an outage would lead to another service.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Resolver, TokioResolver};

use super::settings::{DnsSettings, PORT};

/// What became of asking for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) v4: Family,
    pub(super) v6: Family,
    /// For how long it holds.
    pub(super) ttl: Duration,
}

/// What was said of the addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// These; at least one.
    Addresses(Vec<IpAddr>),
    /// There is none; why, in words.
    None(String),
    /// Nothing that counts; why, in words.
    Unknown(String),
}

/// The files of the system.
#[derive(Clone, Debug)]
pub(super) struct SystemFiles {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// Asks as these settings say.
pub(super) struct Client {
    settings: DnsSettings,
    files: SystemFiles,
    /// As of the files when they were looked at last.
    system: Mutex<Option<Arc<System>>>,
}

/// What the files say.
struct System {
    stamps: [Stamp; 2],
    /// In the order in which they are asked.
    servers: Vec<(SocketAddr, TokioResolver)>,
    search: Vec<Name>,
    /// With so many dots a name is first asked for as it is.
    dots: usize,
    wants_v6: bool,
    hosts: String,
}

/// When a file was changed and how long it is; none: it cannot be read.
type Stamp = Option<(SystemTime, u64)>;

/// How long an address of the file of hosts holds, until the file is looked at again.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// So many domains of the search list are tried, as glibc once did, and so many servers.
const MOST_DOMAINS: usize = 6;
const MOST_SERVERS: usize = 3;

/// `ndots` is at most so much (resolv.conf(5)).
const MOST_DOTS: u32 = 15;

impl Client {
    pub(super) fn new(settings: DnsSettings, files: SystemFiles) -> Self {
        Self { settings, files, system: Mutex::new(None) }
    }

    pub(super) fn settings(&self) -> &DnsSettings {
        &self.settings
    }

    pub(super) fn files(&self) -> &SystemFiles {
        &self.files
    }

    /// Asks for the addresses of a name: it takes as long as the servers may take, for each name of
    /// the search list.
    pub(super) async fn ask(&self, name: &str) -> Outcome {
        let system = self.system();
        let found = addresses_in_hosts(&system.hosts, name);
        if !found.is_empty() {
            let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(IpAddr::is_ipv4);
            let family = |addresses: Vec<_>| match addresses.is_empty() {
                true => Family::None("the file of hosts has none".to_owned()),
                false => Family::Addresses(addresses),
            };
            return Outcome { v4: family(v4), v6: family(v6), ttl: HOSTS_TTL };
        }
        let mut none = Family::None("it is no name of DNS".to_owned());
        for name in candidates(name, &system.search, system.dots) {
            let (v4, v6) = tokio::join!(
                self.ask_servers(&system, &name, RecordType::A),
                self.ask_servers(&system, &name, RecordType::AAAA),
            );
            let ttl = v4.1.min(v6.1);
            match (v4.0, v6.0) {
                (Family::None(reason), Family::None(_)) => none = Family::None(reason),
                (v4, v6) => return Outcome { v4, v6, ttl },
            }
        }
        Outcome { v4: none.clone(), v6: none, ttl: Duration::MAX }
    }

    /// Asks one server after the other, until one says something that counts.
    async fn ask_servers(
        &self,
        system: &System,
        name: &Name,
        kind: RecordType,
    ) -> (Family, Duration) {
        if kind == RecordType::AAAA && !system.wants_v6 {
            return (Family::None("\"no-aaaa\" is set".to_owned()), Duration::MAX);
        }
        let mut fault = "there is no server of names".to_owned();
        for (address, resolver) in &system.servers {
            let asked = resolver.lookup(name.clone(), kind);
            fault = match tokio::time::timeout(self.settings.timeout, asked).await {
                Err(_) | Ok(Err(NetError::Timeout)) => {
                    format!("{address} does not answer")
                }
                Ok(Err(fault)) => match none_of(&fault) {
                    Some(reason) => return (Family::None(reason.to_owned()), Duration::MAX),
                    None => format!("{address}: {fault}"),
                },
                Ok(Ok(lookup)) => {
                    let answers = lookup.answers();
                    let ips: Vec<_> =
                        answers.iter().filter_map(|record| record.data.ip_addr()).collect();
                    let seconds = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
                    if ips.is_empty() {
                        return (Family::None(NO_ADDRESS.to_owned()), Duration::MAX);
                    }
                    return (Family::Addresses(ips), Duration::from_secs(seconds.into()));
                }
            };
        }
        (Family::Unknown(fault), Duration::MAX)
    }

    /// What the files say now: they are read again if they have changed.
    fn system(&self) -> Arc<System> {
        let stamps = [&self.files.resolv_conf, &self.files.hosts].map(|path| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        });
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        match &*system {
            Some(known) if known.stamps == stamps => Arc::clone(known),
            _ => {
                let read = Arc::new(self.read(stamps));
                *system = Some(Arc::clone(&read));
                read
            }
        }
    }

    fn read(&self, stamps: [Stamp; 2]) -> System {
        let text = std::fs::read(&self.files.resolv_conf).unwrap_or_default();
        // What cannot be read of it is passed over, as resolv.conf(5) says.
        let (conf, _) = resolv_conf::Config::parse_with_errors(&text);
        let servers = match &self.settings.servers {
            Some(servers) => servers.clone(),
            None => conf
                .get_nameservers_or_local()
                .iter()
                .take(MOST_SERVERS)
                .map(|ip| SocketAddr::new(ip.into(), PORT))
                .collect(),
        };
        let resolver = |server: SocketAddr| {
            let resolver = resolver(server, self.settings.timeout, conf.edns0)?;
            Ok((server, resolver))
        };
        let servers = servers.into_iter().map(resolver).filter_map(|made: Result<_, NetError>| {
            made.inspect_err(|fault| tracing::error!(%fault, "names cannot be asked for")).ok()
        });
        let search = conf.get_last_search_or_domain().take(MOST_DOMAINS);
        System {
            stamps,
            servers: servers.collect(),
            search: search.filter_map(|domain| absolute(domain)).collect(),
            dots: usize::try_from(conf.ndots.min(MOST_DOTS)).unwrap_or(1),
            wants_v6: !conf.no_aaaa,
            hosts: std::fs::read(&self.files.hosts)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default(),
        }
    }
}

const NO_ADDRESS: &str = "it has no address";

/// What an answer says that is none; nothing, if it says nothing of the name.
fn none_of(fault: &NetError) -> Option<&'static str> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = fault else { return None };
    match none.response_code {
        ResponseCode::NXDomain => Some("there is no such name (NXDOMAIN)"),
        // A referral: the server does not look further.
        ResponseCode::NoError if none.ns.is_some() && none.soa.is_none() => None,
        ResponseCode::NoError => Some(NO_ADDRESS),
        _ => None,
    }
}

/// Asks one server, over UDP, and over TCP where an answer does not fit.
fn resolver(server: SocketAddr, timeout: Duration, edns0: bool) -> Result<TokioResolver, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.into());
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = timeout;
    options.attempts = 1;
    options.edns0 = edns0;
    options.use_hosts_file = ResolveHosts::Never;
    // What is known is kept by `known`, and asked again when it is due.
    options.cache_size = 0;
    options.negative_max_ttl = Some(Duration::ZERO);
    builder.build()
}

/// A name that ends at the root; none: it is not one of DNS.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_str_relaxed(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The names that are asked for in turn: a name with enough dots is asked for as it is and then
/// with the domains of the search list, another one the other way round (resolv.conf(5)). A dot at
/// the end keeps the search list out.
fn candidates(name: &str, search: &[Name], dots: usize) -> Vec<Name> {
    let Some(whole) = absolute(name) else { return Vec::new() };
    if name.ends_with('.') {
        return vec![whole];
    }
    let mut relative = whole.clone();
    relative.set_fqdn(false);
    let mut names: Vec<_> =
        search.iter().filter_map(|domain| relative.clone().append_domain(domain).ok()).collect();
    let at = if name.matches('.').count() >= dots { 0 } else { names.len() };
    names.insert(at, whole);
    names
}

/// The addresses that a file of hosts (hosts(5)) has for a name.
fn addresses_in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let lines = text.lines().filter_map(|line| {
        let line = line.split_once('#').map_or(line, |(line, _)| line);
        let mut words = line.split_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)).then_some(ip)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, search: &[&str], dots: usize) -> Vec<String> {
        let search: Vec<_> = search.iter().map(|domain| absolute(domain).unwrap()).collect();
        candidates(name, &search, dots).iter().map(Name::to_string).collect()
    }

    #[test]
    fn the_search_list_comes_first_for_names_with_few_dots_and_never_for_absolute_ones() {
        let search = ["shop.svc.cluster.local", "svc.cluster.local"];
        for (name, dots, expected) in [
            ("app", 5, &["app.shop.svc.cluster.local.", "app.svc.cluster.local.", "app."][..]),
            (
                "app.pay",
                5,
                &["app.pay.shop.svc.cluster.local.", "app.pay.svc.cluster.local.", "app.pay."],
            ),
            (
                "app.pay",
                1,
                &["app.pay.", "app.pay.shop.svc.cluster.local.", "app.pay.svc.cluster.local."],
            ),
            ("app.", 5, &["app."]),
            ("my_app.x.y.z.a.b.", 5, &["my_app.x.y.z.a.b."]),
        ] {
            assert_eq!(names(name, &search, dots), expected, "{name} {dots}");
        }
        assert_eq!(names("app", &[], 1), ["app."]);
    }

    #[test]
    fn a_file_of_hosts_has_addresses_of_both_families_and_aliases() {
        let text = "# comment app\n127.0.0.1 localhost\n10.0.0.1\tapp.example App # other\n\
                    ::1 app\nnonsense app\n10.0.0.2 other\n10.0.0.3 app";
        let found: Vec<_> = addresses_in_hosts(text, "app").iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["10.0.0.1", "::1", "10.0.0.3"]);
        assert_eq!(addresses_in_hosts(text, "app.").len(), 3);
        assert!(addresses_in_hosts(text, "comment").is_empty());
    }
}
