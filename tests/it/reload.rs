//! SIGHUP: everything anew, or, when the new configuration is bad, everything as it was (DESIGN,
//! section 10).

use std::path::Path;

use crate::support::redis::RedisServer;
use crate::support::tls::self_signed;
use crate::support::{Client, Plan, TestUser, Upstream, eventually};

const RELOADS: &str = "keyward_config_reloads_total";
const REFUSED: &str = "outcome=\"refused\"";

fn status(client: &mut Client, target: &str) -> u16 {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")).status
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_counted_and_said() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mut client = world.client();
    assert_eq!(status(&mut client, "/public/x"), 200);
    let bad = [
        "this is not TOML [[",
        "",
        "[[listener]]\naddress = \"127.0.0.1:1\"\nunknown_key = 1\n",
        "[[route]]\npath = \"/x\"\nupstream = \"unknown\"\npublic = true\n",
    ];
    for (n, text) in bad.iter().enumerate() {
        world.configure_raw(text);
        world.reload();
        assert_eq!(world.metric(RELOADS, REFUSED), (n + 1) as f64, "{text:?} is refused");
        assert_eq!(status(&mut client, "/public/x"), 200, "the connection lives on");
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
        assert_eq!(
            world.ask("GET", "/private/x", "", "").status,
            401,
            "what is guarded stays guarded"
        );
    }
    assert_eq!(world.ready(), Some(200));
    assert!(world.output().contains("unknown_key"), "the log says what is wrong");
}

#[test]
fn a_public_route_that_is_gone_is_gone_for_connections_that_live_on() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route("path = \"/open/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let mut clients: Vec<Client> = (0..8).map(|_| world.client()).collect();
    for client in &mut clients {
        assert_eq!(status(client, "/open/x"), 200);
    }
    world.configure(&Plan::usual(&upstream));
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 0.0);
    upstream.take();
    for client in &mut clients {
        assert_eq!(status(client, "/open/x"), 404);
        assert_eq!(status(client, "/public/x"), 200, "and the others are not");
    }
    let heads = upstream.take().heads;
    assert!(heads.iter().all(|target| target == "/public/x"), "{heads:?}");
}

#[test]
fn a_route_that_becomes_guarded_is_guarded_at_once_and_tokens_outlive_the_reload() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route("path = \"/app/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let alice = world.key(TestUser::ALICE);
    let mut client = world.client();
    assert_eq!(status(&mut client, "/app/x"), 200);
    world.configure(
        &Plan::usual(&upstream)
            .route("path = \"/app/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]"),
    );
    world.reload();
    assert_eq!(status(&mut client, "/app/x"), 401);
    assert_eq!(world.get_with("/app/x", &alice.token).status, 200);
}

#[test]
fn a_new_route_and_upstream_are_served_after_a_reload() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let world = Plan::usual(&old).start();
    assert_eq!(world.ask("GET", "/new/x", "", "").status, 404);
    world.configure(
        &Plan::usual(&old)
            .upstream("new", new.address())
            .route("path = \"/new/{*rest}\"\nupstream = \"new\"\npublic = true"),
    );
    world.reload();
    assert_eq!(world.ask("GET", "/new/x", "", "").status, 200);
    assert_eq!(new.take().requests.len(), 1);
}

#[test]
fn twenty_reloads_under_load_cost_no_request() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for kept in [true, true, false, false] {
            let (world, over) = (&world, &over);
            scope.spawn(move || {
                let mut client = world.client();
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    if !kept {
                        client = world.client();
                    }
                    assert_eq!(status(&mut client, "/public/x"), 200);
                }
            });
        }
        for n in 0..20 {
            if n % 2 == 0 {
                world.configure(&Plan::usual(&upstream).set("limits", "headers", "90"));
            } else {
                world.configure_raw("nonsense = [");
            }
            world.reload();
        }
        over.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(world.metric(RELOADS, REFUSED), 10.0);
}

/// A key directory that is gone for a moment (a volume that is not mounted) is not made anew in its
/// place.
#[test]
fn a_reload_makes_no_keys() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let (keys, away) = (world.folder().join("keys"), world.folder().join("away"));
    std::fs::rename(&keys, &away).expect("moved");
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 1.0);
    assert!(!keys.exists(), "{}", world.output());
    assert_eq!(world.status_with(&alice.token), 200);
    std::fs::rename(&away, &keys).expect("moved back");
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 1.0);
    assert_eq!(world.status_with(&alice.token), 200);
}

