//! The same steps at random on this store and on the embedded one: every answer must be the same,
//! and afterwards the keys in Redis must be those of the records that are left, no more and no
//! fewer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::layout::{digest_from_hex, id_name, origin_name, owner_name, token_api_name};
use super::*;
use crate::domain::{RecordKind, hex};
use crate::store::account_codec;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore, StoreIdentity};
use crate::store::tests::account_conformance::{account, hash};
use crate::tokens::accounts::AccountStore;
use crate::tokens::accounts::store::SessionOpening;

/// Both ports.
trait Both: Store + AccountStore {}

impl<T: Store + AccountStore> Both for T {}

/// SplitMix64: the same numbers from the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(u64::try_from(from.len()).unwrap())).unwrap()]
    }
}

/// How many different records there are: few, so that steps meet.
const RECORDS: u64 = 40;

const OWNERS: [(&str, Option<&str>, &str); 7] = [
    ("platform", None, "ann"),
    ("platform", Some("idp"), "ann"),
    ("other", None, "ann"),
    ("platform", None, "bob"),
    // The account with the number 1, and what its sessions make elsewhere.
    ("accounts", None, ACCOUNT),
    ("platform", Some("accounts"), ACCOUNT),
    ("other", Some("accounts"), ACCOUNT),
];

const ACCOUNT: &str = "00000000-0000-0001-0000-000000000001";

fn some_account(random: &mut Random) -> crate::domain::Account {
    let number = 1 + random.below(2);
    account(number, ["ann", "bob"][usize::try_from(number - 1).unwrap()])
}

/// A session of this account, as a login makes it.
fn some_session(random: &mut Random, account: &crate::domain::Account, now: Timestamp) -> Record {
    let base = some_record(random, now);
    let number = random.below(RECORDS);
    Record {
        token_api: account.token_api.clone(),
        identity: account.identity(),
        issued_at: base.issued_at,
        expires_at: base.expires_at,
        ..session(number, "")
    }
}

fn some_owner(random: &mut Random) -> Owner {
    let (token_api, origin, subject) = random.pick(&OWNERS);
    Owner { token_api: token_api.into(), origin: origin.map(Into::into), subject: subject.into() }
}

fn some_record(random: &mut Random, now: Timestamp) -> Record {
    let owner = some_owner(random);
    let number = random.below(RECORDS);
    let base = match random.below(6) {
        0 => bootstrap(number, &owner.subject, u32::try_from(random.below(4)).unwrap()),
        1 => session(number, &owner.subject),
        _ => api_key(number, &owner.subject),
    };
    Record {
        token_api: owner.token_api,
        origin: owner.origin,
        // Not in the order of the steps; and no two the same, for which the stores promise
        // different orders.
        issued_at: Timestamp::from_unix_millis(
            now.unix_millis() - 1_000_000 + i64::try_from(random.below(1 << 40)).unwrap(),
        ),
        expires_at: random.one_in(2).then(|| {
            Timestamp::from_unix_millis(
                now.unix_millis() - 5 + i64::try_from(random.below(40)).unwrap(),
            )
        }),
        last_used_at: random.one_in(5).then_some(now),
        limits: if random.one_in(4) { some_limits() } else { None },
        id: api_key(if random.one_in(12) { random.below(RECORDS) } else { number }, "").id,
        ..base
    }
}

fn some_authorization(random: &mut Random) -> AuthorizedBy {
    if random.one_in(4) { AuthorizedBy::Outside } else { by(random.below(RECORDS)) }
}

fn sorted(mut digests: Vec<TokenDigest>) -> Vec<TokenDigest> {
    digests.sort();
    digests
}

