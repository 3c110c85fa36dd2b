//! What is announced, and how.

use super::super::membership;
use super::*;

/// Hears the channel of announcements.
struct Listener(redis::Connection);

impl Listener {
    fn new(world: &World) -> Self {
        let mut connection =
            redis::Client::open(world.server.url()).unwrap().get_connection().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        redis::cmd("SUBSCRIBE").arg(world.layout().revoked()).exec(&mut connection).unwrap();
        Self(connection)
    }

    fn next(&mut self) -> Vec<u8> {
        let (_, _, payload): (Value, Value, Vec<u8>) =
            reply::read(self.0.recv_response().unwrap()).unwrap();
        payload
    }
}

/// What instance `me` announced: the bytes behind the number, which is another each time.
fn by_me(payload: &[u8]) -> &[u8] {
    let at = payload.iter().position(|&byte| byte == b' ').unwrap();
    payload[at..].strip_prefix(b" me ").unwrap()
}

fn named(digests: &[TokenDigest]) -> Vec<u8> {
    digests.iter().flat_map(|digest| *digest.as_bytes()).collect()
}

#[tokio::test]
async fn every_removal_is_announced_by_number_revoker_and_digests() {
    let world = World::with((1..=9).map(|number| api_key(number, "ann"))).await;
    let mut listener = Listener::new(&world);
    let store = &world.store;
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await.unwrap(),
        Removal::Removed
    );
    assert_eq!(by_me(&listener.next()), named(&[digest(1)]));
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await.unwrap(),
        Removal::Absent
    );
    assert_eq!(by_me(&listener.next()), named(&[digest(1)]), "also what was not there");
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(2), OnRemove::Retire, NOW).await.unwrap(),
        Removal::Removed
    );
    assert_eq!(by_me(&listener.next()), named(&[digest(2)]));
    store.issue(by(4), api_key(10, "ann"), IssueMode::Replace, NOW).await.unwrap();
    let others: Vec<_> = (3..=9).map(digest).collect();
    assert_eq!(by_me(&listener.next()), named(&others));
    store.remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, NOW).await.unwrap();
    assert_eq!(by_me(&listener.next()), named(&[digest(10)]));
    store.remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, NOW).await.unwrap();
    assert_eq!(by_me(&listener.next()), named(&[]), "bare");
    store.settle().await.unwrap();
    assert_eq!(by_me(&listener.next()), named(&[]));
    let announced = world.announcements();
    assert!(
        announced.len() == 7 && announced.windows(2).all(|two| two[0].number < two[1].number),
        "{announced:?}"
    );
    assert!(announced.iter().all(|one| one.generation == announced[0].generation), "{announced:?}");
    let fresh: Vec<_> = announced.iter().map(|one| one.is_new_generation).collect();
    assert_eq!(fresh, [true, false, false, false, false, false, false]);
}

#[tokio::test]
async fn what_removes_nothing_by_its_nature_is_not_announced() {
    let world = World::with([api_key(1, "ann"), expiring(api_key(2, "bob"), at(1))]).await;
    let store = &world.store;
    store.issue(by(1), api_key(3, "ann"), IssueMode::Add, NOW).await.unwrap();
    store.issue(by(1), api_key(4, "ann"), IssueMode::IfNone, NOW).await.unwrap();
    store.issue(by(99), api_key(5, "ann"), IssueMode::Replace, NOW).await.unwrap();
    store.remove(by(99), digest(1), OnRemove::Delete, NOW).await.unwrap();
    store.remove_owned(by(99), owner("ann"), OnRemove::Delete, NOW).await.unwrap();
    store.touch(vec![(digest(1), NOW)]).await.unwrap();
    store.purge(NOW, 10).await.unwrap();
    assert_eq!(world.announcements(), []);
    store.issue(by(1), api_key(6, "bob"), IssueMode::IfNone, at(2)).await.unwrap();
    assert_eq!(world.announcements().len(), 1, "an expired one had to go");
    store.issue(by(1), api_key(7, "cid"), IssueMode::Replace, NOW).await.unwrap();
    assert_eq!(
        world.announcements().len(),
        1,
        "perhaps the repetition of a call whose answer was lost"
    );
}

#[tokio::test]
async fn an_announcement_names_the_registered_instances() {
    let world = World::new().await;
    for one in [registered("one", 1), registered("one", 2), registered("two", 1)] {
        DirectExecutor::send(world.connection.clone(), membership::heartbeat(world.layout(), &one))
            .await
            .unwrap();
    }
    world.store.settle().await.unwrap();
    let mut instances = world.announcements().remove(0).instances;
    instances.sort_by(|one, other| one.instance.cmp(&other.instance));
    let beats: Vec<_> = instances.iter().map(|one| (one.instance.as_str(), one.beat)).collect();
    assert_eq!(beats, [("one", 2), ("two", 1)]);
    assert!(
        instances.iter().all(|one| one.bound >= BOUND),
        "no instance may be waited for too short a time"
    );
}

#[tokio::test]
async fn more_than_1024_are_announced_as_everything() {
    let world = World::with((0..1024).map(|number| api_key(number, "ann"))).await;
    let mut listener = Listener::new(&world);
    let revoke =
        || world.store.remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, NOW);
    assert_eq!(revoke().await.unwrap().map(|removed| removed.len()), Some(1024));
    assert_eq!(by_me(&listener.next()).len(), 1024 * 32);
    for number in 0..1025 {
        world.store.provision(api_key(number, "ann")).await.unwrap();
    }
    assert_eq!(revoke().await.unwrap().map(|removed| removed.len()), Some(1025));
    assert_eq!(by_me(&listener.next()), b"*");
}
