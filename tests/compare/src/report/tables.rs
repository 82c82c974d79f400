//! The tables, in Markdown. A cell is a median, with minimum and maximum in brackets.

use crate::experiment::{Experiment, Kind};
use crate::figures;
use crate::report::numbers::{number, range, thousands};
use crate::results::Results;

/// Stands where there is no figure.
pub const NONE: &str = "–";

/// Rows and columns of text.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet.
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, unless there is nothing in it but its name.
    pub fn push(&mut self, row: Vec<String>) {
        if row.iter().skip(1).any(|cell| cell != NONE) {
            self.rows.push(row);
        }
    }

    /// The table in Markdown; empty if it has no rows.
    pub fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.columns.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.columns) + &rule + &rows
    }
}

/// One figure of all variants, a column for each size.
pub fn by_size(results: &Results, kind: Kind, figure: &str) -> Table {
    let sizes = results.sizes(kind);
    let mut columns = vec!["clients".to_owned()];
    columns.extend(sizes.iter().map(|size| thousands(*size as i64)));
    let mut table = Table::new(columns);
    for entry in &results.variants {
        let mut row = vec![entry.name.clone()];
        row.extend(sizes.iter().map(|size| cell(results, &entry.name, Experiment::new(kind, *size), figure)));
        table.push(row);
    }
    table
}

/// Several figures of all variants in one experiment, a column for each figure.
pub fn by_figure(results: &Results, experiment: Experiment, columns: &[(&str, &str)]) -> Table {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned());
    let mut table = Table::new(std::iter::once(String::new()).chain(titles).collect());
    for entry in &results.variants {
        let cells = columns.iter().map(|(_, figure)| cell(results, &entry.name, experiment, figure));
        table.push(std::iter::once(entry.name.clone()).chain(cells).collect());
    }
    table
}

/// Two or more figures in one cell, a column for each size: the sums of all turns.
pub fn joined_totals(results: &Results, kind: Kind, unit: &str, wanted: &[&str]) -> Table {
    let sizes = results.sizes(kind);
    let mut columns = vec![unit.to_owned()];
    columns.extend(sizes.iter().map(|size| thousands(*size as i64)));
    let mut table = Table::new(columns);
    for entry in &results.variants {
        let mut row = vec![entry.name.clone()];
        row.extend(sizes.iter().map(|size| {
            let experiment = Experiment::new(kind, *size);
            let values = wanted.iter().map(|figure| results.total(&entry.name, experiment, figure));
            let values: Option<Vec<_>> = values.map(|value| value.map(number)).collect();
            values.map_or(NONE.to_owned(), |values| values.join(" / "))
        }));
        table.push(row);
    }
    table
}

/// What each variant is, and what it runs on.
pub fn variants(results: &Results) -> Table {
    let mut table = Table::new(vec!["variant".into(), "kind".into(), "version".into()]);
    for entry in &results.variants {
        let kind = match entry.kind {
            crate::manifest::Model::Threads => "threads",
            crate::manifest::Model::Loop => "event loop",
        };
        let version = match (&entry.not_measured, entry.version.as_str()) {
            (Some(hint), _) => format!("not measured: `{hint}`"),
            (None, "") => built_with(results, &entry.name).unwrap_or(NONE.to_owned()),
            (None, version) => version.to_owned(),
        };
        table.push(vec![entry.name.clone(), kind.into(), version]);
    }
    table
}

/// What this crate's own servers are built with; they have no version of their own.
fn built_with(results: &Results, variant: &str) -> Option<String> {
    let family = variant.split('-').next()?;
    let wanted = if family == "floor" { "rustc" } else { family };
    let versions = results.machine.versions.iter();
    let versions = versions.filter(|(name, _)| name.split('-').next() == Some(wanted));
    let versions: Vec<_> = versions.map(|(name, version)| format!("{name} {version}")).collect();
    (!versions.is_empty()).then(|| versions.join(", "))
}

fn cell(results: &Results, variant: &str, experiment: Experiment, figure: &str) -> String {
    let Some(found) = results.range(variant, experiment, figure) else {
        return NONE.to_owned();
    };
    let limited =
        figure == figures::HELD && results.median(variant, experiment, figures::LOAD_LIMITED) == Some(1.0);
    let prefix = if limited { "≥ " } else { "" };
    format!("{prefix}{}", range(found))
}
