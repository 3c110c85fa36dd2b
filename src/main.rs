//! Arguments → configuration → app → exit code.
fn main() {}
