//! The pages `/health` and `/ready`, for supervisors and load balancers. They run on `client-N`, and log nothing.
//!
//! Neither reports a lost Redis or late rounds: another server would not do better, and all machines would leave at
//! once.

use crate::clock::stats::Readings;
use threadcast::{Exchange, RequestHandler, Result};

/// A page that is 200, or 503 with the reason.
pub struct HealthHandler {
    /// The readings that it looks at.
    pub readings: Readings,
    /// Whether it also reports a full server: `/ready`.
    pub for_newcomers: bool,
}

impl HealthHandler {
    /// Returns why not.
    fn trouble(&self) -> Option<String> {
        let Readings { meter, capacity, rounds, .. } = &self.readings;
        let still = rounds
            .standstill()
            .map(|quiet| format!("the thread send is stuck: its last round ended {} s ago", quiet.as_secs()));
        still.or_else(|| {
            let full = || usize::try_from(meter.stats().websockets).is_ok_and(|clients| clients >= *capacity);
            match self.for_newcomers {
                true if meter.is_draining() => Some("draining".to_owned()),
                true if full() => Some(format!("full: {capacity} clients are connected")),
                _ => None,
            }
        })
    }
}

impl RequestHandler for HealthHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_header("Content-Type", "text/plain; charset=utf-8")?;
        exchange.set_header("Cache-Control", "no-store")?;
        let trouble = self.trouble();
        if trouble.is_some() {
            exchange.set_status(503);
        }
        exchange.write(trouble.as_deref().unwrap_or("ok"));
        exchange.write("\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use threadcast::Application;

    use super::*;
    use crate::clock::clients::Clients;
    use crate::clock::rounds::RoundStats;

    #[test]
    fn both_pages_say_so_when_send_stands_still() {
        let readings = |rounds| Readings {
            meter: Application::new().meter(),
            capacity: 1,
            clients: Arc::new(Clients::new()),
            rounds: Arc::new(rounds),
            fleet: None,
            tokens: Vec::new(),
        };
        for for_newcomers in [false, true] {
            let runs = readings(RoundStats::new(Duration::from_secs(60)));
            assert_eq!(HealthHandler { readings: runs, for_newcomers }.trouble(), None);
            let stands = readings(RoundStats::since(Duration::from_secs(1), Duration::from_secs(5)));
            let trouble = HealthHandler { readings: stands, for_newcomers }.trouble();
            let expected = "the thread send is stuck: its last round ended 5 s ago";
            assert_eq!(trouble.as_deref(), Some(expected));
        }
    }
}
