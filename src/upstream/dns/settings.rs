//! What is configured of the resolution of names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::settings::describe::Order;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, duration};
use crate::settings::list::filled;
use crate::settings::settings;
use crate::settings::units::{hours, milliseconds, minutes, seconds};
use crate::wire::limits::WAIT;

settings! {
    /// How the names of endpoints become addresses, once per process. Endpoints that are addresses,
    /// `localhost` or Unix sockets need none of it.
    pub struct DnsSettings {
        /// The servers that are asked, the first one first, as in `"10.0.0.2"` or
        /// `"10.0.0.2:5353"`. Absent: those of `/etc/resolv.conf`, whose search list and `ndots`
        /// count in any case.
        pub servers: Option<Vec<SocketAddr>> = filled(SERVER).unique().optional(),
        /// Addresses are in force for at least so long, however short their time to live is, so
        /// that servers of names are not asked all the time.
        pub min_ttl: Duration =
            duration(milliseconds(100)..=hours(1)).or(seconds(1)).compared(Order::AtMost, "max_ttl"),
        /// They are asked for again after so long, however long their time to live is: a mistake in
        /// a zone does not last for its whole day.
        pub max_ttl: Duration =
            duration(seconds(1)..=hours(24)).or(minutes(5)).compared(Order::AtLeast, "min_ttl"),
        /// How long one server is waited for, until the next one is asked.
        pub timeout: Duration = duration(WAIT).or(seconds(2)),
        /// How long the addresses of a name stay in force of which the servers say that it does not
        /// exist or has none. While no server answers, they stay for any time.
        pub hold: Duration = duration(seconds(0)..=hours(24)).or(seconds(30)),
    }
}

const SERVER: Text<SocketAddr> = Text {
    what: "an IP address as in \"10.0.0.2\", \"10.0.0.2:5353\" or \"[2001:db8::2]:53\"",
    parse: |text| {
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        match bare.or_else(|_| text.parse::<SocketAddr>()) {
            Ok(address) if address.port() == 0 => Err("its port is 1 to 65535".to_owned()),
            Ok(address) => Ok(address),
            Err(_) => Err(String::new()),
        }
    },
    show: |address| address.to_string(),
};

/// Of DNS (RFC 1035, section 4.2).
pub(super) const PORT: u16 = 53;
