//! The rules of the protocol, and what a run of the model consists of.

use crate::state::Ticks;

/// A rule that the protocol could be tempted to do without. Each has a test that takes it out and
/// finds a token accepted after its revocation was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What a read brings is used only if nothing of the token's shard was invalidated since the
    /// read was sent.
    FenceOnFill,
    /// Dropping everything breaks the fences of all reads that are under way.
    EpochOnFill,
    /// A new link drops everything: it is unknown what was invalidated while there was none.
    DropOnNewLink,
    /// An answer about a token is used only under the lease.
    LeaseOnUse,
    /// A lease is one of its link: on a new one, nothing is used before the first proof there.
    LeaseEndsWithLink,
    /// The lease counts from when the heartbeat was sent. Without: from when its answer was
    /// received.
    LeaseFromSending,
    /// The same, one step worse without: the lease counts from when the proof was received.
    LeaseNotFromProof,
    /// The lease is granted by the answer to a `PING` that was sent after the heartbeat was
    /// answered, not by the heartbeat's own answer.
    Proof,
    /// A revocation waits for the end of the leases of instances that do not confirm.
    WaitForUnconfirmed,
    /// The wait counts from when the script's answer was received. Without: from when the script
    /// was sent.
    WaitFromReceipt,
    /// The wait is as long as a cached token may be used: with `serve_cached` that is
    /// `max_staleness`, not the lease.
    WaitAsLongAsUse,
    /// A token is dropped first and confirmed second.
    DropBeforeConfirming,
    /// A bare announcement is confirmed only after a `PING` on the link has been answered.
    PingBeforeConfirmingBare,
    /// The registry is not trusted before the own link is as old as the longest use.
    WaitWhileLinkIsYoung,
    /// A revocation that meets a new generation does not trust the registry.
    WaitOnNewGeneration,
    /// Nor does one that comes after the new generation was first seen, until that is as long ago
    /// as the longest use.
    WaitWhileGenerationIsYoung,
    /// A revocation that finds nothing is announced and waited for like any other.
    AnnounceAbsence,
    /// Scripts are executed by the server of the link.
    ScriptsBoundToLink,
    /// Reads are executed by the server of the link, and end with its term.
    ReadsBoundToLink,
    /// A heartbeat is a write, which a master without its replicas refuses.
    HeartbeatWrites,
    /// A look brings a lease only if nothing was announced since the latest heartbeat that was
    /// answered.
    LookWhileQuiet,
    /// An instance is forgotten only if it has not registered again meanwhile.
    CompareBeforeForgetting,
    /// No beat is ever written twice. Without: the beat is counted up in the registry, and begins
    /// anew with 1 for an instance that was forgotten.
    BeatNeverRepeats,
    /// No revocation has the number of another. Without: Redis counts them, and begins anew with
    /// what it has lost.
    NumberNeverRepeats,
    /// A null invalidation (`FLUSHDB`) drops everything.
    DropOnNull,
    /// Another generation of the store drops everything.
    DropOnNewGeneration,
}

/// The token that a revocation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The token K that the instance B may have in its cache.
    Key,
    /// Some other token: it matters only for what it does to the registry.
    Other,
}

/// How often what may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// B's link breaks; it may learn of it at once, later or never.
    pub(crate) user_cuts: u8,
    /// The same for A's link.
    pub(crate) revoker_cuts: u8,
    /// Redis dies and comes back, or another one takes over, with an older state of what was not
    /// waited for.
    pub(crate) restarts: u8,
    /// `FLUSHDB`: everything is gone, and every link is told.
    pub(crate) flushes: u8,
    /// `SWAPDB` with an empty database: everything is gone, and no link is told.
    pub(crate) swaps: u8,
    /// `FLUSHDB` and the import of a dump, as one transaction: the generation is the same as
    /// before, B is registered, K may be missing.
    pub(crate) imports: u8,
    /// The same with a dump from before B registered and K was issued.
    pub(crate) older_imports: u8,
    /// K's record expires, or is deleted by an operator's hand.
    pub(crate) removals: u8,
    /// The master with B is cut off from the rest, where another becomes master.
    pub(crate) partitions: u8,
}

impl Faults {
    /// Nothing goes wrong but delays.
    pub(crate) const NONE: Self = Self {
        user_cuts: 0,
        revoker_cuts: 0,
        restarts: 0,
        flushes: 0,
        swaps: 0,
        imports: 0,
        older_imports: 0,
        removals: 0,
        partitions: 0,
    };
}

/// One run: the sizes, what is revoked, what may go wrong, and which rules are left out.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// `coherence_lease`, in ticks.
    pub(crate) lease: Ticks,
    /// How long after its lease's start a cached token is used: the lease, or `max_staleness` with
    /// `serve_cached`.
    pub(crate) longest_use: Ticks,
    /// After how many ticks a master without its replicas refuses writes.
    pub(crate) lag: Ticks,
    /// On a young link A waits out that lag as well.
    pub(crate) outwaits_lag: bool,
    /// The revocations that A makes, in any order and overlapping; the same token twice: a repeat
    /// after a lost answer.
    pub(crate) revocations: Vec<Target>,
    /// What may go wrong.
    pub(crate) faults: Faults,
    /// With `BeatNeverRepeats` left out: how far beats are counted, to keep the run finite.
    pub(crate) highest_beat: u8,
    /// There is an isolated master from the beginning, for long, and B has already left it.
    pub(crate) beside_isolated: bool,
    /// B may look at the registry in place of a heartbeat, at any time: of what a server that
    /// refuses changes may be asked, the most.
    pub(crate) looks: bool,
    /// Whether B reads the store. Without, it has what it begins with: that keeps a run small.
    pub(crate) reads: bool,
    /// The rules that are left out.
    pub(crate) without: Vec<Rule>,
}

impl Setting {
    /// A run of these revocations with a lease of so many ticks, in which nothing goes wrong but
    /// delays.
    pub(crate) fn of(revocations: &[Target], lease: Ticks) -> Self {
        Self {
            lease,
            longest_use: lease,
            lag: 1,
            outwaits_lag: false,
            revocations: revocations.to_vec(),
            faults: Faults::NONE,
            highest_beat: 1,
            beside_isolated: false,
            looks: false,
            reads: true,
            without: Vec::new(),
        }
    }

    /// The same with these faults.
    pub(crate) fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The same with `serve_cached` and this `max_staleness`.
    pub(crate) fn serving_cached(mut self, max_staleness: Ticks) -> Self {
        self.longest_use = max_staleness;
        self
    }

    /// The same, after a partition.
    pub(crate) fn beside_isolated(mut self) -> Self {
        self.beside_isolated = true;
        self
    }

    /// The same, and A waits out the lag of an isolated master.
    pub(crate) fn outwaiting_lag(mut self) -> Self {
        self.outwaits_lag = true;
        self
    }

    /// The same, in which B may look in place of a heartbeat.
    pub(crate) fn looking(mut self) -> Self {
        self.looks = true;
        self
    }

    /// The same, in which B never reads the store.
    pub(crate) fn without_reads(mut self) -> Self {
        self.reads = false;
        self
    }

    /// The same without these rules.
    pub(crate) fn without(mut self, rules: &[Rule]) -> Self {
        self.without = rules.to_vec();
        self
    }

    /// Whether the rule is in force.
    pub(crate) fn has(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }
}
