//! Each class of fault, with its place and its words.

mod compression;
mod issuers;
mod listeners;
mod routes;
mod tickets;
mod token_apis;

use std::time::Duration;

use super::{SMALL, faults};
use crate::config::Style;
use crate::tokens::accounts::Enrolment;

/// The faults of the small configuration with more below it, in lines that count from the first
/// added one.
#[track_caller]
fn expect(more: &str, expected: &[&str]) {
    let base = SMALL.lines().count();
    let expected: Vec<String> = expected
        .iter()
        .map(|fault| {
            let (line, rest) = fault.split_once(':').unwrap();
            format!("k.toml:{}:{rest}", line.parse::<usize>().unwrap() + base)
        })
        .collect();
    assert_eq!(faults(&format!("{SMALL}{more}")), expected);
}

/// The faults of a whole text.
#[track_caller]
fn expect_all(text: &str, expected: &[&str]) {
    assert_eq!(faults(text), expected);
}

#[test]
fn unknown_keys_are_named_with_what_was_probably_meant() {
    expect(
        "[[listener]]\nadress = '127.0.0.1:1'\n[server]\nfoo = 1\nPin = true\n[sever]\n\
         [[routes]]\n[server.tls]\n",
        &[
            "2:1: unknown key \"adress\"; did you mean \"address\"?",
            "4:1: unknown key \"foo\" in [server]; known are workers, pin, shutdown_delay, \
             shutdown_grace, tunnel_grace",
            "5:1: unknown key \"Pin\"; did you mean \"pin\"?",
            "6:2: unknown key \"sever\"; did you mean \"server\"?",
            "7:3: unknown key \"routes\"; did you mean \"route\"?",
            "8:9: unknown key \"tls\" in [server]; known are workers, pin, shutdown_delay, \
             shutdown_grace, tunnel_grace",
        ],
    );
    expect(
        "require = { roles = ['a'] }\n",
        &["1:13: unknown key \"roles\"; did you mean \"role\"?"],
    );
}

#[test]
fn missing_keys_and_tables_are_named() {
    expect_all(
        "",
        &[
            "k.toml: no [[listener]]: at least one is needed, with an \"address\"",
            "k.toml: nothing to serve: neither a [[route]] nor a [[token_api]]",
        ],
    );
    expect_all(
        "listener = []\nroute = []\n[[token_api]]\n[[upstream]]\n",
        &[
            "k.toml:1:12: no [[listener]]: at least one is needed, with an \"address\"",
            "k.toml:3:1: missing key \"name\" in [[token_api]]: it must be a name of 1 to 64 \
             letters, digits, \"-\", \"_\" or \".\"",
            "k.toml:3:1: missing key \"style\" in [[token_api]]: it must \
             be \"allowlist-jwt\", \"tenant-tokens\", \"agent-tokens\" or \"accounts\"",
            "k.toml:3:1: missing key \"mount\" in [[token_api]]: it must be a path as \
             in \"/{organization}/{username}/api/v1\"",
            "k.toml:4:1: missing key \"name\" in [[upstream]]: it must be a name of 1 to 64 \
             letters, digits, \"-\", \"_\" or \".\"",
            "k.toml:4:1: missing key \"endpoints\" in [[upstream]]: it must be an array, each item \
             a server as in \"http://127.0.0.1:3000\"",
        ],
    );
    expect(
        "[[listener]]\n[[route]]\npublic = true\n",
        &[
            "1:1: missing key \"address\" in [[listener]]: it must be an IP address with a port, \
             as in \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket, as \
             in \"unix:/run/keyward.sock\"",
            "2:1: missing key \"path\" in [[route]]: it must be a path as \
             in \"/api/{name}/{*rest}\"",
            "2:1: missing key \"upstream\" in [[route]]: it must be the name of an [[upstream]], or \
             there must be \"redirect\" or \"respond\"",
        ],
    );
}

