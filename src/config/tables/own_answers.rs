//! The keys of a route's `redirect` and `respond`.

use http::{HeaderValue, StatusCode};

use super::texts::refused;
use crate::config::redirect::RedirectAddress;
use crate::settings::describe::Shape;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Integer, Kind, Text, boolean, integer, text};
use crate::settings::section::Given;
use crate::settings::settings;

settings! {
    /// Another address to which clients are sent, in the place of an upstream.
    pub(crate) struct RedirectKeys {
        /// The address, by the parameters of `path`: `"https://www.example.com/{rest}"`, or a path
        /// of this server as in `"/v2/{rest}"`. `{path}` is the whole path of the request, and
        /// `{host}`, as the host, is the one that was asked: `"https://{host}{path}"`.
        pub(crate) to: Option<RedirectAddress> = TO.required(),
        /// `308` and `307` keep the method, `301` and `302` may make a POST a GET, and `303` does;
        /// `301` and `308` may be remembered for ever.
        pub(crate) status: StatusCode = REDIRECTION.or(StatusCode::PERMANENT_REDIRECT),
        /// Whether the query of the request goes along.
        pub(crate) keep_query: bool = boolean().or(true),
    }
}

settings! {
    /// The same answer to every request, in the place of an upstream.
    pub(crate) struct RespondKeys {
        /// The status.
        pub(crate) status: StatusCode = STATUS.or(StatusCode::OK),
        /// The body, up to 64 KiB; `""`: none.
        pub(crate) body: String = BODY.or(String::new()),
        /// Its media type.
        pub(crate) content_type: HeaderValue = CONTENT_TYPE.or(PLAIN),
    }
}

const TO: Text<RedirectAddress> = text(
    "an address as in \"https://www.example.com/{rest}\", \"https://{host}{path}\" or \
     \"/v2/{rest}\"",
    str::parse,
);

/// A status of a range, of which some are left out.
struct Status {
    range: Integer<u16>,
    /// Why it is left out.
    refused: fn(u16) -> Option<&'static str>,
}

const REDIRECTION: Status = Status {
    range: integer(301..=308),
    refused: |status| match status {
        301 | 302 | 303 | 307 | 308 => None,
        _ => Some("must be 301, 302, 303, 307 or 308"),
    },
};

const STATUS: Status = Status {
    range: integer(200..=599),
    refused: |status| match status {
        304 => Some("must not be 304: that answers a condition, and nothing is asked of one here"),
        _ => None,
    },
};

impl Kind for Status {
    type Value = StatusCode;

    fn shape(&self) -> Shape {
        self.range.shape()
    }

    fn read(&self, given: &Given<'_>) -> Option<StatusCode> {
        let status = self.range.read(given)?;
        if let Some(words) = (self.refused)(status) {
            given.fault(words);
            return None;
        }
        StatusCode::from_u16(status).ok()
    }

    fn spell(&self, status: &StatusCode) -> String {
        status.as_u16().to_string()
    }
}

/// In bytes.
const LONGEST_BODY: usize = 64 * 1024;

const BODY: Text<String> = text("a text of at most 64 KiB", |text| {
    let is_text = !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    if text.len() <= LONGEST_BODY && is_text { Ok(text.to_owned()) } else { refused() }
});

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const CONTENT_TYPE: Text<HeaderValue> = Text {
    what: "a media type as in \"application/json\"",
    parse: |text| {
        let (kind, rest) = text.split_once('/').unwrap_or_default();
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if kind.is_empty() || rest.is_empty() || !is_visible || text.trim() != text {
            return refused();
        }
        HeaderValue::try_from(text).or_else(|_| refused())
    },
    show: |value| value.to_str().unwrap_or_default().to_owned(),
};
