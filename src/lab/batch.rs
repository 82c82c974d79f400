//! Events become JSON. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::lanes::Lane;
use crate::lab::recorder::Seen;
use threadcast::Event;

/// Frames of one thread that follow each other within this time are one push. Less than the shortest
/// interval between two rounds that one can tell apart on the page.
const ONE_PUSH: Duration = Duration::from_millis(20);

/// Frames that a thread wrote, or left to others, one after the other.
struct Push {
    from: Instant,
    to: Instant,
    wrote: Vec<u64>,
    queued: Vec<u64>,
}

/// Encodes the events as a list; of each thread in their order.
pub fn encode(seen: impl IntoIterator<Item = Seen>, began: Instant) -> Vec<Value> {
    let mut list = Vec::new();
    let mut pushes: HashMap<Lane, Push> = HashMap::new();
    for Seen { at, lane, client, event } in seen {
        let written = event == Event::Wrote;
        if !written && event != Event::Queued {
            list.push(simple(millis(began, at), lane, client, event));
            continue;
        }
        let push = || Push { from: at, to: at, wrote: Vec::new(), queued: Vec::new() };
        let current = pushes.entry(lane).or_insert_with(push);
        if at.saturating_duration_since(current.to) > ONE_PUSH {
            let done = std::mem::replace(current, push());
            list.push(done.json(lane, began));
        }
        current.to = at;
        let clients = if written { &mut current.wrote } else { &mut current.queued };
        clients.push(client);
    }
    list.extend(pushes.into_iter().map(|(lane, push)| push.json(lane, began)));
    list
}

/// Milliseconds since the lab began, with two decimals.
pub fn millis(began: Instant, at: Instant) -> f64 {
    (at.saturating_duration_since(began).as_secs_f64() * 100_000.0).round() / 100.0
}

fn simple(t: f64, lane: Lane, client: u64, event: Event) -> Value {
    let (is, more) = match event {
        Event::Accepted => ("accepted", json!({})),
        Event::Opened(target) => ("opened", json!({ "target": target })),
        Event::HandlerBegins(method) => ("begins", json!({ "method": method })),
        Event::HandlerEnds { method, panicked } => {
            ("ends", json!({ "method": method, "panicked": panicked }))
        }
        Event::Reads => ("reads", json!({})),
        Event::Wakes => ("wakes", json!({})),
        Event::Waits => ("waits", json!({})),
        Event::Wrote | Event::Queued => ("push", json!({})),
        Event::PumpBegins => ("pump", json!({})),
        Event::PumpEnds => ("pumped", json!({})),
        Event::SlowConsumer { backlog } => ("slow", json!({ "backlog": backlog })),
        Event::Closed { code } => ("closed", json!({ "code": code })),
        Event::Gone => ("gone", json!({})),
        _ => ("other", json!({})),
    };
    let mut event = json!({ "t": t, "thread": lane.to_string(), "is": is, "client": client });
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

impl Push {
    fn json(mut self, lane: Lane, began: Instant) -> Value {
        let frames = self.wrote.len() + self.queued.len();
        for clients in [&mut self.wrote, &mut self.queued] {
            clients.sort_unstable();
            clients.dedup();
        }
        json!({
            "t": millis(began, self.from),
            "to": millis(began, self.to),
            "thread": lane.to_string(),
            "is": "push",
            "wrote": self.wrote,
            "queued": self.queued,
            "frames": frames,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(began: Instant, millis: u64, lane: Lane, client: u64, event: Event) -> Seen {
        Seen { at: began + Duration::from_millis(millis), lane, client, event }
    }

    #[test]
    fn a_round_is_one_push_and_two_rounds_are_two() {
        let (began, send) = (Instant::now(), Lane::Send(1));
        let list = encode(
            [
                seen(began, 5, send, 2, Event::Wrote),
                seen(began, 6, send, 1, Event::Wrote),
                seen(began, 7, send, 3, Event::Queued),
                seen(began, 7, Lane::Pump(3), 3, Event::Wrote),
                seen(began, 105, send, 1, Event::Wrote),
            ],
            began,
        );
        assert_eq!(list.len(), 3);
        assert_eq!(
            list[0],
            json!({ "t": 5.0, "to": 7.0, "thread": "send", "is": "push", "wrote": [1, 2], "queued": [3], "frames": 3 })
        );
        assert!(list[1..].iter().any(|push| push["thread"] == "pump-3" && push["wrote"] == json!([3])));
        assert!(list[1..].iter().any(|push| push["thread"] == "send" && push["t"] == 105.0));
    }

    #[test]
    fn events_have_names() {
        let began = Instant::now();
        let ends = Event::HandlerEnds { method: "on_message", panicked: true };
        let list = encode([seen(began, 1, Lane::Client(7), 7, ends)], began);
        let expected = json!({
            "t": 1.0, "thread": "client-7", "is": "ends", "client": 7, "method": "on_message", "panicked": true
        });
        assert_eq!(list, [expected]);
    }
}