#[test]
fn numbers_out_of_range_say_the_range() {
    expect(
        "[server]\nworkers = 257\n[limits]\nheaders = 0\nconnections = -1\n\
         cached_tokens = 99999999999999999999999\n",
        &[
            "2:11: \"workers\" must be an integer from 0 to 256, found the integer 257",
            "4:11: \"headers\" must be an integer from 1 to 1000, found the integer 0",
            "5:15: \"connections\" must be an integer from 0 to 10000000, found the integer -1",
            "6:17: \"cached_tokens\" must be an integer from 0 to 100000000, found the integer \
             99999999999999999999999",
        ],
    );
    expect("[server]\nworkers = 0x10\n[limits]\nheaders = 1_0\n", &[]);
    expect(
        "[server]\nworkers = 4.0\n",
        &["2:11: \"workers\" must be an integer from 0 to 256, found the number 4.0"],
    );
}

#[test]
fn durations_and_sizes_say_what_is_wrong() {
    expect(
        "[timeouts]\nhead = 10\nidle = '10'\nbody = '2h'\nconnect = '9ms'\n[limits]\n\
         head = '2MiB'\ntoken = '8KB'\ntarget = '-1B'\n",
        &[
            "2:8: \"head\" must be a duration from \"10ms\" to \"1h\", found the integer 10",
            "3:8: \"idle\" must be a duration from \"10ms\" to \"1h\", found \"10\": 10 has no \
             unit (ms, s, m, h or d)",
            "4:8: \"body\" must be a duration from \"10ms\" to \"1h\", found \"2h\"",
            "5:11: \"connect\" must be a duration from \"10ms\" to \"1h\", found \"9ms\"",
            "7:8: \"head\" must be a size from \"1KiB\" to \"1MiB\", found \"2MiB\"",
            "8:9: \"token\" must be a size from \"256B\" to \"1MiB\", found \"8KB\": \"KB\" is no \
             unit (B, KiB, MiB or GiB)",
            "9:10: \"target\" must be a size from \"256B\" to \"65534B\" (no longer URI can be \
             read), found \"-1B\": it must start with a digit",
        ],
    );
}

#[test]
fn closed_sets_say_their_words() {
    expect(
        "[log]\nlevel = 'inof'\nformat = 'xml'\naccess = 'sdtout'\n",
        &[
            "2:9: \"level\" must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\", \
             found \"inof\": did you mean \"info\"?",
            "3:10: \"format\" must be \"json\" or \"human\", found \"xml\"",
            "4:10: \"access\" must be \"stdout\", \"stderr\", \"off\" or the path of a file, \
             found \"sdtout\": for a file of that name write \"./sdtout\"",
        ],
    );
}

#[test]
fn what_is_planned_is_called_unavailable_not_unknown() {
    expect(
        "[store]\nkind = 'sqlite'\n",
        &["2:8: \"kind\" must be \"embedded\" or \"redis\", found \"sqlite\""],
    );
}

#[test]
fn the_environment_is_put_into_strings_and_missed_where_undefined() {
    expect(
        "[log]\nlevel = '${BAD}'\n[keys]\nissuer = '${NONE}'\ndirectory = '${A}${B:?say where}'\n\
         [server]\nworkers = '${LEVEL}'\n",
        &[
            "2:9: \"level\" must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\", \
             found \"loud\" (from \"${BAD}\")",
            "4:10: the environment variable NONE is not defined; \"${NONE:-default}\" gives it a \
             default",
            "5:13: the environment variable A is not defined; \"${A:-default}\" gives it a default",
            "5:13: the environment variable B is not defined or empty: say where",
            "7:11: \"workers\" must be an integer from 0 to 256, found \"debug\" \
             (from \"${LEVEL}\")",
        ],
    );
    // Inside arrays and unknown keys too, and never twice.
    expect(
        "[[upstream]]\nname = 'b'\nendpoints = ['http://a', '${NONE}']\nnew = '${NONE}'\n",
        &[
            "3:26: the environment variable NONE is not defined; \"${NONE:-default}\" gives it a \
             default",
            "4:1: unknown key \"new\" in [[upstream]]; known are name, endpoints, balance, hash_by, \
             ejection, circuit, retries, health_check, max_requests, max_connections, queue, \
             queue_timeout, protocol, tls, preserve_host, via, rewrite_location, idle_connections, idle_timeout",
            "4:7: the environment variable NONE is not defined; \"${NONE:-default}\" gives it a \
             default",
        ],
    );
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let found = faults(&format!(
        "{SMALL}[[upstream]]\nname = 'b'\nendpoints = ['http://me:hunter2@app']\n"
    ))
    .join("\n");
    assert!(found.contains("\"http://[secret]@app\": it must not hold a user"), "{found}");
    assert!(!found.contains("hunter2"), "{found}");
}

