//! What a credential costs before it is known to be good, and for which token API it counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::domain::{Identity, Owner, RecordKind, Timestamp, TokenId};
use crate::tokens::keyring::{Peppers, SecretBytes};
use crate::tokens::lease::Lease;
use crate::tokens::opaque::{Alphabet, OpaqueApi, OpaqueApis, OpaqueFormat, OpaqueTokens};
use crate::tokens::signed::SignedTokens;
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, StoreFuture,
};

/// Has one record, and counts how often it is asked.
struct Counting {
    record: Record,
    finds: AtomicUsize,
}

fn not_asked<T: Send + 'static>() -> StoreFuture<T> {
    Box::pin(std::future::ready(Err(StoreError::Unavailable("no test asks for this".into()))))
}

impl Store for Counting {
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        let found = (digest == self.record.digest).then(|| self.record.clone());
        Box::pin(std::future::ready(Ok(found)))
    }

    fn find_by_id(&self, _: String, _: TokenId) -> StoreFuture<Option<Listed>> {
        not_asked()
    }

    fn issue(&self, _: AuthorizedBy, _: Record, _: IssueMode, _: Timestamp) -> StoreFuture<Issue> {
        not_asked()
    }

    fn provision(&self, _: Record) -> StoreFuture<()> {
        not_asked()
    }

    fn owned(&self, _: AuthorizedBy, _: Owner, _: Timestamp) -> StoreFuture<Option<Vec<Listed>>> {
        not_asked()
    }

    fn remove(
        &self,
        _: AuthorizedBy,
        _: TokenDigest,
        _: OnRemove,
        _: Timestamp,
    ) -> StoreFuture<Removal> {
        not_asked()
    }

    fn remove_owned(
        &self,
        _: AuthorizedBy,
        _: Owner,
        _: OnRemove,
        _: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        not_asked()
    }

    fn settle(&self) -> StoreFuture<()> {
        not_asked()
    }

    fn browse(&self, _: Filter) -> StoreFuture<Vec<Record>> {
        not_asked()
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        not_asked()
    }

    fn restore(&self, _: Listed) -> StoreFuture<()> {
        not_asked()
    }

    fn touch(&self, _: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        not_asked()
    }

    fn purge(&self, _: Timestamp, _: usize) -> StoreFuture<usize> {
        not_asked()
    }

    fn check(&self) -> StoreFuture<()> {
        not_asked()
    }
}

struct Bench {
    store: Arc<Counting>,
    authenticator: Authenticator,
    peppers: Arc<Peppers>,
    token: String,
}

fn format(prefix: &str) -> OpaqueFormat {
    OpaqueFormat { prefix: prefix.into(), alphabet: Alphabet::Base62 }
}

fn apis(token_api: &str) -> OpaqueApis {
    OpaqueApis::new(vec![OpaqueApi {
        token_api: token_api.into(),
        format: format("sk-"),
        takes_api_key_field: false,
    }])
}

fn bench() -> Bench {
    let peppers = Arc::new(Peppers::new(&SecretBytes::new([1; 32]), []));
    let opaque = Arc::new(OpaqueTokens::new([&SecretBytes::new([2; 32])]));
    let token = opaque.mint(&format("sk-")).unwrap().expose().to_owned();
    let identity = Identity {
        subject: "ann".into(),
        username: None,
        organization: None,
        role: None,
        email: None,
    };
    let record = Record {
        digest: peppers.digest(CredentialSort::OpaqueToken, token.as_bytes()),
        id: TokenId::from_uuid(uuid::Uuid::nil()),
        token_api: "platform".into(),
        kind: RecordKind::ApiKey,
        origin: None,
        identity,
        name: None,
        hint: None,
        limits: None,
        issued_at: Timestamp::from_unix_millis(0),
        expires_at: None,
        last_used_at: None,
    };
    let store = Arc::new(Counting { record, finds: AtomicUsize::new(0) });
    let authenticator = Authenticator::new(TokenParts {
        store: Arc::clone(&store) as Arc<dyn Store>,
        cache: Arc::new(TokenCache::new(100, Lease::endless())),
        signed: Arc::new(SignedTokens::new("keyward".into(), []).unwrap()),
        opaque,
        peppers: Arc::clone(&peppers),
        deadline: Duration::from_secs(10),
    });
    Bench { store, authenticator, peppers, token }
}

