//! Accounts: the port, what only this store promises, and two instances of a fleet.

use super::*;
use crate::domain::{Account, Email, RecordKind};
use crate::store::tests::account_conformance::{account, hash};
use crate::tokens::accounts::AccountStore;
use crate::tokens::accounts::counters::tests::conformance as counting;
use crate::tokens::accounts::counters::{Counters, Reservation};
use crate::tokens::accounts::store::{Registered, SessionOpening};
use crate::tokens::cache::{Answer, Join, TokenCache};
use crate::tokens::clock;
use crate::tokens::lease::{Lease, LeaseTerms};
use crate::tokens::verified::Verified;

async fn fresh() -> (RedisServer, Arc<dyn Store>, Arc<dyn AccountStore>) {
    let world = World::new().await;
    (world.server, Arc::clone(&world.store) as _, world.store)
}

mod conforms {
    use super::*;
    crate::store::tests::account_conformance::conforms_accounts! { fresh }
}

const API: &str = "accounts";

fn session_of(account: &Account, number: u64) -> Record {
    let record =
        Record { token_api: API.into(), identity: account.identity(), ..session(number, "") };
    expiring(Record { kind: RecordKind::Session, ..record }, at(3_600_000))
}

/// What a session of `account` made at another token API.
fn made_elsewhere(account: &Account, number: u64) -> Record {
    Record { origin: Some(API.into()), identity: account.identity(), ..api_key(number, "") }
}

async fn with_ann_and_bob() -> World {
    let world = World::new().await;
    for (number, name) in [(1, "ann"), (2, "bob")] {
        let registered = world.store.register(account(number, name), hash(1)).await;
        assert_eq!(registered.unwrap(), Registered::Registered);
    }
    world
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Corrupt(_)))
}

#[tokio::test]
async fn write_access_to_the_store_neither_plants_an_account_nor_swaps_a_password() {
    let (ann, bob) = (account(1, "ann"), account(2, "bob"));
    for meddling in
        ["the body of another", "another bit", "nothing", "another name", "another token API"]
    {
        let world = with_ann_and_bob().await;
        let api = super::super::layout::token_api_name(API);
        let row = |account: &Account| world.layout().account(&api, account.id);
        let mut body: Vec<u8> = world.command("HGET", &[&row(&bob), &"b"]).await;
        let by_name = |name: &str| world.store.account_by_username(API.into(), name.into());
        match meddling {
            "another name" => {
                let id = crate::domain::hex::encode(ann.id.as_bytes());
                let _: i64 =
                    world.command("HSET", &[&world.layout().usernames(&api), &"eve", &id]).await;
                assert!(is_corrupt(by_name("eve").await));
                assert!(by_name("ann").await.unwrap().is_some());
                continue;
            }
            "another token API" => {
                let other = super::super::layout::token_api_name("other");
                let _: i64 = world
                    .command("HSET", &[&world.layout().account(&other, bob.id), &"b", &body])
                    .await;
                assert!(is_corrupt(world.store.account("other".into(), bob.id).await));
                assert!(is_corrupt(world.store.enable("other".into(), bob.id).await));
                continue;
            }
            "another bit" => *body.last_mut().unwrap() ^= 1,
            "nothing" => body.clear(),
            _ => {}
        }
        let _: i64 = world.command("HSET", &[&row(&ann), &"b", &body]).await;
        assert!(is_corrupt(by_name("ann").await), "{meddling}");
        assert!(is_corrupt(world.store.account(API.into(), ann.id).await), "{meddling}");
        assert!(is_corrupt(world.store.accounts(None, 0).await), "{meddling}");
        assert!(
            is_corrupt(world.store.open_session(ann.id, 0, session_of(&ann, 1)).await),
            "{meddling}"
        );
        assert!(is_corrupt(world.store.disable(API.into(), ann.id, NOW).await), "{meddling}");
        assert_eq!(
            by_name("bob").await.unwrap().map(|found| found.account),
            Some(bob.clone()),
            "{meddling}"
        );
        assert_eq!(world.all().await, [], "{meddling}");
    }
}

