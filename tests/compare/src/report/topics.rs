//! What the README's section is about: the charts, each with what it means and the table behind it,
//! and the tables that need no chart.

use crate::experiment::Experiment;
use crate::experiment::FEW;
use crate::experiment::Kind;
use crate::experiment::Pushes;
use crate::figures;
use crate::interval::show_interval;
use crate::report::claims;
use crate::report::claims::Claim;
use crate::report::numbers::thousands;
use crate::report::tables;
use crate::results::Results;

/// Makes text of results.
type Render = fn(&Results) -> String;

/// A chart, what it means, and the table behind it.
pub struct Topic {
    /// Its heading.
    pub title: &'static str,
    /// The file of its chart.
    pub chart: &'static str,
    /// What can be won or lost.
    pub claims: &'static [Claim],
    /// Why it is so.
    pub why: &'static str,
    /// The table behind the chart.
    pub table: Render,
}

/// In the order in which they stand where none is lost.
pub const TOPICS: [Topic; 5] = [
    Topic {
        title: "Memory",
        chart: "memory.svg",
        claims: &[claims::MEMORY],
        why: "A thread keeps the pages of its stack that it once touched, and 16 KiB in the kernel; \
              a task of an event loop keeps only what it will need again.",
        table: |results| {
            let all = tables::by_size(results, Kind::Push, figures::MEMORY_KIB).markdown();
            let wanted = [figures::RESIDENT_KIB, figures::PAGE_TABLES_KIB, figures::KERNEL_STACK_KIB];
            let unit = "KiB, resident / page tables / kernel stacks";
            let parts = tables::joined(results, Kind::Push, unit, &wanted).markdown();
            let threads = tables::by_size(results, Kind::Push, figures::THREADS).markdown();
            format!(
                "KiB for each client, kernel stacks and page tables included:\n\n{all}\n\
                 The parts:\n\n{parts}\nThreads of the server:\n\n{threads}"
            )
        },
    },
    Topic {
        title: "Echo",
        chart: "echo.svg",
        claims: &[claims::ECHO_RATE, claims::ECHO_TIME],
        why: "Each message wakes the thread that is blocked for it, where an event loop with much to do takes \
              many sockets from one system call.",
        table: |results| {
            let rate = tables::by_size(results, Kind::Echo, figures::RATE).markdown();
            let wanted = [figures::P50_US, figures::P99_US, figures::P999_US];
            let times = tables::joined(results, Kind::Echo, "µs, p50 / p99 / p99.9", &wanted);
            format!("Echoes a second:\n\n{rate}\nRound trips:\n\n{}", times.markdown())
        },
    },
    Topic {
        title: "CPU of a push",
        chart: "cpu.svg",
        claims: &[claims::CPU],
        why: "Blocked threads cost nothing until they are woken, and inline delivery wakes none: the \
              thread that pushes writes to the sockets itself. `threadcast-handoff` shows what waking \
              costs, `floor` what the kernel alone charges.",
        table: |results| {
            let cpu = tables::by_size(results, Kind::Push, figures::CPU_MS).markdown();
            format!("Milliseconds of server CPU for a round of pushes:\n\n{cpu}")
        },
    },
    Topic {
        title: "Spread of a push",
        chart: "spread.svg",
        claims: &[claims::SPREAD],
        why: "The last client waits for all the others to be served, so the spread is the round's work \
              divided by the cores that share it. The load generator takes a core of its own.",
        table: |results| {
            let spread = tables::by_size(results, Kind::Push, figures::SPREAD_MS).markdown();
            let wanted = [figures::SPREAD_P50_MS, figures::SPREAD_P99_MS];
            let shares = tables::joined(results, Kind::Push, "ms, p50 / p99", &wanted);
            format!(
                "Milliseconds from the first to the last arrival of a round:\n\n{spread}\n\
                 Until half and 99 % of the clients had it:\n\n{}",
                shares.markdown()
            )
        },
    },
    Topic {
        title: "A handler that blocks",
        chart: "blocked.svg",
        claims: &[claims::BLOCKED],
        why: "A thread that sleeps or computes holds up nobody but its own client, as long as there is \
              a core left; an event loop holds up all that share the loop.",
        table: |results| {
            let columns =
                [("while one sleeps", figures::SLEEP_GAP_MS), ("while one spins", figures::SPIN_GAP_MS)];
            let gaps = of_kind(results, Kind::Blocked, &columns);
            let time = show_interval(results.times.block);
            format!(
                "Longest gap between two pushes, in ms, that any other client saw while one client's \
                 handler blocked for {time} (pushes come every 250 ms):\n\n{gaps}"
            )
        },
    },
];

/// The tables that need no chart, folded away.
pub const DETAILS: [(&str, Render); 5] = [
    ("Missed and late ticks", |results| {
        let wanted = [figures::MISSED, figures::LATE];
        let ticks = tables::joined_totals(results, Kind::Push, "missed / late, by clients", &wanted);
        format!(
            "In all {} turns together. {} A tick is late when half an interval has passed.\n\n{}",
            results.rounds,
            pushes(results),
            ticks.markdown()
        )
    }),
    ("Context switches for each round of pushes", |results| {
        tables::by_size(results, Kind::Push, figures::SWITCHES).markdown()
    }),
    ("Seconds to connect all clients", |results| {
        tables::by_size(results, Kind::Push, figures::CONNECT_S).markdown()
    }),
    ("Clients that never read", |results| {
        let columns = [
            ("memory grew by MiB", figures::GROWTH_MIB),
            ("of them still connected", figures::KEPT),
            ("longest gap of a healthy client, ms", figures::GAP_MS),
        ];
        let time = show_interval(results.times.stall);
        let table = of_kind(results, Kind::Stalled, &columns);
        format!(
            "Ten of them, pushes of 64 KiB every 50 ms, after {time}. All servers were up at the same time, and \
             shared the cores.\n\n{table}"
        )
    }),
    ("The most clients held", |results| {
        let columns = [
            ("held", figures::HELD),
            ("refused", figures::REFUSED),
            ("failed", figures::UNCLEAN),
            ("lost", figures::LOST),
            ("missed", figures::MISSED),
            ("late", figures::LATE),
        ];
        let table = of_kind(results, Kind::Hold, &columns);
        format!(
            "Within this machine's limits. `≥`: the load generator ran out of descriptors first. Missed and \
             late are ticks of three rounds.\n\n{table}"
        )
    }),
];

/// How many pushes a turn has, and how fast they come.
fn pushes(results: &Results) -> String {
    let (few, many) = (results.times.few, results.times.many);
    let sizes = results.sizes(Kind::Push);
    let say =
        |pushes: Pushes| format!("{} pushes, one each {}", pushes.count, show_interval(pushes.interval));
    let (least, most) = (thousands(FEW as i64), say(many));
    match (sizes.first().is_some_and(|size| *size <= FEW), sizes.last().is_some_and(|size| *size > FEW)) {
        (true, true) if few != many => {
            format!("A turn has {} for up to {least} clients, and {most} for more.", say(few))
        }
        (true, _) => format!("A turn has {}.", say(few)),
        _ => format!("A turn has {most}."),
    }
}

/// Figures of the one size in which this kind was measured.
fn of_kind(results: &Results, kind: Kind, columns: &[(&str, &str)]) -> String {
    let sizes = results.sizes(kind);
    let tables =
        sizes.iter().map(|size| tables::by_figure(results, Experiment::new(kind, *size), columns).markdown());
    tables.collect()
}
