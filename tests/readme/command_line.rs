//! The command lines of the pages: commands and options that the program has.

use std::collections::BTreeSet;
use std::process::Command;

use crate::KEYWARD;
use crate::page::{OPERATION, PAGES, blocks, code, items, prose};

/// Lines of a shell that were broken up, in one piece each.
pub(crate) fn unbroken(lines: &str) -> String {
    let pieces: Vec<_> = lines.split("'\\\n'").collect();
    let whole = pieces.concat();
    let mut parts = whole.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| format!("{} {}", line.trim_end(), part.trim_start()))
}

/// All commands below one, as its help names them.
fn commands(above: &[&str]) -> BTreeSet<String> {
    let help = help(above);
    let Some((_, listed)) = help.split_once("Commands:\n") else {
        return BTreeSet::from([above.join(" ")]);
    };
    let named = listed.lines().take_while(|line| !line.is_empty());
    let names = named
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty());
    names
        .filter(|name| *name != "help")
        .flat_map(|name| commands(&[above, &[name]].concat()))
        .collect()
}

fn help(command: &[&str]) -> String {
    let output = Command::new(KEYWARD).args(command).arg("--help").output().expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_command_is_in_the_list_and_every_option_there_exists() {
    let items = items(OPERATION, "Use the command line");
    let command = |item: &str| {
        let first = code(item).next().expect("a command");
        first.strip_prefix("keyward ").expect("of keyward").to_owned()
    };
    let shown: BTreeSet<_> = items.iter().map(|item| command(item)).collect();
    let mut known = commands(&[]);
    known.insert("help".into());
    assert_eq!(shown, known);
    for item in &items {
        let help = help(&command(item).split(' ').collect::<Vec<_>>());
        for option in code(item).filter(|code| code.starts_with("--")) {
            let name = option.split(' ').next().unwrap_or_default();
            assert!(help.contains(name), "{} {option}", command(item));
        }
    }
}

/// Every line with `keyward` in a text of a shell: its words, as far as keyward gets them.
fn lines_of_keyward(text: &str) -> Vec<Vec<String>> {
    let is_boundary = |before: &str| before.chars().next_back().is_none_or(|c| " (\n".contains(c));
    text.match_indices("keyward ")
        .filter(|(at, _)| is_boundary(&text[..*at]))
        // A container of that name, or pods with that label, as kubectl is told them.
        .filter(|(at, _)| ![" -c ", " -l "].iter().any(|option| text[..*at].ends_with(option)))
        .map(|(at, name)| {
            let rest = &text[at + name.len()..];
            let line = rest.split(['\n', ')', '|', ';', '&', '<', '>']).next().unwrap_or_default();
            line.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect()
        })
        .collect()
}

#[test]
fn every_line_of_the_command_line_is_one_that_the_program_takes() {
    let mut tried = BTreeSet::new();
    for (name, text) in PAGES {
        let shell = blocks(text).into_iter().filter(|(kind, _)| *kind == "sh");
        let prose = prose(text);
        let spans = code(&prose).filter(|code| code.starts_with("keyward "));
        let lines = shell.map(|(_, lines)| unbroken(lines)).chain(spans.map(str::to_owned));
        for words in lines.flat_map(|lines| lines_of_keyward(&lines)) {
            // `help` alone takes no `--help`; the list of commands has it.
            if words == ["help"] || !tried.insert(words.clone()) {
                continue;
            }
            // What stands before `--help` is judged, and nothing is done.
            let output =
                Command::new(KEYWARD).args(&words).arg("--help").output().expect("it runs");
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: keyward {}\n{complaints}", words.join(" "));
        }
    }
    assert!(tried.len() > 20, "{tried:?}");
}
