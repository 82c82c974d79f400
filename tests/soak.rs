//! A soak: clients come and go, well-behaved and not, all at once and for as long as one likes, and
//! afterwards the program is as it was: threads and sockets exactly, memory within a bound. Meanwhile the
//! witnesses, who have been there all the time, get every push, and on time.
//!
//! It goes in spells. Between two of them everybody leaves but the witnesses, and a line is printed.
//! `make soak` takes 30 minutes; among the other tests it takes seconds, with the same assertions.

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

/// How long to soak if nobody says, as part of all tests.
const SECONDS: u64 = 6;
/// How many spells a soak has, unless that makes them so short that there is more leaving than coming, or so long that
/// one waits for a line.
const SPELLS: u32 = 60;
const SHORTEST_SPELL: Duration = Duration::from_secs(2);
const LONGEST_SPELL: Duration = Duration::from_secs(30);
/// Threads that visit in brisk ways.
const BRISK_THREADS: usize = 12;

/// The program's `--max-clients`. Small, so that it is often reached, but enough for all who are not of the
/// crowd.
pub const CAPACITY: usize = 96;
/// Its `--max-message`.
pub const MAX_MESSAGE: usize = 512 << 10;
/// Its `--interval`.
const INTERVAL: Duration = Duration::from_millis(50);
/// The size of a push, `--pad`. The kernel takes 2 to 3 MiB for a client that does not read: with this it is
/// full, and the backlog at its limit, within a few seconds.
const PUSH: usize = 64 << 10;
/// The longest time between two pushes that a witness puts up with. A hundred intervals, since the load is
/// all that the machine can take, and other tests may run.
const LATE: Duration = Duration::from_secs(5);
const WITNESSES: usize = 2;

/// Left to itself, glibc's allocator has 8 arenas for each core, and learns to keep megabytes of freed
/// memory in each. It is the program that is measured here, so it gets 8 arenas on any machine, and 128 KiB
/// is what it keeps at the end of one.
const TUNABLES: &str = "glibc.malloc.arena_max=8:glibc.malloc.mmap_threshold=131072";
/// By how much the largest reading of resident memory in the last third of a run may be above the largest
/// in its first third, in KiB.
///
/// Which client gets which arena is chance, so without any leak the largest reading may be yet to come: each
/// of 8 arenas keeps up to 128 KiB at its end, and holes, which those around the 64 KiB pieces that messages
/// are received in may make as large again; and the stacks of up to `CAPACITY` threads that have ended wait
/// for the next ones, with up to 20 KiB in each. That is 4 MiB, if none of it was there in the first third.
///
/// A leak makes far more of it. 30 minutes serve more than 300,000 clients, even on two slow cores, and more
/// than 100,000 of them between the first third and the last: 1 KiB lost with each would be 100 MiB, and
/// 42 bytes lost with each are noticed. The last line says what it was; and a run of [`NOTICED_FROM`] or
/// more fails if it could not have noticed [`LEAK`].
const GROWTH_KIB: u64 = 4 << 10;
/// Bytes lost with each client that must not go unnoticed.
const LEAK: u64 = 1024;
const NOTICED_FROM: Duration = Duration::from_secs(300);
/// How long a visitor waits who was cut short, perhaps since the house is full.
const AGAIN: Duration = Duration::from_millis(10);

// ---- the witnesses ----

/// What a witness has seen.
#[derive(Default)]
struct Seen {
    /// Each push's time, as it was sent. Written by the witness's thread, read between the spells.
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

/// While this is there, a witness that is sent away is a failure.
struct Staying(Arc<AtomicBool>);

impl Drop for Staying {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// All have seen the same pushes, from the first that all were there for to the last that all have: so none
/// of them missed one.
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

/// The program, while nobody is there but the witnesses.
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
        // The sum of all mappings; `VmRSS` is late by as much as a batch of pages for each core.
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

/// Waits until everybody has left, and all that they had with them: or says what has stayed.
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

/// How many visits there were, by their way: those that ended as they should, and those cut short.
type Visits = BTreeMap<&'static str, (u64, u64)>;

/// Everybody comes and goes until `end`.
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

/// One test of this crate at a time: each measures a program beside which nothing else runs.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn after_all_who_come_and_go_the_program_is_as_it_was_and_who_stays_misses_nothing() {
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
        assert!(*well > 0, "nobody who {what} came through");
    }
    println!("rejected {}, slow consumers {}", stats["rejected"], stats["slow_consumers"]);
    assert!(stats["rejected"].as_u64() > Some(0) && stats["slow_consumers"].as_u64() > Some(0), "{stats}");
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

/// The first sample is from before anybody came; the thirds are of the others.
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
