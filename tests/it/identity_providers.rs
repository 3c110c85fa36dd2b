//! The identity providers of docs/identity-providers.md: each configuration is read from that page,
//! and keyward fetches the provider's metadata and keys from the address that stands there, through
//! a proxy that plays the provider.
//!
//! Tokens have the header and the claims that the provider writes, and are signed with keys of our
//! own.

mod internet;
mod mistakes;
mod tokens;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Plan, Upstream, World, json};
use internet::Internet;
use tokens::{Provider, providers};

const PAGE: &str = include_str!("../../docs/identity-providers.md");

/// The sections of the page that show an issuer: its heading, its configuration and its prose.
fn sections() -> Vec<(&'static str, &'static str, String)> {
    let sections = PAGE.split("\n## ").skip(1);
    sections
        .map(|section| {
            let (heading, rest) = section.split_once('\n').expect("a heading");
            let mut blocks = rest.split("```toml\n").skip(1);
            let snippet =
                blocks.next().and_then(|block| block.split_once("```")).expect("a configuration").0;
            assert!(blocks.next().is_none(), "{heading} has one configuration");
            let prose = rest.rsplit("```").next().expect("prose");
            (heading, snippet, prose.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// A keyward with every provider of the page, each at a route of its own: `/<name>/…`.
fn world(upstream: &Upstream, internet: &Internet) -> World {
    let mut plan = Plan::usual(upstream);
    for (heading, snippet, _) in sections() {
        let lines = snippet
            .strip_prefix("[[issuer]]\n")
            .unwrap_or_else(|| panic!("{heading} begins with [[issuer]]"));
        let is_file = lines.contains("secret_file");
        let mut lines: Vec<String> = lines
            .lines()
            .filter(|line| !line.starts_with("ca_file"))
            .map(|line| match line.strip_prefix("secret_file = ") {
                Some(_) => format!("secret_file = {:?}", internet.secret_file()),
                None => line.to_owned(),
            })
            .collect();
        if !is_file {
            lines.push(format!(
                "proxy = \"http://{}\"\nca_file = {:?}",
                internet.address(),
                internet.ca_file()
            ));
        }
        let name = lines
            .iter()
            .find_map(|line| line.strip_prefix("name = "))
            .expect("a name")
            .trim_matches('"');
        let route =
            format!("path = \"/{name}/{{*rest}}\"\nupstream = \"app\"\naccept = [\"{name}\"]");
        plan = plan.table("issuer", &lines.join("\n")).route(&route);
    }
    plan.start()
}

/// Whether the page shows this cause: `...` stands for anything, and numbers differ.
fn shows(pattern: &str, cause: &str) -> bool {
    let without_digits =
        |text: &str| text.replace(|character: char| character.is_ascii_digit(), "");
    let (pattern, cause) = (without_digits(pattern), without_digits(cause));
    let is_cause = pattern.starts_with("it ")
        || pattern.starts_with("its ")
        || pattern.starts_with("a required claim");
    let mut rest = cause.as_str();
    is_cause
        && pattern
            .split("...")
            .all(|part| rest.split_once(part).map(|(_, tail)| rest = tail).is_some())
}

/// What the upstream was told in this field.
fn told(echo: &Value, name: &str) -> Option<String> {
    let headers = echo["headers"].as_array().expect("headers");
    let found = headers
        .iter()
        .find(|pair| pair[0].as_str().is_some_and(|own| own.eq_ignore_ascii_case(name)));
    found.and_then(|pair| pair[1].as_str()).map(str::to_owned)
}

fn check(world: &World, provider: &Provider) {
    let name = provider.name;
    let response = world.get_with(&format!("/{name}/good"), &provider.token());
    assert_eq!(response.status, 200, "{name}: {response}\n{:?}", world.access_lines().last());
    let echo = json(&response);
    let [subject, username, organization, role, email] = provider.identity;
    for (field, expected) in [
        ("X-Keyward-Subject", subject),
        ("X-Keyward-Username", username),
        ("X-Keyward-Organization", organization),
        ("X-Keyward-Role", role),
        ("X-Keyward-Email", email),
        ("X-Keyward-Credential", name),
    ] {
        let expected = Some(expected).filter(|expected| !expected.is_empty());
        assert_eq!(told(&echo, field).as_deref(), expected, "{name}: {field}");
    }
}

#[test]
fn each_provider_of_the_page_is_let_in_by_its_configuration_with_the_right_identity() {
    let (upstream, internet) = (Upstream::start(), Internet::start());
    let world = world(&upstream, &internet);
    let providers = providers();
    for provider in &providers {
        check(&world, provider);
        // A route takes its own provider only.
        let elsewhere = if provider.name == "google" { "/okta/x" } else { "/google/x" };
        assert_eq!(world.get_with(elsewhere, &provider.token()).status, 401, "{}", provider.name);
    }
    let names: BTreeSet<_> =
        providers.iter().map(|provider| format!("name = {:?}", provider.name)).collect();
    for (heading, snippet, _) in sections() {
        assert!(snippet.lines().any(|line| names.contains(line)), "{heading} is tested");
    }
}

#[test]
fn the_commonest_mistake_with_each_provider_is_refused_and_named_in_the_log_and_on_the_page() {
    let (upstream, internet) = (Upstream::start(), Internet::start());
    let world = world(&upstream, &internet);
    upstream.take();
    let mut named = BTreeSet::new();
    for mistake in mistakes::all() {
        let path = format!("/{}/{}", mistake.provider, mistake.what.replace(' ', "-"));
        let response = world.get_with(&path, &mistake.token);
        assert_eq!(response.status, 401, "{path}: {response}");
        let line = world.access_line(&path);
        let cause = line["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(mistake.cause), "{path}: {cause:?} names {:?}", mistake.cause);
        assert_eq!(line["refusal"], mistake.refusal, "{path}: {line}");
        assert!(!world.output().contains(&mistake.token), "{path}: no token is in the log");
        if mistake.is_commonest {
            named.insert(mistake.provider);
            let (_, _, prose) = sections()
                .into_iter()
                .find(|(_, snippet, _)| {
                    snippet.contains(&format!("name = {:?}\n", mistake.provider))
                })
                .expect("it is on the page");
            let (_, said) =
                prose.split_once("Commonest mistake: ").expect("the page names the mistake");
            let quoted: Vec<_> = said.split('`').skip(1).step_by(2).collect();
            assert!(
                quoted.iter().any(|words| shows(words, cause)),
                "{path}: the page says {quoted:?}, the log {cause:?}"
            );
        }
    }
    assert_eq!(named.len(), sections().len(), "{named:?}");
    assert!(upstream.take().heads.is_empty(), "nothing of it has arrived");
}
