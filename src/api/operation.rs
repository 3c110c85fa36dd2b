//! One call of a face, as the OpenAPI document describes it.

use http::{Method, StatusCode};
use serde_json::Value;

use super::face_error::FaceError;
use super::schema::{self, Schema};

/// One call of a face. What is left out of a literal is its default: no parameters, no body, no
/// errors of its own.
#[derive(Clone, Debug, Default)]
pub struct Operation {
    /// Its name, unique within the face.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path below the mount: one of [`Face::paths`](super::face::Face::paths).
    pub path: &'static str,
    /// What it does, as a title.
    pub summary: &'static str,
    /// What else there is to know.
    pub description: &'static str,
    /// The parameters of the path, in order.
    pub parameters: Vec<Parameter>,
    /// The body of the request, always JSON.
    pub body: Option<Schema>,
    /// Whether the body can be left out.
    pub is_body_optional: bool,
    /// The answer to a call that was done.
    pub success: Success,
    /// The errors that are this call's own, one of each kind, without those that every call of a
    /// token API has.
    pub errors: Vec<FaceError>,
}

/// A parameter of a path.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// As in the path.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its JSON Schema.
    pub schema: Value,
}

impl Parameter {
    /// A UUID.
    pub(super) fn id(name: &'static str, description: &'static str) -> Self {
        Self { name, description, schema: schema::uuid() }
    }
}

/// The answer to a call that was done.
#[derive(Clone, Debug, Default)]
pub struct Success {
    /// The status; 200 by default.
    pub status: StatusCode,
    /// What it is, as a title.
    pub description: &'static str,
    /// The body; `None`: there is none.
    pub body: Option<Schema>,
}

impl Success {
    /// 200 with a body.
    pub(super) fn ok(description: &'static str, body: Schema) -> Self {
        Self { status: StatusCode::OK, description, body: Some(body) }
    }

    /// 204.
    pub(super) fn no_content(description: &'static str) -> Self {
        Self { status: StatusCode::NO_CONTENT, description, body: None }
    }
}
