//! What the values of options mean. Each error says what the text should have been; it stands behind the option.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Most of anything that is counted: clients, rounds, pushes.
const MOST: usize = 1_000_000;
/// Most bytes of a push.
const MOST_BYTES: usize = 1 << 30;
/// Most threads of a runtime.
const MOST_WORKERS: usize = 1024;

/// Reads how many there are to be of something.
///
/// # Errors
/// What the text should have been; the same for all that follow.
pub fn count(text: &str) -> Result<usize, String> {
    within(text, "it", 1..=MOST)
}

/// Reads a size in bytes.
pub fn bytes(text: &str) -> Result<usize, String> {
    within(text, "a size in bytes", 0..=MOST_BYTES)
}

/// Reads a number of threads; 0 has a meaning of its own.
pub fn workers(text: &str) -> Result<usize, String> {
    within(text, "it", 0..=MOST_WORKERS)
}

/// Reads a port of the loopback.
pub fn port(text: &str) -> Result<u16, String> {
    within(text, "a port", 0..=u16::MAX)
}

/// Reads a process's number.
pub fn pid(text: &str) -> Result<u32, String> {
    within(text, "a process", 1..=i32::MAX.unsigned_abs())
}

/// Reads a number of events a second.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "a rate is a number from 0.001 to 1000000".to_owned())
}

/// Reads where a server listens.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address has a port, such as 127.0.0.1:8888 or [::1]:8888".to_owned())
}

fn within<N: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    what: &str,
    range: RangeInclusive<N>,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{what} is a number from {} to {}", range.start(), range.end()))
}
