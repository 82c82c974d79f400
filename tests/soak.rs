//! A soak: clients come and go, well-behaved and not, all at once and for as long as you like, and at the end the
//! program is as before: threads and sockets exactly, memory within a limit. All the while, the witnesses, which stay,
//! get every push, and on time.
//!
//! It runs in spells. Between two spells everybody but the witnesses leaves, and the test prints a line. `make soak`
//! takes 30 minutes; among the other tests it takes seconds, with the same assertions.

#[path = "soak/abuse.rs"]
mod abuse;
#[path = "soak/abusers.rs"]
mod abusers;
#[path = "soak/visitors.rs"]
mod visitors;

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::Value;
use support::dice::Dice;
use support::{DEADLINE, Program, Raw, eventually, get, sockets, threads};
use visitors::{BRISK, SLOW, Visit};

/// The default length in seconds, as part of all tests.
const SECONDS: u64 = 6;
/// The number of spells in a soak, unless it makes them so short that leaving takes longer than coming, or so long that
/// the next line takes too long.
const SPELLS: u32 = 60;
const SHORTEST_SPELL: Duration = Duration::from_secs(2);
const LONGEST_SPELL: Duration = Duration::from_secs(30);
/// Threads that visit in brisk ways.
const BRISK_THREADS: usize = 12;

/// The program's `--max-clients`. Small, so that visitors often reach it, but enough for all that are not part of the
/// crowd.
pub const CAPACITY: usize = 96;
/// Its `--max-message`.
pub const MAX_MESSAGE: usize = 512 << 10;
/// Its `--interval`.
const INTERVAL: Duration = Duration::from_millis(50);
/// The size of a push, `--pad`. The kernel buffers 2 to 3 MiB for a client that does not read: with this it is full,
/// and the backlog at its limit, within a few seconds.
const PUSH: usize = 64 << 10;
/// The longest gap between two pushes that a witness accepts. A hundred intervals, because the load is all that the
/// machine can take, and other tests may run.
const LATE: Duration = Duration::from_secs(5);
const WITNESSES: usize = 2;

/// By default, glibc's allocator has 8 arenas for each core, and learns to keep megabytes of freed memory in each. To
/// measure the program, this sets 8 arenas on any machine, and 128 KiB to keep at the end of each.
const TUNABLES: &str = "glibc.malloc.arena_max=8:glibc.malloc.mmap_threshold=131072";
/// By how much the largest reading of resident memory in the last third of a run may be above the largest
/// in its first third, in KiB.
///
/// The assignment of clients to arenas is random, so even without a leak the largest reading may come late: each of 8
/// arenas keeps up to 128 KiB at its end, and holes around the 64 KiB receive buffers may cost as much again. The
/// stacks of up to `CAPACITY` threads that have ended wait for the next ones, with up to 20 KiB in each. That is 4 MiB,
/// if none of it was allocated in the first third.
///
/// A leak costs far more. 30 minutes serve more than 300,000 clients, even on two slow cores, and more than 100,000 of
/// them between the first third and the last: a leak of 1 KiB per client would be 100 MiB, and one of 42 bytes shows.
/// The last line says how much it was; and a run of [`NOTICED_FROM`] or more fails if it could not have noticed
/// [`LEAK`].
const GROWTH_KIB: u64 = 4 << 10;
/// The leak per client, in bytes, that must not go unnoticed.
const LEAK: u64 = 1024;
const NOTICED_FROM: Duration = Duration::from_secs(300);
/// How long a visitor pauses after an early end, such as a full house.
const AGAIN: Duration = Duration::from_millis(10);

// ---- the witnesses ----

/// All that a witness has seen.
#[derive(Default)]
struct Seen {
    /// Each push's time, as sent. The witness's thread writes it, the test reads it between the spells.
    pushes: Vec<String>,
    longest_gap: Duration,
}

struct Witness {
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<()>,
}

impl Witness {
    /// Ends with the program, which `leaving` announces.
    fn start(addr: SocketAddr, n: usize, leaving: Arc<AtomicBool>) -> Witness {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let its = seen.clone();
        let mut raw = Raw::websocket(addr, &format!("/websocket?Id=witness-{n}"));
        let watch = move || {
            let mut before = Instant::now();
            while let Some(frame) = raw.frame_or_end() {
                if matches!(frame.first, 0x88 | 0x89) {
                    let answer = if frame.first == 0x89 { 0x8a } else { 0x88 };
                    raw.send_frame(answer, frame.payload);
                    continue;
                }
                let (gap, push) = (before.elapsed(), String::from_utf8(frame.payload).expect("is text"));
                before = Instant::now();
                assert_eq!((frame.first, push.len()), (0x81, PUSH), "of witness {n}");
                assert!(gap < LATE, "witness {n} got nothing for {gap:?}");
                let mut seen = its.lock().expect("nothing panics under it");
                seen.longest_gap = seen.longest_gap.max(gap);
                seen.pushes.push(push.trim_end().to_owned());
            }
            assert!(leaving.load(Ordering::Acquire), "witness {n} was sent away");
        };
        Witness { seen, thread: thread::spawn(watch) }
    }

