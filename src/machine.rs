//! The limits of this machine: [`Limit`], the kinds of limits of the number of clients, and [`Limits`], their values.

mod groups;

use std::path::Path;
use std::{env, fmt, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::sched_getaffinity;

use groups::Allowed;

/// The file of Linux with the limit of mappings.
const MAPPINGS: &str = "/proc/sys/vm/max_map_count";
/// The file with the free memory.
const MEMORY: &str = "/proc/meminfo";
/// Bytes of memory of the kernel for a thread, its mappings and its socket.
const KERNEL_MEMORY: u64 = 28 << 10;
/// Assumed use of this process, in bytes, where it cannot be read.
const CAUTIOUS_SIZE: u64 = 256 << 20;
/// The allocator's arenas for each core, of glibc on a system of 64 bits.
const ARENAS_PER_CORE: u64 = 8;
/// Up to this size, the limit for messages does not depend on the machine's memory.
const SMALL_MESSAGE: usize = 1 << 30;

/// A limit of the number of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Open descriptors of the process (`RLIMIT_NOFILE`, the hard limit).
    Descriptors,
    /// Memory mappings of the process (`vm.max_map_count`).
    Mappings,
    /// Threads of the system (`kernel.threads-max`).
    SystemThreads,
    /// Thread numbers of the system (`kernel.pid_max`).
    ThreadNumbers,
    /// Threads of the user (`RLIMIT_NPROC`).
    UserThreads,
    /// Threads of the control group (`pids.max`).
    GroupThreads,
    /// Virtual memory of the process (`RLIMIT_AS`). The arenas of glibc's allocator take 64 MiB each, so
    /// `MALLOC_ARENA_MAX=1` in the environment makes room for more clients.
    AddressSpace {
        /// The cost of a client in bytes, also in the variants below.
        each: u64,
    },
    /// Data of the process (`RLIMIT_DATA`).
    Data {
        /// Bytes for a client.
        each: u64,
    },
    /// Memory that the kernel may promise (`vm.overcommit_memory=2`).
    Commit {
        /// Bytes for a client.
        each: u64,
    },
    /// Memory of the control group (`memory.max`, `memory.high`, `memory.limit_in_bytes`).
    GroupMemory {
        /// Bytes for a client.
        each: u64,
    },
    /// Memory of the machine (`MemAvailable`).
    Memory {
        /// Bytes for a client.
        each: u64,
    },
    /// Limits that could not be read: the capacity is a cautious number.
    Unknown {
        /// The file, or the directory, that has the first of them.
        file: &'static str,
    },
    /// An explicit number.
    Chosen,
}

impl Limit {
    /// Returns the system's name for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Limit::Descriptors => "RLIMIT_NOFILE",
            Limit::Mappings => "vm.max_map_count",
            Limit::SystemThreads => "kernel.threads-max",
            Limit::ThreadNumbers => "kernel.pid_max",
            Limit::UserThreads => "RLIMIT_NPROC",
            Limit::GroupThreads => "pids.max of the control group",
            Limit::AddressSpace { .. } => "RLIMIT_AS",
            Limit::Data { .. } => "RLIMIT_DATA",
            Limit::Commit { .. } => "CommitLimit",
            Limit::GroupMemory { .. } => "memory of the control group",
            Limit::Memory { .. } => "free memory",
            Limit::Unknown { file } => file,
            Limit::Chosen => "as chosen",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raise = match self {
            Limit::Descriptors => "raise it with ulimit -n or LimitNOFILE=",
            Limit::Mappings => "raise it with sysctl -w vm.max_map_count=262144",
            Limit::SystemThreads => "raise it with sysctl -w kernel.threads-max=200000",
            Limit::ThreadNumbers => "raise it with sysctl -w kernel.pid_max=4194304",
            Limit::UserThreads => "raise it with ulimit -u or LimitNPROC=",
            Limit::GroupThreads => "raise it with TasksMax= or --pids-limit",
            Limit::AddressSpace { .. } => "raise it with ulimit -v or LimitAS=",
            Limit::Data { .. } => "raise it with ulimit -d or LimitDATA=",
            Limit::Commit { .. } => "raise it with sysctl -w vm.overcommit_ratio=90",
            Limit::GroupMemory { .. } => "raise it with MemoryMax= or --memory",
            Limit::Memory { .. } => "stop other programs, or add memory",
            Limit::Unknown { file } => {
                let what_to_do = "let the program read it, or choose a number with --max-clients";
                return write!(f, "the limits in {file} could not be read; {what_to_do}");
            }
            Limit::Chosen => return f.write_str(self.name()),
        };
        let name = self.name();
        match self {
            Limit::AddressSpace { each }
            | Limit::Data { each }
            | Limit::Commit { each }
            | Limit::GroupMemory { each }
            | Limit::Memory { each } => {
                write!(f, "{name}, half of it at {} KiB a client; {raise}", each >> 10)
            }
            _ => write!(f, "{name}; {raise}"),
        }
    }
}