#[tokio::test]
async fn what_ends_with_an_account_is_announced_and_what_does_not_end_is_not() {
    let world = with_ann_and_bob().await;
    let (store, ann) = (&world.store, account(1, "ann"));
    store.open_session(ann.id, 0, session_of(&ann, 1)).await.unwrap();
    store.rehash(API.into(), ann.id, 0, hash(2)).await.unwrap();
    store.enable(API.into(), ann.id).await.unwrap();
    assert_eq!(world.announcements(), []);
    assert_eq!(
        store.set_password(API.into(), ann.id, hash(3)).await.unwrap(),
        Some(vec![digest(1)])
    );
    assert_eq!(world.announcements().len(), 1);
    for number in 1..=100 {
        store.open_session(ann.id, 1, session_of(&ann, number)).await.unwrap();
    }
    assert_eq!(world.announcements(), []);
    store.open_session(ann.id, 1, session_of(&ann, 101)).await.unwrap();
    assert_eq!(world.announcements().len(), 1, "one had to make room");
    for _ in 0..2 {
        store.disable(API.into(), ann.id, NOW).await.unwrap();
        assert_eq!(
            world.announcements().len(),
            1,
            "perhaps the repetition of a call whose answer was lost"
        );
    }
    assert_eq!(
        store.open_session(ann.id, 1, session_of(&ann, 102)).await.unwrap(),
        SessionOpening::Stale
    );
    assert_eq!(world.announcements(), []);
    model::audit(&world).await;
}

#[tokio::test]
async fn a_list_that_names_the_record_of_another_account_is_damage() {
    let world = with_ann_and_bob().await;
    let (store, ann, bob) = (&world.store, account(1, "ann"), account(2, "bob"));
    store.open_session(bob.id, 0, session_of(&bob, 1)).await.unwrap();
    let list = |account: &Account| {
        let name = super::super::layout::owner_name(&session_of(account, 1).owner());
        world.layout().key(&format!("s:{name}"))
    };
    let theirs: Vec<String> = world.command("ZRANGE", &[&list(&bob), &0, &-1]).await;
    let _: i64 = world.command("ZADD", &[&list(&ann), &2, &theirs[0]]).await;
    assert!(is_corrupt(store.open_session(ann.id, 0, session_of(&ann, 2)).await));
    assert!(is_corrupt(store.set_password(API.into(), ann.id, hash(2)).await));
    assert!(is_corrupt(store.disable(API.into(), ann.id, NOW).await));
    let there = store.account(API.into(), ann.id).await.unwrap();
    assert_eq!((there, world.all().await.len()), (Some(ann), 1), "nothing was changed");
}

#[tokio::test]
async fn what_an_operator_deleted_leaves_nothing_in_the_lists_of_an_account() {
    let world = with_ann_and_bob().await;
    let (store, ann) = (&world.store, account(1, "ann"));
    for number in [1, 2] {
        store.open_session(ann.id, 0, session_of(&ann, number)).await.unwrap();
    }
    store.provision(made_elsewhere(&ann, 3)).await.unwrap();
    for number in [1, 3] {
        let _: i64 = world.command("DEL", &[&world.layout().record(digest(number))]).await;
    }
    assert_eq!(store.disable(API.into(), ann.id, NOW).await.unwrap(), Some(vec![digest(2)]));
    model::audit(&world).await;
}

#[tokio::test]
async fn many_accounts_are_listed_in_steps() {
    let world = World::new().await;
    for number in 0..600_u64 {
        let api = if number % 3 == 0 { "other" } else { API };
        let registered =
            Account { token_api: api.into(), ..account(number * 7 % 600, &format!("ann{number}")) };
        world.store.register(registered, hash(1)).await.unwrap();
    }
    let all = world.store.accounts(None, 0).await.unwrap();
    assert!(all.len() == 600 && all.is_sorted_by_key(|account| account.created_at));
    let others = world.store.accounts(Some("other".into()), 0).await.unwrap();
    assert!(others.len() == 200 && others.iter().all(|account| account.token_api == "other"));
    assert_eq!(world.store.accounts(None, 300).await.unwrap(), all[..300]);
}

