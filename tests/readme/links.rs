//! What pages name: other pages, headings, files of the repository, targets of make.

use std::fs;
use std::path::Path;

use crate::page::{GENERATED, PAGES, blocks, code, page, prose};

const MAKEFILE: &str = include_str!("../../Makefile");

/// The place of a heading in a page, as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in PAGES {
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            if target.starts_with("https://") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let beside = Path::new(name).parent().unwrap_or(Path::new(""));
            let path = match file.strip_prefix("../") {
                _ if file.is_empty() => name.to_owned(),
                Some(above) => above.to_owned(),
                None => beside.join(file).display().to_string(),
            };
            if path == GENERATED {
                continue;
            }
            assert!(folder.join(&path).is_file(), "{name}: {target}");
            if !place.is_empty() {
                let mut headings = page(&path).lines().filter_map(|line| line.strip_prefix("## "));
                assert!(headings.any(|heading| anchor(heading) == place), "{name}: {target}");
            }
        }
    }
}

#[test]
fn every_file_and_every_target_of_make_that_a_page_names_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_source = |code: &&str| {
        let folders = ["src/", "tests/", "docs/", "bench/", "deploy/", "examples/", "fuzz/"];
        folders.iter().any(|folder| code.starts_with(folder)) && *code != GENERATED
    };
    for (name, text) in PAGES {
        let prose = prose(text);
        for path in code(&prose).filter(is_source) {
            assert!(folder.join(path).exists(), "{name}: {path}");
        }
        let shell = blocks(text).into_iter().filter(|(kind, _)| *kind == "sh");
        let lines = shell.flat_map(|(_, lines)| lines.lines()).chain(code(&prose));
        for line in lines.filter_map(|line| line.strip_prefix("make ")) {
            let target = line.split(' ').next().unwrap_or_default();
            assert!(MAKEFILE.contains(&format!("\n{target}:")), "{name}: make {target}");
        }
    }
}

#[test]
fn every_page_is_held_to_the_program_and_fits_on_a_screen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for file in fs::read_dir(folder).expect("a folder") {
        let name = format!("docs/{}", file.expect("a file").file_name().display());
        let is_held = name == GENERATED || PAGES.iter().any(|(known, _)| *known == name);
        assert!(is_held, "{name} is not in the list of pages");
    }
    for (name, text) in PAGES {
        for (number, line) in (1..).zip(text.lines()) {
            assert!(line.chars().count() <= 100, "{name}:{number} is longer than 100 columns");
        }
    }
    assert!(page("README.md").lines().count() <= 200, "the README is for the first hour");
}
