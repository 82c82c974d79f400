//! The tables that need no sentence, folded away.

use std::time::Duration;

use crate::experiment::{Experiment, FEW, Kind, Pushes, SOME};
use crate::figures;
use crate::report::numbers::{every, thousands, time};
use crate::report::tables;
use crate::report::topics::Render;
use crate::results::Results;

/// When `websockets` drops a client that does not read: a ping, and the wait for its answer.
const WEBSOCKETS_PATIENCE: Duration = Duration::from_secs(40);

/// In the order in which they stand.
pub const DETAILS: [(&str, Render); 3] = [
    ("Missed and late ticks", |results| {
        let wanted = [figures::MISSED, figures::LATE];
        let ticks = tables::joined_totals(results, Kind::Push, "missed / late, by clients", &wanted);
        format!(
            "In all turns together. {} A tick is late when half an interval has passed.\n\n{}",
            pushes(results),
            ticks.markdown()
        )
    }),
    ("Context switches for each round of pushes", |results| {
        tables::by_size(results, Kind::Push, figures::SWITCHES).markdown()
    }),
    ("Clients that never read", |results| {
        let columns = [
            ("memory grew by MiB", figures::GROWTH_MIB),
            ("of them still connected", figures::KEPT),
            ("longest gap of a healthy client, ms", figures::GAP_MS),
        ];
        let table = of_kind(results, Kind::Stalled, &columns);
        format!(
            "Ten of them, pushes of 64 KiB every 50 ms, after {}. All servers were up at the same time, and \
             shared the cores.{}\n\n{table}",
            time(results.times.stall),
            late_drop(results)
        )
    }),
];

/// Tells of the variant that drops clients only after this has looked.
fn late_drop(results: &Results) -> String {
    let grows = |size| {
        let experiment = Experiment::new(Kind::Stalled, size);
        results.median("websockets", experiment, figures::GROWTH_MIB).is_some()
    };
    let measured = results.sizes(Kind::Stalled).into_iter().any(grows);
    if !measured || results.times.stall >= WEBSOCKETS_PATIENCE {
        return String::new();
    }
    let patience = time(WEBSOCKETS_PATIENCE);
    format!(
        " `websockets` grows until it drops such a client after {patience} (a ping after 20 s, and 20 s for the \
         answer), which is later than this looks."
    )
}

/// How many pushes a turn has, and how fast they come.
fn pushes(results: &Results) -> String {
    let mut paces: Vec<(Pushes, usize)> = Vec::new();
    for size in results.sizes(Kind::Push) {
        let pushes = results.times.pushes(size);
        let most = [FEW, SOME].into_iter().find(|most| size <= *most).unwrap_or(usize::MAX);
        match paces.last_mut() {
            Some(last) if last.0 == pushes => last.1 = most,
            _ => paces.push((pushes, most)),
        }
    }
    let all = paces.len();
    let parts = paces.into_iter().enumerate().map(|(place, (pushes, most))| {
        let and = if place > 0 && place + 1 == all { "and " } else { "" };
        let what = if place == 0 { " pushes" } else { "" };
        let whom = match most {
            _ if all == 1 => String::new(),
            usize::MAX => ", above".into(),
            most => format!(", up to {} clients", thousands(most as i64)),
        };
        format!("{and}{}{what}, one {}{whom}", pushes.count, every(pushes.interval))
    });
    format!("A turn has {}.", parts.collect::<Vec<_>>().join("; "))
}

/// Figures of the one size in which this kind was measured.
pub fn of_kind(results: &Results, kind: Kind, columns: &[(&str, &str)]) -> String {
    let sizes = results.sizes(kind);
    let tables =
        sizes.iter().map(|size| tables::by_figure(results, Experiment::new(kind, *size), columns).markdown());
    tables.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Times;
    use crate::report::samples::results;

    #[test]
    fn pushes_are_told_for_the_sizes_that_were_measured() {
        let pace = |count, milliseconds| Pushes { interval: Duration::from_millis(milliseconds), count };
        let three = (pace(6, 250), pace(5, 750), pace(4, 1000));
        let two = (pace(6, 250), pace(6, 250), pace(4, 1000));
        for (sizes, (few, some, many), expected) in [
            (
                vec![100, 5000, 15_000],
                three,
                "A turn has 6 pushes, one every 250 ms, up to 1,000 clients; 5, one every 750 ms, up to 5,000 \
                 clients; and 4, one every second, above.",
            ),
            (
                vec![100, 5000, 15_000],
                two,
                "A turn has 6 pushes, one every 250 ms, up to 5,000 clients; and 4, one every second, above.",
            ),
            (vec![100, 1000], three, "A turn has 6 pushes, one every 250 ms."),
        ] {
            let turns: Vec<_> = sizes.iter().map(|size| ("loop", "push", *size, [].as_slice())).collect();
            let mut results = results(&turns);
            results.times = Times { few, some, many, ..Times::FULL };
            assert_eq!(pushes(&results), expected);
        }
    }
}
