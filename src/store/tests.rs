//! What every store must do, as tests: each store makes them its own. They need what is not public
//! (a store in Redis without its fleet), so they are not in `tests/`.

pub(crate) mod account_conformance;
pub(crate) mod conformance;