    fn pushes(&self) -> usize {
        self.seen.lock().expect("nothing panics under it").pushes.len()
    }
}

/// While this exists, disconnecting a witness is a failure.
struct Staying(Arc<AtomicBool>);

impl Drop for Staying {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// All have seen equal pushes, from the first that all of them got to the last: so none of them missed one.
fn agree(witnesses: &[Witness]) -> usize {
    let seen: Vec<_> =
        witnesses.iter().map(|witness| witness.seen.lock().expect("nothing panics under it")).collect();
    let first = seen.iter().map(|seen| &seen.pushes[0]).max().expect("there are some");
    let from = |pushes: &[String]| pushes.iter().position(|push| push == first).expect("is there");
    let seen: Vec<_> = seen.iter().map(|seen| &seen.pushes[from(&seen.pushes)..]).collect();
    let shortest = seen.iter().map(|pushes| pushes.len()).min().expect("there are some");
    for (n, pushes) in seen.iter().enumerate() {
        assert!(pushes.len() - shortest < 20, "witness {n} is far ahead of another");
        let differ = (0..shortest).find(|at| pushes[*at] != seen[0][*at]);
        assert_eq!(differ.map(|at| (&pushes[at], &seen[0][at])), None, "witness {n} or 0 missed a push");
    }
    shortest
}

// ---- the samples ----

/// The program's resources while only the witnesses are connected.
struct Sample {
    at: Duration,
    served: u64,
    threads: usize,
    sockets: usize,
    resident_kib: u64,
}

impl Sample {
    fn take(program: &Program, begun: Instant) -> Sample {
        let pid = program.pid();
        // The sum of all mappings; `VmRSS` lags by as much as a batch of pages for each core.
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("reads");
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("has a size");
        let resident = resident.split_whitespace().next().expect("has a number");
        Sample {
            at: begun.elapsed(),
            served: stats(program)["accepted"].as_u64().expect("a number"),
            threads: threads(pid).len(),
            sockets: sockets(pid),
            resident_kib: resident.parse().expect("a number"),
        }
    }

    fn print(&self) {
        let Sample { at, served, threads, sockets, resident_kib } = self;
        println!("{:>7.1} s {served:>10} {threads:>8} {sockets:>8} {resident_kib:>13}", at.as_secs_f64());
    }
}

fn stats(program: &Program) -> Value {
    let mut raw = Raw::connect(program.addr());
    raw.send(get("/stats", "Connection: close\r\n"));
    let (head, body) = raw.response();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let stats = serde_json::from_slice(&body).expect("is JSON");
    assert!(raw.is_at_end());
    drop(raw);
    eventually("its thread is gone", || {
        threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count() == WITNESSES
    });
    stats
}

/// Waits until every visitor's resources are gone, or says what is left.
fn settle(program: &Program, baseline: &Sample) {
    let pid = program.pid();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (names, sockets) = (threads(pid), sockets(pid));
        if (names.len(), sockets) == (baseline.threads, baseline.sockets) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{DEADLINE:?} after everybody has left: {} threads, at first {}; {sockets} sockets, at first {}; \
             {names:?}",
            names.len(),
            baseline.threads,
            baseline.sockets
        );
        thread::park_timeout(Duration::from_millis(5));
    }
}

// ---- a spell ----

/// The number of visits, by their way: complete ones, and early ends.
type Visits = BTreeMap<&'static str, (u64, u64)>;

/// Visitors come and go until `end`.
fn spell(addr: SocketAddr, seed: u64, end: Instant, visits: &Mutex<Visits>) {
    let slow = SLOW.iter().flat_map(|(what, way, many)| vec![Some((*what, *way)); *many]);
    let brisk = [None; BRISK_THREADS];
    thread::scope(|scope| {
        for (n, only) in slow.chain(brisk).enumerate() {
            scope.spawn(move || {
                let mut visit = Visit { addr, dice: Dice(seed << 8 | n as u64), end };
                let mut own = Visits::new();
                while Instant::now() < end {
                    let (what, way) = only.unwrap_or_else(|| visit.dice.pick(BRISK));
                    let (well, short) = own.entry(what).or_default();
                    if way(&mut visit).is_ok() {
                        *well += 1;
                    } else {
                        *short += 1;
                        visit.stay_away(AGAIN);
                    }
                }
                let mut visits = visits.lock().expect("nothing panics under it");
                for (what, (well, short)) in own {
                    let all = visits.entry(what).or_default();
                    *all = (all.0 + well, all.1 + short);
                }
            });
        }
    });
}

