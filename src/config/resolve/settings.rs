//! Validates what there is once: `[server]`, `[admin]`, `[keys]`, `[log]`, `[limits]`, `[logins]`,
//! `[timeouts]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Listener;
use crate::config::fault::Findings;
use crate::config::section::{Placed, Section};
use crate::config::settings::{
    AccessLog, Admin, Keys, Limits, Log, LogFormat, LogLevel, Logins, Server, Timeouts,
};
use crate::server::ListenAddress;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// In bytes: what `http::Uri` holds, and hyper reads.
const LONGEST_URI: usize = 65_534;

/// What `"address"` must be, here and of a listener.
pub(super) const ADDRESS: &str =
    "an IP address with a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"";

pub(super) fn server(mut section: Section<'_>) -> Server {
    let default = Server::default();
    Server {
        workers: section.take_integer("workers", default.workers, 0..=256),
        pin: section.take_bool("pin", default.pin),
        shutdown_delay: section.take_duration(
            "shutdown_delay",
            default.shutdown_delay,
            seconds(0, 300),
        ),
        shutdown_grace: section.take_duration(
            "shutdown_grace",
            default.shutdown_grace,
            seconds(0, 3600),
        ),
        tunnel_grace: section.take_duration("tunnel_grace", default.tunnel_grace, seconds(0, 3600)),
    }
}

pub(super) fn admin(
    mut section: Section<'_>,
    listeners: &[Placed<Listener>],
    findings: &Findings<'_>,
) -> Admin {
    let default = Admin::default();
    let address = section.take_parsed(
        "address",
        default.address,
        &format!("{ADDRESS}, or \"off\""),
        |text| match text {
            "off" => Ok(None),
            _ => address(text).map(Some),
        },
    );
    if let Some(address) = address {
        if !address.ip().to_canonical().is_loopback() {
            findings.warn(
                section.place("address"),
                format!(
                    "[admin] address {address} is not loopback: whoever reaches it reads \
                         health and metrics"
                ),
            );
        }
        if let Some(listener) =
            listeners.iter().find(|listener| listener.value.address.overlaps(&address.into()))
        {
            let at = section.place("address").unwrap_or(listener.at);
            let line = findings.line(listener.at);
            findings.fault(
                Some(at),
                format!(
                    "[admin] address {address} is that of the [[listener]] on line {line} ({}): \
                     health and metrics are \
                     not public; give them another port",
                    listener.value.address
                ),
            );
        }
    }
    let socket =
        section.take_parsed("socket", default.socket, "the path of a Unix socket", |text| {
            // sun_path holds 108 bytes on Linux, the last of them zero (unix(7)).
            if text.len() > 107 {
                Err("it is longer than 107 bytes".to_owned())
            } else {
                path(text)
            }
        });
    let is_socket = |listener: &&Placed<Listener>| matches!(&listener.value.address, ListenAddress::Unix(path) if **path == *socket);
    if let Some(listener) = listeners.iter().find(is_socket) {
        let at = section.place("socket").unwrap_or(listener.at);
        let line = findings.line(listener.at);
        findings.fault(
            Some(at),
            format!(
                "[admin] socket is that of the [[listener]] on line {line}: whoever reaches it \
                 administers keyward"
            ),
        );
    }
    Admin { address, socket }
}

pub(super) fn keys(mut section: Section<'_>) -> Keys {
    let default = Keys::default();
    Keys {
        directory: section.take_parsed("directory", default.directory, PATH, path),
        issuer: section.take_parsed(
            "issuer",
            default.issuer,
            "a name or URL of 1 to 255 visible characters",
            |text| {
                let visible = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
                if (1..=255).contains(&text.len()) && visible {
                    Ok(text.to_owned())
                } else {
                    Err(String::new())
                }
            },
        ),
    }
}

