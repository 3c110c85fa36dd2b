//! Reads the sources and keeps the imports between the layers one way:
//!
//! domain ← tokens ← {store, api} · wire ← {upstream, api} ← gateway ← server · files ← tls ←
//! {store, upstream, server} · limits ← {store, gateway} · settings ← the parts that declare their
//! settings ← config. Only app, cli and main import config; only app knows every part. Each outside
//! library that the core must not know is named in one place. The imports of the files of one layer
//! make no circle: see [`circles`].
//!
//! The sources are read as text: paths that begin at the crate (`crate::`, or `super::` up to it)
//! are followed, comments and literals are not. It is a guard against slips, not a compiler.

mod circles;
mod pieces;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use circles::{Crate, circles, in_words};
use pieces::{Piece, Placed, pieces};

/// A layer, and the layers that it may import from.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("files", &[]),
    ("settings", &[]),
    ("tls", &["files"]),
    ("telemetry", &["domain", "settings"]),
    (
        "config",
        &[
            "domain",
            "files",
            "settings",
            "tls",
            "telemetry",
            "limits",
            "tokens",
            "store",
            "wire",
            "upstream",
            "gateway",
            "server",
            "admin",
        ],
    ),
    ("wire", &["domain", "settings", "telemetry"]),
    ("tokens", &["domain", "settings", "telemetry"]),
    ("limits", &["domain", "settings", "telemetry"]),
    ("store", &["domain", "files", "limits", "settings", "tokens", "tls", "telemetry"]),
    ("upstream", &["domain", "settings", "wire", "tls", "telemetry"]),
    ("api", &["domain", "tokens", "wire", "telemetry"]),
    ("gateway", &["domain", "limits", "tokens", "wire", "api", "upstream", "telemetry"]),
    (
        "server",
        &["domain", "settings", "tokens", "wire", "gateway", "upstream", "tls", "telemetry"],
    ),
    ("admin", &["domain", "settings", "tokens", "wire", "telemetry"]),
    ("cli", &["domain", "files", "tokens", "admin", "config", "telemetry"]),
    ("app", EVERY_LAYER),
    ("fuzzing", EVERY_LAYER),
    ("main", &["cli", "app"]),
    ("lib", EVERY_LAYER),
];

/// What `app` may import: it puts the parts together.
const EVERY_LAYER: &[&str] = &[
    "domain",
    "files",
    "settings",
    "tls",
    "telemetry",
    "config",
    "wire",
    "tokens",
    "limits",
    "store",
    "upstream",
    "api",
    "gateway",
    "server",
    "admin",
    "cli",
];

/// An outside crate, and the only places whose files may name it: a place is a module, as a file or
/// as a directory.
const KEPT_CRATES: &[(&str, &[&str])] = &[
    ("compression_codecs", &["src/gateway/compression"]),
    ("jsonwebtoken", &["src/tokens/jwt", "src/tokens/signed"]),
    ("listenfd", &["src/app/service_manager"]),
    ("redis", &["src/store/redis"]),
    ("rusqlite", &["src/store/embedded"]),
    ("sd_notify", &["src/app/service_manager"]),
];

/// Outside crates that the core must not know, and the core.
const FOREIGN_TO_THE_CORE: &[&str] =
    &["http", "http_body", "http_body_util", "httparse", "hyper", "hyper_util"];
const CORE: &[&str] = &["domain", "limits", "tokens", "store"];

/// What a file imports: modules at the root of the crate, and outside crates, each with its line.
#[derive(Default)]
struct Imports {
    layers: BTreeSet<(String, usize)>,
    crates: BTreeSet<(String, usize)>,
}

struct Reader<'a> {
    pieces: &'a [Placed],
    imports: Imports,
}

