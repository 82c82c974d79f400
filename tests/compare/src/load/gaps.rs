//! The longest time that any watched client went without a push.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::load::crowd::Crowd;
use crate::load::event::{Action, Event};

/// The time in which every client must get a push while nothing is in its way.
const RECOVERY: Duration = Duration::from_secs(20);
/// The longest wait before the next check whether every client got one.
const GLANCE: Duration = Duration::from_millis(20);

/// When each client last got something from the server.
#[derive(Default)]
pub struct Gaps {
    last: HashMap<usize, Instant>,
    longest: Duration,
    ended: Option<String>,
}

impl Gaps {
    /// Handles an event of a watched client.
    pub fn hear(&mut self, client: usize, event: &Event<'_>, now: Instant) -> Action {
        match event {
            Event::Opened => {}
            Event::Message(_) => self.tick(client, now),
            Event::Ended(how) => self.ended = Some(format!("a watched client was {how}")),
        }
        Action::None
    }

    /// Waits until every client got a push, and forgets earlier gaps.
    pub fn settle(
        &mut self,
        clients: usize,
        crowd: &mut Crowd,
        watched: impl Fn(usize) -> bool,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        while self.heard_since(start) < clients {
            if start.elapsed() > RECOVERY {
                let heard = self.heard_since(start);
                let line = format!("only {heard} of {clients} clients got a push in 20 s");
                return Err(Failure::new(line));
            }
            self.watch(crowd, Instant::now() + GLANCE, &watched)?;
        }
        self.take_longest(Instant::now());
        Ok(())
    }

    /// Watches until `until`, or until something happens.
    pub fn watch(
        &mut self,
        crowd: &mut Crowd,
        until: Instant,
        watched: impl Fn(usize) -> bool,
    ) -> Result<(), Failure> {
        crowd.turn(until, &mut |place, event, now| match watched(place) {
            true => self.hear(place, &event, now),
            false => Action::None,
        })?;
        match self.ended.take() {
            Some(line) => Err(Failure::new(line)),
            None => Ok(()),
        }
    }

    fn tick(&mut self, client: usize, now: Instant) {
        if let Some(last) = self.last.insert(client, now) {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
    }

    /// The longest gap since the last call, including current ones.
    pub fn take_longest(&mut self, now: Instant) -> Duration {
        let open = self.last.values().map(|last| now.saturating_duration_since(*last));
        open.fold(std::mem::take(&mut self.longest), Duration::max)
    }

    fn heard_since(&self, time: Instant) -> usize {
        self.last.values().filter(|last| **last >= time).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_even_while_it_lasts() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut gaps = Gaps::default();
        gaps.tick(1, at(0));
        gaps.tick(2, at(0));
        gaps.tick(1, at(300));
        gaps.tick(2, at(100));
        assert_eq!(gaps.take_longest(at(310)), Duration::from_millis(300));
        assert_eq!(gaps.take_longest(at(900)), Duration::from_millis(800));
        assert_eq!(gaps.heard_since(at(200)), 1);
    }
}
