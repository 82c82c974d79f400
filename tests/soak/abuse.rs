//! Mixed abuse beside honest clients: steady clients miss nothing, newcomers get service, and at the end the program is
//! as before. `make soak` takes its time from its argument, and checks times; among the other tests it takes seconds,
//! and only counts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;

use crate::abusers::{self, BULK, DEFLATE, Stop, TOKEN, Tally, publish};
use crate::support::deflate::inflated;
use crate::support::{DEADLINE, Program, Raw, eventually, get, masked, sockets, status, threads, upgrade};

/// The default length in seconds, as part of all tests.
const SECONDS: u64 = 8;
/// Steady clients, and how many of them come from one address.
const HONEST: usize = 500;
const OF_ONE_ADDRESS: usize = 5;
/// One client in this number has compression.
const COMPRESSED: usize = 10;
/// Addresses from which honest clients come and go.
const NEWCOMERS: usize = 4;

/// The program's `--max-clients`, and in addition places for requests, the pumps, and its own threads.
const CAPACITY: usize = 2000;
const MOST_THREADS: usize = CAPACITY + 16 + CAPACITY / 8 + 20;
/// Its `--interval`, and the time between two messages to all.
const INTERVAL: Duration = Duration::from_millis(100);
const PUBLISHED_EVERY: Duration = Duration::from_millis(250);
/// The beginning of each message to all; a number follows.
const PUBLISHED: &str = "published ";
/// Bytes of each message to clients that do not read.
const BULK_SIZE: usize = 1_000_000;
/// The longest time between two pushes to a client, and the 99th percentile of newcomers' waits for their 101.
const LATE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(1);
/// How far resident memory may exceed its value before, in KiB: glibc keeps up to 40 MiB of stacks of threads that have
/// ended, and a little in each of its arenas.
const GROWTH_KIB: u64 = 48 << 10;

// ---- honest clients ----

/// All that the honest clients have seen together.
#[derive(Default)]
struct Book {
    /// Each push that any of them got, as sent: times, in order.
    pushes: Mutex<BTreeSet<String>>,
}

/// All that one honest client has seen.
struct Seen {
    first: String,
    last: String,
    pushes: usize,
    /// The number in the last published message, and their count.
    published: u64,
    longest_gap: Duration,
}

impl Book {
    /// Enters a push that followed `before` at this client. It has missed all pushes of others between the two.
    fn enter(&self, n: usize, before: &str, push: &str) {
        let mut pushes = self.pushes.lock().expect("nobody missed one");
        let next = pushes.range::<str, _>((Excluded(before), Unbounded)).next();
        if !before.is_empty() {
            assert!(before < push, "client {n} got {push} behind {before}");
            assert!(
                next.is_none_or(|next| next == push),
                "client {n} missed {next:?} between {before} and {push}"
            );
        }
        if !pushes.contains(push) {
            pushes.insert(push.to_owned());
        }
    }

    /// The last push that any client got.
    fn last(&self) -> String {
        self.pushes.lock().expect("nobody missed one").last().expect("there are some").clone()
    }

    fn len(&self) -> usize {
        self.pushes.lock().expect("nobody missed one").len()
    }
}

/// Reads everything until the program ends, or closes the connection.
fn honest(n: usize, mut raw: Raw, book: &Book, inside: &AtomicU64) -> Seen {
    let (first, last) = (String::new(), String::new());
    let mut seen = Seen { first, last, pushes: 0, published: 0, longest_gap: Duration::ZERO };
    let mut before = Instant::now();
    while let Some(frame) = raw.frame_or_end() {
        let payload = match frame.first {
            0x81 => frame.payload,
            0xc1 => inflated(&frame.payload, 15),
            0x88 => {
                raw.send_frame(0x88, frame.payload);
                continue;
            }
            0x89 => {
                raw.send_frame(0x8a, frame.payload);
                continue;
            }
            other => panic!("client {n} got a frame that begins with {other:#x}"),
        };
        let text = String::from_utf8(payload).expect("is text");
        if let Some(number) = text.strip_prefix(PUBLISHED) {
            assert_eq!(number.trim_end().parse(), Ok(seen.published + 1), "client {n}");
            seen.published += 1;
            continue;
        }
        book.enter(n, &seen.last, &text);
        if seen.pushes == 0 {
            seen.first = text.clone();
            inside.fetch_add(1, Ordering::Release);
        } else {
            seen.longest_gap = seen.longest_gap.max(before.elapsed());
        }
        (seen.last, seen.pushes, before) = (text, seen.pushes + 1, Instant::now());
    }
    seen
}