impl Reader<'_> {
    fn piece(&self, index: usize) -> Option<&Piece> {
        self.pieces.get(index).map(|(piece, _)| piece)
    }

    fn word(&self, index: usize) -> Option<&str> {
        match self.piece(index) {
            Some(Piece::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Follows the path at `index` from a module `depth` levels below the root, and notes every
    /// module at the root that it goes through.
    fn follow(&mut self, index: usize, depth: usize) {
        match self.piece(index).cloned() {
            Some(Piece::Word(word)) => {
                let depth = match word.as_str() {
                    "crate" => 0,
                    "super" => depth.saturating_sub(1),
                    "self" => depth,
                    _ if depth == 0 => {
                        let line = self.pieces.get(index).map_or(0, |(_, line)| *line);
                        self.imports.layers.insert((word, line));
                        return;
                    }
                    _ => return,
                };
                if self.piece(index + 1) == Some(&Piece::Path) {
                    self.follow(index + 2, depth);
                }
            }
            Some(Piece::Sign('{')) => {
                let (mut index, mut level) = (index + 1, 0_usize);
                let mut is_first = true;
                while let Some(piece) = self.piece(index) {
                    match piece {
                        Piece::Sign('{') => level += 1,
                        Piece::Sign('}') if level == 0 => return,
                        Piece::Sign('}') => level -= 1,
                        _ => {}
                    }
                    let is_comma = piece == &Piece::Sign(',');
                    if is_first {
                        self.follow(index, depth);
                    }
                    is_first = level == 0 && is_comma;
                    index += 1;
                }
            }
            _ => {}
        }
    }

    fn read(mut self, file_depth: usize, is_main: bool) -> Imports {
        // The braces at which modules written within the file were opened.
        let (mut braces, mut modules) = (0_usize, Vec::new());
        for index in 0..self.pieces.len() {
            let continues =
                index.checked_sub(1).is_some_and(|before| self.piece(before) == Some(&Piece::Path));
            let leads = self.piece(index + 1) == Some(&Piece::Path);
            match self.piece(index).cloned() {
                Some(Piece::Sign('{')) => {
                    braces += 1;
                    let opens_module =
                        index.checked_sub(2).is_some_and(|mod_at| self.word(mod_at) == Some("mod"));
                    if opens_module {
                        modules.push(braces);
                    }
                }
                Some(Piece::Sign('}')) => {
                    if modules.last() == Some(&braces) {
                        modules.pop();
                    }
                    braces = braces.saturating_sub(1);
                }
                Some(Piece::Word(word)) if !continues && (leads || self.imported_whole(index)) => {
                    match word.as_str() {
                        "crate" | "super" => self.follow(index, file_depth + modules.len()),
                        "keyward" if is_main => self.follow(index + 2, 0),
                        _ => {
                            let line = self.pieces.get(index).map_or(0, |(_, line)| *line);
                            self.imports.crates.insert((word, line));
                        }
                    }
                }
                _ => {}
            }
        }
        self.imports
    }

    /// `use name;` and `use name as other;`
    fn imported_whole(&self, index: usize) -> bool {
        index.checked_sub(1).is_some_and(|before| self.word(before) == Some("use"))
    }
}

/// The layer of a file under `src/`, and how many modules deep it is.
fn place(path: &str) -> (String, usize) {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let layer = inner.split('/').next().unwrap_or(inner).to_owned();
    let depth = if layer == "main" || layer == "lib" { 0 } else { inner.split('/').count() };
    (layer, depth)
}

/// Everything that goes against the arrows in one file, in words.
fn violations(path: &str, source: &str) -> Vec<String> {
    let (layer, depth) = place(path);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!(
            "{path}: there is no layer named {layer}: give it a place among the arrows"
        )];
    };
    let pieces = pieces(source);
    let imports =
        Reader { pieces: &pieces, imports: Imports::default() }.read(depth, layer == "main");
    let mut found = Vec::new();
    for (import, line) in imports.layers {
        let is_layer = LAYERS.iter().any(|(name, _)| *name == import);
        if is_layer && import != layer && !allowed.contains(&import.as_str()) {
            found.push(format!("{path}:{line}: {layer} must not import from {import}"));
        }
    }
    for (name, line) in imports.crates {
        let kept = KEPT_CRATES.iter().find(|(kept, _)| *kept == name);
        let is_at_home =
            |place: &&str| path == format!("{place}.rs") || path.starts_with(&format!("{place}/"));
        if kept.is_some_and(|(_, places)| !places.iter().any(is_at_home)) {
            found.push(format!(
                "{path}:{line}: {name} is for {} alone",
                kept.map_or_else(String::new, |(_, places)| places.join(", "))
            ));
        }
        if CORE.contains(&layer.as_str()) && FOREIGN_TO_THE_CORE.contains(&name.as_str()) {
            found.push(format!("{path}:{line}: {layer} must not know {name}"));
        }
    }
    found
}

