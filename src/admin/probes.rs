//! The TCP listener: `/livez`, `/readyz`, `/startupz`, `/healthz`, `/metrics`. It changes nothing.

use std::sync::Arc;
use std::task::Context;

use http::{Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use serde_json::json;
use tokio::net::TcpListener;

use super::answer::{self, Answer};
use super::connection::{Handler, Stop, serve};
use super::status::{components_in_time, reasons_in_time};
use super::{Component, ComponentState, Status};

/// Serves the probes on `listener` until the signal to stop, then lets running exchanges end, for 5
/// seconds at most. Must run within a tokio runtime with time and I/O. Keep it up while draining:
/// `/readyz` reports that.
///
/// # Cancel safety
///
/// Dropping the future closes the listener and all its connections at once.
pub async fn serve_probes(listener: TcpListener, status: Arc<dyn Status>, stop: Stop) {
    let accept =
        |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    serve(accept, Arc::new(Probes { status }), stop).await;
}

const PATHS: [&str; 5] = ["/livez", "/readyz", "/startupz", "/healthz", "/metrics"];

struct Probes {
    status: Arc<dyn Status>,
}

impl Handler for Probes {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let has_body = !request.body().is_end_stream();
        let answer = if !PATHS.contains(&request.uri().path()) {
            answer::not_found()
        } else if request.method() != Method::GET && request.method() != Method::HEAD {
            answer::method_not_allowed("GET, HEAD")
        } else if has_body {
            answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "this path takes no request body")
        } else {
            return self.show(request.uri().path()).await;
        };
        if has_body { answer::and_close(answer) } else { answer }
    }
}

impl Probes {
    async fn show(&self, path: &str) -> Answer {
        let status = self.status.as_ref();
        match path {
            "/livez" => verdict(StatusCode::OK, "alive"),
            "/startupz" if status.is_started() => verdict(StatusCode::OK, "started"),
            "/startupz" => verdict(StatusCode::SERVICE_UNAVAILABLE, "starting"),
            "/readyz" => match reasons_in_time(status).await {
                reasons if reasons.is_empty() => verdict(StatusCode::OK, "ready"),
                reasons => answer::json(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({ "status": "not ready", "reasons": reasons }),
                ),
            },
            "/healthz" => health(&components_in_time(status).await),
            "/metrics" => answer::metrics(status.metrics()),
            _ => answer::not_found(),
        }
    }
}

fn verdict(code: StatusCode, status: &str) -> Answer {
    answer::json(code, &json!({ "status": status }))
}

fn health(components: &[Component]) -> Answer {
    let status = components.iter().map(|part| part.state).max().unwrap_or(ComponentState::Ok);
    let code = match status {
        ComponentState::Ok | ComponentState::Degraded => StatusCode::OK,
        ComponentState::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::json(code, &json!({ "status": status, "components": components }))
}
