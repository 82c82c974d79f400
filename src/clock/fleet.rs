//! The fleet that the program is in, with `--redis`: its Redis, and its numbers in `/stats`.
//!
//! Never here: a URL in what is printed or logged.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::greeting::Greeting;
use crate::clock::topics::Topics;
use threadcast::{Fleet, FleetOptions, FleetStats, Meter, Result};

/// The option for where the fleet meets. Its value may have a password in it.
pub const OPTION: &str = "redis";

/// Returns where the fleet meets, if there is a Redis.
pub fn options(redis: Option<&str>, channel: Option<&str>) -> Option<FleetOptions> {
    let mut options = FleetOptions::new(redis?);
    if let Some(channel) = channel {
        channel.clone_into(&mut options.channel);
    }
    Some(options)
}

/// Joins the fleet. Clients that speak `threadcast.1` learn the number of machines.
///
/// # Errors
/// As of [`Fleet::join`].
pub fn join(
    options: &FleetOptions,
    topics: &Arc<Topics>,
    greeting: &Arc<Greeting>,
    meter: Meter,
) -> Result<Fleet> {
    let fleet = Fleet::join(topics.hub(), options, move || meter.stats().clients)?;
    greeting.set_machines(fleet.stats().machines);
    let (topics, greeting) = (topics.clone(), greeting.clone());
    fleet.on_machines(move |machines| {
        if greeting.set_machines(machines) {
            topics.greet(greeting.message());
        }
    });
    Ok(fleet)
}

/// Returns the numbers for `/stats`.
pub fn to_json(stats: &FleetStats) -> Value {
    json!({
        "machines": stats.machines,
        "clients": stats.clients,
        "link": if stats.is_linked { "up" } else { "down" },
        "link_seconds": stats.since.as_secs(),
        "link_reason": stats.reason,
        "sent": stats.sent,
        "received": stats.received,
        "ignored": stats.ignored,
        "lost": {
            "full": stats.lost.full,
            "stale": stats.lost.stale,
            "refused": stats.lost.refused,
            "unsure": stats.lost.unsure,
        },
    })
}

/// Returns whether a URL has a password, which `ps` would show to every user of this machine.
pub fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || url.contains("pass=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_a_password_as_a_table() {
        for (url, expected) in [
            ("redis://10.0.0.5", false),
            ("redis://10.0.0.5:6379/0", false),
            ("redis://[::1]:6379", false),
            ("redis://ann@10.0.0.5:6379", false),
            ("unix:/run/redis.sock", false),
            ("redis://:secret@10.0.0.5", true),
            ("rediss://ann:secret@10.0.0.5:6380", true),
            ("redis://ann:se/c@ret@10.0.0.5", true),
            ("unix:/run/redis.sock?user=ann&pass=secret", true),
            ("ann:secret@10.0.0.5", true),
        ] {
            assert_eq!(has_password(url), expected, "{url}");
        }
    }
}
