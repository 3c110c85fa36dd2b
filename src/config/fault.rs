//! What is wrong with a configuration, and where: every fault at once, in the order of the file.

use std::cell::RefCell;
#[cfg(test)]
use std::collections::BTreeSet;
use std::collections::HashMap;
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
    /// In words, for the one who typed it. Holds no secret.
    pub message: String,
}

/// A place in a text. Lines and columns count from 1, columns in characters.
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

    /// A fault at a key. Where the key is not given, it is at the table that the key would be in.
    #[must_use]
    pub fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        // A fault is one line, whatever a system or a library says.
        let message = message.into().replace(['\n', '\r'], " ");
        Fault { place: self.place(key), message }
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

    fn place(&self, key: &str) -> Option<Place> {
        let mut key = key;
        loop {
            if let Some(place) = self.known.get(key) {
                return Some(*place);
            }
            key = key.get(..key.rfind(['.', '['])?)?;
        }
    }
}

impl Faults {
    /// A single fault that is about the whole file.
    pub(super) fn about_file(origin: &str, message: String) -> Self {
        Self { origin: origin.to_owned(), list: vec![Fault { place: None, message }] }
    }

    /// The faults, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&located(&self.origin, fault.place, &fault.message))?;
        }
        Ok(())
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
pub(super) struct Findings<'a> {
    text: &'a str,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    /// Every key that was read, by its path with numbers, and where its value stands.
    places: RefCell<Vec<(String, usize)>>,
    /// Every key that the reader asked for, as `listener.tls.key`: the example file is held against
    /// it.
    #[cfg(test)]
    pub(super) asked: RefCell<BTreeSet<String>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            faults: RefCell::default(),
            warnings: RefCell::default(),
            places: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// Records a fault at a byte offset of the text; `None`: about the whole.
    pub(super) fn fault(&self, at: Option<usize>, message: String) {
        let place = at.map(|at| self.place(at));
        self.faults.borrow_mut().push(Fault { place, message });
    }

    /// Records what is allowed and yet probably not meant.
    pub(super) fn warn(&self, at: Option<usize>, message: String) {
        let place = at.map(|at| self.place(at));
        self.warnings.borrow_mut().push(Fault { place, message });
    }

    /// Notes where the value of a key stands.
    pub(super) fn note_place(&self, key: String, at: usize) {
        self.places.borrow_mut().push((key, at));
    }

    /// Where all keys stand that were read.
    pub(super) fn places(&self, origin: &str) -> Places {
        let mut noted = self.places.take();
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
    pub(super) fn line(&self, at: usize) -> usize {
        self.place(at).line
    }

    /// The warnings as text if there is no fault, and otherwise the faults.
    pub(super) fn conclude(self, origin: &str) -> Result<Vec<String>, Faults> {
        let mut list = self.faults.into_inner();
        if list.is_empty() {
            let mut warnings = self.warnings.into_inner();
            warnings.sort_by_key(|warning| warning.place);
            return Ok(warnings
                .iter()
                .map(|warning| located(origin, warning.place, &warning.message))
                .collect());
        }
        list.sort_by_key(|fault| fault.place);
        Err(Faults { origin: origin.to_owned(), list })
    }

    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

fn located(origin: &str, place: Option<Place>, message: &str) -> String {
    match place {
        // A configuration that was not read from a text.
        _ if origin.is_empty() => message.to_owned(),
        Some(place) => format!("{origin}:{place}: {message}"),
        None => format!("{origin}: {message}"),
    }
}

/// The candidate that was probably meant; none where a guess would be far-fetched.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // One slip in a short word, one in three characters in a long one: beyond that a guess
    // confuses.
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
pub(super) fn quoted(text: &str) -> String {
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
