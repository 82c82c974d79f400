//! How many memory mappings a thread takes. Counted, because it depends on std, glibc and the kernel.

use std::fs;
use std::thread;

use crossbeam_channel::{Receiver, Sender};

/// Threads that are started to count. Some of the first find a mapping that they can share or extend.
const PROBES: usize = 8;
/// Mappings of a thread at the most: its stack, the guard page of that, its signal stack, the guard page of that one.
const MOST: u64 = 4;
/// An arena of glibc's allocator begins at a multiple of this. A thread that allocates may make one, and
/// [`Limits`](super::Limits) counts those.
const ARENA: u64 = 64 << 20;

/// Returns how many mappings one more thread of that stack size takes: 1 to 4. Starts a few threads, which end before
/// it returns.
pub(super) fn of_a_thread(stack_size: usize) -> u64 {
    counted(stack_size).unwrap_or(MOST).clamp(1, MOST)
}

/// Returns the largest step from one thread to the next, `None` where it cannot be read. The threads start one by one:
/// glibc keeps the stacks of ended threads, and hands them to the first thread that asks.
fn counted(stack_size: usize) -> Option<u64> {
    let (end, ended) = crossbeam_channel::bounded::<()>(0);
    let mut threads = Vec::new();
    let mut largest = 0;
    let mut before = now()?;
    for _ in 0..PROBES {
        let (started, has_started) = crossbeam_channel::bounded(1);
        let ended = ended.clone();
        let probe = move || park(&started, &ended);
        let thread = thread::Builder::new().name("capacity".to_owned()).stack_size(stack_size).spawn(probe);
        let Ok(thread) = thread else { break };
        threads.push(thread);
        has_started.recv().ok()?;
        let after = now()?;
        largest = largest.max(after.saturating_sub(before));
        before = after;
    }
    drop(end);
    let is_whole = threads.len() == PROBES;
    for thread in threads {
        let _ = thread.join();
    }
    is_whole.then_some(largest)
}

/// Signals that the thread has begun, and waits until it may end.
fn park(started: &Sender<()>, ended: &Receiver<()>) {
    let _ = started.send(());
    let _ = ended.recv();
}

fn now() -> Option<u64> {
    fs::read_to_string("/proc/self/maps").ok().map(|maps| without_arenas(&maps))
}

/// Counts the lines of `/proc/self/maps`, less an arena and the rest of its 64 MiB, which follows it.
fn without_arenas(maps: &str) -> u64 {
    let mut count = 0;
    let mut arena_ends = None;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { continue };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else {
            continue;
        };
        let is_anonymous = line.split_whitespace().nth(4) == Some("0");
        let begins = is_anonymous && start.is_multiple_of(ARENA);
        let rest = arena_ends == Some(start) && end.is_multiple_of(ARENA);
        if !begins && !rest {
            count += 1;
        }
        arena_ends = begins.then_some(end);
    }
    count
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_arena_and_its_rest_do_not_count() {
        let maps = "558000000000-558000001000 r--p 00000000 08:01 1 /bin/x\n\
                    7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n\
                    7f0000021000-7f0004000000 ---p 00000000 00:00 0 \n\
                    7f00047ff000-7f0004800000 ---p 00000000 00:00 0 \n\
                    7f0004800000-7f0004880000 rw-p 00000000 00:00 0 \n";
        assert_eq!(without_arenas(maps), 3);
        assert_eq!(without_arenas(""), 0);
    }

    #[test]
    fn a_thread_takes_one_to_four_mappings() {
        for stack_size in [64 << 10, 512 << 10, 2 << 20] {
            assert!((1..=MOST).contains(&of_a_thread(stack_size)));
        }
    }
}
