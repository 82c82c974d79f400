//! Which client got which push, and when. A round is all the pushes with one time.

use std::ops::Range;
use std::time::{Duration, Instant};

use chrono::Local;

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::event::{Action, Event};
use crate::load::stamp;
use crate::process::OwnUse;
use crate::stats::{median, percentile};

/// Intervals after its first arrival, at which a round counts as ended, even if incomplete.
const ROUND_PATIENCE: u32 = 2;

/// One round of pushes.
struct Round {
    stamp: Vec<u8>,
    /// The time in the payload.
    pushed: Instant,
    /// The first arrival, which is not necessarily the first one read.
    first: Instant,
    arrivals: Vec<Instant>,
    /// The load generator's use when it read the first arrival.
    own_at_first: OwnUse,
    /// Its use from then on, until it had read the last.
    own: Option<(f64, f64)>,
}

/// All rounds so far.
pub struct Tally {
    interval: Duration,
    clients: usize,
    rounds: Vec<Round>,
    /// Clients that were open and are gone.
    pub lost: usize,
    problem: Option<Failure>,
}

impl Tally {
    /// Starts without rounds, for this number of clients and this interval.
    pub fn new(clients: usize, interval: Duration) -> Self {
        Self { interval, clients, rounds: Vec::new(), lost: 0, problem: None }
    }

    /// Corrects the number of clients, from the next round on.
    pub fn expect(&mut self, clients: usize) {
        self.clients = clients;
    }

    /// Handles an event of a client.
    pub fn hear(&mut self, event: &Event<'_>, now: Instant) -> Action {
        match event {
            Event::Opened => {}
            Event::Message(payload) => self.tick(payload, now),
            Event::Ended(_) => self.lost += 1,
        }
        Action::None
    }

    /// Rounds that have begun.
    pub fn begun(&self) -> usize {
        self.rounds.len()
    }

    /// When the latest round began, if it has reached every client.
    pub fn latest_if_whole(&self) -> Option<Instant> {
        let latest = self.rounds.last().filter(|round| round.arrivals.len() >= self.clients)?;
        Some(latest.first)
    }

    /// Whether this round has reached every client, or never will.
    pub fn has_ended(&self, round: usize, now: Instant) -> bool {
        self.rounds.get(round).is_some_and(|round| {
            round.arrivals.len() >= self.clients || now > round.first + self.interval * ROUND_PATIENCE
        })
    }

    fn tick(&mut self, text: &[u8], now: Instant) {
        let stamp = stamp::stamp(text);
        let clients = self.clients;
        if let Some(round) = self.rounds.iter_mut().rev().find(|round| round.stamp == stamp) {
            round.first = round.first.min(now);
            round.arrivals.push(now);
            if round.arrivals.len() == clients {
                round.own = Some(OwnUse::now().since(round.own_at_first, self.interval));
            }
            return;
        }
        let Some(time) = stamp::parse(text) else {
            let text = String::from_utf8_lossy(stamp);
            let line = format!("a push is not a time such as str(datetime.now()): `{text}`");
            self.problem.get_or_insert(Failure::new(line));
            return;
        };
        let (read, clock) = (Instant::now(), Local::now().naive_local());
        let pushed = match (clock - time).to_std() {
            Ok(age) => read.checked_sub(age).unwrap_or(read),
            Err(_) => read + (time - clock).to_std().unwrap_or_default(),
        };
        self.rounds.push(Round {
            stamp: stamp.to_vec(),
            pushed,
            first: now,
            arrivals: vec![now],
            own_at_first: OwnUse::now(),
            own: None,
        });
    }

