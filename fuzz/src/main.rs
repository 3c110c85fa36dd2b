//! Runs libFuzzer on one of keyward's fuzz targets: the one that `KEYWARD_FUZZ_TARGET` names.
//!
//! The targets are in `keyward::fuzzing`, where `cargo test` runs them too. One program for all of
//! them, as linking keyward takes longer than choosing among them.

#![no_main]

use std::sync::OnceLock;

use keyward::fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("KEYWARD_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        panic!("KEYWARD_FUZZ_TARGET must be one of {}", names.join(", "))
    })
}

fuzz_target!(|input: &[u8]| {
    (CHOSEN.get_or_init(chosen).run)(input);
});