#[test]
fn names_are_taken_once_and_must_be_there() {
    expect(
        "[[token_api]]\nname = 'api'\nstyle = 'allowlist-jwt'\nmount = '/api'\n\
         [[upstream]]\nname = 'app'\nendpoints = []\n\
         [[route]]\npath = '/a'\nupstream = 'ap'\naccept = ['api', 'apj', 'nothing', 'api']\n",
        &[
            "2:8: \"name\" \"api\" is taken on line 4",
            "4:9: \"mount\" /api is taken by the [[token_api]] on line 6",
            "6:8: \"name\" \"app\" is taken on line 8",
            "7:13: \"endpoints\" must not be empty: list at least one item, each a server as \
             in \"http://127.0.0.1:3000\"",
            "10:12: no [[upstream]] has the name \"ap\"; did you mean \"app\"?",
            "11:18: no [[token_api]] or [[issuer]] has the name \"apj\"; did you mean \"api\"?",
            "11:25: no [[token_api]] or [[issuer]] has the name \"nothing\"; there are api, api",
            "11:36: \"accept\" lists \"api\" twice",
        ],
    );
    let text = "listener = [{ address = '127.0.0.1:1' }]\n\
                route = [{ path = '/', upstream = 'x', public = true }]\n";
    expect_all(
        text,
        &["k.toml:2:35: no [[upstream]] has the name \"x\"; there is no [[upstream]]"],
    );
}

#[test]
fn tables_and_arrays_of_tables_are_told_apart() {
    expect_all(
        "server = 1\n[listener]\naddress = '127.0.0.1:1'\n[[log]]\n[limits.head]\n[[upstream]]\n\
         name.x = 'a'\nendpoints = 'http://a'\n",
        &[
            "k.toml: nothing to serve: neither a [[route]] nor a [[token_api]]",
            "k.toml:1:10: \"server\" must be a table ([server]), found the integer 1",
            "k.toml:2:1: \"listener\" must be a list of tables (each begins with [[listener]]), \
             found a table",
            "k.toml:4:1: \"log\" must be a table ([log]), found an array",
            "k.toml:5:1: \"head\" must be a size from \"1KiB\" to \"1MiB\", found a table",
            "k.toml:7:1: \"name\" must be a name of 1 to 64 letters, digits, \"-\", \"_\" \
             or \".\", found a table",
            "k.toml:8:13: \"endpoints\" must be an array, each item a server as \
             in \"http://127.0.0.1:3000\", found \"http://a\"",
        ],
    );
    expect_all(
        "listener = [1, { address = '127.0.0.1:1', tls = [] }]\n[[token_api]]\nname = 'a'\n\
         style = 'allowlist-jwt'\nmount = '/a'\n",
        &[
            "k.toml:1:13: each item of \"listener\" must be a table, found the integer 1",
            "k.toml:1:49: \"tls\" must be { certificate = \"…\", key = \"…\" } or an array of \
             those (left out for plain HTTP), found an empty array",
        ],
    );
}

