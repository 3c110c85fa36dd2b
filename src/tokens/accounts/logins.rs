//! What passwords may cost, and how often they may be tried.

use std::time::Duration;

use crate::settings::key::KindExt as _;
use crate::settings::kind::{duration, integer};
use crate::settings::settings;
use crate::settings::units::{hours, minutes};

settings! {
    /// What passwords may cost, and how often they may be tried; for all token APIs of the style
    /// `accounts` together.
    ///
    /// Nothing locks an account: the owner's own address keeps its attempts, whatever fails from
    /// elsewhere. An address is that of the connection, or what a trusted proxy says of it; an IPv6
    /// address counts by its /64. An attempt too many is answered with 429, a password that does
    /// not fit into the queue with 503.
    #[derive(Copy)]
    pub struct Logins {
        /// Threads that hash passwords, each with 19 MiB while it does (38 MiB while the cores are
        /// never idle); `0`: half as many as cores, at least one. They run when no request wants
        /// the core.
        pub hashing_threads: usize = integer(0..=64).or(0),
        /// How many passwords may wait for these threads.
        pub hashing_queue: usize = integer(1..=10_000).or(64),
        /// How long a wrong password counts.
        pub window: Duration = duration(minutes(1)..=hours(24)).or(minutes(15)),
        /// Wrong passwords for one account from one address in that time.
        pub failures: u32 = integer(1..=1000).or(5),
        /// Wrong passwords from one address, whatever the account.
        pub failures_per_address: u32 = integer(1..=1_000_000).or(50),
        /// Wrong passwords for one account from everywhere, from which on an address that never
        /// logged in to that account has only `failures_of_strangers`.
        pub suspect_from: u32 = integer(1..=1_000_000).or(50),
        /// What such an address has in the place of `failures`, if that is less.
        pub failures_of_strangers: u32 = integer(1..=1000).or(1),
        /// How long a registration counts.
        pub registration_window: Duration = duration(minutes(1)..=hours(24)).or(hours(1)),
        /// Registrations from one address in that time, tried or done.
        pub registrations_per_address: u32 = integer(1..=1_000_000).or(20),
    }
}
