//! [`Rejection`]: why a newcomer gets no place, and the answer that it gets.

use std::time::Duration;

use crate::error::Error;
use crate::metrics::Counters;
use crate::server::addresses::AddressLimit;

/// `Retry-After`, in seconds. Random, so that clients that are refused together come back at different times.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=10;

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The server is full, and no client makes room.
    Full { most: usize },
    /// Its own address has the most half-open connections.
    HalfOpen,
    /// Its address has reached its limit.
    AddressLimit(AddressLimit),
    /// Only trusted proxies may connect.
    NotAProxy,
    /// The server is about to end, and accepts no new WebSockets.
    Draining,
}

impl From<AddressLimit> for Rejection {
    fn from(limit: AddressLimit) -> Rejection {
        Rejection::AddressLimit(limit)
    }
}

impl Rejection {
    /// Counts it.
    pub(crate) fn count(&self, counters: &Counters) {
        counters.rejected.add(1);
        match self {
            Rejection::Full { .. } => &counters.rejected_full,
            Rejection::HalfOpen => &counters.rejected_half_open,
            Rejection::NotAProxy => &counters.rejected_not_a_proxy,
            Rejection::AddressLimit(AddressLimit::Clients { .. }) => &counters.rejected_clients_per_address,
            Rejection::AddressLimit(AddressLimit::Connects { .. }) => &counters.rejected_connects_per_address,
            Rejection::Draining => &counters.rejected_draining,
        }
        .add(1);
    }

    /// Returns the log's text for clients that are refused for this reason.
    pub(crate) fn log_text(&self) -> String {
        match self {
            Rejection::Full { most } => format!("the limit is {most}"),
            Rejection::HalfOpen => "their address has the most half-open connections".to_owned(),
            Rejection::AddressLimit(AddressLimit::Clients { most }) => {
                format!("the limit of clients per address is {most}")
            }
            Rejection::AddressLimit(AddressLimit::Connects { rate, .. }) => {
                format!("the limit of connects per address is {rate}")
            }
            Rejection::Draining => "the server is about to shut down".to_owned(),
            Rejection::NotAProxy => "they are not trusted proxies, and the PROXY protocol is on".to_owned(),
        }
    }

    /// Returns the answer. Its `Retry-After` is the time until the address may connect again, or a random time, in both
    /// cases from 1 to 10 seconds.
    pub(crate) fn to_error(self) -> Error {
        let (status, reason) = match self {
            Rejection::Full { .. } => (503, "503: No room for another client, try again later"),
            Rejection::HalfOpen => {
                (503, "503: Too many half-open connections from your address, try again later")
            }
            Rejection::AddressLimit(AddressLimit::Clients { .. }) => {
                (503, "503: Too many clients from your address, try again later")
            }
            Rejection::NotAProxy => (403, "403: Only trusted proxies may connect"),
            Rejection::AddressLimit(AddressLimit::Connects { .. }) => {
                (429, "429: Too many connects from your address, try again later")
            }
            Rejection::Draining => (503, "503: The server is about to shut down, try again later"),
        };
        let seconds = match self {
            Rejection::AddressLimit(AddressLimit::Connects { early, .. }) => whole_seconds(early),
            _ => rand::random_range(RETRY_AFTER),
        };
        Error::refused(status, reason).with_header("Retry-After", &seconds.to_string())
    }
}

/// Rounded up, within the bounds of `Retry-After`.
fn whole_seconds(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    whole.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::Rate;

    #[test]
    fn who_has_connected_too_often_comes_back_when_it_may() {
        let rate = Rate::per_minute(1);
        for (early, seconds) in [(1, "1"), (1000, "1"), (1001, "2"), (9999, "10"), (60_000, "10")] {
            let early = Duration::from_millis(early);
            let error = Rejection::from(AddressLimit::Connects { rate, early }).to_error();
            let Error::Refused { status, headers, .. } = error else { panic!("{error:?}") };
            assert_eq!((status, &headers[..]), (429, &[("Retry-After".to_owned(), seconds.to_owned())][..]));
        }
    }
}