/// One step on one store; what it answered, in words.
async fn step(store: &dyn Both, random: &mut Random, now: Timestamp) -> String {
    let on_remove = random.pick(&[OnRemove::Delete, OnRemove::Retire]);
    let authorized_by = some_authorization(random);
    let number = random.below(RECORDS);
    match random.below(24) {
        0..=2 => format!("provision {:?}", store.provision(some_record(random, now)).await),
        3..=7 => {
            let mode = random.pick(&[
                IssueMode::Add,
                IssueMode::Add,
                IssueMode::Replace,
                IssueMode::IfNone,
            ]);
            let issue = store.issue(authorized_by, some_record(random, now), mode, now).await;
            let issue = issue.map(|issue| match issue {
                Issue::Issued { removed } => Issue::Issued { removed: sorted(removed) },
                other => other,
            });
            format!("issue {authorized_by:?} {mode:?} {issue:?}")
        }
        8..=9 => {
            format!(
                "remove {:?}",
                store.remove(authorized_by, digest(number), on_remove, now).await
            )
        }
        10 => {
            let owner = some_owner(random);
            let removed = store.remove_owned(authorized_by, owner, on_remove, now).await;
            format!("remove_owned {:?}", removed.map(|removed| removed.map(sorted)))
        }
        11 => {
            let uses = (0..5).map(|_| {
                (digest(random.below(RECORDS)), at(i64::try_from(random.below(100)).unwrap()))
            });
            format!("touch {:?}", store.touch(uses.collect()).await)
        }
        12 => {
            let limit = usize::try_from(random.below(4)).unwrap();
            format!("purge {:?}", store.purge(now, limit).await)
        }
        13 => format!("owned {:?}", store.owned(authorized_by, some_owner(random), now).await),
        14 => {
            let found = store.find(digest(number)).await;
            // What Redis keeps elsewhere.
            format!(
                "find {:?}",
                found.map(|found| found.map(|record| Record { last_used_at: None, ..record }))
            )
        }
        15 => {
            let account = some_account(random);
            format!("register {:?}", store.register(account, hash(1)).await)
        }
        16 => {
            let account = some_account(random);
            let removed = store.disable(account.token_api, account.id, now).await;
            format!("disable {:?}", removed.map(|removed| removed.map(sorted)))
        }
        17 => {
            let account = some_account(random);
            format!("enable {:?}", store.enable(account.token_api, account.id).await)
        }
        18 => {
            let account = some_account(random);
            let removed = store.set_password(account.token_api, account.id, hash(2)).await;
            format!("set_password {:?}", removed.map(|removed| removed.map(sorted)))
        }
        19 => {
            let (account, revision) =
                (some_account(random), u32::try_from(random.below(4)).unwrap());
            format!(
                "rehash {:?}",
                store.rehash(account.token_api, account.id, revision, hash(3)).await
            )
        }
        20..=22 => {
            let account = some_account(random);
            let session = some_session(random, &account, now);
            // Mostly the one that it has.
            let there = store.account(account.token_api.clone(), account.id).await.unwrap();
            let revision = there.map_or(0, |there| there.revision) + u32::from(random.one_in(5));
            let opening = store.open_session(account.id, revision, session).await;
            let opening = opening.map(|opening| match opening {
                SessionOpening::Opened { removed } => {
                    SessionOpening::Opened { removed: sorted(removed) }
                }
                stale => stale,
            });
            format!("open_session {opening:?}")
        }
        _ => {
            let limit = usize::try_from(random.below(5)).unwrap();
            let owner = some_owner(random);
            let (token_api, subject) = (
                random.one_in(2).then_some(owner.token_api),
                random.one_in(2).then_some(owner.subject),
            );
            format!(
                "browse {:?}",
                store.browse(Filter { token_api, subject, sort: None, limit }).await
            )
        }
    }
}

/// Everything that can be seen of a store.
async fn view(store: &dyn Both, now: Timestamp) -> String {
    let mut lines = vec![format!("{:#?}", store.browse(Filter::default()).await)];
    for (token_api, origin, subject) in OWNERS {
        let owner = Owner {
            token_api: token_api.into(),
            origin: origin.map(Into::into),
            subject: subject.into(),
        };
        lines.push(format!("{:#?}", store.owned(AuthorizedBy::Outside, owner, now).await));
        for number in 0..RECORDS {
            lines.push(format!(
                "{:#?}",
                store.find_by_id(token_api.into(), api_key(number, "").id).await
            ));
        }
    }
    for token_api in [None, Some("accounts"), Some("platform")] {
        lines.push(format!("{:#?}", store.accounts(token_api.map(str::to_owned), 0).await));
    }
    for name in ["ann", "bob"] {
        lines.push(format!(
            "{:#?}",
            store.account_by_username("accounts".into(), name.into()).await
        ));
    }
    lines.join("\n")
}

