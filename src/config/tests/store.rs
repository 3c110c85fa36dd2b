//! `[store]` of a fleet: what goes together, and what shows of its secrets.

use super::*;
use crate::store::redis::RedisOptions;
use crate::store::redis::settings::{Acks, NodeAddress, RedisSettings, Servers};

fn store(lines: &str) -> Result<FleetSettings, String> {
    let environment = |name: &str| (name == "PW").then(|| "hunt%65r2".to_owned());
    match parse(&format!("{SMALL}[store]\n{lines}"), "k.toml", &environment) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
            Ok(config.store.redis.unwrap())
        }
        Err(faults) => Err(faults.to_string()),
    }
}

fn redis(lines: &str) -> Result<RedisSettings, String> {
    store(&format!("kind = 'redis'\n{lines}")).map(|fleet| fleet.options.settings)
}

#[test]
fn a_url_is_enough() {
    let found = store("kind = 'redis'\nurl = 'redis://localhost'").unwrap();
    let expected = FleetSettings {
        options: RedisOptions {
            settings: RedisSettings::single(NodeAddress::new("localhost", 6379)),
            acks: None,
            allow_volatile: false,
        },
        coherence_lease: Duration::from_secs(1),
        max_staleness: Duration::ZERO,
    };
    assert_eq!(found, expected);
}

#[test]
fn what_is_typed_of_a_fleet_arrives() {
    let text = "kind = 'redis'\nurl = 'redis://localhost'\ntimeout = '1s'\nprefix = 'p:1'\n\
                on_outage = 'serve_cached'\nmax_staleness = '5s'\ncoherence_lease = '3s'\n\
                revoke_acks = 2\nallow_volatile = true\ndatabase = 7";
    let found = store(text).unwrap();
    let lease = (found.coherence_lease, found.max_staleness);
    assert_eq!(lease, (Duration::from_secs(3), Duration::from_secs(5)));
    let RedisOptions { settings, acks, allow_volatile } = found.options;
    // By default, half of "timeout" at most.
    assert_eq!(acks, Some(Acks { count: 2, timeout: Duration::from_millis(500) }));
    assert!(allow_volatile);
    assert_eq!((settings.prefix.as_str(), settings.database), ("p:1", 7));
    let read = settings.timeouts.read;
    assert_eq!(
        (settings.timeouts.change, read),
        (Duration::from_secs(1), Duration::from_millis(250))
    );
}

#[test]
fn a_password_comes_from_the_environment_or_a_file() {
    let found = redis("url = 'rediss://me:${PW}@localhost:7/3'").unwrap();
    assert_eq!((found.username.as_deref(), found.database), (Some("me"), 3));
    assert!(found.tls.is_some());
    assert_eq!(found.password.unwrap().expose(), "hunter2");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let with_file = format!("url = 'redis://localhost'\npassword_file = {file:?}");
    assert!(redis(&with_file).unwrap_err().contains("\"password_file\": "));
    let utf_16 =
        "\u{feff}hunter2\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for content in
        [&b"hunter2"[..], b"hunter2\n", b"hunter2\r\n", b"\xef\xbb\xbfhunter2\r\n", &utf_16]
    {
        std::fs::write(&file, content).unwrap();
        assert_eq!(redis(&with_file).unwrap().password.unwrap().expose(), "hunter2", "{content:?}");
    }
    for content in ["", "\n", "one\ntwo\n"] {
        std::fs::write(&file, content).unwrap();
        assert!(redis(&with_file).unwrap_err().contains("\"password_file\": "), "{content:?}");
    }
}

fn nodes(list: &[(&str, u16)]) -> Vec<NodeAddress> {
    list.iter().map(|(host, port)| NodeAddress::new(*host, *port)).collect()
}

