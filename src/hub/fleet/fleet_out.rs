//! The thread `fleet-out`, which writes to Redis: messages, claims, beats.
//!
//! Never here: sending a message to Redis twice.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::Receiver;
use redis::RedisResult;
use serde_json::Value;

use crate::hub::fleet::channel;
use crate::hub::fleet::claims::Claim;
use crate::hub::fleet::control;
use crate::hub::fleet::others::BEAT;
use crate::hub::fleet::pause::Pause;
use crate::hub::fleet::queue::BATCH;
use crate::hub::fleet::redis_link::RedisLink;
use crate::hub::fleet::state::{Addressed, FleetState, describe};

/// A link for writing.
pub(super) struct WriteLink {
    connection: RedisLink,
    /// Its number among those of this machine.
    number: u64,
    /// [`FleetState::subscriptions`] before it was made.
    subscriptions: u64,
}

/// Why writing over an unbroken link has ended.
enum Ended {
    /// The queue is closed, and everything is written.
    Left,
    /// `fleet-in` has made a new link.
    Superseded,
}

impl WriteLink {
    /// Connects, and announces this machine.
    pub(super) fn announce(state: &FleetState, number: u64) -> RedisResult<WriteLink> {
        let subscriptions = state.subscriptions.load(Relaxed);
        let mut link = WriteLink { connection: state.connect()?, number, subscriptions };
        link.write(state, &[], &[], &VecDeque::new(), Some(false))?;
        Ok(link)
    }

    /// Publishes messages, then claims, then questions to the other machines and answers to theirs, then a beat if one is
    /// due or the machine is leaving; then waits for the answers.
    fn write(
        &mut self,
        state: &FleetState,
        messages: &[Addressed],
        claims: &[Claim],
        orders: &VecDeque<Value>,
        beat: Option<bool>,
    ) -> RedisResult<()> {
        let (name, machine) = (&state.options.channel, &state.machine);
        let mut pipeline = redis::pipe();
        for (topic, message) in messages {
            let channel = channel::of_message(name, machine, self.number, topic, message);
            pipeline.cmd("PUBLISH").arg(channel).arg(message.as_bytes()).ignore();
        }
        let to_all = channel::of_control(name, machine);
        for claim in claims {
            pipeline.cmd("PUBLISH").arg(&to_all).arg(claim.to_json().to_string()).ignore();
        }
        for order in orders {
            pipeline.cmd("PUBLISH").arg(&to_all).arg(order.to_string()).ignore();
        }
        if let Some(leaves) = beat {
            let beat = control::beat(state.own_clients(), leaves, &state.others().heard(Instant::now()));
            pipeline.cmd("PUBLISH").arg(to_all).arg(beat).ignore();
        }
        self.connection.send(&pipeline.get_packed_pipeline())?;
        (0..pipeline.len()).try_for_each(|_| self.connection.reply()?.extract_error().map(drop))
    }

    /// Writes queued work, until this link is no longer needed or breaks.
    fn forward(&mut self, state: &FleetState) -> RedisResult<Ended> {
        let mut next_beat = Instant::now() + BEAT;
        while self.subscriptions == state.subscriptions.load(Relaxed) {
            let taken = state.outgoing.take(BATCH, next_beat);
            state.counts.stale.fetch_add(taken.stale, Relaxed);
            let is_due = taken.items.is_empty() || Instant::now() >= next_beat || taken.is_last;
            let claims = state.claims.take_unsent(BATCH, Instant::now());
            if claims.len() == BATCH {
                // The queue may have more.
                state.outgoing.wake();
            }
            let count = taken.items.len() as u64;
            let orders = state.closing.take_unsent();
            if let Err(error) =
                self.write(state, &taken.items, &claims, &orders, is_due.then_some(taken.is_last))
            {
                // They may have arrived: nothing is sent twice.
                state.counts.unsure.fetch_add(count, Relaxed);
                return Err(error);
            }
            state.counts.sent.fetch_add(count, Relaxed);
            if taken.is_last {
                return Ok(Ended::Left);
            }
            if is_due {
                next_beat = Instant::now() + BEAT;
            }
        }
        Ok(Ended::Superseded)
    }
}

/// The thread `fleet-out`: writes what this machine publishes, until the queue is closed; its last message announces
/// that this machine is leaving.
pub(super) fn forward(state: &FleetState, first: WriteLink, stop: &Receiver<()>) {
    let (mut link, mut pause) = (Ok(first), Pause::new());
    for number in 2.. {
        let ended = link.and_then(|mut link| {
            pause = Pause::new();
            link.forward(state)
        });
        match ended {
            Ok(Ended::Left) => return,
            Ok(Ended::Superseded) => {}
            Err(error) => {
                if pause.is_over(stop) {
                    return;
                }
                state.down(&describe(&error));
                state.counts.stale.fetch_add(state.outgoing.expire(Instant::now()), Relaxed);
            }
        }
        link = WriteLink::announce(state, number);
    }
}