/// The system's limits; `None` means unlimited.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) descriptors: Option<u64>,
    pub(crate) mappings: Option<u64>,
    pub(crate) system_threads: Option<u64>,
    pub(crate) thread_numbers: Option<u64>,
    pub(crate) user_threads: Option<u64>,
    pub(crate) group_threads: Option<u64>,
    /// Free bytes, also in the fields below.
    pub(crate) address_space: Option<u64>,
    pub(crate) data: Option<u64>,
    pub(crate) commit: Option<u64>,
    pub(crate) group_memory: Option<u64>,
    pub(crate) memory: Option<u64>,
    /// The place of the first unreadable limit, of those that every system has.
    pub(crate) unread: Option<&'static str>,
    /// The amount of memory could not be read.
    pub(crate) is_memory_hidden: bool,
    /// Arenas that the allocator may make in addition to the first.
    pub(crate) arenas: u64,
    pub(crate) cores: u64,
}

impl Limits {
    /// Raises the soft limit of descriptors to the hard one, and reads what this machine allows.
    pub(crate) fn of_this_machine() -> Limits {
        let limit = getrlimit(Resource::Nofile);
        // If that fails, the old limit counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let cores = sched_getaffinity(None).map_or(1, |set| u64::from(set.count()));
        let chosen = [("MALLOC_ARENA_MAX", ""), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=")];
        let chosen = chosen.map(|(variable, name)| Some((env::var(variable).ok()?, name)));
        let process = |resource| getrlimit(resource).current;
        Limits {
            descriptors: process(Resource::Nofile),
            // The superuser is exempt from this one.
            user_threads: process(Resource::Nproc).filter(|_| !rustix::process::geteuid().is_root()),
            arenas: arenas(cores, chosen.iter().flatten().map(|(text, name)| (text.as_str(), *name))),
            cores,
            ..Limits::read(process(Resource::As), process(Resource::Data), |path| {
                fs::read_to_string(path).ok()
            })
        }
    }

    /// Returns the limits after the end of the process with this status, whose use becomes free.
    pub(crate) fn when_gone(self, status: &str) -> Limits {
        let (resident, data) = (bytes(status, "VmRSS:"), bytes(status, "VmData:"));
        let threads =
            status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse::<u64>().ok());
        let memory = resident.unwrap_or(0) + threads.unwrap_or(0) * KERNEL_MEMORY;
        let more = |left: Option<u64>, bytes: u64| left.map(|left| left.saturating_add(bytes));
        Limits {
            commit: more(self.commit, data.unwrap_or(0)),
            group_memory: more(self.group_memory, memory),
            memory: more(self.memory, memory),
            ..self
        }
    }

