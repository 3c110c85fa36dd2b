//! Upstreams that misbehave (RFC 9112, 6.3, 8): what is no response becomes 502, what breaks off is
//! cut at the client too, and nothing that one upstream sends too much is ever shown to another
//! request.

mod fields;
mod interim;
mod retries;
mod table;

use super::snapshot::{Outcome, Suite};
use super::{HostileWorld, echoes, is_refusal};
use crate::support::{Act, Fault, Reply, Response};
use table::Get::{BadGateway, CutOrBad, Passed, PassedOrBad};
use table::{CASES, Case};

pub(super) fn names() -> impl Iterator<Item = String> {
    CASES.iter().map(|case| case.name.to_owned())
}

/// What no client may see of any answer in the table.
fn is_clean(response: &Response) -> Result<(), String> {
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        if response.fields.has(name) {
            return Err(format!("{name} came through: {response}"));
        }
    }
    if response.text().contains("evil") {
        return Err(format!("bytes of no answer came through: {response}"));
    }
    Ok(())
}

fn play(world: &HostileWorld, case: &Case) -> Result<Outcome, String> {
    let mut reply = Reply::bytes(case.reply);
    if case.close {
        reply = reply.then(Act::Close);
    }
    world.upstream.answer("/public/case", reply);
    world.upstream.take();
    let mut client = world.client();
    client.send("GET /public/case HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let bad = |response: &Response| {
        if response.status == 502 {
            is_refusal(response)
        } else {
            Err(format!("not 502 but {response}"))
        }
    };
    let (answer, is_kept) = match (client.final_response("GET"), case.expect) {
        (Ok((response, interim)), expect) => {
            if let Some(odd) = interim.iter().find(|one| !matches!(one.status, 100 | 103)) {
                return Err(format!("{} came through", odd.status));
            }
            is_clean(&response)?;
            match expect {
                Passed(status, body) | PassedOrBad(status, body) if response.status == status => {
                    if response.text() != body {
                        return Err(format!("another body: {response}"));
                    }
                    if !response.fields.has("via") {
                        return Err(format!("no Via: {response}"));
                    }
                }
                BadGateway | PassedOrBad(..) | CutOrBad => bad(&response)?,
                Passed(..) => return Err(format!("not passed: {response}")),
            }
            let mut is_kept = false;
            if !response.until_close {
                client.send(
                    "GET /public/after HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
                );
                match client.final_response("GET") {
                    Err(Fault::Closed) => {}
                    Ok((response, _)) => {
                        echoes(&response, "/public/after")?;
                        is_kept = true;
                    }
                    Err(fault) => return Err(format!("the connection is out of step: {fault:?}")),
                }
            }
            (response.status.to_string(), is_kept)
        }
        (Err(Fault::Closed | Fault::Truncated(_)), CutOrBad) => {
            if String::from_utf8_lossy(client.seen()).contains("evil") {
                return Err("bytes behind the fault came through".into());
            }
            ("cut".to_owned(), false)
        }
        (Err(fault), _) => return Err(format!("no answer: {fault:?}")),
    };
    // More sentinels than pooled connections: what the upstream sent too much must be in none of
    // the answers.
    for _ in 0..4 {
        world.sentinel()?;
    }
    let log = world.upstream.take();
    let served: Vec<_> =
        log.requests.iter().filter(|request| request.target == "/public/case").collect();
    if served.len() > 2 || !log.broken.is_empty() {
        return Err(format!("the upstream saw it {} times, and {:?}", served.len(), log.broken));
    }
    if matches!(case.expect, BadGateway | CutOrBad) {
        for bad in served {
            if log
                .requests
                .iter()
                .any(|other| other.connection == bad.connection && other.nth > bad.nth)
            {
                return Err("the connection was used again".into());
            }
        }
    }
    // A GET that nothing answered on a reused connection may be sent again, so it is not counted.
    Ok(Outcome { answer, is_kept, forwarded: 1 })
}

#[test]
fn a_wrong_response_of_an_upstream_is_never_passed_to_a_client() {
    let world = HostileWorld::start();
    let mut suite = Suite::new("http1", "responses");
    let mut wrong = Vec::new();
    for case in CASES {
        match play(&world, case) {
            Ok(outcome) => suite.note(case.name, &outcome),
            Err(what) => {
                suite.note_wrong(case.name);
                let sent = String::from_utf8_lossy(case.reply);
                wrong.push(format!("- {}: {what}\n    the upstream sent: {sent:?}", case.name));
            }
        }
    }
    let differences = suite.check();
    let (wrongs, total) = (wrong.len(), CASES.len());
    assert!(
        wrong.is_empty(),
        "{wrongs} of {total} cases are wrong\n{}\n{differences:?}",
        wrong.join("\n")
    );
    differences.unwrap_or_else(|what| panic!("{what}"));
}