#[test]
fn sentinels_and_clusters_are_lists() {
    let found =
        redis("url = ['redis://a', 'redis://b:1']\ntopology = 'sentinel'\nsentinel_master = 'm'")
            .unwrap();
    let Servers::Sentinel { sentinels, master, .. } = found.servers else { panic!() };
    assert_eq!((sentinels, master.as_str()), (nodes(&[("a", 26379), ("b", 1)]), "m"));
    let found = redis("url = ['redis://a', 'redis://[::1]']\ntopology = 'cluster'").unwrap();
    assert_eq!(found.servers, Servers::Cluster(nodes(&[("a", 6379), ("::1", 6379)])));
}

#[test]
fn what_does_not_go_together_is_refused_in_words() {
    let url = "url = 'redis://a'\n";
    for (lines, words) in [
        ("", "missing key \"url\""),
        ("url = []", "must not be empty"),
        ("url = 'redis://a:${PW}@b'\nurk = 1", "did you mean \"url\""),
        ("url = 'redis://a:b:c'", "\"url\" must be"),
        ("url = ['redis://a', 'redis://b']", "\"topology\""),
        ("url = ['redis://a', 'rediss://b']\ntopology = 'cluster'", "mixes"),
        ("url = ['redis://a', 'redis://A']\ntopology = 'cluster'", "twice"),
        ("url = ['redis://u:${PW}@a', 'redis://b']\ntopology = 'cluster'", "one of several"),
        ("url = 'redis://a/1'\ntopology = 'cluster'", "\"database\" must be 0"),
        ("url = 'redis://a/1'\ndatabase = 2", "another one"),
        ("url = 'redis://u:${PW}@a'\npassword = 'x'", "\"password\" is said twice"),
        ("url = 'redis://u@a'", "\"username\" needs"),
        (&format!("{url}username = 'u'"), "\"username\" needs"),
        (&format!("{url}password = 'a'\npassword_file = '/dev/null'"), "not both"),
        (&format!("{url}password = 12345678"), "\"password\" must be a string"),
        (&format!("{url}topology = 'sentinel'"), "missing key \"sentinel_master\""),
        (&format!("{url}sentinel_master = 'm'"), "is for \"topology\" \"sentinel\""),
        (&format!("{url}topology = 'sentinal'"), "did you mean \"sentinel\""),
        (&format!("{url}ca_file = '/none'"), "rediss://"),
        ("url = 'rediss://a'\nclient_key_file = '/none'", "needs \"client_certificate_file\""),
        (&format!("{url}max_staleness = '30s'"), "is for \"on_outage\" \"serve_cached\""),
        (
            &format!(
                "{url}on_outage = 'serve_cached'\nmax_staleness = '1s'\ncoherence_lease = '2s'"
            ),
            "not be shorter",
        ),
        (&format!("{url}coherence_lease = '100ms'"), "from \"200ms\" to \"30s\""),
        (&format!("{url}read_timeout = '3s'"), "longer than \"timeout\""),
        (&format!("{url}revoke_acks_timeout = '1s'"), "needs \"revoke_acks\""),
        (&format!("{url}revoke_acks = 1\nrevoke_acks_timeout = '2s'"), "shorter than \"timeout\""),
        (&format!("{url}prefix = 'a{{b'"), "\"prefix\" must be"),
        (&format!("{url}path = 'x.db'"), "is for \"kind\" \"embedded\""),
    ] {
        let faults = redis(lines).expect_err(lines);
        assert!(faults.contains(words), "{lines}: {faults}");
        assert!(!faults.contains("12345678") && !faults.contains("hunt"), "{faults}");
    }
    let faults = store("url = 'redis://a'").unwrap_err();
    assert!(faults.contains("\"url\" is for \"kind\" \"redis\""), "{faults}");
}

#[test]
fn a_password_in_clear_in_a_url_is_refused_and_not_repeated() {
    let faults = redis("url = 'redis://me:hunter2@localhost'").unwrap_err();
    assert!(faults.contains("in clear") && !faults.contains("hunter2"), "{faults}");
    let faults = redis("url = 'redis//me:hunter2@localhost'").unwrap_err();
    assert!(!faults.contains("hunter2"), "{faults}");
}
