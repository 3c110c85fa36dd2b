//! The lists and tables of the pages: metrics, reasons of refusals, limits, identity headers, forms
//! of tokens.

use std::collections::BTreeSet;

use keyward::domain::RawToken;
use keyward::gateway::{IdentityNames, Preset};
use keyward::telemetry::Reason;
use keyward::telemetry::configured::PlanSeries;
use keyward::telemetry::gauges::{FleetGauges, Gauges, IssuerGauges, UpstreamGauges};
use keyward::telemetry::metrics::render;
use keyward::tokens::keyring::SecretBytes;
use keyward::tokens::opaque::{Alphabet, OpaqueFormat, OpaqueTokens};

use crate::page::{OPERATION, SECURITY, TOKEN_APIS, items, rows, subjects};

const EXAMPLE: &str = include_str!("../../config.example.toml");

#[test]
fn every_metric_is_in_the_list_and_every_one_there_exists() {
    let (issuers, fleet) = (vec![IssuerGauges::default()], Some(FleetGauges::default()));
    let upstreams = vec![UpstreamGauges::default()];
    let gauges = Gauges { issuers, upstreams, fleet, ..Gauges::default() };
    let text = render(std::iter::empty(), &gauges, &PlanSeries::default());
    let known = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let items = items(OPERATION, "Scrape metrics");
    let shown: BTreeSet<_> = items.iter().flat_map(|item| subjects(item)).collect();
    assert_eq!(shown, known.collect());
}

#[test]
fn every_reason_of_a_refusal_is_in_the_list() {
    let items = items(SECURITY, "Know what is refused");
    let shown: BTreeSet<_> = items.iter().flat_map(|item| subjects(item)).collect();
    // `token_api` is in the words below the list.
    let known = Reason::ALL.into_iter().filter(|reason| *reason != Reason::TokenApi);
    assert_eq!(shown, known.map(Reason::as_str).collect());
}

/// A pattern of the one form that the page uses: what it begins with, a class of characters, how
/// many of them.
fn matches(pattern: &str, token: &str) -> bool {
    let (prefix, rest) = pattern.split_once('[').expect("a class");
    let (class, count) = rest.split_once("]{").expect("a count");
    let class: Vec<char> = class.chars().collect();
    let is_in = |c: char| {
        class.split(|c| *c == '-').collect::<Vec<_>>().windows(2).any(|ends| {
            let ends = (ends[0].last().expect("a range"), ends[1].first().expect("a range"));
            (*ends.0..=*ends.1).contains(&c)
        })
    };
    let count: usize = count.trim_end_matches('}').parse().expect("a number");
    token.strip_prefix(prefix).is_some_and(|body| body.len() == count && body.chars().all(is_in))
}

#[test]
fn a_secret_scanner_finds_each_opaque_token_by_the_expression_of_its_style() {
    let tokens = OpaqueTokens::new([&SecretBytes::new([7; 32])]);
    let mint = |prefix: &str, alphabet| {
        tokens.mint(&OpaqueFormat { prefix: prefix.into(), alphabet }).expect("random bytes")
    };
    let formats = [
        ("tenant-tokens", "sk-", Alphabet::Base62),
        ("agent-tokens", "sk_agt_", Alphabet::Hex),
        ("accounts", "rst_", Alphabet::Base36),
    ];
    let rows = rows(TOKEN_APIS, "Find leaked keys with a secret scanner");
    assert_eq!(rows.len(), formats.len());
    for (cells, (style, prefix, alphabet)) in rows.iter().zip(formats) {
        assert_eq!(cells[0][0], style);
        for _ in 0..200 {
            let token: RawToken = mint(prefix, alphabet);
            for other in &rows {
                assert_eq!(
                    matches(&other[1][0], token.expose()),
                    other == cells,
                    "{} of {}",
                    other[1][0],
                    style
                );
            }
        }
    }
}

#[test]
fn the_presets_of_the_documents_are_those_of_the_program() {
    let own = rows("README.md", "What upstreams see");
    let others = rows(SECURITY, "Choose the names of the identity headers");
    assert_eq!((own.len(), others.len()), (10, 7));
    let lower = |cell: &Vec<String>| cell.first().map(|name| name.to_ascii_lowercase());
    for (column, (word, preset)) in Preset::WORDS.iter().enumerate() {
        let is_own = *preset == Preset::Keyward;
        let names = IdentityNames::preset(*preset);
        for (at, (field, header)) in names.fields().into_iter().enumerate() {
            let (row, column) = match others.get(at) {
                Some(row) if !is_own => (row, column),
                // The same in every preset.
                _ => (&own[at], 1),
            };
            let shown = (row[0][0].as_str(), lower(&row[column]));
            assert_eq!(shown, (field, header.map(str::to_owned)), "{word}");
        }
    }
}

#[test]
fn the_limits_of_the_documents_are_those_of_the_example() {
    let items = items(SECURITY, "Bound what clients can use up");
    assert!(items.len() > 20, "{items:?}");
    for item in items {
        let subjects: Vec<_> = subjects(&item).collect();
        let (table, key) = subjects[0].split_once('.').expect("a table and a key");
        let (_, rest) = EXAMPLE.split_once(&format!("\n[{table}]\n")).expect("the table");
        let line =
            rest.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).expect("the key");
        assert_eq!(
            subjects[1],
            line.split(' ').next().unwrap_or_default().trim_matches('"'),
            "{key}"
        );
    }
}
