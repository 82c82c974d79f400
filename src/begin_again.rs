//! [`begin_again`]: executes the program again with a smaller cost per thread. Runs on the main thread, before any
//! other thread exists; the library itself never calls it.
//!
//! Two things are decided before `main`, and need `unsafe` to change later. std installs a handler for stack overflows
//! if SIGSEGV or SIGBUS has its default action, and then each thread gets a signal stack: two memory mappings, eight
//! system calls and a lock that all threads share. And glibc reads the settings of its allocator from the environment.
//! So the program replaces itself, through `/bin/sh`, which can ignore signals. It stays the same process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command};
use std::{env, fs, thread};

use rustix::process::{Resource, getrlimit};

/// Set to the number of the process that has been executed again. A child inherits it, but has another number.
const BEGUN: &str = "THREADCAST_BEGUN";
/// If set and not empty, keeps the signal stacks, and with them std's message at a stack overflow.
const KEEP: &str = "THREADCAST_KEEP_SIGNAL_STACKS";
const SHELL: &str = "/bin/sh";
const SCRIPT: &str = r#"trap '' SEGV BUS; exec "$0" "$@""#;

/// The number of arenas is in this variable, or in a part of the next one.
const ARENA_VARIABLE: &str = "MALLOC_ARENA_MAX";
const TUNABLES: &str = "GLIBC_TUNABLES";
const ARENA_TUNABLE: &str = "glibc.malloc.arena_max";
/// Freed blocks of each size that a thread keeps. A client's thread would keep 3 KiB of them.
const CACHE_TUNABLE: &str = "glibc.malloc.tcache_count";
/// Bytes of addresses that an arena takes.
const ARENA: u64 = 64 << 20;
/// Arenas that glibc makes for each core.
const ARENAS_PER_CORE: u64 = 8;
/// The share of all addresses that arenas may take.
const ARENAS_PART: u64 = 4;

/// SIGBUS and SIGSEGV, as bits of a mask in `/proc/self/status`.
const FAULTS: u64 = 1 << (7 - 1) | 1 << (11 - 1);

/// Executes the program again with signals and allocator set up for many threads: half of the memory mappings and a
/// third fewer system calls per client, and less memory. Call it first in `main`, before any other thread starts.
///
/// The process keeps its number, arguments and environment, and its files stay open. It ignores SIGSEGV and SIGBUS from
/// other processes; its own faults still end it, by SIGSEGV and without std's message.
/// `THREADCAST_KEEP_SIGNAL_STACKS=1` in the environment keeps the message and the cost.
///
/// Returns without an effect if the program has already been executed again, if it would gain nothing, if `/bin/sh` is
/// missing, if the program's file has been replaced since it started, or if the program has more rights than its caller
/// (`AT_SECURE`).
///
/// ```no_run
/// fn main() -> threadcast::Result<()> {
///     threadcast::begin_again();
///     let server = threadcast::Server::bind("127.0.0.1:8888", threadcast::Application::new())?;
///     server.join();
///     Ok(())
/// }
/// ```
pub fn begin_again() {
    let own = process::id().to_string();
    if env::var_os(BEGUN).is_some_and(|begun| begun == OsStr::new(&own)) || has_more_rights() {
        return;
    }
    let ignore = env::var_os(KEEP).is_none_or(|keep| keep.is_empty()) && !ignores_faults();
    let variables = variables();
    let Some(program) = program().filter(|_| ignore || !variables.is_empty()) else { return };
    let mut args = env::args_os();
    let name = args.next();
    let arguments: Vec<_> = args.collect();
    if ignore {
        let mut shell = Command::new(SHELL);
        shell.arg("-c").arg(SCRIPT).arg(&program).args(&arguments);
        // It returns only without a shell.
        let _ = shell.env(BEGUN, &own).envs(variables.clone()).exec();
    }
    if !variables.is_empty() {
        let mut command = Command::new(program);
        if let Some(name) = name {
            command.arg0(name);
        }
        // It returns only on failure, and then fewer clients fit.
        let _ = command.args(arguments).env(BEGUN, own).envs(variables).exec();
    }
}

