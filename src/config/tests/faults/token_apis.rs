//! Token APIs: keys of each style, prefixes, issuers, tenants.

use super::*;

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
            "this [[token_api]] has no caller to make tokens for: name an [[issuer]]",
        ),
        (
            "agent-tokens",
            "",
            "this [[token_api]] has no caller to make tokens for: name an [[issuer]]",
        ),
        ("agent-tokens", "issuer = []", "\"issuer\" must not be empty"),
        (
            "agent-tokens",
            "issuer = 7",
            "\"issuer\" must be the name of an [[issuer]], or an array of those",
        ),
        (
            "tenant-tokens",
            "issuer = 'absent'",
            "no [[issuer]] has the name \"absent\"; there is no [[issuer]]",
        ),
        ("allowlist-jwt", "issuer = 'absent'", "\"issuer\" is of no use here"),
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
