//! The page of the results, `README.md` beside the charts, with all tables; and a few rows of it for the
//! README of the project, between two markers.

use std::fs;
use std::path::Path;

use crate::experiment::{Experiment, Kind};
use crate::failure::{Failure, While};
use crate::figures;
use crate::report::numbers::{number, thousands};
use crate::report::tables::{self, Table, by_figure};
use crate::report::verdicts::{RULE, Verdict, rows, table};
use crate::results::Results;

/// Where the section of another page begins, of the README or the lesson.
const BEGIN: &str = "<!-- compare:begin -->";
/// Where it ends.
const END: &str = "<!-- compare:end -->";
/// The variants that represent each kind of thread in the lesson: kernel threads, green threads, none.
const KINDS: [&str; 7] =
    ["threadcast", "floor", "goroutines", "virtual-threads", "axum", "tokio-1", "libwebsockets"];
/// The costs of a wait: a wake-up, an idle client, a handler that blocks.
const COSTS: [(Kind, &str); 4] = [
    (Kind::Echo, figures::CPU_US),
    (Kind::Push, figures::MEMORY_KIB),
    (Kind::Blocked, figures::SLEEP_GAP_MS),
    (Kind::Blocked, figures::SPIN_GAP_MS),
];
/// The figures in it, each at its largest size.
const FEW: [&str; 5] =
    [figures::CPU_MS, figures::SLEEP_GAP_MS, figures::RATE, figures::MEMORY_KIB, figures::HELD];
/// The verdicts, those that threads lose first.
const VERDICTS: [(Verdict, &str); 3] = [
    (Verdict::Lose, "Where threads lose"),
    (Verdict::Draw, "Where it is a draw"),
    (Verdict::Win, "Where threads win"),
];
/// Charts, and their figures.
const CHARTS: [(&str, &str); 5] = [
    ("memory.svg", "Memory"),
    ("echo.svg", "Echoes"),
    ("cpu.svg", "CPU of a push"),
    ("spread.svg", "Spread of a push"),
    ("blocked.svg", "A handler that blocks"),
];
/// The tables: a heading, a kind of experiment, of which the table has the largest size, and figures.
const TABLES: [(&str, Kind, &[&str]); 5] = {
    use figures::*;
    [
        ("A push", Kind::Push, &[CPU_MS, SPREAD_MS, SWITCHES, MEMORY_KIB, THREADS, LATE]),
        ("Echoes", Kind::Echo, &[RATE, CPU_US, P50_US, P99_US]),
        ("4 KiB of JSON to clients that offer compression", Kind::Json, &[WIRE_BYTES, CPU_MS, MEMORY_KIB]),
        ("Stalled clients", Kind::Stalled, &[GROWTH_MIB, KEPT, GAP_MS]),
        ("Most clients held", Kind::Hold, &[HELD, REFUSED, UNCLEAN, LATE]),
    ]
};

/// Writes the page into `directory`, which has the charts, a few rows of it into `readme`, and the costs of a wait into
/// `lesson`.
pub fn write(
    results: &Results,
    directory: &Path,
    readme: Option<&Path>,
    lesson: Option<&Path>,
) -> Result<(), Failure> {
    let path = directory.join("README.md");
    fs::write(&path, page(results)).doing(format!("write {}", path.display()))?;
    if let Some(path) = readme {
        let charts =
            path.parent().and_then(|parent| directory.strip_prefix(parent).ok()).unwrap_or(directory);
        update(path, &section(results, &charts.to_string_lossy()))?;
    }
    lesson.map_or(Ok(()), |path| update(path, &costs(results)))
}

/// Puts `new` between the markers of a page.
fn update(path: &Path, new: &str) -> Result<(), Failure> {
    let what = format!("update {}", path.display());
    let text = fs::read_to_string(path).doing(&what)?;
    let text =
        replace(&text, new).ok_or_else(|| Failure::new(format!("{what}: it lacks {BEGIN} and {END}")))?;
    fs::write(path, text).doing(what)
}

/// Returns the lesson's table: the cost of a wait in each kind of thread.
fn costs(results: &Results) -> String {
    let kind = |name: &&str| {
        let entry = results.variants.iter().find(|entry| entry.name == **name)?;
        Some(format!("{name}, {}", tables::kind(entry.kind)))
    };
    let names: Vec<_> = KINDS.into_iter().filter(|name| kind(name).is_some()).collect();
    let mut table = Table::new(std::iter::once(String::new()).chain(names.iter().filter_map(kind)));
    for (kind, figure) in COSTS {
        let size = results.sizes(kind).last().copied().unwrap_or_default();
        let experiment = Experiment::new(kind, size);
        let what = format!("{}, with {} clients", figures::heading(figure), thousands(size as i64));
        let median =
            |name: &&str| results.median(name, experiment, figure).map_or(tables::NONE.into(), number);
        table.push(std::iter::once(what).chain(names.iter().map(median)).collect());
    }
    format!("{}\n\n{}", origin(results), table.markdown())
}

/// Returns the verdicts as a table in Markdown.
pub fn verdicts(results: &Results) -> String {
    table(&rows(results)).markdown()
}

fn page(results: &Results) -> String {
    let rows = rows(results);
    let verdicts = VERDICTS.map(|(verdict, title)| {
        let sentences =
            rows.iter().filter(|row| row.verdict == verdict).map(|row| format!("- {}\n", row.sentence));
        part(title, &sentences.collect::<String>())
    });
    let charts = CHARTS.map(|(file, title)| format!("![{title}]({file})\n"));
    let tables = TABLES.map(|(title, kind, figures)| {
        let size = results.sizes(kind).last().copied().unwrap_or_default();
        let title = format!("{title}, {} clients", thousands(size as i64));
        part(&title, &by_figure(results, Experiment::new(kind, size), figures).markdown())
    });
    let measured = format!(
        "{}\n{}\nTurns played again, since the host slowed down: {}.",
        tables::variants(results).markdown(),
        results.machine.details(),
        results.spells
    );
    let (failed, busy) = tables::turns(results);
    format!(
        "# What `make compare` has found\n\n{} [How it is measured, and why it comes out so](../README.md). \
         `make compare` writes this page; all figures are in `results.json`.\n\n{RULE}\n\n{}{}\n\
         In the tables stand medians, with minimum and maximum in brackets.\n\n{}{}{}{}",
        origin(results),
        verdicts.concat(),
        charts.join("\n"),
        tables.concat(),
        part("What failed", &failed.markdown()),
        part("Turns in which the load generator had no time to spare", &busy.markdown()),
        part("What was measured", &measured).trim_end().to_owned() + "\n"
    )
}

/// The README's section; `charts` is the directory of the charts as the README sees it.
fn section(results: &Results, charts: &str) -> String {
    let rows = rows(results);
    let last = |figure| rows.iter().rfind(|row| row.figure == figure);
    format!(
        "{}\n\n{}\n[All verdicts and charts, and the rule]({charts}/README.md).\n\n\
         ![CPU of a push to one client, for each server]({charts}/cpu.svg)",
        origin(results),
        table(FEW.into_iter().filter_map(last)).markdown()
    )
}

/// The date and the machine.
fn origin(results: &Results) -> String {
    let (date, rounds) = (results.date.split(' ').next().unwrap_or_default(), results.rounds);
    let machine = results.machine.sentence();
    format!(
        "Measured on {date} by `make compare`, on {machine}; the load generator runs on the same cores. Medians of up to \
         {rounds} rounds."
    )
}

/// Returns a heading and the text below it; an empty text if that is empty.
fn part(title: &str, text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!("## {title}\n\n{text}\n\n"),
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
