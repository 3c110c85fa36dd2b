//! The TCP listener: `/livez`, `/readyz`, `/startupz`, `/healthz`, `/metrics`. It shows, and changes
//! nothing.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use serde::Serialize;
use tokio::net::TcpListener;

use super::answer::{self, Answer};
use super::connection::{Handler, Stop, serve};
use super::status::{components_in_time, readiness_in_time};
use super::{Component, ComponentState, Status};

/// Serves the probes on `listener` until the signal to stop, then lets running exchanges end, for 5
/// seconds at most. Must run within a tokio runtime with time and I/O. Keep it up while draining:
/// `/readyz` is what says so.
///
/// # Cancel safety
///
/// Dropping the future closes the listener and all its connections at once.
pub async fn serve_probes(listener: TcpListener, status: Arc<dyn Status>, stop: Stop) {
    serve(&listener, Arc::new(Probes { status }), stop).await;
}

struct Probes {
    status: Arc<dyn Status>,
}

impl Handler for Probes {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let known = matches!(
            request.uri().path(),
            "/livez" | "/readyz" | "/startupz" | "/healthz" | "/metrics"
        );
        let answer = if !known {
            answer::not_found()
        } else if request.method() != Method::GET && request.method() != Method::HEAD {
            answer::method_not_allowed("GET, HEAD")
        } else if !request.body().is_end_stream() {
            answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "this path takes no request body")
        } else {
            return self.show(request.uri().path()).await;
        };
        if request.body().is_end_stream() { answer } else { answer::and_close(answer) }
    }
}

impl Probes {
    async fn show(&self, path: &str) -> Answer {
        let status = self.status.as_ref();
        match path {
            "/livez" => verdict(StatusCode::OK, "alive", Vec::new()),
            "/startupz" if status.is_started() => verdict(StatusCode::OK, "started", Vec::new()),
            "/startupz" => verdict(StatusCode::SERVICE_UNAVAILABLE, "starting", Vec::new()),
            "/readyz" => {
                let readiness = readiness_in_time(status).await;
                if readiness.is_ready() {
                    verdict(StatusCode::OK, "ready", Vec::new())
                } else {
                    verdict(StatusCode::SERVICE_UNAVAILABLE, "not ready", readiness.words())
                }
            }
            "/healthz" => health(&components_in_time(status).await),
            "/metrics" => answer::metrics(status.metrics()),
            _ => answer::not_found(),
        }
    }
}

fn verdict(code: StatusCode, status: &str, reasons: Vec<String>) -> Answer {
    #[derive(Serialize)]
    struct Verdict<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<String>,
    }
    answer::json(code, &Verdict { status, reasons })
}

fn health(components: &[Component]) -> Answer {
    #[derive(Serialize)]
    struct Health<'a> {
        status: ComponentState,
        components: &'a [Component],
    }
    let status = components.iter().map(|part| part.state).max().unwrap_or(ComponentState::Ok);
    let code = match status {
        ComponentState::Ok | ComponentState::Degraded => StatusCode::OK,
        ComponentState::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::json(code, &Health { status, components })
}