// ---- the test ----

/// One test of this crate after the other: each measures a program alone on the machine.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn as_clients_come_and_go_the_program_stays_as_it_was_and_steady_clients_miss_nothing() {
    let _alone = alone();
    let seconds = env::var("THREADCAST_SOAK_SECONDS").ok();
    let seconds =
        seconds.map_or(SECONDS, |seconds| seconds.parse().expect("THREADCAST_SOAK_SECONDS is a number"));
    let whole = Duration::from_secs(seconds);
    let length = (whole / SPELLS).clamp(SHORTEST_SPELL, LONGEST_SPELL);
    let mut command = Program::command();
    command.env("GLIBC_TUNABLES", TUNABLES);
    command.args(["--lab", "--port", "0", "--logging", "none", "--max-backlog", "256KiB"]);
    command.args(["--interval", &format!("{}ms", INTERVAL.as_millis()), "--pad", &PUSH.to_string()]);
    command.args(["--max-clients", &CAPACITY.to_string(), "--max-message", &MAX_MESSAGE.to_string()]);
    let mut program = Program::spawn(&mut command);
    let addr = program.addr();
    let staying = Staying(Arc::default());
    let witnesses: Vec<_> = (0..WITNESSES).map(|n| Witness::start(addr, n, staying.0.clone())).collect();
    eventually("the witnesses are served", || witnesses.iter().all(|witness| witness.pushes() > 0));

    let begun = Instant::now();
    let visits = Mutex::new(Visits::new());
    println!("{:>9} {:>10} {:>8} {:>8} {:>13}", "time", "clients", "threads", "sockets", "resident KiB");
    let mut samples = vec![Sample::take(&program, begun)];
    samples[0].print();
    while begun.elapsed() < whole {
        spell(addr, samples.len() as u64, Instant::now() + length, &visits);
        settle(&program, &samples[0]);
        let sample = Sample::take(&program, begun);
        sample.print();
        samples.push(sample);
        let gone = witnesses.iter().position(|witness| witness.thread.is_finished());
        assert_eq!(gone, None, "this witness has ended, see above");
        agree(&witnesses);
    }

    let stats = stats(&program);
    let pushes = agree(&witnesses);
    for (what, (well, short)) in &*visits.lock().expect("nothing panics under it") {
        println!("{what:>25}: {well:>8}, and {short} cut short");
        assert!(*well > 0, "no visitor who {what} completed its visit");
    }
    println!("refused {}, slow consumers {}", stats["refused"], stats["slow_consumers"]);
    assert!(stats["refused"].as_u64() > Some(0) && stats["slow_consumers"].as_u64() > Some(0), "{stats}");
    let gap = witnesses.iter().map(|witness| witness.seen.lock().expect("as above").longest_gap).max();
    let rounds = stats["rounds"].as_u64().expect("a number");
    println!(
        "{WITNESSES} witnesses, {pushes} pushes each, of {rounds}; at most {:?} apart",
        gap.expect("are two")
    );
    judge(&samples);

    drop(staying);
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success());
    witnesses.into_iter().for_each(|witness| witness.thread.join().expect("has seen nothing wrong"));
}

/// The first sample is from before the first visit; the thirds are of the others.
fn judge(samples: &[Sample]) {
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    println!(
        "threads {} and {}, sockets {} and {}",
        first.threads, last.threads, first.sockets, last.sockets
    );
    assert_eq!(last.threads, first.threads, "threads grew");
    assert_eq!(last.sockets, first.sockets, "sockets grew");
    let third = (samples.len() - 1).div_ceil(3);
    let largest =
        |samples: &[Sample]| samples.iter().map(|sample| sample.resident_kib).max().expect("has some");
    let (early, late) = (&samples[1..=third], &samples[samples.len() - third..]);
    let (before, after) = (largest(early), largest(late));
    // At least this number came between the two maxima.
    let between = late[0].served - early[early.len() - 1].served;
    let noticed = GROWTH_KIB * 1024 / between.max(1);
    println!(
        "resident: at most {before} KiB in the first third, {after} KiB in the last; {} KiB more would be \
         too much, {noticed} bytes for each of {between} clients",
        GROWTH_KIB
    );
    assert!(
        after <= before + GROWTH_KIB,
        "resident memory grew by {} KiB while {between} clients were served",
        after - before
    );
    assert!(last.at < NOTICED_FROM || noticed < LEAK, "too few clients to notice a leak of {LEAK} bytes");
}
