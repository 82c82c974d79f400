//! The charts, as SVG. The background is transparent and all colours are of middle lightness, so that
//! they can be read on a light page and on a dark one.

use std::fs;
use std::path::Path;

use crate::experiment::{Experiment, Kind};
use crate::failure::{Failure, While};
use crate::figures;
use crate::report::bars::{Bars, Part};
use crate::report::numbers::thousands;
use crate::results::Results;

/// Writes all charts for which there are figures.
pub fn write(results: &Results, directory: &Path) -> Result<(), Failure> {
    for (file, chart) in charts(results) {
        if let Some(svg) = chart.draw(results)? {
            let path = directory.join(file);
            fs::write(&path, svg).doing(format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

fn charts(results: &Results) -> [(&'static str, Bars<'static>); 5] {
    // A bar for each of the two largest sizes, of one figure: more do not fit a projector with all variants.
    let by_size = |kind, figure, subject: &str, for_each: bool| {
        let mut sizes = results.sizes(kind);
        sizes.drain(..sizes.len().saturating_sub(2));
        let part = |size| Part {
            name: format!("{} {subject}", thousands(size as i64)),
            experiment: Experiment::new(kind, size),
            figure,
            scale: if for_each { 1000.0 / size as f64 } else { 1.0 },
        };
        sizes.into_iter().map(part).collect()
    };
    // A bar for each of several figures, at one size.
    let by_figure = |kind, size, parts: &[(&str, &'static str)]| {
        let part = |(name, figure): &(&str, &'static str)| Part {
            name: (*name).to_owned(),
            experiment: Experiment::new(kind, size),
            figure,
            scale: 1.0,
        };
        parts.iter().map(part).collect()
    };
    let watchers = results.sizes(Kind::Blocked).last().copied().unwrap_or_default();
    let memory = [
        ("resident", figures::RESIDENT_KIB),
        ("kernel stacks", figures::KERNEL_STACK_KIB),
        ("page tables", figures::PAGE_TABLES_KIB),
    ];
    let blocked =
        [("one handler sleeps", figures::SLEEP_GAP_MS), ("one handler spins", figures::SPIN_GAP_MS)];
    let chart = |title, parts, stacked| Bars { title, parts, stacked };
    [
        (
            "cpu.svg",
            chart(
                "Server CPU for a push to one client, µs (less is better)",
                by_size(Kind::Push, figures::CPU_MS, "clients", true),
                false,
            ),
        ),
        (
            "spread.svg",
            chart(
                "First to last client of a push, ms (less is better)",
                by_size(Kind::Push, figures::SPREAD_MS, "clients", false),
                false,
            ),
        ),
        (
            "echo.svg",
            chart(
                "Echoes a second (more is better)",
                by_size(Kind::Echo, figures::RATE, "connections", false),
                false,
            ),
        ),
        (
            "memory.svg",
            chart(
                "Memory of a client, KiB (less is better)",
                by_figure(Kind::Push, common_size(results), &memory),
                true,
            ),
        ),
        (
            "blocked.svg",
            chart(
                "Longest gap that other clients see, ms (less is better)",
                by_figure(Kind::Blocked, watchers, &blocked),
                false,
            ),
        ),
    ]
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