/// Nothing takes effect unless everything can.
#[test]
fn a_reload_whose_port_is_taken_leaves_the_settings_of_the_store_as_they_were() {
    let redis = RedisServer::start_with("user app on >right ~* &* +@all");
    let upstream = Upstream::start();
    let plan = |password: &str| {
        Plan::usual(&upstream).redis(&redis.url()).set("store", "username", "\"app\"").set(
            "store",
            "password",
            &format!("{password:?}"),
        )
    };
    let world = plan("right").start();
    let alice = world.key(TestUser::ALICE);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    world.configure(&plan("wrong").table("listener", &format!("address = \"{address}\"")));
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 1.0);
    assert!(world.output().contains("another program has port"), "{}", world.output());
    // All connections to the store are made anew, with the settings that are in force.
    let links = || world.metric("keyward_coherence_links_total", "");
    let before = links();
    redis.command(&["CLIENT", "KILL", "USER", "app"]);
    assert!(
        eventually(|| links() > before && world.ready() == Some(200)),
        "the old password is in force"
    );
    assert_eq!(world.status_with(&alice.token), 200);

    drop(taken);
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 1.0, "now everything can: {}", world.output());
    redis.command(&["CLIENT", "KILL", "USER", "app"]);
    assert!(eventually(|| world.ready() == Some(503)), "the new password is in force");
}

/// To open a pipe would be to wait for its writer, and nothing would be served meanwhile.
#[test]
fn a_reload_that_names_a_pipe_for_a_secret_is_refused_at_once() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, world.folder().join("pipe"), mode).expect("made");
    let issuer = "name = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]\n\
                  secret_file = \"pipe\"";
    world.configure(&Plan::usual(&upstream).table("[issuer]", issuer));
    world.reload();
    assert!(eventually(
        || world.metric("keyward_config_reloads_total", "outcome=\"refused\"") > 0.0
    ));
    let mut client = world.client();
    assert_eq!(status(&mut client, "/public/a"), 200);
}

/// A rotation renames the file and sends SIGHUP. It is no fault of the configuration's.
#[test]
fn a_rotated_access_log_is_left_alone_though_the_reload_is_refused() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (log, pair) = (folder.path().join("access.log"), self_signed(folder.path(), "a.example"));
    let plan = || Plan::usual(&upstream).set("log", "access", &format!("\"{}\"", log.display()));
    let world = plan().start();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let configuration = "[[listener]]\nunknown_key = 1\n";
    let does_not_fit = format!("tls = {}", pair.line);
    std::fs::write(folder.path().join("a.example.key"), "no key").expect("a file");
    for (nth, broken) in [None, Some(plan().listener(&does_not_fit))].iter().enumerate() {
        let (rotated, target) = (log.with_extension(nth.to_string()), format!("/public/{nth}"));
        std::fs::rename(&log, &rotated).expect("rotated");
        match broken {
            None => world.configure_raw(configuration),
            Some(plan) => world.configure(plan),
        }
        world.reload();
        assert_eq!(world.metric(RELOADS, REFUSED), nth as f64 + 1.0);
        assert_eq!(world.ask("GET", &target, "", "").status, 200);
        assert!(eventually(|| lines(&log).contains(&target)), "{}", lines(&rotated));
        assert!(!lines(&rotated).contains(&target));
    }
}

#[test]
fn a_reload_whose_access_log_cannot_be_opened_changes_nothing() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (logs, away) = (folder.path().join("logs"), folder.path().join("away"));
    std::fs::create_dir(&logs).expect("a folder");
    let access = format!("\"{}\"", logs.join("access.log").display());
    let plan = || Plan::usual(&upstream).set("log", "access", &access);
    let world = plan().start();
    world.configure(&plan().route("path = \"/open/{*rest}\"\nupstream = \"app\"\npublic = true"));
    std::fs::rename(&logs, &away).expect("moved");
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 1.0);
    assert_eq!(world.ask("GET", "/open/x", "", "").status, 404);
    std::fs::rename(&away, &logs).expect("moved back");
    world.reload();
    assert_eq!(world.metric(RELOADS, REFUSED), 1.0);
    assert_eq!(world.ask("GET", "/open/x", "", "").status, 200);
}
