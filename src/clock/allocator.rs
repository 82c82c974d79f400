//! Keeps glibc's allocator small where the addresses of the process are limited (`ulimit -v`). On the thread
//! `threadcast`, before there is another one.
//!
//! glibc makes up to 8 arenas for each core, one for each thread that asks first, and an arena takes 64 MiB of
//! addresses at once: a few clients have them all, and the next allocation ends the process. How many there
//! may be it reads from the environment when it starts, so the program starts itself again. It stays the same
//! process.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs, thread};

use rustix::process::{Resource, getrlimit};

/// The number of arenas is read from here, or is a part of the text there.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
const TUNABLES: &str = "GLIBC_TUNABLES";
const TUNABLE: &str = "glibc.malloc.arena_max";
/// Bytes of addresses that an arena takes.
const ARENA: u64 = 64 << 20;
/// Arenas that glibc makes for each core.
const PER_CORE: u64 = 8;
/// Of all addresses, arenas may take this part.
const PART: u64 = 4;

/// Returns if the allocator is small enough, or nothing can be done about it; otherwise the program begins
/// again.
pub fn keep_small() {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let has_tunable = env::var(TUNABLES).is_ok_and(|text| text.contains(TUNABLE));
    let is_chosen = has_tunable || env::var_os(VARIABLE).is_some();
    let Some(arenas) = fewer_arenas(getrlimit(Resource::As).current, cores) else { return };
    if is_chosen || !cfg!(target_env = "gnu") || ignores_environment() {
        return;
    }
    let (Ok(program), mut args) = (env::current_exe(), env::args_os()) else { return };
    let mut command = Command::new(program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    // It returns only if it fails, and then there is room for fewer clients.
    let _ = command.args(args).env(VARIABLE, arenas.to_string()).exec();
}

/// As many arenas as may be, if glibc would make more.
fn fewer_arenas(addresses: Option<u64>, cores: u64) -> Option<u64> {
    let most = (addresses? / PART / ARENA).max(1);
    (most < PER_CORE * cores).then_some(most)
}

/// A program that has more rights than the one who starts it must not be told by him how to allocate: glibc
/// does not listen, so beginning again would not help, and never end.
fn ignores_environment() -> bool {
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
    fn a_program_without_more_rights_listens_to_its_environment() {
        assert!(!ignores_environment());
    }
}
