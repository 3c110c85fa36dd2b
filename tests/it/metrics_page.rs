//! The page of metrics: the text format of Prometheus, 0.0.4, read anew.

use std::collections::BTreeSet;

use crate::support::{Plan, Upstream};

type Labels = Vec<(String, String)>;

/// One line that is no comment: the name, the labels with their values as they are meant, the rest.
fn parsed(line: &str) -> Option<(String, Labels, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = line.find(|c| !is_name(c))?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.split_once("=\"")?;
            let (mut value, mut chars) = (String::new(), quoted.char_indices());
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        _ => return None,
                    }),
                    (_, plain) => value.push(plain),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &quoted[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    Some((name.to_owned(), labels, rest.strip_prefix(' ')?.to_owned()))
}

#[test]
fn the_page_is_the_text_format_of_prometheus_whatever_the_configuration_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("a\"b\\c.sock");
    let socket = format!("unix:{}", socket.display());
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .table("upstream", &format!("name = \"odd\"\nendpoints = ['{socket}']\ncircuit = true"))
        .route("path = \"/odd\"\nupstream = \"odd\"\npublic = true")
        .start();
    assert_eq!(world.ask("GET", "/odd", "", "").status, 502);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    let page = world.admin_text("/metrics");
    let (mut family, mut families, mut seen) = (String::new(), BTreeSet::new(), BTreeSet::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help");
            assert!(families.insert(name.to_owned()), "{name} has one HELP and one TYPE");
            assert!(!text.is_empty() && !text.contains('\\'));
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            assert!(matches!(kind, Some("counter" | "gauge" | "histogram")), "{line}");
            family = name.to_owned();
            continue;
        }
        let (name, labels, value) = parsed(line).unwrap_or_else(|| panic!("{line}"));
        let parts = ["", "_bucket", "_sum", "_count"].map(|part| format!("{family}{part}"));
        assert!(parts.contains(&name), "{line} is of {family}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let names: BTreeSet<_> = labels.iter().map(|(label, _)| label.clone()).collect();
        assert_eq!(names.len(), labels.len(), "{line}");
        assert!(seen.insert((name, labels)), "{line} is there once");
    }
    assert!(families.len() > 30, "{families:?}");
    let is_of_socket = |(name, labels): &(String, Labels)| {
        name == "keyward_upstream_endpoint_up" && labels.iter().any(|(_, value)| *value == socket)
    };
    assert!(seen.iter().any(is_of_socket), "{page}");
}
