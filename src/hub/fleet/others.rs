//! [`Others`]: the other machines of a fleet, and whether they hear this one. Anybody who may publish at this Redis can
//! make machines up, so each beat costs the same however many there are.
//!
//! Never here: a clock that is read, so that tests can set it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often a machine says that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// A machine, or a link, that is silent for so long is gone. Must be a few times `BEAT`.
pub(super) const SILENCE: Duration = Duration::from_secs(6);
/// Most machines that are kept, and bytes in the name of one; others are ignored.
const MOST: usize = 65_536;
const MAX_NAME: usize = 64;
/// From one sweep of those that are gone to the next.
const SWEEP: Duration = Duration::from_millis(500);
/// Most machines that a beat says it hears. Where it has that many, one that it does not name may be heard too.
pub(super) const MOST_HEARD: usize = 256;
/// A machine that was not heard for so long is in no beat any more. Must be over two beats.
const FRESH: Duration = Duration::from_secs(5);
/// For how long a machine's beats leave this one out until it counts as not heard. Must be over a beat, in which a
/// machine that is new hears this one for the first time.
const UNHEARD: Duration = Duration::from_millis(2500);
/// The first and the longest time from one new link for want of being heard to the next.
const RELINK: (Duration, Duration) = (SILENCE, Duration::from_secs(300));

/// See the [module](self).
pub(super) struct Others {
    machines: HashMap<String, Other>,
    /// The sum of theirs, which are any numbers.
    clients: u128,
    swept: Instant,
    /// When this machine has subscribed, and to be heard since then is what counts.
    since: Instant,
    /// When a new link may be made for want of being heard, and the time from then to the next one.
    relink: (Instant, Duration),
    /// When a beat may be sent at once to one that is new.
    hurry: Instant,
}

struct Other {
    heard: Instant,
    clients: u64,
    /// The newest link that something came over.
    link: u64,
    /// When the last claim or message came.
    spoke: Option<Instant>,
    /// Since when its beats leave this machine out.
    unheard: Option<Instant>,
}

/// What a machine's beat says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Beat {
    pub(super) clients: u64,
    pub(super) leaves: bool,
    /// Whether it hears this machine.
    pub(super) hears_us: bool,
}

/// What follows from a beat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum News {
    Nothing,
    /// It is one machine more, or less.
    Number,
    /// It does not hear this machine, which it will once it has a beat of it.
    Hurry,
    /// It has not heard this machine for too long: the link leads to where nobody listens.
    Unheard,
    /// It is one too many, or has no name of a machine.
    Ignored,
}

impl Others {
    pub(super) fn new(now: Instant) -> Others {
        Others {
            machines: HashMap::new(),
            clients: 0,
            swept: now,
            since: now,
            relink: (now, RELINK.0),
            hurry: now,
        }
    }

    /// This machine has subscribed: what is heard from now on is heard over that link.
    pub(super) fn subscribed(&mut self, now: Instant) {
        self.since = now;
        self.machines.values_mut().for_each(|other| other.unheard = None);
    }

    /// This process stood still for a time, and so what waits to be read is old.
    pub(super) fn stood_still(&mut self) {
        self.machines.values_mut().for_each(|other| other.unheard = None);
    }

    /// Takes a beat.
    pub(super) fn beat(&mut self, machine: &str, beat: Beat, now: Instant) -> News {
        self.sweep(now);
        if beat.leaves {
            let Some(gone) = self.machines.remove(machine) else { return News::Nothing };
            self.clients -= u128::from(gone.clients);
            return News::Number;
        }
        let is_new = !self.machines.contains_key(machine);
        if is_new && (machine.len() > MAX_NAME || self.machines.len() >= MOST) {
            return News::Ignored;
        }
        let other = self.machines.entry(machine.to_owned()).or_insert(Other {
            heard: now,
            clients: 0,
            link: 0,
            spoke: None,
            unheard: None,
        });
        self.clients = self.clients - u128::from(other.clients) + u128::from(beat.clients);
        (other.heard, other.clients) = (now, beat.clients);
        if beat.hears_us {
            other.unheard = None;
        } else if now.saturating_duration_since(*other.unheard.get_or_insert(now)) < UNHEARD {
            if now >= self.hurry {
                self.hurry = now + BEAT / 2;
                return News::Hurry;
            }
        } else if now >= self.relink.0 {
            // Machines that are made up do not keep this one from its link: each time it takes longer.
            self.relink = (now + self.relink.1, (2 * self.relink.1).min(RELINK.1));
            return News::Unheard;
        }
        if now.saturating_duration_since(self.relink.0) > 2 * RELINK.1 {
            self.relink.1 = RELINK.0;
        }
        if is_new { News::Number } else { News::Nothing }
    }

    /// Notes that a machine has claimed an Id.
    pub(super) fn claimed(&mut self, machine: &str, now: Instant) {
        if let Some(other) = self.machines.get_mut(machine) {
            other.spoke = Some(now);
        }
    }

    /// Notes that a message has come over a machine's link. Returns false if something has come over a newer one: Redis
    /// may find the rest of an old link when a new one is in use, and one thread's messages are to stay in order.
    pub(super) fn is_in_order(&mut self, machine: &str, link: u64, now: Instant) -> bool {
        self.machines.get_mut(machine).is_none_or(|other| {
            let is_newest = link >= other.link;
            (other.link, other.spoke) = (other.link.max(link), Some(now));
            is_newest
        })
    }

