//! Where figures are missing or mean less, and why: failures, and a load generator without time to spare.

use std::collections::{BTreeMap, BTreeSet};

use crate::experiment::{Experiment, Kind};
use crate::figures::{self, Figures};
use crate::report::numbers::{number, thousands, title};
use crate::results::Results;

/// Memory mappings of a thread: its stack and that of its signal handlers, each with a guard.
const MAPPINGS: f64 = 4.0;
/// KiB of the kernel's stack of a thread.
const KERNEL_STACK: f64 = 16.0;
/// Share of a limit from which on it is what ends a server: it needs some of it for itself.
const NEARLY: f64 = 0.98;
/// The limit on a process's memory mappings.
pub const MAPS: &str = "vm.max_map_count";
/// The limit on a process's descriptors.
pub const DESCRIPTORS: &str = "descriptors";

/// What failed, and why, a line for each variant and experiment.
pub fn failures(results: &Results) -> String {
    let mut failed = BTreeMap::<_, BTreeMap<&str, usize>>::new();
    for sample in &results.samples {
        if let Some(why) = &sample.failed {
            let reasons = failed.entry((sample.experiment, sample.variant.as_str())).or_default();
            *reasons.entry(why.as_str()).or_default() += 1;
        }
    }
    let lines = failed.into_iter().map(|((experiment, variant), reasons)| {
        let (times, rounds): (usize, _) = (reasons.values().sum(), experiment.rounds(results.rounds));
        let reasons: Vec<_> = match reasons.len() {
            1 => reasons.into_keys().map(str::to_owned).collect(),
            _ => reasons.into_iter().map(|(why, times)| format!("{why} ({times})")).collect(),
        };
        let (title, reasons) = (title(experiment), reasons.join("; "));
        let limit = limit(results, experiment, variant);
        format!("- `{variant}`, {title}: failed in {times} of {rounds} rounds: {reasons}{limit}\n")
    });
    titled("What failed:", lines.collect())
}

/// The limit of this machine that so many clients exceed, in brackets.
fn limit(results: &Results, experiment: Experiment, variant: &str) -> String {
    let size = experiment.size as f64;
    // What each client takes, where the most of them could be measured.
    let each = |figure| {
        let sizes = results.sizes(Kind::Push);
        let mut found = sizes.iter().rev();
        found.find_map(|size| results.median(variant, Experiment::new(Kind::Push, *size), figure))
    };
    let exceeds = |needed: f64, name| {
        results.machine.limit(name).filter(|limit| needed >= *limit as f64 * NEARLY).map(thousands)
    };
    let some = |count: f64, what: &str| match number(count).as_str() {
        "1" => format!("one {what}"),
        count => format!("{count} {what}s"),
    };
    if let Some(descriptors) = each(figures::DESCRIPTORS)
        && let Some(limit) = exceeds(descriptors * size, DESCRIPTORS)
    {
        let taken = some(descriptors, "descriptor");
        return format!(" (it takes {taken} for each client, and may open {limit})");
    }
    if let Some(stacks) = each(figures::KERNEL_STACK_KIB)
        && let Some(limit) = exceeds(stacks / KERNEL_STACK * MAPPINGS * size, MAPS)
    {
        let threads = some((stacks / KERNEL_STACK * 10.0).round() / 10.0, "thread");
        return format!(
            " (it takes {threads} for each client, each with {MAPPINGS} memory mappings, and `{MAPS}` is {limit})"
        );
    }
    String::new()
}

/// Where the load generator had no time to spare, and what that means: a line for each experiment.
pub fn bottlenecks(results: &Results) -> String {
    let rounds = results.rounds;
    let share = |figures: &Figures, name| figures.get(name).copied().map_or(0.0, figures::load_bound) == 1.0;
    let busy = lines(results, |figures| share(figures, figures::LOAD_BUSY));
    let shared =
        lines(results, |figures| share(figures, figures::LOAD_WANTED) && !share(figures, figures::LOAD_BUSY));
    let connecting = lines(results, |figures| figures.get(figures::CONNECT_LOAD_BOUND) == Some(&1.0));
    let busy_title = format!(
        "Where the load generator could not do more (in so many of {rounds} rounds); the server could:"
    );
    let shared_title =
        format!("Where server and load generator fought for the load generator's core (of {rounds} rounds):");
    let connecting_title = format!(
        "Where the load generator had no time to spare while the clients connected, its waiting for its core \
         included (of {rounds} rounds):"
    );
    titled(&busy_title, busy) + &titled(&shared_title, shared) + &titled(&connecting_title, connecting)
}

