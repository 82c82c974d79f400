//! What the kernel tells of a process: memory, threads, CPU, context switches. Runs on `lab-events`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Kernel memory that each thread's stack takes, on x86-64 and on 64-bit ARM.
const KERNEL_STACK_KIB: u64 = 16;
/// Milliseconds in a clock tick of `/proc`; every Linux has 100 ticks in a second.
const TICK_MS: u64 = 10;
/// A process with more threads than this has its context switches counted in one turn of [`MANY_TURNS`],
/// so that counting them does not become what is measured.
const MANY_THREADS: usize = 250;
/// Also how many turns the page takes a rate over: each rate has exactly one count in it.
const MANY_TURNS: usize = 5;

/// A process to be read again and again.
pub struct Process {
    directory: PathBuf,
    /// Context switches of each thread when it was last looked at, voluntary and not.
    threads: HashMap<String, (u64, u64)>,
    /// Those of all threads that ever were, but for the last moments of each.
    switches: (u64, u64),
    /// Turns to leave out before the switches are counted again.
    pause: usize,
}

impl Process {
    /// This process.
    pub fn own() -> Process {
        Process::at("/proc/self".into())
    }

    /// Another one.
    pub fn other(pid: u32) -> Process {
        Process::at(format!("/proc/{pid}").into())
    }

    fn at(directory: PathBuf) -> Process {
        Process { directory, threads: HashMap::new(), switches: (0, 0), pause: 0 }
    }

    /// The numbers now; null once it has ended.
    pub fn read(&mut self) -> Value {
        self.try_read().unwrap_or(Value::Null)
    }

    fn try_read(&mut self) -> Option<Value> {
        let status = fs::read_to_string(self.directory.join("status")).ok()?;
        let resident = number(&status, "VmRSS:")?;
        let threads = number(&status, "Threads:")?;
        let cpu = cpu_ticks(&fs::read_to_string(self.directory.join("stat")).ok()?)? * TICK_MS;
        self.pause = match self.pause.checked_sub(1) {
            Some(pause) => pause,
            None if self.count_switches() > MANY_THREADS => MANY_TURNS - 1,
            None => 0,
        };
        Some(json!({
            "threads": threads,
            "resident": resident,
            "stacks": threads * KERNEL_STACK_KIB,
            "cpu": cpu,
            "voluntary": self.switches.0,
            "involuntary": self.switches.1,
        }))
    }

    /// The number of threads.
    fn count_switches(&mut self) -> usize {
        let Ok(tasks) = fs::read_dir(self.directory.join("task")) else { return 0 };
        let before = std::mem::take(&mut self.threads);
        for task in tasks.flatten() {
            let Some(now) = switches(&task.path()) else { continue };
            let name = task.file_name().to_string_lossy().into_owned();
            let (voluntary, involuntary) = before.get(&name).copied().unwrap_or((0, 0));
            // A number may be taken again by a new thread, which begins at 0.
            self.switches.0 += now.0.checked_sub(voluntary).unwrap_or(now.0);
            self.switches.1 += now.1.checked_sub(involuntary).unwrap_or(now.1);
            self.threads.insert(name, now);
        }
        self.threads.len()
    }
}

/// A thread's context switches, voluntary and not; none if it has ended meanwhile.
fn switches(task: &Path) -> Option<(u64, u64)> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    Some((number(&status, "voluntary_ctxt_switches:")?, number(&status, "nonvoluntary_ctxt_switches:")?))
}

/// The number behind `name` at the start of a line.
fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time in a `/proc/PID/stat`, whose second field is a name that may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_any_name() {
        for name in ["(send)", "(a b)", "(a) R 1 (b)"] {
            let stat = format!("7 {name} S 1 7 7 0 -1 4194560 10 0 0 0 12 30 0 0 20 0 9 0 1 2 3");
            assert_eq!(cpu_ticks(&stat), Some(42), "{name}");
        }
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
    }

    #[test]
    fn a_process_sees_itself_and_its_numbers_grow() {
        let mut process = Process::own();
        let first = process.read();
        // A context switch of its own will.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let second = process.read();
        assert!(first["threads"].as_u64() >= Some(1) && first["resident"].as_u64() > Some(100), "{first}");
        assert!(second["voluntary"].as_u64() > first["voluntary"].as_u64(), "{first} {second}");
        assert!(second["cpu"].as_u64() >= first["cpu"].as_u64(), "{first} {second}");
        assert_eq!(Process::at("/proc/none".into()).read(), Value::Null);
    }
}
