//! The wins and losses of threads: threadcast beside the best of the servers without a thread for each client, a
//! sentence for each figure and size. Doubts count against threads: see [`RULE`].

use crate::experiment::{Experiment, Kind};
use crate::figures;
use crate::manifest::Model;
use crate::report::numbers::{number, ratio_with_scatter, thousands};
use crate::report::tables::Table;
use crate::results::{Range, Results};
use crate::stats::Ratio;

/// The variant that is compared with all others.
pub const SUBJECT: &str = "threadcast";
/// The figures that can be won or lost, in the order of the rows.
pub const CLAIMS: [(Kind, &str); 7] = [
    (Kind::Push, figures::MEMORY_KIB),
    (Kind::Echo, figures::RATE),
    (Kind::Hold, figures::HELD),
    (Kind::Push, figures::CONNECT_S),
    (Kind::Push, figures::CPU_MS),
    (Kind::Push, figures::SPREAD_MS),
    (Kind::Blocked, figures::SLEEP_GAP_MS),
];
/// How a verdict comes about.
pub const RULE: &str = "The rival is the server with the best median of all that do not have a kernel thread for each \
client: event loops and green threads. A ratio is threadcast's figure divided by the rival's, in each round; what is told \
is the geometric mean of the rounds without the quarter of them at either end, and in brackets the least and the most of \
those, or of all rounds where there are fewer than eight. Threads **lose** where that ratio is worse than 1 by 5 % or \
more. They **win** where everything in the brackets is better than 1 by 5 % or more, and the load generator could have \
done more with the rival. All else is a **draw**.";
/// Ratio up to which neither is better.
const DRAW: f64 = 1.05;
/// Seconds below which the time to connect is too short to be compared.
const LEAST_CONNECT_S: f64 = 0.05;

/// The better side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The rival.
    Lose,
    /// Nobody, as far as was measured.
    Draw,
    /// Threads.
    Win,
}

