//! The pool: right answers, the same time for every user, and a bounded queue.

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
    let verify = |text: &str, hash: Option<&PasswordHash>| {
        pool.verify(Password::presented(text.into()), hash.cloned())
    };
    assert_eq!(verify("correct horse", Some(&hash)).await, Ok(Verdict::Right));
    assert_eq!(verify("correct horsE", Some(&hash)).await, Ok(Verdict::Wrong));
    assert_eq!(verify("", Some(&hash)).await, Ok(Verdict::Wrong));
    assert_eq!(verify(&"x".repeat(65_536), Some(&hash)).await, Ok(Verdict::Wrong));
    assert_eq!(verify("correct horse", None).await, Ok(Verdict::Wrong));
    assert!(!pool.is_outdated(&hash));
    let dearer = self::pool(2, 8, HashingCost { passes: 2, ..CHEAP });
    assert!(dearer.is_outdated(&hash));
    assert_eq!(
        dearer.verify(Password::presented("correct horse".into()), Some(hash)).await,
        Ok(Verdict::Right)
    );
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once_and_what_no_caller_waits_for_is_passed_over() {
    let pool = pool(1, 2, HashingCost::OWASP);
    let mut waiting: Vec<_> =
        (0..16).map(|_| Box::pin(pool.verify(Password::presented("x".into()), None))).collect();
    let mut busy = 0;
    for verification in &mut waiting {
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(verification.as_mut().poll(cx))).await;
        match polled {
            std::task::Poll::Ready(Err(HashingError::Busy)) => busy += 1,
            std::task::Poll::Ready(other) => panic!("{other:?}"),
            std::task::Poll::Pending => {}
        }
    }
    // One is being computed, two wait; should a computation have ended meanwhile, a few more were
    // taken.
    assert!(busy >= 8, "{busy}");
    drop(waiting);
    // Skipped computations free their places at once: with 20 ms for each computation, 10 s are
    // enough even on a busy machine.
    let begun = Instant::now();
    loop {
        match pool.verify(Password::presented("x".into()), None).await {
            Ok(verdict) => break assert_eq!(verdict, Verdict::Wrong),
            Err(HashingError::Busy) => assert!(begun.elapsed() < Duration::from_secs(10)),
            Err(other) => panic!("{other}"),
        }
        tokio::task::yield_now().await;
    }
}

/// CVE-2026-88010: usernames told apart by the time of a refusal. Known and unknown users take
/// turns, so that whatever else the machine does meets both alike.
#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_known_one() {
    let pool = pool(1, 8, HashingCost::OWASP);
    let hash = pool.hash(password("correct horse")).await.unwrap();
    // These threads take what others leave, so what counts is how short it can be. A difference
    // there would be there every time.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    let mut ratio = f64::INFINITY;
    for round in 0..200 {
        for (shortest, hash) in [(&mut known, Some(hash.clone())), (&mut unknown, None)] {
            let begun = Instant::now();
            assert_eq!(
                pool.verify(Password::presented("wrong horse".into()), hash).await,
                Ok(Verdict::Wrong)
            );
            *shortest = begun.elapsed().min(*shortest);
        }
        ratio = known.as_secs_f64() / unknown.as_secs_f64();
        if round >= 20 && (ratio - 1.0).abs() < 0.02 {
            break;
        }
    }
    assert!((ratio - 1.0).abs() < 0.1, "{known:?} {unknown:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_threads_run_when_idle_the_reserves_are_nice_and_no_other_thread_is() {
    const SCHED_OTHER: i32 = 0;
    const SCHED_BATCH: i32 = 3;
    const SCHED_IDLE: i32 = 5;
    let pool = pool(1, 8, CHEAP);
    pool.verify(Password::presented("x".into()), None).await.unwrap();
    pool.threads.reserve.spawn(|_| Ok(())).await.unwrap().unwrap();
    // Name, niceness and policy: fields 2, 19 and 41 (proc(5)); a name may hold spaces, but no
    // parenthesis of ours.
    let priority = |stat: &str| {
        let (name, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = rest.split_whitespace().collect();
        let number = |field: usize| fields[field - 3].parse::<i32>().unwrap();
        (name.split_once('(').unwrap().1.to_owned(), number(19), number(41))
    };
    let own = priority(&std::fs::read_to_string("/proc/thread-self/stat").unwrap()).1;
    let all = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let stats = tasks
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
        stats.map(|stat| priority(&stat)).collect::<Vec<_>>()
    };
    let all = all();
    // A process that is nicer already stays so.
    let reserve = ("reserve".to_owned(), own.max(10), SCHED_BATCH);
    assert!(
        all.iter().any(|(name, _, policy)| name == "passwords" && *policy == SCHED_IDLE),
        "{all:?}"
    );
    assert!(all.contains(&reserve), "{all:?}");
    for (name, nice, policy) in &all {
        let is_ours = name == "passwords" || name == "reserve";
        assert!(is_ours || (*nice, *policy) == (own, SCHED_OTHER), "{name}: {all:?}");
    }
}

/// A machine that is never idle: the thread that was given work does not get to run.
#[tokio::test]
async fn while_a_thread_is_starved_a_reserve_does_the_work() {
    let pool = pool(1, 8, CHEAP);
    // The only idle thread is taken, and its work does not end.
    let permit = Arc::clone(&pool.threads.idle_free).try_acquire_owned().unwrap();
    let verify = || pool.verify(Password::presented("x".into()), None);
    assert_eq!((verify().await, verify().await), (Ok(Verdict::Wrong), Ok(Verdict::Wrong)));
    drop(permit);
    // It is given work and does not do it in time: the reserve does the same again.
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let threads = Arc::clone(&pool.threads);
    let blocking =
        tokio::spawn(async move { threads.idle.spawn(move |_| Ok(blocked.recv().is_err())).await });
    assert_eq!(verify().await, Ok(Verdict::Wrong));
    assert_eq!(pool.threads.idle_free.available_permits(), 0, "its own work still waits");
    drop(release);
    assert!(matches!(blocking.await, Ok(Ok(Ok(true)))));
    let _ = Arc::clone(&pool.threads.idle_free).acquire_owned().await.unwrap();
    assert_eq!(verify().await, Ok(Verdict::Wrong));
}

/// A client that leaves while its password is hashed does not make the next computation run beside
/// it.
#[tokio::test]
async fn a_computation_whose_caller_is_gone_keeps_its_turn_until_it_ends() {
    let pool = pool(1, 1, CHEAP);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let mut running = Box::pin(pool.compute(move |_| Ok(blocked.lock().unwrap().recv().is_err())));
    while pool.turns.available_permits() > 0 || pool.threads.idle_free.available_permits() > 0 {
        std::future::poll_fn(|cx| std::task::Poll::Ready(running.as_mut().poll(cx).is_pending()))
            .await;
        tokio::task::yield_now().await;
    }
    drop(running);
    assert_eq!((pool.turns.available_permits(), pool.places.available_permits()), (0, 1));
    drop(release);
    let _ = Arc::clone(&pool.turns).acquire_owned().await.unwrap();
}
