//! Each class of fault, with its place and its words.

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
            "2:1: missing key \"upstream\" in [[route]]: it must be the name of an [[upstream]]",
            "2:1: missing key \"path\" in [[route]]: it must be a path as \
             in \"/api/{name}/{*rest}\"",
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
fn accounts_have_keys_of_their_own_and_a_mount_without_parameters() {
    let api = |style: &str, rest: &str| {
        format!("{SMALL}[[token_api]]\nname = 'x'\nstyle = '{style}'\nmount = '/v1/auth'\n{rest}")
    };
    let lines = SMALL.lines().count();
    let of = |style: &str, rest: &str| match crate::config::parse(
        &api(style, rest),
        "k.toml",
        &|_| None,
    ) {
        Ok(config) => Ok(config
            .token_apis
            .into_iter()
            .last()
            .map(|api| (api.style, api.prefix, api.session, api.registration))
            .expect("one")),
        Err(faults) => Err(faults.to_string()),
    };
    let hour = Duration::from_secs(3600);
    let usual = (Style::Accounts, "rst_".into(), hour, Enrolment::Open);
    assert_eq!(of("accounts", ""), Ok(usual));
    let text = "prefix = 'k-1_'\nsession = '30d'\nregistration = 'closed'\n";
    let other = (Style::Accounts, "k-1_".into(), hour * 24 * 30, Enrolment::Closed);
    assert_eq!(of("accounts", text), Ok(other));
    for (style, rest, fault) in [
        ("accounts", "prefix = ''\n", "\"prefix\" must be 1 to 32 letters"),
        ("accounts", "issuer = 'x'\n", "no [[issuer]] has the name"),
        ("accounts", "prefix = 'r t'\n", "\"prefix\" must be 1 to 32 letters"),
        ("accounts", "session = '59s'\n", "\"session\" must be"),
        ("accounts", "session = '31d'\n", "\"session\" must be"),
        ("accounts", "registration = 'shut'\n", "\"registration\" must be \"open\" or \"closed\""),
        ("allowlist-jwt", "registration = 'open'\n", "registration"),
    ] {
        let faults = of(style, rest).expect_err(rest);
        let line = lines + 5;
        assert!(
            faults.starts_with(&format!("k.toml:{line}:")) && faults.contains(fault),
            "{faults}"
        );
    }
    let text = api("accounts", "").replace("/v1/auth", "/{organization}/auth");
    let faults =
        crate::config::parse(&text, "k.toml", &|_| None).expect_err("parameters").to_string();
    assert!(faults.contains("has no parameters"), "{faults}");
}

#[test]
fn what_is_planned_is_called_unavailable_not_unknown() {
    expect(
        "[store]\nkind = 'sqlite'\n",
        &["2:8: \"kind\" must be \"embedded\" or \"redis\", found \"sqlite\""],
    );
}

#[test]
fn prefixes_that_could_be_taken_for_each_other_are_refused() {
    let api = |name: &str, keys: &str| {
        format!(
            "[[token_api]]\nname = '{name}'\nstyle = 'tenant-tokens'\nmount = '/{name}'\n\
             issuer = 'id'\n{keys}\n"
        )
    };
    let faults_of = |apis: &[(&str, &str)]| {
        let issuer = "[[issuer]]\nname = 'id'\nissuer = 'https://id.example'\naudience = ['a']\n\
                      jwks_url = 'https://id.example/k'\n";
        let apis: String = apis.iter().map(|(name, keys)| api(name, keys)).collect();
        faults(&format!("{SMALL}{issuer}{apis}"))
    };
    assert_eq!(
        faults_of(&[("a", ""), ("b", "prefix = 'sk_agt_'"), ("c", "prefix = 'x'")]),
        [] as [&str; 0]
    );
    for (apis, why) in [
        (&[("a", ""), ("b", "")][..], "\"prefix\" \"sk-\" is that of the [[token_api]] on line"),
        (
            &[("a", ""), ("b", "prefix = 'sk-x'")],
            "\"prefix\" \"sk-x\" cannot be told from \"sk-\" of the [[token_api]]",
        ),
        (
            &[("a", ""), ("b", "prefix = 's'")],
            "\"prefix\" \"s\" cannot be told from \"sk-\" of the [[token_api]]",
        ),
        (&[("a", "prefix = 'eyes-'")], "every JWT begins with \"ey\""),
        (&[("a", "prefix = 'e'")], "every JWT begins with \"ey\""),
        (&[("a", "prefix = ''")], "\"prefix\" must be 1 to 32 letters"),
        (&[("a", "prefix = 'é-'")], "\"prefix\" must be 1 to 32 letters"),
        (&[("a", "prefix = 'a b'")], "\"prefix\" must be 1 to 32 letters"),
        (&[("a", "algorithm = 'HS256'")], "\"algorithm\" is of no use here"),
    ] {
        let faults = faults_of(apis);
        assert!(faults.len() == 1 && faults[0].contains(why), "{why}: {faults:?}");
    }
}

