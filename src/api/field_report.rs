//! Faults of a request's fields, all of them, in the form of FastAPI:
//! `[{"loc":["body","name"],"msg":…,"type":…}]`. The value itself is not repeated: it may be a
//! password.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::FieldFault;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldReport {
    /// `body` or `path`, and the name of the field.
    pub loc: Vec<&'static str>,
    /// The fault as a sentence.
    pub msg: String,
    /// The fault as an identifier.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// What is wrong with a value: `type` and `msg` of its report.
pub(super) type Fault = (&'static str, String);

impl FieldReport {
    /// This fault at this place.
    pub(super) fn new(loc: &[&'static str], (kind, msg): Fault) -> Self {
        Self { loc: loc.to_vec(), msg, kind }
    }

    /// The body as a whole has this fault.
    pub(super) fn of_body(kind: &'static str, msg: &str) -> Self {
        Self::new(&["body"], (kind, msg.to_owned()))
    }

    /// There is no body.
    pub(super) fn no_body() -> Self {
        Self::of_body("missing", "Field required")
    }

    /// The body is no JSON object.
    pub(super) fn no_object() -> Self {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        Self::of_body("model_attributes_type", msg)
    }

    /// A field of the body is missing.
    pub(super) fn missing(field: &'static str) -> Self {
        Self::new(&["body", field], ("missing", "Field required".to_owned()))
    }

    /// A parameter of the path is no UUID.
    pub(super) fn not_a_uuid(parameter: &'static str) -> Self {
        let msg = "Input should be a valid UUID".to_owned();
        Self::new(&["path", parameter], ("uuid_parsing", msg))
    }
}

fn fault_of_text(fault: FieldFault) -> Fault {
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    match fault {
        FieldFault::TooShort(least) => (
            "string_too_short",
            format!("String should have at least {least} character{}", plural(least)),
        ),
        FieldFault::TooLong(most) => (
            "string_too_long",
            format!("String should have at most {most} character{}", plural(most)),
        ),
        FieldFault::NotAlphanumeric => {
            ("string_pattern_mismatch", "String should match pattern '^[A-Za-z0-9]+$'".into())
        }
        FieldFault::Control => {
            ("value_error", "Value error, it must have no control characters".into())
        }
        FieldFault::Blank => ("value_error", "Value error, it must not be blank".into()),
        FieldFault::NotAnEmail(why) => {
            ("value_error", format!("value is not a valid email address: {why}"))
        }
    }
}

/// Reads the fields of an object one after the other, and keeps what is wrong with each.
pub(super) struct Fields {
    fields: Map<String, Value>,
    reports: Vec<FieldReport>,
}

impl Fields {
    /// Of a JSON value, which should be an object.
    pub(super) fn of(value: Value) -> Result<Self, FieldReport> {
        match value {
            Value::Object(fields) => Ok(Self { fields, reports: Vec::new() }),
            _ => Err(FieldReport::no_object()),
        }
    }

    /// Takes a field that must be there. Moved, not copied: it may be a secret.
    pub(super) fn take<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(Value) -> Result<T, Fault>,
    ) -> Option<T> {
        let read = match self.fields.remove(field) {
            Some(value) => read(value).map_err(|fault| FieldReport::new(&["body", field], fault)),
            None => Err(FieldReport::missing(field)),
        };
        read.map_err(|report| self.reports.push(report)).ok()
    }

    /// Takes a string that must be there.
    pub(super) fn text<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(String) -> Result<T, FieldFault>,
    ) -> Option<T> {
        self.take(field, |value| match value {
            Value::String(text) => read(text).map_err(fault_of_text),
            _ => Err(("string_type", "Input should be a valid string".to_owned())),
        })
    }

    /// Takes a string of 1 to `most` characters that must be there.
    pub(super) fn name(&mut self, field: &'static str, most: usize) -> Option<String> {
        self.text(field, |text| match text.chars().count() {
            0 => Err(FieldFault::TooShort(1)),
            length if length > most => Err(FieldFault::TooLong(most)),
            _ => Ok(text),
        })
    }

    /// Takes a field that may be missing, and may have several faults.
    pub(super) fn optional<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(Option<Value>) -> Result<T, Vec<FieldReport>>,
    ) -> Option<T> {
        read(self.fields.remove(field)).map_err(|reports| self.reports.extend(reports)).ok()
    }

    /// What was wrong, in the order in which it was read.
    pub(super) fn into_reports(self) -> Vec<FieldReport> {
        self.reports
    }
}
