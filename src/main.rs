//! Arguments → configuration → app → exit code.

use std::process::ExitCode;

/// Requests make small, short-lived allocations on the thread that frees them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyward::cli::main(&keyward::app::App)
}
