//! [`Others`]: the other machines of a fleet, and whether they hear this one. Anybody who may publish at this Redis can
//! invent machines, so a beat costs the same for any number of them.
//!
//! Never here: reading the clock, so that tests can set it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often a machine sends a beat.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// A machine or link is gone after this much silence. Must be a few times `BEAT`.
pub(super) const SILENCE: Duration = Duration::from_secs(6);
/// The most machines to keep, and the most bytes in a name; others are ignored.
const MOST: usize = 65_536;
const MAX_NAME: usize = 64;
/// The time between two sweeps that remove machines.
const SWEEP: Duration = Duration::from_millis(500);
/// The most machines that a beat names. If a beat names that many, its sender may also hear a machine that it does not
/// name.
pub(super) const MOST_HEARD: usize = 256;
/// A beat names only machines that were heard within this time. Must be over two beats.
const FRESH: Duration = Duration::from_secs(5);
/// How long a machine's beats may leave this one out before this one counts as unheard. Must be over a beat, because a
/// new machine needs one to hear this one for the first time.
const UNHEARD: Duration = Duration::from_millis(2500);
/// The first and the longest time between two new links that a machine makes because it is unheard.
const RELINK: (Duration, Duration) = (SILENCE, Duration::from_secs(300));

/// See the [module](self).
pub(super) struct Others {
    machines: HashMap<String, Other>,
    /// The sum of their clients; the machines may claim any numbers.
    clients: u128,
    swept: Instant,
    /// When this machine subscribed; only beats since then show that it is heard.
    since: Instant,
    /// When this machine may next make a new link because it is unheard, and the time from then to the one after it.
    relink: (Instant, Duration),
    /// When this machine may next send a beat at once to greet a new one.
    hurry: Instant,
}

struct Other {
    heard: Instant,
    clients: u64,
    /// The newest link that brought something.
    link: u64,
    /// When the last claim or message came.
    spoke: Option<Instant>,
    /// Since when its beats have left this machine out.
    unheard: Option<Instant>,
}

/// The content of a machine's beat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Beat {
    pub(super) clients: u64,
    pub(super) leaves: bool,
    /// Whether it hears this machine.
    pub(super) hears_us: bool,
}

/// The effect of a beat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum News {
    Nothing,
    /// The number of machines has changed.
    Number,
    /// It does not hear this machine yet, but will after the next beat.
    Hurry,
    /// It has not heard this machine for too long: nobody listens at the other end of the link.
    Unheard,
    /// There are too many machines, or its name is invalid.
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

    /// This machine has subscribed: from now on, messages come over the new link.
    pub(super) fn subscribed(&mut self, now: Instant) {
        self.since = now;
        self.machines.values_mut().for_each(|other| other.unheard = None);
    }

    /// This process stood still for a time, so the waiting input is old.
    pub(super) fn stood_still(&mut self) {
        self.machines.values_mut().for_each(|other| other.unheard = None);
    }

    /// Handles a beat.
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
            // Invented machines cannot keep this one busy with new links: each time it waits longer.
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

    /// Notes that a message has come over a machine's link. Returns false if a newer link has already brought
    /// something: Redis may deliver the rest of an old link later, and one thread's messages must stay in order.
    pub(super) fn is_in_order(&mut self, machine: &str, link: u64, now: Instant) -> bool {
        self.machines.get_mut(machine).is_none_or(|other| {
            let is_newest = link >= other.link;
            (other.link, other.spoke) = (other.link.max(link), Some(now));
            is_newest
        })
    }

    /// Returns the machines that a beat names: first those that have lately claimed an Id or sent a message.
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

    /// Returns the number of machines, and of their clients.
    pub(super) fn now(&mut self, now: Instant) -> (usize, u64) {
        self.sweep(now);
        (self.machines.len(), u64::try_from(self.clients).unwrap_or(u64::MAX))
    }

    /// Removes machines that are gone, twice a second at most.
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
        // A new machine has heard nobody yet, so this one sends it a beat at once.
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

    /// With a sweep for each beat, this was 200 million steps.
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
