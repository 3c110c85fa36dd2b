//! Finds circles among the imports of files.
//!
//! A file imports another file if it uses an item that is defined there. These are the rules:
//!
//! * Paths are resolved to the file that defines the item: through `crate::`, `super::`, `self::`,
//!   through names that a `use` of the file brings in, and through re-exports of module roots.
//!   So a module root that re-exports an item neither hides a circle nor makes one.
//! * `mod child;` is no import: a module root declares its children without using them. `pub use`
//!   (and `pub(crate) use`) of an item that the file does not use itself is no import either.
//! * A path that names a module and no item in it, such as `use super::respond;`, is no import; the
//!   paths that begin with that name are.
//! * `use super::Item`, where the parent file defines `Item`, is an import of the parent file.
//! * A `use` with `*` is an import of the module's root.
//! * Tests are left out: what stands behind `#[cfg(test)]`, in the file or in files of its own.
//!
//! The sources are read as text. Calls of methods are not seen, and neither are paths that a macro
//! makes.

use std::collections::{BTreeMap, BTreeSet};

use crate::pieces::{Piece, Placed, pieces};

/// A module, as the names that lead to it from the root of the crate.
type Module = Vec<String>;

/// What one `use` brings in.
#[derive(Clone, Debug)]
struct Imported {
    path: Vec<String>,
    name: String,
    is_glob: bool,
    is_public: bool,
    line: usize,
}

/// What is known of one file.
#[derive(Debug, Default)]
struct File {
    path: String,
    module: Module,
    uses: Vec<Imported>,
    /// Paths in code, each with its line.
    paths: Vec<(Vec<String>, usize)>,
    /// Words in code, outside of `use`.
    words: BTreeSet<String>,
    /// Modules that are declared here for tests alone.
    test_modules: Vec<Module>,
}

/// The files of a crate, by their modules.
pub(crate) struct Crate {
    files: BTreeMap<Module, File>,
}

/// One import: from a file, to a file, and the first line that makes it.
pub(crate) type Edges = BTreeMap<(String, String), usize>;

impl Crate {
    /// Reads sources, each given as its path from the crate's root and its text.
    pub(crate) fn read(sources: &[(String, String)]) -> Self {
        let mut files = BTreeMap::new();
        for (path, source) in sources {
            let file = read_file(path, &pieces(source));
            files.insert(file.module.clone(), file);
        }
        let tests: Vec<Module> =
            files.values().flat_map(|file: &File| file.test_modules.clone()).collect();
        files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { files }
    }