#[test]
fn broken_toml_is_one_fault_with_its_place() {
    for (text, place) in [
        ("[server]\nworkers = 1\nworkers = 2\n", "k.toml:3:1: this is not TOML: duplicate key"),
        ("[server]\n[server]\n", "k.toml:2:"),
        ("[server]\nworkers = \n", "k.toml:2:"),
        ("[server\n", "k.toml:1:"),
        ("a = 'x", "k.toml:1:"),
        ("a = [1,", "k.toml:1:"),
        ("= 1", "k.toml:1:1:"),
        ("é = 1", "k.toml:1:1:"),
    ] {
        let found = faults(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found.join("").starts_with(place), "{text}: {found:?}");
    }
}

#[test]
fn credentials_come_from_places_that_can_hold_them() {
    expect(
        "credentials = { headers = ['', 'Host', 'Cookie', 'a b', 'X-Keyward-Subject', 'X-Key', \
         'x-key'] }\n",
        &[
            "1:28: each item of \"headers\" must be the name of a header as in \"X-API-Key\", \
             found \"\": it is empty",
            "1:32: each item of \"headers\" must be the name of a header as in \"X-API-Key\", \
             found \"Host\": that name has a meaning of its own on the way to the upstream",
            "1:40: each item of \"headers\" must be the name of a header as in \"X-API-Key\", \
             found \"Cookie\": that name has a meaning of its own",
            "1:50: each item of \"headers\" must be the name of a header as in \"X-API-Key\", \
             found \"a b\": ' ' cannot stand in a header name",
            "1:57: each item of \"headers\" must be the name of a header as in \"X-API-Key\", \
             found \"X-Keyward-Subject\": keyward removes what clients send under that name",
            "1:87: \"headers\" lists \"x-key\" twice",
        ],
    );
    expect(
        "credentials = { cookie = 'a;b', query = 'a=b', origins = ['https://a.example/x'] }\n\
         realm = 'a\"b'\n",
        &[
            "1:26: \"cookie\" must be the name of a cookie as in \"__Host-token\", found \"a;b\"",
            "1:41: \"query\" must be the name of a parameter of the query as in \
             \"access_token\", found \"a=b\"",
            "1:59: each item of \"origins\" must be an origin as in \
             \"https://app.example.com\" or \"https://*.example.com\", found \
             \"https://a.example/x\": an origin has no path: leave out what stands behind the host",
            "2:9: \"realm\" must be 1 to 128 visible ASCII characters and spaces, no quote and no \
             backslash, found \"a\\\"b\"",
        ],
    );
    let of_no_use = "credentials = { query = 'token', origins = ['https://a.example'] }\n";
    let config = crate::config::parse(&format!("{SMALL}{of_no_use}"), "k.toml", &|_| None).unwrap();
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(warning.contains("\"origins\" is of no use here"), "{warning}");
    expect(
        "credentials = { query = 'token' }\nchallenge = 'basic'\n",
        &[
            "2:13: the route asks for Basic and does not take it: say \"credentials.basic = true\", \
             too",
        ],
    );
    expect(
        "[[route]]\npath = '/c'\nupstream = 'app'\npublic = true\ncredentials.basic = true\n",
        &["5:1: a public route asks for no credential: leave out either \"public\" or \
           \"credentials\""],
    );
    expect(
        "credentials = { basic = true, headers = ['Authorization'] }\nchallenge = 'basic'\n",
        &[],
    );
}

#[test]
fn columns_count_characters() {
    expect(
        "[log]\n'ä' = 1\n",
        &["2:1: unknown key \"ä\" in [log]; known are level, format, access"],
    );
    expect(
        "[log]\nkeys = { 'äö' = '€', issuer = 1 }\n",
        &["2:1: unknown key \"keys\" in [log]; known are level, format, access"],
    );
    expect(
        "require = { role = ['€', 1] }\n",
        &["1:26: each item of \"role\" must be a value that the identity may have, found the \
             integer 1"],
    );
}