#[tokio::test]
async fn a_full_store_registers_no_account_and_still_shuts_out() {
    let world = with_ann_and_bob().await;
    let (store, ann) = (&world.store, account(1, "ann"));
    store.open_session(ann.id, 0, session_of(&ann, 1)).await.unwrap();
    let _: () = world.command("CONFIG", &[&"SET", &"maxmemory", &"1"]).await;
    assert!(store.register(account(3, "carol"), hash(1)).await.is_err());
    assert!(store.open_session(ann.id, 0, session_of(&ann, 2)).await.is_err());
    assert_eq!(store.disable(API.into(), ann.id, NOW).await.unwrap(), Some(vec![digest(1)]));
    let _: () = world.command("CONFIG", &[&"SET", &"maxmemory", &"0"]).await;
    assert!(store.account(API.into(), ann.id).await.unwrap().unwrap().is_disabled);
    assert_eq!(store.accounts(None, 0).await.unwrap().len(), 2);
    model::audit(&world).await;
}

/// One of several keywards on a server.
struct Instance {
    store: RedisStore,
    cache: Arc<TokenCache>,
}

impl Instance {
    async fn join(server: &RedisServer) -> Self {
        let (span, staleness) = (Duration::from_secs(10), Duration::ZERO);
        let lease = Lease::pending(LeaseTerms { span, staleness, open: span, timeout: span });
        let cache = Arc::new(TokenCache::new(1000, lease));
        let settings = RedisSettings::single(NodeAddress::new("127.0.0.1", server.port));
        let options = RedisOptions { settings, acks: None, allow_volatile: true };
        let store = RedisStore::open(options, key(), b"fingerprint".to_vec(), Arc::clone(&cache))
            .unwrap()
            .0;
        cache.lease().held().await.unwrap();
        Self { store, cache }
    }

    /// As for a request: what is remembered, else what the store says, which is then remembered.
    /// Whether the token is good.
    async fn lets_in(&self, number: u64) -> bool {
        for _ in 0..20 {
            match self.cache.join(digest(number), clock::uptime()) {
                Join::Answer(answer) => return matches!(answer, Answer::Present(_)),
                Join::Follower(_) => panic!("there is no other question"),
                Join::Leader(leader) => {
                    let fence = leader.fence();
                    let found = self.store.find(digest(number)).await.unwrap();
                    let answer = found.map_or(Answer::Absent, |record| {
                        Answer::Present(Arc::new(Verified::new(&record)))
                    });
                    let is_good = matches!(answer, Answer::Present(_));
                    if leader.land(fence, Ok(answer), clock::uptime()).is_ok() {
                        return is_good;
                    }
                }
            }
        }
        panic!("no answer is remembered");
    }

    /// Lets in until it remembers: the answer that the record was written may come after the first
    /// answer.
    async fn learns(&self, number: u64) {
        for _ in 0..1000 {
            assert!(self.lets_in(number).await, "{number}");
            if self.remembers(number) {
                return;
            }
        }
        panic!("{number} is not remembered");
    }

    fn remembers(&self, number: u64) -> bool {
        matches!(self.cache.recall(&digest(number), clock::uptime()), Some(Answer::Present(_)))
    }
}

async fn fleet() -> (RedisServer, [Instance; 2]) {
    let server = RedisServer::start();
    let instances = [Instance::join(&server).await, Instance::join(&server).await];
    (server, instances)
}

#[tokio::test]
async fn of_a_hundred_registrations_of_one_name_over_two_instances_one_wins() {
    let (_server, instances) = fleet().await;
    let registrations: Vec<_> = (0..100_u64)
        .map(|number| {
            let email = Email::new(&format!("ann{number}@example.com")).unwrap();
            let name = if number % 3 == 0 { "Ann" } else { "ann" };
            let instance = &instances[usize::from(number % 2 == 0)];
            tokio::spawn(
                instance.store.register(Account { email, ..account(number, name) }, hash(1)),
            )
        })
        .collect();
    let mut won = Vec::new();
    for (number, registration) in registrations.into_iter().enumerate() {
        match registration.await.unwrap().unwrap() {
            Registered::Registered => won.push(number),
            other => assert_eq!(other, Registered::UsernameTaken),
        }
    }
    assert_eq!(won.len(), 1);
    for instance in &instances {
        assert_eq!(instance.store.accounts(None, 0).await.unwrap().len(), 1);
        let found =
            instance.store.account_by_username(API.into(), "ann".into()).await.unwrap().unwrap();
        assert_eq!(found.account.created_at.unix_millis(), won[0] as i64);
    }
}

