//! Two of the fleet's threads: `fleet-in` only reads, `fleet-push` pushes to this machine's subscribers.
//!
//! Never here: a message that is written to Redis.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use redis::RedisResult;
use serde_json::Value;

use crate::hub::fleet::channel::{self, ChannelName};
use crate::hub::fleet::claims::Claim;
use crate::hub::fleet::state::{BEAT, FleetState, SILENCE, describe};

/// How long Redis may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// Nothing wakes a read that is blocked, so it looks around this often.
const SLICE: Duration = Duration::from_millis(500);
/// The first and the longest pause before another attempt to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Messages that are written together.
pub(super) const BATCH: usize = 512;

/// Connects, and subscribes to all channels of the fleet.
pub(super) fn subscribe(state: &FleetState) -> RedisResult<redis::Connection> {
    let mut reads = state.connect(ANSWER)?;
    let pattern = channel::pattern(&state.options.channel);
    reads.send_packed_command(&redis::cmd("PSUBSCRIBE").arg(pattern).get_packed_command())?;
    // `PubSub::psubscribe` would take a refusal for consent.
    reads.recv_response()?.extract_error()?;
    reads.set_read_timeout(Some(SLICE))?;
    Ok(reads)
}

/// The thread `fleet-in`: reads until `stop` ends, over as many links as it takes.
pub(super) fn read(state: &FleetState, first: redis::Connection, stop: &Receiver<()>) {
    let mut reads = Ok(first);
    let mut pause = Pause::new();
    loop {
        let ended = match &mut reads {
            Ok(connection) => listen(state, connection, stop, &mut pause),
            Err(error) => describe(error),
        };
        if pause.is_over(stop) {
            return;
        }
        state.down(&ended);
        reads = subscribe(state);
        if reads.is_ok() {
            // A beat that comes back, over the next link of `fleet-out`, says that the link is up.
            state.subscriptions.fetch_add(1, Relaxed);
            state.outgoing.wake();
        }
    }
}

/// Reads from one link until it breaks, or `stop` ends. Returns why.
fn listen(
    state: &FleetState,
    connection: &mut redis::Connection,
    stop: &Receiver<()>,
    pause: &mut Pause,
) -> String {
    let mut heard = Instant::now();
    let mut pubsub = connection.as_pubsub();
    loop {
        match pubsub.get_message() {
            Ok(message) if take(state, &message) => {
                heard = Instant::now();
                *pause = Pause::new();
            }
            Ok(_) => {}
            Err(error) if error.is_timeout() => {}
            Err(error) => return describe(&error),
        }
        if has_ended(stop) {
            return "this machine leaves".to_owned();
        }
        if heard.elapsed() > SILENCE {
            return format!("none of this machine's beats came back for {} s", SILENCE.as_secs());
        }
    }
}

/// Takes what Redis brings. Returns whether it is a beat of this machine.
fn take(state: &FleetState, message: &redis::Msg) -> bool {
    let name = message.get_channel_name();
    let (topic, is_binary) = match ChannelName::parse(&state.options.channel, name) {
        Some(ChannelName::Open(topic)) => (topic, false),
        Some(ChannelName::Machine { machine, .. }) if machine == state.machine => return false,
        Some(ChannelName::Machine { machine, link, .. }) if !state.is_in_order(machine, link) => {
            state.counts.stale.fetch_add(1, Relaxed);
            return false;
        }
        Some(ChannelName::Machine { is_binary, topic, .. }) => (topic, is_binary),
        Some(ChannelName::Control(machine)) => return control(state, machine, message.get_payload_bytes()),
        None => return false,
    };
    let bytes = message.get_payload_bytes();
    if bytes.len() > state.options.max_message {
        state.counts.refused.fetch_add(1, Relaxed);
        return false;
    }
    let message = channel::message(bytes.to_vec(), is_binary);
    if !state.incoming.offer((topic.to_owned(), message), bytes.len(), Instant::now()) {
        state.counts.full.fetch_add(1, Relaxed);
    }
    false
}

/// Takes what a machine tells the others. Returns whether it is a beat of this machine.
fn control(state: &FleetState, machine: &str, bytes: &[u8]) -> bool {
    let Ok(told) = serde_json::from_slice::<Value>(bytes) else { return false };
    let is_own = machine == state.machine;
    if let Some(claim) = Claim::of_json(&told) {
        if state.claims.heard(is_own, &claim, Instant::now()) {
            state.outgoing.wake();
        }
        return false;
    }
    if is_own {
        state.up();
    } else {
        let leaves = told["leaves"].as_bool().unwrap_or(false);
        state.heard(machine, told["clients"].as_u64().filter(|_| !leaves));
    }
    is_own
}

/// The thread `fleet-push`: pushes what comes in to this machine's subscribers, until the queue is closed.
pub(super) fn push(state: &FleetState) {
    loop {
        let taken = state.incoming.take(BATCH, Instant::now() + BEAT);
        state.tell_machines();
        state.counts.stale.fetch_add(taken.stale, Relaxed);
        for (topic, message) in taken.items {
            match state.hub.publish_here(&topic, message) {
                Ok(_) => state.counts.received.fetch_add(1, Relaxed),
                Err(error) => {
                    log::debug!(target: crate::LOG, "what came through Redis is dropped: {}", error.one_line());
                    state.counts.refused.fetch_add(1, Relaxed)
                }
            };
        }
        if taken.is_last {
            return;
        }
    }
}

/// The pauses between attempts to connect: doubled each time, and somewhat random, so that the machines of a fleet do
/// not come all at once.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Pause {
        Pause(PAUSE.0)
    }

    /// Blocks for as long as this pause takes. Returns true if `stop` has ended.
    pub(super) fn is_over(&mut self, stop: &Receiver<()>) -> bool {
        let random = RandomState::new().hash_one(()) % 1000;
        let pause = self.0.mul_f64(0.5 + random as f64 / 2000.0);
        self.0 = (self.0 * 2).min(PAUSE.1);
        stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
    }
}

fn has_ended(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
}