#[tokio::test]
async fn both_stores_answer_the_same_to_the_same_steps() {
    assert_eq!(account(1, "ann").id.to_string(), ACCOUNT);
    for seed in 1..=6 {
        let world = World::new().await;
        let directory = tempfile::tempdir().unwrap();
        let embedded = EmbeddedStore::open(
            &directory.path().join("keyward.db"),
            &StoreIdentity { key: &key(), fingerprint: b"fingerprint" },
            EmbeddedOptions::default(),
        )
        .unwrap();
        let mut now = NOW;
        let mut random = Random(seed);
        for count in 0..600 {
            let mut same = Random(random.next());
            let again = same.0;
            let there = step(&*world.store, &mut same, now).await;
            let here = step(&*embedded, &mut Random(again), now).await;
            assert_eq!(there, here, "step {count} of seed {seed}");
            if random.one_in(3) {
                now = Timestamp::from_unix_millis(now.unix_millis() + 1);
            }
            if random.one_in(40) {
                assert_eq!(
                    view(&*world.store, now).await,
                    view(&*embedded, now).await,
                    "step {count} of seed {seed}"
                );
                audit(&world).await;
            }
        }
        let later = Timestamp::from_unix_millis(now.unix_millis() + 1_000);
        assert_eq!(
            world.store.purge(later, usize::MAX).await.unwrap(),
            embedded.purge(later, usize::MAX).await.unwrap()
        );
        assert_eq!(view(&*world.store, later).await, view(&*embedded, later).await, "seed {seed}");
        audit(&world).await;
        world
            .store
            .remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, later)
            .await
            .unwrap();
        for record in world.all().await {
            world
                .store
                .remove(AuthorizedBy::Outside, record.digest, OnRemove::Delete, later)
                .await
                .unwrap();
        }
        audit(&world).await;
    }
}

#[tokio::test]
async fn what_was_lost_by_hand_leaves_nothing_behind_after_a_purge() {
    for seed in 1..=3 {
        let world = World::new().await;
        let mut random = Random(seed);
        for _ in 0..300 {
            let step_seed = random.next();
            step(&*world.store, &mut Random(step_seed), NOW).await;
            if random.one_in(10) {
                let of = random.below(RECORDS);
                let key = if random.one_in(2) {
                    world.layout().record(digest(of))
                } else {
                    world.layout().retired(digest(of))
                };
                let _: i64 = world.command("DEL", &[&key]).await;
                // A digest is never made twice, so whoever comes again under it is none of this
                // test's.
                world.store.purge(NOW, 0).await.unwrap();
            }
        }
        audit(&world).await;
    }
}

