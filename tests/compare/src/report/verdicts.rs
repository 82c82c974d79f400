//! What threads win and lose: threadcast beside the best event loop, a row for each figure and size. Doubts
//! count against threads. They lose by the ratio alone, and win only where the ranges do not touch.

use crate::experiment::{Experiment, Kind};
use crate::figures;
use crate::manifest::Model;
use crate::report::numbers::{number, thousands};
use crate::report::tables::Table;
use crate::results::{Range, Results};

/// The variant that all others are set against.
pub const SUBJECT: &str = "threadcast";
/// What can be won or lost, in the order of the rows.
pub const CLAIMS: [(Kind, &str); 8] = [
    (Kind::Push, figures::CPU_MS),
    (Kind::Push, figures::SPREAD_MS),
    (Kind::Blocked, figures::SLEEP_GAP_MS),
    (Kind::Echo, figures::RATE),
    (Kind::Echo, figures::P50_US),
    (Kind::Push, figures::MEMORY_KIB),
    (Kind::Push, figures::CONNECT_S),
    (Kind::Hold, figures::HELD),
];
/// Ratio up to which neither is better.
const DRAW: f64 = 1.05;
/// Seconds below which the time to connect is too short to be compared.
const LEAST_CONNECT_S: f64 = 0.05;

/// A figure at one size, judged.
pub struct Row {
    /// The figure.
    pub figure: &'static str,
    cells: [String; 6],
}

/// Returns a row for each figure and size at which both sides were measured.
pub fn rows(results: &Results) -> Vec<Row> {
    let rows = CLAIMS.iter().flat_map(|(kind, figure)| {
        let sizes = figures::telling_sizes(figure, results.sizes(*kind)).into_iter();
        sizes.filter_map(|size| judge(results, Experiment::new(*kind, size), figure))
    });
    rows.collect()
}

/// Puts rows into a table; what its signs mean is for the page to say.
pub fn table<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Table {
    let mut table = Table::new(["", "clients", SUBJECT, "best event loop", "ratio", "verdict"]);
    rows.into_iter().for_each(|row| table.push(row.cells.to_vec()));
    table
}

/// None unless both sides have a figure that can be compared.
fn judge(results: &Results, experiment: Experiment, figure: &'static str) -> Option<Row> {
    let own = results.range(SUBJECT, experiment, figure)?;
    let (rival, other) = best_loop(results, experiment, figure)?;
    let too_short = figure == figures::CONNECT_S && own.median.max(other.median) < LEAST_CONNECT_S;
    if own.median.min(other.median) <= 0.0 || too_short {
        return None;
    }
    let ratio = results.ratio(SUBJECT, rival, experiment, figure)?;
    let lead = if figures::more_is_better(figure) { ratio } else { 1.0 / ratio };
    let overlap = own.min <= other.max && other.min <= own.max;
    // The load generator could not do more than this variant did, or opened no more clients.
    let bound = |variant| {
        let busy = results.median(variant, experiment, figures::LOAD_BUSY).unwrap_or(0.0);
        experiment.kind == Kind::Echo && figures::load_bound(busy) == 1.0
    };
    let limited = |variant| results.median(variant, experiment, figures::LOAD_LIMITED) == Some(1.0);
    let verdict = match lead {
        _ if limited(SUBJECT) && limited(rival) => "draw",
        lead if lead < 1.0 / DRAW => match (bound(SUBJECT), bound(rival)) {
            (_, false) => "**threads lose**",
            (false, true) => "**threads lose** †",
            (true, true) => "**threads lose** ‡",
        },
        _ if bound(rival) => "draw †",
        lead if lead > DRAW && overlap => "draw: the ranges overlap",
        lead if lead <= DRAW || limited(rival) => "draw",
        _ => "threads win",
    };
    let sign = |limited, sign| if limited { sign } else { "" };
    let own = format!("{}{}", sign(limited(SUBJECT), "≥ "), number(own.median));
    let other = format!("{}{} (`{rival}`)", sign(limited(rival), "≥ "), number(other.median));
    let ratio = format!("{}{}", sign(limited(rival) && !limited(SUBJECT), "≤ "), number(ratio));
    let (what, size) = (figures::heading(figure).into(), thousands(experiment.size as i64));
    Some(Row { figure, cells: [what, size, own, other, ratio, verdict.into()] })
}

