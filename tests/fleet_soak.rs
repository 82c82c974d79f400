//! A soak of a fleet: machines, their clients and Redis come and go, and at the end it is as before: threads and
//! descriptors exactly, memory within a limit. All the while, the clients of two steady machines get service.
//!
//! It runs in spells. Between two spells everybody but those two leaves, and the test prints a line. `make soak` takes
//! 30 minutes; among the other tests it takes seconds, with the same assertions.

use support::fleet as machines;
mod support;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use machines::{Machine, Redis, endure, linked, two};
use rustix::process::Signal;
use support::dice::Dice;
use support::{eventually, threads};
use threadcast::FleetOptions;

/// The default length in seconds, as part of all tests.
const SECONDS: u64 = 6;
/// The shortest and the longest spell, and their number in between.
const SPELL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));
const SPELLS: u32 = 40;
/// Machines that come and go at once, and the clients of each.
const VISITORS: u64 = 3;
const CLIENTS: usize = 5;
/// Ids that they claim from each other.
const IDS: usize = 10;
/// How far the largest resident memory in the last third may exceed that in the first third, in KiB: the allocator
/// fills its arenas at random. Ten minutes have some 10,000 visits, so a leak of a KiB per visit shows.
const GROWTH_KIB: u64 = 8 << 10;

/// The resources of this process while only the steady machines are present.
struct Sample {
    threads: usize,
    descriptors: usize,
    resident_kib: u64,
}

impl Sample {
    fn take() -> Sample {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("reads");
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("has a size");
        Sample {
            threads: threads(std::process::id()).len(),
            descriptors: fs::read_dir("/proc/self/fd").expect("lists").count(),
            resident_kib: resident
                .split_whitespace()
                .next()
                .expect("has a number")
                .parse()
                .expect("a number"),
        }
    }
}

/// Pauses for less than this many milliseconds.
fn pause(dice: &mut Dice, below: usize) {
    thread::park_timeout(Duration::from_millis(dice.below(below) as u64));
}

/// A machine joins if it can, has clients that claim Ids from others, publishes, and leaves.
fn visit(options: &FleetOptions, dice: &mut Dice) -> bool {
    let Ok(machine) = Machine::try_join(options) else { return false };
    let clients: Vec<_> = (0..CLIENTS).map(|_| machine.open()).collect();
    for (_, connection) in &clients {
        let id = format!("id-{}", dice.below(IDS));
        // The previous claim may have closed this client.
        let _ = machine.fleet.claim(&id, connection);
        machine.hub.subscribe("visitors", connection).expect("it is a topic");
        machine.hub.publish("visitors", id.as_str()).expect("it is a topic");
        if dice.below(2) == 0 {
            machine.fleet.release(&id, connection);
        }
    }
    pause(dice, 300);
    true
}

/// Makes trouble for Redis until the end, and leaves it well.
fn trouble(redis: &mut Redis, dice: &mut Dice, end: Instant) {
    while Instant::now() < end {
        match dice.below(4) {
            0 => {
                redis.kill();
                redis.again();
            }
            1 => {
                redis.signal(Signal::STOP);
                pause(dice, 3000);
                redis.signal(Signal::CONT);
            }
            2 => _ = redis.say("CLIENT KILL TYPE pubsub"),
            _ => _ = redis.say("CLIENT KILL TYPE normal"),
        }
        pause(dice, 1000);
    }
}

#[test]
fn after_all_machines_that_come_and_go_a_fleet_is_as_it_was() {
    let seconds = env::var("THREADCAST_SOAK_SECONDS").ok();
    let seconds =
        seconds.map_or(SECONDS, |seconds| seconds.parse().expect("THREADCAST_SOAK_SECONDS is a number"));
    let whole = Duration::from_secs(seconds);
    let length = (whole / SPELLS).clamp(SPELL.0, SPELL.1);
    let mut redis = Redis::start(&[]);
    let mut machines = two(&redis);
    let options = redis.options();
    let (well, short) = (AtomicU64::new(0), AtomicU64::new(0));
    let first = Sample::take();
    let (mut resident, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < whole || resident.len() < 3 {
        let seed = resident.len() as u64;
        endure("a spell", &mut machines, |_| {
            let end = Instant::now() + length;
            thread::scope(|scope| {
                for visitor in 0..VISITORS {
                    let (options, well, short) = (&options, &well, &short);
                    scope.spawn(move || {
                        let mut dice = Dice(seed << 8 | visitor);
                        while Instant::now() < end {
                            let count = if visit(options, &mut dice) { well } else { short };
                            count.fetch_add(1, Relaxed);
                        }
                    });
                }
                trouble(&mut redis, &mut Dice(seed << 8 | VISITORS), end);
            });
        });
        linked(&machines);
        let mut sample = Sample::take();
        eventually("everything is as at the start", || {
            sample = Sample::take();
            (sample.threads, sample.descriptors) == (first.threads, first.descriptors)
        });
        println!(
            "{:>7.1} s: {} machines came, {} could not join; {} threads, {} descriptors, {} KiB",
            begun.elapsed().as_secs_f64(),
            well.load(Relaxed),
            short.load(Relaxed),
            sample.threads,
            sample.descriptors,
            sample.resident_kib
        );
        resident.push(sample.resident_kib);
    }
    assert!(well.load(Relaxed) > 0, "nobody came");
    let third = resident.len().div_ceil(3);
    let (before, after) = (resident[..third].iter().max(), resident[resident.len() - third..].iter().max());
    let (before, after) = (before.expect("has some"), after.expect("has some"));
    assert!(*after <= before + GROWTH_KIB, "resident memory grew from {before} to {after} KiB");
}
