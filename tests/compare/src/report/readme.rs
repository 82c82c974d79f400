//! The README's section on the comparison, between its two markers. Whatever threads lose on comes
//! first.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::failure::While;
use crate::figures;
use crate::report::claims::Verdict;
use crate::report::tables;
use crate::report::topics::DETAILS;
use crate::report::topics::TOPICS;
use crate::report::topics::Topic;
use crate::results::Results;

/// Where the section begins.
pub const BEGIN: &str = "<!-- compare:begin -->";
/// Where it ends.
pub const END: &str = "<!-- compare:end -->";

/// The section. `charts` is the directory of the charts, as the README sees it.
pub fn section(results: &Results, charts: &str) -> String {
    let mut topics: Vec<_> = TOPICS.iter().filter_map(|topic| topic.text(results, charts)).collect();
    topics.sort_by_key(|(verdict, _)| *verdict);
    let topics: String = topics.into_iter().map(|(_, text)| text).collect();
    let details: String = DETAILS.iter().map(|(title, table)| folded(title, &table(results))).collect();
    let variants = tables::variants(results).markdown();
    format!(
        "Measured on {} on {}: medians of {} interleaved rounds, minimum and maximum in brackets. \
         Server and load generator share the machine.\n\n{topics}{details}{}{}{}",
        results.machine.sentence(),
        results.date.split(' ').next().unwrap_or_default(),
        results.rounds,
        folded("What was measured", &format!("{variants}\n{}", results.machine.details())),
        failures(results),
        bottlenecks(results),
    )
}

/// Puts the section between the markers of the README at `path`.
pub fn update(path: &Path, section: &str) -> Result<(), Failure> {
    let what = format!("update {}", path.display());
    let text = fs::read_to_string(path).doing(&what)?;
    let replaced =
        replace(&text, section).ok_or_else(|| Failure::new(format!("{what}: it lacks {BEGIN} and {END}")))?;
    fs::write(path, replaced).doing(what)
}

fn replace(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", section.trim_end()))
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
        let (title, chart, why) = (self.title, self.chart, self.why);
        let text = format!(
            "### {title}\n\n*What it means:* {sentences}{why}\n\n![{title}]({charts}/{chart})\n\n{}",
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

/// What failed, and why, a line for each variant and experiment.
fn failures(results: &Results) -> String {
    let mut failed = BTreeMap::new();
    for sample in &results.samples {
        if let Some(why) = &sample.failed {
            let key = (sample.experiment, sample.variant.as_str());
            failed.entry(key).or_insert((0, why)).0 += 1;
        }
    }
    let lines = failed.into_iter().map(|((experiment, variant), (times, why))| {
        let rounds = results.rounds;
        format!("- `{variant}`, {experiment}: failed in {times} of {rounds} rounds: {why}\n")
    });
    titled("What failed:", lines.collect())
}

/// Where the load generator itself was too slow: a line for each experiment.
fn bottlenecks(results: &Results) -> String {
    let mut lines = String::new();
    for (figure, what) in [(figures::LOAD_BOUND, ""), (figures::CONNECT_LOAD_BOUND, ", connecting")] {
        let experiments: BTreeSet<_> = results.samples.iter().map(|sample| sample.experiment).collect();
        for experiment in experiments {
            let bound = results.variants.iter().filter_map(|entry| {
                let times = results.total(&entry.name, experiment, figure)?;
                (times > 0.0).then(|| format!("`{}` ({times})", entry.name))
            });
            let bound: Vec<_> = bound.collect();
            if !bound.is_empty() {
                lines += &format!("- {experiment}{what}: {}\n", bound.join(", "));
            }
        }
    }
    let rounds = results.rounds;
    let title = "Where the load generator was the bottleneck, and not the server";
    titled(&format!("{title} (in so many of {rounds} rounds):"), lines)
}

fn titled(title: &str, lines: String) -> String {
    if lines.is_empty() {
        return lines;
    }
    format!("{title}\n\n{lines}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n");
        assert_eq!(replace(&text, "new\n"), Some(expected));
        assert_eq!(replace("no markers", "new"), None);
    }
}
