//! What is wrong with a configuration, and where: every fault at once, in the order of the file.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Everything that is wrong with one configuration; never empty.
///
/// `Display` writes one fault per line, `keyward.toml:12:7: what is wrong`, sorted by place; those
/// without a place (a missing file, a missing table) come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    origin: String,
    list: Vec<Fault>,
}

/// One thing that is wrong: what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is; none where there is nothing to point at.
    pub place: Option<Place>,
    /// For the operator. Holds no secret.
    pub message: String,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// Where the keys of a configuration stand, for faults that show only when it is used.
///
/// A key is named by its path, with the number of each table of an array, from 0:
/// `listener[0].address`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    origin: String,
    known: HashMap<String, Place>,
}

impl Places {
    /// The file, as it was named.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A fault at a key, or at the table that the key would be in.
    #[must_use]
    pub fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        // A fault is one line, whatever a system or a library says.
        let message = message.into().replace(['\n', '\r'], " ");
        Fault { place: innermost(&self.known, key).copied(), message }
    }

    /// A warning at a key, or at the table that the key would be in: one line, as it is shown.
    #[must_use]
    pub fn warning(&self, key: &str, message: impl Into<String>) -> String {
        self.fault(key, message).located(&self.origin)
    }

    /// A single fault at a key.
    #[must_use]
    pub fn one(&self, key: &str, message: impl Into<String>) -> Faults {
        Faults { origin: self.origin.clone(), list: vec![self.fault(key, message)] }
    }

    /// These faults together, in the order of the file.
    ///
    /// # Errors
    ///
    /// The faults, if there is one.
    pub fn conclude(&self, mut list: Vec<Fault>) -> Result<(), Faults> {
        list.sort_by_key(|fault| fault.place);
        list.dedup();
        if list.is_empty() { Ok(()) } else { Err(Faults { origin: self.origin.clone(), list }) }
    }
}

impl Fault {
    /// One line, with the place.
    fn located(&self, origin: &str) -> String {
        let message = &self.message;
        match self.place {
            // A configuration that was not read from a text.
            _ if origin.is_empty() => message.clone(),
            Some(place) => format!("{origin}:{place}: {message}"),
            None => format!("{origin}: {message}"),
        }
    }
}

impl Faults {
    /// A single fault that is about the whole file.
    pub(crate) fn about_file(origin: &str, message: String) -> Self {
        Self { origin: origin.to_owned(), list: vec![Fault { place: None, message }] }
    }

    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.list.iter().map(|fault| fault.located(&self.origin)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Collects faults and warnings while a text is read.
///
/// Shared by reference between sections that are open at the same time, hence the cells.
#[derive(Default)]
pub(crate) struct Findings<'a> {
    text: &'a str,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    /// Every key and every table of an array that was read, by its path.
    given: RefCell<HashMap<String, GivenKey>>,
    /// The paths of keys that unknown ones were probably meant to be.
    slips: RefCell<HashSet<String>>,
}

/// What is remembered of a key that was read.
struct GivenKey {
    /// Where its value stands.
    at: usize,
    /// Whether its value is an empty array.
    is_empty: bool,
    /// Whether a fault was found in it.
    is_wrong: bool,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }

    /// Records a fault at a byte offset of the text; `None`: about the whole.
    pub(crate) fn fault(&self, at: Option<usize>, message: String) {
        let place = at.map(|at| self.line_and_column(at));
        self.faults.borrow_mut().push(Fault { place, message });
    }

    /// Records what is allowed, but is probably a mistake.
    pub(crate) fn warn(&self, at: Option<usize>, message: String) {
        let place = at.map(|at| self.line_and_column(at));
        self.warnings.borrow_mut().push(Fault { place, message });
    }

    pub(super) fn note_given(&self, path: String, at: usize, is_empty: bool) {
        self.given.borrow_mut().insert(path, GivenKey { at, is_empty, is_wrong: false });
    }

    pub(super) fn note_wrong(&self, path: &str) {
        if let Some(given) = self.given.borrow_mut().get_mut(path) {
            given.is_wrong = true;
        }
    }

    /// Notes that an unknown key was probably meant to be this one.
    pub(super) fn note_slip(&self, path: String) {
        self.slips.borrow_mut().insert(path);
    }

    pub(super) fn is_slip(&self, path: &str) -> bool {
        self.slips.borrow().contains(path)
    }

    pub(super) fn is_wrong(&self, path: &str) -> bool {
        self.given.borrow().get(path).is_some_and(|given| given.is_wrong)
    }

    /// Whether a key is there, right or wrong.
    pub(crate) fn is_given(&self, path: &str) -> bool {
        self.given.borrow().contains_key(path)
    }

    /// Whether a key says nothing: absent, or an empty array.
    pub(crate) fn is_silent(&self, path: &str) -> bool {
        self.given.borrow().get(path).is_none_or(|given| given.is_empty)
    }

