//! Results made up for tests.

use crate::experiment::Times;
use crate::machine::Machine;
use crate::results::Results;

/// A turn: of a variant, in a kind of experiment, a number of clients, and its figures.
pub type Turn<'a> = (&'a str, &'a str, usize, &'a [(&'a str, f64)]);

/// Results of these turns. Turns of a variant in the same experiment are of one round after the other. Variants whose name begins with `thread` or
/// `green` are that, all others loops.
pub fn results(turns: &[Turn<'_>]) -> Results {
    let mut variants: Vec<serde_json::Value> = Vec::new();
    for (name, ..) in turns {
        if variants.iter().all(|entry| entry["name"] != *name) {
            let kind = match name {
                name if name.starts_with("thread") => "threads",
                name if name.starts_with("green") => "green",
                _ => "loop",
            };
            variants.push(serde_json::json!({"name": name, "kind": kind, "version": ""}));
        }
    }
    let round = |place: usize| {
        let same =
            |turn: &&Turn<'_>| (turn.0, turn.1, turn.2) == (turns[place].0, turns[place].1, turns[place].2);
        turns[..=place].iter().filter(same).count()
    };
    let samples: Vec<_> = turns
        .iter()
        .enumerate()
        .map(|(place, (name, kind, size, figures))| {
            let figures: serde_json::Map<_, _> =
                figures.iter().map(|(figure, value)| ((*figure).to_owned(), (*value).into())).collect();
            serde_json::json!({"variant": name, "kind": kind, "size": size, "round": round(place), "figures": figures})
        })
        .collect();
    let results = serde_json::json!({
        "date": "", "command": "", "machine": Machine::default(), "times": Times::FULL,
        "rounds": (0..turns.len()).map(round).max(), "variants": variants, "samples": samples
    });
    serde_json::from_value(results).unwrap()
}
