//! The server's numbers: the page `/stats`, and one log line. Runs on `client-N` and `main`.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::clients::Clients;
use crate::clock::process::ProcessReading;
use crate::clock::rounds::RoundStats;
use crate::clock::token::Token;
use crate::clock::{fleet, log_thread};
use threadcast::{Error, Exchange, Fleet, Meter, Request, RequestHandler, Result};

/// The sources of the numbers.
#[derive(Clone)]
pub struct Readings {
    /// The server's.
    pub meter: Meter,
    /// Most concurrent clients.
    pub capacity: usize,
    /// The clients that get the time.
    pub clients: Arc<Clients>,
    /// The `send` thread's.
    pub rounds: Arc<RoundStats>,
    /// The fleet, if the program is in one.
    pub fleet: Option<Arc<Fleet>>,
    /// The tokens of callers: publishers and administrators, as far as the options enable them.
    pub tokens: Vec<Arc<Token>>,
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings").finish_non_exhaustive()
    }
}

impl Readings {
    /// Returns the numbers now, as JSON.
    pub fn read(&self) -> Value {
        let (server, process) = (self.meter.stats(), ProcessReading::read());
        let ((rounds, late), (last, longest)) = (self.rounds.counts(), self.rounds.took_micros());
        let mut numbers = json!({
            "clients": server.clients,
            "websockets": server.websockets,
            "capacity": self.capacity,
            "accepted": server.accepted,
            "rejected": server.rejected,
            "rejections": by_name(server.rejections.by_reason()),
            "limited": by_name(server.limited.by_limit()),
            "pushes": server.pushes,
            "bytes": server.bytes,
            "bytes_uncompressed": server.bytes_uncompressed,
            "slow_consumers": server.slow_consumers,
            "disconnects": by_name(server.disconnects.iter().map(|(reason, n)| (reason.name(), n))),
            "rounds": rounds,
            "late_rounds": late,
            "last_round_us": last,
            "longest_round_us": longest,
            "unauthorized": self.unauthorized(),
            "lost_log_lines": log_thread::lost(),
            "threads": process.threads,
            "resident_kib": process.resident_kib,
        });
        if let Some(fleet) = &self.fleet {
            numbers["fleet"] = fleet::to_json(&fleet.stats());
        }
        numbers
    }

    /// Returns how many requests lacked the right token.
    pub fn unauthorized(&self) -> u64 {
        self.tokens.iter().map(|token| token.unauthorized()).sum()
    }
}

fn by_name(numbers: impl Iterator<Item = (&'static str, u64)>) -> Value {
    numbers.collect()
}

/// Refuses a request for numbers that are for this machine only.
///
/// # Errors
/// The refusal, with 403.
pub fn check_audience(request: &Request, public: bool) -> Result<()> {
    if public || request.is_local() {
        return Ok(());
    }
    Err(Error::refused(403, "For this machine only; --stats public shows it to all"))
}

/// The page `/stats`.
pub struct StatsHandler {
    /// The readings that it shows.
    pub readings: Readings,
    /// Whether others than this machine may see it.
    pub public: bool,
}

impl RequestHandler for StatsHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        check_audience(exchange, self.public)?;
        exchange.set_header("Content-Type", "application/json; charset=utf-8")?;
        exchange.set_header("Cache-Control", "no-store")?;
        exchange.write(format!("{:#}\n", self.readings.read()));
        Ok(())
    }
}
