//! The metrics of what keyward runs on: its configuration, certificates, store and process;
//! and what is there before anything has happened.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::support::{Plan, TestIssuer, TestUser, Upstream, World, eventually};

/// The value of a series that is there.
fn value(world: &World, series: &str) -> Option<f64> {
    let page = world.admin_text("/metrics");
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_configuration_that_is_refused_shows_until_one_is_in_force() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let in_force = || value(&world, "keyward_config_last_reload_successful");
    let since = || value(&world, "keyward_config_last_reload_success_timestamp_seconds");
    let started = since().expect("a time");
    assert!(in_force() == Some(1.0) && started > 1.7e9, "{started}");
    world.configure_raw("this is not TOML [[");
    for _ in 0..2 {
        world.reload();
        assert_eq!((in_force(), since()), (Some(0.0), Some(started)));
    }
    world.configure(&Plan::usual(&upstream));
    world.reload();
    assert_eq!(in_force(), Some(1.0));
    assert!(since() >= Some(started));
}

/// Writes a certificate that is valid until the start of this year, with its key.
fn write_certificate(folder: &Path, name: &str, until: i32) {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("a file");
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
}

#[test]
fn a_certificate_shows_until_when_it_is_valid_and_whether_its_files_are_in_force() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    write_certificate(folder.path(), "a", 2100);
    write_certificate(folder.path(), "own", 2026);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let file = path("a.pem");
    let files = format!("certificate = \"{file}\", key = \"{}\"", path("a.key"));
    let world = Plan::usual(&upstream)
        .listener(&format!("tls = {{ {files} }}"))
        .table(
            "upstream",
            &format!(
                "name = \"tls\"\nendpoints = [\"https://127.0.0.1:1\"]\n\
                 tls = {{ ca_file = \"{file}\", certificate = \"{own}\", key = \"{own_key}\" }}",
                own = path("own.pem"),
                own_key = path("own.key"),
            ),
        )
        .route("path = \"/tls\"\nupstream = \"tls\"\npublic = true")
        .start();
    let at = |metric: &str| value(&world, &format!("keyward_certificate_{metric}"));
    let labels = format!("{{file=\"{file}\"}}");
    let until = || at(&format!("not_after_timestamp_seconds{labels}"));
    assert_eq!(until(), Some(4_102_444_800.0), "{}", world.admin_text("/metrics"));
    assert_eq!(at(&format!("not_before_timestamp_seconds{labels}")), Some(1_577_836_800.0));
    let page = world.admin_text("/metrics");
    let shown = page.matches("\nkeyward_certificate_not_after_timestamp_seconds{").count();
    assert_eq!(shown, 2, "those of authorities are not shown by keyward:\n{page}");
    let own = format!("not_after_timestamp_seconds{{file=\"{}\"}}", path("own.pem"));
    assert_eq!(at(&own), Some(1_767_225_600.0), "what has expired is shown, too");
    assert_eq!(at("last_reload_successful"), Some(1.0));
    let started = at("last_reload_success_timestamp_seconds").expect("a time");

    write_certificate(folder.path(), "a", 2101);
    assert!(eventually(|| until() == Some(4_133_980_800.0)));
    assert!(at("last_reload_success_timestamp_seconds") >= Some(started));

    fs::write(folder.path().join("a.key"), "no key").expect("a file");
    assert!(eventually(|| at("last_reload_successful") == Some(0.0)));
    assert_eq!(until(), Some(4_133_980_800.0), "that from before is in force");
    write_certificate(folder.path(), "a", 2102);
    assert!(eventually(|| at("last_reload_successful") == Some(1.0)));
    assert_eq!(until(), Some(4_165_516_800.0));
}

#[test]
fn what_the_process_takes_is_that_of_this_process() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let of = |name: &str| value(&world, &format!("process_{name}")).expect("a value");
    let before = of("open_fds");
    let mut clients: Vec<_> = (0..20).map(|_| world.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
    }
    assert!(of("open_fds") >= before + 20.0);
    assert!(of("max_fds") > of("open_fds"));
    let pid = world.pid().as_raw_nonzero();
    let listed = fs::read_dir(format!("/proc/{pid}/fd")).expect("a folder").count() as f64;
    assert!((of("open_fds") - listed).abs() < 10.0, "{listed}");
    assert!(of("resident_memory_bytes") > 1e6);
    assert!(of("virtual_memory_bytes") > of("resident_memory_bytes"));
    assert!(of("cpu_seconds_total") > 0.0);
    let made = fs::metadata(format!("/proc/{pid}")).and_then(|found| found.modified());
    let made = made.expect("a time").duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!((of("start_time_seconds") - made.as_secs_f64()).abs() < 60.0);
}

#[test]
fn the_store_is_measured_by_what_it_is_asked_for_and_not_for_what_is_remembered() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let count = |operation: &str| {
        let name = "keyward_store_request_duration_seconds_count";
        value(&world, &format!("{name}{{operation=\"{operation}\"}}")).expect("a value")
    };
    let key = world.key(TestUser::ALICE);
    assert!(count("issue") >= 1.0);
    assert_eq!(count("remove"), 0.0);
    assert_eq!(world.get_with("/private/x", &key.token).status, 200);
    let asked = count("find");
    assert!(asked >= 1.0);
    for _ in 0..5 {
        assert_eq!(world.get_with("/private/x", &key.token).status, 200);
    }
    assert_eq!(count("find"), asked, "what is remembered is not asked for");
    let api = world.api(TestUser::ALICE);
    assert_eq!(api.list(&key.token).status, 200);
    assert_eq!(api.revoke(&key.token).status, 200);
    assert!(count("list") >= 1.0 && count("remove") >= 1.0);
    assert!(eventually(|| count("check") >= 1.0), "of readiness");
}

#[test]
fn series_that_are_few_are_there_before_their_first_event() {
    let upstream = Upstream::start();
    let issuer = TestIssuer::open();
    let world = Plan::usual(&upstream)
        .table("issuer", &issuer.table("login"))
        .table(
            "token_api",
            "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/agents\"\nissuer = \"login\"",
        )
        .start();
    let page = world.admin_text("/metrics");
    let has = |series: &str| assert!(page.contains(&format!("\n{series} 0\n")), "{series}\n{page}");
    for status in [401, 429, 499, 500, 502, 503, 504] {
        has(&format!("keyward_requests_total{{status=\"{status}\"}}"));
    }
    for outcome in ["accepted", "bad_credential", "expired", "no_record", "store_unavailable"] {
        for credential in ["jarvispy", "agents", "login"] {
            let labels = format!("credential=\"{credential}\",outcome=\"{outcome}\"");
            has(&format!("keyward_token_checks_total{{{labels}}}"));
        }
    }
    has("keyward_token_checks_total{credential=\"\",outcome=\"bad_credential\"}");
    let calls = |token_api: &str, operations: &[&str]| {
        for operation in operations {
            for outcome in ["done", "refused", "failed"] {
                let labels = format!(
                    "token_api=\"{token_api}\",operation=\"{operation}\",outcome=\"{outcome}\""
                );
                has(&format!("keyward_token_api_calls_total{{{labels}}}"));
            }
        }
        let all = page.matches(&format!("_calls_total{{token_api=\"{token_api}\",")).count();
        assert_eq!(all, operations.len() * 3, "and no other calls than those of the style");
    };
    calls("jarvispy", &["issue", "list", "revoke", "revoke_all", "ticket", "other"]);
    calls("agents", &["show", "rotate", "ensure", "revoke", "ticket", "other"]);
}
