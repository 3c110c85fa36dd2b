//! Clients that use tokens, issue them and revoke them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::raw_client::{Answer, NoAnswer, RawClient};
use super::super::{AGENTS, Fleet};
use super::history::{Entry, History, Reaction};
use crate::support::{Random, TestUser};

/// Tokens that an owner keeps in use at a time, dead ones among them.
pub(super) const SLOTS: usize = 6;

pub(super) const OWNERS: [TestUser; 8] = [
    TestUser::user("lin|0", "lin0"),
    TestUser::user("lin|1", "lin1"),
    TestUser::user("lin|2", "lin2"),
    TestUser::user("lin|3", "lin3"),
    TestUser::user("lin|4", "lin4"),
    TestUser::user("lin|5", "lin5"),
    TestUser::user("lin|6", "lin6"),
    TestUser::user("lin|7", "lin7"),
];

/// Users with one key for their agents: one slot each, beside those of the owners.
pub(super) const USERS: [&str; 4] = ["user|0", "user|1", "user|2", "user|3"];

/// Slots of all.
pub(super) const ALL_SLOTS: usize = OWNERS.len() * SLOTS + USERS.len();

/// A client of each instance. Its connection to a process that has been killed since is made anew,
/// as by a client that has seen its connection end.
struct RawClients<'h> {
    history: &'h History,
    each: Vec<RawClient>,
    deaths: Vec<u64>,
}

impl<'h> RawClients<'h> {
    fn new(history: &'h History, fleet: &Fleet) -> Self {
        let clients = fleet.clients();
        Self { history, deaths: vec![0; clients.len()], each: clients }
    }

    /// Asks an instance something, and says when that began.
    fn ask<T>(&mut self, instance: usize, ask: impl FnOnce(&mut RawClient) -> T) -> (u64, T) {
        let deaths = self.history.deaths(instance);
        if self.deaths[instance] != deaths {
            self.each[instance].close();
            self.deaths[instance] = deaths;
        }
        let began = self.history.now();
        (began, ask(&mut self.each[instance]))
    }

    fn judged(&mut self, instance: usize, entry: &Entry) {
        let (began, answer) =
            self.ask(instance, |client| client.get_at(entry.target, &entry.token));
        self.history.judge(instance, entry, began, &answer);
    }

    /// The very next requests, on every instance.
    fn ask_everywhere(&mut self, entry: &Entry) {
        for instance in 0..self.each.len() {
            if !self.history.is_over() {
                self.judged(instance, entry);
            }
        }
    }
}

/// Uses tokens through random instances.
pub(super) fn use_tokens(history: &History, fleet: &Fleet, mut random: Random) {
    let mut clients = RawClients::new(history, fleet);
    while !history.is_over() {
        let instance = random.below(clients.each.len());
        if let Some(entry) = history.entry(random.below(history.slots())) {
            clients.judged(instance, &entry);
        }
        // As users do: not all at once.
        std::thread::park_timeout(Duration::from_millis(10 + random.below(30) as u64));
    }
}

/// Before a call is repeated whose outcome is not known.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

/// An owner that issues tokens and revokes them, one after the other, through random instances.
pub(super) struct Owner<'h> {
    history: &'h History,
    fleet: &'h Fleet,
    person: TestUser,
    slots: Vec<usize>,
    clients: RawClients<'h>,
    random: Random,
    root: String,
    root_made: u64,
    /// A revoke-all that was not answered, then.
    doubt: Option<u64>,
}

impl<'h> Owner<'h> {
    pub(super) fn new(
        history: &'h History,
        fleet: &'h Fleet,
        index: usize,
        random: Random,
    ) -> Self {
        Self {
            history,
            fleet,
            person: OWNERS[index],
            slots: (index * SLOTS..(index + 1) * SLOTS).collect(),
            clients: RawClients::new(history, fleet),
            random,
            root: String::new(),
            root_made: 0,
            doubt: None,
        }
    }

