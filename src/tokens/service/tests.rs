//! What the service asks of a store in which order, and what it makes of the answers.

use std::sync::Mutex;

use uuid::Uuid;

use super::*;
use crate::domain::{Identity, Owner, RecordSort};
use crate::tokens::cache::{Answer, Join};
use crate::tokens::keyring::{Peppers, SecretBytes};
use crate::tokens::lease::Lease;
use crate::tokens::opaque::OpaqueTokens;
use crate::tokens::signed::{KeyMaterial, SignedTokens, SigningAlgorithm};
use crate::tokens::store::{Filter, Store, StoreFuture};
use crate::tokens::verified::Verified;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);
const ALGORITHM: SigningAlgorithm = SigningAlgorithm::Hs256;

/// Answers what it was told to, and writes down what it was asked.
struct Scripted {
    found: Option<Listed>,
    issue: Issue,
    removal: Removal,
    settles: bool,
    diary: Mutex<Vec<String>>,
}

impl Scripted {
    fn new() -> Self {
        Self {
            found: None,
            issue: Issue::Issued { removed: vec![] },
            removal: Removal::Removed,
            settles: true,
            diary: Mutex::default(),
        }
    }

    fn answer<T: Send + 'static>(&self, entry: String, answer: T) -> StoreFuture<T> {
        self.diary.lock().unwrap().push(entry);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl Store for Scripted {
    fn find(&self, _: TokenDigest) -> StoreFuture<Option<Record>> {
        self.answer("find".into(), None)
    }

    fn find_by_id(&self, token_api: String, _: TokenId) -> StoreFuture<Option<Listed>> {
        let found = self.found.clone().filter(|found| found.record.token_api == token_api);
        self.answer(format!("find in {token_api}"), found)
    }

    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        place: IssueMode,
        _: Timestamp,
    ) -> StoreFuture<Issue> {
        self.answer(
            format!("issue {authorized_by:?} {:?} {place:?}", child.owner()),
            self.issue.clone(),
        )
    }

    fn provision(&self, _: Record) -> StoreFuture<()> {
        self.answer("provision".into(), ())
    }

    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        _: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>> {
        self.answer(format!("owned {authorized_by:?} {owner:?}"), Some(vec![]))
    }

    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        _: Timestamp,
    ) -> StoreFuture<Removal> {
        self.answer(format!("remove {authorized_by:?} {target:?} {on_remove:?}"), self.removal)
    }

    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        _: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.answer(format!("remove_owned {authorized_by:?} {owner:?} {on_remove:?}"), Some(vec![]))
    }

    fn settle(&self) -> StoreFuture<()> {
        if !self.settles {
            return Box::pin(std::future::ready(Err(StoreError::TimedOut)));
        }
        self.answer("settle".into(), ())
    }

    fn browse(&self, _: Filter) -> StoreFuture<Vec<Record>> {
        self.answer("browse".into(), vec![])
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.answer("retired".into(), vec![])
    }

    fn restore(&self, _: Listed) -> StoreFuture<()> {
        self.answer("restore".into(), ())
    }

    fn touch(&self, _: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        self.answer("touch".into(), ())
    }

    fn purge(&self, _: Timestamp, _: usize) -> StoreFuture<usize> {
        self.answer("purge".into(), 0)
    }

    fn check(&self) -> StoreFuture<()> {
        self.answer("check".into(), ())
    }
}

struct Bench {
    store: Arc<Scripted>,
    cache: Arc<TokenCache>,
    service: TokenService,
}

fn context(store: Scripted) -> Bench {
    let store = Arc::new(store);
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let signed = SignedTokens::new(
        "keyward".into(),
        [("k1".into(), ALGORITHM, KeyMaterial::new(vec![7; 32]))],
    )
    .unwrap();
    let parts = TokenParts {
        store: store.clone(),
        cache: Arc::clone(&cache),
        signed: Arc::new(signed),
        opaque: Arc::new(OpaqueTokens::new([&SecretBytes::new([2; 32])])),
        peppers: Arc::new(Peppers::new(&SecretBytes::new([1; 32]), [])),
        deadline: Duration::from_secs(10),
    };
    let service = TokenService::new(parts, Arc::default());
    Bench { store, cache, service }
}

impl Bench {
    async fn execute(
        &self,
        caller: &Caller,
        command: Command,
    ) -> Result<CommandOutcome, CommandError> {
        let minting = Minting::Signed(ALGORITHM);
        self.service
            .execute(caller, TokenApiContext { token_api: "api", minting: &minting }, command, NOW)
            .await
    }

    /// What was asked since the last look.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.store.diary.lock().unwrap())
    }
}

fn record(number: u8, kind: RecordKind) -> Record {
    Record {
        digest: TokenDigest::from_bytes([number; 32]),
        id: TokenId::from_uuid(Uuid::from_u128(u128::from(number))),
        token_api: "api".into(),
        kind,
        origin: Some("idp".into()),
        identity: Identity {
            subject: "ann".into(),
            username: None,
            organization: None,
            role: None,
            email: None,
        },
        name: None,
        hint: None,
        limits: None,
        issued_at: NOW,
        expires_at: None,
        last_used_at: None,
    }
}

fn caller(kind: RecordKind) -> Caller {
    let record = record(1, kind);
    Caller { digest: record.digest, token: Arc::new(Verified::new(&record)), outside: None }
}

fn found(record: Record) -> Option<Listed> {
    Some(Listed { record, retired_at: None })
}

