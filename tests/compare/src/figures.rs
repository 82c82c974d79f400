//! The result of an experiment: named numbers. This file lists the names.

use std::collections::BTreeMap;

/// Numbers by name.
pub type Figures = BTreeMap<String, f64>;

/// Seconds until all clients were connected.
pub const CONNECT_S: &str = "connect_s";
/// 1 if the load generator had no time to spare while connecting, including waits for its core.
pub const CONNECT_LOAD_BOUND: &str = "connect_load_bound";
/// Server CPU for one round of pushes, in milliseconds.
pub const CPU_MS: &str = "cpu_ms";
/// First to last arrival of a round, in milliseconds: the median of the rounds.
pub const SPREAD_MS: &str = "spread_ms";
/// Time after the first arrival by which half of the clients had the push, in milliseconds.
pub const SPREAD_P50_MS: &str = "spread_p50_ms";
/// The 99th percentile of the clients.
pub const SPREAD_P99_MS: &str = "spread_p99_ms";
/// Bytes on the wire of a push to one client, including the frame's header.
pub const WIRE_BYTES: &str = "wire_bytes";
/// Ticks that clients should have received.
pub const EXPECTED: &str = "expected";
/// Expected ticks that never came.
pub const MISSED: &str = "missed";
/// Ticks that came more than half an interval after the time that they carry.
pub const LATE: &str = "late";
/// Resident memory for each client, in KiB.
pub const RESIDENT_KIB: &str = "resident_kib";
/// Page tables for each client, in KiB.
pub const PAGE_TABLES_KIB: &str = "page_tables_kib";
/// Kernel stacks for each client, in KiB.
pub const KERNEL_STACK_KIB: &str = "kernel_stack_kib";
/// The sum of the three above.
pub const MEMORY_KIB: &str = "memory_kib";
/// Server CPU for one client that connects, in microseconds, including pushes to those that are there.
pub const CONNECT_CPU_US: &str = "connect_cpu_us";
/// Memory mappings of the server for each client.
pub const MAPPINGS: &str = "mappings";
/// Descriptors of the server for each client.
pub const DESCRIPTORS: &str = "descriptors";
/// Threads of the server.
pub const THREADS: &str = "threads";
/// Times that the kernel put a thread of the server on a core, for each round.
pub const SWITCHES: &str = "switches";
/// Echoes a second.
pub const RATE: &str = "rate";
/// Round trip of an echo, in microseconds: the median.
pub const P50_US: &str = "p50_us";
/// The 99th percentile.
pub const P99_US: &str = "p99_us";
/// The 99.9th percentile.
pub const P999_US: &str = "p999_us";
/// Server CPU for one echo, in microseconds.
pub const CPU_US: &str = "cpu_us";
/// Server CPU for one client that comes and goes, in microseconds, including its pushes to the others.
pub const COMING_US: &str = "coming_us";
/// The longest gap between ticks that another client saw while a handler slept, in milliseconds.
pub const SLEEP_GAP_MS: &str = "sleep_gap_ms";
/// The longest gap while a handler burned CPU.
pub const SPIN_GAP_MS: &str = "spin_gap_ms";
/// Growth of the server's resident memory, in MiB.
pub const GROWTH_MIB: &str = "growth_mib";
/// Clients that never read and are still connected.
pub const KEPT: &str = "kept";
/// The longest gap between ticks that a healthy client saw, in milliseconds.
pub const GAP_MS: &str = "gap_ms";
/// Clients that were connected together, and got their ticks.
pub const HELD: &str = "held";
/// Clients that were refused with an HTTP status.
pub const REFUSED: &str = "refused";
/// Connections that were neither accepted nor refused: reset, or never answered.
pub const UNCLEAN: &str = "unclean";
/// Clients that had been accepted and lost their connection.
pub const LOST: &str = "lost";
/// 1 if the load generator itself could not open more clients.
pub const LOAD_LIMITED: &str = "load_limited";
/// CPU of the server in percent of a core.
pub const CPU_PERCENT: &str = "cpu_percent";
/// The load generator's own share of a core: of the time of the echoes, or of the interval in which a round must be
/// read.
pub const LOAD_BUSY: &str = "load_busy";
/// Its share of a core, including the time that it waited for one.
pub const LOAD_WANTED: &str = "load_wanted";
/// 1 if its share was so large that it could not do more.
pub const LOAD_BOUND: &str = "load_bound";

/// The headings of figures in tables.
const HEADINGS: [(&str, &str); 33] = [
    (CONNECT_S, "time to connect all, s"),
    (CONNECT_CPU_US, "CPU of a connect, µs"),
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
    (MAPPINGS, "memory mappings of a client"),
    (DESCRIPTORS, "descriptors of a client"),
    (THREADS, "threads of the server"),
    (SWITCHES, "context switches of a push"),
    (RATE, "echoes a second"),
    (P50_US, "time of an echo, µs"),
    (P99_US, "99th percentile"),
    (P999_US, "99.9th percentile"),
    (CPU_US, "CPU of an echo, µs"),
    (COMING_US, "CPU of a client that comes and goes, µs"),
    (SLEEP_GAP_MS, "longest gap between pushes (usually 250) while another handler sleeps, ms"),
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

/// Returns the heading of a figure.
pub fn heading(figure: &str) -> &str {
    HEADINGS.iter().find(|(name, _)| *name == figure).map_or(figure, |(_, heading)| heading)
}

/// Whether a higher figure is better.
pub fn more_is_better(figure: &str) -> bool {
    [RATE, HELD].contains(&figure)
}

/// Whether a figure counts failures: then the sum of all turns is relevant, rather than the median.
pub fn is_counted_up(figure: &str) -> bool {
    [MISSED, LATE, UNCLEAN, LOST].contains(&figure)
}

/// Returns the sizes, of these, at which a ratio of this figure is meaningful. The time of an echo is so with the
/// fewest connections; with more it repeats the rate, or shows which clients an unfair server prefers. The time to
/// connect is so with the most clients; fewer connect in a fraction of a second, and a turn has only one such time.
pub fn telling_sizes(figure: &str, mut sizes: Vec<usize>) -> Vec<usize> {
    match figure {
        P50_US => sizes.truncate(1),
        CONNECT_S => drop(sizes.drain(..sizes.len().saturating_sub(1))),
        _ => {}
    }
    sizes
}

/// The share of a core from which on the load generator has no time to spare.
const BOUND: f64 = 0.9;

/// Adds the load generator's own use.
pub fn add_load(figures: &mut Figures, (busy, wanted): (f64, f64)) {
    figures.insert(LOAD_BUSY.into(), busy);
    figures.insert(LOAD_WANTED.into(), wanted);
    figures.insert(LOAD_BOUND.into(), load_bound(busy));
}

/// 1 if this share of a core leaves the load generator no time to spare; otherwise 0.
pub fn load_bound(share: f64) -> f64 {
    f64::from(share >= BOUND)
}
