//! Validates `[store]`.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::{PATH, path};
use crate::config::fault::Findings;
use crate::config::redis_url::RedisUrl;
use crate::config::section::{Section, Typed};
use crate::config::settings::{OnOutage, RedisStore, Secret, Store, StoreKind, Topology};
use crate::config::tls_files::{Expected, check_authorities, check_identity, read_secret};
use crate::files::{self, FileKind};
use crate::tls::CertificateFiles;

const MILLIS_50: Duration = Duration::from_millis(50);
/// The keys of a client certificate and of its key.
const IDENTITY: [&str; 2] = ["client_certificate_file", "client_key_file"];
const PEM: &str = "the path of a PEM file";
const NAME: &str = "a name of 1 to 255 visible characters";
const URL: &str = "\"redis://host:port\" or \"rediss://host:port\" (TLS), or an array of those";

/// The largest file that is read as a password.
const LONGEST_PASSWORD: u64 = 4096;

/// The keys that only one kind of store has.
const OF_REDIS: &[&str] = &[
    "url",
    "topology",
    "sentinel_master",
    "sentinel_username",
    "sentinel_password",
    "sentinel_password_file",
    "username",
    "password",
    "password_file",
    "ca_file",
    "client_certificate_file",
    "client_key_file",
    "database",
    "prefix",
    "on_outage",
    "max_staleness",
    "coherence_lease",
    "read_timeout",
    "revoke_acks",
    "revoke_acks_timeout",
    "allow_volatile",
];

pub(super) fn store(mut section: Section<'_>, findings: &Findings<'_>) -> Store {
    let default = Store::default();
    let kinds = [("embedded", StoreKind::Embedded), ("redis", StoreKind::Redis)];
    let kind = section.take_choice("kind", default.kind, &kinds);
    let path = section.take_parsed("path", default.path, PATH, path);
    let timeout =
        section.take_duration("timeout", default.timeout, MILLIS_50..=Duration::from_secs(30));
    let redis = redis(&mut section, timeout, kind == StoreKind::Redis, findings);
    match kind {
        StoreKind::Embedded => {
            for key in OF_REDIS.iter().filter(|key| section.is_given(key)) {
                section.fault(
                    key,
                    format!("{key:?} is for \"kind\" \"redis\", and \"kind\" is \"embedded\""),
                );
            }
            Store { kind, path, timeout, redis: None }
        }
        StoreKind::Redis => {
            if section.is_given("path") {
                section.fault(
                    "path",
                    "\"path\" is for \"kind\" \"embedded\", and \"kind\" is \"redis\"",
                );
            }
            Store { kind, path, timeout, redis: Some(redis) }
        }
    }
}

fn redis(
    section: &mut Section<'_>,
    timeout: Duration,
    is_meant: bool,
    findings: &Findings<'_>,
) -> RedisStore {
    let default = RedisStore::default();
    let urls = section.maybe_texts("url", URL);
    let topologies = [
        ("single", Topology::Single),
        ("sentinel", Topology::Sentinel),
        ("cluster", Topology::Cluster),
    ];
    let outages = [("deny", OnOutage::Deny), ("serve_cached", OnOutage::ServeCached)];
    let mut store = RedisStore {
        topology: section.take_choice("topology", default.topology, &topologies),
        sentinel_master: section.maybe_parsed("sentinel_master", NAME, name),
        sentinel_username: section.maybe_parsed("sentinel_username", NAME, name),
        sentinel_password: password(section, "sentinel_password", "sentinel_password_file"),
        username: section.maybe_parsed("username", NAME, name),
        password: password(section, "password", "password_file"),
        ca_file: authorities(section, "ca_file"),
        client_certificate_file: section.maybe_parsed(IDENTITY[0], PEM, path),
        client_key_file: section.maybe_parsed(IDENTITY[1], PEM, path),
        database: u32::try_from(section.take_integer("database", 0, 0..=65_535)).unwrap_or(0),
        prefix: section.take_parsed(
            "prefix",
            default.prefix,
            "1 to 64 letters, digits, \"-\", \"_\", \".\" or \":\"",
            prefix,
        ),
        on_outage: section.take_choice("on_outage", default.on_outage, &outages),
        max_staleness: section.take_duration(
            "max_staleness",
            default.max_staleness,
            Duration::from_secs(1)..=Duration::from_secs(86_400),
        ),
        coherence_lease: section.take_duration(
            "coherence_lease",
            default.coherence_lease,
            Duration::from_millis(200)..=Duration::from_secs(30),
        ),
        read_timeout: section.take_duration(
            "read_timeout",
            default.read_timeout.min(timeout),
            Duration::from_millis(10)..=Duration::from_secs(30),
        ),
        revoke_acks: section.take_integer("revoke_acks", 0, 0..=100),
        revoke_acks_timeout: section.take_duration(
            "revoke_acks_timeout",
            default.revoke_acks_timeout.min(timeout / 2),
            Duration::from_millis(10)..=Duration::from_secs(30),
        ),
        allow_volatile: section.take_bool("allow_volatile", false),
        ..RedisStore::default()
    };
    if let (Some(certificate), Some(key)) = (&store.client_certificate_file, &store.client_key_file)
    {
        let files = CertificateFiles { certificate: certificate.clone(), key: key.clone() };
        check_identity(section, IDENTITY, &files);
    }
    if is_meant {
        servers(section, &mut store, urls.as_deref(), findings);
        combinations(section, &store, timeout);
    }
    store
}