    /// Returns whom a beat says that it hears: those that have lately claimed an Id or sent a message first.
    pub(super) fn heard(&self, now: Instant) -> Vec<&str> {
        let is_fresh =
            |other: &Other| other.heard >= self.since && now.saturating_duration_since(other.heard) < FRESH;
        let mut heard: Vec<_> = self.machines.iter().filter(|(_, other)| is_fresh(other)).collect();
        if heard.len() > MOST_HEARD {
            heard.select_nth_unstable_by_key(MOST_HEARD, |(_, other)| {
                std::cmp::Reverse((other.spoke, other.heard))
            });
            heard.truncate(MOST_HEARD);
        }
        heard.into_iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Returns how many there are, and their clients.
    pub(super) fn now(&mut self, now: Instant) -> (usize, u64) {
        self.sweep(now);
        (self.machines.len(), u64::try_from(self.clients).unwrap_or(u64::MAX))
    }

    /// Forgets those that are gone, twice a second at most.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let clients = &mut self.clients;
        self.machines.retain(|_, other| {
            let stays = now.saturating_duration_since(other.heard) < SILENCE;
            if !stays {
                *clients -= u128::from(other.clients);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARS: Beat = Beat { clients: 1, leaves: false, hears_us: true };
    const DEAF: Beat = Beat { hears_us: false, ..HEARS };

    #[test]
    fn a_machine_is_there_from_its_first_beat_until_it_leaves_or_6_seconds_after_its_last() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let mut others = Others::new(begun);
        assert_eq!(others.beat("a", HEARS, at(0.0)), News::Number);
        assert_eq!(others.beat("a", Beat { clients: 3, ..HEARS }, at(2.0)), News::Nothing);
        assert_eq!(others.beat("b", Beat { clients: u64::MAX, ..HEARS }, at(2.0)), News::Number);
        assert_eq!(others.now(at(2.0)), (2, u64::MAX), "sums saturate");
        assert_eq!(others.beat("b", Beat { leaves: true, ..HEARS }, at(3.0)), News::Number);
        assert_eq!(others.beat("b", Beat { leaves: true, ..HEARS }, at(3.0)), News::Nothing);
        assert_eq!(others.now(at(7.9)), (1, 3));
        assert_eq!(others.now(at(8.4)), (0, 0));
        assert_eq!(others.beat(&"x".repeat(65), HEARS, at(9.0)), News::Ignored);
    }

    #[test]
    fn a_machine_that_is_not_heard_makes_a_new_link_within_6_seconds_and_ever_more_seldom() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let mut others = Others::new(begun);
        // One that is new has heard nobody yet, and is shown at once that this one is there.
        assert_eq!(others.beat("a", DEAF, at(0.0)), News::Hurry);
        assert_eq!(others.beat("a", HEARS, at(2.0)), News::Nothing);
        let made_new = (2..30)
            .map(|beat| 2 * beat)
            .filter(|seconds| others.beat("a", DEAF, at(f64::from(*seconds))) == News::Unheard);
        assert_eq!(made_new.collect::<Vec<_>>(), [8, 14, 26, 50]);
        others.subscribed(at(60.0));
        assert_eq!(others.beat("a", DEAF, at(60.0)), News::Hurry, "a new link is given its time");
        others.stood_still();
        assert_eq!(others.beat("a", DEAF, at(70.0)), News::Hurry, "and so is one that stood still");
    }

    #[test]
    fn a_beat_names_those_that_are_heard_over_this_link_and_those_that_speak_first() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let mut others = Others::new(begun);
        for number in 0..1000 {
            others.beat(&number.to_string(), HEARS, at(0.0));
        }
        others.claimed("700", at(0.5));
        assert!(others.is_in_order("701", 3, at(0.5)) && !others.is_in_order("701", 2, at(0.5)));
        let heard = others.heard(at(1.0));
        assert_eq!(heard.len(), MOST_HEARD);
        assert!(heard.contains(&"700") && heard.contains(&"701"));
        others.subscribed(at(2.0));
        assert!(others.heard(at(2.0)).is_empty(), "nobody is heard over the new link yet");
        others.beat("7", HEARS, at(3.0));
        assert_eq!(others.heard(at(4.0)), ["7"]);
        assert!(others.heard(at(9.0)).is_empty());
    }

    /// With a sweep for each beat these were 200 million steps.
    #[test]
    fn twenty_thousand_invented_machines_cost_each_beat_no_more() {
        let begun = Instant::now();
        let mut others = Others::new(begun);
        let names: Vec<_> = (0..20_000).map(|number| format!("{number:016x}")).collect();
        let mut steps = 0;
        for round in 0..10 {
            for name in &names {
                others.beat(name, HEARS, begun + Duration::from_millis(round));
                steps += others.now(begun + Duration::from_millis(round)).0.min(1);
            }
        }
        assert_eq!((steps, others.now(begun).0), (200_000, 20_000));
        for number in 0..MOST {
            others.beat(&number.to_string(), HEARS, begun);
        }
        assert_eq!(others.now(begun).0, MOST, "and they are bounded");
    }
}
