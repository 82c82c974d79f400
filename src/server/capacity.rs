//! How many clients this machine can hold, and which limit says so.
//!
//! A failed `spawn` is no safe signal: a Rust thread takes 4 memory mappings, and past the limit of
//! those one that has *started* can abort the process (rust-lang/rust#78497). So every limit is read
//! beforehand, and a reserve kept.

use std::path::Path;
use std::{fmt, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::transport::Delivery;

/// Mappings of one thread: its stack, the stack's guard page, its signal stack, that one's guard page.
const MAPPINGS_PER_THREAD: u64 = 4;
/// Mappings left to the rest of the process: its code, heap, the allocator's arenas, pumps.
const MAPPING_RESERVE: u64 = 2048;
/// Threads left to pumps, to the server's own threads, and to other processes under the same limit.
const THREAD_RESERVE: u64 = 512;
/// Descriptors left to the listener, the log, files being served, and clients being refused.
const DESCRIPTOR_RESERVE: u64 = 64;
/// Of a limit so small that this part of it is less than the reserve, this part is the reserve.
const SMALL: u64 = 4;
/// Where no limit can be read, such as outside Linux.
const FALLBACK: u64 = 1000;

/// The most clients at a time, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The most clients at a time.
    pub clients: usize,
    /// The limit that binds.
    pub limit: Limit,
}

/// What limits the number of clients.
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
    /// Nothing could be read.
    Unknown,
    /// A number that somebody chose.
    Chosen,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Descriptors => "RLIMIT_NOFILE; raise it with ulimit -n or LimitNOFILE=",
            Limit::Mappings => "vm.max_map_count; raise it with sysctl -w vm.max_map_count=262144",
            Limit::SystemThreads => "kernel.threads-max; raise it with sysctl -w kernel.threads-max=200000",
            Limit::ThreadNumbers => "kernel.pid_max; raise it with sysctl -w kernel.pid_max=4194304",
            Limit::UserThreads => "RLIMIT_NPROC; raise it with ulimit -u or LimitNPROC=",
            Limit::GroupThreads => "pids.max of the control group; raise it with TasksMax= or --pids-limit",
            Limit::Unknown => "no limit could be read; choose one with --max-clients",
            Limit::Chosen => "as chosen",
        })
    }
}

/// What the system allows, as read; `None` where there is no such limit.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    descriptors: Option<u64>,
    mappings: Option<u64>,
    system_threads: Option<u64>,
    thread_numbers: Option<u64>,
    user_threads: Option<u64>,
    group_threads: Option<u64>,
}

impl Capacity {
    /// Raises the soft limit of descriptors to the hard one, and reads what this machine allows. With
    /// [`Delivery::Handoff`] every client has two threads.
    pub fn of_this_machine(delivery: Delivery) -> Capacity {
        let limit = getrlimit(Resource::Nofile);
        // Refused, the old limit stays, and is the one that counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        Limits::read(|path| fs::read_to_string(path).ok()).capacity(delivery)
    }
}

impl Limits {
    /// `file` gives the text of a file, if there is one.
    fn read(file: impl Fn(&Path) -> Option<String>) -> Limits {
        let number = |path: &str| file(Path::new(path))?.trim().parse().ok();
        Limits {
            descriptors: getrlimit(Resource::Nofile).current,
            mappings: number("/proc/sys/vm/max_map_count"),
            system_threads: number("/proc/sys/kernel/threads-max"),
            thread_numbers: number("/proc/sys/kernel/pid_max"),
            // The superuser is exempt from this one.
            user_threads: getrlimit(Resource::Nproc)
                .current
                .filter(|_| !rustix::process::geteuid().is_root()),
            group_threads: group_threads(&file),
        }
    }

    fn capacity(&self, delivery: Delivery) -> Capacity {
        let threads = delivery.threads() as u64;
        let after = |limit: Option<u64>, reserve: u64, each: u64| {
            limit.map(|limit| (limit - reserve.min(limit / SMALL)) / each)
        };
        let rows = [
            (after(self.descriptors, DESCRIPTOR_RESERVE, 1), Limit::Descriptors),
            (after(self.mappings, MAPPING_RESERVE, threads * MAPPINGS_PER_THREAD), Limit::Mappings),
            (after(self.system_threads, THREAD_RESERVE, threads), Limit::SystemThreads),
            (after(self.thread_numbers, THREAD_RESERVE, threads), Limit::ThreadNumbers),
            (after(self.user_threads, THREAD_RESERVE, threads), Limit::UserThreads),
            (after(self.group_threads, THREAD_RESERVE, threads), Limit::GroupThreads),
        ];
        let smallest =
            rows.into_iter().filter_map(|(clients, limit)| Some((clients?, limit))).min_by_key(|row| row.0);
        let (clients, limit) = smallest.unwrap_or((FALLBACK, Limit::Unknown));
        Capacity { clients: usize::try_from(clients.max(1)).unwrap_or(usize::MAX), limit }
    }
}

