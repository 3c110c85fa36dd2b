//! Planted tokens: sent in every place of a request, they are in no log line, no metric, no answer
//! and no file.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Act, Client, Plan, Reply, TestUser, Upstream, World, json};

/// Text that occurs nowhere else, in the form of tokens and as long as tokens.
const BAD: [&str; 4] = [
    "canary-plain-and-long-enough-to-be-a-token-5d1f0c",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnktcGF5bG9hZC01ZDFmMGMifQ.canary-signature-5d1f0c",
    "sk-canary-opaque-and-long-enough-to-be-a-token-5d1f0c",
    "canary\u{e4}-odd-and-long-enough-to-be-a-token-5d1f0c",
];

/// What must not be found: whole tokens, their payloads and signatures, and the text of [`BAD`].
fn marks(good: &[String]) -> Vec<String> {
    let mut marks = vec!["5d1f0c".to_owned(), "eyJzdWIiOiJjYW5hcnkt".to_owned()];
    for token in good {
        let parts: Vec<&str> = token.split('.').collect();
        marks.push(token.clone());
        marks.push(parts[1].to_owned());
        marks.push(parts[2].to_owned());
    }
    marks
}

fn assert_clean(what: &str, text: &str, marks: &[String]) {
    for mark in marks {
        if let Some(at) = text.find(mark.as_str()) {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            let to = text.ceil_char_boundary(at + mark.len() + 100);
            panic!("{what} holds {mark}: …{}…", &text[from..to.min(text.len())]);
        }
    }
}

/// Sends these bytes and returns everything that comes back.
fn send(world: &World, bytes: &str) -> String {
    let mut client: Client = world.client();
    client.send(bytes);
    client.finish();
    let _ = client.rest();
    String::from_utf8_lossy(client.seen()).into_owned()
}

