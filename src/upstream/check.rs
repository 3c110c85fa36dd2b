//! Health checks: asks each endpoint, over a connection of its own, whether it is well.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};

use super::health::{UpstreamState, now_ms};
use super::pool::{Pool, Right};
use super::{HealthCheck, OwnFields, Purpose, RequestBody};

/// Begins the checks of an upstream that are due. Each is a task of its own, on this thread, which
/// needs a [`tokio::task::LocalSet`]; one process has one such thread.
pub fn begin_checks(state: &Arc<UpstreamState>) {
    let now = now_ms();
    for (at, share) in state.balancing().shares.iter().enumerate() {
        let check = if share.is_draining { None } else { state.begin_check(at, now) };
        let Some(number) = check else { continue };
        let state = Arc::clone(state);
        tokio::task::spawn_local(async move {
            let outcome = match &state.balancing().health_check {
                Some(check) => ask(&state, at, check).await,
                None => Ok(()),
            };
            state.end_check(at, number, outcome.err().as_deref(), now_ms());
        });
    }
}

/// Asks one endpoint; what is wrong, in words.
async fn ask(state: &UpstreamState, at: usize, check: &HealthCheck) -> Result<(), String> {
    let settings = state.settings();
    let Some(endpoint) = settings.endpoints.get(at) else { return Ok(()) };
    let pool = Rc::new(Pool::new(endpoint, settings));
    let asked = async {
        let channel = pool.open(Purpose::Response, true, Right::Any).await;
        let channel = channel.map_err(|fault| {
            state.note_unreachable(at);
            fault.fault().to_string()
        })?;
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = Uri::from(check.path.clone());
        let headers = request.headers_mut();
        headers.insert(header::HOST, check.host.clone().unwrap_or_else(|| endpoint.host()));
        headers.insert(header::USER_AGENT, const { HeaderValue::from_static("keyward") });
        let reply = pool.exchange(channel, &mut request, Purpose::Response, &NoFields).await;
        reply.map(|reply| reply.head.status).map_err(|failed| failed.fault.to_string())
    };
    let answered = tokio::time::timeout(check.timeout, asked).await;
    let status = answered.map_err(|_| "no answer came within its timeout".to_owned())??;
    if is_good(status, &check.statuses) { Ok(()) } else { Err(format!("the answer is {status}")) }
}

fn is_good(status: StatusCode, statuses: &[u16]) -> bool {
    if statuses.is_empty() { status.is_success() } else { statuses.contains(&status.as_u16()) }
}

/// A check has no fields but its own.
struct NoFields;

impl OwnFields for NoFields {
    fn each(&self, _: &mut dyn FnMut(&HeaderName, &HeaderValue)) {}
}
