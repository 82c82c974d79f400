//! The thread `fleet-in`, which reads from Redis: messages for `fleet-push`, claims, beats.
//!
//! Never here: writing to Redis, or pushing a message to a subscriber.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use redis::RedisResult;

use crate::hub::fleet::channel::{self, ChannelName};
use crate::hub::fleet::control::Control;
use crate::hub::fleet::others::{News, SILENCE};
use crate::hub::fleet::pause::Pause;
use crate::hub::fleet::redis_link::RedisLink;
use crate::hub::fleet::state::{FleetState, describe};

/// Nothing wakes a blocked read, so it checks for other work this often.
const SLICE: Duration = Duration::from_millis(500);

/// Connects, and subscribes to all channels of the fleet.
pub(super) fn subscribe(state: &FleetState) -> RedisResult<RedisLink> {
    let mut reads = state.connect()?;
    let pattern = channel::pattern(&state.options.channel);
    reads.send(&redis::cmd("PSUBSCRIBE").arg(pattern).get_packed_command())?;
    reads.reply()?.extract_error()?;
    reads.set_timeout(SLICE)?;
    state.others().subscribed(Instant::now());
    Ok(reads)
}

/// The thread `fleet-in`: reads until `stop` ends, over as many links as it needs.
pub(super) fn read(state: &FleetState, first: RedisLink, stop: &Receiver<()>) {
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
            // The link counts as up when a beat comes back over the next link of `fleet-out`.
            state.subscriptions.fetch_add(1, Relaxed);
            state.outgoing.wake();
        }
    }
}

/// Reads from one link until it breaks, or `stop` ends. Returns the reason.
fn listen(state: &FleetState, link: &mut RedisLink, stop: &Receiver<()>, pause: &mut Pause) -> String {
    let (mut heard, mut before) = (Instant::now(), Instant::now());
    loop {
        let taken = match link.message() {
            Ok(message) => message.map_or(Brought::Other, |message| take(state, &message)),
            Err(error) if error.is_timeout() => Brought::Other,
            Err(error) => return describe(&error),
        };
        let now = Instant::now();
        let stood_still = now.saturating_duration_since(before).saturating_sub(2 * SLICE);
        before = now;
        if !stood_still.is_zero() {
            // Stopped and continued: this process was silent in that time, not the link.
            heard += stood_still;
            state.others().stood_still();
        }
        match taken {
            Brought::OwnBeat => {
                heard = now;
                *pause = Pause::new();
            }
            Brought::Unheard if stood_still.is_zero() => {
                return "other machines do not hear this one, so it is linked to another Redis than they are"
                    .to_owned();
            }
            Brought::Unheard | Brought::Other => {}
        }
        if has_ended(stop) {
            return "this machine leaves".to_owned();
        }
        if now.saturating_duration_since(heard) > SILENCE {
            return format!("none of this machine's beats came back for {} s", SILENCE.as_secs());
        }
    }
}

/// The content of a message from Redis.
#[derive(PartialEq)]
enum Brought {
    /// A beat of this machine.
    OwnBeat,
    /// A beat of a machine that has not heard this one for too long.
    Unheard,
    Other,
}

/// Handles a message from Redis.
fn take(state: &FleetState, message: &redis::Msg) -> Brought {
    let name = message.get_channel_name();
    let now = Instant::now();
    let (topic, is_binary) = match ChannelName::parse(&state.options.channel, name) {
        Some(ChannelName::Open(topic)) => (topic, false),
        Some(ChannelName::Machine { machine, .. }) if machine == state.machine => return Brought::Other,
        Some(ChannelName::Machine { machine, link, .. })
            if !state.others().is_in_order(machine, link, now) =>
        {
            state.counts.stale.fetch_add(1, Relaxed);
            return Brought::Other;
        }
        Some(ChannelName::Machine { is_binary, topic, .. }) => (topic, is_binary),
        Some(ChannelName::Control(machine)) => {
            return control(state, machine, message.get_payload_bytes(), now);
        }
        None => {
            state.counts.ignored.fetch_add(1, Relaxed);
            return Brought::Other;
        }
    };
    let bytes = message.get_payload_bytes();
    if bytes.len() > state.options.max_message {
        state.counts.refused.fetch_add(1, Relaxed);
        return Brought::Other;
    }
    let message = channel::message(bytes.to_vec(), is_binary);
    if !state.incoming.offer((topic.to_owned(), message), bytes.len(), now) {
        state.counts.full.fetch_add(1, Relaxed);
    }
    Brought::Other
}

/// Handles a control message of a machine. Counts it as ignored if it is too large, or of an unknown kind or version:
/// machines with a later version may be in the fleet, and other programs may use this Redis.
fn control(state: &FleetState, machine: &str, bytes: &[u8], now: Instant) -> Brought {
    let is_own = machine == state.machine;
    let news = match Control::parse(bytes, &state.machine) {
        Some(Control::Claim(claim)) => {
            state.others().claimed(machine, now);
            if state.claims.heard(is_own, &claim, now) {
                state.outgoing.wake();
            }
            return Brought::Other;
        }
        Some(Control::Close(_) | Control::Closed(_)) if is_own => return Brought::Other,
        Some(Control::Close(order)) => {
            let had_it = state.claims.close(&order.id, order.code, &order.reason).unwrap_or(false);
            state.closing.answer(machine, &order, had_it);
            state.outgoing.wake();
            return Brought::Other;
        }
        Some(Control::Closed(answer)) => {
            state.closing.heard(&state.machine, machine, &answer);
            return Brought::Other;
        }
        Some(Control::Beat(_)) if is_own => {
            state.up();
            return Brought::OwnBeat;
        }
        Some(Control::Beat(beat)) => state.others().beat(machine, beat, now),
        None => News::Ignored,
    };
    match news {
        News::Nothing => {}
        News::Number => state.incoming.wake(),
        News::Hurry => {
            state.incoming.wake();
            state.outgoing.wake();
        }
        News::Unheard => return Brought::Unheard,
        News::Ignored => _ = state.counts.ignored.fetch_add(1, Relaxed),
    }
    Brought::Other
}

fn has_ended(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(TryRecvError::Disconnected)
}