#[test]
fn a_token_api_names_issuers_that_are_there() {
    let api = |style: &str, issuer: &str| {
        faults(&format!(
            "{SMALL}[[token_api]]\nname = 'a'\nstyle = '{style}'\nmount = '/a'\n{issuer}\n"
        ))
    };
    for (style, issuer, why) in [
        (
            "tenant-tokens",
            "",
            "this [[token_api]] has nobody to make tokens for: name an [[issuer]]",
        ),
        (
            "agent-tokens",
            "",
            "this [[token_api]] has nobody to make tokens for: name an [[issuer]]",
        ),
        ("agent-tokens", "issuer = []", "\"issuer\" must not be empty"),
        (
            "agent-tokens",
            "issuer = 7",
            "\"issuer\" must be the name of an [[issuer]], or an array of those",
        ),
        (
            "tenant-tokens",
            "issuer = 'nobody'",
            "no [[issuer]] has the name \"nobody\"; there is no [[issuer]]",
        ),
        ("allowlist-jwt", "issuer = 'nobody'", "\"issuer\" is of no use here"),
        ("allowlist-jwt", "prefix = 'x-'", "\"prefix\" is of no use here"),
    ] {
        let faults = api(style, issuer);
        assert!(faults.iter().any(|fault| fault.contains(why)), "{why}: {faults:?}");
    }
}

