//! What is configured of the process.

use std::time::Duration;

use crate::settings::key::KindExt as _;
use crate::settings::kind::{boolean, duration, integer};
use crate::settings::settings;
use crate::settings::units::{hours, minutes, seconds};

settings! {
    /// How the process runs and stops.
    pub struct ProcessSettings {
        /// Worker threads; `0`: one per core.
        pub workers: usize = integer(0..=256).or(0),
        /// Whether each worker stays on a core of its own.
        pub pin: bool = boolean().or(true),
        /// How long after SIGTERM new connections are still accepted while `/readyz` says "not
        /// ready": the time that a load balancer needs to notice.
        pub shutdown_delay: Duration = duration(seconds(0)..=minutes(5)).or(seconds(0)),
        /// How long requests in flight may still take after that.
        pub shutdown_grace: Duration = duration(seconds(0)..=hours(1)).or(seconds(30)),
        /// How long WebSockets and endless streams may still go on in that time; never longer than
        /// `shutdown_grace`. Container runtimes kill after 10s.
        pub tunnel_grace: Duration = duration(seconds(0)..=hours(1)).or(seconds(5)),
    }
}
