//! `keyward explain`: what would become of a request, and why.

use std::fmt;
use std::io::{self, IsTerminal as _, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use zeroize::{Zeroize as _, Zeroizing};

use super::context::{Context, DONE, REFUSED, WRONG_USAGE};
use super::{admin_client, table};
use crate::admin::ExplainRequest;
use crate::telemetry::{Decision, ExplainedCredential, ExplainedRoute, Explanation};

/// The most that is read from standard input, in bytes.
const INPUT_BYTES: usize = 64 * 1024;

/// Of what is not modelled.
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
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let headers = match input().and_then(|text| headers(&text)) {
            Ok(headers) => headers,
            Err(words) => return wrong_usage(context, &words),
        };
        let request =
            ExplainRequest { method: self.method, url: self.url, headers, from: self.from };
        if let Err(words) = request.to_http() {
            return wrong_usage(context, &words);
        }
        let explanation =
            match admin_client::administer(context, async |keyward| keyward.explain(request).await)
            {
                Ok(explanation) => explanation,
                Err(refused) => return refused,
            };
        let written = if self.json {
            json(context, &explanation)
        } else {
            write!(context.out, "{}", Lines(&explanation))
        };
        let shown = context.shown(written);
        let is_refused = explanation.decision == Decision::Refused;
        if shown == DONE && is_refused { REFUSED } else { shown }
    }
}

fn wrong_usage(context: &mut Context<'_>, words: &str) -> ExitCode {
    context.note(words);
    ExitCode::from(WRONG_USAGE)
}

fn json(context: &mut Context<'_>, explanation: &Explanation) -> io::Result<()> {
    let mut line = serde_json::to_vec(explanation)?;
    line.push(b'\n');
    context.out.write_all(&line)
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
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut token = None;
    for (at, line) in lines {
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(':') else {
            token.get_or_insert((at + 1, line.trim()));
            continue;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let Some((number, token)) = token else { return Ok(headers) };
    let is_alone =
        headers.is_empty() && text.lines().filter(|line| !line.trim().is_empty()).count() == 1;
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

/// An explanation as lines of `what: value`.
struct Lines<'a>(&'a Explanation);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explanation = self.0;
        let mut line = |what: &str, value: &str| writeln!(f, "{what}: {}", table::text(value));
        line("decision", explanation.decision.as_str())?;
        if let Some(status) = explanation.status {
            line("status", &status.to_string())?;
        }
        for (what, value) in [
            ("reason", &explanation.reason),
            ("cause", &explanation.cause),
            ("the client is told", &explanation.detail),
            ("challenge", &explanation.challenge),
            ("allowed methods", &explanation.allow),
        ] {
            if let Some(value) = value {
                line(what, value)?;
            }
        }
        line("method", &explanation.method)?;
        line("path", &explanation.path)?;
        line("host", explanation.host.as_deref().unwrap_or("none"))?;
        line("client", &explanation.client)?;
        match (&explanation.route, &explanation.answered_by) {
            (Some(route), _) => write_route(route, &mut line)?,
            (None, Some(answered_by)) => line("answered by", answered_by)?,
            (None, None) => line("route", "none")?,
        }
        match &explanation.credential {
            Some(credential) => write_credential(credential, &mut line)?,
            None => line("credential", missing_credential(explanation))?,
        }
        for header in &explanation.identity_headers {
            line("identity header", &format!("{}: {}", header.name, header.value))?;
        }
        match &explanation.upstream_path {
            Some(path) => line("path for the upstream", path),
            None => Ok(()),
        }
    }
}

/// Why there is no credential to tell of.
fn missing_credential(explanation: &Explanation) -> &'static str {
    match (&explanation.route, explanation.reason.as_deref()) {
        (_, Some("no_credential")) => "none",
        (_, Some("ambiguous_credential")) => "several, or one that can be read in two ways",
        (Some(route), _) if !route.accept.is_empty() => "none that is a token",
        _ => "not looked at",
    }
}

fn write_route(
    route: &ExplainedRoute,
    line: &mut impl FnMut(&str, &str) -> fmt::Result,
) -> fmt::Result {
    let or_any =
        |values: &[String]| if values.is_empty() { "any".to_owned() } else { values.join(", ") };
    line("route", &route.path)?;
    line("route's host", route.host.as_deref().unwrap_or("any"))?;
    line("route's methods", &or_any(&route.methods))?;
    line("route's upstream", &route.upstream)?;
    let is_public = route.accept.is_empty();
    line(
        "route accepts",
        &if is_public { "everybody".to_owned() } else { route.accept.join(", ") },
    )?;
    route.require.iter().try_for_each(|rule| line("route requires", rule))
}

fn write_credential(
    credential: &ExplainedCredential,
    line: &mut impl FnMut(&str, &str) -> fmt::Result,
) -> fmt::Result {
    line("credential", &format!("{}, {}", credential.source, credential.form))?;
    let Some(holder) = &credential.holder else { return Ok(()) };
    line("credential is", &format!("{} of {}", holder.kind, holder.issued_by))?;
    line("subject", &holder.subject)?;
    line("token id", holder.token_id.as_deref().unwrap_or("none"))?;
    line("expires", holder.expires_at.as_deref().unwrap_or("never"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        headers(text)
    }

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
            assert_eq!(read(text), token("sk-abc"), "{text:?}");
        }
        let both = vec![pair("Authorization", "Bearer x:y"), pair("X-API-Key", "k")];
        assert_eq!(read("Authorization: Bearer x:y\r\n\r\nX-API-Key:k \n"), Ok(both));
        assert_eq!(read(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_neither_is_refused_with_its_line_and_without_its_text() {
        for (text, line) in
            [("canary\ncanary2", 1), ("Accept: */*\ncanary", 2), ("Basic canary", 1)]
        {
            let words = read(text).expect_err("refused");
            assert!(
                words.contains(&format!("line {line},")) && !words.contains("canary"),
                "{words}"
            );
        }
    }
}
