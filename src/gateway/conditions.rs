//! Conditions of a route: what header fields and parameters of the query must be, where host, path
//! and method do not tell routes apart.
//!
//! A field that comes several times, and a parameter that readers of queries find in different
//! places, have no one value: a condition that asks for it has no answer, and the request is
//! refused. Otherwise the upstream could read a value by which another route was meant.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName};

use super::credential_places::query::{Parameter, parameter};
use super::refusal::Refusal;
use crate::wire::fields::{are_alike, lists, tokens};

/// What a request must have besides host, path and method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Of header fields.
    pub headers: Vec<(HeaderName, Expected)>,
    /// Of parameters of the query, by their decoded names.
    pub query: Vec<(String, Expected)>,
}

/// What one field or parameter must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There, with one of these values.
    OneOf(Vec<String>),
    /// There, with any value.
    Present,
    /// Not there.
    Absent,
}

/// What a request has under a name.
enum Found<'v> {
    Nothing,
    Value(&'v [u8]),
    /// It is there, and has no one value.
    Several,
    /// Whether it is there depends on the reader.
    Unclear,
}

/// A condition that has no answer.
#[derive(Debug, PartialEq, Eq)]
struct Unanswered;

impl Expected {
    fn is_met_by(&self, found: &Found<'_>) -> Result<bool, Unanswered> {
        match (self, found) {
            (_, Found::Unclear) | (Self::OneOf(_), Found::Several) => Err(Unanswered),
            (Self::Absent, found) => Ok(matches!(found, Found::Nothing)),
            (Self::Present, found) => Ok(!matches!(found, Found::Nothing)),
            (Self::OneOf(_), Found::Nothing) => Ok(false),
            (Self::OneOf(values), Found::Value(found)) => {
                Ok(values.iter().any(|value| value.as_bytes() == *found))
            }
        }
    }

    /// Whether one value could meet both.
    fn is_compatible_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, other) => *other == Self::Absent,
            (one, Self::Absent) => *one == Self::Absent,
            (Self::OneOf(one), Self::OneOf(other)) => one.iter().any(|value| other.contains(value)),
            (Self::Present, _) | (_, Self::Present) => true,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(values) => {
                let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
                write!(f, "is {}", values.join(" or "))
            }
            Self::Present => f.write_str("is there"),
            Self::Absent => f.write_str("is absent"),
        }
    }
}

impl Conditions {
    /// How many there are: more of them are more specific.
    #[must_use]
    pub fn count(&self) -> usize {
        self.headers.len() + self.query.len()
    }

    /// Whether a request could meet these and those.
    #[must_use]
    pub fn can_hold_with(&self, other: &Self) -> bool {
        compatible(&self.headers, &other.headers) && compatible(&self.query, &other.query)
    }

