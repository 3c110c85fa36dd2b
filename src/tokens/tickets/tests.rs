//! Tickets without HTTP: what is forged, altered, or of a key that was taken away.

use std::sync::atomic::{AtomicUsize, Ordering as AtomicOrdering};

use super::*;
use crate::domain::{Identity, Record, RecordKind, TokenId};
use crate::tokens::keyring::SecretBytes;
use crate::tokens::store::StoreFuture;
use crate::tokens::tickets::store::Bounds;
use crate::tokens::verified::Verified;

/// Counts how often it is asked for a ticket, and may alter it.
#[derive(Default)]
struct Watched {
    tickets: MemoryTickets,
    takes: AtomicUsize,
    instead_of_holder: Option<TokenDigest>,
}

impl Tickets for Watched {
    fn open(
        &self,
        digest: TokenDigest,
        ticket: OpenTicket,
        counted_by: CountedBy,
        bounds: Bounds,
        now: Timestamp,
    ) -> StoreFuture<Opening> {
        let holder = self.instead_of_holder.unwrap_or(ticket.holder);
        self.tickets.open(digest, OpenTicket { holder, ..ticket }, counted_by, bounds, now)
    }

    fn take(&self, digest: TokenDigest, now: Timestamp) -> StoreFuture<Option<OpenTicket>> {
        self.takes.fetch_add(1, AtomicOrdering::SeqCst);
        self.tickets.take(digest, now)
    }
}

const NOW: Timestamp = Timestamp::from_unix_millis(1_000_000);
const KEYS: [&[u8]; 2] = [b"one", b"two"];

fn later(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(NOW.unix_millis() + millis)
}

fn opaque(byte: u8) -> Arc<OpaqueTokens> {
    Arc::new(OpaqueTokens::new([&SecretBytes::new([byte; 32])]))
}

fn service(tickets: Watched) -> (TicketService, Arc<Watched>) {
    let tickets = Arc::new(tickets);
    let port = Arc::clone(&tickets) as Arc<dyn Tickets>;
    let deadline = Duration::from_secs(10);
    (TicketService::new(port, opaque(1), KeyIds::of(KEYS), deadline), tickets)
}

fn identity() -> Identity {
    Identity { subject: "ann".into(), username: None, organization: None, role: None, email: None }
}

fn record(kind: RecordKind) -> Record {
    Record {
        digest: TokenDigest::from_bytes([7; 32]),
        id: TokenId::from_uuid(uuid::Uuid::nil()),
        token_api: "platform".into(),
        kind,
        origin: None,
        identity: identity(),
        name: None,
        hint: None,
        issued_at: NOW,
        expires_at: None,
        last_used_at: None,
        limits: None,
    }
}

fn caller(kind: RecordKind) -> Caller {
    let record = record(kind);
    Caller { digest: record.digest, token: Arc::new(Verified::new(&record)), outside: None }
}

async fn issue(service: &TicketService) -> Vec<u8> {
    let ticket = service.issue(&caller(RecordKind::ApiKey), NOW).await.unwrap();
    ticket.expose().as_bytes().to_vec()
}

async fn redeem(service: &TicketService, ticket: &[u8], now: Timestamp) -> Option<TokenDigest> {
    match service.redeem(ticket, now).await.unwrap() {
        Redemption::Redeemed(holder) => Some(holder),
        Redemption::Refused(_) => None,
    }
}

#[tokio::test]
async fn a_ticket_is_good_once_and_for_its_time() {
    let (service, _) = service(Watched::default());
    let (first, second, third) =
        (issue(&service).await, issue(&service).await, issue(&service).await);
    assert!(first.starts_with(b"tkt_") && first != second);
    let holder = Some(TokenDigest::from_bytes([7; 32]));
    assert_eq!(redeem(&service, &first, NOW).await, holder);
    assert_eq!(redeem(&service, &first, NOW).await, None);
    assert_eq!(redeem(&service, &second, later(29_999)).await, holder);
    assert_eq!(redeem(&service, &third, later(30_000)).await, None);
}

