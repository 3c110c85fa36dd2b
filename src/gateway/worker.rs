//! What a worker keeps for itself, so that no request waits for another worker: its pools, its copy
//! of the cache, its counters and its lines of the access log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::control::{Control, Ending, Holder, Shown};
use super::line_buffer::LineBuffer;
use super::plan::Plan;
use super::plan_counters::{self, PlanCounters};
use super::remembered::Remembered;
use super::request_id::RequestIds;
use super::rounds::Rounds;
use crate::domain::{Timestamp, TokenDigest};
use crate::limits::FleetCounters;
use crate::limits::Load;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::configured::PlanSeries;
use crate::telemetry::gauges::Gauges;
use crate::telemetry::log::LogFormat;
use crate::telemetry::metrics::{WorkerCounters, render};
use crate::tokens::accounts::AccountsService;
use crate::tokens::authenticator::Authenticator;
use crate::tokens::clock;
use crate::tokens::issuer::IssuerSet;
use crate::tokens::service::TokenService;
use crate::tokens::store::Store;
use crate::tokens::tickets::TicketService;
use crate::upstream::{Answers, Upstream, UpstreamState};

/// What all workers share.
pub struct Shared {
    /// Checks tokens.
    pub authenticator: Authenticator,
    /// Changes the allowlist.
    pub service: TokenService,
    /// Keeps accounts.
    pub accounts: AccountsService,
    /// Issues and redeems tickets.
    pub tickets: TicketService,
    /// Where uses of tokens are noted.
    pub store: Arc<dyn Store>,
    /// Where lines go; `None`: nowhere.
    pub access_log: Option<AccessLog>,
    /// What the process has under way, and may have.
    pub load: Arc<Load>,
    plan: ArcSwap<Plan>,
    generation: AtomicU64,
    /// How many workers there are.
    workers: usize,
    /// The counters of limits that the fleet shares; none: this instance counts alone.
    fleet_counters: Option<Arc<FleetCounters>>,
}

/// What requests are judged and served with, of which a reload changes nothing.
pub struct Services {
    /// Checks tokens.
    pub authenticator: Authenticator,
    /// Changes the allowlist.
    pub service: TokenService,
    /// Keeps accounts.
    pub accounts: AccountsService,
    /// Issues and redeems tickets.
    pub tickets: TicketService,
    /// Where uses of tokens are noted.
    pub store: Arc<dyn Store>,
    /// The counters of limits that the fleet shares; none: this instance counts alone.
    pub fleet_counters: Option<Arc<FleetCounters>>,
}

impl Shared {
    /// With the first plan, for so many workers. `access_log`: where lines go; none: nowhere.
    #[must_use]
    pub fn new(
        services: Services,
        access_log: Option<AccessLog>,
        mut plan: Plan,
        workers: usize,
    ) -> Self {
        let Services { authenticator, service, accounts, tickets, store, fleet_counters } =
            services;
        if let Some(fleet) = &fleet_counters {
            plan.share(fleet);
        }
        plan.series = plan_counters::series(&plan, workers, &PlanSeries::default());
        Self {
            authenticator,
            service,
            accounts,
            tickets,
            store,
            access_log,
            load: Arc::default(),
            plan: ArcSwap::from_pointee(plan),
            generation: AtomicU64::new(0),
            workers,
            fleet_counters,
        }
    }

    /// The outside issuers of the plan that is in force.
    #[must_use]
    pub fn issuers(&self) -> Arc<IssuerSet> {
        Arc::clone(&self.plan.load().issuers)
    }

    /// What is known of the upstreams of the plan that is in force, of those of which something is.
    #[must_use]
    pub fn upstream_states(&self) -> Vec<Arc<UpstreamState>> {
        self.plan.load().upstream_states.iter().filter_map(ArcSwapOption::load_full).collect()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// All metrics: of these workers, and of the plan that is in force.
    pub fn metrics<'a>(
        &self,
        workers: impl Iterator<Item = &'a WorkerCounters> + Clone,
        gauges: &Gauges,
    ) -> String {
        render(workers, gauges, &self.plan.load().series)
    }

    /// Puts another plan in force, with what is known of its names: every request that begins after
    /// this sees it.
    pub fn replace_plan(&self, mut plan: Plan, answers: &Answers) {
        if let Some(fleet) = &self.fleet_counters {
            plan.share(fleet);
        }
        let before = self.plan.load();
        plan.inherit(&before, answers);
        plan.series = plan_counters::series(&plan, self.workers, &before.series);
        self.plan.store(Arc::new(plan));
        self.generation.fetch_add(1, Ordering::Release);
        wake_waiting(&before);
    }

    /// Names have other addresses: every request that begins after this goes to those. To be called
    /// by the thread that replaces the plan.
    pub fn replace_addresses(&self, answers: &Answers) {
        let plan = self.plan.load();
        if plan.resolve(answers) {
            self.generation.fetch_add(1, Ordering::Release);
            wake_waiting(&plan);
        }
    }
}