    /// Where a key stands, or else the innermost table around it that is there.
    pub(crate) fn place(&self, path: &str) -> Option<usize> {
        innermost(&self.given.borrow(), path).map(|given| given.at)
    }

    /// One table, for faults at its keys.
    pub(crate) fn table<'f>(&'f self, path: &'f str) -> Spot<'f> {
        Spot { findings: self, path }
    }

    /// Where all keys stand that were read.
    pub(crate) fn places(&self, origin: &str) -> Places {
        let given = self.given.take();
        let mut noted: Vec<_> = given.into_iter().map(|(path, given)| (path, given.at)).collect();
        noted.sort_by_key(|(_, at)| *at);
        // One walk through the text, however many keys there are.
        let (mut line, mut line_start) = (1, 0);
        let mut known = HashMap::with_capacity(noted.len());
        for (key, at) in noted {
            let passed = self.text.get(line_start..at).unwrap_or_default();
            line += passed.matches('\n').count();
            line_start += passed.rfind('\n').map_or(0, |newline| newline + 1);
            let column = self.text.get(line_start..at).unwrap_or_default().chars().count() + 1;
            known.insert(key, Place { line, column });
        }
        Places { origin: origin.to_owned(), known }
    }

    /// The line at a byte offset, for a fault that names another place.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.line_and_column(at).line
    }

    /// The warnings, a line each, or the faults if there is one.
    pub(crate) fn conclude(self, origin: &str) -> Result<Vec<String>, Faults> {
        let sorted = |list: RefCell<Vec<Fault>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|fault| fault.place);
            list
        };
        let list = sorted(self.faults);
        if !list.is_empty() {
            return Err(Faults { origin: origin.to_owned(), list });
        }
        Ok(sorted(self.warnings).iter().map(|warning| warning.located(origin)).collect())
    }

    fn line_and_column(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

/// A table that was read, for checks of what its keys say together.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'f> {
    pub(crate) findings: &'f Findings<'f>,
    path: &'f str,
}

impl Spot<'_> {
    fn key(&self, key: &str) -> String {
        below(self.path, key)
    }

    /// Where it begins.
    pub(crate) fn at(&self) -> Option<usize> {
        self.findings.place(self.path)
    }

    /// Where the value of a key stands, or else the table.
    pub(crate) fn place(&self, key: &str) -> Option<usize> {
        self.findings.place(&self.key(key))
    }

    /// Whether a key is there, right or wrong.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.findings.is_given(&self.key(key))
    }

    /// Whether a key says nothing: absent, or an empty array.
    pub(crate) fn is_silent(&self, key: &str) -> bool {
        self.findings.is_silent(&self.key(key))
    }

    /// Whether a fault was found in the value of a key when it was read.
    pub(crate) fn is_wrong(&self, key: &str) -> bool {
        self.findings.is_wrong(&self.key(key))
    }

    /// Records a fault at the value of a key.
    pub(crate) fn fault(&self, key: &str, message: impl Into<String>) {
        self.findings.fault(self.place(key), message.into());
    }

    /// Records a fault at each of these keys that is there; the words follow the key's name.
    pub(crate) fn refuse_given(&self, keys: &[&str], words: &str) {
        for key in keys.iter().filter(|key| self.is_given(key)) {
            self.fault(key, format!("{key:?} {words}"));
        }
    }

    /// Records what is allowed at a key, but is probably a mistake.
    pub(crate) fn warn(&self, key: &str, message: impl Into<String>) {
        self.findings.warn(self.place(key), message.into());
    }

    /// Records that a key is missing, unless an unknown key was probably meant to be it.
    pub(crate) fn miss(&self, key: &str, message: impl Into<String>) {
        if !self.findings.is_slip(&self.key(key)) {
            self.fault(key, message);
        }
    }
}

/// The path of a key in a table; the path of the file is empty.
pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What is known of a key, or else of the innermost table around it that is there.
fn innermost<'k, T>(known: &'k HashMap<String, T>, mut path: &str) -> Option<&'k T> {
    loop {
        if let Some(found) = known.get(path) {
            return Some(found);
        }
        path = path.get(..path.rfind(['.', '['])?)?;
    }
}

/// The candidate that was probably meant; none where a guess would be far-fetched.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // One slip in a short word, one in three characters in a long one: a guess beyond that would
    // mislead.
    let allowed = (word.chars().count() / 3).max(1);
    // Case and dashes are slips of style, not of spelling.
    let plain = word.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let spelled = candidate.to_ascii_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&plain, &spelled), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What was typed, for a message: quoted, escaped, cut to a line, and without a password in a URL.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let masked = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (head, tail) = (text.get(..scheme), text.get(at..));
            format!("{}://[secret]{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        _ => text.to_owned(),
    };
    match masked.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{:?}…", masked.get(..cut).unwrap_or_default()),
        None => format!("{masked:?}"),
    }
}
