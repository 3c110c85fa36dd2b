//! JSON as keyward reads it: an object with a duplicate name is refused, because readers differ in
//! which of the two they take (cf. CVE-2022-25757). The parser bounds nesting to 128 levels.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses a whole text.
///
/// # Errors
///
/// When it is no JSON, has a duplicate name, or is nested too deep. The message quotes nothing of
/// the text.
pub fn parse(text: &[u8]) -> Result<Value, NotJson> {
    Ok(serde_json::from_slice::<Strict>(text)?.0)
}

/// A text that is refused as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON (line {line}, column {column})")]
pub struct NotJson {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
}

impl From<serde_json::Error> for NotJson {
    fn from(fault: serde_json::Error) -> Self {
        Self { line: fault.line(), column: fault.column() }
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_stands() {
        for text in
            [r#"{"a":1,"b":[true,null,"x",-2,1.5],"c":{}}"#, "[]", "null", "\"\u{1f600}\"", " 1 "]
        {
            assert_eq!(parse(text.as_bytes()), Ok(serde_json::from_str(text).expect("JSON")));
        }
    }

    #[test]
    fn duplicates_depth_and_garbage_are_refused() {
        let deep = "[".repeat(100_000);
        let closed = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"\u0061":2}}"#,
            "",
            "{",
            "{}x",
            "nul",
            "\"\\ud800\"",
            "01",
            "1e999",
            &deep,
            &closed,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