/// The event loop with the best median, the first of equals. One that holds clients and does not serve them
/// in time is not the best.
fn best_loop<'a>(results: &'a Results, experiment: Experiment, figure: &str) -> Option<(&'a str, Range)> {
    let loops = results.variants.iter().filter(|entry| entry.kind == Model::Loop);
    let found = loops.filter_map(|entry| {
        let range = results.range(&entry.name, experiment, figure)?;
        let failed = |figure| results.total(&entry.name, experiment, figure) > Some(0.0);
        let useless = figure == figures::HELD && (failed(figures::LATE) || failed(figures::MISSED));
        (!useless).then_some((entry.name.as_str(), range))
    });
    let sign = if figures::more_is_better(figure) { -1.0 } else { 1.0 };
    found.min_by(|(_, one), (_, other)| (sign * one.median).total_cmp(&(sign * other.median)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::results;

    /// The cells behind the number of clients; a round for each value, and the load generator's share of a
    /// core with either side.
    fn judged(what: (&str, &str), own: &[f64], other: &[f64], busy: [f64; 2]) -> Option<String> {
        let with = |values: &[f64], busy| -> Vec<_> {
            values.iter().map(|value| [(what.1, *value), (figures::LOAD_BUSY, busy)]).collect()
        };
        let (own, other) = (with(own, busy[0]), with(other, busy[1]));
        let mut turns: Vec<_> = own.iter().map(|turn| (SUBJECT, what.0, 50, turn.as_slice())).collect();
        turns.extend(other.iter().map(|turn| ("loop", what.0, 50, turn.as_slice())));
        let row = rows(&results(&turns)).pop()?;
        Some(format!("{} {}", row.cells[4], row.cells[5]))
    }

    #[test]
    fn doubts_count_against_threads() {
        let (memory, echo) = (("push", figures::MEMORY_KIB), ("echo", figures::RATE));
        let connect = ("push", figures::CONNECT_S);
        const FREE: [f64; 2] = [0.4, 0.4];
        for (what, own, other, busy, expected) in [
            (memory, &[40.0][..], &[4.0][..], FREE, Some("10 **threads lose**")),
            (memory, &[10.4], &[10.0], FREE, Some("1.04 draw")),
            (memory, &[2.0], &[4.0], FREE, Some("0.5 threads win")),
            (memory, &[1.0, 2.0, 3.0], &[3.1, 4.0, 5.0], FREE, Some("0.5 threads win")),
            (memory, &[1.0, 2.0, 3.2], &[3.1, 4.0, 5.0], FREE, Some("0.5 draw: the ranges overlap")),
            (memory, &[3.1, 4.0, 5.0], &[1.0, 2.0, 3.2], FREE, Some("2 **threads lose**")),
            (memory, &[1.0], &[], FREE, None),
            (memory, &[], &[1.0], FREE, None),
            (connect, &[1.3], &[0.5], FREE, Some("2.6 **threads lose**")),
            (connect, &[0.01], &[0.004], FREE, None),
            (connect, &[0.1], &[0.0], FREE, None),
            (echo, &[500.0], &[1000.0], FREE, Some("0.5 **threads lose**")),
            (echo, &[500.0], &[1000.0], [0.4, 0.95], Some("0.5 **threads lose** †")),
            (echo, &[500.0], &[1000.0], [0.95, 0.95], Some("0.5 **threads lose** ‡")),
            (echo, &[500.0], &[300.0], [0.4, 0.95], Some("1.67 draw †")),
            (echo, &[500.0], &[300.0], [0.95, 0.4], Some("1.67 threads win")),
        ] {
            let found = judged(what, own, other, busy);
            assert_eq!(found.as_deref(), expected, "{what:?}: {own:?} against {other:?}, busy {busy:?}");
        }
    }

    #[test]
    fn the_rival_is_the_best_event_loop_that_serves_its_clients() {
        let results = results(&[
            (SUBJECT, "hold", 20_000, &[(figures::HELD, 15_870.0)]),
            ("threads-other", "hold", 20_000, &[(figures::HELD, 20_000.0)]),
            ("worse", "hold", 20_000, &[(figures::HELD, 16_000.0)]),
            ("best", "hold", 20_000, &[(figures::HELD, 19_968.0), (figures::LOAD_LIMITED, 1.0)]),
            ("late", "hold", 20_000, &[(figures::HELD, 20_000.0), (figures::LATE, 3.0)]),
        ]);
        let table = table(&rows(&results)).markdown();
        let row = "| most clients held | 20,000 | 15,870 | ≥ 19,968 (`best`) | ≤ 0.79 | **threads lose** |\n";
        assert!(table.ends_with(row), "{table}");
    }
}
