//! Hostile tokens and faulty key sets of an outside issuer, through the whole keyward over TCP. The
//! tokens are those of the issuers' unit tests, where each is refused for its own reason. None of
//! them may open a route or a token API, and none may cause an error of keyward.

#[path = "../../src/tokens/issuer/tests/forge.rs"]
pub(crate) mod forge;
#[path = "../../src/tokens/issuer/tests/hostile_table.rs"]
mod hostile_table;

use std::time::{Duration, Instant};

use keyward::tokens::issuer::OutsideFault;
use serde_json::{Value, json};

use crate::support::lateness;
use crate::support::{Act, Gate, Plan, Reply, TestUser, Upstream, World, eventually, now};
use forge::{KEYS, document, ec_jwk, ed_jwk, header, key_set, merged, rsa_jwk, token};
use hostile_table::hostile;

/// How long after it was forged a token may be judged, in seconds: the whole table is forged before
/// the first is sent.
const MARGIN: i64 = 600;

/// Where JWTs of the issuer are accepted: a route, and two token APIs.
const TARGETS: [&str; 3] = ["/outside/x", "/api/v1/active/tokens/", "/api/agent-tokens/me"];

/// A keyward with an issuer whose keys come from these lines, and a route and two token APIs for
/// its tokens.
fn plan(upstream: &Upstream, keys: &str) -> Plan {
    let issuer = format!(
        "name = \"id\"\nissuer = {:?}\naudience = [\"account\", \"api\"]\n{keys}",
        forge::ISS
    );
    Plan::usual(upstream)
        .table("issuer", &(issuer + "\nrequired_claims = { typ = \"Bearer\" }\nleeway = \"0s\""))
        .table(
            "token_api",
            "name = \"platform\"\nstyle = \"tenant-tokens\"\nmount = \"/api/v1\"\n\
                             issuer = \"id\"",
        )
        .table(
            "token_api",
            "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/api/agent-tokens\"\n\
             issuer = \"id\"",
        )
        .route("path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]")
}

fn url(id: &Upstream) -> String {
    format!("jwks_url = \"http://{}/keys\"", id.address())
}

fn keys(jwks: &[Value]) -> Reply {
    Reply::of("200 OK", "Content-Type: application/jwk-set+json\r\n", document(jwks))
}

/// A good token, signed by the key of this algorithm.
fn good(algorithm: &str) -> String {
    token(algorithm, &header(algorithm), &merged(forge::claims(), json!({ "tenants": ["acme"] })))
}

fn ask(world: &World, target: &str, token: impl AsRef<[u8]>) -> u16 {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAuthorization: Bearer "
    );
    world.client().ask([head.as_bytes(), token.as_ref(), b"\r\n\r\n"].concat()).status
}

