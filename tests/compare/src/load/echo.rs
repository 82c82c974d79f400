//! Sends a message on each connection in a loop, as soon as the last one is back.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::crowd::Crowd;
use crate::load::event::{Action, Event};
use crate::load::frame::text_frame;
use crate::load::{ECHO, Target};
use crate::process::OwnUse;
use crate::stats::percentile;

/// The message: as long as a short line of chat, 32 bytes.
const MESSAGE: &str = "an echo of thirty-two characters";
/// The share of the time that passes before the measurement.
const WARM_UP: f64 = 0.2;

/// Runs the scenario.
pub fn run(target: &Target, clients: usize, time: Duration) -> Result<Figures, Failure> {
    let server = target.process();
    let mut crowd = target.crowd()?;
    crowd.take_own_times();
    let frame = text_frame(MESSAGE);
    crowd.prepare(frame.clone());
    let mut places = Vec::new();
    let deadline = target.connect_deadline(clients);
    crowd.connect_all((ECHO, clients), target.pace(), deadline, &mut |place, event, _| {
        if matches!(event, Event::Opened) {
            places.push(place);
        }
        Action::None
    })?;

    let mut sent = vec![Instant::now(); clients];
    let mut trips = Vec::new();
    for place in places {
        sent[place] = Instant::now();
        crowd.send(place, &frame)?;
    }
    bounce(&mut crowd, time.mul_f64(WARM_UP), &mut sent, &mut trips)?;
    trips.clear();
    let (start, cpu, own) = (Instant::now(), server.cpu()?, OwnUse::now());
    bounce(&mut crowd, time, &mut sent, &mut trips)?;
    let (cpu, elapsed) = (server.cpu()? - cpu, start.elapsed());
    let own = OwnUse::now().since(own, elapsed);

    let mut figures = Figures::new();
    for (name, share) in [(figures::P50_US, 0.5), (figures::P99_US, 0.99), (figures::P999_US, 0.999)] {
        let value = percentile(&mut trips, share).ok_or_else(|| Failure::new("nothing came back"))?;
        figures.insert(name.into(), value);
    }
    let (echoes, seconds) = (trips.len() as f64, elapsed.as_secs_f64());
    figures.insert(figures::RATE.into(), echoes / seconds);
    figures.insert(figures::CPU_US.into(), cpu.as_secs_f64() * 1e6 / echoes);
    figures::add_load(&mut figures, own);
    Ok(figures)
}

/// Sends the messages to and fro, and records each round trip in microseconds: from sending a message to reading its
/// echo.
fn bounce(
    crowd: &mut Crowd,
    time: Duration,
    sent: &mut [Instant],
    trips: &mut Vec<f64>,
) -> Result<(), Failure> {
    let end = Instant::now() + time;
    let mut ended = None;
    while Instant::now() < end {
        crowd.turn(end, &mut |place, event, now| match event {
            Event::Message(message) if message == MESSAGE.as_bytes() => {
                trips.push((now - sent[place]).as_secs_f64() * 1e6);
                sent[place] = Instant::now();
                Action::Send
            }
            Event::Message(_) => {
                ended = Some("what came back is not what was sent".to_owned());
                Action::None
            }
            Event::Ended(how) => {
                ended = Some(format!("a connection was {how}"));
                Action::None
            }
            Event::Opened => Action::None,
        })?;
        if let Some(line) = ended {
            return Err(Failure::new(line));
        }
    }
    Ok(())
}