    /// Every import from one file to another.
    pub(crate) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for file in self.files.values() {
            let mut note = |targets: BTreeSet<String>, line: usize| {
                for target in targets {
                    if target != file.path {
                        edges.entry((file.path.clone(), target)).or_insert(line);
                    }
                }
            };
            for used in &file.uses {
                if used.is_public && !file.words.contains(&used.name) {
                    continue;
                }
                note(self.resolve(&file.module, &used.path, used.is_glob, 0), used.line);
            }
            for (path, line) in &file.paths {
                note(self.resolve(&file.module, path, false, 0), *line);
            }
        }
        edges
    }

    /// The files that define what `path` names, seen from `module`: none if it is outside of the
    /// crate or a module itself, more than one if a name stands for two things.
    fn resolve(
        &self,
        module: &Module,
        path: &[String],
        is_glob: bool,
        depth: usize,
    ) -> BTreeSet<String> {
        let Some((first, rest)) = path.split_first() else { return BTreeSet::new() };
        if depth > 16 {
            return BTreeSet::new();
        }
        match first.as_str() {
            "crate" => self.walk(&Vec::new(), rest, is_glob, depth),
            "self" => self.walk(module, rest, is_glob, depth),
            "super" => {
                let parent = module.split_last().map_or_else(Vec::new, |(_, parent)| parent.into());
                match rest.first().map(String::as_str) {
                    Some("super") => self.resolve(&parent, rest, is_glob, depth + 1),
                    _ => self.walk(&parent, rest, is_glob, depth),
                }
            }
            _ => {
                let is_child = self.is_module(&child(module, first));
                let is_used = self.uses(module).any(|used| used.name == *first && !used.is_glob);
                if is_child || is_used {
                    self.walk(module, path, is_glob, depth)
                } else {
                    BTreeSet::new()
                }
            }
        }
    }

    fn walk(
        &self,
        module: &Module,
        path: &[String],
        is_glob: bool,
        depth: usize,
    ) -> BTreeSet<String> {
        let Some((first, rest)) = path.split_first() else {
            let root = self.files.get(module).filter(|_| is_glob);
            return root.into_iter().map(|file| file.path.clone()).collect();
        };
        let mut found = BTreeSet::new();
        let next = child(module, first);
        let is_module = self.is_module(&next);
        if is_module {
            found.extend(self.walk(&next, rest, is_glob, depth));
        }
        let mut is_used = false;
        for used in self.uses(module).filter(|used| !used.is_glob && used.name == *first) {
            // `use self::name` of a child, and a name that is both: one step is enough.
            is_used = true;
            let longer: Vec<String> = used.path.iter().chain(rest).cloned().collect();
            if longer.first() != Some(first) || depth < 8 {
                found.extend(self.resolve_use(module, &longer, first, is_glob, depth + 1));
            }
        }
        if !is_module && !is_used {
            for glob in self.uses(module).filter(|used| used.is_glob && used.is_public) {
                let longer: Vec<String> = glob.path.iter().chain(path).cloned().collect();
                found.extend(self.resolve(module, &longer, is_glob, depth + 1));
            }
            if found.is_empty() {
                found.extend(self.files.get(module).map(|file| file.path.clone()));
            }
        }
        found
    }

    /// Resolves the path of a `use`, whose first name may be a child or an outside crate, but is
    /// not the name that the `use` itself brings in.
    fn resolve_use(
        &self,
        module: &Module,
        path: &[String],
        name: &str,
        is_glob: bool,
        depth: usize,
    ) -> BTreeSet<String> {
        match path.split_first() {
            Some((first, rest)) if first == name => {
                let next = child(module, first);
                if self.is_module(&next) {
                    self.walk(&next, rest, is_glob, depth)
                } else {
                    BTreeSet::new()
                }
            }
            _ => self.resolve(module, path, is_glob, depth),
        }
    }

    /// Whether this is a module with a file, of its own or of one within it.
    fn is_module(&self, module: &Module) -> bool {
        let first = self.files.range(module.clone()..).next();
        first.is_some_and(|(found, _)| found.starts_with(module))
    }

    fn uses(&self, module: &Module) -> impl Iterator<Item = &Imported> {
        self.files.get(module).into_iter().flat_map(|file| &file.uses)
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// The module that a file under `src/` is.
fn module_of(path: &str) -> Module {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    if inner == "lib" { Vec::new() } else { inner.split('/').map(str::to_owned).collect() }
}

struct Source<'a> {
    pieces: &'a [Placed],
}