#[tokio::test]
async fn only_a_token_that_opens_routes_and_has_a_record_gets_one() {
    let (service, _) = service(Watched::default());
    for kind in [
        RecordKind::Session,
        RecordKind::Bootstrap { mints_left: 1 },
        RecordKind::Bootstrap { mints_left: 0 },
    ] {
        let refused = service.issue(&caller(kind), NOW).await;
        assert!(matches!(refused, Err(TicketError::NoKey)), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_made_up_is_refused_without_the_store() {
    let (service, tickets) = service(Watched::default());
    let ticket = issue(&service).await;
    let other = TicketService::new(
        Arc::new(MemoryTickets::default()),
        opaque(2),
        KeyIds::of(KEYS),
        Duration::from_secs(10),
    );
    let mut forged = vec![issue(&other).await, Vec::new(), b"tkt_".to_vec()];
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
        forged.push(changed);
    }
    for made_up in forged {
        let outcome = service.redeem(&made_up, NOW).await.unwrap();
        assert!(matches!(outcome, Redemption::Refused(Refused::TicketMadeUp)), "{outcome:?}");
    }
    assert_eq!(tickets.takes.load(AtomicOrdering::SeqCst), 0);
    assert!(redeem(&service, &ticket, NOW).await.is_some());
}

#[tokio::test]
async fn a_store_that_was_written_to_cannot_have_it_open_what_another_token_opens() {
    let instead_of_holder = Some(TokenDigest::from_bytes([8; 32]));
    let (service, _) = service(Watched { instead_of_holder, ..Watched::default() });
    let ticket = issue(&service).await;
    let outcome = service.redeem(&ticket, NOW).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
}

#[tokio::test]
async fn when_a_key_is_taken_away_the_tickets_of_before_are_refused() {
    let (service, _) = service(Watched::default());
    let (before, kept) = (issue(&service).await, issue(&service).await);
    // One more is no reason.
    service.replace_keys(KeyIds::of([&b"one"[..], b"two", b"three"]), later(1));
    assert!(service.has_all_keys_since(NOW));
    assert!(redeem(&service, &kept, later(2)).await.is_some());
    service.replace_keys(KeyIds::of([&b"two"[..], b"three"]), later(10));
    assert_eq!(redeem(&service, &before, later(11)).await, None);
    assert!(!service.has_all_keys_since(later(10)) && service.has_all_keys_since(later(11)));
    let after = service.issue(&caller(RecordKind::ApiKey), later(11)).await.unwrap();
    assert!(redeem(&service, after.expose().as_bytes(), later(12)).await.is_some());
}

#[test]
fn tickets_are_counted_by_whoever_holds_the_token_whichever_token_it_is() {
    let counted = |token_api: &str, origin: Option<&str>, subject: &str, tenant: Option<&str>| {
        let record = Record {
            token_api: token_api.into(),
            origin: origin.map(Into::into),
            identity: Identity {
                subject: subject.into(),
                organization: tenant.map(Into::into),
                ..identity()
            },
            ..record(RecordKind::ApiKey)
        };
        let token = Arc::new(Verified::new(&record));
        counted_by(&Caller { digest: record.digest, token, outside: None })
    };
    let ann = counted("keys", None, "ann", Some("acme"));
    assert_eq!(counted("keys", None, "ann", Some("acme")), ann);
    assert_eq!(counted("others", Some("keys"), "ann", Some("acme")), ann, "of the same origin");
    let (bob, elsewhere) =
        (counted("keys", None, "bob", Some("acme")), counted("others", None, "ann", Some("acme")));
    for other in [bob, elsewhere] {
        assert_eq!(other.tenant, ann.tenant);
        assert_ne!(other.subject, ann.subject);
    }
    assert_ne!(counted("keys", None, "ann", Some("other")).tenant, ann.tenant);
    for none in [None, Some("")] {
        let ann = counted("keys", None, "ann", none);
        assert_eq!(ann.tenant, ann.subject, "one without a tenant is a tenant of its own");
        assert_ne!(counted("keys", None, "bob", none).tenant, ann.tenant);
    }
}

#[test]
fn no_ticket_shows_in_its_debug_form() {
    let ticket =
        opaque(1).mint(&OpaqueFormat { prefix: PREFIX.into(), alphabet: Alphabet::Base62 });
    assert_eq!(format!("{:?}", ticket.unwrap()), "RawToken([secret])");
}
