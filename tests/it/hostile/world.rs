//! The world that plays a case.

use std::time::Duration;

use super::snapshot::Outcome;
use super::{Case, Expect, echoes, is_refusal, nothing, replace, shown};
use crate::support::{Client, Fault, Issued, Plan, Request, Response, TestUser, Upstream, World};

/// A keyward, an upstream behind it, and a token of one user.
pub(crate) struct HostileWorld {
    pub(crate) keyward: World,
    pub(crate) upstream: Upstream,
    pub(crate) issued: Issued,
}

pub(super) const PERSON: TestUser = TestUser::ALICE;

/// How long a refused connection may stay open.
pub(crate) const CLOSING: Duration = Duration::from_secs(5);

/// A target that marks requests whose body breaks off: what the upstream saw of them may be logged
/// late.
pub(crate) const BROKEN: &str = "/public/broken";

impl HostileWorld {
    pub(crate) fn start() -> Self {
        let upstream = Upstream::start();
        Self::start_with(Plan::usual(&upstream), upstream)
    }

    /// The same by another plan for this upstream.
    pub(crate) fn start_with(plan: Plan, upstream: Upstream) -> Self {
        let keyward = plan.start();
        let issued = keyward.key(PERSON);
        Self { keyward, upstream, issued }
    }

    pub(super) fn client(&self) -> Client {
        self.keyward.client().with_timeout(CLOSING)
    }

    /// A harmless request on a connection of its own gets its own answer.
    pub(crate) fn sentinel(&self) -> Result<(), String> {
        let mut client = self.client();
        client
            .send("GET /public/sentinel HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        match client.final_response("GET") {
            Ok((response, _)) => echoes(&response, "/public/sentinel"),
            Err(fault) => Err(format!("the sentinel got no answer: {fault:?}")),
        }
    }

    pub(super) fn play(&self, case: &Case) -> Result<Outcome, String> {
        self.upstream.take();
        let send = replace(&case.send, b"@TOKEN@", self.issued.token.as_bytes());
        let method = send.split(|&b| b == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        let mut client = self.client();
        client.send(&send);
        if case.finish {
            client.finish();
        }
        match &case.expect {
            Expect::Answers(statuses, targets) => self.play_answers(&mut client, statuses, targets),
            expect => self.play_one(&mut client, &method, case.finish, expect),
        }
        .map_err(|what| format!("{what}\n    the client read: {:?}", shown(client.seen())))
    }

    fn play_one(
        &self,
        client: &mut Client,
        method: &str,
        finish: bool,
        expect: &Expect,
    ) -> Result<Outcome, String> {
        let answer = match client.final_response(method) {
            Ok((response, interim)) => {
                if let Some(odd) = interim.iter().find(|one| !matches!(one.status, 100 | 103)) {
                    return Err(format!("an interim answer {}", odd.status));
                }
                Some(response)
            }
            Err(Fault::Closed) => None,
            Err(fault) => return Err(format!("no answer: {fault:?}")),
        };
        let is_kept = match &answer {
            Some(response) => self.go_on(client, response, expect, finish)?,
            None if matches!(expect, Expect::Cut(_))
                || (finish && matches!(expect, Expect::Broken(_))) =>
            {
                false
            }
            None => return Err("closed without an answer".into()),
        };
        self.sentinel()?;
        let status = answer.as_ref().map(|response| response.status);
        let at_upstream = self.at_upstream()?;
        let among = |statuses: &[u16]| match status {
            Some(status) if !statuses.contains(&status) => {
                Err(format!("answered {status}, not {statuses:?}"))
            }
            _ => answer.as_ref().map_or(Ok(()), is_refusal),
        };
        match expect {
            Expect::Refused(statuses) | Expect::Declined(statuses) | Expect::Cut(statuses) => {
                among(statuses)?;
                nothing(&at_upstream)
            }
            Expect::Broken(statuses) => {
                among(statuses)?;
                nothing(&at_upstream)
            }
            Expect::Either(statuses, _) if at_upstream.is_empty() => among(statuses),
            Expect::Forwarded(wants) | Expect::Either(_, wants) => {
                let response = answer.as_ref().ok_or("no answer")?;
                let [request] = at_upstream.as_slice() else {
                    let got = at_upstream.iter().map(|request| &request.target).collect::<Vec<_>>();
                    return Err(format!("answered {status:?}, and the upstream received {got:?}"));
                };
                if response.status != 200 {
                    return Err(format!("forwarded, but answered {status:?}"));
                }
                self.normal(request)?;
                wants.iter().try_for_each(|want| want.check(request))
            }
            Expect::Answers(..) => Err("a sequence is played elsewhere".into()),
        }?;
        let answer = status.map_or("none".to_owned(), |status| status.to_string());
        Ok(Outcome { answer, is_kept, forwarded: at_upstream.len() })
    }

    /// After the answer: the connection is closed if it must be, else it is closed or still in
    /// step. Says whether it is kept.
    fn go_on(
        &self,
        client: &mut Client,
        response: &Response,
        expect: &Expect,
        finish: bool,
    ) -> Result<bool, String> {
        let must_close = matches!(expect, Expect::Refused(_) | Expect::Cut(_) | Expect::Broken(_));
        if must_close || finish || response.until_close {
            return match client.rest() {
                Ok(rest) if rest.is_empty() => Ok(false),
                Ok(rest) => Err(format!("more bytes after the answer: {:?}", shown(&rest))),
                Err(_) => {
                    Err(format!("answered {}, but the connection stays open", response.status))
                }
            };
        }
        client.send("GET /public/after HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        match client.final_response("GET") {
            Err(Fault::Closed) => Ok(false),
            Ok((response, _)) => echoes(&response, "/public/after").map(|()| true),
            Err(fault) => Err(format!("the connection is out of step: {fault:?}")),
        }
    }

    /// What the upstream received of this case, in whole requests.
    pub(super) fn at_upstream(&self) -> Result<Vec<Request>, String> {
        let log = self.upstream.take();
        let others = ["/public/after", "/public/sentinel", BROKEN];
        if let Some(odd) = log.broken.iter().find(|what| !what.contains(BROKEN)) {
            return Err(format!("the upstream received half a request or none: {odd}"));
        }
        let requests = log.requests.into_iter();
        Ok(requests
            .filter(|request| {
                request.target == BROKEN || !others.contains(&request.target.as_str())
            })
            .collect())
    }

    fn play_answers(
        &self,
        client: &mut Client,
        statuses: &[&[u16]],
        targets: &[&str],
    ) -> Result<Outcome, String> {
        let mut seen = Vec::new();
        for (nth, allowed) in statuses.iter().enumerate() {
            let (response, _) = match client.final_response("GET") {
                Ok(answer) => answer,
                Err(fault) => return Err(format!("no answer {nth}: {fault:?}")),
            };
            if !allowed.contains(&response.status) {
                return Err(format!("answer {nth} is {}, not {allowed:?}", response.status));
            }
            if response.status != 200 {
                is_refusal(&response)?;
            }
            seen.push(response.status.to_string());
        }
        client.finish();
        match client.rest() {
            Ok(rest) if rest.is_empty() => {}
            other => return Err(format!("after the last answer: {other:?}")),
        }
        self.sentinel()?;
        let got = self.at_upstream()?;
        got.iter().try_for_each(|request| self.normal(request))?;
        let got: Vec<_> = got.iter().map(|request| request.target.as_str()).collect();
        if got != targets {
            return Err(format!("the upstream received {got:?}, not {targets:?}"));
        }
        Ok(Outcome { answer: seen.join(" "), is_kept: false, forwarded: got.len() })
    }
}
