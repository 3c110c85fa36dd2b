//! Asks for every name of the configuration when it is due, once per process, and says what has
//! changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answers::{Answers, Doubts};
use super::client::{Client, Family, Outcome, SystemFiles};
use super::known::{Known, Notice};
use super::settings::DnsSettings;

/// The names of the configuration, and what is known of them.
pub struct NameWatch {
    state: Mutex<State>,
    doubts: Arc<Doubts>,
}

struct State {
    client: Arc<Client>,
    known: BTreeMap<Arc<str>, Known>,
}

/// How long a start or a reload waits for the first answers. What has none then is asked for on,
/// and its requests get 502 meanwhile.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// So many names are asked for at a time.
const MOST_AT_ONCE: usize = 16;

impl NameWatch {
    /// Without a name yet.
    #[must_use]
    pub fn new(settings: DnsSettings) -> Arc<Self> {
        Self::with_files(settings, SystemFiles::default())
    }

    pub(super) fn with_files(settings: DnsSettings, files: SystemFiles) -> Arc<Self> {
        let client = Arc::new(Client::new(settings, files));
        let state = Mutex::new(State { client, known: BTreeMap::new() });
        Arc::new(Self { state, doubts: Arc::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for those names that are new, as `settings` say, and waits for their answers, but not
    /// for long. Nothing that is in force changes.
    ///
    /// # Cancel safety
    ///
    /// What was answered meanwhile is known.
    pub async fn learn(&self, settings: &DnsSettings, names: &BTreeSet<Arc<str>>) {
        let (mut unknown, client) = {
            let state = self.state();
            let unknown: Vec<_> =
                names.iter().filter(|name| !state.known.contains_key(*name)).cloned().collect();
            let client = Client::new(settings.clone(), state.client.files().clone());
            (unknown.into_iter(), Arc::new(client))
        };
        let deadline = Instant::now() + FIRST_ANSWERS;
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < MOST_AT_ONCE
                && let Some(name) = unknown.next()
            {
                asking.spawn(ask(Arc::clone(&client), name));
            }
            let Ok(Some(answered)) = timeout_at(deadline, asking.join_next()).await else { return };
            if let Ok((name, outcome)) = answered {
                let now = Instant::now();
                let mut known = Known::new(now);
                report(&name, known.note(outcome, settings, now), settings);
                self.state().known.insert(name, known);
            }
        }
    }

    /// Those of these names of which no address is known.
    #[must_use]
    pub fn without_address<'n>(&self, names: &'n BTreeSet<Arc<str>>) -> Vec<&'n str> {
        let state = self.state();
        let is_without = |name: &&Arc<str>| state.known.get(*name).is_none_or(Known::is_empty);
        names.iter().filter(is_without).map(|name| &**name).collect()
    }

    /// Those of the names in force of which no address is known.
    #[must_use]
    pub fn all_without_address(&self) -> Vec<String> {
        let state = self.state();
        let without = state.known.iter().filter(|(_, known)| known.is_empty());
        without.map(|(name, _)| (**name).to_owned()).collect()
    }

    /// These are the settings and the names from now on; what is known of them stays. Names of which
    /// nothing is known are asked for at once, and so are all if it is done otherwise now.
    pub fn replace(&self, settings: &DnsSettings, names: &BTreeSet<Arc<str>>) -> Answers {
        let mut state = self.state();
        let now = Instant::now();
        state.known.retain(|name, _| names.contains(name));
        if state.client.settings() != settings {
            let files = state.client.files().clone();
            state.client = Arc::new(Client::new(settings.clone(), files));
            state.known.values_mut().for_each(|known| known.hasten(settings, now));
        }
        for name in names {
            state.known.entry(Arc::clone(name)).or_insert_with(|| Known::new(now));
        }
        let answers = self.answers(&state);
        drop(state);
        self.doubts.noted.notify_one();
        answers
    }

    fn answers(&self, state: &State) -> Answers {
        let known = state.known.iter();
        let by_name = known.map(|(name, known)| (Arc::clone(name), known.answer()));
        Answers::new(by_name.collect(), Arc::clone(&self.doubts))
    }