/// Holds every key in Redis against the records that are there.
pub(super) async fn audit(world: &World) {
    let layout = world.layout();
    let of_set = async |key: String| -> BTreeMap<String, f64> {
        world
            .command::<Vec<(String, f64)>>("ZRANGE", &[&key, &0, &-1, &"WITHSCORES"])
            .await
            .into_iter()
            .collect()
    };
    let names: Vec<String> = world.command("KEYS", &[&"*"]).await;
    let mut unexplained: BTreeSet<String> = names.iter().cloned().collect();
    let mut expected_sets: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let mut digests = BTreeSet::new();

    let catalog: HashMap<String, String> =
        world.command("HGETALL", &[&layout.key("catalog")]).await;
    for (id, line) in &catalog {
        let (name, rest) = line.split_at(64);
        let (sequence, lists) = rest.split_at(12);
        let digest = digest_from_hex(name.as_bytes()).expect("a digest");
        let (live, retired) = (layout.record(digest), layout.retired(digest));
        let is_live = unexplained.remove(&live);
        assert_ne!(is_live, unexplained.remove(&retired), "a record is in one place: {name}");
        let fields: HashMap<String, Vec<u8>> =
            world.command("HGETALL", &[if is_live { &live } else { &retired }]).await;
        let text =
            |field: &str| fields.get(field).map(|value| String::from_utf8(value.clone()).unwrap());
        let mints_left = text("m").map(|digits| digits.parse().unwrap());
        let state = crate::store::record_codec::RecordState { mints_left, last_used_at: None };
        let record = key().decode(digest, &fields["b"], state).expect("a record");
        assert_eq!((id_name(record.id), text("i")), (id.clone(), Some(id.clone())));
        let is_key = record.kind == RecordKind::ApiKey;
        let is_session = record.kind == RecordKind::Session;
        let owner = owner_name(&record.owner());
        let derived =
            record.origin.as_ref().map(|origin| origin_name(origin, &record.identity.subject));
        let expected_lists = [
            if is_key { owner.clone() } else { String::new() },
            if is_session { format!("s{owner}") } else { String::new() },
            derived.as_ref().map_or(String::new(), |derived| format!("v{derived}")),
        ];
        assert_eq!(lists, expected_lists.concat());
        let member = format!("{sequence}{id}");
        #[expect(clippy::cast_precision_loss, reason = "as in Redis")]
        let mut expect = |set: String, score: i64| {
            let members = expected_sets.entry(set).or_default();
            assert_eq!(members.insert(member.clone(), score as f64), None);
        };
        expect(layout.key("all"), record.issued_at.unix_millis());
        let list = if is_live { layout.owned(&owner) } else { layout.retired_of(&owner) };
        if is_live {
            assert_eq!(text("x"), None);
            if is_key {
                expect(list, record.issued_at.unix_millis());
            }
            if is_session {
                expect(layout.key(&format!("s:{owner}")), record.issued_at.unix_millis());
            }
            if let Some(derived) = derived {
                expect(layout.key(&format!("v:{derived}")), record.issued_at.unix_millis());
            }
            if let Some(end) = record.expires_at {
                expect(layout.key("expiry"), end.unix_millis());
            }
        } else {
            expect(list, text("x").unwrap().parse().unwrap());
        }
        digests.insert(hex::encode(digest.as_bytes()));
    }
    for (set, members) in expected_sets {
        assert_eq!(of_set(set.clone()).await, members, "{set}");
        unexplained.remove(&set);
    }
    let used: Vec<String> = world.command("HKEYS", &[&layout.key("used")]).await;
    assert!(
        used.iter().all(|digest| digests.contains(digest)),
        "a note of a use has outlived its record"
    );
    for name in audit_accounts(world).await {
        unexplained.remove(&name);
    }
    for name in ["catalog", "used", "meta", "instances"] {
        unexplained.remove(&layout.key(name));
    }
    assert_eq!(unexplained, BTreeSet::new());
}

/// Holds the names and the list of the accounts against the accounts; which keys are theirs.
async fn audit_accounts(world: &World) -> BTreeSet<String> {
    let layout = world.layout();
    let list: Vec<(String, f64)> =
        world.command("ZRANGE", &[&layout.accounts(), &0, &-1, &"WITHSCORES"]).await;
    let mut names: BTreeSet<String> = BTreeSet::from([layout.accounts()]);
    let mut expected: BTreeMap<String, HashMap<String, String>> = BTreeMap::new();
    for (member, score) in list {
        let (token_api, id) = member[12..].split_at(64);
        let row = format!("{}{id}", layout.accounts_of(token_api));
        let body: Vec<u8> = world.command("HGET", &[&row, &"b"]).await;
        let account = account_codec::decode(&key(), &body).expect("an account").account;
        assert_eq!(
            (token_api, id),
            (&*token_api_name(&account.token_api), &*hex::encode(account.id.as_bytes()))
        );
        #[expect(clippy::cast_precision_loss, reason = "as in Redis")]
        let registered_at = account.created_at.unix_millis() as f64;
        assert_eq!(score, registered_at);
        for (key, name) in [
            (layout.usernames(token_api), account.username.folded()),
            (layout.emails(token_api), account.email.folded()),
        ] {
            assert_eq!(expected.entry(key).or_default().insert(name, id.to_owned()), None);
        }
        assert!(names.insert(row), "an account is listed once");
    }
    for (key, ids) in expected {
        assert_eq!(
            world.command::<HashMap<String, String>>("HGETALL", &[&key]).await,
            ids,
            "{key}"
        );
        names.insert(key);
    }
    names
}
