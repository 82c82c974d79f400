//! Reads the kernel's figures of this process from `/proc/self`. Any thread.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, getrlimit};

/// A reading. A figure that the kernel does not report has no value.
#[derive(Debug)]
pub struct ProcessReading {
    /// Seconds of all its threads on a processor.
    pub cpu_seconds: Option<f64>,
    /// When it began, in seconds since 1970.
    pub start_time: Option<f64>,
    /// Its threads.
    pub threads: Option<u64>,
    /// KiB of memory that it has, and that it has addresses for.
    pub resident_kib: Option<u64>,
    pub virtual_kib: Option<u64>,
    /// Open descriptors, and their limit, if any.
    pub open_fds: Option<u64>,
    pub max_fds: Option<u64>,
}

impl ProcessReading {
    /// Reads it now.
    pub fn read() -> ProcessReading {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        ProcessReading {
            cpu_seconds: cpu_ticks(&stat).map(in_seconds),
            start_time: start_time(&stat),
            threads: line(&status, "Threads:"),
            resident_kib: line(&status, "VmRSS:"),
            virtual_kib: line(&status, "VmSize:"),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Returns a number in a `status`.
fn line(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns a field of a `stat`, by its number in proc(5). The second one is the program's name, which may have spaces
/// and brackets in it.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    Some(field(stat, 14)? + field(stat, 15)?)
}

fn in_seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// Computed once: computed again it would be another one by some milliseconds, and look like a restart.
fn start_time(stat: &str) -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        Some(now - (uptime - in_seconds(field(stat, 22)?)))
    })
}

/// Linux 6.2 and later say how many there are; an older one is asked for each of them.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.size() {
        // One is that of the directory.
        0 => fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_stat_are_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 110 12 13 14 15 16 17 18 190 20";
        for name in ["threadcast", "a b", "a) S 9 9", "((", ""] {
            let stat = format!("77 ({name}) {rest}");
            assert_eq!((cpu_ticks(&stat), field(&stat, 22)), (Some(122), Some(190)), "{name}");
        }
        for stat in ["", "77", "77 (a", "77 (a)", "77 (a) S 1"] {
            assert_eq!((cpu_ticks(stat), field(stat, 22)), (None, None), "{stat}");
        }
    }

    #[test]
    fn a_reading_is_of_this_process() {
        let before = ProcessReading::read();
        let _open: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = ProcessReading::read();
        assert!(after.open_fds.unwrap() >= before.open_fds.unwrap() + 50, "{before:?} {after:?}");
        assert!(after.open_fds < after.max_fds || after.max_fds.is_none());
        assert!(after.resident_kib.unwrap() > 1000 && after.resident_kib < after.virtual_kib, "{after:?}");
        assert_eq!(after.start_time, before.start_time);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let start = after.start_time.unwrap();
        assert!((now - 86_400.0..now + 1.0).contains(&start), "{start} {now}");
        assert!(after.cpu_seconds.unwrap() >= before.cpu_seconds.unwrap());
    }
}