    /// Whether all hold.
    ///
    /// # Errors
    ///
    /// When one has no answer and no other one fails: the client's fault.
    pub(super) fn hold(&self, headers: &HeaderMap, query: Option<&str>) -> Result<bool, Refusal> {
        let mut unanswered = None;
        for (what, expected, found) in self.each(headers, query) {
            match expected.is_met_by(&found.as_found()) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Unanswered) => unanswered = Some(what),
            }
        }
        match unanswered {
            None => Ok(true),
            Some(what) => {
                let cause = format!(
                    "{what} comes more than once or can be read in two ways, and a route is chosen \
                     by it"
                );
                Err(Refusal::AmbiguousCondition { cause })
            }
        }
    }

    /// Whether all could hold for the request that a preflight asks for: its query is the
    /// preflight's own, and fields that a script sets are named there.
    pub(super) fn may_hold_behind(&self, preflight: &HeaderMap, query: Option<&str>) -> bool {
        let asked = preflight.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let is_asked = |name: &HeaderName| {
            let mut names = asked.iter().flat_map(tokens);
            names.any(|asked| asked.eq_ignore_ascii_case(name.as_str().as_bytes()))
        };
        // What browsers send without asking may be there or not.
        let is_free = |name: &HeaderName| {
            let name = name.as_str();
            UNASKED.contains(&name) || name.starts_with("sec-") || name.starts_with("proxy-")
        };
        let headers = self.headers.iter().all(|(name, expected)| {
            is_free(name) || is_asked(name) != (*expected == Expected::Absent)
        });
        headers
            && self.query.iter().all(|(name, expected)| {
                let found = Value::of_query(query, name);
                expected.is_met_by(&found.as_found()).unwrap_or(true)
            })
    }

    /// The first one that does not hold, and why, for the operator; the request's own values are
    /// not repeated.
    pub(super) fn failure(&self, headers: &HeaderMap, query: Option<&str>) -> Option<String> {
        self.each(headers, query).find_map(|(what, expected, found)| {
            let found = found.as_found();
            let is_met = expected.is_met_by(&found);
            let has = match found {
                _ if is_met == Ok(true) => return None,
                Found::Nothing => "is absent",
                Found::Value(_) if *expected == Expected::Absent => "is there",
                Found::Value(_) => "is another",
                Found::Several => "comes more than once",
                Found::Unclear => "can be read in two ways",
            };
            Some(format!("{what} {has}"))
        })
    }

    /// Each in words.
    pub(super) fn described(&self) -> Vec<String> {
        let none = HeaderMap::new();
        self.each(&none, None).map(|(what, expected, _)| format!("{what} {expected}")).collect()
    }

    fn each<'c>(
        &'c self,
        headers: &'c HeaderMap,
        query: Option<&'c str>,
    ) -> impl Iterator<Item = (Subject<'c>, &'c Expected, Value<'c>)> {
        let fields = self.headers.iter().map(move |(name, expected)| {
            (Subject::Header(name), expected, Value::of_header(headers, name))
        });
        let parameters = self.query.iter().map(move |(name, expected)| {
            (Subject::Parameter(name), expected, Value::of_query(query, name))
        });
        fields.chain(parameters)
    }
}

/// Header fields that a browser sends without naming them in a preflight: those of the
/// CORS-safelist, and some that it sets itself (Fetch, sections 2.2.2 and 2.2.3).
const UNASKED: [&str; 13] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-language",
    "content-type",
    "date",
    "dnt",
    "origin",
    "priority",
    "range",
    "referer",
    "user-agent",
    "content-length",
];

/// What a condition is about.
enum Subject<'c> {
    Header(&'c HeaderName),
    Parameter(&'c str),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header {:?}", name.as_str()),
            Self::Parameter(name) => write!(f, "the parameter {name:?} of the query"),
        }
    }
}

fn compatible<N: PartialEq>(one: &[(N, Expected)], other: &[(N, Expected)]) -> bool {
    one.iter().all(|(name, expected)| {
        let mut theirs = other.iter().filter(|(other, _)| other == name);
        theirs.all(|(_, other)| expected.is_compatible_with(other))
    })
}

/// A value that may have been decoded.
enum Value<'v> {
    Field(Found<'v>),
    Parameter(Parameter),
}

impl<'v> Value<'v> {
    fn of_header(headers: &'v HeaderMap, name: &HeaderName) -> Self {
        // Another spelling of the name is the same field to some upstreams, and what `Connection`
        // lists is not forwarded.
        let is_other =
            |other: &HeaderName| other != name && are_alike(other.as_str(), name.as_str());
        if headers.keys().any(is_other) || lists(headers, &header::CONNECTION, name.as_str()) {
            return Self::Field(Found::Unclear);
        }
        let mut values = headers.get_all(name).iter();
        Self::Field(match (values.next(), values.next()) {
            (None, _) => Found::Nothing,
            (Some(value), None) => Found::Value(value.as_bytes()),
            (Some(_), Some(_)) => Found::Several,
        })
    }

    fn of_query(query: Option<&str>, name: &str) -> Self {
        Self::Parameter(query.map_or(Parameter::Absent, |query| parameter(query, name)))
    }

    fn as_found(&self) -> Found<'_> {
        match self {
            Self::Field(Found::Nothing) | Self::Parameter(Parameter::Absent) => Found::Nothing,
            Self::Field(Found::Value(value)) => Found::Value(value),
            Self::Parameter(Parameter::Once(value)) => Found::Value(value),
            Self::Field(Found::Several) | Self::Parameter(Parameter::Several) => Found::Several,
            Self::Field(Found::Unclear) | Self::Parameter(Parameter::Unclear) => Found::Unclear,
        }
    }
}

#[cfg(test)]
mod tests;
