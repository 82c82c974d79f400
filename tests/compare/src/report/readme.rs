//! The README's section on the comparison, between its two markers. Whatever threads lose on comes
//! first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, While};
use crate::report::details::DETAILS;
use crate::report::limits::{bottlenecks, failures};
use crate::report::numbers::title;
use crate::report::topics::{TOPICS, Topic};
use crate::report::verdicts::Verdict;
use crate::report::{lesson, tables};
use crate::results::Results;

/// Where the section begins.
pub const BEGIN: &str = "<!-- compare:begin -->";
/// Where it ends.
pub const END: &str = "<!-- compare:end -->";

/// The section. `charts` is the directory of the charts, as the README sees it.
fn section(results: &Results, charts: &str) -> String {
    let mut topics: Vec<_> = TOPICS.iter().filter_map(|topic| topic.text(results, charts)).collect();
    topics.sort_by_key(|(verdict, _)| *verdict);
    let topics: String = topics.into_iter().map(|(_, text)| text).collect();
    let details: String = DETAILS.iter().map(|(title, table)| folded(title, &table(results))).collect();
    let variants = tables::variants(results).markdown();
    format!(
        "Measured on {} on {}: medians of {} interleaved rounds{}, minimum and maximum in brackets. \
         A factor is the geometric mean of the rounds' own, without the quarter of them, rounded up, at either end. \
         Server and load generator share the machine.{}\n\n{topics}{details}{}{}{}",
        results.machine.sentence(),
        results.date.split(' ').next().unwrap_or_default(),
        results.rounds,
        fewer_rounds(results),
        spells(results),
        folded("What was measured", &format!("{variants}\n{}", results.machine.details())),
        failures(results),
        bottlenecks(results),
    )
}

/// Tells of the turns that were played again.
fn spells(results: &Results) -> String {
    match results.spells {
        0 => String::new(),
        count => format!(" Turns that were played again, since the host slowed everything down: {count}."),
    }
}

/// Names the experiments that have fewer rounds, in brackets.
fn fewer_rounds(results: &Results) -> String {
    let experiments: BTreeSet<_> = results.samples.iter().map(|sample| sample.experiment).collect();
    let fewer = experiments.into_iter().filter_map(|experiment| {
        let rounds = experiment.rounds(results.rounds);
        (rounds < results.rounds).then(|| format!("{rounds} of {}", title(experiment)))
    });
    let fewer: Vec<_> = fewer.collect();
    if fewer.is_empty() { String::new() } else { format!(" ({})", fewer.join(", ")) }
}

/// Puts the section between its markers in the README at `path`, and the lesson's table between its own, if
/// there is a lesson.
pub fn update(path: &Path, results: &Results, charts: &str) -> Result<(), Failure> {
    let what = format!("update {}", path.display());
    let text = fs::read_to_string(path).doing(&what)?;
    let text = replace(&text, [BEGIN, END], &section(results, charts))
        .ok_or_else(|| Failure::new(format!("{what}: it lacks {BEGIN} and {END}")))?;
    let with_table = replace(&text, [lesson::BEGIN, lesson::END], &lesson::table(results));
    fs::write(path, with_table.unwrap_or(text)).doing(what)
}

fn replace(text: &str, [begin, end]: [&str; 2], new: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", new.trim_end()))
}

impl Topic {
    /// The worst verdict of its claims, and its text. None if nothing of it was measured.
    fn text(&self, results: &Results, charts: &str) -> Option<(Verdict, String)> {
        let table = (self.table)(results);
        if !table.contains("---") {
            return None;
        }
        let mut judged: Vec<_> = self.claims.iter().filter_map(|claim| claim.judge(results)).collect();
        judged.sort_by_key(|(verdict, _)| *verdict);
        let verdict = judged.first().map_or(Verdict::Draw, |(verdict, _)| *verdict);
        let sentences: String = judged.iter().map(|(_, sentence)| format!("{sentence} ")).collect();
        let (title, why) = (self.title, (self.why)(results));
        let chart = self.chart.map(|chart| format!("![{title}]({charts}/{chart})\n\n")).unwrap_or_default();
        let text = format!(
            "### {title}\n\n*What it means:* {sentences}{why}\n\n{chart}{}",
            folded(&format!("{title}: the figures"), &table)
        );
        Some((verdict, text))
    }
}

fn folded(title: &str, table: &str) -> String {
    if !table.contains("---") {
        return String::new();
    }
    format!("<details><summary>{title}</summary>\n\n{}\n</details>\n\n", table.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n");
        assert_eq!(replace(&text, [BEGIN, END], "new\n"), Some(expected));
        assert_eq!(replace("no markers", [BEGIN, END], "new"), None);
    }
}
