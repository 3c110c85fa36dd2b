//! A fleet in simulated time: some instances, one counter, and calls that take a while.

use super::*;

/// The time between two looks at everything.
const STEP: Duration = Duration::from_micros(100);

const START: Uptime = Uptime::from_nanos(5_000_000_000);

/// The counter of the fleet.
struct Server {
    counter: Counter,
    calls: u64,
}

impl Server {
    fn take(&mut self, quota: &Quota, wanted: u32, now: Uptime) -> Grant {
        self.calls += 1;
        let (mut granted, mut verdict) = (0, self.counter.take(*quota, now));
        while verdict.is_allowed {
            granted += 1;
            if granted == wanted {
                break;
            }
            verdict = self.counter.take(*quota, now);
        }
        let spent = u64::from(quota.burst.get() - verdict.remaining);
        Grant {
            granted,
            remaining: verdict.remaining,
            next_after: verdict.next_after,
            full_after: Duration::from_nanos(quota.interval_nanos() * spent),
        }
    }
}

struct Instance {
    allowance: Allowance,
    reach: Reach,
    /// When the call that is under way is answered, and what it wants.
    call: Option<(Uptime, NonZeroU32)>,
    admitted: u64,
    /// How many requests had to wait.
    waited: u64,
}

struct Fleet {
    server: Server,
    instances: Vec<Instance>,
    quota: Quota,
    delay: Duration,
    now: Uptime,
}

