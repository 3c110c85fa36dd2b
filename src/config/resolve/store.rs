//! What the keys of `[store]` say together.

use std::time::Duration;

use crate::config::pairs::pair;
use crate::config::tables::{OnOutage, StoreKeys, StoreKind, Topology};
use crate::config::{FleetSettings, Store};
use crate::settings::fault::{Findings, Spot};
use crate::settings::list::Placed;
use crate::store::redis::RedisOptions;
use crate::store::redis::settings::{
    Acks, NodeAddress, RedisSettings, RedisTimeouts, SENTINEL_PORT, SERVER_PORT, Servers,
};
use crate::tls::{ClientSettings, Trust};

pub(super) fn resolve(keys: StoreKeys, findings: &Findings<'_>) -> Store {
    let (path, timeout) = (keys.path.clone(), keys.timeout);
    let is_fleet = keys.kind == StoreKind::Redis;
    Store { path, timeout, redis: is_fleet.then(|| fleet(keys, findings.table("store"))) }
}

fn fleet(mut keys: StoreKeys, spot: Spot<'_>) -> FleetSettings {
    keys.password = keys.password.or(keys.password_file.take());
    let (servers, has_tls) = put_urls_in(&mut keys, spot);
    if !spot.is_given("read_timeout") {
        keys.read_timeout = keys.read_timeout.min(keys.timeout);
    }
    if !spot.is_given("revoke_acks_timeout") {
        keys.revoke_acks_timeout = keys.revoke_acks_timeout.min(keys.timeout / 2);
    }
    check(&keys, spot);
    if !has_tls && !servers.is_empty() {
        let keys = ["ca_file", "client_certificate_file", "client_key_file"];
        spot.refuse_given(&keys, "is for TLS, and \"url\" says redis://: write rediss://");
    }
    let tls = ClientSettings {
        trust: keys.ca_file.map_or(Trust::System, Trust::File),
        identity: pair(
            spot,
            ["client_certificate_file", "client_key_file"],
            keys.client_certificate_file,
            keys.client_key_file,
        ),
        // Redis has no protocol to negotiate.
        alpn: Vec::new(),
    };
    let settings = RedisSettings {
        servers: match (keys.topology, servers.first()) {
            (Topology::Single, Some(server)) => Servers::Single(server.clone()),
            // Without a server there is a fault.
            (Topology::Single, None) | (Topology::Cluster, _) => Servers::Cluster(servers),
            (Topology::Sentinel, _) => Servers::Sentinel {
                sentinels: servers,
                master: keys.sentinel_master.unwrap_or_default(),
                username: keys.sentinel_username,
                password: keys.sentinel_password.or(keys.sentinel_password_file),
            },
        },
        tls: has_tls.then_some(tls),
        username: keys.username,
        password: keys.password,
        database: keys.database,
        prefix: keys.prefix,
        timeouts: RedisTimeouts {
            connect: keys.timeout,
            read: keys.read_timeout,
            change: keys.timeout,
        },
    };
    let acks = Acks { count: keys.revoke_acks, timeout: keys.revoke_acks_timeout };
    let options = RedisOptions {
        settings,
        acks: (keys.revoke_acks > 0).then_some(acks),
        allow_volatile: keys.allow_volatile,
    };
    let max_staleness = match keys.on_outage {
        OnOutage::Deny => Duration::ZERO,
        OnOutage::ServeCached => keys.max_staleness,
    };
    FleetSettings { options, coherence_lease: keys.coherence_lease, max_staleness }
}

/// Puts in what the URLs say of user, password and database, and returns the servers, and whether
/// they speak TLS.
fn put_urls_in(keys: &mut StoreKeys, spot: Spot<'_>) -> (Vec<NodeAddress>, bool) {
    let default_port = match keys.topology {
        Topology::Sentinel => SENTINEL_PORT,
        Topology::Single | Topology::Cluster => SERVER_PORT,
    };
    let has_password_beside = spot.is_given("password") || spot.is_given("password_file");
    let urls = keys.url.take().unwrap_or_default();
    let (mut servers, count) = (Vec::new(), urls.len());
    let has_tls = urls.iter().any(|url| url.value.tls);
    if has_tls && !urls.iter().all(|url| url.value.tls) {
        let message = "\"url\" mixes redis:// and rediss://: either all servers speak TLS or none";
        spot.fault("url", message);
    }
    if keys.topology == Topology::Single && count > 1 {
        spot.fault(
            "url",
            "\"url\" lists several servers: say with \"topology\" whether they are the sentinels \
             of a master (\"sentinel\") or nodes of a Cluster (\"cluster\")",
        );
    }
    for Placed { at, value: url } in urls {
        let fault = |message: String| spot.findings.fault(Some(at), message);
        let (has_user, has_password) = (url.username.is_some(), url.password.is_some());
        if (has_user || has_password) && count > 1 {
            fault(
                "a user or a password in one of several urls: say them once, in \"username\" and \
                 \"password_file\""
                    .to_owned(),
            );
        }
        for (key, is_said_twice) in [
            ("username", has_user && spot.is_given("username")),
            ("password", has_password && has_password_beside),
        ] {
            if is_said_twice {
                fault(format!("{key:?} is said twice: in \"url\" and beside it"));
            }
        }
        if let Some(database) = url.database {
            if spot.is_given("database") && database != keys.database {
                fault("\"database\" is another one than in \"url\"".to_owned());
            }
            keys.database = database;
        }
        keys.username = keys.username.take().or(url.username);
        keys.password = keys.password.take().or(url.password);
        let server = NodeAddress::new(url.host, url.port.unwrap_or(default_port));
        if servers.contains(&server) {
            fault(format!("\"url\" lists {server} twice"));
        }
        servers.push(server);
    }
    (servers, has_tls)
}

/// What does not go together, with the URLs put in.
fn check(keys: &StoreKeys, spot: Spot<'_>) {
    if keys.topology == Topology::Cluster && keys.database != 0 {
        let message =
            "\"database\" must be 0 with \"topology\" \"cluster\": a Cluster has no other";
        spot.fault("database", message);
    }
    // What is wrong with a password that is given has been reported.
    let has_password = spot.is_given("password") || spot.is_given("password_file");
    if keys.username.is_some() && keys.password.is_none() && !has_password {
        spot.fault("username", "\"username\" needs \"password\" or \"password_file\"");
    }
    if keys.revoke_acks == 0 {
        spot.refuse_given(&["revoke_acks_timeout"], "needs \"revoke_acks\" of 1 or more");
    }
}
