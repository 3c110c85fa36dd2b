//! `keyward explain`: what would become of a request, and why.

use std::io::{self, IsTerminal as _, Read as _};
use std::net::{IpAddr, Ipv4Addr};

use zeroize::{Zeroize as _, Zeroizing};

use super::context::Context;
use super::failure::Failure;
use super::{admin_client, table};
use crate::admin::ExplainRequest;
use crate::telemetry::{
    Decision, ExplainedCredential, ExplainedHeader, ExplainedRoute, Explanation,
};

/// The most that is read from standard input, in bytes.
const INPUT_BYTES: usize = 64 * 1024;

const AFTER_HELP: &str = "Standard input is a token alone on one line, or \"Name: value\" lines. \
The request is one of HTTP/1.1 without a client certificate: what HTTP/2, gRPC and certificates of \
clients change is not explained.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The method.
    method: String,
    /// The whole URL, as the client has it.
    url: String,
    /// The address from which the client would connect.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let headers = input().and_then(|text| headers(&text)).map_err(Failure::wrong_usage)?;
        let request =
            ExplainRequest { method: self.method, url: self.url, headers, from: self.from };
        request.to_http().map_err(Failure::wrong_usage)?;
        let explanation =
            admin_client::administer(context, async |keyward| keyward.explain(request).await)?;
        if self.json {
            context.print_json(&explanation)?;
        } else {
            for (what, value) in lines(&explanation) {
                context.print(format_args!("{what}: {}", table::text(&value)))?;
            }
        }
        match explanation.decision {
            Decision::Refused => Err(Failure::SHOWN),
            _ => Ok(()),
        }
    }
}

/// What is piped in; nothing, from a terminal.
fn input() -> Result<Zeroizing<String>, String> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Ok(Zeroizing::default());
    }
    // As large as it may get, so that it never moves and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(INPUT_BYTES + 1));
    let read = stdin.by_ref().take(INPUT_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|fault| format!("standard input cannot be read: {fault}"))?;
    if bytes.len() > INPUT_BYTES {
        return Err("standard input is longer than 64 KiB".to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "standard input is not UTF-8".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Header fields, one a line; or one line without a colon, which is a token. The words repeat
/// nothing of them.
fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut without_colon = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => without_colon.push((number, line.trim())),
        }
    }
    let Some((number, token)) = without_colon.first().copied() else { return Ok(headers) };
    let is_alone = headers.is_empty() && without_colon.len() == 1;
    // What is copied from a header field comes with its scheme.
    let scheme = token.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let bare = token.get(scheme.map_or(0, str::len)..).unwrap_or_default().trim();
    if is_alone && !bare.contains(char::is_whitespace) {
        return Ok(vec![("Authorization".to_owned(), format!("Bearer {bare}"))]);
    }
    for (_, value) in &mut headers {
        value.zeroize();
    }
    Err(format!(
        "standard input, line {number}, is no header (\"Name: value\"), and a token must stand \
         alone"
    ))
}

