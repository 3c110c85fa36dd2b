//! Issuers: keys, tenants, scopes, claims.

use super::*;

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
            "5:12: \"jwks_url\" is not https: a machine on the way could replace the keys; if \
             there is none, say \"allow_insecure = true\"",
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
            "\"issuer\" is not https: a machine on the way",
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
