//! Numbers to look at: the page `/stats`, and the same in one log line. Runs on `client-N` and `main`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::publish::Token;
use crate::clock::{fleet, log_thread};
use threadcast::{Error, Exchange, Fleet, Meter, RequestHandler, Result};

/// What `send` counts: written by it alone, after each round.
#[derive(Debug, Default)]
pub struct RoundStats {
    rounds: AtomicU64,
    late: AtomicU64,
    last_micros: AtomicU64,
    longest_micros: AtomicU64,
}

impl RoundStats {
    /// Counts a round, and how long it took.
    pub fn finished(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        // In this order, and read the other way round: the longest is never less than the last.
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        self.last_micros.store(micros, Ordering::Release);
    }

    /// Counts a round that took longer than the interval. Returns how many did so far.
    pub fn late(&self) -> u64 {
        self.late.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// All there is to read.
#[derive(Clone)]
pub struct Readings {
    /// The server's.
    pub meter: Meter,
    /// Most clients at a time.
    pub capacity: usize,
    /// The `send` thread's.
    pub rounds: Arc<RoundStats>,
    /// The fleet, if the program is in one.
    pub fleet: Option<Arc<Fleet>>,
    /// What publishers have to know, if somebody can publish.
    pub token: Option<Arc<Token>>,
}

impl Readings {
    /// Returns the numbers now, as JSON.
    pub fn read(&self) -> Value {
        let (server, rounds) = (self.meter.stats(), &self.rounds);
        let disconnects: Map<_, _> =
            server.disconnects.iter().map(|(reason, n)| (reason.name().to_owned(), n.into())).collect();
        let mut numbers = json!({
            "clients": server.clients,
            "capacity": self.capacity,
            "accepted": server.accepted,
            "rejected": server.rejected,
            "rejections": {
                "full": server.rejections.full,
                "half_open": server.rejections.half_open,
                "clients_per_address": server.rejections.clients_per_address,
                "connects_per_address": server.rejections.connects_per_address,
            },
            "limited": { "messages": server.limited.messages, "bytes": server.limited.bytes },
            "pushes": server.pushes,
            "bytes": server.bytes,
            "bytes_uncompressed": server.bytes_uncompressed,
            "slow_consumers": server.slow_consumers,
            "disconnects": disconnects,
            "rounds": rounds.rounds.load(Ordering::Relaxed),
            "late_rounds": rounds.late.load(Ordering::Relaxed),
            "last_round_us": rounds.last_micros.load(Ordering::Acquire),
            "longest_round_us": rounds.longest_micros.load(Ordering::Relaxed),
            "unauthorized": self.token.as_ref().map_or(0, |token| token.refused()),
            "lost_log_lines": log_thread::lost(),
            "threads": of_this_process("Threads:"),
            "resident_kib": of_this_process("VmRSS:"),
        });
        if let Some(fleet) = &self.fleet {
            numbers["fleet"] = fleet::to_json(&fleet.stats());
        }
        numbers
    }
}

/// Returns a number in `/proc/self/status`; none outside Linux.
fn of_this_process(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The page `/stats`.
pub struct StatsHandler {
    /// What it shows.
    pub readings: Readings,
    /// Whether others than this machine may see it.
    pub public: bool,
}

impl RequestHandler for StatsHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        if !self.public && !exchange.is_local() {
            return Err(Error::refused(403, "Only for this machine; --stats public shows it to all"));
        }
        exchange.set_header("Content-Type", "application/json; charset=utf-8")?;
        exchange.set_header("Cache-Control", "no-store")?;
        exchange.write(format!("{:#}\n", self.readings.read()));
        Ok(())
    }
}
