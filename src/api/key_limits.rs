//! `limits`, which a call that makes a key takes and the answers on the key show: read, written and
//! described once for all styles.
//!
//! A client that does not know the member sees answers without it. A member within it that is not
//! known is refused in every style: a limit with a typing mistake would limit nothing.

use std::num::NonZeroU32;

use serde_json::{Map, Value, json};

use super::face_error::FaceError;
use super::field_report::{Fault, FieldReport, Fields};
use crate::domain::limits::MOST_AT_A_TIME;
use crate::domain::{KeyLimits, Rate};

/// The member.
pub(super) const LIMITS: &str = "limits";

const RATE: &str = "rate";
const BURST: &str = "burst";
const CONCURRENT_REQUESTS: &str = "concurrent_requests";

/// What is wrong with one member of `limits`, or with all of it, in which case there is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    member: Option<&'static str>,
    fault: WrongLimit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WrongLimit {
    NoObject,
    Unknown,
    NoText,
    NoRate,
    NoInteger,
    TooLow,
    TooHigh,
    RateMissing,
}

/// Takes the limits that a call asks for, in a face that names all fields that are wrong.
pub(super) fn take(fields: &mut Fields) -> Option<Option<KeyLimits>> {
    let reports = |wrong: Vec<Wrong>| wrong.into_iter().map(Wrong::report).collect();
    fields.optional(LIMITS, |value| read(value.as_ref()).map_err(reports))
}

/// Takes the limits that a call asks for, in a face that names the first field that is wrong.
pub(super) fn first(value: Option<&Value>) -> Result<Option<KeyLimits>, FaceError> {
    read(value).map_err(|wrong| wrong.first().map_or(FaceError::Internal, |first| first.error()))
}

/// An example of a fault, for descriptions.
pub(super) const NO_RATE: Wrong = Wrong { member: Some(RATE), fault: WrongLimit::NoRate };

/// The limits that a call asks for; `None`: it asks for none.
fn read(value: Option<&Value>) -> Result<Option<KeyLimits>, Vec<Wrong>> {
    let members = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(vec![Wrong { member: None, fault: WrongLimit::NoObject }]),
    };
    let mut wrong = Vec::new();
    let rate = member(members, RATE, rate, &mut wrong);
    let burst = member(members, BURST, number, &mut wrong);
    let concurrent = member(members, CONCURRENT_REQUESTS, number, &mut wrong);
    if members.contains_key(BURST) && !members.contains_key(RATE) {
        wrong.push(Wrong { member: Some(RATE), fault: WrongLimit::RateMissing });
    }
    let is_known = |name: &String| [RATE, BURST, CONCURRENT_REQUESTS].contains(&name.as_str());
    if !members.keys().all(is_known) {
        wrong.push(Wrong { member: None, fault: WrongLimit::Unknown });
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    // What this finds has been found before.
    KeyLimits::new(rate, burst, concurrent)
        .map_err(|_| vec![Wrong { member: None, fault: WrongLimit::NoObject }])
}

fn member<T>(
    members: &Map<String, Value>,
    name: &'static str,
    read: impl FnOnce(&Value) -> Result<T, WrongLimit>,
    wrong: &mut Vec<Wrong>,
) -> Option<T> {
    read(members.get(name)?).map_err(|fault| wrong.push(Wrong { member: Some(name), fault })).ok()
}

fn rate(value: &Value) -> Result<Rate, WrongLimit> {
    let text = value.as_str().ok_or(WrongLimit::NoText)?;
    text.parse().map_err(|_| WrongLimit::NoRate)
}

/// An integer as JSON Schema knows it: `1.0` is one, `"1"` and `true` are not.
fn number(value: &Value) -> Result<NonZeroU32, WrongLimit> {
    let whole = |value: f64| {
        let is_whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
        is_whole.then_some(value as u64)
    };
    match value.as_u64().or_else(|| value.as_f64().and_then(whole)) {
        Some(0) => Err(WrongLimit::TooLow),
        Some(number) if number > u64::from(MOST_AT_A_TIME) => Err(WrongLimit::TooHigh),
        Some(number) => {
            u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or(WrongLimit::TooHigh)
        }
        None if value.is_i64() => Err(WrongLimit::TooLow),
        None => Err(WrongLimit::NoInteger),
    }
}

impl Wrong {
    /// In a face that names the first field that is wrong.
    pub(super) fn error(self) -> FaceError {
        let field = match self.member {
            Some(RATE) => "limits.rate",
            Some(BURST) => "limits.burst",
            Some(_) => "limits.concurrent_requests",
            None => LIMITS,
        };
        let expected = match self.fault {
            WrongLimit::NoObject | WrongLimit::Unknown => {
                "must be null or an object of rate, burst and concurrent_requests alone"
            }
            WrongLimit::NoText | WrongLimit::NoRate => {
                "must be a whole number from 1 to 999999, a slash and s, m, h or d, as in 10/s"
            }
            WrongLimit::NoInteger | WrongLimit::TooLow | WrongLimit::TooHigh => {
                "must be an integer from 1 to 1000000"
            }
            WrongLimit::RateMissing => "must be there beside burst",
        };
        FaceError::BadField { field, expected }
    }