/// Sends one token in every place of a request; returns every answer.
fn send_everywhere(world: &World, token: &str) -> Vec<String> {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let api = world.api(TestUser::ALICE);
    let mut answers = Vec::new();
    let targets = [
        "/public/ok",
        "/private/ok",
        "/private/close",
        "/private/garbage",
        "/nowhere",
        "/public/%2f",
        "/private/../../x",
    ]
    .map(str::to_owned);
    let calls =
        ["/auth/tokens", "/auth/nothing", "/auth/revoke/not-a-uuid"].map(|call| api.path(call));
    for target in targets.iter().chain(&calls) {
        for method in ["GET", "POST", "TRACE"] {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n");
            answers.push(send(world, &format!("{head}{bearer}Connection: close\r\n\r\n")));
            answers.push(send(world, &format!("{head}{bearer}{bearer}\r\n")));
            answers.push(send(world, &format!("{head}{bearer}Bad Field: x\r\n\r\n")));
            answers.push(send(world, &format!("{head}{bearer}X: \u{0}\r\n\r\n")));
            answers.push(send(world, &format!("{head}Authorization : Bearer {token}\r\n\r\n")));
            answers.push(send(world, &format!("{head}Authorization: Basic {token}\r\n\r\n")));
            answers.push(send(world, &format!("{head}Authorization: {token}\r\n\r\n")));
            answers
                .push(send(world, &format!("{head}Authorization: Bearer {token} {token}\r\n\r\n")));
            answers.push(send(world, &format!("{head}{bearer}Content-Length: +5\r\n\r\nhello")));
            answers.push(send(
                world,
                &format!("{head}{bearer}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            ));
            answers.push(send(world, &format!("{head}{bearer}Expect: x-magic\r\n\r\n")));
            answers.push(send(
                world,
                &format!("{head}{bearer}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
            ));
            answers.push(send(world, &format!("{head}{bearer}{}\r\n", "X: y\r\n".repeat(200))));
            answers.push(send(
                world,
                &format!("{head}X-API-Key: {token}\r\nCookie: token={token}\r\n\r\n"),
            ));
            answers
                .push(send(world, &format!("{head}Proxy-Authorization: Bearer {token}\r\n\r\n")));
            answers.push(send(world, &format!("{head}{bearer}")));
        }
    }
    answers.push(send(world, &format!("Bearer {token}\r\n\r\n")));
    answers.push(send(world, &format!("{token} / HTTP/1.1\r\nHost: a.example\r\n\r\n")));
    let issue =
        format!("POST {} HTTP/1.1\r\nHost: a.example\r\n{bearer}", api.path("/auth/issue-token"));
    for body in [
        format!("{{\"name\": {token}}}"),
        format!("{{\"{token}\": 1, \"expires_in_minutes\": \"{token}\"}}"),
    ] {
        let length = body.len();
        let json = format!(
            "Content-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        answers.push(send(world, &format!("{issue}{json}")));
    }
    answers
}

/// A route that takes credentials from everywhere.
const EVERYWHERE: &str = "path = \"/placed/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
                          challenge = \"basic\"\ncredentials = { basic = true, \
                          websocket_protocol = true, cookie = \"token\", query = \"access_token\", \
                          ticket = \"ticket\", \
                          headers = [\"X-API-Key\", \"Authorization\"] }";

/// What clients may make of a token for Basic.
fn user_infos(token: &str) -> [String; 3] {
    [format!("a:{token}"), format!("{token}:"), format!("{token}:{token}")]
        .map(|user_info| STANDARD.encode(user_info))
}

/// Sends one token in each place of [`EVERYWHERE`], alone and beside another one; returns every
/// answer. None may repeat it, those of an upstream that echoes neither.
fn send_in_each_place(world: &World, token: &str) -> Vec<String> {
    const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                             Sec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut fields = vec![
        "Accept: text/event-stream\r\n".to_owned(),
        HANDSHAKE.to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("X-API-Key: {token}\r\n"),
        format!("X-API-Key: {token}\r\nX-API-Key: {token}\r\n"),
        format!("Cookie: a=1; token={token}\r\n"),
        format!("Cookie: token={token}; token={token}\r\nSec-Fetch-Site: cross-site\r\n"),
        format!("Sec-WebSocket-Protocol: bearer, {token}\r\n"),
        format!("{HANDSHAKE}Sec-WebSocket-Protocol: bearer, {token}, chat\r\n"),
        format!("{HANDSHAKE}Cookie: token={token}\r\nOrigin: https://evil.example\r\n"),
    ];
    fields.extend(user_infos(token).map(|encoded| format!("Authorization: Basic {encoded}\r\n")));
    let queries = [
        String::new(),
        format!("?access_token={token}"),
        format!("?a=1&%61ccess_token={token}&b"),
        format!("?a=1;access_token={token}"),
        format!("?ticket={token}"),
        format!("?a=1&%74icket={token}&ticket={token}"),
    ];
    let mut answers = Vec::new();
    for method in ["GET", "POST"] {
        for query in &queries {
            let head = format!("{method} /placed/ok{query} HTTP/1.1\r\nHost: a.example\r\n");
            answers.push(send(world, &format!("{head}\r\n")));
            for field in &fields {
                answers.push(send(world, &format!("{head}{field}\r\n")));
            }
        }
    }
    answers
}

/// Every file below the folder, the outputs of the process among them.
fn files(folder: &Path, visit: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() {
            files(&path, visit);
        } else if kind.is_file() {
            visit(&path, &std::fs::read(&path).expect("a file can be read"));
        }
    }
}

/// The answers of an upstream that echoes are the upstream's; every other must not repeat the
/// token.
fn is_ours(answer: &str) -> bool {
    !answer.contains("\"target\":")
}

#[test]
fn no_token_is_in_any_log_line_metric_answer_or_file() {
    let upstream = Upstream::start();
    upstream.answer("/private/close", Reply::acts([Act::Close]));
    upstream.answer("/private/garbage", Reply::bytes("garbage\r\n\r\n"));
    let mut world =
        Plan::usual(&upstream).route(EVERYWHERE).set("log", "level", "\"trace\"").start();
    let bootstrap = world.bootstrap(TestUser::ALICE, 3);
    let alice = world.api(TestUser::ALICE).mint(&bootstrap);
    let revoked = world.api(TestUser::ALICE).mint(&alice.token);
    assert_eq!(world.status_with(&revoked.token), 200);
    assert_eq!(world.api(TestUser::ALICE).revoke(&revoked.token).status, 200);
    let good = [bootstrap, alice.token.clone(), revoked.token.clone()];
    let mut marks = marks(&good);
    let made = world.api(TestUser::ALICE).call("POST", "/tickets", &alice.token, "");
    let ticket = json(&made)["ticket"].as_str().expect("a ticket").to_owned();
    marks.push(ticket.clone());
    let tokens = || good.iter().chain([&ticket]).map(String::as_str).chain(BAD);
    marks.extend(tokens().flat_map(user_infos));

    for token in tokens() {
        for answer in send_in_each_place(&world, token) {
            assert_clean("an answer", &answer, &marks);
        }
        for answer in send_everywhere(&world, token) {
            if is_ours(&answer) {
                assert_clean("an answer", &answer, &marks);
            }
        }
    }
    assert_eq!(world.status_with(&alice.token), 200, "none of it revoked anything");
    for page in ["/metrics", "/healthz", "/readyz", "/livez", "/startupz"] {
        let answer = world.admin_get(page).expect("an answer").text();
        assert_clean(page, &answer, &marks);
    }
    for command in [["token", "list", "--json"], ["bootstrap", "list", "--json"]] {
        let output = world.run(&command);
        assert_clean("the command line", &String::from_utf8_lossy(&output.stdout), &marks);
        assert_clean("the command line", &String::from_utf8_lossy(&output.stderr), &marks);
    }
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().success());
    let output = world.output();
    assert!(
        output.contains("/private/ok") || output.contains("private"),
        "something was logged at all"
    );
    let mut seen = 0;
    files(world.folder(), &mut |path, bytes| {
        seen += 1;
        assert_clean(&path.display().to_string(), &String::from_utf8_lossy(bytes), &marks);
    });
    assert!(seen >= 4, "configuration, store, keys and outputs were looked at");
}

/// A token does not belong into a query. Some clients put it there, and it is not logged.
#[test]
fn a_token_in_a_query_is_not_logged() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).set("log", "level", "\"trace\"").start();
    for target in ["/public/x", "/private/x", "/nowhere", "/public/%2f"] {
        send(
            &world,
            &format!("GET {target}?access_token=canary-5d1f0c HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        );
    }
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().success());
    assert_clean("the log", &world.output(), &["5d1f0c".to_owned()]);
}
