//! The port as tests: what every store must do.
//!
//! A case is a function that takes an empty store and fails if it does not do as
//! [`crate::tokens::store`] says; [`conforms`] makes a test of each. What one store promises beyond
//! the port (what survives a crash, what a full disk does, the order of what was issued in the same
//! millisecond) is tested with that store.
//!
//! All moments are far ahead of any clock, so a store whose server lets records expire by itself
//! still has them all.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::{
    Identity, KeyLimits, Owner, Record, RecordKind, Timestamp, TokenDigest, TokenId,
};
use crate::tokens::store::{AuthorizedBy, Filter, Listed, Store};

pub(crate) mod issuing;
pub(crate) mod listing;
pub(crate) mod moving;
pub(crate) mod races;
pub(crate) mod records;
pub(crate) mod removing;
pub(crate) mod retiring;

/// Makes a test of each case. `$fresh` is an `async fn` without arguments: it returns an empty
/// store, after something that the store needs and that is dropped after it.
macro_rules! conforms {
    ($fresh:path) => {
        $crate::store::tests::conformance::conforms! { $fresh:
            records::find_returns_the_record_as_it_was_written_expired_or_not,
            records::find_by_id_looks_within_one_token_api,
            records::a_digest_or_id_that_is_taken_is_a_conflict_and_changes_nothing,
            records::touch_moves_the_last_use_forward_only_and_passes_over_the_unknown,
            records::purge_deletes_what_has_expired_up_to_its_limit,
            records::an_open_store_checks_and_settles,
            issuing::a_live_record_of_any_kind_authorizes,
            issuing::an_authorizing_record_that_is_gone_or_has_expired_is_refused,
            issuing::a_bootstrap_token_is_spent_key_by_key,
            issuing::replace_removes_every_other_key_of_the_owner,
            issuing::replace_of_the_key_that_authorizes,
            issuing::if_none_is_refused_while_another_is_live,
            issuing::if_none_replaces_what_has_expired,
            issuing::a_refused_issue_spends_nothing,
            removing::remove_has_three_outcomes,
            removing::remove_takes_any_kind,
            removing::remove_owned_names_the_keys_and_spares_the_rest,
            removing::a_key_may_remove_itself,
            listing::owned_lists_the_live_keys_of_one_owner_oldest_first,
            listing::owners_are_told_apart_to_the_byte,
            listing::browse_shows_what_matches_oldest_first,
            retiring::a_retired_key_is_listed_and_opens_nothing,
            retiring::a_retired_key_stays_what_it_was,
            retiring::a_retired_key_blocks_no_other_but_keeps_its_names,
            retiring::remove_owned_retires_what_is_live,
            retiring::only_a_live_key_is_retired,
            retiring::the_newest_retired_keys_of_an_owner_are_kept,
            moving::every_retired_key_is_shown_oldest_first,
            moving::a_live_record_is_restored_as_it_was,
            moving::a_retired_key_is_restored_as_it_was,
            moving::what_is_taken_is_not_restored_over,
            races::what_is_issued_while_everything_is_removed_is_removed,
            races::what_any_record_issues_while_keys_are_removed_is_listed_or_named,
            races::what_is_issued_while_its_authorization_is_removed_is_listed,
            races::if_none_issues_one,
            races::replace_leaves_one_and_names_the_others_once,
            races::a_bootstrap_token_makes_exactly_what_it_is_good_for,
            races::a_record_is_removed_once,
            races::an_id_is_given_once,
        }
    };
    ($fresh:path: $($module:ident::$case:ident,)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (_needed, store) = $fresh().await;
                let case = $crate::store::tests::conformance::$module::$case(store);
                let timeout = std::time::Duration::from_secs(60);
                tokio::time::timeout(timeout, case).await.expect("the store hangs");
            }
        )+
    };
}
pub(crate) use conforms;

/// The moment at which the cases take place: in the year 2096.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_millis(4_000_000_000_000);

/// So many milliseconds after [`NOW`].
pub(crate) fn at(offset: i64) -> Timestamp {
    Timestamp::from_unix_millis(NOW.unix_millis() + offset)
}

/// The digest with this number.
pub(crate) fn digest(number: u64) -> TokenDigest {
    // Spread as a MAC's are.
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_le_bytes());
    TokenDigest::from_bytes(hash.as_ref().try_into().unwrap())
}

/// A subject of the token API `platform`.
pub(crate) fn owner(subject: &str) -> Owner {
    Owner { token_api: "platform".into(), origin: None, subject: subject.into() }
}

/// An API key of `subject`, issued `number` ms after the epoch, that does not expire.
pub(crate) fn api_key(number: u64, subject: &str) -> Record {
    Record {
        digest: digest(number),
        id: TokenId::from_uuid(uuid::Uuid::from_u128(u128::from(number) << 64 | 1)),
        token_api: "platform".into(),
        kind: RecordKind::ApiKey,
        origin: None,
        identity: Identity {
            subject: subject.into(),
            username: Some(format!("{subject}-name")),
            organization: Some("acme".into()),
            role: Some("user".into()),
            email: None,
        },
        name: Some(format!("key {number}")),
        hint: None,
        limits: None,
        issued_at: Timestamp::from_unix_millis(i64::try_from(number).unwrap()),
        expires_at: None,
        last_used_at: None,
    }
}

/// Every limit that a key can have.
pub(crate) fn some_limits() -> Option<KeyLimits> {
    let limits = r#"{"rate":"5/m","burst":7,"concurrent_requests":3}"#;
    Some(serde_json::from_str(limits).unwrap())
}

/// A bootstrap token in the place of that API key.
pub(crate) fn bootstrap(number: u64, subject: &str, mints_left: u32) -> Record {
    Record { kind: RecordKind::Bootstrap { mints_left }, ..api_key(number, subject) }
}

/// A session in the place of that API key.
pub(crate) fn session(number: u64, subject: &str) -> Record {
    Record { kind: RecordKind::Session, ..api_key(number, subject) }
}

/// The same, with an end.
pub(crate) fn expiring(record: Record, end: Timestamp) -> Record {
    Record { expires_at: Some(end), ..record }
}

/// The record with this number as what authorizes a change.
pub(crate) fn by(number: u64) -> AuthorizedBy {
    AuthorizedBy::Record(digest(number))
}

async fn provision(store: &Arc<dyn Store>, records: impl IntoIterator<Item = Record>) {
    for record in records {
        store.provision(record).await.unwrap();
    }
}

/// Every record that is there and not retired, oldest first.
async fn all(store: &Arc<dyn Store>) -> Vec<Record> {
    store.browse(Filter::default()).await.unwrap()
}

/// The keys in the list of that owner at [`NOW`].
async fn owned(store: &Arc<dyn Store>, owner: Owner) -> Vec<Listed> {
    store.owned(AuthorizedBy::Outside, owner, NOW).await.unwrap().unwrap()
}

fn live(record: Record) -> Listed {
    Listed { record, retired_at: None }
}

fn retired(record: Record, at: Timestamp) -> Listed {
    Listed { record, retired_at: Some(at) }
}

fn digests<const N: usize>(numbers: [u64; N]) -> HashSet<TokenDigest> {
    numbers.into_iter().map(digest).collect()
}

/// As a set, for what is named in no order; each once.
fn unordered(named: Vec<TokenDigest>) -> HashSet<TokenDigest> {
    let count = named.len();
    let set: HashSet<_> = named.into_iter().collect();
    assert_eq!(set.len(), count, "a digest is named twice");
    set
}