    /// In a face that names all fields that are wrong.
    pub(super) fn report(self) -> FieldReport {
        let fault: Fault = match self.fault {
            WrongLimit::NoObject => ("dict_type", "Input should be a valid dictionary".to_owned()),
            WrongLimit::Unknown => (
                "extra_forbidden",
                "Extra inputs are not permitted beside rate, burst and concurrent_requests"
                    .to_owned(),
            ),
            WrongLimit::NoText => ("string_type", "Input should be a valid string".to_owned()),
            WrongLimit::NoRate => (
                "string_pattern_mismatch",
                format!("String should match pattern '{}'", Rate::PATTERN),
            ),
            WrongLimit::NoInteger => ("int_type", "Input should be a valid integer".to_owned()),
            WrongLimit::TooLow => {
                ("greater_than_equal", "Input should be greater than or equal to 1".to_owned())
            }
            WrongLimit::TooHigh => (
                "less_than_equal",
                format!("Input should be less than or equal to {MOST_AT_A_TIME}"),
            ),
            WrongLimit::RateMissing => ("missing", "Field required".to_owned()),
        };
        match self.member {
            Some(member) => FieldReport::new(&["body", LIMITS, member], fault),
            None => FieldReport::new(&["body", LIMITS], fault),
        }
    }
}

/// Adds the limits of a key to what an answer says of it, if it has any.
pub(super) fn add(answer: &mut Value, limits: Option<KeyLimits>) {
    if let (Some(limits), Some(members)) = (limits, answer.as_object_mut()) {
        members.insert(LIMITS.into(), json!(limits));
    }
}

/// The schema of the member in a call.
pub(super) fn asked() -> Value {
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties(),
        "dependentRequired": { BURST: [RATE] },
        "description": "Limits of this key, beside those of the token API and of routes: the \
                        stricter one decides. They are never wider than those of the credential \
                        that makes it. `burst` is by default what comes in a second.",
    })
}

/// The schema of the member in an answer, which has it only where there are limits.
pub(super) fn shown() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties(),
        "minProperties": 1,
    })
}

fn properties() -> Value {
    let number = json!({ "type": "integer", "minimum": 1, "maximum": MOST_AT_A_TIME });
    json!({
        RATE: { "type": "string", "pattern": Rate::PATTERN, "examples": ["10/s"] },
        BURST: number,
        CONCURRENT_REQUESTS: number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<Value> {
        let value = serde_json::from_str(text).expect("JSON");
        let wrong = read(Some(&value)).expect_err(text);
        wrong.into_iter().map(|wrong| json!(wrong.report())).collect()
    }

    #[test]
    fn limits_are_read_and_shown_in_the_same_form() {
        for (text, shown) in [
            (r#"{"rate":"10/s"}"#, r#"{"limits":{"burst":10,"rate":"10/s"}}"#),
            (r#"{"rate":"10/s","burst":20.0}"#, r#"{"limits":{"burst":20,"rate":"10/s"}}"#),
            (
                r#"{"rate":"5/m","burst":20,"concurrent_requests":2}"#,
                r#"{"limits":{"burst":20,"concurrent_requests":2,"rate":"5/m"}}"#,
            ),
            (r#"{"concurrent_requests":1}"#, r#"{"limits":{"concurrent_requests":1}}"#),
            ("null", "{}"),
            ("{}", "{}"),
        ] {
            let mut answer = json!({});
            let asked = read(Some(&serde_json::from_str(text).expect("JSON")));
            add(&mut answer, asked.expect(text));
            let shown: Value = serde_json::from_str(shown).expect("JSON");
            assert_eq!(answer, shown, "{text}");
        }
        assert_eq!(read(None), Ok(None));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        for text in ["1", "[]", "\"10/s\"", "true"] {
            let [fault] = &wrong(text)[..] else { panic!("one fault of {text}") };
            assert_eq!(
                (&fault["loc"], &fault["type"]),
                (&json!(["body", "limits"]), &json!("dict_type"))
            );
        }
        for (text, expected) in [
            (r#"{"rate":1}"#, vec![("rate", "string_type")]),
            (r#"{"rate":null}"#, vec![("rate", "string_type")]),
            (r#"{"rate":"10"}"#, vec![("rate", "string_pattern_mismatch")]),
            (r#"{"rate":"0/s"}"#, vec![("rate", "string_pattern_mismatch")]),
            (r#"{"burst":1}"#, vec![("rate", "missing")]),
            (r#"{"rate":"1/s","burst":0}"#, vec![("burst", "greater_than_equal")]),
            (r#"{"rate":"1/s","burst":-1}"#, vec![("burst", "greater_than_equal")]),
            (r#"{"rate":"1/s","burst":1.5}"#, vec![("burst", "int_type")]),
            (r#"{"rate":"1/s","burst":"1"}"#, vec![("burst", "int_type")]),
            (
                r#"{"rate":"x","concurrent_requests":1000001}"#,
                vec![
                    ("rate", "string_pattern_mismatch"),
                    ("concurrent_requests", "less_than_equal"),
                ],
            ),
            (
                r#"{"concurrent_requests":99999999999}"#,
                vec![("concurrent_requests", "less_than_equal")],
            ),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(member, kind)| (json!(["body", "limits", member]), json!(kind)))
                .collect();
            let found: Vec<_> = wrong(text)
                .into_iter()
                .map(|report| (report["loc"].clone(), report["type"].clone()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_limit_is_refused_and_not_repeated() {
        let text = r#"{"rate":"1/s","concurent_requests":"secret"}"#;
        let [fault] = &wrong(text)[..] else { panic!("one fault") };
        assert_eq!(fault["type"], "extra_forbidden");
        assert!(!fault.to_string().contains("secret") && !fault.to_string().contains("concurent_"));
        let value = serde_json::from_str(text).expect("JSON");
        let first = read(Some(&value)).expect_err("unknown")[0];
        assert_eq!(
            first.error().to_string(),
            "limits: must be null or an object of rate, burst and concurrent_requests alone"
        );
    }
}
