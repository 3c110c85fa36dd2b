//! What is known of one name: which addresses are in force by what was answered, and when it is
//! asked for again. It neither reads a clock nor does I/O.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answers::Answer;
use super::client::{Family, Outcome};
use super::settings::DnsSettings;

/// What is known of one name.
#[derive(Debug)]
pub(super) struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// Why there is no address.
    fault: Option<Arc<str>>,
    /// When the last answer came; none: none has come.
    answered: Option<Instant>,
    next: Instant,
    /// Answers in a row that did not count.
    failures: u32,
    /// Since when the servers say that it has no address.
    gone_since: Option<Instant>,
    is_asked: bool,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// No server answers, for this reason: what was known stays.
    Unanswered(String),
    /// The servers say that it has no address: what was known stays for a while.
    Gone(String),
    /// It has been gone for too long: it has no address any more.
    Dropped(String),
    /// It is answered again.
    Answered,
}

/// So many addresses of a name and family are used: a bound of memory, and of the time in which one
/// is chosen.
pub(super) const MOST_ADDRESSES: usize = 256;

/// How soon a name is asked for again that has no answer: the first time, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(5);

impl Known {
    /// Nothing is known; it is asked for at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            v4: Vec::new(),
            v6: Vec::new(),
            fault: None,
            answered: None,
            next: now,
            failures: 0,
            gone_since: None,
            is_asked: false,
        }
    }

    /// Whether no address is in force.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// When it is to be asked for; none: it is asked for already.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_asked).then_some(self.next)
    }

    pub(super) fn begin(&mut self) {
        self.is_asked = true;
    }

    /// What asks for it has broken, if it is asked for: it is asked for again.
    pub(super) fn give_up(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_asked) {
            self.next = now + FIRST_RETRY;
        }
    }

    /// It is asked for as soon as may be.
    pub(super) fn hasten(&mut self, settings: &DnsSettings, now: Instant) {
        let earliest = self.answered.map_or(now, |answered| answered + settings.min_ttl);
        self.next = self.next.min(earliest.max(now));
    }

    pub(super) fn answer(&self) -> Answer {
        let mut addresses: Vec<_> = self.v4.iter().chain(&self.v6).copied().collect();
        addresses.sort_unstable();
        Answer { fault: self.fault.clone().filter(|_| addresses.is_empty()), addresses }
    }

    /// Notes what was answered. Of what is worth a line, each is said once.
    pub(super) fn note(
        &mut self,
        outcome: Outcome,
        settings: &DnsSettings,
        now: Instant,
    ) -> Option<Notice> {
        self.is_asked = false;
        self.answered = Some(now);
        let Outcome { v4, v6, ttl } = outcome;
        match (v4, v6) {
            (Family::None(reason), Family::None(_)) => self.note_none(reason, settings, now),
            (Family::Unknown(reason), Family::None(_) | Family::Unknown(_))
            | (Family::None(_), Family::Unknown(reason)) => self.note_unknown(reason, now),
            (v4, v6) => {
                // A family that cannot be told stays as it was.
                for (known, family) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
                    match family {
                        Family::Addresses(addresses) => *known = in_order(addresses),
                        Family::None(_) => known.clear(),
                        Family::Unknown(_) => {}
                    }
                }
                self.fault = None;
                if self.v4.is_empty() && self.v6.is_empty() {
                    self.fault = Some("none of its addresses can be connected to".into());
                }
                self.next = now + ttl.clamp(settings.min_ttl, settings.max_ttl);
                let was_away = self.failures > 0 || self.gone_since.is_some();
                (self.failures, self.gone_since) = (0, None);
                was_away.then_some(Notice::Answered)
            }
        }
    }

    fn note_unknown(&mut self, reason: String, now: Instant) -> Option<Notice> {
        self.next = now + retry_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.fault = Some(reason.as_str().into());
        (self.failures == 1).then_some(Notice::Unanswered(reason))
    }

    fn note_none(
        &mut self,
        reason: String,
        settings: &DnsSettings,
        now: Instant,
    ) -> Option<Notice> {
        self.failures = 0;
        self.fault = Some(reason.as_str().into());
        let is_first = self.gone_since.is_none();
        let drop_at = *self.gone_since.get_or_insert(now) + settings.hold;
        let had_some = !self.v4.is_empty() || !self.v6.is_empty();
        self.next = now + FIRST_RETRY.max(settings.min_ttl).min(LAST_RETRY);
        if had_some && now >= drop_at {
            self.v4.clear();
            self.v6.clear();
            return Some(Notice::Dropped(reason));
        }
        is_first.then_some(Notice::Gone(reason))
    }
}

/// After so many failures before.
fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(8)).min(LAST_RETRY)
}