/// Connects, gets a push, closes, fetches a page, and repeats. Returns its waits for each 101.
fn newcomer(n: u8, addr: SocketAddr, stop: &Stop) -> Vec<Duration> {
    let mut waits = Vec::new();
    let pause =
        |millis| stop.recv_timeout(Duration::from_millis(millis)).is_err_and(|error| error.is_timeout());
    loop {
        let begun = Instant::now();
        let raw = Raw::connect_from_ip([127, 0, 2, n], addr);
        // Some send their request late.
        let thought = 150 * (waits.len() as u64 % 2);
        pause(thought);
        let mut raw = raw.upgraded(&format!("/websocket?Id=newcomer-{n}"));
        waits.push(begun.elapsed().saturating_sub(Duration::from_millis(thought)));
        assert_eq!(raw.frame().first, 0x81);
        raw.send_frame(0x88, 1000u16.to_be_bytes());
        raw.rest();
        let mut raw = Raw::connect_from_ip([127, 0, 2, n], addr);
        raw.send(get("/", "Connection: close\r\n"));
        assert_eq!(status(&raw.head()), 200);
        if !pause(50) {
            return waits;
        }
    }
}

/// Publishes, over a connection for each message.
struct Publisher {
    addr: SocketAddr,
    /// The last number that was published.
    number: u64,
}

impl Publisher {
    /// Publishes. Returns how many clients got it.
    fn post(&self, topic: &str, body: &str) -> u64 {
        let mut raw = Raw::connect_from_ip([127, 0, 3, 1], self.addr);
        raw.send(publish(TOKEN, topic, body.len()) + body);
        let (head, body) = raw.response();
        assert_eq!(status(&head), 200, "{head}");
        number(&serde_json::from_slice(&body).expect("is JSON"), "local")
    }

    /// Publishes the next number to all.
    fn count(&mut self) {
        self.number += 1;
        let local = self.post("all", &format!("{PUBLISHED}{:<200}", self.number));
        assert!(local >= HONEST as u64, "{local} clients got {}", self.number);
    }

    /// Keeps counting, and publishes much to clients that do not read.
    fn run(&mut self, stop: &Stop) {
        let bulk = "a".repeat(BULK_SIZE);
        while stop.recv_timeout(PUBLISHED_EVERY).is_err_and(|error| error.is_timeout()) {
            self.count();
            self.post(BULK, &bulk);
        }
    }
}

// ---- the samples ----

/// The program's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    threads: usize,
    descriptors: usize,
    sockets: usize,
    resident_kib: u64,
}

impl Sample {
    fn take(pid: u32) -> Sample {
        let count = |what| fs::read_dir(format!("/proc/{pid}/{what}")).expect("the program is alive").count();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the program is alive");
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("has a size");
        Sample {
            threads: count("task"),
            descriptors: count("fd"),
            sockets: sockets(pid),
            resident_kib: resident.trim_end_matches("kB").trim().parse().expect("a number"),
        }
    }

    /// The maximum of each.
    fn or_more(self, other: Sample) -> Sample {
        Sample {
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
            sockets: self.sockets.max(other.sockets),
            resident_kib: self.resident_kib.max(other.resident_kib),
        }
    }
}

/// Samples the program's resources often, until `stop`.
fn watch(pid: u32, stop: &Stop) -> Sample {
    let mut most = Sample::take(pid);
    while stop.recv_timeout(Duration::from_millis(50)).is_err_and(|error| error.is_timeout()) {
        most = most.or_more(Sample::take(pid));
        assert!(most.threads <= MOST_THREADS, "{} threads", most.threads);
    }
    most
}

/// How many of these threads belong to clients.
fn of_clients(names: &[String]) -> usize {
    names.iter().filter(|name| name.starts_with("client-")).count()
}

/// Waits until only the honest clients and their resources are left, or says what else is.
fn settle(pid: u32, before: Sample) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (names, now) = (threads(pid), Sample::take(pid));
        let clients = of_clients(&names);
        let is_settled = clients == HONEST
            && (now.threads, now.sockets) == (before.threads, before.sockets)
            && now.descriptors <= before.descriptors;
        if is_settled {
            return;
        }
        assert!(Instant::now() < deadline, "{now:?} is not {before:?}, {clients} clients: {names:?}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn stats(addr: SocketAddr) -> Value {
    let mut raw = Raw::connect(addr);
    raw.send(get("/stats", "Connection: close\r\n"));
    let (head, body) = raw.response();
    assert_eq!(status(&head), 200, "{head}");
    serde_json::from_slice(&body).expect("is JSON")
}