pub(super) fn log(mut section: Section<'_>) -> Log {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("json", LogFormat::Json), ("human", LogFormat::Human)];
    let default = Log::default();
    Log {
        level: section.take_choice("level", default.level, &levels),
        format: section.take_choice("format", default.format, &formats),
        access: section.take_parsed(
            "access",
            default.access,
            "\"stdout\", \"stderr\", \"off\" or the path of a file",
            access_log,
        ),
    }
}

pub(super) fn limits(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        head: section.take_size("head", default.head, KIB..=MIB),
        headers: section.take_integer("headers", default.headers, 1..=1000),
        target: section.take_size_for(
            "target",
            default.target,
            256..=LONGEST_URI,
            " (no longer URI can be read)",
        ),
        token: section.take_size("token", default.token, 256..=MIB),
        connections: section.take_integer("connections", default.connections, 0..=10_000_000),
        streams: section.take_integer("streams", default.streams, 1..=1000),
        response_head: section.take_size("response_head", default.response_head, KIB..=MIB),
        response_headers: section.take_integer(
            "response_headers",
            default.response_headers,
            1..=1000,
        ),
        cached_tokens: section.take_integer(
            "cached_tokens",
            default.cached_tokens,
            0..=100_000_000,
        ),
    }
}

pub(super) fn logins(mut section: Section<'_>) -> Logins {
    let default = Logins::default();
    let window = seconds(60, 24 * 3600);
    let hashing_threads = section.take_integer("hashing_threads", default.hashing_threads, 0..=64);
    let hashing_queue = section.take_integer("hashing_queue", default.hashing_queue, 1..=10_000);
    let mut count = |key, default: u32, most| {
        let taken =
            section.take_integer(key, usize::try_from(default).unwrap_or(usize::MAX), 1..=most);
        u32::try_from(taken).unwrap_or(u32::MAX)
    };
    let failures = count("failures", default.failures, 1000);
    let failures_per_address =
        count("failures_per_address", default.failures_per_address, 1_000_000);
    let suspect_from = count("suspect_from", default.suspect_from, 1_000_000);
    let failures_of_strangers = count("failures_of_strangers", default.failures_of_strangers, 1000);
    let registrations_per_address =
        count("registrations_per_address", default.registrations_per_address, 1_000_000);
    Logins {
        hashing_threads,
        hashing_queue,
        window: section.take_duration("window", default.window, window.clone()),
        failures,
        failures_per_address,
        suspect_from,
        failures_of_strangers,
        registration_window: section.take_duration(
            "registration_window",
            default.registration_window,
            window,
        ),
        registrations_per_address,
    }
}

pub(super) fn timeouts(mut section: Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut take = |key, default| section.take_duration(key, default, WAIT);
    Timeouts {
        first_byte: take("first_byte", default.first_byte),
        head: take("head", default.head),
        tls_handshake: take("tls_handshake", default.tls_handshake),
        idle: take("idle", default.idle),
        body: take("body", default.body),
        connect: take("connect", default.connect),
        response_head: take("response_head", default.response_head),
    }
}

/// How long we may wait for others.
pub(super) const WAIT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);

/// What a path must be.
pub(super) const PATH: &str = "a path";

/// Reads an address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        if text.parse::<std::net::IpAddr>().is_ok() {
            "it has no port".to_owned()
        } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
            format!("for all addresses write \"0.0.0.0:{port}\" or \"[::]:{port}\"")
        } else {
            String::new()
        }
    })
}

/// Reads the path of a file or folder.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("it holds a control character".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

fn access_log(text: &str) -> Result<AccessLog, String> {
    match text {
        "stdout" => Ok(AccessLog::Stdout),
        "stderr" => Ok(AccessLog::Stderr),
        "off" => Ok(AccessLog::Off),
        // Otherwise "sdtout" would be a file of that name.
        _ if !text.is_empty() && !text.contains(['/', '.']) => {
            Err(format!("for a file of that name write \"./{text}\""))
        }
        _ => path(text).map(AccessLog::File),
    }
}

fn seconds(least: u64, most: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(least)..=Duration::from_secs(most)
}