/// For each experiment, the variants in whose turns this was so, and in how many.
fn lines(results: &Results, so: impl Fn(&Figures) -> bool) -> String {
    let experiments: BTreeSet<_> = results.samples.iter().map(|sample| sample.experiment).collect();
    let lines = experiments.into_iter().filter_map(|experiment| {
        let variants = results.variants.iter().filter_map(|entry| {
            let turns = results.turns(&entry.name, experiment);
            let times = turns.filter(|turn| so(&turn.figures)).count();
            (times > 0).then(|| format!("`{}` ({times})", entry.name))
        });
        let variants: Vec<_> = variants.collect();
        let (rounds, all) = (experiment.rounds(results.rounds), results.rounds);
        let of = if rounds < all { format!(", of {rounds}") } else { String::new() };
        let list = variants.join(", ");
        (!variants.is_empty()).then(|| format!("- {}{of}: {list}\n", title(experiment)))
    });
    lines.collect()
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
    use crate::report::samples::results;

    #[test]
    fn a_failure_says_which_limit_it_met() {
        let figures = |descriptors, threads: f64| {
            [(figures::DESCRIPTORS, descriptors), (figures::KERNEL_STACK_KIB, threads * 16.0)]
        };
        let (four, handoff, plain) = (figures(4.0, 2.0), figures(1.0, 2.0), figures(1.0, 1.0));
        let mut results = results(&[
            ("threads-python", "push", 1000, &four),
            ("thread-handoff", "push", 1000, &handoff),
            ("thread-plain", "push", 1000, &plain),
            ("threads-python", "push", 5000, &[]),
            ("thread-handoff", "push", 15_000, &[]),
            ("thread-handoff", "push", 15_000, &[]),
            ("thread-plain", "push", 15_000, &[]),
        ]);
        results.rounds = 2;
        for (place, why) in [(3, "reset"), (4, "status 503"), (5, "silence"), (6, "told to crash")] {
            results.samples[place].failed = Some(why.into());
        }
        let limits = [("descriptors", "20000"), (MAPS, "65530")];
        results.machine.limits = limits.map(|(name, value)| (name.into(), value.into())).into();
        let expected = "What failed:\n\n\
            - `threads-python`, push 5,000: failed in 1 of 2 rounds: reset \
            (it takes 4 descriptors for each client, and may open 20,000)\n\
            - `thread-handoff`, push 15,000: failed in 2 of 2 rounds: silence (1); status 503 (1) \
            (it takes 2 threads for each client, each with 4 memory mappings, and `vm.max_map_count` is 65,530)\n\
            - `thread-plain`, push 15,000: failed in 1 of 2 rounds: told to crash\n\n";
        assert_eq!(failures(&results), expected);
    }

    #[test]
    fn a_busy_load_generator_is_not_one_that_waits_for_its_core() {
        let load = |busy, wanted| [(figures::LOAD_BUSY, busy), (figures::LOAD_WANTED, wanted)];
        let (free, busy, shared) = (load(0.4, 0.5), load(0.95, 0.99), load(0.5, 0.97));
        let results = results(&[
            ("thread", "echo", 500, &shared),
            ("thread", "echo", 500, &shared),
            ("loop", "echo", 500, &busy),
            ("loop", "echo", 500, &shared),
            ("loop-2", "echo", 500, &free),
            ("loop-2", "push", 5000, &[(figures::CONNECT_LOAD_BOUND, 1.0)]),
        ]);
        let text = bottlenecks(&results);
        let parts: Vec<_> = text.split("\n\n").filter(|part| part.starts_with('-')).collect();
        let expected =
            ["- echo 500: `loop` (1)", "- echo 500: `thread` (2), `loop` (1)", "- push 5,000: `loop-2` (1)"];
        assert_eq!(parts, expected, "{text}");
        assert!(text.starts_with("Where the load generator could not do more"), "{text}");
    }
}
