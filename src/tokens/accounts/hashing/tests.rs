//! The pool: right answers, the same time for everybody, and an end to the queue.

use std::time::Instant;

use super::*;

const CHEAP: HashingCost = HashingCost { memory_kib: 64, passes: 1, lanes: 1 };

fn pool(threads: usize, queue: usize, cost: HashingCost) -> HashingPool {
    HashingPool::start(threads.try_into().unwrap(), queue.try_into().unwrap(), cost).unwrap()
}

fn password(text: &str) -> NewPassword {
    NewPassword::new(Password::presented(text.into())).unwrap()
}

#[tokio::test]
async fn a_password_is_verified_and_an_unknown_user_has_none() {
    let pool = pool(2, 8, CHEAP);
    let hash = pool.hash(password("correct horse")).await.unwrap();
    let verify = |text: &str, hash: Option<&PasswordHash>| pool.verify(Password::presented(text.into()), hash.cloned());
    assert_eq!(verify("correct horse", Some(&hash)).await, Ok(true));
    assert_eq!(verify("correct horsE", Some(&hash)).await, Ok(false));
    assert_eq!(verify("", Some(&hash)).await, Ok(false));
    assert_eq!(verify(&"x".repeat(65_536), Some(&hash)).await, Ok(false));
    assert_eq!(verify("correct horse", None).await, Ok(false));
    assert!(!pool.is_outdated(&hash));
    let dearer = self::pool(2, 8, HashingCost { passes: 2, ..CHEAP });
    assert!(dearer.is_outdated(&hash));
    assert_eq!(dearer.verify(Password::presented("correct horse".into()), Some(hash)).await, Ok(true));
}

#[tokio::test]
async fn a_full_queue_is_said_at_once_and_what_nobody_waits_for_is_passed_over() {
    let pool = pool(1, 2, HashingCost::OWASP);
    let mut waiting: Vec<_> = (0..16).map(|_| Box::pin(pool.verify(Password::presented("x".into()), None))).collect();
    let mut busy = 0;
    for verification in &mut waiting {
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(verification.as_mut().poll(cx))).await;
        match polled {
            std::task::Poll::Ready(Err(HashingError::Busy)) => busy += 1,
            std::task::Poll::Ready(other) => panic!("{other:?}"),
            std::task::Poll::Pending => {}
        }
    }
    // One is being computed, two wait; should a computation have ended meanwhile, a few more were taken.
    assert!(busy >= 8, "{busy}");
    drop(waiting);
    // Passed over, those that wait leave room at once: with 20 ms for each, 40 ms are a lot of patience for a busy machine.
    let begun = Instant::now();
    loop {
        match pool.verify(Password::presented("x".into()), None).await {
            Ok(matches) => break assert!(!matches),
            Err(HashingError::Busy) => assert!(begun.elapsed() < Duration::from_secs(10)),
            Err(other) => panic!("{other}"),
        }
        tokio::task::yield_now().await;
    }
}

/// CVE-2026-88010: usernames told apart by the time of a refusal. Known and unknown users take turns, so that whatever else the
/// machine does meets both alike.
#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_known_one() {
    let pool = pool(1, 8, HashingCost::OWASP);
    let hash = pool.hash(password("correct horse")).await.unwrap();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        for (times, hash) in [(&mut known, Some(hash.clone())), (&mut unknown, None)] {
            let begun = Instant::now();
            assert_eq!(pool.verify(Password::presented("wrong horse".into()), hash).await, Ok(false));
            times.push(begun.elapsed());
        }
    }
    known.sort_unstable();
    unknown.sort_unstable();
    let (known, unknown) = (known[30].as_secs_f64(), unknown[30].as_secs_f64());
    assert!((known / unknown - 1.0).abs() < 0.1, "{known} {unknown}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_threads_stand_back_and_nobody_else_does() {
    let pool = pool(1, 8, CHEAP);
    pool.verify(Password::presented("x".into()), None).await.unwrap();
    // Name and niceness, the second and the nineteenth field (proc(5)); a name may hold spaces, but no parenthesis of ours.
    let niceness = |stat: &str| {
        let (name, rest) = stat.rsplit_once(')').unwrap();
        (name.split_once('(').unwrap().1.to_owned(), rest.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap())
    };
    let own = niceness(&std::fs::read_to_string("/proc/thread-self/stat").unwrap()).1;
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let all: Vec<_> = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok())
        .map(|stat| niceness(&stat))
        .collect();
    assert!(all.iter().any(|(name, nice)| name == "passwords-0" && *nice == (own + NICENESS).min(19)), "{all:?}");
    assert!(!all.iter().any(|(name, nice)| !name.starts_with("passwords-") && *nice != own), "{all:?}");
}