#[tokio::test]
async fn what_is_gone_is_called_so_only_when_the_fleet_has_settled() {
    let target = record(2, RecordKind::ApiKey);
    let expired = Record { expires_at: Some(NOW), ..target.clone() };
    for (what, found, removal) in [
        ("unknown", None, Removal::Removed),
        ("expired", found(expired), Removal::Removed),
        (
            "retired",
            Some(Listed { record: target.clone(), retired_at: Some(NOW) }),
            Removal::Removed,
        ),
        ("a session", found(record(2, RecordKind::Session)), Removal::Removed),
        ("quicker", found(target.clone()), Removal::Absent),
    ] {
        for settles in [true, false] {
            let context =
                context(Scripted { found: found.clone(), removal, settles, ..Scripted::new() });
            let outcome =
                context.execute(&caller(RecordKind::ApiKey), Command::Revoke(target.id)).await;
            if settles {
                assert!(
                    matches!(outcome, Ok(CommandOutcome::NotFound(id)) if id == target.id),
                    "{what}: {outcome:?}"
                );
                assert_eq!(context.asked().last().map(String::as_str), Some("settle"), "{what}");
            } else {
                assert!(
                    matches!(outcome, Err(CommandError::Store(StoreError::TimedOut))),
                    "{what}: {outcome:?}"
                );
            }
        }
    }
    let context = context(Scripted { found: found(target.clone()), ..Scripted::new() });
    let outcome = context.execute(&caller(RecordKind::ApiKey), Command::Revoke(target.id)).await;
    assert!(matches!(outcome, Ok(CommandOutcome::Revoked(_))), "{outcome:?}");
    assert!(
        !context.asked().contains(&"settle".to_owned()),
        "a removal is in force everywhere when it returns"
    );
}

#[tokio::test]
async fn a_key_that_is_gone_is_told_so_when_the_fleet_has_settled_and_a_session_is_no_key() {
    for removal in [Removal::Absent, Removal::AuthorizationGone] {
        let context = context(Scripted { removal, ..Scripted::new() });
        let outcome = context.execute(&caller(RecordKind::ApiKey), Command::RevokeCurrent).await;
        assert!(matches!(outcome, Err(CommandError::CredentialGone)), "{outcome:?}");
        assert_eq!(context.asked().last().map(String::as_str), Some("settle"));
    }
    let context = context(Scripted::new());
    let outcome = context.execute(&caller(RecordKind::Session), Command::RevokeCurrent).await;
    assert!(matches!(outcome, Ok(CommandOutcome::NotFound(_))), "{outcome:?}");
    assert_eq!(context.asked(), ["settle"], "nothing is removed");
}

#[tokio::test]
async fn a_caller_vouches_for_its_own_origin() {
    let context = context(Scripted::new());
    for kind in [RecordKind::ApiKey, RecordKind::Session, RecordKind::Bootstrap { mints_left: 1 }] {
        let caller = caller(kind);
        context
            .execute(&caller, Command::Issue { name: None, lifetime_minutes: None, limits: None })
            .await
            .unwrap();
        context.execute(&caller, Command::List).await.unwrap();
        context.execute(&caller, Command::RevokeAll).await.unwrap();
        let (authorized_by, owner) = (AuthorizedBy::Record(caller.digest), record(1, kind).owner());
        let expected = [
            format!("issue {authorized_by:?} {owner:?} Add"),
            format!("owned {authorized_by:?} {owner:?}"),
            format!("remove_owned {authorized_by:?} {owner:?} Delete"),
        ];
        assert_eq!(context.asked(), expected);
    }
}

#[tokio::test]
async fn what_an_issue_removed_is_forgotten() {
    let replaced = record(2, RecordKind::ApiKey);
    let issue = Issue::Issued { removed: vec![replaced.digest] };
    let context = context(Scripted { issue, ..Scripted::new() });
    let Join::Leader(leader) = context.cache.join(replaced.digest, clock::uptime()) else {
        panic!("alone here")
    };
    let answer = Answer::Present(Arc::new(Verified::new(&replaced)));
    leader.land(leader.fence(), Ok(answer), clock::uptime()).unwrap();
    assert!(context.cache.recall(&replaced.digest, clock::uptime()).is_some());
    let command = Command::Issue { name: None, lifetime_minutes: None, limits: None };
    context.execute(&caller(RecordKind::ApiKey), command).await.unwrap();
    assert!(context.cache.recall(&replaced.digest, clock::uptime()).is_none());
}

#[tokio::test]
async fn an_administrator_revokes_the_sort_that_was_meant_wherever_it_is() {
    let apis: [Arc<str>; 2] = ["other".into(), "api".into()];
    let target = record(2, RecordKind::ApiKey);
    let mut context = context(Scripted { found: found(target.clone()), ..Scripted::new() });
    assert!(
        context
            .service
            .revoke_as_administrator(&apis, target.id, RecordSort::ApiKey, NOW)
            .await
            .unwrap()
    );
    let removal = format!("remove {:?} {:?} Delete", AuthorizedBy::Outside, target.digest);
    assert_eq!(context.asked(), ["find in other".to_owned(), "find in api".to_owned(), removal]);
    for (found, sort) in [
        (found(target.clone()), RecordSort::Bootstrap),
        (found(target.clone()), RecordSort::Session),
        (Some(Listed { record: target.clone(), retired_at: Some(NOW) }), RecordSort::ApiKey),
        (None, RecordSort::ApiKey),
    ] {
        context = self::context(Scripted { found, ..Scripted::new() });
        assert!(
            !context.service.revoke_as_administrator(&apis, target.id, sort, NOW).await.unwrap()
        );
        assert_eq!(
            context.asked(),
            ["find in other", "find in api", "settle"],
            "once for all token APIs"
        );
    }
}