/// What waits for a place at an upstream looks for one by the plan that is in force.
fn wake_waiting(plan: &Plan) {
    let states = plan.upstream_states.iter().filter_map(ArcSwapOption::load_full);
    states.for_each(|state| state.wake_waiting());
}

/// One worker's gateway.
pub struct WorkerGateway {
    pub(super) shared: Arc<Shared>,
    /// Its counters, which only it writes.
    pub counters: Arc<WorkerCounters>,
    /// Its place among the workers; `None`: its counters are in no metric.
    number: Option<usize>,
    pub(super) ids: RequestIds,
    pub(super) remembered: RefCell<Remembered>,
    local: RefCell<Rc<Local>>,
    uses: RefCell<Vec<(TokenDigest, Timestamp)>>,
    /// The connections and streams that are open.
    open: RefCell<Rounds<Control>>,
    /// Whether exchanges that end unanswered do so because keyward stops.
    pub(super) is_stopping: Cell<bool>,
    /// Whether it leaves no trace: no line in the access log and no note of a use.
    pub(super) is_silent: bool,
    log: RefCell<LineBuffer>,
}

/// A plan with this worker's pools.
pub(super) struct Local {
    generation: u64,
    pub(super) plan: Arc<Plan>,
    pub(super) upstreams: Vec<Rc<Upstream>>,
    pub(super) counters: PlanCounters,
}

/// More uses than this are not noted within a second: memory is bounded.
const MOST_USES: usize = 100_000;

impl WorkerGateway {
    /// A worker that has not served yet. `number`: its place among the workers; `None`: what it
    /// counts is in no metric.
    #[must_use]
    pub fn new(shared: Arc<Shared>, counters: Arc<WorkerCounters>, number: Option<usize>) -> Self {
        let local = Local::of(&shared, &[], number);
        Self {
            shared,
            counters,
            number,
            ids: RequestIds::new(),
            remembered: RefCell::new(Remembered::new()),
            local: RefCell::new(Rc::new(local)),
            uses: RefCell::default(),
            open: RefCell::default(),
            is_stopping: Cell::new(false),
            is_silent: false,
            log: RefCell::default(),
        }
    }

    /// A gateway that only judges: it leaves no trace, and its counters are not in the metrics.
    pub(super) fn silent(shared: Arc<Shared>) -> Self {
        let mut gateway = Self::new(shared, Arc::default(), None);
        gateway.is_silent = true;
        gateway
    }