/// Returns the variables for glibc that are not set yet.
fn variables() -> Vec<(&'static str, OsString)> {
    if !cfg!(target_env = "gnu") {
        return Vec::new();
    }
    let tunables = env::var_os(TUNABLES).unwrap_or_default();
    let mut variables = Vec::new();
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    if let Some(arenas) = fewer_arenas(getrlimit(Resource::As).current, cores)
        && !names(&tunables, ARENA_TUNABLE)
        && env::var_os(ARENA_VARIABLE).is_none()
    {
        variables.push((ARENA_VARIABLE, arenas.to_string().into()));
    }
    if !names(&tunables, CACHE_TUNABLE) {
        let mut with = tunables;
        if !with.is_empty() {
            with.push(":");
        }
        with.push(CACHE_TUNABLE);
        with.push("=0");
        variables.push((TUNABLES, with));
    }
    variables
}

/// Returns whether a list of tunables sets this one.
fn names(tunables: &OsStr, tunable: &str) -> bool {
    let set = tunables.as_bytes().split(|byte| *byte == b':');
    set.filter_map(|one| one.split(|byte| *byte == b'=').next()).any(|name| name == tunable.as_bytes())
}

/// Returns the most arenas that the addresses allow, if glibc would make more.
fn fewer_arenas(addresses: Option<u64>, cores: u64) -> Option<u64> {
    let most = (addresses? / ARENAS_PART / ARENA).max(1);
    (most < ARENAS_PER_CORE * cores).then_some(most)
}

/// Returns whether both faults are already ignored, or the mask cannot be read.
fn ignores_faults() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & FAULTS == FAULTS)
}

/// Returns the program's path, if it is still the running file: an upgrade may have replaced it, and a shell that finds
/// no program exits with status 127, which ends the server.
fn program() -> Option<PathBuf> {
    let path = env::current_exe().ok()?;
    let (running, found) = (fs::metadata("/proc/self/exe").ok()?, fs::metadata(&path).ok()?);
    ((running.dev(), running.ino()) == (found.dev(), found.ino())).then_some(path)
}

/// Returns whether the program has more rights than its caller, who must not control its allocator: glibc then ignores
/// these variables. True if that cannot be read.
fn has_more_rights() -> bool {
    const IS_SECURE: usize = 23;
    const WORD: usize = size_of::<usize>();
    // Pairs of a key and a value (`AT_SECURE` in getauxval(3)).
    let pairs = fs::read("/proc/self/auxv").unwrap_or_default();
    let mut words = pairs.chunks_exact(WORD).map(|word| word.try_into().map_or(0, usize::from_ne_bytes));
    let mut is_secure = None;
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == IS_SECURE {
            is_secure = Some(value != 0);
        }
    }
    is_secure.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_take_a_quarter_of_limited_addresses_at_most() {
        const MIB: u64 = 1 << 20;
        for (addresses, cores, arenas) in [
            (None, 2, None),
            (Some(400 * MIB), 2, Some(1)),
            (Some(100 * MIB), 2, Some(1)),
            (Some(0), 1, Some(1)),
            (Some(1024 * MIB), 2, Some(4)),
            (Some(4096 * MIB), 2, None),
            (Some(4095 * MIB), 2, Some(15)),
            (Some(4096 * MIB), 64, Some(16)),
            (Some(u64::MAX), 64, None),
        ] {
            assert_eq!(fewer_arenas(addresses, cores), arenas, "{addresses:?} {cores}");
        }
    }

    #[test]
    fn a_tunable_is_found_by_its_whole_name() {
        for (tunables, found) in [
            ("", false),
            ("glibc.malloc.tcache_count=0", true),
            ("glibc.malloc.check=3:glibc.malloc.tcache_count=7", true),
            ("glibc.malloc.tcache_count_max=7", false),
            ("glibc.malloc.check=glibc.malloc.tcache_count", false),
        ] {
            assert_eq!(names(OsStr::new(tunables), CACHE_TUNABLE), found, "{tunables}");
        }
    }

    #[test]
    fn this_program_has_no_more_rights_than_its_caller_and_is_where_it_was() {
        assert!(!has_more_rights());
        assert!(program().is_some());
    }
}