#[tokio::test]
async fn no_session_survives_a_disable_at_another_instance() {
    let (_server, [one, two]) = fleet().await;
    for round in 0..10 {
        let ann = account(round + 1, &format!("ann{round}"));
        one.store.register(ann.clone(), hash(1)).await.unwrap();
        let open = |number: u64| {
            let instance = if number.is_multiple_of(2) { &one } else { &two };
            tokio::spawn(instance.store.open_session(
                ann.id,
                0,
                session_of(&ann, round * 100 + number),
            ))
        };
        let before: Vec<_> = (0..8).map(open).collect();
        let disabling = tokio::spawn(two.store.disable(API.into(), ann.id, NOW));
        // So that bodies change between a reading and its step.
        let rehashing = tokio::spawn(one.store.rehash(API.into(), ann.id, 0, hash(2)));
        let after: Vec<_> = (8..16).map(open).collect();
        let mut opened = Vec::new();
        for (number, opening) in before.into_iter().chain(after).enumerate() {
            if opening.await.unwrap().unwrap() != SessionOpening::Stale {
                opened.push(digest(round * 100 + number as u64));
            }
        }
        rehashing.await.unwrap().unwrap();
        let mut removed = disabling.await.unwrap().unwrap().unwrap();
        opened.sort_unstable();
        removed.sort_unstable();
        assert_eq!(opened, removed);
        let filter = Filter { subject: Some(ann.id.to_string()), ..Filter::default() };
        assert!(one.store.browse(filter).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_disable_returns_when_no_other_instance_remembers_what_the_account_had() {
    let (_server, [one, two]) = fleet().await;
    for round in 0..20 {
        let ann = account(round + 1, &format!("ann{round}"));
        let [session, key, elsewhere] = [1, 2, 3].map(|number| round * 10 + number);
        one.store.register(ann.clone(), hash(1)).await.unwrap();
        one.store.open_session(ann.id, 0, session_of(&ann, session)).await.unwrap();
        let child = Record { token_api: API.into(), identity: ann.identity(), ..api_key(key, "") };
        one.store.issue(by(session), child, IssueMode::Add, NOW).await.unwrap();
        one.store
            .issue(by(session), made_elsewhere(&ann, elsewhere), IssueMode::Add, NOW)
            .await
            .unwrap();
        let all = [session, key, elsewhere];
        for number in all {
            two.learns(number).await;
        }
        let removed = one.store.disable(API.into(), ann.id, NOW).await.unwrap().unwrap();
        assert_eq!(removed.len(), 3);
        for number in all {
            assert!(!two.remembers(number), "{number}");
            assert!(!two.lets_in(number).await, "{number}");
        }
    }
}

#[tokio::test]
async fn another_password_returns_when_no_other_instance_remembers_a_session() {
    let (_server, [one, two]) = fleet().await;
    let ann = account(1, "ann");
    one.store.register(ann.clone(), hash(1)).await.unwrap();
    one.store.open_session(ann.id, 0, session_of(&ann, 1)).await.unwrap();
    two.learns(1).await;
    assert_eq!(
        one.store.set_password(API.into(), ann.id, hash(2)).await.unwrap(),
        Some(vec![digest(1)])
    );
    assert!(!two.remembers(1));
    // And so does the login that displaces a session.
    for number in 1..=100 {
        one.store.open_session(ann.id, 1, session_of(&ann, 1000 + number)).await.unwrap();
    }
    two.learns(1001).await;
    let opening = one.store.open_session(ann.id, 1, session_of(&ann, 1101)).await.unwrap();
    assert_eq!(opening, SessionOpening::Opened { removed: vec![digest(1001)] });
    assert!(!two.remembers(1001) && !two.lets_in(1001).await);
}

#[tokio::test]
async fn two_instances_are_no_more_attempts_than_one() {
    let (_server, instances) = fleet().await;
    let attempts: Vec<_> = (0..40)
        .map(|number| {
            let store = &instances[number % 2].store;
            tokio::spawn(store.reserve(vec![counting::up_to(1, 5)], counting::at(0)))
        })
        .collect();
    let mut admitted = 0;
    for attempt in attempts {
        admitted += usize::from(attempt.await.unwrap().unwrap() == Reservation::Reserved);
    }
    assert_eq!(admitted, 5);
    let group = counting::key(2);
    instances[0].store.remember(group, counting::key(3), counting::at(0)).await.unwrap();
    assert!(instances[1].store.remembers(group, counting::key(3), counting::at(1)).await.unwrap());
}