impl Fleet {
    fn new(instances: u64, quota: Quota, delay: Duration) -> Self {
        let instance = |number: u64| Instance {
            allowance: Allowance::new(START, (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            reach: Reach::There,
            call: None,
            admitted: 0,
            waited: 0,
        };
        Self {
            server: Server { counter: Counter::default(), calls: 0 },
            instances: (0..instances).map(instance).collect(),
            quota,
            delay,
            now: START,
        }
    }

    fn request(&mut self, at: usize) {
        let instance = &mut self.instances[at];
        let step = instance.allowance.judge(&self.quota, instance.reach, self.now);
        if !instance.follow(step, self.now.after(self.delay)) {
            instance.allowance.waiting += 1;
            instance.waited += 1;
        }
    }

    /// The answers that are due, and the requests that waited for them.
    fn answer(&mut self) {
        let Self { server, instances, quota, delay, now } = self;
        for instance in instances {
            let Some((due, wanted)) = instance.call.filter(|(due, _)| due <= now) else { continue };
            instance.call = None;
            if instance.reach == Reach::There {
                let grant = server.take(quota, wanted.get(), due);
                instance.allowance.granted(&grant, wanted, quota, *now);
            } else {
                instance.allowance.failed();
            }
            for _ in 0..instance.allowance.waiting {
                let step = instance.allowance.again(quota, instance.reach, *now);
                if instance.follow(step, now.after(*delay)) {
                    instance.allowance.waiting -= 1;
                }
            }
        }
    }

    /// Requests for a while, so many a second at each instance; how many passed.
    fn load(&mut self, time: Duration, per_second: &[u64]) -> u64 {
        let before = self.admitted();
        let steps = u64::try_from(time.as_nanos() / STEP.as_nanos()).unwrap();
        let in_steps = u64::try_from(Duration::from_secs(1).as_nanos() / STEP.as_nanos()).unwrap();
        for step in 0..steps {
            for (at, rate) in per_second.iter().enumerate() {
                for _ in step * rate / in_steps..(step + 1) * rate / in_steps {
                    self.request(at);
                }
            }
            self.now = self.now.after(STEP);
            self.answer();
        }
        self.admitted() - before
    }

    fn admitted(&self) -> u64 {
        self.instances.iter().map(|instance| instance.admitted).sum()
    }

    fn reach(&mut self, reach: Reach) {
        self.instances.iter_mut().for_each(|instance| instance.reach = reach);
    }
}

impl Instance {
    /// Whether the request has been decided.
    fn follow(&mut self, step: Step, answered_at: Uptime) -> bool {
        let (verdict, wanted) = match step {
            Step::Decided(verdict) => (Some(verdict), None),
            Step::Ahead(verdict, wanted) => (Some(verdict), Some(wanted)),
            Step::Ask(wanted) => (None, Some(wanted)),
            Step::Wait => (None, None),
        };
        if let Some(wanted) = wanted {
            assert_eq!(self.call, None, "one call at a time");
            self.call = Some((answered_at, wanted));
        }
        self.admitted += u64::from(verdict.is_some_and(|verdict| verdict.is_allowed));
        verdict.is_some()
    }
}

fn quota(count: u32, seconds: u64, burst: u32) -> Quota {
    let number = |number| NonZeroU32::new(number).unwrap();
    Quota { count: number(count), period: Duration::from_secs(seconds), burst: number(burst) }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_three_instances_let_pass_is_the_limit_whatever_each_is_offered() {
    for offered in [[3_333, 3_333, 3_334], [9_000, 900, 100], [10_000, 0, 0], [1_200, 1_200, 1_200]]
    {
        for delay in [100, 1_000, 10_000].map(Duration::from_micros) {
            let mut fleet = Fleet::new(3, quota(3_000, 1, 3_000), delay);
            let admitted = fleet.load(seconds(10), &offered);
            let limit = 33_000.min(offered.iter().sum::<u64>() * 10);
            assert!(
                admitted <= limit && limit - admitted <= limit / 50,
                "{admitted} of {limit}: {offered:?}, {delay:?}"
            );
            let calls = fleet.server.calls;
            assert!(calls < 10 * 3 * 120, "{calls} calls: {offered:?}, {delay:?}");
        }
    }
}

#[test]
fn each_instance_gets_its_share_of_what_all_want() {
    let mut fleet = Fleet::new(3, quota(300, 1, 300), Duration::from_micros(300));
    fleet.load(seconds(20), &[1_000; 3]);
    for instance in &fleet.instances {
        let share = instance.admitted;
        assert!((1_400..=2_800).contains(&share), "{share} of {}", fleet.admitted());
    }
}

#[test]
fn what_is_below_the_limit_passes_whole_and_hardly_waits() {
    for per_second in [100, 300, 900] {
        let mut fleet = Fleet::new(3, quota(3_000, 1, 3_000), Duration::from_millis(2));
        assert_eq!(fleet.load(seconds(5), &[per_second; 3]), per_second * 15);
        let waited: u64 = fleet.instances.iter().map(|instance| instance.waited).sum();
        // At first it is not known how many permits are needed.
        assert!(waited <= per_second * 15 / 20, "{waited} waited at {per_second}/s");
        assert!(fleet.server.calls <= 5 * 3 * 70, "{} calls", fleet.server.calls);
    }
}

#[test]
fn a_low_limit_is_exact_to_the_request_and_refusals_make_no_calls() {
    let mut fleet = Fleet::new(3, quota(5, 60, 5), Duration::from_millis(1));
    assert_eq!(fleet.load(seconds(1), &[300, 300, 300]), 5);
    assert!(fleet.server.calls <= 9, "{} calls", fleet.server.calls);
    assert_eq!(fleet.load(seconds(58), &[100, 10, 300]), 4, "one every twelve seconds");
    assert_eq!(fleet.load(seconds(600), &[1, 10, 100]), 50);
    // One for each permit, and one for each refusal that is over, at each instance.
    assert!(fleet.server.calls <= 250, "{} calls", fleet.server.calls);
}

#[test]
fn a_small_burst_is_not_lost_between_two_calls() {
    let mut fleet = Fleet::new(3, quota(1_000, 1, 20), Duration::from_micros(200));
    let admitted = fleet.load(seconds(10), &[2_000, 2_000, 2_000]);
    assert!((9_500..=10_020).contains(&admitted), "{admitted}");
}

#[test]
fn requests_at_the_same_time_share_one_call() {
    let mut fleet = Fleet::new(1, quota(100, 3_600, 100), Duration::from_millis(5));
    (0..500).for_each(|_| fleet.request(0));
    fleet.load(Duration::from_millis(20), &[0]);
    assert_eq!((fleet.admitted(), fleet.server.calls), (100, 2));
    assert_eq!(fleet.instances[0].allowance.waiting, 0, "the others are refused");
    let step = fleet.instances[0].allowance.judge(&fleet.quota, Reach::There, fleet.now);
    let Step::Decided(refused) = step else { panic!("it is remembered: {step:?}") };
    assert!(!refused.is_allowed && refused.next_after > seconds(30), "{refused:?}");
}

#[test]
fn without_the_counter_each_instance_keeps_the_limit_by_itself_and_makes_no_request_wait() {
    let mut fleet = Fleet::new(3, quota(100, 1, 100), Duration::from_millis(1));
    fleet.reach(Reach::Away);
    let admitted = fleet.load(seconds(10), &[1_000; 3]);
    assert!((3_270..=3_300).contains(&admitted), "{admitted}");
    assert!(fleet.instances.iter().all(|instance| instance.waited == 0 && instance.call.is_none()));
    // To be tried again: without a request that waits for it.
    fleet.instances[0].reach = Reach::Tried;
    fleet.request(0);
    assert!(fleet.instances[0].call.is_some() && fleet.instances[0].waited == 0);
}

#[test]
fn what_passed_without_the_counter_is_taken_from_it_afterwards() {
    let mut fleet = Fleet::new(3, quota(300, 1, 300), Duration::from_millis(1));
    let load = [1_000; 3];
    let before = fleet.load(seconds(5), &load);
    assert!((300 * 6 - 20..=300 * 6).contains(&before), "{before}");
    fleet.reach(Reach::Away);
    let alone = fleet.load(seconds(1), &load);
    // Each was far below the limit before, and has a whole burst.
    assert!((600..=3 * 600).contains(&alone), "{alone}");
    fleet.reach(Reach::There);
    let after = fleet.load(seconds(10), &load);
    let owed = u64::from(fleet.quota.burst.get()) * 3;
    assert!(after >= 3_300 - owed - 150 && after <= 3_300 - owed + 150, "{after}");
    let later = fleet.load(seconds(10), &load);
    assert!((2_950..=3_010).contains(&later), "{later}: nothing is owed any more");
}

#[test]
fn permits_that_are_not_used_are_let_go_and_are_few() {
    let mut fleet = Fleet::new(1, quota(1_000, 1, 1_000), Duration::from_millis(1));
    fleet.load(seconds(2), &[900]);
    let held = fleet.instances[0].allowance.held;
    assert!(held <= 2 * 50, "{held}");
    fleet.now = fleet.now.after(HELD_FOR);
    let step = fleet.instances[0].allowance.judge(&fleet.quota, Reach::There, fleet.now);
    assert!(matches!(step, Step::Ask(_)), "{step:?}");
}
