//! The documents held to the program: README.md, CONTRIBUTING.md, and the pages in docs/.
//!
//! * Every configuration in `toml` is one, with what an excerpt leaves out added to it.
//! * Every line with `keyward` is one that the program takes: its commands and options exist. The
//!   lines for an own service, of the demo, and for keys and backups are run by `sh`, with the
//!   ports replaced by free ones; what is shown in `text` below them is what they have to print,
//!   `…` standing for anything. The one thing that is replaced is the service behind keyward.
//! * Every link leads to a page and a heading, every file that is named is there, and the lists of
//!   commands, metrics, reasons, limits and names are those of the program.

#![expect(
    clippy::disallowed_methods,
    reason = "tests measure what takes real time, and wait for other processes"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "it is a test"
)]

mod command_line;
mod configurations;
mod links;
mod lists;
mod page;
mod shell;

/// The program that the pages describe.
const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");