impl Source<'_> {
    fn piece(&self, index: usize) -> Option<&Piece> {
        self.pieces.get(index).map(|(piece, _)| piece)
    }

    fn word(&self, index: usize) -> Option<&str> {
        match self.piece(index) {
            Some(Piece::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_sign(&self, index: usize, sign: char) -> bool {
        self.piece(index) == Some(&Piece::Sign(sign))
    }

    fn line(&self, index: usize) -> usize {
        self.pieces.get(index).map_or(0, |(_, line)| *line)
    }

    /// The index behind the bracket that closes the one at `index`.
    fn behind_brackets(&self, mut index: usize, open: char, close: char) -> usize {
        let mut level = 0_usize;
        while index < self.pieces.len() {
            if self.is_sign(index, open) {
                level += 1;
            } else if self.is_sign(index, close) {
                level -= 1;
                if level == 0 {
                    return index + 1;
                }
            }
            index += 1;
        }
        index
    }

    /// Whether an attribute that leaves an item to tests alone begins at `index`, and where the
    /// attribute ends.
    fn test_attribute(&self, index: usize) -> Option<usize> {
        let is_attribute = self.is_sign(index, '#') && self.is_sign(index + 1, '[');
        let is_for_tests = is_attribute
            && self.word(index + 2) == Some("cfg")
            && (self.word(index + 4) == Some("test")
                || (self.word(index + 4) == Some("any") && self.word(index + 6) == Some("test")));
        is_for_tests.then(|| self.behind_brackets(index + 1, '[', ']'))
    }

    /// The index behind the item that begins at `index`, its attributes included.
    fn behind_item(&self, mut index: usize) -> usize {
        while self.is_sign(index, '#') && self.is_sign(index + 1, '[') {
            index = self.behind_brackets(index + 1, '[', ']');
        }
        while index < self.pieces.len() {
            if self.is_sign(index, ';') || self.is_sign(index, ',') {
                return index + 1;
            } else if self.is_sign(index, '(') {
                index = self.behind_brackets(index, '(', ')');
            } else if self.is_sign(index, '{') {
                return self.behind_brackets(index, '{', '}');
            } else {
                index += 1;
            }
        }
        index
    }

    /// Reads the tree of a `use` from `index`, and returns the index of what ends it.
    fn read_use(
        &self,
        mut index: usize,
        before: &[String],
        is_public: bool,
        into: &mut Vec<Imported>,
    ) -> usize {
        let line = self.line(index);
        let mut path = before.to_vec();
        let mut note = |path: Vec<String>, name: String, is_glob| {
            into.push(Imported { path, name, is_glob, is_public, line });
        };
        loop {
            match self.piece(index) {
                Some(Piece::Word(word)) if word == "as" => {
                    let name = self.word(index + 1).unwrap_or_default().to_owned();
                    note(path, name, false);
                    return index + 2;
                }
                Some(Piece::Word(word)) => {
                    if word != "self" || path.is_empty() {
                        path.push(word.clone());
                    }
                    index += 1;
                }
                Some(Piece::Path) => index += 1,
                Some(Piece::Sign('*')) => {
                    note(path, String::new(), true);
                    return index + 1;
                }
                Some(Piece::Sign('{')) => {
                    index += 1;
                    while !self.is_sign(index, '}') && index < self.pieces.len() {
                        index = self.read_use(index, &path, is_public, into);
                        if self.is_sign(index, ',') {
                            index += 1;
                        }
                    }
                    return index + 1;
                }
                _ => {
                    let name = path.last().cloned().unwrap_or_default();
                    note(path, name, false);
                    return index;
                }
            }
        }
    }
}

fn read_file(path: &str, pieces: &[Placed]) -> File {
    let source = Source { pieces };
    let mut file = File { path: path.to_owned(), module: module_of(path), ..File::default() };
    let mut index = 0;
    while index < pieces.len() {
        if let Some(behind) = source.test_attribute(index) {
            let declared = (behind..behind + 8)
                .find(|&at| source.word(at) == Some("mod"))
                .filter(|&at| source.is_sign(at + 2, ';'))
                .and_then(|at| source.word(at + 1));
            file.test_modules.extend(declared.map(|name| child(&file.module, name)));
            index = source.behind_item(behind);
            continue;
        }
        let Some(word) = source.word(index) else {
            index += 1;
            continue;
        };
        let before = index.checked_sub(1);
        if word == "use" {
            let is_public =
                before.is_some_and(|at| source.word(at) == Some("pub") || source.is_sign(at, ')'));
            index = source.read_use(index + 1, &[], is_public, &mut file.uses);
            continue;
        }
        let continues = before.is_some_and(|at| source.piece(at) == Some(&Piece::Path));
        file.words.insert(word.to_owned());
        if !continues && source.piece(index + 1) == Some(&Piece::Path) {
            let mut path = vec![word.to_owned()];
            let line = source.line(index);
            let mut at = index + 1;
            while source.piece(at) == Some(&Piece::Path) {
                let Some(next) = source.word(at + 1) else { break };
                path.push(next.to_owned());
                at += 2;
            }
            file.paths.push((path, line));
        }
        index += 1;
    }
    file
}

/// The circles among the files: each is a largest set of files in which every file reaches every
/// other by imports.
pub(crate) fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().insert(to);
    }
    let reached = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = open.pop() {
            for &to in next.get(file.as_str()).into_iter().flatten() {
                if seen.insert(to.to_owned()) {
                    open.push(to.to_owned());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<String>> =
        next.keys().map(|&file| (file, reached(file))).collect();
    let mut found = BTreeSet::new();
    for (&file, files) in &reach {
        if files.contains(file) {
            let circle: BTreeSet<String> = files
                .iter()
                .filter(|other| reach.get(other.as_str()).is_some_and(|back| back.contains(file)))
                .cloned()
                .collect();
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// A circle in words: its files, and under each the imports that stay within the circle.
pub(crate) fn in_words(circle: &BTreeSet<String>, edges: &Edges) -> String {
    let mut text = format!("a circle of {} files:", circle.len());
    for ((from, to), line) in edges {
        if circle.contains(from) && circle.contains(to) {
            text.push_str(&format!("\n  {from}:{line} imports {to}"));
        }
    }
    text
}
