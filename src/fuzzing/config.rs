//! A configuration is read whole or not at all: what passes, passes again and means the same; what
//! does not, says where.

use std::collections::BTreeSet;

use crate::config::{Config, Faults, parse};
use crate::gateway::RouteSettings;

pub(super) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    // The files that it names are read, and what is in these is not of this text.
    if ["/dev", "/proc", "/sys", "fifo"].iter().any(|place| text.contains(place)) {
        return false;
    }
    let read = parse(text, ORIGIN, &env);
    assert_eq!(read, parse(text, ORIGIN, &env), "a second reading is another");
    match &read {
        Ok(config) => {
            is_whole(config);
            is_public_by_intent(text, config);
            means_the_same_respelled(text, config);
        }
        Err(faults) => have_their_places(text, faults),
    }
    read.is_ok()
}

const ORIGIN: &str = "k.toml";

fn env(name: &str) -> Option<String> {
    match name {
        "LEVEL" => Some("debug".to_owned()),
        "EMPTY" => Some(String::new()),
        "QUOTE" => Some("\"\n[server]\n".to_owned()),
        "SECRET" => Some("p@ss/w:rd#?%".to_owned()),
        _ => None,
    }
}

/// What refers to something refers to something that is there.
fn is_whole(config: &Config) {
    assert!(!config.listeners.is_empty(), "it listens nowhere");
    assert!(!config.routes.is_empty() || !config.token_apis.is_empty(), "it serves nothing");
    let upstreams: Vec<&str> =
        config.upstreams.iter().map(|upstream| &*upstream.plan.name).collect();
    let mut grantors: Vec<&str> = config.token_apis.iter().map(|api| &*api.name).collect();
    grantors.extend(config.issuers.iter().map(|issuer| &*issuer.settings.name));
    for names in [&grantors, &upstreams] {
        assert_eq!(
            names.iter().collect::<BTreeSet<_>>().len(),
            names.len(),
            "one name for two: {names:?}"
        );
    }
    for route in &config.routes {
        let path = &route.path;
        let is_there = route.target.upstream().is_none_or(|at| at < upstreams.len());
        assert!(is_there, "{path} leads to no upstream");
        let is_there = |name: &std::sync::Arc<str>| grantors.contains(&&**name);
        assert!(route.accept.iter().all(is_there), "{path} accepts what is not there");
    }
    assert!(
        config.upstreams.iter().all(|upstream| !upstream.plan.settings.endpoints.is_empty()),
        "an upstream has no endpoint"
    );
}

/// A route without anything to accept is public, and no route is that by accident.
fn is_public_by_intent(text: &str, config: &Config) {
    // A backslash may be part of an escape in the name of a key.
    let says_it = text.contains("public") || text.contains('\\');
    let is_public = |route: &RouteSettings| route.accept.is_empty();
    assert!(says_it || !config.routes.iter().any(is_public), "a route is public by accident");
}

/// What makes no difference to TOML makes none here; what is unknown is a fault, and where it
/// stands.
fn means_the_same_respelled(text: &str, config: &Config) {
    let same = |respelled: &str, what: &str| {
        let again = parse(respelled, ORIGIN, &env);
        // The places move.
        let moved = |again| Config {
            warnings: config.warnings.clone(),
            places: config.places.clone(),
            ..again
        };
        let again = again.map(moved);
        assert_eq!(again.as_ref(), Ok(config), "{what} makes it another");
    };
    same(&format!("{text}\n# the end"), "a comment at its end");
    if !text.starts_with('\u{feff}') {
        same(&format!("\u{feff}{text}"), "a byte order mark");
        same(&format!("# the beginning\n\n{text}"), "a comment at its beginning");
        let faults = parse(&format!("zzzzzz = 1\n{text}"), ORIGIN, &env).err();
        let first = faults.as_ref().and_then(|faults| faults.iter().next());
        let place = first.and_then(|fault| fault.place).map(|place| (place.line, place.column));
        assert_eq!(
            place,
            Some((1, 1)),
            "an unknown key is no fault, or somewhere else: {faults:?}"
        );
    }
}

/// At least one, in the order of the text, each within it.
fn have_their_places(text: &str, faults: &Faults) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    let places: Vec<_> = faults.iter().map(|fault| fault.place).collect();
    assert!(!places.is_empty(), "refused without a fault");
    assert!(places.is_sorted(), "the faults are out of order: {places:?}");
    for place in places.into_iter().flatten() {
        let line = place.line.checked_sub(1).and_then(|at| lines.get(at));
        let width = line.map(|line| line.chars().count());
        assert!(
            width.is_some_and(|width| (1..=width + 1).contains(&place.column)),
            "{place} is not in the text"
        );
    }
    let shown = faults.to_string();
    assert!(faults.iter().all(|fault| !fault.message.is_empty()), "a fault says nothing: {shown}");
    assert_eq!(shown.lines().count(), faults.iter().count(), "a fault is not one line: {shown:?}");
    assert!(shown.lines().all(|line| line.starts_with(ORIGIN)), "a line names no file: {shown:?}");
}
