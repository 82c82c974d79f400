//! Connects and leaves as fast as possible, beside steady clients that watch their pushes.

use std::time::{Duration, Instant};

use crate::failure::{Failure, While};
use crate::figures::{self, Figures};
use crate::load::event::{Action, Ended, Event};
use crate::load::gaps::Gaps;
use crate::load::{CLOCK, Target};

/// The longest wait before new clients replace those that left.
const GLANCE: Duration = Duration::from_millis(20);

/// Runs the scenario.
pub fn run(target: &Target, clients: usize, time: Duration) -> Result<Figures, Failure> {
    let mut crowd = target.crowd()?;
    let mut gaps = Gaps::default();
    let deadline = target.connect_deadline(clients);
    let mut places = std::collections::HashSet::new();
    crowd.connect_all((CLOCK, clients), target.pace(), deadline, &mut |place, _, _| {
        places.insert(place);
        Action::None
    })?;
    gaps.settle(clients, &mut crowd, |place| places.contains(&place))?;

    let (mut came, mut failed) = (0_u32, 0_u32);
    let server = target.process();
    let (start, cpu) = (Instant::now(), server.cpu()?);
    while start.elapsed() < time {
        let allowed = target.rate.map_or(f64::MAX, |rate| rate * start.elapsed().as_secs_f64());
        while crowd.opening() < target.in_flight && f64::from(came + failed) < allowed {
            crowd.connect(CLOCK).doing("connect a client")?;
        }
        let until = Instant::now() + GLANCE;
        crowd.turn(until, &mut |place, event, now| match event {
            event if places.contains(&place) => gaps.hear(place, &event, now),
            Event::Opened => Action::HangUp,
            Event::Ended(Ended::HungUp) => {
                came += 1;
                Action::None
            }
            Event::Ended(_) => {
                failed += 1;
                Action::None
            }
            Event::Message(_) => Action::None,
        })?;
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), server.cpu()? - cpu);
    let gap = gaps.take_longest(Instant::now());
    Ok(Figures::from([
        (figures::RATE.into(), f64::from(came) / seconds),
        (figures::UNCLEAN.into(), f64::from(failed)),
        (figures::COMING_US.into(), cpu.as_secs_f64() * 1e6 / f64::from(came.max(1))),
        (figures::GAP_MS.into(), gap.as_secs_f64() * 1000.0),
    ]))
}
