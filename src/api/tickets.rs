//! The call that every token API has, whatever its style: `POST /tickets`.
//!
//! It has no body: one that comes is not read. Its answer has one shape; errors are worded by the
//! style.

use http::{Method, StatusCode};
use serde_json::json;

use super::face::{Answer, TICKETS};
use super::face_error::FaceError;
use super::operation::{Operation, Success};
use super::schema::{self, Schema};
use crate::domain::RawToken;
use crate::tokens::tickets::LIFETIME;

pub(super) fn answer(ticket: &RawToken) -> Answer {
    let body = json!({ "ticket": ticket.expose(), "expires_in": LIFETIME.as_secs() });
    Answer::json(StatusCode::CREATED, &body)
}

pub(super) fn operation() -> Operation {
    let lifetime = json!({ "type": "integer", "minimum": 1 });
    let ticket = Schema::exactly("Ticket", [("ticket", schema::text()), ("expires_in", lifetime)]);
    Operation {
        id: "create_ticket",
        method: Method::POST,
        path: TICKETS,
        summary: "Create Ticket",
        description: "Makes a ticket that opens one WebSocket or event stream in the place of the \
                      key that makes the call, within `expires_in` seconds.",
        success: Success {
            status: StatusCode::CREATED,
            ..Success::ok("The ticket, and how many seconds it is good for", ticket)
        },
        errors: vec![FaceError::KeyNeeded, FaceError::TooMany { retry_after_seconds: 30 }],
        ..Operation::default()
    }
}
