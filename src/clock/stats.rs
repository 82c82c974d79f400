//! Numbers to look at: the page `/stats`, and the same in one log line. Runs on `client-N` and `main`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::Error;
use crate::Exchange;
use crate::Meter;
use crate::RequestHandler;
use crate::Result;

/// What `send` counts: written by it alone, after each round.
#[derive(Debug, Default)]
pub struct RoundStats {
    rounds: AtomicU64,
    late: AtomicU64,
    last_micros: AtomicU64,
    longest_micros: AtomicU64,
}

impl RoundStats {
    /// A round took so long.
    pub fn finished(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        // In this order, and read the other way round: the longest is never less than the last.
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        self.last_micros.store(micros, Ordering::Release);
    }

    /// A round took longer than the interval: how many did so far.
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
}

impl Readings {
    /// The numbers now, as JSON.
    pub fn read(&self) -> Value {
        let (server, rounds) = (self.meter.stats(), &self.rounds);
        json!({
            "clients": server.clients,
            "capacity": self.capacity,
            "accepted": server.accepted,
            "refused": server.refused,
            "pushes": server.pushes,
            "bytes": server.bytes,
            "slow_consumers": server.slow_consumers,
            "rounds": rounds.rounds.load(Ordering::Relaxed),
            "late_rounds": rounds.late.load(Ordering::Relaxed),
            "last_round_us": rounds.last_micros.load(Ordering::Acquire),
            "longest_round_us": rounds.longest_micros.load(Ordering::Relaxed),
            "threads": of_this_process("Threads:"),
            "resident_kib": of_this_process("VmRSS:"),
        })
    }
}

/// A number in `/proc/self/status`; none outside Linux.
fn of_this_process(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The page `/stats`.
pub struct StatsHandler {
    /// What it shows.
    pub readings: Readings,
    /// Whether others than loopback may see it.
    pub public: bool,
}

impl RequestHandler for StatsHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        if !self.public && !exchange.peer_addr().ip().to_canonical().is_loopback() {
            return Err(Error::refused(403, "Only for this machine; --stats public shows it to all"));
        }
        exchange.set_header("Content-Type", "application/json; charset=utf-8")?;
        exchange.set_header("Cache-Control", "no-store")?;
        exchange.write(format!("{:#}\n", self.readings.read()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::Request;

    #[test]
    fn this_machine_may_see_them_and_others_where_they_are_public_as_a_table() {
        for (peer, allowed) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", false),
            ("::", false),
        ] {
            let peer: IpAddr = peer.parse().unwrap();
            let request = Request::parse(b"GET /stats HTTP/1.1\r\nHost: h\r\n\r\n", (peer, 1).into());
            let (request, _) = request.unwrap().unwrap();
            let status = |public: bool| {
                let readings = Readings { meter: Meter::default(), capacity: 7, rounds: Arc::default() };
                let mut exchange = Exchange::new(&request, None);
                match (StatsHandler { readings, public }).get(&mut exchange) {
                    Ok(()) => {
                        let shown: Value = serde_json::from_slice(&exchange.response.body).unwrap();
                        assert_eq!(shown["capacity"], 7);
                        exchange.response.status
                    }
                    Err(Error::Refused { status, .. }) => status,
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!((status(false), status(true)), (if allowed { 200 } else { 403 }, 200), "{peer}");
        }
    }
}
