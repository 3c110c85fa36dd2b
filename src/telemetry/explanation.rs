//! What keyward would do with a request and why, without any token.

use serde::{Deserialize, Serialize};

/// What would become of a request. As JSON every key is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What would be done with it.
    pub decision: Decision,
    /// The status that keyward would answer; `None`: the upstream's would be passed on.
    pub status: Option<u16>,
    /// The name of the refusal in the access log and in the metrics ([`super::Reason::as_str`]).
    pub reason: Option<String>,
    /// The cause in the access log, where the reason alone does not say it.
    pub cause: Option<String>,
    /// What the client would be told of the refusal.
    pub detail: Option<String>,
    /// The value of `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// The methods that are allowed, where this one is not.
    pub allow: Option<String>,
    /// The method.
    pub method: String,
    /// The path in its normal form, without the query; as it was asked for, if it has none.
    pub path: String,
    /// The host, with its port.
    pub host: Option<String>,
    /// The client's address: that of the connection, or as a trusted proxy says.
    pub client: String,
    /// What of keyward's own would answer: a call of a token API, the public keys, a page.
    pub answered_by: Option<String>,
    /// Where a redirect would lead.
    pub location: Option<String>,
    /// Why more specific routes with the same host and path were not chosen, each with what it asks
    /// for.
    pub passed_over: Vec<String>,
    /// The route that was chosen.
    pub route: Option<ExplainedRoute>,
    /// How many requests may be made, each with the key that says so: `100/s, 200 at once, per token
    /// ("rate_limits" of the route)`. What has been counted is not asked.
    pub rate_limits: Vec<String>,
    /// What a browser would be told of pages of other origins; `None`: nothing, as no policy
    /// applies.
    pub cors: Option<ExplainedCors>,
    /// The credential that was looked at.
    pub credential: Option<ExplainedCredential>,
    /// The identity headers that the upstream would get.
    pub identity_headers: Vec<ExplainedHeader>,
    /// The path that the upstream would see, where it is another.
    pub upstream_path: Option<String>,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It goes to an upstream.
    #[serde(rename = "forwarded")]
    Forwarded,
    /// keyward answers it itself.
    #[serde(rename = "answered by keyward")]
    Answered,
    /// keyward refuses it.
    #[default]
    #[serde(rename = "refused")]
    Refused,
}

impl Decision {
    /// In words, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Answered => "answered by keyward",
            Self::Refused => "refused",
        }
    }
}

/// One `[[route]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// Its path pattern.
    pub path: String,
    /// Its host, or `*.` and a suffix; `None`: any.
    pub host: Option<String>,
    /// Its scheme; `None`: both.
    pub scheme: Option<String>,
    /// Its methods; empty: any.
    pub methods: Vec<String>,
    /// Its conditions, each a sentence's part: `the header "x-version" is "2"`.
    pub when: Vec<String>,
    /// The name of its upstream; `None`: it has an answer of keyward's own.
    pub upstream: Option<String>,
    /// Its answer: `a redirect (308) to "https://www.example.com{path}"`.
    pub answer: Option<String>,
    /// What it changes in the headers of requests and answers, without the values: `requests: sets
    /// authorization`.
    pub header_changes: Vec<String>,
    /// The protocols to which clients may switch.
    pub upgrades: Vec<String>,
    /// The token APIs and issuers whose tokens it accepts; empty: it is public.
    pub accept: Vec<String>,
    /// How long its exchanges may take and how large their requests may be, each with the key that
    /// says so: `response head: 1m ("response_head" in [timeouts])`.
    pub limits: Vec<String>,
    /// What of its responses is compressed, and with what; `None`: nothing.
    pub compression: Option<String>,
    /// What it asks of the caller, each a sentence's part: `role "admin"`.
    pub require: Vec<String>,
}

/// What the answer tells browsers (CORS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedCors {
    /// Whether a page of the origin that the request names may have the answer; false, where it
    /// names none.
    pub lets_in: bool,
    /// The fields that say so.
    pub headers: Vec<ExplainedHeader>,
}

/// The credential of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedCredential {
    /// The field that it came in.
    pub source: String,
    /// What it claims to be, by its first characters.
    pub form: String,
    /// The holder of the credential; `None`: the credential was not found good.
    pub holder: Option<ExplainedHolder>,
}

/// The holder of a credential that was found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedHolder {
    /// What it is: `API key`, `login`, `bootstrap token`, `JWT of an issuer`.
    pub kind: String,
    /// The name of the token API or issuer that it is of.
    pub issued_by: String,
    /// The subject.
    pub subject: String,
    /// The token's id.
    pub token_id: Option<String>,
    /// The first moment at which it is no longer accepted, in RFC 3339; `None`: it does not expire.
    pub expires_at: Option<String>,
}

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}