#[test]
fn a_tenant_is_looked_for_only_in_a_path_that_names_one() {
    expect(
        "tenant_param = 'org'\n",
        &["1:16: \"tenant_param\": {org} is no segment of this route's path"],
    );
    expect(
        "resolve_tenant = true\n",
        &["1:18: \"resolve_tenant\" is of no use here: the path names no tenant of a caller"],
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
            "4:1: unknown key \"new\" in [[upstream]]; known are name, endpoints, protocol, tls, \
             preserve_host, idle_connections, idle_timeout",
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
fn an_issuer_has_keys_from_one_place_and_says_for_whom_its_tokens_are() {
    expect(
        "[[issuer]]\n[[issuer]]\nname = 'a'\nissuer = 'keyward'\n\
         jwks_url = 'http://id.example.com/k'\naudience = []\n\
         [[issuer]]\nname = 'b'\nissuer = 'https://b'\njwks_url = 'https://b/k'\n\
         jwks_file = '/nowhere/k.json'\naudience = ['a', 'a', '']\n\
         [[issuer]]\nname = 'b'\nissuer = 'https://b'\njwks_url = 'ftp://b/k'\naudience = ['a']\n\
         algorithms = ['HS256', 'RS1', 'RS256', 'RS256']\n\
         [[issuer]]\nname = 'c'\nissuer = 'a b'\nsecret_file = '/nowhere/secret'\n\
         audience = ['a']\nalgorithms = ['ES256']\nca_file = '/nowhere/ca'\nallow_insecure = true\n\
         [[issuer]]\nname = 'd'\nissuer = 'd'\njwks_url = 'http://localhost/k'\naudience = 'a'\n\
         leeway = '1h'\nrefresh = '1s'\nstale_if_error = '1'\nca_file = ''\n",
        &[
            "1:1: missing key \"name\" in [[issuer]]: it must be a name of 1 to 64 letters, \
             digits, \"-\", \"_\" or \".\"",
            "1:1: missing key \"issuer\" in [[issuer]]: it must be the \"iss\" claim of its \
             tokens, as in \"https://id.example.com\"",
            "1:1: missing key \"audience\" in [[issuer]]: it must be an array, each item a value \
             of the \"aud\" claim. For an issuer whose tokens have none, leave it out and say \
             in \"required_claims\" what they have instead, as in { client_id = \"...\", \
             token_use = \"access\" }",
            "4:10: \"issuer\" \"keyward\" is our own: see \"issuer\" in [keys]",
            "5:12: \"jwks_url\" is not https: whoever is on the way could put keys of their own \
             in; if nobody is, say \"allow_insecure = true\"",
            "6:12: \"audience\" must not be empty: list at least one item, each a value of \
             the \"aud\" claim",
            "11:13: \"jwks_file\": \"/nowhere/k.json\" cannot be read: No such file or directory \
             (os error 2)",
            "11:13: \"jwks_url\" and \"jwks_file\" exclude each other: keys come from one place",
            "12:18: \"audience\" lists \"a\" twice",
            "12:23: each item of \"audience\" must be a value of the \"aud\" claim, found \"\": it \
             is empty",
            "14:8: \"name\" \"b\" is taken on line 21",
            "15:10: \"issuer\" \"https://b\" is taken on line 22: only one could be asked",
            "16:12: \"jwks_url\" must be an address as in \"https://id.example.com/keys\", \
             found \"ftp://b/k\": the only schemes are https and http",
            "18:15: \"algorithms\" lists \"HS256\", which needs \"secret_file\"",
            "18:24: each item of \"algorithms\" must be a signature algorithm as in \"RS256\", \
             found \"RS1\": there are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, \
             EdDSA, HS256, HS384, HS512",
            "18:40: \"algorithms\" lists \"RS256\" twice",
            "21:10: \"issuer\" must be the \"iss\" claim of its tokens, as \
             in \"https://id.example.com\", found \"a b\"",
            "22:15: \"secret_file\": \"/nowhere/secret\" cannot be read: No such file or directory \
             (os error 2)",
            "24:15: \"algorithms\" lists \"ES256\", which is not for a shared secret",
            "25:11: \"ca_file\": \"/nowhere/ca\" cannot be read: No such file or directory (os \
             error 2)",
            "25:11: \"ca_file\" says how \"jwks_url\" is fetched, and there is none",
            "26:18: \"allow_insecure\" says how \"jwks_url\" is fetched, and there is none",
            "31:12: \"audience\" must be an array, each item a value of the \"aud\" claim, \
             found \"a\"",
            "32:10: \"leeway\" must be a duration from \"0s\" to \"10m\", found \"1h\"",
            "33:11: \"refresh\" must be a duration from \"10s\" to \"1d\", found \"1s\"",
            "34:18: \"stale_if_error\" must be a duration from \"0s\" to \"30d\", found \"1\": 1 \
             has no unit (ms, s, m, h or d)",
            "35:11: \"ca_file\" must be the path of a PEM file, found \"\": it is empty",
        ],
    );
}

#[test]
fn a_template_has_tenants_and_metadata_have_an_address() {
    let issuer = |name: &str, lines: &str| {
        format!("[[issuer]]\nname = '{name}'\naudience = ['a']\n{lines}\n")
    };
    let template = "issuer = 'https://l/{tenant}/v2'";
    for (lines, why) in [
        (
            template.to_owned(),
            "\"issuer\" holds \"{tenant}\": list those whose tokens are accepted in \"tenants\"",
        ),
        (
            "issuer = 'https://{tenant}/{tenant}'\ntenants = ['a']".to_owned(),
            "\"issuer\" holds \"{tenant}\" more than once",
        ),
        (
            "issuer = 'https://l'\ntenants = ['a']".to_owned(),
            "\"tenants\" is of no use: \"issuer\" holds no \"{tenant}\"",
        ),
        (format!("{template}\ntenants = []"), "\"tenants\" must not be empty"),
        (format!("{template}\ntenants = ['a', 'a']"), "\"tenants\" lists \"a\" twice"),
        (format!("{template}\ntenants = ['../a']"), "each item of \"tenants\" must be a tenant"),
        (format!("{template}\ntenants = ['.']"), "each item of \"tenants\" must be a tenant"),
        (
            format!("{template}\ntenants = ['a']\nclaims.tenants = 't'"),
            "\"tenants\" is of no use: of an issuer by template the tenant is that of its \"iss\"",
        ),
        (
            "issuer = 'https://l'\njwks_url = 'https://l/{tenant}'".to_owned(),
            "\"jwks_url\" holds \"{tenant}\", and there are no \"tenants\"",
        ),
        (
            "issuer = 'supabase'".to_owned(),
            "this [[issuer]] has no keys: give it \"jwks_url\", \"jwks_file\" or \"secret_file\"",
        ),
        ("issuer = 'https://l?a=b'".to_owned(), "is no address for that: it has a query"),
        (
            "issuer = 'http://id.example'".to_owned(),
            "\"issuer\" is not https: whoever is on the way",
        ),
        (
            "issuer = 'i'\nsecret_file = '/nowhere'\nproxy = 'environment'".to_owned(),
            "\"proxy\" says how \"jwks_url\" is fetched, and there is none",
        ),
    ] {
        let faults = faults(&format!("{SMALL}{}", issuer("i", &lines)));
        assert!(faults.iter().any(|fault| fault.contains(why)), "{lines}: {faults:?}");
    }
    let two = issuer("i", &format!("{template}\ntenants = ['a', 'b']"))
        + &issuer("j", "issuer = 'https://l/b/v2'");
    let faults = faults(&format!("{SMALL}{two}"));
    assert!(
        faults.iter().any(|fault| fault.contains("\"https://l/b/v2\" is taken on line")),
        "{faults:?}"
    );
}

#[test]
fn a_scope_is_one_word() {
    for (scope, why) in [
        ("['openid email']", "a scope holds no space: list each by itself"),
        ("'openid email'", "a scope holds no space: list each by itself"),
        ("['']", "it is empty"),
        ("['a\"b']", "visible ASCII characters other than"),
        ("['ä']", "visible ASCII characters other than"),
        ("['a', 'a']", "\"scope\" lists \"a\" twice"),
        ("[]", "\"scope\" must not be empty"),
    ] {
        let faults = faults(&SMALL.replace(
            "accept = [\"api\"]",
            &format!("accept = [\"api\"]\nrequire.scope = {scope}"),
        ));
        assert!(faults.iter().any(|fault| fault.contains(why)), "{scope}: {faults:?}");
    }
}

#[test]
fn issuers_and_token_apis_share_their_names() {
    expect_all(
        &format!(
            "{SMALL}[[issuer]]\nname = 'api'\nissuer = 'i'\njwks_url = 'https://i/k'\n\
             audience = ['a']\n"
        ),
        &["k.toml:4:8: \"name\" \"api\" is taken on line 15"],
    );
}

#[test]
fn claims_of_an_issuer_are_named_by_paths_and_have_types() {
    let issuer =
        "[[issuer]]\nname = 'i'\nissuer = 'i'\njwks_url = 'https://i/k'\naudience = ['a']\n";
    expect(
        &format!(
            "{issuer}claims = {{ subject = '', role = 'a..b', rol = 'x', username = '' }}\n\
             required_claims = {{ typ = 1.5, a = [], b = ['x', 1979-05-27], 'c..d' = 'x', e.f = \
             {{}} }}\n"
        ),
        &[
            "6:22: \"subject\" must be the name of a claim, with dots for claims in claims, as \
             in \"realm_access.roles\", found \"\": a name in it is empty",
            "6:33: \"role\" must be the name of a claim, with dots for claims in claims, as \
             in \"realm_access.roles\", or \"\" for none, found \"a..b\": a name in it is empty",
            "6:41: unknown key \"rol\"; did you mean \"role\"?",
            "7:27: \"required_claims\": \"typ\" must be a string, an integer, a boolean or an \
             array of those, found the number 1.5",
            "7:36: \"required_claims\": \"a\" must be a string, an integer, a boolean or an array \
             of those, found an array",
            "7:50: \"required_claims\": \"b\" must be a string, an integer, a boolean or an array \
             of those, found the date 1979-05-27",
            "7:63: each key of \"required_claims\" must be the name of a claim, with dots for \
             claims in claims, as in \"realm_access.roles\": a name in it is empty",
            "7:83: \"required_claims\": \"e.f\" must be a string, an integer, a boolean or an \
             array of those, found a table",
        ],
    );
}

#[test]
fn a_route_says_who_may_pass() {
    expect(
        "[[route]]\npath = '/a'\nupstream = 'app'\n\
         [[route]]\npath = '/b'\nupstream = 'app'\naccept = []\n\
         [[route]]\npath = '/c'\nupstream = 'app'\naccept = ['api']\npublic = true\n\
         require.role = ['admin']\n\
         [[route]]\npath = '/d'\nupstream = 'app'\npublic = 'yes'\n\
         [[route]]\npath = '/e'\nupstream = 'app'\naccept = ['api']\n\
         require = { role = [], email = [''] }\n",
        &[
            "1:1: this [[route]] accepts nothing: name token APIs or issuers in \"accept\", or \
             say \"public = true\"",
            "7:10: \"accept\" must not be empty: list at least one item, each the name of a \
             [[token_api]] or an [[issuer]]",
            "11:10: a public route asks for no credential: leave out either \"public\" \
             or \"accept\"",
            "13:1: a public route asks for no credential: leave out either \"public\" \
             or \"require\"",
            "17:10: \"public\" must be true or false, found \"yes\"",
            "22:20: \"role\" must not be empty: list at least one item, each a value that the \
             identity may have",
            "22:33: each item of \"email\" must be a value that the identity may have, found \"\": \
             it is empty",
        ],
    );
}

#[test]
fn two_routes_must_not_mean_the_same_requests() {
    let route = |more: &str| format!("[[route]]\nupstream = 'app'\naccept = ['api']\n{more}\n");
    let twice = |one: &str, other: &str| faults(&format!("{SMALL}{}{}", route(one), route(other)));
    for (one, other) in [
        ("path = '/a'", "path = '/a'"),
        ("path = '/{a}/x'", "path = '/{b}/x'"),
        ("path = '/a/{*a}'", "path = '/a/{*b}'"),
        ("path = '/a'\nmethods = ['GET', 'PUT']", "path = '/a'\nmethods = ['PUT']"),
        ("path = '/a'\nhost = 'x'", "path = '/a'\nhost = 'x'"),
    ] {
        let found = twice(one, other);
        assert_eq!(found.len(), 1, "{one} {other}: {found:?}");
        assert!(
            found.join("").contains("in common with the one on line 14: only one can answer"),
            "{found:?}"
        );
    }
    for (one, other) in [
        ("path = '/a'", "path = '/a/'"),
        ("path = '/a'\nmethods = ['GET']", "path = '/a'\nmethods = ['PUT']"),
        ("path = '/a'\nmethods = ['GET']", "path = '/a'"),
        ("path = '/a'\nhost = 'x'", "path = '/a'\nhost = '*.x'"),
        ("path = '/a'\nhost = 'x'", "path = '/a'"),
        ("path = '/a/{a}'", "path = '/a/{*a}'"),
    ] {
        assert!(twice(one, other).is_empty(), "{one} {other}");
    }
}

#[test]
fn patterns_and_methods_say_what_is_wrong() {
    expect(
        "[[route]]\npath = 'a//b'\nhost = 'A:1'\nmethods = ['get', 'CONNECT', 'A B']\n\
         upstream = 'app'\naccept = ['api']\n",
        &[
            "2:8: \"path\" must be a path as in \"/api/{name}/{*rest}\", found \"a//b\": it must \
             begin with \"/\"",
            "3:8: \"host\" must be a host name as in \"app.example.com\" or \"*.example.com\" \
             (left out for any), found \"A:1\": a host has no port here: routes do not look at it",
            "4:12: each item of \"methods\" must be an HTTP method as in \"GET\" (left out for \
             any), found \"get\": methods are in upper case: \"GET\"",
            "4:19: each item of \"methods\" must be an HTTP method as in \"GET\" (left out for \
             any), found \"CONNECT\": CONNECT makes a tunnel, which is not forwarded",
            "4:30: each item of \"methods\" must be an HTTP method as in \"GET\" (left out for \
             any), found \"A B\"",
        ],
    );
    for (mount, why) in [
        ("/", "must not end with"),
        ("/a/", "must not end with"),
        ("/{tenant}", "{tenant} is none of its parameters"),
        ("/{*rest}", "{*rest} cannot stand in it"),
        ("a", "must begin with"),
    ] {
        let text = format!(
            "{SMALL}[[token_api]]\nname = 'x'\nstyle = 'allowlist-jwt'\nmount = '{mount}'\n"
        );
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{mount}: {found:?}");
        assert!(found.join("").contains(why), "{mount}: {found:?}");
    }
}

#[test]
fn identity_headers_are_free_and_differ() {
    expect(
        "[identity_headers]\nsubject = 'Host'\nrole = 'X_Keyward_Email'\ncredential = 'X-A'\n\
         token_id = 'x-a'\nusername = 'a b'\n",
        &[
            "2:11: \"subject\" must be the name of a header, or \"\" to leave it out, \
             found \"Host\": that name has a meaning of its own on the way to the upstream",
            "3:8: \"role\" and \"email\" would share the header \"x-keyward-email\": an upstream \
             could not tell them apart",
            "4:14: \"token_id\" and \"credential\" would share the header \"x-a\": an upstream \
             could not tell them apart",
            "6:12: \"username\" must be the name of a header, or \"\" to leave it out, found \"a \
             b\": ' ' cannot stand in a header name",
        ],
    );
}

#[test]
fn addresses_are_whole_and_taken_once() {
    expect(
        "[[listener]]\naddress = ':8080'\n[[listener]]\naddress = '127.0.0.1'\n[[listener]]\n\
         address = 'localhost:80'\n\
         [[listener]]\naddress = '[::ffff:127.0.0.1]:8080'\n[[listener]]\naddress = '[::1]:8080'\n\
         [admin]\naddress = '127.0.0.1:8080'\nsocket = ''\n",
        &[
            "2:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \":8080\": for all addresses write \"0.0.0.0:8080\" or \"[::]:8080\"",
            "4:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"127.0.0.1\": it has no port",
            "6:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"localhost:80\"",
            "8:11: \"address\" [::ffff:127.0.0.1]:8080 is taken by the [[listener]] on line 2 \
             (127.0.0.1:8080)",
            "12:11: [admin] address 127.0.0.1:8080 is that of the [[listener]] on line 2 \
             (127.0.0.1:8080): health and metrics are not public; give them another port",
            "13:10: \"socket\" must be the path of a Unix socket, found \"\": it is empty",
        ],
    );
    // A connection belongs to the most specific address; health and metrics are beside none of
    // them.
    let listener = |ip: &str| format!("[[listener]]\naddress = '{ip}:8080'\n");
    expect(&[listener("0.0.0.0"), listener("[::]"), listener("10.0.0.1")].concat(), &[]);
    let line = SMALL.lines().count() + 2;
    for wild in ["0.0.0.0", "[::]"] {
        expect(
            &format!("[[listener]]\naddress = '{wild}:9090'\n"),
            &[&format!(
                "2:11: [admin] address 127.0.0.1:9090 is that of the [[listener]] on line {line} \
                 ({wild}:9090): health and \
                 metrics are not public; give them another port"
            )],
        );
    }
    let long = "s".repeat(108);
    expect(
        &format!("[admin]\nsocket = '{long}'\n"),
        &[&format!(
            "2:10: \"socket\" must be the path of a Unix socket, found \"{}\"…: it is longer than \
             107 bytes",
            "s".repeat(80)
        )],
    );
}

#[test]
fn a_listener_on_a_unix_socket_has_a_path_of_its_own_and_no_tls() {
    expect(
        "[[listener]]\naddress = 'unix:/run/a.sock'\nmode = '660'\ntls = []\n\
         [[listener]]\naddress = 'unix:///run/a.sock'\nmode = '0688'\n\
         proxy_protocol = 'required'\ntrusted_proxies = ['::1']\n\
         [[listener]]\naddress = '127.0.0.1:1'\nmode = '0660'\ntrusted_proxies = ['unix']\n\
         [[listener]]\naddress = 'unix:a.sock'\n[[listener]]\naddress = '/run/b.sock'\n\
         [admin]\nsocket = '/run/a.sock'\n",
        &[
            "4:7: \"tls\" must be { certificate = \"…\", key = \"…\" } or an array of those (left \
             out for plain HTTP), found an empty array",
            "4:7: TLS is not spoken on Unix sockets: nothing that is sent there leaves the machine",
            "6:11: \"address\" unix:/run/a.sock is taken by the [[listener]] on line 15 \
             (unix:/run/a.sock)",
            "7:8: \"mode\" must be three octal digits, as in \"0660\", found \"0688\"",
            "9:19: \"proxy_protocol\" \"required\" on a Unix socket needs \"unix\" \
             in \"trusted_proxies\": otherwise nobody could connect",
            "12:8: \"mode\" is for the file of a Unix socket: \"address\" is none",
            "13:20: \"unix\" is for a [[listener]] on a Unix socket: peers of this one have \
             addresses",
            "15:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"unix:a.sock\": the path of a Unix socket is absolute, as \
             in \"unix:/run/app.sock\"",
            "17:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"/run/b.sock\": for a Unix socket write \"unix:/run/b.sock\"",
            "19:10: [admin] socket is that of the [[listener]] on line 15: whoever reaches it \
             administers keyward",
        ],
    );
}

#[test]
fn the_proxy_protocol_needs_somebody_to_trust() {
    expect(
        "[[listener]]\naddress = '127.0.0.1:1'\nproxy_protocol = 'required'\n\
         [[listener]]\naddress = '127.0.0.1:2'\nproxy_protocol = 'required'\n\
         trusted_proxies = ['10.0.0.1/8']\n",
        &[
            "3:18: \"proxy_protocol\" \"required\" needs \"trusted_proxies\": otherwise nobody \
             could connect",
            "7:20: each item of \"trusted_proxies\" must be an IP address, a network, as \
             in \"10.0.0.0/8\", or \"unix\", found \"10.0.0.1/8\": its address has bits behind the \
             prefix; the network is 10.0.0.0/8",
        ],
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
fn columns_count_characters() {
    expect(
        "[log]\n'ä' = 1\n",
        &["2:1: unknown key \"ä\" in [log]; known are level, format, access"],
    );
    expect(
        "keys = { 'äö' = '€', issuer = 1 }\n",
        &["1:1: unknown key \"keys\" in [[route]]; known are upstream, host, path, methods, \
             public, accept, forward_credential, require, tenant_param, resolve_tenant"],
    );
    expect(
        "require = { role = ['€', 1] }\n",
        &["1:26: each item of \"role\" must be a value that the identity may have, found the \
             integer 1"],
    );
}