impl Bench {
    async fn check(&self, apis: &OpaqueApis, token: &str) -> Result<Caller, Refused> {
        let form = apis.form_of(token.as_bytes());
        let digest = self.authenticator.digest(form.sort(), token.as_bytes());
        let now = clock::read();
        let verdict = match self.authenticator.recall(form, digest, now) {
            Some(verdict) => verdict,
            None => self.authenticator.check(form, token.as_bytes(), digest, now).await.unwrap(),
        };
        match verdict {
            Verdict::Passed(caller) => Ok(caller),
            Verdict::Refused(refused) => Err(refused),
        }
    }

    fn finds(&self) -> usize {
        self.store.finds.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_flood_of_made_up_keys_asks_the_store_nothing() {
    let (bench, apis) = (bench(), apis("platform"));
    for number in 0..1000 {
        let made_up = format!("sk-{number:033}");
        assert!(matches!(bench.check(&apis, &made_up).await, Err(Refused::MadeUp)), "{made_up}");
    }
    for garbage in ["", "x", "sk-", "ey", "eyJhbGciOiJIUzI1NiJ9.e30.x", "sk-\u{e9}"] {
        assert!(bench.check(&apis, garbage).await.is_err(), "{garbage}");
    }
    assert_eq!(bench.finds(), 0);
    assert_eq!(bench.check(&apis, &bench.token).await.unwrap().token.subject(), "ann");
    bench.check(&apis, &bench.token).await.unwrap();
    assert_eq!(bench.finds(), 1, "and a good one is remembered");
}

#[tokio::test]
async fn a_key_is_good_only_for_the_token_api_that_has_its_prefix_now() {
    let (bench, other) = (bench(), apis("other"));
    assert!(matches!(bench.check(&other, &bench.token).await, Err(Refused::OtherTokenApi)));
    bench.check(&apis("platform"), &bench.token).await.unwrap();
    assert!(
        matches!(bench.check(&other, &bench.token).await, Err(Refused::OtherTokenApi)),
        "remembered, too"
    );
    // Without its prefix it is no key at all, and no JWT.
    assert!(matches!(
        bench.check(&OpaqueApis::default(), &bench.token).await,
        Err(Refused::Signature(_))
    ));
}

#[tokio::test]
async fn a_token_of_another_pepper_is_known_by_what_that_makes_of_it_until_it_is_gone() {
    let (bench, apis) = (bench(), apis("platform"));
    let (old, new) = (SecretBytes::new([1; 32]), SecretBytes::new([3; 32]));
    bench.peppers.replace(Peppers::new(&new, [&old]));
    for _ in 0..3 {
        let caller = bench.check(&apis, &bench.token).await.unwrap();
        assert_eq!(
            caller.digest, bench.store.record.digest,
            "what its record has, so that what revokes it is noticed"
        );
    }
    assert_eq!(bench.finds(), 2, "once under each, and then both answers are remembered");
    bench.peppers.replace(Peppers::new(&new, []));
    assert!(matches!(bench.check(&apis, &bench.token).await, Err(Refused::NoRecord)));
    // One that is not in use yet is looked under as well.
    bench.peppers.replace(Peppers::new(&old, [&new]));
    bench.check(&apis, &bench.token).await.unwrap();
}

/// Another process has the store, too: what it changes breaks no fence here.
#[tokio::test]
async fn while_the_store_is_shared_with_another_process_each_check_reads_it() {
    let (bench, apis) = (bench(), apis("platform"));
    bench.check(&apis, &bench.token).await.unwrap();
    bench.check(&apis, &bench.token).await.unwrap();
    assert_eq!(bench.finds(), 1);
    let cache = &bench.authenticator.parts.cache;
    let (first, second) = (cache.read_anew(), cache.read_anew());
    for n in 2..5 {
        bench.check(&apis, &bench.token).await.unwrap();
        assert_eq!(bench.finds(), n);
    }
    let caller = bench.check(&apis, &bench.token).await.unwrap();
    let form = apis.form_of(bench.token.as_bytes());
    let is_good =
        bench.authenticator.is_still_good(&caller, form, bench.token.as_bytes(), clock::read());
    assert!(is_good.await.unwrap());
    assert_eq!(bench.finds(), 6, "what is open is looked at in the same way");
    drop(first);
    bench.check(&apis, &bench.token).await.unwrap();
    assert_eq!(bench.finds(), 7, "there is another reason");
    drop(second);
    for _ in 0..3 {
        bench.check(&apis, &bench.token).await.unwrap();
    }
    assert_eq!(bench.finds(), 8, "alone again, it remembers");
}