    /// The command needs a store that answers: asked for until it does.
    fn new_root(&mut self) {
        while !self.history.is_over() {
            let began = self.history.now();
            if let Ok(root) = self.fleet.worlds[0].try_bootstrap(self.person, 1_000_000) {
                (self.root, self.root_made) = (root, began);
                return;
            }
            pause();
        }
    }

    /// A call through a random instance.
    fn call(&mut self, call: &str, token: &str) -> (Reaction, Result<Answer, NoAnswer>) {
        let instance = self.random.below(self.clients.each.len());
        let person = self.person;
        let (began, answer) =
            self.clients.ask(instance, |client| client.call(person, "POST", call, token));
        (self.history.said(instance, began, &answer, 503), answer)
    }

    pub(super) fn work(&mut self) {
        self.new_root();
        while !self.history.is_over() {
            let slot = self.slots[self.random.below(SLOTS)];
            match self.history.entry(slot) {
                Some(entry) if !entry.is_being_revoked() => {
                    if self.random.below(12) == 0 {
                        self.revoke_all();
                    } else {
                        self.revoke(&entry);
                    }
                }
                _ => self.issue(slot),
            }
        }
    }

    fn issue(&mut self, slot: usize) {
        let issue_began = self.history.now();
        self.doubt = self.doubt.filter(|&doubt| !self.history.is_calm_since(doubt));
        let root = self.root.clone();
        match self.call("/auth/issue-token", &root) {
            (Reaction::Done(body), _) => {
                let answer: serde_json::Value =
                    serde_json::from_slice(&body).expect("an answer is JSON");
                let text = |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
                let entry = Entry {
                    token: text("token"),
                    target: "/private/x",
                    answer: text("jti"),
                    issue_began,
                    issued: self.history.now(),
                    may_be_gone: self.doubt.is_some(),
                    revoke_began: AtomicU64::new(0),
                    revoked: AtomicU64::new(0),
                };
                self.history.enter(slot, entry);
            }
            (Reaction::Refused, _) if self.history.may_be_flushed(self.root_made) => {
                if !self.history.is_being_flushed() {
                    self.new_root();
                }
            }
            (Reaction::CannotTell, _) => {}
            (_, answer) => self.history.violation(format!("issue: {answer:?}")),
        }
    }

    /// Revokes one token, and asks until it is answered.
    fn revoke(&mut self, entry: &Entry) {
        entry.revoke_began.store(self.history.now(), Ordering::SeqCst);
        let mut by_itself = self.random.below(2) == 0;
        let by_id = format!("/auth/revoke/{}", entry.answer);
        loop {
            let healthy = self.history.is_calm();
            let asked = Instant::now();
            let (said, answer) = if by_itself {
                self.call("/auth/revoke", &entry.token)
            } else {
                let root = self.root.clone();
                self.call(&by_id, &root)
            };
            match said {
                Reaction::Done(_) => {
                    entry.revoked.store(self.history.now(), Ordering::SeqCst);
                    if healthy && self.history.is_calm() {
                        self.history.healthy.lock().unwrap().push(asked.elapsed());
                    }
                    self.history.revocations.fetch_add(1, Ordering::SeqCst);
                    return self.clients.ask_everywhere(entry);
                }
                Reaction::CannotTell => {
                    // It may have taken effect, so it cannot speak for itself any more.
                    by_itself = false;
                    pause();
                }
                Reaction::Refused => {
                    let credential = if by_itself { entry.issue_began } else { self.root_made };
                    let may_be =
                        self.history.may_be_flushed(credential) || (by_itself && entry.may_be_gone);
                    if !may_be {
                        let words =
                            format!("revoke of {}: refused, by itself: {by_itself}", entry.answer);
                        self.history.violation(words);
                    }
                    return;
                }
                Reaction::Wrong => {
                    return self
                        .history
                        .violation(format!("revoke of {}: {answer:?}", entry.answer));
                }
            }
            if self.history.is_over() {
                return;
            }
        }
    }

