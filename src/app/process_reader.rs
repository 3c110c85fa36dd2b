//! What this process takes of the system, as the system says.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::memory::kibibytes;
use crate::domain::{Moment, Timestamp};
use crate::telemetry::gauges::ProcessGauges;

/// Reads it.
pub(super) struct ProcessReader {
    /// When the process was started. Read once, as it would move with the wall clock.
    started_at: Option<Timestamp>,
}

impl ProcessReader {
    pub(super) fn new(now: Moment) -> Self {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let started = stat.and_then(|stat| started_after_boot(&stat, clock_ticks_per_second()));
        let age = started.map(|after_boot| {
            Duration::from_nanos(now.uptime.nanos()).saturating_sub(after_boot).as_millis()
        });
        let started_at = age.and_then(|age| {
            let age = i64::try_from(age).ok()?;
            Some(Timestamp::from_unix_millis(now.wall.unix_millis().saturating_sub(age)))
        });
        Self { started_at }
    }

    pub(super) fn read(&self) -> ProcessGauges {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(cpu.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(cpu.tv_nsec).unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ProcessGauges {
            cpu: Duration::new(seconds, nanos),
            open_files: open_files(),
            most_files: getrlimit(Resource::Nofile).current,
            started_at: self.started_at,
            resident: kibibytes(&status, "VmRSS:"),
            mapped: kibibytes(&status, "VmSize:"),
        }
    }
}

/// How many file descriptors are open.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    // Since Linux 6.2 the size of the folder is their number (proc_pid_fd(5)). Before, it is 0, and
    // counting them takes a while where they are many; the one that counts is not counted.
    match fs::metadata(folder).ok()?.len() {
        0 => Some((fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

/// How long after the start of the system a process was started, by its line in `/proc/PID/stat`
/// (proc_pid_stat(5), field 22).
fn started_after_boot(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The second field is a name in brackets, which may have spaces and brackets in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_second.max(1));
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::clock;

    #[test]
    fn the_start_is_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 9 0 12345 1000 200";
        assert_eq!(started_after_boot(stat, 100), Some(Duration::from_millis(123_450)));
        assert_eq!(started_after_boot("7 (a) S 1", 100), None);
    }

    #[test]
    fn what_this_process_takes_is_read() {
        let before = open_files().expect("a number");
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null").expect("open")).collect();
        let now = clock::read();
        let found = ProcessReader::new(now).read();
        // Other tests open files, too.
        assert!(found.open_files.is_some_and(|open| open >= 10 && open + 1000 > before));
        drop(files);
        let started = found.started_at.expect("a moment");
        let age = now.wall.unix_millis() - started.unix_millis();
        assert!((0..3_600_000).contains(&age), "{age} ms");
        assert!(found.resident > Some(1 << 20) && found.mapped >= found.resident, "{found:?}");
        assert!(found.most_files >= found.open_files && !found.cpu.is_zero(), "{found:?}");
    }
}