#[test]
fn every_hostile_token_is_refused_with_401_at_every_target() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys(&key_set()));
    let world = plan(&upstream, &url(&id)).start();
    let tokens = hostile().0;
    assert!(tokens.len() >= 220, "{}", tokens.len());
    let mut wrong = Vec::new();
    let mut refused_as_tokens = 0;
    for (name, token, _) in &tokens {
        // White space around a field's value belongs to HTTP (RFC 9110, section 5.5): this one
        // arrives as another token.
        if name == "a space before" {
            continue;
        }
        // Bytes that no field or no credential may hold are refused with the request, before they
        // are read as a token.
        let is_field = token.iter().all(u8::is_ascii_graphic) && token.len() < 20_000;
        refused_as_tokens += usize::from(is_field);
        for target in TARGETS {
            let status = ask(&world, target, token);
            if status != 401 && (is_field || !(400..500).contains(&status)) {
                wrong.push(format!("{name} at {target}: {status}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tokens.len(), wrong.join("\n"));
    assert!(refused_as_tokens >= 220, "{refused_as_tokens}");
    assert_eq!(upstream.take().heads, Vec::<String>::new(), "nothing of it has arrived");
    // Good tokens are accepted.
    for algorithm in ["RS256", "PS512", "ES256", "ES384", "EdDSA"] {
        assert_eq!(
            TARGETS.map(|target| ask(&world, target, good(algorithm))),
            [200; 3],
            "{algorithm}"
        );
    }
    assert!(id.take().heads.len() <= 2, "unknown names of keys do not make it ask again and again");
}

/// What an issuer may do instead of publishing keys, and whether it is done with when the issuer
/// answers again.
fn faults() -> Vec<(&'static str, Reply)> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let set = String::from_utf8(document(&key_set())).expect("JSON");
    let cut = &set[..set.len() / 2];
    let many: Vec<_> = (0..20_000).map(|at| ed_jwk(&format!("k{at}"))).collect();
    let small = "A".repeat(171);
    vec![
        ("it resets the connection", Reply::acts([Act::Reset])),
        ("it closes without a word", Reply::acts([Act::Close])),
        ("it never answers", Reply::acts([Act::Wait(Gate::default())])),
        ("it stops in the head", Reply::bytes(ok).then(Act::Wait(Gate::default()))),
        (
            "it stops in the body",
            Reply::bytes(format!("{ok}Content-Length: {}\r\n\r\n{cut}", set.len()))
                .then(Act::Wait(Gate::default())),
        ),
        (
            "it breaks off",
            Reply::bytes(format!("{ok}Content-Length: {}\r\n\r\n{cut}", set.len()))
                .then(Act::Close),
        ),
        ("it speaks another protocol", Reply::bytes("220 mail.example ESMTP\r\n").then(Act::Close)),
        ("it answers 500", Reply::of("500 Internal Server Error", "", &set)),
        ("it answers 404", Reply::of("404 Not Found", "", &set)),
        ("it answers 401", Reply::of("401 Unauthorized", "", &set)),
        ("it sends us elsewhere", Reply::of("302 Found", "Location: /elsewhere\r\n", "")),
        ("it has no content", Reply::bytes("HTTP/1.1 204 No Content\r\n\r\n")),
        ("nothing comes", Reply::of("200 OK", "", "")),
        ("a page comes", Reply::of("200 OK", "Content-Type: text/html\r\n", "<html>Log in</html>")),
        ("half of it comes", Reply::of("200 OK", "", cut)),
        (
            "it comes compressed",
            Reply::of("200 OK", "Content-Encoding: gzip\r\n", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ),
        ("it nests deeply", Reply::of("200 OK", "", "[".repeat(100_000))),
        ("a list comes", Reply::of("200 OK", "", json!(key_set()).to_string())),
        ("no member is called keys", Reply::of("200 OK", "", r#"{"key":[]}"#)),
        ("the keys are an object", Reply::of("200 OK", "", r#"{"keys":{}}"#)),
        ("there are none", keys(&[])),
        ("it is enormous", Reply::of("200 OK", "", " ".repeat(8 << 20) + &set)),
        (
            "it promises to be enormous",
            Reply::bytes(format!("{ok}Content-Length: 99999999999\r\n\r\n{set}")).then(Act::Close),
        ),
        ("there are twenty thousand", keys(&many)),
        (
            "all are secrets",
            keys(&[json!({ "kty": "oct", "kid": "p256", "alg": "HS256", "k": "A".repeat(43) })]),
        ),
        (
            "all are too small",
            keys(&[json!({ "kty": "RSA", "kid": "rsa", "n": small, "e": "AQAB" })]),
        ),
        (
            "all are for encryption",
            keys(&[merged(rsa_jwk("rsa", &KEYS.rsa), json!({ "use": "enc" }))]),
        ),
    ]
}

/// RELIABILITY, J1 and J2: a token that cannot be verified is refused like a forged one, in time,
/// and other requests are served as before.
#[test]
fn with_an_issuer_without_usable_keys_its_tokens_are_refused_in_time_and_it_is_asked_again() {
    let mut cases = faults();
    assert!(cases.len() >= 25);
    // Some wait for the timeouts of a fetch: side by side, a test of them all is short.
    std::thread::scope(|scope| {
        let lanes = 7;
        let mut lane_of = (0..lanes).map(|_| Vec::new()).collect::<Vec<_>>();
        for (at, case) in cases.drain(..).enumerate() {
            lane_of[at % lanes].push(case);
        }
        for lane in lane_of {
            scope.spawn(move || lane.into_iter().for_each(|(name, fault)| faulty(name, fault)));
        }
    });
}

fn faulty(name: &str, fault: Reply) {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", fault);
    let world = plan(&upstream, &url(&id)).launch();
    assert!(eventually(|| world.ready().is_some()), "{name}");
    assert!(id.wait_until(|log| !log.heads.is_empty()), "{name}: it is asked");
    for algorithm in ["ES256", "RS256"] {
        let began = Instant::now();
        let token = good(algorithm);
        assert_eq!(TARGETS.map(|target| ask(&world, target, &token)), [401; 3], "{name}");
        let ended = Instant::now();
        // Each may wait a second for the next fetch.
        let bound = Duration::from_secs(6) + lateness::between(began, ended);
        assert!(ended - began < bound, "{name}: {:?}", ended - began);
    }
    assert_eq!(world.ready(), Some(503), "{name}: it says what it lacks");
    assert!(
        world.metric("keyward_refusals_total", "reason=\"issuer_unavailable\"") > 0.0,
        "{name}: and how many requests it refused"
    );
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "{name}");
    assert_eq!(
        world.status_with(&world.key(TestUser::ALICE).token),
        200,
        "{name}: our own tokens need no issuer"
    );
    assert!(upstream.take().heads.iter().all(|target| !target.starts_with("/outside")), "{name}");
    id.answer("/keys", keys(&key_set()));
    // A fetch that hangs has its own end; after it and a pause comes the next.
    assert!(
        eventually(|| ask(&world, "/outside/x", good("ES256")) == 200),
        "{name}: all is well again\n{}",
        world.output()
    );
    assert_eq!(TARGETS.map(|target| ask(&world, target, good("RS256"))), [200; 3], "{name}");
}

/// A key that is new is found by the first token that names it, and one that is gone takes its
/// tokens with it; for a flood of tokens that name an unknown key, the issuer is asked once in ten
/// seconds.
#[test]
fn keys_are_rotated_without_a_restart_and_a_removed_key_is_dead() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let (old, new) = (rsa_jwk("rsa", &KEYS.rsa), ec_jwk("p256", "P-256", &KEYS.p256));
    id.answer("/keys", keys(std::slice::from_ref(&old)));
    let world = plan(&upstream, &url(&id)).start();
    let (by_old, by_new) = (good("RS256"), good("ES256"));
    assert_eq!(ask(&world, "/outside/x", &by_old), 200);
    let mut statuses = Vec::new();
    let mut found_after = |token: &str| {
        let began = Instant::now();
        while ask(&world, "/outside/x", token) != 200 {
            statuses.push(ask(&world, "/outside/x", token));
            assert!(
                !lateness::is_over(began, Duration::from_secs(25)),
                "it is found\n{}",
                world.output()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    id.take();
    id.answer("/keys", keys(&[old, new.clone()]));
    found_after(&by_new);
    assert_eq!(ask(&world, "/outside/x", &by_old), 200, "both are published");
    assert_eq!(id.take().heads.len(), 1, "however many ask");
    id.answer("/keys", keys(&[new, ed_jwk("ed25519")]));
    found_after(&good("EdDSA"));
    assert_eq!(ask(&world, "/outside/x", &by_old), 401, "also where it was remembered");
    assert_eq!(ask(&world, "/outside/x", &by_new), 200);
    assert_eq!(id.take().heads.len(), 1);
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
    // And then it goes away for good: what is here goes on.
    id.answer("/keys", Reply::acts([Act::Reset]));
    assert_eq!(TARGETS.map(|target| ask(&world, target, good("EdDSA"))), [200; 3]);
}

/// Over TLS, by a server of which only its certificate is believed: another keyward in front of the
/// key set.
#[test]
fn keys_come_over_tls_only_from_a_server_with_a_trusted_certificate_of_its_name() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/public/keys", keys(&key_set()));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (file, names) in
        [("right", vec!["127.0.0.1".to_owned()]), ("other", vec!["other.example".to_owned()])]
    {
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        std::fs::write(path(&format!("{file}.pem")), made.cert.pem()).expect("a file");
        std::fs::write(path(&format!("{file}.key")), made.signing_key.serialize_pem())
            .expect("a file");
    }
    let front = |file: &str| {
        let pair = format!(
            "{{ certificate = {:?}, key = {:?} }}",
            path(&format!("{file}.pem")),
            path(&format!("{file}.key"))
        );
        Plan::usual(&id).listener(&format!("tls = {pair}")).start()
    };
    let (right, other) = (front("right"), front("other"));
    let keys_of = |front: &World, ca: &str| {
        format!("jwks_url = \"https://{}/public/keys\"\nca_file = {:?}", front.address(), path(ca))
    };
    let world = plan(&upstream, &keys_of(&right, "right.pem")).start();
    assert_eq!(TARGETS.map(|target| ask(&world, target, good("RS256"))), [200; 3]);
    for (what, keys) in [
        ("a certificate that is not trusted", keys_of(&right, "other.pem")),
        ("a certificate of another name", keys_of(&other, "other.pem")),
        (
            "no TLS at all",
            format!(
                "jwks_url = \"https://{}/keys\"\nca_file = {:?}",
                id.address(),
                path("right.pem")
            ),
        ),
    ] {
        let world = plan(&upstream, &keys).launch();
        let failed = "keyward_issuer_key_fetches_total";
        assert!(
            eventually(
                || world.ready().is_some() && world.metric(failed, "outcome=\"failed\"") > 0.0
            ),
            "{what}"
        );
        assert_eq!(ask(&world, "/outside/x", good("RS256")), 401, "{what}");
        assert_eq!(world.ready(), Some(503), "{what}");
    }
}
