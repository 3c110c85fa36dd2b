//! Where a ticket is taken: where a page has no other place for a credential than the address, and
//! makes one request that stays open.

use http::Method;
use http::header;
use http::request::Parts;

use crate::wire::fields;

/// Why a ticket counts for nothing in any other request. It is not used up by it.
pub(super) const ELSEWHERE: &str = "its ticket opens only a WebSocket, or an event stream by a GET whose Accept names \
     text/event-stream";

/// Whether a request is one that a ticket may open.
pub(super) fn is_taken(head: &Parts, is_websocket: bool) -> bool {
    is_websocket || head.method == Method::GET && accepts_events(head)
}

/// Whether `Accept` names `text/event-stream`: `*/*` is not enough.
fn accepts_events(head: &Parts) -> bool {
    let ranges = head.headers.get_all(header::ACCEPT).iter().flat_map(fields::tokens);
    ranges.into_iter().any(|range| {
        let media_type = range.split(|&byte| byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_ticket_is_taken_for_websockets_and_for_event_streams_that_are_asked_for() {
        let taken = |method: &str, accepts: &[&str], is_websocket| {
            let mut request = Request::builder().method(method).uri("/x");
            for accept in accepts {
                request = request.header("accept", *accept);
            }
            is_taken(&request.body(()).expect("a request").into_parts().0, is_websocket)
        };
        assert!(taken("GET", &[], true) && taken("CONNECT", &[], true));
        for accepts in [
            &["text/event-stream"][..],
            &["text/plain, Text/Event-Stream;q=0.9"],
            &["text/html", "text/event-stream ; charset=utf-8"],
        ] {
            assert!(taken("GET", accepts, false), "{accepts:?}");
            for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
                assert!(!taken(method, accepts, false), "{method}");
            }
        }
        for accepts in
            [&[][..], &["*/*"], &["text/*"], &["text/event-streams"], &["x;text/event-stream"]]
        {
            assert!(!taken("GET", accepts, false), "{accepts:?}");
        }
    }
}