/// A figure at one size, judged.
pub struct Row {
    /// The figure.
    pub figure: &'static str,
    /// The better side.
    pub verdict: Verdict,
    /// The row in a sentence.
    pub sentence: String,
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

/// Puts rows into a table; the page explains the verdicts.
pub fn table<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Table {
    let mut table = Table::new(["", "clients", SUBJECT, "best rival", "ratio", "verdict"]);
    rows.into_iter().for_each(|row| table.push(row.cells.to_vec()));
    table
}

/// None unless both sides have a figure that can be compared.
fn judge(results: &Results, experiment: Experiment, figure: &'static str) -> Option<Row> {
    let own = results.range(SUBJECT, experiment, figure)?;
    let (rival, other) = best_rival(results, experiment, figure)?;
    let too_short = figure == figures::CONNECT_S && own.median.max(other.median) < LEAST_CONNECT_S;
    if own.median.min(other.median) <= 0.0 || too_short {
        return None;
    }
    let ratio = results.ratio(SUBJECT, rival, experiment, figure)?;
    let busy = |variant| results.median(variant, experiment, figures::LOAD_BUSY).unwrap_or(0.0);
    // The load generator could not do more than this variant did, or opened no more clients.
    let bound = |variant| experiment.kind == Kind::Echo && figures::load_bound(busy(variant)) == 1.0;
    let limited = |variant| results.median(variant, experiment, figures::LOAD_LIMITED) == Some(1.0);
    let lead = if figures::more_is_better(figure) { ratio } else { ratio.inverse() };
    let verdict = match (limited(SUBJECT), limited(rival)) {
        (true, true) => Verdict::Draw,
        (_, rival_could_more) => decide(lead, rival_could_more || bound(rival)),
    };
    let more = |limited| if limited { "at least " } else { "" };
    let own = format!("{}{}", more(limited(SUBJECT)), number(own.median));
    let other = format!("{}{}", more(limited(rival) || bound(rival)), number(other.median));
    let (what, size) = (figures::heading(figure).to_owned(), thousands(experiment.size as i64));
    let crowd = match experiment.kind {
        Kind::Echo if experiment.size == 1 => "connection",
        Kind::Echo => "connections",
        _ => "clients",
    };
    let ratio = ratio_with_scatter(ratio);
    let sentence = format!(
        "{what}, {size} {crowd}: {own}, and {other} for `{rival}`; the rounds' mean ratio is {ratio}."
    );
    let word = match verdict {
        Verdict::Lose => "**threads lose**",
        Verdict::Draw => "draw",
        Verdict::Win => "threads win",
    };
    Some(Row {
        figure,
        verdict,
        sentence,
        cells: [what, size, own, format!("{other} (`{rival}`)"), ratio, word.into()],
    })
}

/// Decides by how far threads are ahead, and whether the rival could do more than was measured.
fn decide(lead: Ratio, rival_could_more: bool) -> Verdict {
    if lead.mean <= 1.0 / DRAW {
        Verdict::Lose
    } else if lead.low >= DRAW && !rival_could_more {
        Verdict::Win
    } else {
        Verdict::Draw
    }
}

/// The rival with the best median, the first of equals. One that holds clients and does not serve them in time is not
/// the best.
fn best_rival<'a>(results: &'a Results, experiment: Experiment, figure: &str) -> Option<(&'a str, Range)> {
    let rivals = results.variants.iter().filter(|entry| entry.kind != Model::Threads);
    let found = rivals.filter_map(|entry| {
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
            (memory, &[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0], FREE, Some("0.5 threads win")),
            (memory, &[1.0, 2.0, 4.0], &[2.0, 4.0, 4.0], FREE, Some("0.5 (0.5 to 1) draw")),
            (memory, &[2.0, 4.0, 4.0], &[1.0, 2.0, 4.0], FREE, Some("2 (1 to 2) **threads lose**")),
            (memory, &[1.0], &[], FREE, None),
            (memory, &[], &[1.0], FREE, None),
            (connect, &[1.3], &[0.5], FREE, Some("2.6 **threads lose**")),
            (connect, &[0.01], &[0.004], FREE, None),
            (connect, &[0.1], &[0.0], FREE, None),
            (echo, &[500.0], &[1000.0], FREE, Some("0.5 **threads lose**")),
            (echo, &[500.0], &[1000.0], [0.4, 0.95], Some("0.5 **threads lose**")),
            (echo, &[500.0], &[1000.0], [0.95, 0.95], Some("0.5 **threads lose**")),
            (echo, &[500.0], &[300.0], [0.4, 0.95], Some("1.67 draw")),
            (echo, &[500.0], &[300.0], [0.95, 0.4], Some("1.67 threads win")),
        ] {
            let found = judged(what, own, other, busy);
            assert_eq!(found.as_deref(), expected, "{what:?}: {own:?} against {other:?}, busy {busy:?}");
        }
    }

    #[test]
    fn the_rival_is_the_best_without_a_thread_for_each_client_that_serves_them() {
        let results = results(&[
            (SUBJECT, "hold", 20_000, &[(figures::HELD, 15_870.0)]),
            ("threads-other", "hold", 20_000, &[(figures::HELD, 20_000.0)]),
            ("worse", "hold", 20_000, &[(figures::HELD, 16_000.0)]),
            ("best", "hold", 20_000, &[(figures::HELD, 19_968.0), (figures::LOAD_LIMITED, 1.0)]),
            ("late", "hold", 20_000, &[(figures::HELD, 20_000.0), (figures::LATE, 3.0)]),
            (SUBJECT, "push", 1000, &[(figures::CPU_MS, 5.0)]),
            ("best", "push", 1000, &[(figures::CPU_MS, 6.0)]),
            ("green-threads", "push", 1000, &[(figures::CPU_MS, 4.0)]),
        ]);
        let table = table(&rows(&results)).markdown();
        for row in [
            "| most clients held | 20,000 | 15,870 | at least 19,968 (`best`) | 0.79 | **threads lose** |\n",
            "| CPU of a push, ms | 1,000 | 5 | 4 (`green-threads`) | 1.25 | **threads lose** |\n",
        ] {
            assert!(table.contains(row), "{table}");
        }
        let sentence = "most clients held, 20,000 clients: 15,870, and at least 19,968 for `best`; the rounds' mean ratio is 0.79.";
        assert_eq!(rows(&results)[0].sentence, sentence);
    }
}
