//! What came of each case, in one committed file: `snapshot.txt`, one line per case, sorted.
//!
//! A table says what may come of a case; the snapshot says what does. A change of an outcome within
//! what the table allows is a difference here, to be looked at and committed:
//! `KEYWARD_SNAPSHOT=write cargo test --test it hostile` writes the file anew.
//!
//! ```text
//! http1 fields / an empty value → 200, kept, forwarded
//! http2 frames / DATA on stream 0 → goaway PROTOCOL_ERROR, closed, not forwarded
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};

/// Where the snapshot is.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile/snapshot.txt");

/// Between the name of a case and its outcome.
const ARROW: &str = " → ";

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The status, the reset or the end that the client got.
    pub(crate) answer: String,
    /// Whether the connection carried another request behind it.
    pub(crate) is_kept: bool,
    /// How many whole requests the upstream got.
    pub(crate) forwarded: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = if self.is_kept { "kept" } else { "closed" };
        write!(f, "{}, {connection}, ", self.answer)?;
        match self.forwarded {
            0 => f.write_str("not forwarded"),
            1 => f.write_str("forwarded"),
            count => write!(f, "forwarded {count} times"),
        }
    }
}

/// The outcomes of one suite: of all cases that one test plays.
pub(crate) struct Suite {
    /// `http1` or `http2`, and the table.
    name: String,
    outcomes: BTreeMap<String, String>,
    /// The cases that went wrong, which their test reports.
    wrong: BTreeSet<String>,
}

impl Suite {
    pub(crate) fn new(protocol: &str, theme: &str) -> Self {
        Self {
            name: format!("{protocol} {theme}"),
            outcomes: BTreeMap::new(),
            wrong: BTreeSet::new(),
        }
    }

    /// Notes every case, by its name, what was sent and what came of it.
    ///
    /// # Panics
    ///
    /// When a case is wrong or differs from the file: with all of them, not only the first.
    #[track_caller]
    pub(crate) fn settle<'a>(
        mut self,
        played: impl Iterator<Item = (&'a str, &'a [u8], Result<Outcome, String>)>,
    ) {
        let theme = self.name.clone();
        let mut wrong = Vec::new();
        let mut total = 0;
        for (name, sent, result) in played {
            total += 1;
            match result {
                Ok(outcome) => self.note(name, &outcome),
                Err(what) => {
                    self.note_wrong(name);
                    wrong.push(format!("- {name}: {what}\n    sent: {:?}", super::shown(sent)));
                }
            }
        }
        let differences = self.check();
        let (wrongs, list) = (wrong.len(), wrong.join("\n"));
        assert!(
            wrong.is_empty(),
            "{theme}: {wrongs} of {total} cases are wrong\n{list}\n{differences:?}"
        );
        differences.unwrap_or_else(|what| panic!("{what}"));
    }

    /// Notes what came of a case.
    #[track_caller]
    pub(crate) fn note(&mut self, case: &str, outcome: &Outcome) {
        let twice = self.outcomes.insert(self.key(case), outcome.to_string());
        assert!(twice.is_none(), "two cases of the name {case:?}");
    }

    /// Notes a case whose outcome is none that its table allows.
    pub(crate) fn note_wrong(&mut self, case: &str) {
        self.wrong.insert(self.key(case));
    }

    fn key(&self, case: &str) -> String {
        key(&self.name, case)
    }

    /// Compares with the file; or writes the lines of this suite, if that is asked for.
    ///
    /// # Errors
    ///
    /// The lines that differ.
    pub(crate) fn check(self) -> Result<(), String> {
        let is_ours = |key: &String| key.starts_with(&format!("{} / ", self.name));
        if is_writing() {
            rewrite(|lines| {
                lines.retain(|key, _| !is_ours(key) || self.wrong.contains(key));
                lines.extend(self.outcomes.clone());
            });
            return Ok(());
        }
        let mut expected = read();
        expected.retain(|key, _| is_ours(key) && !self.wrong.contains(key));
        let differences = difference(&expected, &self.outcomes);
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{}: {} lines differ from tests/it/hostile/snapshot.txt (KEYWARD_SNAPSHOT=write writes \
             it anew)\n{}",
            self.name,
            differences.len(),
            differences.join("\n")
        ))
    }
}

