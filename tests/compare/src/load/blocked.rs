//! Lets one client's handler block, first asleep and then busy, and measures the effect on the others.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::event::{Action, Event};
use crate::load::frame::text_frame;
use crate::load::gaps::Gaps;
use crate::load::{CLOCK, Target};

/// Intervals after the blocking time, in which the others may still have to wait.
const AFTERMATH: u32 = 3;

/// Runs the scenario.
pub fn run(target: &Target, clients: usize, time: Duration) -> Result<Figures, Failure> {
    let mut crowd = target.crowd()?;
    let mut blocker = None;
    let deadline = target.connect_deadline(clients + 1);
    // The first client is the one that blocks. It connects with the others, but is not watched.
    crowd.connect_all((CLOCK, clients + 1), target.pace(), deadline, &mut |place, event, _| {
        if matches!(event, Event::Opened) {
            blocker.get_or_insert(place);
        }
        Action::None
    })?;
    let blocker = blocker.ok_or_else(|| Failure::new("no client was connected"))?;
    let watched = |place| place != blocker;

    let mut gaps = Gaps::default();
    let mut figures = Figures::new();
    for (name, verb) in [(figures::SLEEP_GAP_MS, "sleep"), (figures::SPIN_GAP_MS, "spin")] {
        gaps.settle(clients, &mut crowd, watched)?;
        crowd.send(blocker, &text_frame(&format!("{verb} {}", time.as_millis())))?;
        let end = Instant::now() + time + target.interval * AFTERMATH;
        while Instant::now() < end {
            gaps.watch(&mut crowd, end, watched)?;
        }
        let longest = gaps.take_longest(Instant::now());
        figures.insert(name.into(), longest.as_secs_f64() * 1000.0);
    }
    Ok(figures)
}
