//! Keeps the processors awake. A virtual processor that sleeps takes some 30 µs to wake, more than the echo itself: one
//! echoing connection is then measured now with that, now without.
//!
//! On each processor a process with the policy SCHED_IDLE spins. The kernel takes the processor from it as soon as
//! anything else wants to run, and counts such a processor as idle when it chooses one.

use std::process::{Child, Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::failure::{Failure, While};
use crate::server::ending_with_us;

/// The spinning processes; they end when this is dropped.
pub struct Awake(Vec<Child>);

impl Awake {
    /// Keeps these processors awake.
    pub fn new(processors: impl Iterator<Item = usize>) -> Result<Self, Failure> {
        let mut awake = Self(Vec::new());
        for processor in processors {
            let mut command = Command::new("chrt");
            command.args(["--idle", "0", "taskset", "--cpu-list", &processor.to_string()]);
            command.args(["sh", "-c", "while :; do :; done"]);
            let child = ending_with_us(&command).stdin(Stdio::null()).spawn();
            awake.0.push(child.doing("keep the processors awake with setpriv and chrt, of util-linux")?);
        }
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The processors that this process may use.
pub fn allowed() -> Result<Vec<usize>, Failure> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).doing("read the allowed cores")?;
    Ok((0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;

    /// The field of `/proc/PID/stat` behind the name that tells the policy, and SCHED_IDLE in it.
    const POLICY: usize = 38;
    const SCHED_IDLE: &str = "5";

    #[test]
    fn those_that_spin_make_way_for_everybody_and_end() {
        let processors = allowed().unwrap();
        let awake = Awake::new(processors.iter().copied()).unwrap();
        let pids: Vec<_> = awake.0.iter().map(Child::id).collect();
        assert_eq!(pids.len(), processors.len());
        let policy = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let (_, fields) = stat.rsplit_once(')').unwrap();
            fields.split_whitespace().nth(POLICY).map(str::to_owned)
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !pids.iter().all(|pid| policy(pid).as_deref() == Some(SCHED_IDLE)) {
            assert!(Instant::now() < deadline, "waited for SCHED_IDLE");
            std::thread::yield_now();
        }
        drop(awake);
        assert!(pids.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap()));
    }
}
