//! The table in the README's lesson: what each design costs, side by side. Medians only; the section on
//! the comparison has the ranges.

use crate::experiment::{Experiment, Kind};
use crate::figures;
use crate::lab::COLUMNS;
use crate::report::numbers::number;
use crate::report::tables::{NONE, Table};
use crate::results::Results;

/// Where the table begins in the README.
pub const BEGIN: &str = "<!-- lesson:begin -->";
/// Where it ends.
pub const END: &str = "<!-- lesson:end -->";

const ROWS: [(&str, Kind, usize, &str); 7] = [
    ("memory for each of 1,000 clients, KiB", Kind::Push, 1000, figures::MEMORY_KIB),
    ("CPU of a push to 1,000, ms", Kind::Push, 1000, figures::CPU_MS),
    ("context switches of that push", Kind::Push, 1000, figures::SWITCHES),
    ("echoes a second, 1 connection", Kind::Echo, 1, figures::RATE),
    ("echoes a second, 500 connections", Kind::Echo, 500, figures::RATE),
    ("longest gap of others while a handler sleeps 2 s, ms", Kind::Blocked, 50, figures::SLEEP_GAP_MS),
    ("the same while a handler computes", Kind::Blocked, 50, figures::SPIN_GAP_MS),
];

/// A column for each server of the lab.
pub fn table(results: &Results) -> String {
    let columns = std::iter::once("").chain(COLUMNS).map(str::to_owned).collect();
    let mut table = Table::new(columns);
    for (title, kind, size, figure) in ROWS {
        let cell = |variant| results.median(variant, Experiment::new(kind, size), figure);
        let cells = COLUMNS.map(|variant| cell(variant).map_or(NONE.to_owned(), number));
        table.push(std::iter::once(title.to_owned()).chain(cells).collect());
    }
    table.markdown()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::results;

    #[test]
    fn designs_stand_side_by_side_and_what_is_missing_is_seen() {
        let results = results(&[
            ("threadcast", "push", 1000, &[(figures::CPU_MS, 7.04)]),
            ("tokio-2", "push", 1000, &[(figures::CPU_MS, 10.0)]),
        ]);
        let table = table(&results);
        assert!(table.ends_with("| CPU of a push to 1,000, ms | 7.04 | – | – | 10 | – |\n"), "{table}");
        assert_eq!(table.lines().count(), 3, "{table}");
    }
}