    fn revoke_all(&mut self) {
        let live: Vec<Arc<Entry>> =
            self.slots.iter().filter_map(|&slot| self.history.entry(slot)).collect();
        let live: Vec<_> = live.into_iter().filter(|entry| !entry.is_being_revoked()).collect();
        for entry in &live {
            entry.revoke_began.store(self.history.now(), Ordering::SeqCst);
        }
        loop {
            let root = self.root.clone();
            match self.call("/auth/revoke-all", &root) {
                (Reaction::Done(_), _) => {
                    for entry in &live {
                        entry.revoked.store(self.history.now(), Ordering::SeqCst);
                    }
                    self.history.revocations.fetch_add(live.len(), Ordering::SeqCst);
                    live.iter().for_each(|entry| self.clients.ask_everywhere(entry));
                    return;
                }
                (Reaction::CannotTell, _) => {
                    self.doubt = Some(self.history.now());
                    pause();
                }
                (Reaction::Refused, _) if self.history.may_be_flushed(self.root_made) => return,
                (_, answer) => return self.history.violation(format!("revoke-all: {answer:?}")),
            }
            if self.history.is_over() {
                return;
            }
        }
    }
}

/// A user who has a key for agents and puts another in its place, again and again, or has it taken
/// away.
pub(super) struct User<'h> {
    history: &'h History,
    slot: usize,
    subject: &'static str,
    /// With what the user comes: it is in no store.
    login: String,
    clients: RawClients<'h>,
    random: Random,
    /// A call that was not answered, then.
    doubt: Option<u64>,
}

impl<'h> User<'h> {
    pub(super) fn new(history: &'h History, fleet: &Fleet, index: usize, random: Random) -> Self {
        Self {
            history,
            slot: OWNERS.len() * SLOTS + index,
            subject: USERS[index],
            login: fleet.issuer.access(USERS[index], serde_json::json!({})),
            clients: RawClients::new(history, fleet),
            random,
            doubt: None,
        }
    }

    pub(super) fn work(&mut self) {
        while !self.history.is_over() {
            let method = if self.random.below(6) == 0 { "DELETE" } else { "POST" };
            self.replace(method);
            std::thread::park_timeout(Duration::from_millis(self.random.below(60) as u64));
        }
    }

    /// `POST`: another key in the place of the one that there is; `DELETE`: none. Asks until it is
    /// answered.
    fn replace(&mut self, method: &str) {
        let old = self.history.entry(self.slot).filter(|entry| !entry.is_being_revoked());
        if let Some(old) = &old {
            old.revoke_began.store(self.history.now(), Ordering::SeqCst);
        }
        loop {
            self.doubt = self.doubt.filter(|&doubt| !self.history.is_calm_since(doubt));
            let instance = self.random.below(self.clients.each.len());
            let login = self.login.clone();
            let (began, answer) =
                self.clients.ask(instance, |client| client.call_at(method, AGENTS, &login));
            // This API says 500 where the others say 503.
            match self.history.said(instance, began, &answer, 500) {
                Reaction::Done(body) => {
                    let answered = self.history.now();
                    if let Some(old) = &old {
                        old.revoked.store(answered, Ordering::SeqCst);
                        let counter = if method == "POST" {
                            &self.history.rotations
                        } else {
                            &self.history.revocations
                        };
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    if method == "POST" {
                        self.enter(&body, began, answered);
                    }
                    old.iter().for_each(|old| self.clients.ask_everywhere(old));
                    return;
                }
                Reaction::CannotTell => {
                    self.doubt = Some(self.history.now());
                    pause();
                }
                // The login is good without a store.
                Reaction::Refused | Reaction::Wrong => {
                    return self.history.violation(format!("{method} {AGENTS}: {answer:?}"));
                }
            }
            if self.history.is_over() {
                return;
            }
        }
    }

    fn enter(&self, body: &[u8], issue_began: u64, issued: u64) {
        let answer: serde_json::Value = serde_json::from_slice(body).expect("an answer is JSON");
        let entry = Entry {
            token: answer["token"].as_str().expect("a token").to_owned(),
            target: "/private/subject",
            answer: self.subject.to_owned(),
            issue_began,
            issued,
            may_be_gone: self.doubt.is_some(),
            revoke_began: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
        };
        self.history.enter(self.slot, entry);
    }
}