/// Every Rust file under `directory`, as its path from the crate's root and its text.
fn sources(root: &Path, directory: &Path, into: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(root, &path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            into.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

#[test]
fn the_arrows_between_the_layers_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(root, &root.join("src"), &mut files).expect("the sources can be read");
    assert!(
        files.iter().any(|(path, _)| path == "src/domain/record.rs"),
        "the sources were found: {files:?}"
    );
    let found: Vec<String> =
        files.iter().flat_map(|(path, source)| violations(path, source)).collect();
    assert!(found.is_empty(), "against the arrows:\n{}", found.join("\n"));
}

#[test]
fn every_way_to_write_a_wrong_import_is_caught() {
    for (path, source) in [
        ("src/domain/record.rs", "use crate::tokens::Store;"),
        ("src/domain/record.rs", "fn f() { let x = crate::wire::json(); }"),
        ("src/domain/record.rs", "use super::super::tokens::Store;"),
        ("src/domain/mod.rs", "use super::tokens;"),
        ("src/domain/mod.rs", "mod tests { use super::super::tokens; }"),
        (
            "src/domain/record.rs",
            "mod tests { mod deeper { fn f() {} } use super::super::super::tokens; }",
        ),
        ("src/tokens/service.rs", "use crate::{domain::Record, store::embedded::Embedded};"),
        ("src/tokens/service.rs", "use crate::{\n    domain::{Record, time},\n    store,\n};"),
        ("src/tokens/service.rs", "use super::{store, super::api::Face};"),
        ("src/wire/json.rs", "impl From<crate::tokens::Error> for Problem {}"),
        ("src/upstream/pool.rs", "use crate::gateway::Exchange;"),
        ("src/api/face.rs", "use crate::upstream::Pool;"),
        ("src/gateway/mod.rs", "use crate::server::Worker;"),
        ("src/gateway/mod.rs", "use crate::config::Config;"),
        ("src/server/tls.rs", "pub(crate) use crate::config::Tls as T;"),
        ("src/admin/probes.rs", "use crate::store::embedded;"),
        ("src/cli/run.rs", "use crate::app;"),
        ("src/main.rs", "use keyward::config::load;"),
        ("src/main.rs", "fn main() { keyward::store::open(); }"),
        ("src/store/embedded/mod.rs", "use crate::wire; // and a comment"),
        ("src/store/redis.rs", "use rusqlite::Connection;"),
        ("src/store/embedded_things.rs", "use rusqlite as sql;"),
        ("src/tokens/service.rs", "fn f() { jsonwebtoken::decode(); }"),
        ("src/tokens/service.rs", "use http::StatusCode;"),
        ("src/tls/server.rs", "use crate::config::Listener;"),
        ("src/misc.rs", ""),
        ("src/util/mod.rs", ""),
    ] {
        assert_eq!(
            violations(path, source).len(),
            1,
            "{path}: {source}: {:?}",
            violations(path, source)
        );
    }
}

#[test]
fn a_violation_is_named_by_file_and_line() {
    let source = "//! A file.\n\n/* over\ntwo lines */\nuse crate::domain::Record;\n\
                  use crate::store::embedded;\n";
    assert_eq!(
        violations("src/gateway/run.rs", source),
        ["src/gateway/run.rs:6: gateway must not import from store"]
    );
}

#[test]
fn what_is_no_import_is_not_taken_for_one() {
    for (path, source) in [
        ("src/domain/record.rs", "// use crate::tokens::Store;"),
        ("src/domain/record.rs", "/// See [`crate::tokens::Store`].\nstruct A;"),
        ("src/domain/record.rs", "/* a /* nested */ crate::tokens::Store */"),
        ("src/domain/record.rs", "const A: &str = \"\\\" crate::tokens::Store\";"),
        ("src/domain/record.rs", "const A: &str = r#\"\" crate::tokens::Store\"#;"),
        (
            "src/domain/record.rs",
            "const A: char = '\"'; const B: char = '\\''; // crate::tokens::Store \"",
        ),
        ("src/domain/record.rs", "fn f<'a>(x: &'a str) {} use crate::domain::{Record, tokens};"),
        ("src/domain/record.rs", "use super::tokens::Mine;"),
        ("src/tokens/mod.rs", "mod tests { use super::store::Store; use super::*; }"),
        (
            "src/tokens/mod.rs",
            "pub mod store; pub use store::Store; use self::store::Filter; pub(crate) fn f() {}",
        ),
        ("src/tokens/signed.rs", "use jsonwebtoken::decode;"),
        ("src/tokens/signed/hs256.rs", "use jsonwebtoken::decode;"),
        ("src/store/embedded/mod.rs", "use rusqlite::Connection; use crate::tokens::store::Store;"),
        ("src/gateway/forward.rs", "use http::StatusCode; use crate::{api, upstream, wire};"),
        ("src/app.rs", "use crate::{admin, api, cli, config, gateway, server, store};"),
        ("src/main.rs", "use keyward::{app::App, cli}; fn main() { keyward::cli::main(&App); }"),
        ("src/lib.rs", "pub mod domain; pub use crate::domain::Record;"),
    ] {
        assert_eq!(violations(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}

/// Files whose circles are left open for now, by the beginning of their paths, and why.
const EXEMPT: &[(&str, &str)] =
    &[("src/settings/", "a table is read key by key, and a key may be a table")];

/// The circles of a crate, in words, each with whether it is exempt and by which rule.
fn circles_of(files: &[(String, String)]) -> Vec<(String, Option<&'static str>)> {
    let edges = Crate::read(files).edges();
    let exemption = |circle: &BTreeSet<String>| {
        let beginnings = EXEMPT.iter().map(|(beginning, _)| *beginning);
        beginnings
            .into_iter()
            .find(|beginning| circle.iter().all(|file| file.starts_with(beginning)))
    };
    circles(&edges).iter().map(|circle| (in_words(circle, &edges), exemption(circle))).collect()
}

#[test]
fn no_imports_of_files_make_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(root, &root.join("src"), &mut files).expect("the sources can be read");
    let found = circles_of(&files);
    let open: Vec<_> = found.iter().filter(|(_, rule)| rule.is_none()).collect();
    let words: Vec<_> = open.iter().map(|(words, _)| words.as_str()).collect();
    assert!(open.is_empty(), "{}", words.join("\n"));
    for (beginning, reason) in EXEMPT {
        assert!(
            found.iter().any(|(_, rule)| *rule == Some(*beginning)),
            "no circle begins with {beginning} any more, so the exemption goes: {reason}"
        );
    }
}

/// A crate of two or three files, as their paths and texts.
fn small_crate(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn every_way_to_write_a_circle_is_caught() {
    for files in [
        // By full paths, by `super`, and in the middle of code.
        &[
            ("src/a/one.rs", "use crate::a::two::Two; pub struct One;"),
            ("src/a/two.rs", "use crate::a::one::One; pub struct Two;"),
        ][..],
        &[
            ("src/a/one.rs", "use super::two::{self, Three}; pub struct One;"),
            ("src/a/two.rs", "fn f(one: super::one::One) {} pub struct Three;"),
        ],
        &[
            ("src/a/one.rs", "use super::two; fn f() { two::g() }"),
            ("src/a/two.rs", "use super::one as other; fn g() { other::f() }"),
        ],
        // A module root that uses its child, which uses an item of the root.
        &[
            ("src/a/mod.rs", "mod one; fn f() { one::g() } struct Shared;"),
            ("src/a/one.rs", "use super::Shared; pub fn g() {}"),
        ],
        &[
            ("src/a.rs", "mod one; pub use one::One; struct Shared(One);"),
            ("src/a/one.rs", "use super::*; pub struct One;"),
        ],
        // Hidden behind re-exports of the root.
        &[
            ("src/a/mod.rs", "mod one; mod two; pub use one::One; pub(crate) use two::Two;"),
            ("src/a/one.rs", "use super::Two; pub struct One;"),
            ("src/a/two.rs", "use crate::a::One; pub struct Two;"),
        ],
        &[
            ("src/a/mod.rs", "mod one; mod two; pub use self::one::*; pub use two::Two;"),
            ("src/a/one.rs", "use crate::a; fn f(two: a::Two) {} pub struct One;"),
            ("src/a/two.rs", "use super::One; pub struct Two;"),
        ],
    ] {
        assert_eq!(circles_of(&small_crate(files)).len(), 1, "{files:?}");
    }
}

#[test]
fn what_makes_no_circle_is_not_taken_for_one() {
    for files in [
        // The root declares and re-exports; it uses nothing.
        &[
            ("src/a/mod.rs", "mod one; pub use one::One; pub struct Shared;"),
            ("src/a/one.rs", "use super::Shared; pub struct One;"),
        ][..],
        // Through the root to a third file.
        &[
            ("src/a/mod.rs", "mod one; mod two; pub use two::Two; fn f() { one::g() }"),
            ("src/a/one.rs", "use super::Two; pub fn g() {}"),
            ("src/a/two.rs", "pub struct Two;"),
        ],
        // Tests look at both sides.
        &[
            ("src/a/one.rs", "use super::two::Two; pub struct One;"),
            ("src/a/two.rs", "pub struct Two; #[cfg(test)] mod tests { use crate::a::one::One; }"),
        ],
        &[
            ("src/a/mod.rs", "mod one; #[cfg(test)] mod tests; fn f() { one::g() }"),
            ("src/a/one.rs", "pub fn g() {}"),
            ("src/a/tests.rs", "use super::*; use super::one::g;"),
        ],
        // A module of that name in an outside crate.
        &[
            ("src/a/one.rs", "use hyper::server::conn::two; fn f() { two::g() } pub struct One;"),
            ("src/a/two.rs", "use super::one::One; fn g() {}"),
        ],
    ] {
        assert_eq!(circles_of(&small_crate(files)), [], "{files:?}");
    }
}

#[test]
fn a_circle_is_told_by_its_files_and_the_lines_that_make_it() {
    let files = small_crate(&[
        ("src/a/one.rs", "//! One.\nuse crate::a::two::Two;\npub struct One;"),
        ("src/a/two.rs", "use crate::a::one::One;\npub struct Two;"),
        ("src/a/three.rs", "use crate::a::one::One;"),
    ]);
    let edges = Crate::read(&files).edges();
    let words: Vec<_> = circles(&edges).iter().map(|circle| in_words(circle, &edges)).collect();
    assert_eq!(
        words,
        ["a circle of 2 files:\n  src/a/one.rs:2 imports src/a/two.rs\n  \
          src/a/two.rs:1 imports src/a/one.rs"]
    );
}
