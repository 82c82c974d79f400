//! The charts, as SVG. The background is transparent and all colours are of middle lightness, so that
//! they can be read on a light page and on a dark one.

use std::fs;
use std::path::Path;

use crate::experiment::{Experiment, Kind};
use crate::failure::{Failure, While};
use crate::figures;
use crate::report::bars::Bars;
use crate::report::lines::Lines;
use crate::report::numbers::thousands;
use crate::results::Results;

const LINES: [Lines; 3] = [
    Lines {
        file: "cpu.svg",
        kind: Kind::Push,
        figure: figures::CPU_MS,
        title: "Server CPU for a push to one client, µs (less is better)",
        for_each: true,
    },
    Lines {
        file: "spread.svg",
        kind: Kind::Push,
        figure: figures::SPREAD_MS,
        title: "First to last client of a round, ms (less is better)",
        for_each: false,
    },
    Lines {
        file: "echo.svg",
        kind: Kind::Echo,
        figure: figures::RATE,
        title: "Echoes a second (more is better)",
        for_each: false,
    },
];

/// Writes all charts for which there are figures.
pub fn write(results: &Results, directory: &Path) -> Result<(), Failure> {
    let mut charts = Vec::new();
    for lines in &LINES {
        charts.push((lines.file, lines.draw(results)?));
    }
    let largest = |kind| results.sizes(kind).last().copied().unwrap_or_default();
    let clients = common_size(results);
    let memory = Bars {
        experiment: Experiment::new(Kind::Push, clients),
        title: &format!("Memory for each of {} clients, KiB (less is better)", thousands(clients as i64)),
        parts: &[
            ("resident", figures::RESIDENT_KIB),
            ("kernel stacks", figures::KERNEL_STACK_KIB),
            ("page tables", figures::PAGE_TABLES_KIB),
        ],
        stacked: true,
    };
    charts.push(("memory.svg", memory.draw(results)?));
    let blocked = Bars {
        experiment: Experiment::new(Kind::Blocked, largest(Kind::Blocked)),
        title: "Longest gap that other clients see, ms (less is better)",
        parts: &[("one handler sleeps", figures::SLEEP_GAP_MS), ("one handler spins", figures::SPIN_GAP_MS)],
        stacked: false,
    };
    charts.push(("blocked.svg", blocked.draw(results)?));
    for (file, svg) in charts {
        if let Some(svg) = svg {
            let path = directory.join(file);
            fs::write(&path, svg).doing(format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

/// The largest number of clients at which no variant that has figures of memory lacks them.
fn common_size(results: &Results) -> usize {
    let sizes = results.sizes(Kind::Push);
    let measured =
        |size: usize| results.variants_with(Experiment::new(Kind::Push, size), figures::MEMORY_KIB).len();
    let most = sizes.iter().map(|size| measured(*size)).max();
    sizes.into_iter().rfind(|size| Some(measured(*size)) == most).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::results;

    #[test]
    fn memory_is_drawn_where_all_have_a_figure() {
        let memory = [(figures::MEMORY_KIB, 1.0)];
        let results = results(&[
            ("loop", "push", 100, &memory),
            ("thread", "push", 100, &memory),
            ("loop", "push", 1000, &memory),
            ("thread", "push", 1000, &memory),
            ("loop", "push", 5000, &memory),
            ("thread", "push", 5000, &[]),
        ]);
        assert_eq!(common_size(&results), 1000);
    }
}
