//! Names that a real server answers for, while what it says changes.

#![allow(dead_code, reason = "the server is that of the tests through the socket, too")]

#[path = "../../../tests/it/support/dns_server.rs"]
mod dns_server;

use std::net::IpAddr;
use std::time::Duration;

use dns_server::{DnsServer, Says, addresses};
use hickory_resolver::proto::op::ResponseCode;

use super::client::{Client, Family, Outcome, SystemFiles};
use super::settings::DnsSettings;

/// A client whose files are these; the server is asked after the `others`.
fn client(server: &DnsServer, others: &[&DnsServer], conf: &str, hosts: &str) -> Client {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let files =
        SystemFiles { resolv_conf: folder.join("resolv.conf"), hosts: folder.join("hosts") };
    std::fs::write(&files.resolv_conf, conf).expect("a file can be written");
    std::fs::write(&files.hosts, hosts).expect("a file can be written");
    let mut servers: Vec<_> = others.iter().map(|server| server.address()).collect();
    servers.push(server.address());
    let settings = DnsSettings {
        servers: Some(servers),
        timeout: Duration::from_millis(500),
        ..DnsSettings::default()
    };
    Client::new(settings, files)
}

fn ask(client: &Client, name: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(client.ask(name))
}

fn shown(family: &Family) -> Vec<String> {
    match family {
        Family::Addresses(addresses) => {
            let mut shown: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            shown.sort();
            shown
        }
        Family::None(_) => Vec::new(),
        Family::Unknown(reason) => panic!("{reason}"),
    }
}

fn is_none(outcome: &Outcome) -> bool {
    matches!((&outcome.v4, &outcome.v6), (Family::None(_), Family::None(_)))
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome.v4, Family::Unknown(_))
}