fn number(stats: &Value, name: &str) -> u64 {
    let found = name.split('.').fold(stats, |value, name| &value[name]);
    found.as_u64().unwrap_or_else(|| panic!("{name} in {stats}"))
}

fn sum(stats: &Value, name: &str) -> u64 {
    stats[name].as_object().expect("numbers").values().map(|value| value.as_u64().expect("a number")).sum()
}

/// Checks that the counters add up while nobody comes or goes.
fn add_up(stats: &Value, unauthorized: u64) {
    assert!(number(stats, "bytes") < number(stats, "bytes_uncompressed"), "nothing was compressed: {stats}");
    let of = |name: &str| number(stats, name);
    // The client that asks is one.
    assert_eq!(of("clients"), HONEST as u64 + 1, "{stats}");
    assert_eq!(of("accepted"), of("clients") + sum(stats, "disconnects"), "{stats}");
    assert_eq!(of("refused"), sum(stats, "refusals"), "{stats}");
    let slow = ["overflow", "stalled", "no_pump"].map(|name| of(&format!("disconnects.{name}")));
    assert_eq!(of("slow_consumers"), slow.iter().sum::<u64>(), "{stats}");
    assert!(of("refusals.half_open") > 0, "the flood was not refused: {stats}");
    assert!(of("unauthorized") >= unauthorized && unauthorized > 0, "{unauthorized} were told: {stats}");
    assert_eq!((of("refusals.full"), of("disconnects.panicked")), (0, 0), "{stats}");
}

// ---- the test ----

fn raise_the_limit_of_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
}

/// Connects from one of the honest addresses.
fn come(n: usize, addr: SocketAddr) -> Raw {
    let mut raw = Raw::connect_from_ip([127, 0, 1, 1 + (n / OF_ONE_ADDRESS) as u8], addr);
    let more = if n.is_multiple_of(COMPRESSED) { DEFLATE } else { "" };
    raw.send(upgrade(&format!("/websocket?Id=honest-{n}"), more));
    let head = raw.head();
    assert_eq!(
        (status(&head), head.contains("permessage-deflate")),
        (101, n.is_multiple_of(COMPRESSED)),
        "{head}"
    );
    raw
}

/// A client that comes and goes: after that, the threads that start only once are running.
fn warm_up(addr: SocketAddr) {
    let mut raw = Raw::websocket(addr, "/websocket?Id=first");
    raw.frame();
    raw.send(masked(0x88, b""));
    raw.rest();
}

