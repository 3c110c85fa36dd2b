//! What is said of the configuration outside the program: the reference in `docs/` and the JSON
//! Schema for editors, both written from the declarations of the tables.

mod markdown;
mod schema;
mod words;

#[cfg(test)]
mod tests;

pub use markdown::markdown;
pub use schema::schema;
