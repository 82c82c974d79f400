//! Connects clients that never read and one that does, and measures the server's memory for them.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::event::{Action, Event};
use crate::load::gaps::Gaps;
use crate::load::{CLOCK, Target};
use crate::process::connections_at;

/// The receive buffer of a client that never reads, small so that the server's memory fills. The kernel rounds it up to
/// its own minimum.
const RECEIVE_BUFFER: usize = 4096;

/// Runs the scenario.
pub fn run(target: &Target, clients: usize, time: Duration) -> Result<Figures, Failure> {
    let server = target.process();
    let before = server.memory()?;
    let mut crowd = target.crowd()?;
    let mut gaps = Gaps::default();
    let deadline = target.connect_deadline(clients + 1);
    let mut healthy = None;
    crowd.connect_all((CLOCK, 1), target.pace(), deadline, &mut |place, _, _| {
        healthy = Some(place);
        Action::None
    })?;
    let watched = |place| Some(place) == healthy;
    crowd.limit_receive_buffer(RECEIVE_BUFFER);
    crowd.connect_all((CLOCK, clients), target.pace(), deadline, &mut |place, event, now| match event {
        Event::Opened => Action::StopReading,
        event if watched(place) => gaps.hear(place, &event, now),
        _ => Action::None,
    })?;

    gaps.settle(1, &mut crowd, watched)?;
    let end = Instant::now() + time;
    while Instant::now() < end {
        gaps.watch(&mut crowd, end, watched)?;
    }
    let gap = gaps.take_longest(Instant::now());
    let after = server.memory()?;
    // All established ones, except the one that reads.
    let kept = connections_at(target.address.port())?.saturating_sub(1);
    Ok(Figures::from([
        (figures::GROWTH_MIB.into(), (after.resident - before.resident) / 1024.0),
        (figures::KEPT.into(), kept as f64),
        (figures::GAP_MS.into(), gap.as_secs_f64() * 1000.0),
    ]))
}