#[test]
fn both_families_are_asked_for_and_the_shortest_time_to_live_counts() {
    let server = DnsServer::start();
    let client = client(&server, &[], "", "");
    server.says("app.example", addresses(&["10.0.0.2", "10.0.0.1", "2001:db8::1"], 7));
    let found = ask(&client, "app.example");
    assert_eq!(shown(&found.v4), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(shown(&found.v6), ["2001:db8::1"]);
    assert_eq!(found.ttl, Duration::from_secs(7));
    server.says("alias.example", Says::Alias("middle.example", 3));
    server.says("middle.example", Says::Alias("app.example", 60));
    let found = ask(&client, "alias.example");
    assert_eq!(shown(&found.v4), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(found.ttl, Duration::from_secs(3), "an alias has a time to live, too");
}

#[test]
fn an_answer_is_not_kept_beyond_what_the_server_says_now() {
    let server = DnsServer::start();
    let client = client(&server, &[], "", "");
    for ip in ["10.0.0.1", "10.0.0.2"] {
        server.says("app.example", addresses(&[ip], 3600));
        assert_eq!(shown(&ask(&client, "app.example").v4), [ip]);
    }
    server.says("app.example", Says::Code(ResponseCode::NXDomain));
    assert!(is_none(&ask(&client, "app.example")));
    server.says("app.example", addresses(&["10.0.0.3"], 3600));
    assert_eq!(shown(&ask(&client, "app.example").v4), ["10.0.0.3"]);
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = DnsServer::start();
    let many: Vec<IpAddr> = (1..=200).map(|last| IpAddr::from([10, 0, 0, last])).collect();
    server.says("app.example", Says::OverTcp(many, 60));
    let found = ask(&client(&server, &[], "", ""), "app.example");
    assert_eq!(shown(&found.v4).len(), 200);
    assert!(server.asked_over_tcp() > 0);
}

#[test]
fn what_says_nothing_of_a_name_is_not_taken_for_no() {
    let server = DnsServer::start();
    let client = client(&server, &[], "search other.example\noptions ndots:1", "");
    // Another name of the search list would have an address.
    server.says("app.example.other.example", addresses(&["10.6.6.6"], 60));
    for says in [
        Says::Nothing,
        Says::Garbage,
        Says::Code(ResponseCode::ServFail),
        Says::Code(ResponseCode::Refused),
        Says::Code(ResponseCode::FormErr),
    ] {
        server.says("app.example", says.clone());
        let found = ask(&client, "app.example");
        assert!(is_unknown(&found), "{says:?}: {found:?}");
    }
    assert_eq!(server.asked("app.example.other.example"), 0);
    drop(server);
    assert!(is_unknown(&ask(&client, "app.example")), "no server is there");
}

#[test]
fn a_name_that_does_not_exist_and_one_without_addresses_have_none() {
    let server = DnsServer::start();
    server.says("empty.example", Says::Addresses(Vec::new(), 60));
    let client = client(&server, &[], "", "");
    for (name, why) in [("missing.example", "NXDOMAIN"), ("empty.example", "no address")] {
        let found = ask(&client, name);
        let Family::None(reason) = &found.v4 else { panic!("{name}: {found:?}") };
        assert!(reason.contains(why) && is_none(&found), "{name}: {found:?}");
    }
}

#[test]
fn where_one_server_says_nothing_the_next_is_asked() {
    let (bad, good) = (DnsServer::start(), DnsServer::start());
    good.says("app.example", addresses(&["10.0.0.1"], 60));
    let client = client(&good, &[&bad], "", "");
    for says in [Says::Nothing, Says::Code(ResponseCode::ServFail), Says::Garbage] {
        bad.says("app.example", says.clone());
        assert_eq!(shown(&ask(&client, "app.example").v4), ["10.0.0.1"], "{says:?}");
    }
    bad.says("app.example", Says::Code(ResponseCode::NXDomain));
    assert!(is_none(&ask(&client, "app.example")), "that is an answer");
}

#[test]
fn the_search_list_and_the_dots_of_the_system_count() {
    let server = DnsServer::start();
    server.says("app.shop.svc.cluster.local", addresses(&["10.0.0.1"], 60));
    server.says("app.pay.svc.cluster.local", addresses(&["10.0.0.2"], 60));
    server.says("app.example.com", addresses(&["10.0.0.3"], 60));
    let conf = "nameserver 192.0.2.1\nsearch shop.svc.cluster.local svc.cluster.local\n\
                options ndots:5\n";
    let client = client(&server, &[], conf, "");
    for (name, ip) in [
        ("app", "10.0.0.1"),
        ("app.pay", "10.0.0.2"),
        ("app.example.com", "10.0.0.3"),
        ("app.example.com.", "10.0.0.3"),
    ] {
        assert_eq!(shown(&ask(&client, name).v4), [ip], "{name}");
    }
    assert_eq!(server.asked("app.example.com.shop.svc.cluster.local"), 1);
    assert_eq!(server.asked("app.example.com"), 2);
}

#[test]
fn the_file_of_hosts_comes_first_and_changes_of_both_files_count() {
    let server = DnsServer::start();
    server.says("app", addresses(&["10.0.0.1"], 60));
    server.says("app.shop.example", addresses(&["10.0.0.2"], 60));
    let client = client(&server, &[], "", "10.9.9.9 app\n::1 app\n");
    let found = ask(&client, "app");
    assert_eq!((shown(&found.v4), shown(&found.v6)), (vec!["10.9.9.9".into()], vec!["::1".into()]));
    assert_eq!(server.asked("app"), 0);
    std::fs::write(&client.files().hosts, "# empty now\n").expect("a file can be written");
    assert_eq!(shown(&ask(&client, "app").v4), ["10.0.0.1"]);
    std::fs::write(&client.files().resolv_conf, "search shop.example").expect("it can be written");
    assert_eq!(shown(&ask(&client, "app").v4), ["10.0.0.2"]);
}

#[test]
fn where_the_system_wants_no_ipv6_it_is_not_asked_for() {
    let server = DnsServer::start();
    server.says("app.example", addresses(&["10.0.0.1", "2001:db8::1"], 60));
    let found = ask(&client(&server, &[], "options no-aaaa", ""), "app.example");
    assert_eq!((shown(&found.v4).len(), shown(&found.v6).len()), (1, 0));
}
