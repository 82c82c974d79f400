//! Connects clients until the server accepts no more, and checks that the accepted ones get their ticks.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::event::{Action, Ended, Event};
use crate::load::tally::Tally;
use crate::load::ticks::await_end_of;
use crate::load::{CLOCK, Target, raise_descriptor_limit};
use crate::report::numbers::thousands;

/// Descriptors of the load generator that are not clients.
const OWN_DESCRIPTORS: u64 = 32;
/// Unclean endings in a row, after which the server counts as full.
const ENOUGH_UNCLEAN: usize = 128;
/// Rounds that the accepted clients must get at the end.
const ROUNDS: usize = 3;
/// The time for all attempts together. A server that holds fewer by then was not at its limit.
const DEADLINE: Duration = Duration::from_secs(180);
/// The longest wait before the next check.
const GLANCE: Duration = Duration::from_millis(20);

/// How the attempts ended so far.
#[derive(Default)]
struct Door {
    refused: usize,
    unclean: usize,
    unclean_in_a_row: usize,
    lost: usize,
    /// By place: whether the client at it was accepted.
    inside: Vec<bool>,
}

/// Runs the scenario.
pub fn run(target: &Target, attempts: usize) -> Result<Figures, Failure> {
    let most = (raise_descriptor_limit()? - OWN_DESCRIPTORS) as usize;
    let mut crowd = target.crowd()?;
    let mut tally = Tally::new(attempts, target.interval);
    let mut door = Door::default();
    let deadline = Instant::now() + DEADLINE;
    let (mut started, mut load_limited) = (0, false);
    while door.unclean_in_a_row < ENOUGH_UNCLEAN {
        if Instant::now() > deadline {
            let (held, tried) = (thousands(crowd.opened() as i64), thousands(started as i64));
            let seconds = DEADLINE.as_secs();
            let line = format!("not full after {seconds} s: {held} of {tried} clients were connected");
            return Err(Failure::new(line));
        }
        while started < attempts && crowd.opening() < target.in_flight {
            load_limited = crowd.opened() + crowd.opening() >= most;
            if load_limited || crowd.connect(CLOCK).is_err() {
                load_limited = true;
                break;
            }
            started += 1;
        }
        if crowd.opening() == 0 && (load_limited || started == attempts) {
            break;
        }
        crowd.turn(Instant::now() + GLANCE, &mut |place, event, now| {
            door.hear(place, &event);
            tally.hear(&event, now)
        })?;
    }

    tally.expect(crowd.opened());
    tally.lost = 0;
    // One round to settle, then those that count.
    await_end_of(tally.begun(), &mut crowd, &mut tally, target.interval)?;
    let first = tally.begun();
    await_end_of(first + ROUNDS - 1, &mut crowd, &mut tally, target.interval)?;
    let mut figures = tally.figures(first..first + ROUNDS)?;
    for (name, value) in [
        (figures::HELD, crowd.opened() as f64),
        (figures::REFUSED, door.refused as f64),
        (figures::UNCLEAN, door.unclean as f64),
        (figures::LOST, (door.lost + tally.lost) as f64),
        (figures::LOAD_LIMITED, f64::from(load_limited)),
    ] {
        figures.insert(name.into(), value);
    }
    Ok(figures)
}

impl Door {
    fn hear(&mut self, place: usize, event: &Event<'_>) -> Action {
        if self.inside.len() <= place {
            self.inside.resize(place + 1, false);
        }
        match event {
            Event::Opened => {
                self.unclean_in_a_row = 0;
                self.inside[place] = true;
            }
            Event::Ended(_) if std::mem::take(&mut self.inside[place]) => self.lost += 1,
            Event::Ended(Ended::Refused(_)) => {
                self.refused += 1;
                self.unclean_in_a_row = 0;
            }
            Event::Ended(_) => {
                self.unclean += 1;
                self.unclean_in_a_row += 1;
            }
            Event::Message(_) => {}
        }
        Action::None
    }
}