/// A line: what it says something of, and what.
type Line = (&'static str, String);

fn lines(explanation: &Explanation) -> Vec<Line> {
    let mut lines = vec![("decision", explanation.decision.as_str().to_owned())];
    let of_refusal = [
        ("status", explanation.status.map(|status| status.to_string())),
        ("reason", explanation.reason.clone()),
        ("cause", explanation.cause.clone()),
        ("the client is told", explanation.detail.clone()),
        ("challenge", explanation.challenge.clone()),
        ("allowed methods", explanation.allow.clone()),
    ];
    lines.extend(of_refusal.into_iter().filter_map(|(what, value)| Some((what, value?))));
    lines.extend([
        ("method", explanation.method.clone()),
        ("path", explanation.path.clone()),
        ("host", or(explanation.host.as_ref(), "none")),
        ("client", explanation.client.clone()),
    ]);
    if let Some(answered_by) = &explanation.answered_by {
        lines.push(("answered by", answered_by.clone()));
    }
    lines.extend(explanation.location.clone().map(|location| ("location", location)));
    lines.extend(explanation.passed_over.iter().map(|why| ("not chosen", why.clone())));
    match (&explanation.route, &explanation.answered_by) {
        (Some(route), _) => lines.extend(route_lines(route)),
        (None, Some(_)) => {}
        (None, None) => lines.push(("route", "none".to_owned())),
    }
    lines.extend(explanation.rate_limits.iter().map(|limit| ("rate limit", limit.clone())));
    if let Some(cors) = &explanation.cors {
        let words = if cors.lets_in {
            "a browser lets the page have the answer"
        } else {
            "a browser keeps the answer from pages of other origins"
        };
        lines.push(("CORS", words.to_owned()));
        let header = |header: &ExplainedHeader| format!("{}: {}", header.name, header.value);
        lines.extend(cors.headers.iter().map(|field| ("CORS header", header(field))));
    }
    match &explanation.credential {
        Some(credential) => lines.extend(credential_lines(credential)),
        None => lines.push(("credential", missing_credential(explanation).to_owned())),
    }
    for header in &explanation.identity_headers {
        lines.push(("identity header", format!("{}: {}", header.name, header.value)));
    }
    lines.extend(explanation.upstream_path.clone().map(|path| ("path for the upstream", path)));
    lines
}

fn or(value: Option<&String>, absent: &str) -> String {
    value.map_or(absent, String::as_str).to_owned()
}

/// Why the explanation has no credential.
fn missing_credential(explanation: &Explanation) -> &'static str {
    match (&explanation.route, explanation.reason.as_deref()) {
        (_, Some("no_credential")) => "none",
        (_, Some("ambiguous_credential")) => "several, or one that can be read in two ways",
        (Some(route), _) if !route.accept.is_empty() => "none that is a token",
        _ => "not looked at",
    }
}

fn route_lines(route: &ExplainedRoute) -> Vec<Line> {
    let listed = |values: &[String], empty: &str| match values {
        [] => empty.to_owned(),
        _ => values.join(", "),
    };
    let mut lines = vec![
        ("route", route.path.clone()),
        ("route's host", or(route.host.as_ref(), "any")),
        ("route's methods", listed(&route.methods, "any")),
        ("route accepts", listed(&route.accept, "everybody")),
    ];
    for (what, value) in [
        ("route's scheme", &route.scheme),
        ("route's upstream", &route.upstream),
        ("route's answer", &route.answer),
    ] {
        lines.extend(value.clone().map(|value| (what, value)));
    }
    for (what, values) in
        [("route's condition", &route.when), ("route changes headers", &route.header_changes)]
    {
        lines.extend(values.iter().map(|value| (what, value.clone())));
    }
    if route.upstream.is_some() {
        lines.push(("route's upgrades", listed(&route.upgrades, "none")));
    }
    lines.extend(route.limits.iter().map(|limit| ("route's limit", limit.clone())));
    lines.extend(route.compression.iter().map(|rules| ("route compresses", rules.clone())));
    lines.extend(route.require.iter().map(|rule| ("route requires", rule.clone())));
    lines
}

fn credential_lines(credential: &ExplainedCredential) -> Vec<Line> {
    let mut lines = vec![("credential", format!("{}, {}", credential.source, credential.form))];
    if let Some(holder) = &credential.holder {
        lines.extend([
            ("credential is", format!("{} of {}", holder.kind, holder.issued_by)),
            ("subject", holder.subject.clone()),
            ("token id", or(holder.token_id.as_ref(), "none")),
            ("expires", or(holder.expires_at.as_ref(), "never")),
        ]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn one_line_without_a_colon_is_a_token_and_lines_with_one_are_headers() {
        let token = |token: &str| Ok(vec![pair("Authorization", &format!("Bearer {token}"))]);
        for text in [
            "sk-abc",
            "sk-abc\n",
            "\r\n  sk-abc \r\n",
            "Bearer sk-abc\n",
            "bearer  sk-abc",
            "\u{feff}sk-abc",
        ] {
            assert_eq!(headers(text), token("sk-abc"), "{text:?}");
        }
        let both = vec![pair("Authorization", "Bearer x:y"), pair("X-API-Key", "k")];
        assert_eq!(headers("Authorization: Bearer x:y\r\n\r\nX-API-Key:k \n"), Ok(both));
        assert_eq!(headers(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_neither_is_refused_with_its_line_and_without_its_text() {
        for (text, line) in
            [("canary\ncanary2", 1), ("Accept: */*\ncanary", 2), ("Basic canary", 1)]
        {
            let words = headers(text).expect_err("refused");
            assert!(
                words.contains(&format!("line {line},")) && !words.contains("canary"),
                "{words}"
            );
        }
    }
}
