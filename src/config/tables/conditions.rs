//! The keys of a route's `when`.

use http::header::HeaderName;

use super::texts::{empty, refused};
use crate::config::identity_headers::{folded, parse_name};
use crate::gateway::Expected;
use crate::settings::describe::Shape;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Kind, Text, text};
use crate::settings::named::{Named, named};
use crate::settings::section::Given;
use crate::settings::settings;
use crate::settings::typed::{Node, Value};

settings! {
    /// What a request must have besides host, path and method. All conditions must hold; a route
    /// with more of them is more specific. Where those of no route of the path hold, the answer is
    /// 404.
    ///
    /// A value is compared whole and with its case. A request in which a header or parameter that
    /// is compared comes twice is answered with 400.
    pub(crate) struct WhenKeys {
        /// What headers must be, as in `{ "X-Version" = "2" }`: a value, one of a list, `true`:
        /// there, or `false`: not there.
        pub(crate) headers: Option<Vec<(HeaderName, Expected)>> = HEADERS.optional(),
        /// What parameters of the query must be, after decoding, as in `{ beta = "true" }`; as
        /// `headers`.
        pub(crate) query: Option<Vec<(String, Expected)>> = QUERY.optional(),
    }
}

const HEADERS: Named<HeaderName, Condition> = named("names of headers", HEADER, Condition);

const QUERY: Named<String, Condition> = named("names of parameters", PARAMETER, Condition);

const HEADER: Text<HeaderName> = text("the name of a header as in \"X-Version\"", |text| {
    match folded(text).as_str() {
        "" => return empty(),
        "host" => return Err("see \"host\" of the route".to_owned()),
        "authorization" | "cookie" => {
            return Err("it may hold a credential, and no route is chosen by those".to_owned());
        }
        _ => {}
    }
    let name = parse_name(text)?.unwrap_or_default();
    HeaderName::try_from(name).or_else(|_| refused())
});

const PARAMETER: Text<String> = text("the name of a parameter of the query", |text| match text {
    "" => empty(),
    _ if text.len() <= 128 && !text.chars().any(char::is_control) => Ok(text.to_owned()),
    _ => refused(),
});

/// `"value"`, `["value", …]`, `true` or `false`.
struct Condition;

const VALUE: &str = "a value without spaces around it";

impl Kind for Condition {
    type Value = Expected;

    fn shape(&self) -> Shape {
        Shape::Either(vec![Shape::OneOrList(Box::new(Shape::Text(VALUE))), Shape::Boolean])
    }

    fn read(&self, given: &Given<'_>) -> Option<Expected> {
        match &given.node.value {
            Value::Boolean(true) => Some(Expected::Present),
            Value::Boolean(false) => Some(Expected::Absent),
            Value::Array(items) if !items.is_empty() => {
                let item = |node| {
                    let value = compared(node);
                    if value.is_none() {
                        given.item(node).unfit(VALUE, "");
                    }
                    value
                };
                let values: Vec<_> = items.iter().map(item).collect();
                values.into_iter().collect::<Option<_>>().map(Expected::OneOf)
            }
            _ => {
                let value = compared(given.node);
                if value.is_none() {
                    given.unfit(&self.shape().what(), "");
                }
                value.map(|value| Expected::OneOf(vec![value]))
            }
        }
    }

    fn spell(&self, _: &Expected) -> String {
        "true".to_owned()
    }
}

/// A value that a field could have: otherwise the condition would never hold.
fn compared(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text { value, .. }
            if value.trim() == value && !value.chars().any(char::is_control) =>
        {
            Some(value.clone())
        }
        _ => None,
    }
}
