//! Connects clients that send nothing (but answer pings), and measures their cost.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::crowd::Crowd;
use crate::load::event::{Action, Event};
use crate::load::{CLOCK, Target};

/// The time for the server to finish its work for new clients.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs the scenario.
pub fn run(target: &Target, clients: usize, time: Duration) -> Result<Figures, Failure> {
    let server = target.process();
    let mut crowd = target.crowd()?;
    let deadline = target.connect_deadline(clients);
    let none = &mut |_, _: Event<'_>, _| Action::None;
    crowd.connect_all((CLOCK, clients), target.pace(), deadline, none)?;
    let mut lost = 0;
    pass(&mut crowd, SETTLE, &mut lost)?;
    let cpu = server.cpu()?;
    pass(&mut crowd, time, &mut lost)?;
    let cpu = server.cpu()? - cpu;
    Ok(Figures::from([
        (figures::CPU_PERCENT.into(), cpu.as_secs_f64() / time.as_secs_f64() * 100.0),
        (figures::LOST.into(), f64::from(lost)),
    ]))
}

/// Lets time pass, and counts clients that lose their connection.
fn pass(crowd: &mut Crowd, time: Duration, lost: &mut u32) -> Result<(), Failure> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        crowd.turn(end, &mut |_, event, _| {
            *lost += u32::from(matches!(event, Event::Ended(_)));
            Action::None
        })?;
    }
    Ok(())
}
