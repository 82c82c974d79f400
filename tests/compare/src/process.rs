//! The kernel's figures about a process: CPU time, memory, threads, context switches.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::failure::{Failure, While};
use crate::program::proc;

/// The state of an established connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Memory of a process at one moment, in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Its own resident pages: stacks and heap, but not those of the program's file.
    pub resident: f64,
    /// The tables that map them.
    pub page_tables: f64,
    /// Threads, each of which has a kernel stack.
    pub threads: f64,
}

/// A running process.
#[derive(Debug, Clone, Copy)]
pub struct Process(u32);

impl Process {
    /// The process with this id.
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    /// CPU time of all its threads so far, including ended ones.
    pub fn cpu(self) -> Result<Duration, Failure> {
        let what = format!("read the CPU clock of process {}", self.0);
        let clock = clock_getcpuclockid(Pid::from_raw(self.0 as i32)).doing(&what)?;
        read_clock(clock).doing(&what)
    }

    /// Its memory now.
    pub fn memory(self) -> Result<Memory, Failure> {
        let path = self.directory().join("status");
        let status = fs::read_to_string(&path).doing(format!("read {}", path.display()))?;
        let (page_tables, threads) = (self.field(&status, "VmPTE:")?, self.field(&status, "Threads:")?);
        Ok(Memory { resident: self.resident()?, page_tables, threads })
    }

    /// Its anonymous pages, counted one by one: `VmRSS` omits what each core has not yet added to the sum, and includes
    /// the pages of the program's file, which load on first use.
    fn resident(self) -> Result<f64, Failure> {
        let path = self.directory().join("smaps_rollup");
        let rollup = fs::read_to_string(&path).doing(format!("read {}", path.display()))?;
        self.field(&rollup, "Anonymous:")
    }

    /// A number in one of its files; the kernel omits some of them once a process has ended.
    fn field(self, text: &str, name: &str) -> Result<f64, Failure> {
        let failure = || Failure::new(format!("process {} has ended, or has no {name}", self.0));
        proc::number(text, name).map(|number| number as f64).ok_or_else(failure)
    }

    /// Times that the kernel put one of its threads on a core so far, without ended threads.
    pub fn switches(self) -> Result<f64, Failure> {
        let path = self.directory().join("task");
        let threads = fs::read_dir(&path).doing(format!("read {}", path.display()))?;
        let mut switches = 0.0;
        for thread in threads.flatten() {
            switches += switches_of(&thread.path()).unwrap_or(0.0);
        }
        Ok(switches)
    }

    /// Its memory mappings, which Linux limits.
    pub fn mappings(self) -> Result<f64, Failure> {
        let path = self.directory().join("maps");
        let maps = fs::read_to_string(&path).doing(format!("read {}", path.display()))?;
        Ok(maps.lines().count() as f64)
    }

    /// Its open files and sockets.
    pub fn descriptors(self) -> Result<f64, Failure> {
        let path = self.directory().join("fd");
        let open = fs::read_dir(&path).doing(format!("read {}", path.display()))?;
        Ok(open.count() as f64)
    }

    fn directory(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.0))
    }
}

/// Established connections at a local port, on the server's side: those that it has closed do not count, even if their
/// clients do not know yet.
pub fn connections_at(port: u16) -> Result<usize, Failure> {
    let path = "/proc/net/tcp";
    let sockets = fs::read_to_string(path).doing(format!("read {path}"))?;
    // Without IPv6 this file does not exist.
    let more = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Ok(established_in(&sockets, port) + established_in(&more, port))
}

/// Lines of the kernel's table of sockets with this local port, and in the state ESTABLISHED.
fn established_in(table: &str, port: u16) -> usize {
    let port = format!(":{port:04X}");
    let stands = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, state) = (columns.next(), columns.nth(1));
        local.is_some_and(|local| local.ends_with(&port)) && state == Some(ESTABLISHED)
    };
    table.lines().filter(stands).count()
}

/// The calling process's use of its core so far; it has a single thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnUse {
    /// Time on a core.
    pub cpu: Duration,
    /// Time on a core, or waiting for one.
    pub wanted: Duration,
}

impl OwnUse {
    /// The use until now.
    pub fn now() -> Self {
        let cpu = read_clock(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default();
        let line = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
        let waited = line.split_whitespace().nth(1);
        let waited = waited.and_then(|text| text.parse().ok()).unwrap_or(0);
        let wanted = cpu + Duration::from_nanos(waited);
        Self { cpu, wanted }
    }

    /// The use since `earlier`, as shares of `time`.
    pub fn since(self, earlier: Self, time: Duration) -> (f64, f64) {
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        let wanted = self.wanted.saturating_sub(earlier.wanted);
        (cpu.div_duration_f64(time), wanted.div_duration_f64(time))
    }
}

fn read_clock(clock: ClockId) -> nix::Result<Duration> {
    Ok(Duration::from(clock.now()?))
}

/// A thread's switches: the third number of `schedstat`, or the two counts in `status` on kernels without it. None if
/// the thread has ended in between.
fn switches_of(thread: &std::path::Path) -> Option<f64> {
    if let Ok(line) = fs::read_to_string(thread.join("schedstat")) {
        return line.split_whitespace().nth(2)?.parse().ok();
    }
    let (voluntary, involuntary) = proc::switches(&fs::read_to_string(thread.join("status")).ok()?)?;
    Some((voluntary + involuntary) as f64)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_the_servers_side_of_what_stands_is_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F90 0100007F:C001 01 00000000:00000000\n\
             2: 0100007F:C001 0100007F:1F90 01 00000000:00000000\n\
             3: 0100007F:1F90 0100007F:C002 04 00000000:00000000\n\
             4: 0100007F:1F90 0100007F:C003 01 00000000:00000000\n";
        for (port, count) in [(0x1F90, 2), (0xC001, 1), (0xF90, 0)] {
            assert_eq!(established_in(table, port), count, "port {port:X}");
        }
    }

    #[test]
    fn a_connection_counts_until_its_server_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        let mut accepted = [(); 3].map(|()| Some(listener.accept().unwrap().0));
        assert_eq!(connections_at(address.port()).unwrap(), 3);
        accepted[1] = None;
        assert_eq!(connections_at(address.port()).unwrap(), 2);
        drop(clients);
    }

    #[test]
    fn a_process_sees_itself() {
        let process = Process::new(std::process::id());
        let memory = process.memory().unwrap();
        assert!(memory.resident > 100.0 && memory.page_tables > 0.0 && memory.threads >= 1.0);
        assert!(process.switches().unwrap() >= 1.0);
        assert!(process.descriptors().unwrap() >= 3.0);
        assert!(process.cpu().unwrap() <= OwnUse::now().wanted);
    }
}