/// Sorted, each once, without what can be no server's address. 0.0.0.0, with which some servers of
/// names block what they do not like, would be this machine.
fn in_order(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = addresses.iter().map(IpAddr::to_canonical).collect();
    addresses.retain(|ip| {
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
    });
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> DnsSettings {
        DnsSettings::default()
    }

    fn some(texts: &[&str]) -> Family {
        Family::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn none() -> Family {
        Family::None("gone".to_owned())
    }

    fn unknown() -> Family {
        Family::Unknown("silence".to_owned())
    }

    fn outcome(v4: Family, v6: Family, seconds: u64) -> Outcome {
        Outcome { v4, v6, ttl: Duration::from_secs(seconds) }
    }

    fn addresses(known: &Known) -> Vec<String> {
        known.answer().addresses.iter().map(IpAddr::to_string).collect()
    }

    /// One that has these addresses, for 60 s.
    fn known(now: Instant) -> Known {
        let mut known = Known::new(now);
        let first = outcome(some(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]), some(&["::1"]), 60);
        assert_eq!(known.note(first, &settings(), now), None);
        assert_eq!(addresses(&known), ["10.0.0.1", "10.0.0.2", "::1"]);
        known
    }

    #[test]
    fn a_name_is_asked_for_again_as_its_time_to_live_says_within_the_bounds() {
        let now = Instant::now();
        let mut known = known(now);
        assert_eq!(known.due(), Some(now + Duration::from_secs(60)));
        for (seconds, expected) in [(0, 1), (7, 7), (86_400, 300)] {
            known.note(outcome(some(&["10.0.0.1"]), none(), seconds), &settings(), now);
            assert_eq!(known.due(), Some(now + Duration::from_secs(expected)), "{seconds}");
        }
        known.begin();
        assert_eq!(known.due(), None, "not while it is asked for");
        known.give_up(now);
        assert_eq!(known.due(), Some(now + FIRST_RETRY));
    }

    #[test]
    fn a_doubt_hastens_it_and_not_more_often_than_may_be() {
        let now = Instant::now();
        let mut known = known(now);
        known.hasten(&settings(), now);
        assert_eq!(known.due(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(20);
        let mut known = self::known(now);
        known.hasten(&settings(), later);
        assert_eq!(known.due(), Some(later));
    }

    #[test]
    fn while_no_server_answers_all_stays_and_it_is_said_once() {
        let now = Instant::now();
        let mut known = known(now);
        let mut waits = Vec::new();
        for round in 0..6 {
            let notice = known.note(outcome(unknown(), unknown(), 0), &settings(), now);
            assert_eq!(notice.is_some(), round == 0, "{notice:?}");
            waits.push((known.due().unwrap() - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 5, 5, 5]);
        assert_eq!(addresses(&known).len(), 3);
        let answered = known.note(outcome(some(&["10.0.0.9"]), none(), 9), &settings(), now);
        assert_eq!(answered, Some(Notice::Answered));
        assert_eq!(addresses(&known), ["10.0.0.9"]);
    }

    #[test]
    fn a_family_that_cannot_be_told_stays_and_is_no_reason_to_doubt_the_other() {
        let now = Instant::now();
        let mut known = known(now);
        assert_eq!(known.note(outcome(some(&["10.0.0.9"]), unknown(), 9), &settings(), now), None);
        assert_eq!(addresses(&known), ["10.0.0.9", "::1"]);
        known.note(outcome(none(), unknown(), 9), &settings(), now);
        assert_eq!(addresses(&known), ["10.0.0.9", "::1"], "it may have the other one");
        known.note(outcome(none(), some(&["::2"]), 9), &settings(), now);
        assert_eq!(addresses(&known), ["::2"]);
    }

    #[test]
    fn a_name_that_is_gone_keeps_its_addresses_for_as_long_as_is_configured() {
        let now = Instant::now();
        let mut known = known(now);
        let gone = |known: &mut Known, after| {
            let now = now + Duration::from_secs(after);
            known.note(outcome(none(), none(), 0), &settings(), now)
        };
        assert_eq!(gone(&mut known, 0), Some(Notice::Gone("gone".to_owned())));
        assert_eq!(gone(&mut known, 29), None);
        assert_eq!(addresses(&known).len(), 3);
        // A server that does not answer in between says nothing.
        let later = now + Duration::from_secs(29);
        known.note(outcome(unknown(), unknown(), 0), &settings(), later);
        assert_eq!(gone(&mut known, 30), Some(Notice::Dropped("gone".to_owned())));
        assert!(addresses(&known).is_empty());
        assert_eq!(known.answer().fault.as_deref(), Some("gone"));
        assert_eq!(gone(&mut known, 31), None);
        let notice = known.note(outcome(some(&["10.0.0.1"]), none(), 9), &settings(), now);
        assert_eq!(notice, Some(Notice::Answered));
        assert_eq!(known.answer().fault, None);
    }

    #[test]
    fn what_can_be_no_server_is_left_out_and_there_is_a_bound() {
        let odd = some(&["0.0.0.0", "224.0.0.1", "255.255.255.255"]);
        let now = Instant::now();
        let mut known = Known::new(now);
        known.note(outcome(odd, some(&["::", "ff02::1", "::ffff:10.0.0.1"]), 9), &settings(), now);
        assert_eq!(addresses(&known), ["10.0.0.1"]);
        let many = (0..1000_u32).map(|bits| IpAddr::from((0x0a00_0000 + bits).to_be_bytes()));
        let many = Family::Addresses(many.collect());
        known.note(outcome(many, none(), 9), &settings(), now);
        assert_eq!(addresses(&known).len(), MOST_ADDRESSES);
    }
}