/// Puts the URLs in.
fn servers(
    section: &mut Section<'_>,
    store: &mut RedisStore,
    urls: Option<&[Typed]>,
    findings: &Findings<'_>,
) {
    let Some(urls) = urls else {
        section.miss(
            "url",
            format!("missing key \"url\" in [store]: with \"kind\" \"redis\" it must be {URL}"),
        );
        return;
    };
    if urls.is_empty() && section.is_silent("url") {
        section.fault("url", format!("\"url\" must not be empty: it must be {URL}"));
    }
    let mut schemes = Vec::new();
    for typed in urls {
        let url = match RedisUrl::read(&typed.value, store.topology == Topology::Sentinel) {
            Ok(url) => url,
            // What was typed may hold a password: it is not repeated.
            Err(reason) => {
                findings.fault(Some(typed.at), format!("\"url\" must be {URL}: {reason}"));
                continue;
            }
        };
        if url.password.is_some() && !typed.is_expanded {
            findings.fault(
                Some(typed.at),
                "\"url\" holds a password in clear: put it into \"password_file\", or into the \
                 environment as in \
                 \"redis://user:${PASSWORD}@host\""
                    .to_owned(),
            );
        }
        if (url.username.is_some() || url.password.is_some()) && urls.len() > 1 {
            findings.fault(
                Some(typed.at),
                "a user or a password in one of several urls: say them once, in \"username\" \
                 and \"password_file\""
                    .to_owned(),
            );
        }
        for (given, key) in
            [(url.username.is_some(), "username"), (url.password.is_some(), "password")]
        {
            if given
                && (section.is_given(key)
                    || (key == "password" && section.is_given("password_file")))
            {
                findings.fault(
                    Some(typed.at),
                    format!("{key:?} is said twice: in \"url\" and beside it"),
                );
            }
        }
        if let Some(database) = url.database {
            if section.is_given("database") && database != store.database {
                findings.fault(
                    Some(typed.at),
                    "\"database\" is another one than in \"url\"".to_owned(),
                );
            }
            store.database = database;
        }
        store.username = store.username.take().or(url.username);
        store.password = store.password.take().or(url.password);
        schemes.push(url.tls);
        if store.servers.contains(&(url.host.clone(), url.port)) {
            findings
                .fault(Some(typed.at), format!("\"url\" lists {}:{} twice", url.host, url.port));
        }
        store.servers.push((url.host, url.port));
    }
    store.tls = schemes.contains(&true);
    if store.tls && schemes.contains(&false) {
        section.fault(
            "url",
            "\"url\" mixes redis:// and rediss://: either all servers speak TLS or none",
        );
    }
    if store.topology == Topology::Single && urls.len() > 1 {
        section.fault(
            "url",
            "\"url\" lists several servers: say with \"topology\" whether they are the sentinels \
             of a master (\"sentinel\") or \
             nodes of a Cluster (\"cluster\")",
        );
    }
}