#[test]
fn beside_all_kinds_of_abuse_the_honest_miss_nothing_and_afterwards_the_program_is_as_it_was() {
    let _alone = crate::alone();
    raise_the_limit_of_descriptors();
    let asked = env::var("THREADCAST_ABUSE_SECONDS").ok();
    let seconds = asked.as_ref().map(|text| text.parse().expect("THREADCAST_ABUSE_SECONDS is a number"));
    let mut command = Program::command();
    command.env("GLIBC_TUNABLES", crate::TUNABLES).env("TZ", "UTC").env("THREADCAST_PUBLISH_TOKEN", TOKEN);
    command.args(["--port", "0", "--address", "127.0.0.1", "--compression", "16B"]);
    command.args([
        "--max-clients",
        &CAPACITY.to_string(),
        "--interval",
        &format!("{}ms", INTERVAL.as_millis()),
    ]);
    let program = Program::spawn(&mut command);
    let (addr, pid) = (program.addr(), program.pid());
    warm_up(addr);

    let (book, inside) = (Book::default(), AtomicU64::new(0));
    let (lines, last, published, seen) = thread::scope(|scope| {
        // On any failure, the threads in this scope end with the program.
        let program = program;
        let clients: Vec<_> = (0..HONEST)
            .map(|n| {
                let (raw, book, inside) = (come(n, addr), &book, &inside);
                scope.spawn(move || honest(n, raw, book, inside))
            })
            .collect();
        eventually("the honest have a push each", || inside.load(Ordering::Acquire) == HONEST as u64);
        // The first one starts the threads that share it.
        let mut publisher = Publisher { addr, number: 0 };
        publisher.count();
        let (rounds, pushes) = (number(&stats(addr), "rounds"), book.len());
        eventually("no other client is connected", || of_clients(&threads(pid)) == HONEST);
        let before = Sample::take(pid);

        let abuse = run_abuse(addr, pid, &mut publisher, Duration::from_secs(seconds.unwrap_or(SECONDS)));
        let gone = clients.iter().position(|client| client.is_finished());
        assert_eq!(gone, None, "this honest client has ended, see above");

        settle(pid, before);
        let after = Sample::take(pid);
        println!("before {before:?}\nat most {:?}\nafter {after:?}", abuse.most);
        let numbers = stats(addr);
        println!("{numbers}");
        add_up(&numbers, abuse.unauthorized);
        let (rounds, pushes) = (number(&numbers, "rounds") - rounds, (book.len() - pushes) as u64);
        assert!(rounds.abs_diff(pushes) <= 2, "{rounds} rounds, {pushes} pushes");
        assert!(
            after.resident_kib <= before.resident_kib + GROWTH_KIB,
            "{} KiB are resident, {} before",
            after.resident_kib,
            before.resident_kib
        );
        // That takes a while.
        let slow = number(&numbers, "slow_consumers");
        assert!(seconds.is_none() || slow > 0, "nobody was too slow: {numbers}");
        abuse.judge(seconds.is_some());

        let last = book.last();
        eventually("all have that push, because a later one has come", || book.last() > last);
        program.signal(Signal::TERM);
        let (code, lines) = program.run_to_its_end();
        assert_eq!(code, Some(0));
        let seen: Vec<_> = clients.into_iter().map(|client| client.join().expect("misses nothing")).collect();
        (lines, last, publisher.number, seen)
    });

    let pushes = book.pushes.lock().expect("nobody missed one");
    for (n, seen) in seen.iter().enumerate() {
        let expected = pushes.range(seen.first.clone()..=seen.last.clone()).count();
        assert_eq!(seen.pushes, expected, "client {n}");
        assert!(seen.last >= last, "client {n} got no push after {}", seen.last);
        assert_eq!(seen.published, published, "client {n}");
    }
    let gap = seen.iter().map(|seen| seen.longest_gap).max().expect("there are some");
    println!(
        "{HONEST} honest clients, {} pushes, at most {gap:?} apart, {published} messages; {} lines of the log",
        pushes.len(),
        lines.len()
    );
    assert!(seconds.is_none() || gap < LATE, "nothing for {gap:?}");
    let bad = ["panicked at", "fatal runtime", "overflowed its stack"];
    let is_bad = |line: &&String| {
        bad.iter().any(|text| line.contains(text))
            || line.contains(|char: char| {
                char.is_control() || "\u{202e}\u{200b}\u{feff}\u{e0041}".contains(char)
            })
    };
    assert_eq!(lines.iter().find(is_bad), None);
}

/// The result of the abuse.
struct Abuse {
    most: Sample,
    waits: Vec<Duration>,
    unauthorized: u64,
    tally: Vec<(&'static str, u64, u64)>,
}

/// Everything at once, for this long.
fn run_abuse(addr: SocketAddr, pid: u32, publisher: &mut Publisher, time: Duration) -> Abuse {
    let (running, stop) = crossbeam_channel::bounded(0);
    let (tally, unauthorized) = (Tally::default(), AtomicU64::new(0));
    let (most, waits) = thread::scope(|scope| {
        abusers::start(scope, addr, &stop, &tally, &unauthorized);
        let newcomers: Vec<_> = (1..=NEWCOMERS as u8)
            .map(|n| {
                let stop = &stop;
                scope.spawn(move || newcomer(n, addr, stop))
            })
            .collect();
        let publishing = scope.spawn(|| publisher.run(&stop));
        // The watch runs on this thread.
        let end = scope.spawn(move || {
            let never = crossbeam_channel::never::<()>();
            let _ = never.recv_timeout(time);
            drop(running);
        });
        let most = watch(pid, &stop);
        end.join().expect("it waits");
        let waits = newcomers.into_iter().flat_map(|newcomer| newcomer.join().expect("is served")).collect();
        publishing.join().expect("publishes");
        (most, waits)
    });
    let tally = tally.into_inner().expect("nothing panics under it");
    let tally = tally.into_iter().map(|(what, (well, short))| (what, well, short)).collect();
    Abuse { most, waits, unauthorized: unauthorized.into_inner(), tally }
}

impl Abuse {
    fn judge(&self, with_times: bool) {
        for (what, well, short) in &self.tally {
            println!("{what:>28}: {well:>8}, and {short} cut short");
            assert!(*well > 0, "no abuser who {what} completed");
        }
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let (half, most) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        println!("{} newcomers; half have their 101 within {half:?}, 99 % within {most:?}", waits.len());
        assert!(!with_times || most < SOON, "{most:?}");
    }
}
