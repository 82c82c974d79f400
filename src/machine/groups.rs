//! The control groups of this process, and their limits.
//!
//! Version 1 has a tree of groups for each controller, version 2 has one for all, and a system may have both (systemd's
//! "hybrid"). A group's limit holds for all groups below it. So this reads every one, from the process's own up to the
//! highest visible one, which is the container's own in a container.

use std::path::{Path, PathBuf};

/// Where systems mount the groups, if `/proc/self/mountinfo` cannot be read.
pub(crate) const STANDARD: &str = "/sys/fs/cgroup";
/// The files of a group's memory, by version: limits, use, and the statistics of reclaimable memory.
const MEMORY: [MemoryFiles; 2] = [
    // Above `memory.high` the kernel kills no process, but stalls them all.
    MemoryFiles {
        limits: &["memory.max", "memory.high"],
        usage: "memory.current",
        files: ["inactive_file", "active_file"],
    },
    MemoryFiles {
        limits: &["memory.limit_in_bytes"],
        usage: "memory.usage_in_bytes",
        files: ["total_inactive_file", "total_active_file"],
    },
];

struct MemoryFiles {
    limits: &'static [&'static str],
    usage: &'static str,
    files: [&'static str; 2],
}

/// The limits of the groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// The smallest limit of threads (`pids.max`).
    pub(crate) threads: Option<u64>,
    /// The fewest free bytes below a limit of memory.
    pub(crate) memory: Option<u64>,
    /// The process is in a group of threads whose files cannot be found, and in one of memory.
    pub(crate) threads_are_hidden: bool,
    pub(crate) memory_is_hidden: bool,
}

impl Allowed {
    /// Reads the limits; `file` returns the text of a file, if there is one.
    pub(crate) fn read(file: &impl Fn(&Path) -> Option<String>) -> Allowed {
        // "max" means no limit.
        let number = |path: PathBuf| file(&path)?.trim().parse::<u64>().ok();
        let memory = |group: &Path| {
            let left = |files: &MemoryFiles| {
                let limit = files.limits.iter().filter_map(|name| number(group.join(name))).min()?;
                let used = number(group.join(files.usage)).unwrap_or(0);
                let statistics = file(&group.join("memory.stat")).unwrap_or_default();
                // The kernel frees pages of files when it needs memory.
                let pages: u64 = files.files.iter().filter_map(|name| value(&statistics, name)).sum();
                Some(limit.saturating_sub(used.saturating_sub(pages)))
            };
            MEMORY.iter().filter_map(left).min()
        };
        let by_threads = Groups::read(file, "pids");
        let by_memory = Groups::read(file, "memory");
        Allowed {
            threads: by_threads.directories.iter().filter_map(|group| number(group.join("pids.max"))).min(),
            memory: by_memory.directories.iter().filter_map(|group| memory(group)).min(),
            threads_are_hidden: by_threads.are_hidden(),
            memory_is_hidden: by_memory.are_hidden(),
        }
    }
}

/// Returns the number behind `name` and a space, at the start of a line.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The groups that a controller may limit this process by.
struct Groups {
    directories: Vec<PathBuf>,
    /// It is in one that is not the root.
    is_inside: bool,
}

impl Groups {
    fn read(file: &impl Fn(&Path) -> Option<String>, controller: &str) -> Groups {
        let mut groups = Groups { directories: Vec::new(), is_inside: false };
        let mounts = file(Path::new("/proc/self/mountinfo"));
        let lines = file(Path::new("/proc/self/cgroup")).unwrap_or_default();
        for line in lines.lines() {
            // The number of the tree, its controllers, and the group: "4:memory:/a", or "0::/a" in version 2.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(own)) = (parts.next(), parts.next()) else { continue };
            let version_2 = controllers.is_empty();
            if !version_2 && controllers.split(',').all(|name| name != controller) {
                continue;
            }
            groups.is_inside |= own != "/";
            let mounts = match &mounts {
                Some(text) => Mount::all(text, version_2, controller),
                None => Mount::standard(version_2, controller),
            };
            for Mount { root, at } in mounts {
                // A group outside of the mount is not visible, but the root of the mount is above it.
                let below = Path::new(own).strip_prefix(root).unwrap_or(Path::new(""));
                groups.directories.extend(below.ancestors().map(|group| at.join(group)));
            }
        }
        groups
    }

    fn are_hidden(&self) -> bool {
        self.is_inside && self.directories.is_empty()
    }
}

/// A tree of groups, or the part of it that is mounted.
struct Mount {
    /// The group that is at the mount point.
    root: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// Returns the mounts in the text of `/proc/self/mountinfo`.
    fn all(text: &str, version_2: bool, controller: &str) -> Vec<Mount> {
        let mount = |line: &str| {
            // "32 31 0:29 ROOT POINT OPTIONS.. - TYPE SOURCE OPTIONS", the last of which name the controllers.
            let (mount, system) = line.split_once(" - ")?;
            let mut mount = mount.split(' ').skip(3);
            let (root, at) = (mount.next()?.into(), mount.next()?.into());
            let mut system = system.split(' ');
            let (kind, options) = (system.next()?, system.nth(1)?);
            let is_it = if version_2 {
                kind == "cgroup2"
            } else {
                kind == "cgroup" && options.split(',').any(|name| name == controller)
            };
            is_it.then_some(Mount { root, at })
        };
        text.lines().filter_map(mount).collect()
    }

    fn standard(version_2: bool, controller: &str) -> Vec<Mount> {
        let below = if version_2 { "" } else { controller };
        vec![Mount { root: "/".into(), at: Path::new(STANDARD).join(below) }]
    }
}

#[cfg(test)]
mod tests;
