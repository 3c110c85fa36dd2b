//! How many requests may be made. All rates here are so slow that nothing comes back while a test
//! runs, but where a test waits for it.

mod answers;
mod concurrency;
mod reload;
mod scopes;

use crate::support::{Plan, Response, Upstream, World};

/// The usual world, with `/limited/…` for tokens, to which these lines are added.
fn world(upstream: &Upstream, lines: &str) -> World {
    plan(upstream, lines).start()
}

fn plan(upstream: &Upstream, lines: &str) -> Plan {
    Plan::usual(upstream).route(&format!(
        "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{lines}"
    ))
}

/// One item of `rate_limits`: so many at once, and one an hour.
fn slow(per: &str, burst: u32) -> String {
    format!("{{ per = {per:?}, rate = \"1/h\", burst = {burst} }}")
}

fn rates(items: &[String]) -> String {
    format!("rate_limits = [{}]", items.join(", "))
}

/// How many of so many requests are forwarded; all others are refused for a limit.
#[track_caller]
fn passes(count: usize, ask: impl Fn() -> Response) -> usize {
    let answers: Vec<_> = (0..count).map(|_| ask()).collect();
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 429), "{answer}");
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}