/// What does not go together.
fn combinations(section: &mut Section<'_>, store: &RedisStore, timeout: Duration) {
    if store.topology == Topology::Sentinel {
        if !section.is_given("sentinel_master") {
            section.miss(
                "sentinel_master",
                "missing key \"sentinel_master\" in [store]: the name under which the sentinels \
                 watch the master"
                    .to_owned(),
            );
        }
    } else {
        for key in
            ["sentinel_master", "sentinel_username", "sentinel_password", "sentinel_password_file"]
        {
            if section.is_given(key) {
                section.fault(key, format!("{key:?} is for \"topology\" \"sentinel\""));
            }
        }
    }
    if store.topology == Topology::Cluster && store.database != 0 {
        section.fault(
            "database",
            "\"database\" must be 0 with \"topology\" \"cluster\": a Cluster has no other",
        );
    }
    let has_password = store.password.is_some()
        || section.is_given("password")
        || section.is_given("password_file");
    if store.username.is_some() && !has_password {
        section.fault("username", "\"username\" needs \"password\" or \"password_file\"");
    }
    let has_password =
        section.is_given("sentinel_password") || section.is_given("sentinel_password_file");
    if section.is_given("sentinel_username") && !has_password {
        section.fault(
            "sentinel_username",
            "\"sentinel_username\" needs \"sentinel_password\" or \"sentinel_password_file\"",
        );
    }
    if !store.tls && !store.servers.is_empty() {
        for key in ["ca_file", "client_certificate_file", "client_key_file"] {
            if section.is_given(key) {
                section.fault(
                    key,
                    format!("{key:?} is for TLS, and \"url\" says redis://: write rediss://"),
                );
            }
        }
    }
    for (one, other) in [
        ("client_certificate_file", "client_key_file"),
        ("client_key_file", "client_certificate_file"),
    ] {
        if section.is_given(one) && !section.is_given(other) {
            section.fault(one, format!("{one:?} needs {other:?}"));
        }
    }
    if section.is_given("max_staleness") && store.on_outage == OnOutage::Deny {
        section.fault("max_staleness", "\"max_staleness\" is for \"on_outage\" \"serve_cached\"");
    }
    if store.on_outage == OnOutage::ServeCached && store.max_staleness < store.coherence_lease {
        section.fault(
            "max_staleness",
            "\"max_staleness\" must not be shorter than \"coherence_lease\"",
        );
    }
    if store.read_timeout > timeout {
        section.fault("read_timeout", "\"read_timeout\" must not be longer than \"timeout\"");
    }
    if section.is_given("revoke_acks_timeout") && store.revoke_acks == 0 {
        section.fault(
            "revoke_acks_timeout",
            "\"revoke_acks_timeout\" needs \"revoke_acks\" of 1 or more",
        );
    }
    if store.revoke_acks_timeout >= timeout {
        section.fault(
            "revoke_acks_timeout",
            "\"revoke_acks_timeout\" must be shorter than \"timeout\"",
        );
    }
}

/// A password, typed or in a file; both are a fault.
fn password(
    section: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Option<Secret> {
    let typed = section.maybe_secret(key);
    let file = section.maybe_parsed(file_key, PATH, path);
    if section.is_given(key) && section.is_given(file_key) {
        section.fault(file_key, format!("either {key:?} or {file_key:?}, not both"));
    }
    let read = file.map(|file| {
        let expected = Expected { kind: FileKind::Secret, most: LONGEST_PASSWORD };
        let found = read_secret(section, file_key, &file, expected)?;
        let line = files::one_line(&found.content).map_err(|fault| format!("{file:?} {fault}"))?;
        Ok::<_, String>(Secret::new(line.to_string()))
    });
    if let Some(Err(reason)) = &read {
        section.fault(file_key, format!("{file_key:?}: {reason}"));
    }
    typed.or(read.and_then(Result::ok))
}

fn authorities(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let file = section.maybe_parsed(key, PEM, path);
    if let Some(Err(reason)) = file.as_deref().map(check_authorities) {
        section.fault(key, format!("{key:?}: {reason}"));
    }
    file
}

fn name(text: &str) -> Result<String, String> {
    let visible = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if (1..=255).contains(&text.len()) && visible {
        Ok(text.to_owned())
    } else {
        Err(String::new())
    }
}

fn prefix(text: &str) -> Result<String, String> {
    // No brace: it stands between braces, as the hash tag of all keys.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(String::new())
    }
}