/// The smallest `pids.max` from this process's control group (version 2) up to the root that it can see,
/// which in a container is the container's own.
fn group_threads(file: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = file(Path::new("/proc/self/cgroup"))?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let most = |group: &Path| {
        // "max" is no number, and no limit.
        file(&Path::new("/sys/fs/cgroup").join(group).join("pids.max"))?.trim().parse().ok()
    };
    Path::new(own).ancestors().filter_map(most).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_binds_as_a_table() {
        let linux = Limits {
            descriptors: Some(1 << 20),
            mappings: Some(65_530),
            system_threads: Some(192_731),
            thread_numbers: Some(32_768),
            ..Limits::default()
        };
        for (limits, clients, limit) in [
            (linux, 15_870, Limit::Mappings),
            (Limits { descriptors: Some(1024), ..linux }, 960, Limit::Descriptors),
            (Limits { descriptors: Some(64), ..linux }, 48, Limit::Descriptors),
            (Limits { descriptors: Some(0), ..linux }, 1, Limit::Descriptors),
            (Limits { group_threads: Some(4096), ..linux }, 3584, Limit::GroupThreads),
            (Limits { user_threads: Some(8000), ..linux }, 7488, Limit::UserThreads),
            (Limits { mappings: Some(1 << 20), ..linux }, 32_256, Limit::ThreadNumbers),
            (Limits { system_threads: Some(5512), ..linux }, 5000, Limit::SystemThreads),
            (Limits::default(), 1000, Limit::Unknown),
        ] {
            assert_eq!(limits.capacity(Delivery::Inline), Capacity { clients, limit }, "{limits:?}");
        }
        for (limits, clients, limit) in [
            (linux, 7935, Limit::Mappings),
            (Limits { descriptors: Some(1024), ..linux }, 960, Limit::Descriptors),
            (Limits { group_threads: Some(4096), ..linux }, 1792, Limit::GroupThreads),
        ] {
            assert_eq!(limits.capacity(Delivery::Handoff), Capacity { clients, limit }, "{limits:?}");
        }
    }

    /// Gives the text of the files in the table, and of no others.
    fn files<'a>(table: &'a [(&str, &str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        |path| table.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn lowered_limits_of_the_system_are_found_where_linux_has_them() {
        let (mappings, threads) = ("/proc/sys/vm/max_map_count", "/proc/sys/kernel/threads-max");
        for (table, clients, limit) in [
            (&[(mappings, "120\n"), (threads, "5512\n")][..], 22, Limit::Mappings),
            (&[(mappings, "1048576\n"), (threads, "28\n")], 21, Limit::SystemThreads),
            (&[("/proc/sys/kernel/pid_max", "16\n")], 12, Limit::ThreadNumbers),
            (
                &[("/proc/self/cgroup", "0::/a\n"), ("/sys/fs/cgroup/a/pids.max", "8\n")],
                6,
                Limit::GroupThreads,
            ),
        ] {
            assert_eq!(
                Limits::read(files(table)).capacity(Delivery::Inline),
                Capacity { clients, limit },
                "{table:?}"
            );
        }
    }

    #[test]
    fn the_smallest_limit_of_nested_groups_binds_as_a_table() {
        let version_1 = "3:pids:/a/b\n1:name=systemd:/\n";
        let version_2 = "0::/a/b\n";
        let hybrid = "3:pids:/\n0::/a/b\n";
        let limits = |root, outer, inner| {
            [
                ("/sys/fs/cgroup/pids.max", root),
                ("/sys/fs/cgroup/a/pids.max", outer),
                ("/sys/fs/cgroup/a/b/pids.max", inner),
            ]
        };
        for (groups, [root, outer, inner], expected) in [
            (version_2, limits("max\n", "max\n", "70\n"), Some(70)),
            (version_2, limits("max\n", "60\n", "70\n"), Some(60)),
            (version_2, limits("50\n", "60\n", "max\n"), Some(50)),
            (version_2, limits("max\n", "max\n", "max\n"), None),
            (hybrid, limits("max\n", "60\n", "70\n"), Some(60)),
            ("0::/\n", limits("50\n", "40\n", "30\n"), Some(50)),
            ("0::/a\n", limits("50\n", "40\n", "30\n"), Some(40)),
            (version_1, limits("50\n", "40\n", "30\n"), None),
            ("", limits("50\n", "40\n", "30\n"), None),
        ] {
            let table = [("/proc/self/cgroup", groups), root, outer, inner];
            assert_eq!(group_threads(&files(&table)), expected, "{table:?}");
        }
        assert_eq!(group_threads(&files(&[])), None);
        assert_eq!(group_threads(&files(&[("/proc/self/cgroup", version_2)])), None);
    }
}
