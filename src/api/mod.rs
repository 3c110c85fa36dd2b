//! The token APIs as HTTP. Each face turns a call into a
//! [`Command`](crate::tokens::command::Command) and a
//! [`CommandOutcome`](crate::tokens::command::CommandOutcome) into an answer, without I/O and
//! without policy.

pub mod accounts;
pub mod agent_tokens;
pub mod allowlist_jwt;
mod docs;
pub mod face;
pub mod face_error;
pub mod field_report;
mod key_limits;
pub mod openapi;
pub mod operation;
pub mod schema;
pub mod tenant_tokens;
pub mod tickets;

pub use face::{Answer, Call, CredentialNeed, Document, Face};
pub use face_error::FaceError;
