//! One call of a face, as the OpenAPI document describes it.

use http::{Method, StatusCode};
use serde_json::Value;

use super::face_error::FaceError;
use super::schema::Schema;

/// One call of a face.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is called within the face.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path below the mount: one of [`Face::paths`](super::face::Face::paths).
    pub path: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What else there is to know.
    pub description: &'static str,
    /// The parameters of the path, in order.
    pub parameters: Vec<Parameter>,
    /// What is sent, if anything.
    pub body: Option<RequestBody>,
    /// What is answered when it is done.
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

/// The body of a request, always JSON.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Whether it can be left out.
    pub is_optional: bool,
    /// What is in it.
    pub schema: Schema,
}

/// The answer to a call that was done.
#[derive(Clone, Debug)]
pub struct Success {
    /// The status.
    pub status: StatusCode,
    /// In a few words.
    pub description: &'static str,
    /// What is in it; `None`: nothing.
    pub schema: Option<Schema>,
}