    /// The figures of these rounds; the one before them must exist too.
    pub fn figures(&self, window: Range<usize>) -> Result<Figures, Failure> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let (mut missed, mut late) = (0, 0);
        let (mut spreads, mut halves, mut most) = (vec![], vec![], vec![]);
        let (mut busy, mut wants) = (vec![], vec![]);
        for index in window.clone() {
            let round = &self.rounds[index];
            missed += self.clients.saturating_sub(round.arrivals.len());
            missed += self.clients * self.rounds_left_out_before(index);
            late += round.late(self.interval / 2);
            let mut offsets: Vec<f64> = round.offsets().collect();
            halves.extend(percentile(&mut offsets, 0.5));
            most.extend(percentile(&mut offsets, 0.99));
            spreads.extend(percentile(&mut offsets, 1.0));
            if let Some((used, wanted)) = round.own {
                busy.push(used);
                wants.push(wanted);
            }
        }
        let mut figures = Figures::from([
            (figures::EXPECTED.into(), (self.clients * window.len()) as f64),
            (figures::MISSED.into(), missed as f64),
            (figures::LATE.into(), late as f64),
        ]);
        for (name, values) in
            [(figures::SPREAD_MS, spreads), (figures::SPREAD_P50_MS, halves), (figures::SPREAD_P99_MS, most)]
        {
            figures.extend(median(&values).map(|value| (name.to_owned(), value)));
        }
        let own = [busy, wants].map(|shares| median(&shares).unwrap_or_default());
        figures::add_load(&mut figures, own.into());
        Ok(figures)
    }

    /// Rounds that should have been between this one and the previous one.
    fn rounds_left_out_before(&self, index: usize) -> usize {
        let Some(before) = index.checked_sub(1).map(|before| &self.rounds[before]) else {
            return 0;
        };
        let gap = self.rounds[index].first - before.first;
        let intervals = gap.as_secs_f64() / self.interval.as_secs_f64();
        (intervals.round() as usize).saturating_sub(1)
    }
}

impl Round {
    /// Each arrival, as milliseconds after the first.
    fn offsets(&self) -> impl Iterator<Item = f64> {
        let offset = |arrival: &Instant| (*arrival - self.first).as_secs_f64() * 1000.0;
        self.arrivals.iter().map(offset)
    }

    /// Arrivals later than `limit` after the time in the payload.
    fn late(&self, limit: Duration) -> usize {
        let late = |arrival: &&Instant| **arrival > self.pushed + limit;
        self.arrivals.iter().filter(late).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn tally_of(pushes: &[(u32, usize)], clients: usize) -> Tally {
        let start = Instant::now();
        let mut tally = Tally::new(clients, INTERVAL);
        for &(second, arrivals) in pushes {
            let stamp = (Local::now() + Duration::from_secs(second.into())).naive_local();
            let text = stamp.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            for arrival in 0..arrivals {
                let offset = Duration::from_millis(arrival as u64 * 10);
                let now = start + INTERVAL * second + offset;
                tally.hear(&Event::Message(text.as_bytes()), now);
            }
        }
        tally
    }

    #[test]
    fn missed_ticks_are_counted_for_each_client_and_for_whole_rounds() {
        for (name, pushes, missed) in [
            ("nothing", vec![(0, 10), (1, 10), (2, 10)], 0.0),
            ("one client's tick", vec![(0, 10), (1, 9), (2, 10)], 1.0),
            ("a whole round", vec![(0, 10), (2, 10), (3, 10)], 10.0),
        ] {
            let tally = tally_of(&pushes, 10);
            let figures = tally.figures(1..3).unwrap();
            assert_eq!(figures[figures::MISSED], missed, "{name} is missed");
            assert_eq!(figures[figures::EXPECTED], 20.0);
        }
    }

    #[test]
    fn the_spread_is_from_the_first_to_the_last_client() {
        let figures = tally_of(&[(0, 11), (1, 11)], 11).figures(1..2).unwrap();
        assert_eq!(figures[figures::SPREAD_MS], 100.0);
        assert_eq!(figures[figures::SPREAD_P50_MS], 50.0);
    }

    #[test]
    fn a_tick_is_late_half_an_interval_after_its_time() {
        let figures = tally_of(&[(0, 60), (1, 60)], 60).figures(1..2).unwrap();
        assert_eq!(figures[figures::LATE], 9.0, "those from 510 to 590 ms");
    }

    #[test]
    fn a_push_without_a_time_is_a_failure() {
        let mut tally = Tally::new(1, INTERVAL);
        tally.hear(&Event::Message(b"hello"), Instant::now());
        let failure = tally.figures(0..0).unwrap_err();
        assert!(failure.to_string().contains("`hello`"), "{failure}");
    }
}