fn key(suite: &str, case: &str) -> String {
    let key = format!("{suite} / {case}");
    assert!(
        !key.contains(['\n', '\r']) && !key.contains(ARROW),
        "{key:?} does not fit into a line"
    );
    key
}

fn is_writing() -> bool {
    match std::env::var("KEYWARD_SNAPSHOT").as_deref() {
        Err(_) => false,
        Ok("write") => true,
        Ok(other) => panic!("KEYWARD_SNAPSHOT is {other:?}, which is not \"write\""),
    }
}

/// The cases whose outcomes differ: `-` as committed, `+` as it is now.
fn difference(
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Vec<String> {
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let changed = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
    let shown = |key: &String| {
        let line = |sign: char, outcome: &String| format!("\n    {sign} {outcome}");
        let (old, new) = (expected.get(key), found.get(key));
        let old = old.map_or("\n    - (no line)".into(), |outcome| line('-', outcome));
        let new = new.map_or("\n    + (no case)".into(), |outcome| line('+', outcome));
        format!("  {key}{old}{new}")
    };
    changed.map(shown).collect()
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (key, outcome) =
            line.split_once(ARROW).unwrap_or_else(|| panic!("a line without an arrow: {line:?}"));
        (key.to_owned(), outcome.to_owned())
    };
    text.lines().map(line).collect()
}

fn render(lines: &BTreeMap<String, String>) -> String {
    lines.iter().map(|(key, outcome)| format!("{key}{ARROW}{outcome}\n")).collect()
}

fn read() -> BTreeMap<String, String> {
    parse(&fs::read_to_string(PATH).expect("the snapshot can be read"))
}

/// Changes the lines of the file under its lock: tests write their suites at the same time.
fn rewrite(change: impl FnOnce(&mut BTreeMap<String, String>)) {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(PATH)
        .expect("the snapshot can be opened");
    file.lock().expect("the snapshot can be locked");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("the snapshot can be read");
    let mut lines = parse(&text);
    change(&mut lines);
    file.set_len(0).and_then(|()| file.rewind()).expect("the snapshot can be emptied");
    file.write_all(render(&lines).as_bytes()).expect("the snapshot can be written");
}

#[test]
fn the_snapshot_has_one_line_for_each_case_and_no_other_and_is_sorted() {
    let names = super::names().into_iter().chain(crate::hostile_h2::names());
    let known: BTreeSet<String> = names.map(|(suite, case)| key(&suite, &case)).collect();
    if is_writing() {
        rewrite(|lines| lines.retain(|key, _| known.contains(key)));
        return;
    }
    let text = fs::read_to_string(PATH).expect("the snapshot can be read");
    let lines = parse(&text);
    assert!(render(&lines) == text, "the lines are not sorted, or a case has two");
    let found: BTreeSet<String> = lines.into_keys().collect();
    let missing: Vec<_> = known.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "without a line: {missing:#?}\nof no case: {unknown:#?}"
    );
}

#[test]
fn a_difference_names_the_case_and_both_outcomes() {
    let lines = |text: &str| parse(text);
    let expected =
        lines("http1 a / one → 200, kept, forwarded\nhttp1 a / two → 400, closed, not forwarded\n");
    let found = lines(
        "http1 a / one → 200, closed, forwarded\nhttp1 a / three → none, closed, not forwarded\n",
    );
    assert_eq!(
        difference(&expected, &found),
        [
            "  http1 a / one\n    - 200, kept, forwarded\n    + 200, closed, forwarded",
            "  http1 a / three\n    - (no line)\n    + none, closed, not forwarded",
            "  http1 a / two\n    - 400, closed, not forwarded\n    + (no case)",
        ]
    );
    assert!(difference(&expected, &expected).is_empty());
}
