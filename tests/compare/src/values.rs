//! Parses the values of options. Each error names the expected value; it follows the option's name.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The largest count of clients, rounds and pushes.
const MOST: usize = 1_000_000;
/// The most bytes of a push.
const MOST_BYTES: usize = 1 << 30;
/// The most threads of a runtime.
const MOST_WORKERS: usize = 1024;

/// Parses a count.
///
/// # Errors
/// The expected text, as in all functions below.
pub fn count(text: &str) -> Result<usize, String> {
    within(text, 1..=MOST)
}

/// Parses a size in bytes.
pub fn bytes(text: &str) -> Result<usize, String> {
    within(text, 0..=MOST_BYTES)
}

/// Parses a number of threads; 0 has a special meaning.
pub fn workers(text: &str) -> Result<usize, String> {
    within(text, 0..=MOST_WORKERS)
}

/// Parses a port of the loopback.
pub fn port(text: &str) -> Result<u16, String> {
    within(text, 0..=u16::MAX)
}

/// Parses a process id.
pub fn pid(text: &str) -> Result<u32, String> {
    within(text, 1..=i32::MAX.unsigned_abs())
}

/// Parses a number of events per second.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 1000000".to_owned())
}

/// Parses a server's address.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an address with a port, such as 127.0.0.1:8888 or [::1]:8888".to_owned())
}

fn within<N: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    range: RangeInclusive<N>,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
}
