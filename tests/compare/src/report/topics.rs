//! What the README's section is about: each topic with what it means, a chart where there is one, and
//! the table behind it.

use crate::experiment::Kind;
use crate::figures;
use crate::report::claims::{self, Claim};
use crate::report::details::of_kind;
use crate::report::limits::{DESCRIPTORS, MAPS};
use crate::report::numbers::{thousands, time};
use crate::report::tables;
use crate::results::Results;

/// Makes text of results.
pub type Render = fn(&Results) -> String;

/// What it means, and the table behind it.
pub struct Topic {
    /// Its heading.
    pub title: &'static str,
    /// The file of its chart.
    pub chart: Option<&'static str>,
    /// What can be won or lost.
    pub claims: &'static [Claim],
    /// Why it is so.
    pub why: Render,
    /// The table.
    pub table: Render,
}

/// In the order in which they stand where none is lost.
pub const TOPICS: [Topic; 7] = [
    Topic {
        title: "Memory",
        chart: Some("memory.svg"),
        claims: &[claims::MEMORY],
        why: |_| {
            "A thread keeps the pages of its stack that it once touched, and 16 KiB in the kernel; a task of \
             an event loop keeps only what it will need again. Besides its stack the kernel keeps 7 to 8 KiB \
             for each thread (its task, four mappings); that is not in the figures, and neither is what it \
             keeps for a socket, which is the same for all."
                .into()
        },
        table: |results| {
            let parts = [
                ("KiB for each client, kernel stacks and page tables included", figures::MEMORY_KIB),
                ("Of these, resident", figures::RESIDENT_KIB),
                ("Page tables", figures::PAGE_TABLES_KIB),
                ("Kernel stacks", figures::KERNEL_STACK_KIB),
                ("Threads of the server", figures::THREADS),
            ];
            by_size(results, Kind::Push, &parts)
        },
    },
    Topic {
        title: "The most clients held",
        chart: None,
        claims: &[claims::HELD],
        why: |results| {
            let limit = |name| results.machine.limit(name).map_or("limited".into(), thousands);
            format!(
                "A thread takes four memory mappings, and `{MAPS}` is {}; an event loop ends at its \
                 descriptors, and the number of those is {}.",
                limit(MAPS),
                limit(DESCRIPTORS)
            )
        },
        table: |results| {
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
                "Within this machine's limits. `≥`: the load generator ran out of descriptors first. Missed \
                 and late are ticks of three rounds.\n\n{table}"
            )
        },
    },
    Topic {
        title: "Connecting",
        chart: None,
        claims: &[claims::CONNECT],
        why: |results| {
            let limited = results.samples.iter().any(|sample| {
                let bound = sample.figures.get(figures::CONNECT_LOAD_BOUND);
                bound == Some(&1.0)
            });
            let doubt = " The load generator was often at its own limit: where, is said at the end.";
            format!(
                "For each client a thread must be started, with a stack of its own; an event loop only adds a \
                 task.{}",
                if limited { doubt } else { "" }
            )
        },
        table: |results| {
            let seconds = [("Seconds to connect all clients", figures::CONNECT_S)];
            by_size(results, Kind::Push, &seconds)
        },
    },
    Topic {
        title: "Echo",
        chart: Some("echo.svg"),
        claims: &[claims::ECHO_RATE, claims::ECHO_TIME],
        why: |_| {
            "With one connection, both wake an idle core for each message, which is most of the time. With \
             50 or more, each message wakes a thread, while a loop takes many messages each time that it is \
             woken."
                .into()
        },
        table: |results| {
            let parts = [
                ("Echoes a second", figures::RATE),
                ("Server CPU for an echo, µs", figures::CPU_US),
                ("Round trips, µs, p50", figures::P50_US),
                ("Round trips, µs, p99", figures::P99_US),
                ("Round trips, µs, p99.9", figures::P999_US),
            ];
            by_size(results, Kind::Echo, &parts)
        },
    },
    Topic {
        title: "CPU of a push",
        chart: Some("cpu.svg"),
        claims: &[claims::CPU],
        why: |_| {
            "Waking is what costs: `threadcast-handoff` wakes a thread for each client, `tokio-2` a task. \
             `threadcast` and `tokio-direct` wake neither; the one who pushes writes to the sockets itself, \
             and then it matters little who waits behind them. `floor` is a bare loop over the sockets; what \
             is within a tenth of it, above or below, is noise."
                .into()
        },
        table: |results| {
            let cpu = [("Milliseconds of server CPU for a round of pushes", figures::CPU_MS)];
            by_size(results, Kind::Push, &cpu)
        },
    },
    Topic {
        title: "Spread of a push",
        chart: Some("spread.svg"),
        claims: &[claims::SPREAD],
        why: |results| {
            format!(
                "The last client waits for all the others to be served, so the spread is the round's work \
                 divided by the cores that share it, of which this machine has {}. The load generator rests \
                 meanwhile: the kernel tells when each push arrived.",
                results.machine.cores
            )
        },
        table: |results| {
            let parts = [
                ("Milliseconds from the first to the last arrival of a round", figures::SPREAD_MS),
                ("Until half of the clients had it", figures::SPREAD_P50_MS),
                ("Until 99 % of the clients had it", figures::SPREAD_P99_MS),
            ];
            by_size(results, Kind::Push, &parts)
        },
    },
    Topic {
        title: "A handler that blocks",
        chart: Some("blocked.svg"),
        claims: &[claims::BLOCKED],
        why: |_| {
            "250 ms is the interval itself: nobody waited. A thread that sleeps or computes holds up nobody \
             but its own client, as long as there is a core left; an event loop holds up all that share the \
             loop. A handler that awaits instead holds up nobody; this is about code that cannot. Python's \
             threads share one lock, and feel it."
                .into()
        },
        table: |results| {
            let columns =
                [("while one sleeps", figures::SLEEP_GAP_MS), ("while one spins", figures::SPIN_GAP_MS)];
            let gaps = of_kind(results, Kind::Blocked, &columns);
            let time = time(results.times.block);
            format!(
                "Longest gap between two pushes, in ms, that any other client saw while one client's \
                 handler blocked for {time} (pushes come every 250 ms):\n\n{gaps}"
            )
        },
    },
];

/// A table for each of these figures, under its heading.
fn by_size(results: &Results, kind: Kind, figures: &[(&str, &str)]) -> String {
    let tables = figures.iter().filter_map(|(heading, figure)| {
        let table = tables::by_size(results, kind, figure).markdown();
        (!table.is_empty()).then(|| format!("{heading}:\n\n{table}"))
    });
    tables.collect::<Vec<_>>().join("\n")
}
