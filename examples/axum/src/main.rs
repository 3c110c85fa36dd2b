//! Reads the identity headers of keyward, with axum.
//!
//! They are true only if nothing but keyward can connect. So this listens on 127.0.0.1, with
//! keyward on the same machine or in the same pod. Elsewhere a network policy or a firewall must
//! see to it: README.md, "Let nothing come past keyward".

use std::collections::HashMap;

use axum::extract::FromRequestParts;
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use percent_encoding::percent_decode_str;

struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.0 == StatusCode::UNAUTHORIZED {
            return (self.0, [(header::WWW_AUTHENTICATE, "Bearer")], self.1).into_response();
        }
        (self.0, self.1).into_response()
    }
}

/// What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8.
fn is_written(text: &str) -> bool {
    let is_escape = |rest: &str| rest.chars().take(2).filter(char::is_ascii_hexdigit).count() == 2;
    text.bytes().all(|b| b.is_ascii_graphic()) && text.split('%').skip(1).all(is_escape)
}

/// The value of a field that keyward sends once or, if the token does not say it, not at all.
fn one(parts: &Parts, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = parts.headers.get_all(name).iter(); // get() takes the first of two
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| is_written(text));
    match (text.map(|text| percent_decode_str(text).decode_utf8()), values.next()) {
        // An empty one is none.
        (Some(Ok(decoded)), None) => Ok(Some(decoded.into_owned()).filter(|it| !it.is_empty())),
        // Of two values, none is guessed to be right.
        _ => {
            let fault = format!("{name} is not as keyward sends it\n");
            Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, fault))
        }
    }
}

const NAMES: [&str; 4] = ["Subject", "Username", "Organization", "Role"];

/// What keyward says of the caller, by these names: nothing on a public route.
struct Identity(HashMap<&'static str, String>);

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let mut said = HashMap::new();
        for name in NAMES {
            said.extend(one(parts, &format!("X-Keyward-{name}"))?.map(|value| (name, value)));
        }
        let (id, subject) = (one(parts, "X-Request-Id")?.unwrap_or_default(), said.get("Subject"));
        // The id leads to keyward's access log. Debug escapes what a subject may hold.
        println!("request_id={id} subject={subject:?}");
        Ok(Self(said))
    }
}

impl Identity {
    /// The subject; refused if there is none, as keyward has a public route that leads here.
    fn subject(&self) -> Result<&str, Refusal> {
        let refusal = || Refusal(StatusCode::UNAUTHORIZED, "this needs a caller\n".into());
        self.0.get("Subject").map(String::as_str).ok_or_else(refusal)
    }

    fn lines(&self) -> String {
        let said = NAMES.into_iter().filter_map(|name| Some((name, self.0.get(name)?)));
        said.map(|(name, value)| format!("{name}: {value}\n")).collect()
    }
}

async fn whoami(caller: Identity) -> Result<String, Refusal> {
    caller.subject().map(|_| caller.lines())
}

async fn public_whoami(caller: Identity) -> String {
    if caller.0.is_empty() { "nobody\n".into() } else { caller.lines() }
}

async fn report(caller: Identity) -> Result<String, Refusal> {
    let subject = caller.subject()?;
    if caller.0.get("Role").is_none_or(|role| role != "admin") {
        return Err(Refusal(StatusCode::FORBIDDEN, "this needs the role admin\n".into()));
    }
    Ok(format!("a report for {subject}\n"))
}

async fn note(caller: Identity, body: String) -> Result<String, Refusal> {
    Ok(format!("{} wrote: {body}\n", caller.subject()?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = axum::Router::new()
        .route("/whoami", get(whoami))
        .route("/public/whoami", get(public_whoami))
        .route("/admin/report", get(report))
        .route("/notes", post(note));
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await
}
