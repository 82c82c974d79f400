//! What an experiment yields: named numbers. This file is the list of the names.

use std::collections::BTreeMap;

/// Numbers by name.
pub type Figures = BTreeMap<String, f64>;

/// Seconds until all clients were connected.
pub const CONNECT_S: &str = "connect_s";
/// 1 if the load generator had no time to spare meanwhile, its waiting for its core included.
pub const CONNECT_LOAD_BOUND: &str = "connect_load_bound";
/// Server CPU for one round of pushes, in milliseconds.
pub const CPU_MS: &str = "cpu_ms";
/// First to last arrival of a round, in milliseconds: the median of the rounds.
pub const SPREAD_MS: &str = "spread_ms";
/// Time after the first arrival by which half of the clients had the push, in milliseconds.
pub const SPREAD_P50_MS: &str = "spread_p50_ms";
/// The same for 99 % of the clients.
pub const SPREAD_P99_MS: &str = "spread_p99_ms";
/// Bytes that a push to one client has on the wire, the frame's header included.
pub const WIRE_BYTES: &str = "wire_bytes";
/// Ticks that clients should have got.
pub const EXPECTED: &str = "expected";
/// Of those, the ones that never came.
pub const MISSED: &str = "missed";
/// Ticks that came more than half an interval after the time that they carry.
pub const LATE: &str = "late";
/// Resident memory for each client, in KiB.
pub const RESIDENT_KIB: &str = "resident_kib";
/// Page tables for each client, in KiB.
pub const PAGE_TABLES_KIB: &str = "page_tables_kib";
/// Kernel stacks for each client, in KiB.
pub const KERNEL_STACK_KIB: &str = "kernel_stack_kib";
/// The three above in sum.
pub const MEMORY_KIB: &str = "memory_kib";
/// Descriptors of the server for each client.
pub const DESCRIPTORS: &str = "descriptors";
/// Threads of the server.
pub const THREADS: &str = "threads";
/// Times that a thread of the server was put on a core, for each round.
pub const SWITCHES: &str = "switches";
/// Echoes a second.
pub const RATE: &str = "rate";
/// Round trip of an echo, in microseconds: the median.
pub const P50_US: &str = "p50_us";
/// The same, 99th percentile.
pub const P99_US: &str = "p99_us";
/// The same, 99.9th percentile.
pub const P999_US: &str = "p999_us";
/// Server CPU for one echo, in microseconds.
pub const CPU_US: &str = "cpu_us";
/// Server CPU for one client that comes and goes, in microseconds: its pushes to those that stay included.
pub const COMING_US: &str = "coming_us";
/// Longest time without a tick that another client saw while a handler slept, in milliseconds.
pub const SLEEP_GAP_MS: &str = "sleep_gap_ms";
/// The same while a handler burned CPU.
pub const SPIN_GAP_MS: &str = "spin_gap_ms";
/// Growth of the server's resident memory, in MiB.
pub const GROWTH_MIB: &str = "growth_mib";
/// Clients that never read and are still connected.
pub const KEPT: &str = "kept";
/// Longest time without a tick that a healthy client saw, in milliseconds.
pub const GAP_MS: &str = "gap_ms";
/// Clients that were connected together, and got their ticks.
pub const HELD: &str = "held";
/// Clients that were refused with an HTTP status.
pub const REFUSED: &str = "refused";
/// Connections that were neither accepted nor refused: reset, or never answered.
pub const UNCLEAN: &str = "unclean";
/// Clients that had been accepted and lost their connection.
pub const LOST: &str = "lost";
/// 1 if it was the load generator that could not open more clients.
pub const LOAD_LIMITED: &str = "load_limited";
/// CPU of the server in percent of a core.
pub const CPU_PERCENT: &str = "cpu_percent";
/// Share of a core that the load generator used itself: of the time of the echoes, or of the interval in
/// which a round must be read.
pub const LOAD_BUSY: &str = "load_busy";
/// The same, with the time in which it waited for its core.
pub const LOAD_WANTED: &str = "load_wanted";
/// 1 if what it used itself was so much that it could not do more.
pub const LOAD_BOUND: &str = "load_bound";

/// Figures as tables call them.
const HEADINGS: [(&str, &str); 31] = [
    (CONNECT_S, "time to connect all, s"),
    (CPU_MS, "CPU of a push, ms"),
    (SPREAD_MS, "first to last client of a push, ms"),
    (SPREAD_P50_MS, "until half of the clients have it, ms"),
    (SPREAD_P99_MS, "until 99 % of the clients have it, ms"),
    (WIRE_BYTES, "bytes of a push on the wire"),
    (MISSED, "missed ticks, all turns together"),
    (LATE, "late ticks, all turns together"),
    (RESIDENT_KIB, "of these, resident"),
    (PAGE_TABLES_KIB, "page tables"),
    (KERNEL_STACK_KIB, "kernel stacks"),
    (MEMORY_KIB, "memory of a client, kernel stack included, KiB"),
    (DESCRIPTORS, "descriptors of a client"),
    (THREADS, "threads of the server"),
    (SWITCHES, "context switches of a push"),
    (RATE, "echoes a second"),
    (P50_US, "time of an echo, µs"),
    (P99_US, "99th percentile"),
    (P999_US, "99.9th percentile"),
    (CPU_US, "CPU of an echo, µs"),
    (COMING_US, "CPU of a client that comes and goes, µs"),
    (SLEEP_GAP_MS, "longest gap of others while a handler sleeps, ms"),
    (SPIN_GAP_MS, "while it computes"),
    (GROWTH_MIB, "memory grew by MiB"),
    (KEPT, "still connected"),
    (GAP_MS, "longest gap of a healthy client, ms"),
    (HELD, "most clients held"),
    (REFUSED, "refused"),
    (UNCLEAN, "failed, all turns together"),
    (LOST, "lost, all turns together"),
    (CPU_PERCENT, "CPU, % of a core"),
];

/// Returns what a table calls a figure.
pub fn heading(figure: &str) -> &str {
    HEADINGS.iter().find(|(name, _)| *name == figure).map_or(figure, |(_, heading)| heading)
}

/// Whether more of a figure is better.
pub fn more_is_better(figure: &str) -> bool {
    [RATE, HELD].contains(&figure)
}

/// Whether a figure counts what must not happen: then the sum of all turns tells, rather than the median.
pub fn is_counted_up(figure: &str) -> bool {
    [MISSED, LATE, UNCLEAN, LOST].contains(&figure)
}

/// Returns the sizes, of these, at which a ratio of this figure tells something. The time of an echo does
/// with the fewest connections; with more it is the rate once more, or tells whom an unfair server prefers.
/// The time to connect does with the most clients; fewer are there in a fraction of a second, of which a
/// turn has one.
pub fn telling_sizes(figure: &str, mut sizes: Vec<usize>) -> Vec<usize> {
    match figure {
        P50_US => sizes.truncate(1),
        CONNECT_S => drop(sizes.drain(..sizes.len().saturating_sub(1))),
        _ => {}
    }
    sizes
}

/// Share of a core from which on the load generator has no time to spare.
const BOUND: f64 = 0.9;

/// Adds what the load generator used itself.
pub fn add_load(figures: &mut Figures, (busy, wanted): (f64, f64)) {
    figures.insert(LOAD_BUSY.into(), busy);
    figures.insert(LOAD_WANTED.into(), wanted);
    figures.insert(LOAD_BOUND.into(), load_bound(busy));
}

/// 1 if this share of a core leaves the load generator no time to spare; otherwise 0.
pub fn load_bound(share: f64) -> f64 {
    f64::from(share >= BOUND)
}