    /// Asks when it is due, and gives what has changed to `publish`. It never ends.
    pub async fn run(&self, publish: impl Fn(Answers)) {
        let mut asking = JoinSet::new();
        loop {
            let next = self.begin(&mut asking);
            tokio::select! {
                Some(answered) = asking.join_next() => match answered {
                    Ok((name, outcome)) => {
                        if let Some(answers) = self.note(&name, outcome) {
                            publish(answers);
                        }
                    }
                    Err(fault) => {
                        tracing::error!(%fault, "a name could not be asked for");
                        // Which one is not known: all are asked for that were.
                        let mut state = self.state();
                        let now = Instant::now();
                        state.known.values_mut().for_each(|known| known.give_up(now));
                    }
                },
                () = sleep_until(next.unwrap_or_else(far)), if next.is_some() => {}
                () = self.doubts.noted.notified() => {
                    let doubtful = self.doubts.take();
                    let mut state = self.state();
                    let (client, now) = (Arc::clone(&state.client), Instant::now());
                    for name in doubtful {
                        if let Some(known) = state.known.get_mut(&name) {
                            known.hasten(client.settings(), now);
                        }
                    }
                }
            }
        }
    }

    /// Asks for what is due; when the next one is, unless as many are asked for as may be.
    fn begin(&self, asking: &mut JoinSet<(Arc<str>, Outcome)>) -> Option<Instant> {
        let mut state = self.state();
        let (client, now) = (Arc::clone(&state.client), Instant::now());
        let mut next = None;
        for (name, known) in &mut state.known {
            let Some(due) = known.due() else { continue };
            if due > now {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
            } else if asking.len() < MOST_AT_ONCE {
                known.begin();
                asking.spawn(ask(Arc::clone(&client), Arc::clone(name)));
            }
        }
        next
    }

    /// What is known, if that is something else now.
    fn note(&self, name: &Arc<str>, outcome: Outcome) -> Option<Answers> {
        let mut state = self.state();
        let client = Arc::clone(&state.client);
        // A reload may have removed it meanwhile.
        let known = state.known.get_mut(name)?;
        let before = known.answer();
        let notice = known.note(outcome, client.settings(), Instant::now());
        let after = known.answer();
        report(name, notice, client.settings());
        if before == after {
            return None;
        }
        if before.addresses != after.addresses {
            let addresses = after.addresses.len();
            tracing::info!(name = &**name, addresses, "the addresses of a name have changed");
        }
        Some(self.answers(&state))
    }
}

/// What is waited for when nothing is due.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

async fn ask(client: Arc<Client>, name: Arc<str>) -> (Arc<str>, Outcome) {
    let mut outcome = client.ask(&name).await;
    leave_out_unreachable(&mut outcome);
    (name, outcome)
}

/// Leaves out addresses of IPv6 to which the system has no route, where there are others: servers
/// with both are common, and so are machines without IPv6 (RFC 6724, section 5, rule 1).
fn leave_out_unreachable(outcome: &mut Outcome) {
    let Family::Addresses(addresses) = &mut outcome.v6 else { return };
    let reachable: Vec<_> = addresses.iter().copied().filter(has_route).collect();
    if !reachable.is_empty() {
        *addresses = reachable;
    } else if matches!(outcome.v4, Family::Addresses(_)) {
        outcome.v6 = Family::None("the system has no route to them".to_owned());
    }
}

/// Whether the system has a route there. It sends nothing.
fn has_route(ip: &IpAddr) -> bool {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    UdpSocket::bind(any).and_then(|socket| socket.connect((*ip, 9))).is_ok()
}

fn report(name: &str, notice: Option<Notice>, settings: &DnsSettings) {
    match notice {
        None => {}
        Some(Notice::Unanswered(reason)) => tracing::warn!(
            name,
            reason,
            "the servers of names say nothing of a name; what is known of it stays in force"
        ),
        Some(Notice::Gone(reason)) => tracing::warn!(
            name,
            reason,
            seconds = settings.hold.as_secs(),
            "a name has no address; those that it had stay in force for a while"
        ),
        Some(Notice::Dropped(reason)) => {
            tracing::error!(name, reason, "a name has no address any more");
        }
        Some(Notice::Answered) => tracing::info!(name, "a name is answered for again"),
    }
}
