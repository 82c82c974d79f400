//! The kernel's figures of a process: memory, threads, CPU, context switches. Runs on `lab-events`.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::lab::proc;

/// Milliseconds in a clock tick of `/proc`; every Linux has 100 ticks in a second.
const TICK_MS: u64 = 10;
/// A process with more threads than this has its context switches counted in one turn of [`MANY_TURNS`],
/// so that the cost of counting does not distort the numbers.
const MANY_THREADS: usize = 250;
/// Also how many turns the page takes a rate over: each rate has exactly one count in it.
const MANY_TURNS: usize = 5;

/// A process to be read again and again.
pub struct Process {
    directory: PathBuf,
    /// Context switches of each thread when it was last looked at, voluntary and not.
    threads: HashMap<String, (u64, u64)>,
    /// Context switches of all threads that ever ran, except for the last moments of each.
    switches: (u64, u64),
    /// Turns to leave out before the switches are counted again.
    pause: usize,
}

impl Process {
    /// Reads this process.
    pub fn own() -> Process {
        Process::at("/proc/self".into())
    }

    /// Reads another one.
    pub fn other(pid: u32) -> Process {
        Process::at(format!("/proc/{pid}").into())
    }

    fn at(directory: PathBuf) -> Process {
        Process { directory, threads: HashMap::new(), switches: (0, 0), pause: 0 }
    }

    /// Returns the numbers now; null once it has ended.
    pub fn read(&mut self) -> Value {
        self.try_read().unwrap_or(Value::Null)
    }

    fn try_read(&mut self) -> Option<Value> {
        let status = fs::read_to_string(self.directory.join("status")).ok()?;
        let resident = proc::number(&status, "VmRSS:")?;
        let threads = proc::number(&status, "Threads:")?;
        let cpu = proc::cpu_ticks(&fs::read_to_string(self.directory.join("stat")).ok()?)? * TICK_MS;
        self.pause = match self.pause.checked_sub(1) {
            Some(pause) => pause,
            None if self.count_switches() > MANY_THREADS => MANY_TURNS - 1,
            None => 0,
        };
        Some(json!({
            "threads": threads,
            "resident": resident,
            "stacks": threads * proc::KERNEL_STACK_KIB,
            "cpu": cpu,
            "voluntary": self.switches.0,
            "involuntary": self.switches.1,
        }))
    }

    /// Returns the number of threads.
    fn count_switches(&mut self) -> usize {
        let Ok(tasks) = fs::read_dir(self.directory.join("task")) else { return 0 };
        let before = std::mem::take(&mut self.threads);
        for task in tasks.flatten() {
            // A thread that has just ended has none.
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let Some(now) = proc::switches(&status) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_itself_and_its_numbers_grow() {
        let mut process = Process::own();
        let first = process.read();
        // A voluntary context switch.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let second = process.read();
        assert!(first["threads"].as_u64() >= Some(1) && first["resident"].as_u64() > Some(100), "{first}");
        assert!(second["voluntary"].as_u64() > first["voluntary"].as_u64(), "{first} {second}");
        assert!(second["cpu"].as_u64() >= first["cpu"].as_u64(), "{first} {second}");
        assert_eq!(Process::at("/proc/none".into()).read(), Value::Null);
    }
}