    /// Returns the limits after the program has used these bytes for other purposes.
    pub(crate) fn without(self, bytes: u64) -> Limits {
        let less = |left: Option<u64>| left.map(|left| left.saturating_sub(bytes));
        Limits {
            address_space: less(self.address_space),
            data: less(self.data),
            commit: less(self.commit),
            group_memory: less(self.group_memory),
            memory: less(self.memory),
            ..self
        }
    }

    /// Returns the free bytes below all limits.
    pub(crate) fn left(&self) -> Option<u64> {
        let all = [self.address_space, self.data, self.commit, self.group_memory, self.memory];
        all.into_iter().flatten().min()
    }

    /// Reads the limits that are in files; `file` returns the text of a file, if it exists. The limits of this
    /// process's address space and data are not in files.
    pub(crate) fn read(
        address_space: Option<u64>,
        data: Option<u64>,
        file: impl Fn(&Path) -> Option<String>,
    ) -> Limits {
        let number = |path: &str| file(Path::new(path))?.trim().parse().ok();
        let status = file(Path::new("/proc/self/status")).unwrap_or_default();
        let system = file(Path::new(MEMORY)).unwrap_or_default();
        let groups = Allowed::read(&file);
        let left = |limit: Option<u64>, used: &str| {
            limit.map(|limit| limit.saturating_sub(bytes(&status, used).unwrap_or(CAUTIOUS_SIZE)))
        };
        // In other modes the kernel promises more memory than it has.
        let promises_are_kept = number("/proc/sys/vm/overcommit_memory") == Some(2);
        let promised = bytes(&system, "CommitLimit:").zip(bytes(&system, "Committed_AS:"));
        let (mappings, memory) = (number(MAPPINGS), bytes(&system, "MemAvailable:"));
        let are_groups_hidden = groups.threads_are_hidden || groups.memory_is_hidden;
        let unread = [
            (mappings.is_none(), MAPPINGS),
            (memory.is_none(), MEMORY),
            (are_groups_hidden, groups::STANDARD),
        ];
        Limits {
            mappings,
            system_threads: number("/proc/sys/kernel/threads-max"),
            thread_numbers: number("/proc/sys/kernel/pid_max"),
            group_threads: groups.threads,
            address_space: left(address_space, "VmSize:"),
            data: left(data, "VmData:"),
            commit: promised
                .filter(|_| promises_are_kept)
                .map(|(limit, promised)| limit.saturating_sub(promised)),
            group_memory: groups.memory,
            memory,
            unread: unread.into_iter().find_map(|(is_hidden, file)| is_hidden.then_some(file)),
            is_memory_hidden: memory.is_none() || groups.memory_is_hidden,
            ..Limits::default()
        }
    }
}

/// Returns the limit for messages: the requested one, or the free memory less `other` bytes. tungstenite allocates a
/// message when it has read the header, and the process ends if that fails.
pub(crate) fn message_limit(asked: usize, other: u64) -> usize {
    if asked <= SMALL_MESSAGE {
        return asked;
    }
    let limits = Limits::of_this_machine().without(other);
    let left = limits.left().filter(|_| !limits.is_memory_hidden).unwrap_or(0);
    asked.min(usize::try_from(left).unwrap_or(usize::MAX)).max(SMALL_MESSAGE)
}

/// Returns the bytes behind a name, from a file in KiB: "VmSize:   207764 kB".
pub(super) fn bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Arenas in addition to the first that glibc makes if there are enough threads. `chosen` are texts that may set the
/// total number behind a name.
fn arenas<'a>(cores: u64, chosen: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    if !cfg!(all(target_env = "gnu", target_pointer_width = "64")) {
        return 0;
    }
    let number = |(text, name): (&str, &str)| {
        text.split(':').find_map(|setting| setting.strip_prefix(name)?.parse::<u64>().ok())
    };
    let all = chosen.filter_map(number).filter(|all| *all > 0).max();
    all.unwrap_or(ARENAS_PER_CORE * cores).saturating_sub(1)
}

#[cfg(test)]
mod tests;
