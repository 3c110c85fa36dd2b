//! A short run of every target: its corpus, and mutations of it by a seed that is printed when one
//! fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::{TARGETS, Target};

/// The seed of a run without `KEYWARD_SEED`: always the same, so that a test that fails, fails
/// again.
const SEED: u64 = 0x6b65_7977_6172_6421;

/// No input is longer: the targets' limits are below.
const LONGEST: usize = 8 * 1024;

/// The files of a target's corpus, by name.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let mut files: Vec<_> = std::fs::read_dir(&place)
        .unwrap_or_else(|fault| panic!("{}: {fault}", place.display()))
        .map(|entry| entry.expect("a file of the corpus").path())
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a file of the corpus"))
        })
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} has {} files", place.display(), files.len());
    files
}

/// Runs a target's corpus and `mutations` of it. `KEYWARD_SEED` says another seed.
fn run(name: &str, mutations: u32) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let files = corpus(target);
    let try_file = |(file, input): &(String, Vec<u8>)| {
        try_input(target, input, &format!("fuzz/corpus/{name}/{file}"))
    };
    let passed = files.iter().filter(|file| try_file(file)).count();
    assert!(
        passed > 0 && passed < files.len(),
        "{passed} of {} files pass: the target sees one kind",
        files.len()
    );
    let seed =
        std::env::var("KEYWARD_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let mut mutator = Mutator { random: Random(seed | 1), corpus: &files };
    let mut passed = 0;
    for nth in 0..mutations {
        let (parent, input) = mutator.next();
        passed += u32::from(try_input(
            target,
            &input,
            &format!("KEYWARD_SEED={seed}, mutation {nth}, of {parent}"),
        ));
    }
    eprintln!("{name}: {passed} of {mutations} mutations pass");
}

/// Says which input it was if the target fails on it, in a form that `printf '%b'` makes the file
/// of.
fn try_input(target: &Target, input: &[u8], origin: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).unwrap_or_else(|fault| {
        eprintln!("{} fails on {origin}: b\"{}\"", target.name, input.escape_ascii());
        std::panic::resume_unwind(fault)
    })
}

struct Random(u64);

impl Random {
    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).expect("48 bits") % bound.max(1)
    }
}

/// Makes inputs out of others.
struct Mutator<'c> {
    random: Random,
    corpus: &'c [(String, Vec<u8>)],
}

/// What mutation by bytes alone would seldom hit upon.
const WORDS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"\t",
    b" ",
    b":",
    b",",
    b";",
    b"\"",
    b"\\",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"..;",
    b"%2e",
    b"%2F",
    b"%5c",
    b"%00",
    b"%3B",
    b"%25",
    b"%",
    b"#",
    b"?",
    b"\xff",
    b"_",
    b".",
    b"0",
    b"Host: b.example\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: x-hop, close\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"http://b.example",
    b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
];

impl Mutator<'_> {
    /// An input, and the file that it began as.
    fn next(&mut self) -> (String, Vec<u8>) {
        let (name, input) = self.parent();
        let mut input = input.to_vec();
        let name = name.to_owned();
        for _ in 0..=self.random.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(LONGEST);
        (name, input)
    }

    fn parent(&mut self) -> (&str, &[u8]) {
        let (name, input) = &self.corpus[self.random.below(self.corpus.len())];
        (name, input)
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let end = (at + self.random.below(16)).min(input.len());
        match self.random.below(9) {
            0 if at < input.len() => {
                input[at] = u8::try_from(self.random.below(256)).expect("a byte")
            }
            1 if at < input.len() => input[at] ^= 1 << self.random.below(8),
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = self.random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => input.insert(at, u8::try_from(self.random.below(256)).expect("a byte")),
            5 => {
                // The head of this one, the tail of another.
                let (_, other) = self.parent();
                let other = other.to_vec();
                let from = self.random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => self.swap_lines(input),
            _ => {
                let word = WORDS[self.random.below(WORDS.len())];
                input.splice(
                    at..if self.random.below(2) == 0 { at } else { end },
                    word.iter().copied(),
                );
            }
        }
    }

    fn swap_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> =
            input.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        let (one, other) = (self.random.below(lines.len()), self.random.below(lines.len()));
        if !lines.is_empty() {
            match self.random.below(3) {
                0 => lines.swap(one, other),
                1 => drop(lines.remove(one)),
                _ => {
                    let line = lines[one].clone();
                    lines.insert(other, line);
                }
            }
        }
        *input = lines.concat();
    }
}

#[test]
fn a_path_has_one_reading() {
    run("path", 20_000);
}

#[test]
fn names_that_look_like_others_are_the_same_and_hops_end() {
    run("fields", 20_000);
}

#[test]
fn a_client_does_not_say_where_it_comes_from() {
    run("forwarding", 20_000);
}

#[test]
fn a_credential_is_one_wherever_it_is_and_is_gone_before_the_upstream() {
    run("credential_places", 20_000);
}

#[test]
fn what_passes_the_gate_has_one_reading() {
    run("gate", 20_000);
}

#[test]
fn an_origin_that_is_let_in_is_one_that_the_rule_names() {
    run("origin", 20_000);
}

#[test]
fn what_passes_the_gate_is_read_by_the_upstream_as_it_was_judged() {
    run("round_trip", 20_000);
}

#[test]
fn no_opaque_token_is_forged() {
    run("opaque_token", 20_000);
}

#[test]
fn no_request_is_led_elsewhere_and_no_route_is_chosen_by_what_readers_find_in_two_ways() {
    run("route", 20_000);
}

#[test]
fn no_signed_token_is_forged_or_spelled_in_two_ways() {
    run("signed_token", 20_000);
}

#[test]
fn a_trace_puts_its_own_members_into_the_log_and_nothing_else() {
    run("trace_context", 20_000);
}

#[test]
fn a_configuration_is_read_whole_or_refused_with_its_faults_in_place() {
    run("config", 5_000);
}
