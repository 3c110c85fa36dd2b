//! The administrator's two listeners: a TCP listener that answers probes and metrics and changes
//! nothing, and a Unix socket over which the command line manages the tokens of a running keyward.
//!
//! Neither is the data plane: they run on the control thread, know no route and no upstream, and
//! are never bound to a public listener. What they show and do comes through two traits, [`Status`]
//! and [`Administration`], so this module knows no store. The socket asks for no credential: its
//! file belongs to keyward's user with mode 0600, and a user that can open it can read the store as
//! well.

mod administration;
mod answer;
mod client;
mod connection;
mod explain;
mod hand_over;
mod listing;
mod operations;
mod probes;
mod settings;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod users;

pub use administration::{
    AdminError, AdminFuture, Administration, BootstrapRequest, IssuedBootstrap, MAX_LISTED,
    MAX_MINTS, Revocation, claim_text,
};
pub use client::{SocketClient, probe_readiness};
pub use connection::Stop;
pub use explain::ExplainRequest;
pub use hand_over::HandOvers;
pub use listing::{Listing, TokenKind};
pub use operations::serve_socket;
pub use probes::serve_probes;
pub use settings::AdminSettings;
pub use socket::{AdminSocket, BoundAdminSocket, SocketError, SocketFileHandle};
pub use status::{Component, ComponentState, NotReady, Status, StatusFuture, StatusReport};
pub use users::{UserAction, UserChange, UserListing, UserOutcome, UserRequest};