    /// The plan that is in force, with this worker's pools.
    pub(super) fn local(&self) -> Rc<Local> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let local = Rc::clone(&self.local.borrow());
        if local.generation == generation {
            return local;
        }
        let renewed = Rc::new(Local::of(&self.shared, &local.upstreams, self.number));
        for upstream in &local.upstreams {
            if !renewed.upstreams.iter().any(|kept| Rc::ptr_eq(kept, upstream)) {
                upstream.retire(&renewed.upstreams);
            }
        }
        *self.local.borrow_mut() = Rc::clone(&renewed);
        if !Arc::ptr_eq(&renewed.plan, &local.plan) {
            // Identity headers may be called otherwise now.
            *self.remembered.borrow_mut() = Remembered::new();
        }
        renewed
    }

    /// What is due about once a second: closes old connections, notes uses and writes lines.
    pub fn tidy(&self) {
        for upstream in &self.local().upstreams {
            upstream.sweep();
        }
        let uses = std::mem::take(&mut *self.uses.borrow_mut());
        if !uses.is_empty() {
            let noted = self.shared.store.touch(uses);
            // If the store is away, these uses are not noted.
            tokio::task::spawn_local(async move {
                if let Err(fault) = noted.await {
                    tracing::debug!(%fault, "uses of tokens could not be noted");
                }
            });
        }
        self.flush_log();
    }

    /// Registers the control of a connection or stream for [`end_revoked`](Self::end_revoked).
    pub fn register(&self, control: &Rc<Control>) {
        self.open.borrow_mut().add(control);
    }

    /// Ends every tunnel and event stream: keyward stops, and they would not end by themselves.
    pub fn end_endless(&self) {
        for control in self.open.borrow().all() {
            if control.is_endless.get() {
                control.cut(Ending::Stopping);
            }
        }
    }

    /// keyward stops from now on.
    pub fn begin_stopping(&self) {
        self.is_stopping.set(true);
    }

    /// Ends every WebSocket, event stream and long response whose token has expired, was revoked,
    /// or was made with a key that was taken away. It looks at a part of them, and at all in a round:
    /// at every tick it is called, as what is revoked ends within a second (DESIGN.md, section 5).
    /// Where the fence is broken, the token may have been revoked: keys, cache and store are asked.
    /// While the store cannot tell, only expiry ends anything, until the lease allows that no
    /// longer.
    pub fn end_revoked(self: &Rc<Self>) {
        let now = clock::read();
        let cache = self.shared.authenticator.cache();
        // Another process may have revoked it, which breaks no fence here.
        let is_shared = cache.lease().reads_anew();
        let mut doubtful = Vec::new();
        self.open.borrow_mut().look(now.uptime, |control| {
            if control.client_has_finished() || control.waits_for_place() {
                // Its reset wakes no reader: the driver finds it when it is polled.
                control.deadline.wake();
            }
            let Some(holder) = control.open_for() else { return };
            let caller = &holder.admitted.caller;
            let has_ended = caller.token.is_expired(now.wall)
                || match &caller.outside {
                    // It has no record that could be gone. While its issuer's keys are too old to
                    // say, it goes on.
                    Some(outside) => matches!(outside.is_current(now), Ok(false)),
                    None => !cache.lease().tolerates_open(now.uptime),
                };
            if has_ended {
                control.cut(Ending::TokenEnded);
            } else if caller.outside.is_none()
                && (is_shared || !cache.is_current(&caller.digest, holder.fence))
            {
                doubtful.push((control, holder));
            }
        });
        for (control, holder) in doubtful {
            let gateway = Rc::clone(self);
            tokio::task::spawn_local(async move {
                let (authenticator, local) = (&gateway.shared.authenticator, gateway.local());
                let caller = &holder.admitted.caller;
                // Taken before the store is asked: a later revocation breaks it.
                let fence = authenticator.cache().fence(&caller.digest);
                let verdict = match &holder.shown {
                    Shown::Token(credential) => {
                        let form = local.plan.opaque.form_of(&credential.token);
                        authenticator.is_still_good(caller, form, &credential.token, now).await
                    }
                    // The token itself is not here, and so not which key has made it.
                    Shown::Ticket { redeemed_at } => {
                        if gateway.shared.tickets.has_all_keys_since(*redeemed_at) {
                            authenticator.has_record(caller.digest, now).await
                        } else {
                            Ok(false)
                        }
                    }
                };
                let is_open = control
                    .open_for()
                    .is_some_and(|open| Rc::ptr_eq(&open.admitted, &holder.admitted));
                match verdict {
                    Ok(true) if is_open => {
                        *control.holder.borrow_mut() = Some(Holder { fence, ..holder.clone() });
                    }
                    Ok(false) if is_open => control.cut(Ending::TokenEnded),
                    // It has ended by itself, or the store cannot tell and is asked again.
                    Ok(_) | Err(_) => {}
                }
            });
        }
    }

    /// Hands the lines that wait to the writer.
    pub fn flush_log(&self) {
        if let Some(access_log) = &self.shared.access_log
            && let Some(lines) = self.log.borrow_mut().take()
        {
            access_log.write(lines.into_bytes());
        }
    }

    pub(super) fn note_use(&self, digest: TokenDigest, at: Timestamp) {
        let mut uses = self.uses.borrow_mut();
        if uses.len() < MOST_USES {
            uses.push((digest, at));
        }
    }

    /// Whether its exchanges leave lines that have all that is known.
    pub(super) fn logs_json(&self) -> bool {
        let access_log = self.shared.access_log.as_ref().filter(|_| !self.is_silent);
        access_log.is_some_and(|log| log.format() == LogFormat::Json)
    }

    /// Adds a line; `write` adds what follows the time.
    pub(super) fn log_line(&self, at: Timestamp, write: impl FnOnce(&mut String, bool)) {
        let Some(access_log) = self.shared.access_log.as_ref().filter(|_| !self.is_silent) else {
            return;
        };
        let is_json = access_log.format() == LogFormat::Json;
        self.log.borrow_mut().add(at, is_json, write);
        if self.log.borrow().is_nearly_full() {
            self.flush_log();
        }
    }
}

/// Exchanges that end only with the worker leave their lines all the same.
impl Drop for WorkerGateway {
    fn drop(&mut self) {
        self.flush_log();
    }
}

impl Local {
    /// Keeps the pools of upstreams that are as they were.
    fn of(shared: &Shared, before: &[Rc<Upstream>], worker: Option<usize>) -> Self {
        let generation = shared.generation.load(Ordering::Acquire);
        let plan = shared.plan.load_full();
        let upstreams = plan
            .upstreams
            .iter()
            .zip(&plan.upstream_states)
            .map(|(upstream, state)| {
                let (settings, state) = (&upstream.settings, state.load_full());
                let same = before.iter().find(|known| known.is(settings, state.as_ref()));
                let new = || Rc::new(Upstream::new(settings.clone(), state.clone(), before));
                same.map_or_else(new, Rc::clone)
            })
            .collect();
        let counters = PlanCounters::of_worker(&plan.series, worker);
        Self { generation, plan, upstreams, counters }
    }
}
