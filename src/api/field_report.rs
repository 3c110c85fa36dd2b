//! Faults of a request's fields, all of them, in the form of FastAPI:
//! `[{"loc":["body","name"],"msg":…,"type":…}]`. The value itself is not repeated: it may be a
//! password.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::FieldFault;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldReport {
    /// Where: `body` or `path`, and the name of the field.
    pub loc: Vec<&'static str>,
    /// In words.
    pub msg: String,
    /// In one word.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl FieldReport {
    /// A report on a field of the body, or on all of it without a name.
    pub(super) fn of_body(
        field: Option<&'static str>,
        kind: &'static str,
        msg: impl Into<String>,
    ) -> Self {
        Self { loc: std::iter::once("body").chain(field).collect(), msg: msg.into(), kind }
    }

    /// A parameter of the path that is no UUID.
    pub(super) fn not_a_uuid(parameter: &'static str) -> Self {
        Self {
            loc: vec!["path", parameter],
            msg: "Input should be a valid UUID".into(),
            kind: "uuid_parsing",
        }
    }

    fn of_fault(field: &'static str, fault: FieldFault) -> Self {
        let plural = |number: usize| if number == 1 { "" } else { "s" };
        let (kind, msg) = match fault {
            FieldFault::TooShort(least) => (
                "string_too_short",
                format!("String should have at least {least} character{}", plural(least)),
            ),
            FieldFault::TooLong(most) => (
                "string_too_long",
                format!("String should have at most {most} character{}", plural(most)),
            ),
            FieldFault::NotAlphanumeric => (
                "string_pattern_mismatch",
                "String should match pattern '^[A-Za-z0-9]+$'".to_owned(),
            ),
            FieldFault::Control => {
                ("value_error", "Value error, it must have no control characters".to_owned())
            }
            FieldFault::Blank => ("value_error", "Value error, it must not be blank".to_owned()),
            FieldFault::NotAnEmail(why) => {
                ("value_error", format!("value is not a valid email address: {why}"))
            }
        };
        Self::of_body(Some(field), kind, msg)
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
            _ => Err(FieldReport::of_body(
                None,
                "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from",
            )),
        }
    }

    /// Takes a string that must be there and that `read` takes. Moved, not copied: it may be a
    /// secret.
    pub(super) fn take<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(String) -> Result<T, FieldFault>,
    ) -> Option<T> {
        let read = match self.fields.remove(field) {
            Some(Value::String(text)) => {
                read(text).map_err(|fault| FieldReport::of_fault(field, fault))
            }
            Some(_) => Err(FieldReport::of_body(
                Some(field),
                "string_type",
                "Input should be a valid string",
            )),
            None => Err(FieldReport::of_body(Some(field), "missing", "Field required")),
        };
        read.map_err(|report| self.reports.push(report)).ok()
    }

    /// What was wrong, in the order in which it was read.
    pub(super) fn into_reports(self) -> Vec<FieldReport> {
        self.reports
    }
}
