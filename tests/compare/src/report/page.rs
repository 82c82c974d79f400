//! The page of the results, `README.md` beside the charts, with all tables; and a few rows of it for the
//! README of the project, between two markers.

use std::fs;
use std::path::Path;

use crate::experiment::{Experiment, Kind};
use crate::failure::{Failure, While};
use crate::figures;
use crate::report::tables::{self, Table, by_figure, by_size};
use crate::report::verdicts::{rows, table};
use crate::results::Results;

/// Where the README's section begins.
const BEGIN: &str = "<!-- compare:begin -->";
/// Where it ends.
const END: &str = "<!-- compare:end -->";
/// The figures in it, each at its largest size.
const FEW: [&str; 5] =
    [figures::CPU_MS, figures::SLEEP_GAP_MS, figures::RATE, figures::MEMORY_KIB, figures::HELD];
/// What the table of verdicts says without words.
const SIGNS: &str = "A ratio is threadcast's figure divided by that of the best event loop: the geometric mean of \
the rounds' own ratios, without the quarter of them, rounded up, at either end. `†`: the load generator could do \
no more with the loop. `‡`: with neither. `≥`: it could open no more clients.";

/// Headings, charts, and the figures behind them.
const PARTS: [(&str, &str, Kind, &[&str]); 12] = {
    use figures::*;
    [
        ("CPU of a push", "cpu.svg", Kind::Push, &[CPU_MS, SWITCHES]),
        ("Spread of a push", "spread.svg", Kind::Push, &[SPREAD_MS, SPREAD_P50_MS, SPREAD_P99_MS]),
        ("Missed and late ticks", "", Kind::Push, &[MISSED, LATE]),
        (
            "4 KiB of JSON to clients that offer compression",
            "",
            Kind::Json,
            &[WIRE_BYTES, CPU_MS, SPREAD_MS, MEMORY_KIB, MISSED, LATE],
        ),
        ("A handler that blocks", "blocked.svg", Kind::Blocked, &[SLEEP_GAP_MS, SPIN_GAP_MS]),
        ("Echo", "echo.svg", Kind::Echo, &[RATE, CPU_US, P50_US, P99_US, P999_US]),
        ("Memory", "memory.svg", Kind::Push, &[MEMORY_KIB, RESIDENT_KIB, PAGE_TABLES_KIB, KERNEL_STACK_KIB]),
        ("Threads and descriptors", "", Kind::Push, &[THREADS, DESCRIPTORS]),
        ("Connecting", "", Kind::Push, &[CONNECT_S]),
        ("Most clients held", "", Kind::Hold, &[HELD, REFUSED, UNCLEAN, LOST, MISSED, LATE]),
        ("Stalled clients", "", Kind::Stalled, &[GROWTH_MIB, KEPT, GAP_MS]),
        ("Idle clients", "", Kind::Idle, &[CPU_PERCENT]),
    ]
};

/// Writes the page into `directory`, which has the charts, and a few rows of it into `readme`.
pub fn write(results: &Results, directory: &Path, readme: Option<&Path>) -> Result<(), Failure> {
    let path = directory.join("README.md");
    fs::write(&path, page(results)).doing(format!("write {}", path.display()))?;
    let Some(path) = readme else { return Ok(()) };
    let what = format!("update {}", path.display());
    let charts = path.parent().and_then(|parent| directory.strip_prefix(parent).ok()).unwrap_or(directory);
    let text = fs::read_to_string(path).doing(&what)?;
    let text = replace(&text, &section(results, &charts.to_string_lossy()))
        .ok_or_else(|| Failure::new(format!("{what}: it lacks {BEGIN} and {END}")))?;
    fs::write(path, text).doing(what)
}

/// Returns the verdicts as a table in Markdown.
pub fn verdicts(results: &Results) -> String {
    table(&rows(results)).markdown()
}

fn page(results: &Results) -> String {
    let parts: String = PARTS.iter().map(|part| render(results, part)).collect();
    let (failed, busy) = tables::turns(results);
    let versions = tables::variants(results).markdown() + "\n" + &results.machine.details();
    let measured = format!("{versions}\nTurns played again, since the host slowed down: {}.", results.spells);
    format!(
        "# What `make compare` has found\n\n{} [How it is measured, and why it comes out so](../README.md). \
         This page is written by `make compare`.\n\n{}\n\
         {SIGNS}\n\nBelow, minimum and maximum stand in brackets.\n\n{parts}{}{}{}",
        origin(results),
        verdicts(results),
        part("What failed", "", &failed.markdown()),
        part("Turns in which the load generator had no time to spare", "", &busy.markdown()),
        part("What was measured", "", &measured).trim_end().to_owned() + "\n"
    )
}

/// The README's section; `charts` is the directory of the charts as the README sees it.
fn section(results: &Results, charts: &str) -> String {
    let rows = rows(results);
    let last = |figure| rows.iter().rfind(|row| row.figure == figure);
    format!(
        "{}\n\n{}\n[All tables and charts, and what the signs mean]({charts}/README.md).\n\n\
         ![CPU of a push to one client, for each server]({charts}/cpu.svg)",
        origin(results),
        table(FEW.into_iter().filter_map(last)).markdown()
    )
}

/// When and where.
fn origin(results: &Results) -> String {
    let (date, rounds) = (results.date.split(' ').next().unwrap_or_default(), results.rounds);
    let machine = results.machine.sentence();
    format!(
        "Measured on {date}, {machine}, which the load generator shares. Medians of up to {rounds} rounds."
    )
}

/// A heading with its chart and tables, if there is a figure.
fn render(results: &Results, (title, chart, kind, figures): &(&str, &str, Kind, &[&str])) -> String {
    let tables: Vec<_> = match kind {
        Kind::Push | Kind::Echo => figures.iter().map(|figure| by_size(results, *kind, figure)).collect(),
        _ => {
            let experiments = results.sizes(*kind).into_iter().map(|size| Experiment::new(*kind, size));
            experiments.map(|experiment| by_figure(results, experiment, figures)).collect()
        }
    };
    part(title, chart, &tables.iter().map(Table::markdown).collect::<Vec<_>>().join("\n"))
}

/// A heading, a chart if there is one, and tables; nothing if there are none.
fn part(title: &str, chart: &str, tables: &str) -> String {
    match (tables.trim(), chart) {
        ("", _) => String::new(),
        (tables, "") => format!("## {title}\n\n{tables}\n\n"),
        (tables, chart) => format!("## {title}\n\n![{title}]({chart})\n\n{tables}\n\n"),
    }
}

/// Returns `text` with `new` between the markers, if it has them.
fn replace(text: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", new.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(replace(&text, "new\n"), Some(format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")));
        assert_eq!(replace("no markers", "new"), None);
    }
}
