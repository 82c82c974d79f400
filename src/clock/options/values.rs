//! Parses the values of options. Pure.
//!
//! # Errors
//! Of all of them: what the text should have been. It stands behind the option and the text.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use threadcast::{Application, Error, Network, Origin, Rate};

use crate::clock::{interval, topics};

/// Linux has no more threads.
const MOST_CLIENTS: usize = 4 << 20;

/// A time, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrOff(pub Option<Duration>);

/// A size, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeOrOff(pub Option<usize>);

pub(super) fn port(text: &str) -> Result<u16, String> {
    let how = |_| "expected a number from 0 to 65535; 0 lets the system choose".to_owned();
    text.parse().map_err(how)
}

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "expected an IP address of this machine, such as 127.0.0.1 or ::1".to_owned())
}

pub(super) fn interval_or_off(text: &str) -> Result<OrOff, String> {
    let time = (text != "off").then(|| interval::parse_time(text)).transpose();
    time.map(OrOff).map_err(or_off)
}

pub(super) fn size_or_off(text: &str) -> Result<SizeOrOff, String> {
    let size = (text != "off").then(|| size(text)).transpose();
    size.map(SizeOrOff).map_err(or_off)
}

fn or_off(how: String) -> String {
    how + "; or write off"
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    size_from(1, "1B", text)
}

pub(super) fn stack_size(text: &str) -> Result<usize, String> {
    size_from(Application::MIN_STACK, &format!("{}KiB", Application::MIN_STACK >> 10), text)
}

/// Returns a size that is at least so large; `shown` is how to write that.
fn size_from(least: usize, shown: &str, text: &str) -> Result<usize, String> {
    let how = || "expected a whole number of bytes, KiB, MiB or GiB, such as 64KiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[digits..] {
        _ if digits == 0 => return Err(how()),
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(how()),
    };
    // A number with too many digits is too large, whatever its unit.
    let number: usize = text[..digits].parse().unwrap_or(usize::MAX);
    let bytes = number.checked_mul(1 << shift).filter(|bytes| (least..=1 << 30).contains(bytes));
    bytes.ok_or_else(|| format!("expected a size from {shown} to 1GiB"))
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 64".to_owned())
}

pub(super) fn clients(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST_CLIENTS).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST_CLIENTS}"))
}

pub(super) fn clients_per_address(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number of at least 1; leave the option out for no limit".to_owned())
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: Error| without(&error.to_string()))
}

pub(super) fn rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|error: Error| without(&error.to_string()))
}

pub(super) fn byte_rate(text: &str) -> Result<Rate, String> {
    let how = || "expected a size and /s, /m or /h, such as 64KiB/s or 1MiB/s".to_owned();
    let (bytes, unit) = text.split_once('/').ok_or_else(how)?;
    if !matches!(unit, "s" | "m" | "h") {
        return Err(how());
    }
    rate(&format!("{}/{unit}", size(bytes)?))
}

pub(super) fn channel(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !(1..=64).contains(&text.len()) || !text.chars().all(is_plain) {
        return Err("expected 1 to 64 letters, digits, '.', '_' and '-'".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn topic(text: &str) -> Result<String, String> {
    // Behind a comma there may be a space, which no client can ask for.
    let text = text.trim();
    topics::check_topic(text).map(|()| text.to_owned()).map_err(|error| without(&error))
}

pub(super) fn origin(text: &str) -> Result<Origin, String> {
    let origin = Origin::parse(text).map_err(|error| without(&error.to_string()))?;
    if matches!(origin.scheme(), "ws" | "wss") {
        return Err(format!("no page has the scheme {}: write http:// or https://", origin.scheme()));
    }
    if origin.host().contains('*') {
        return Err(
            "an origin has one host, without *: repeat the option for each, or leave it out to accept any"
                .to_owned(),
        );
    }
    Ok(origin)
}

pub(super) fn host(text: &str) -> Result<String, String> {
    let host = text.parse::<Ipv6Addr>().map_or_else(|_| text.to_owned(), |address| format!("[{address}]"));
    let has_port = !host.ends_with(']') && host.contains(':');
    match Origin::parse(&format!("http://{host}")) {
        Ok(origin) if !has_port && origin.host() != "." && !host.contains('*') => {
            Ok(origin.host().to_owned())
        }
        _ => Err("expected a name or an address without a port, such as example.com".to_owned()),
    }
}

/// Returns what the library says of a text, without the quoted text in front.
fn without(error: &str) -> String {
    let mut is_escaped = false;
    let mut ends = |c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    };
    let quoted = error.strip_prefix('"').and_then(|rest| rest.find(&mut ends).map(|at| &rest[at + 1..]));
    quoted.map_or(error.to_owned(), |rest| format!("this{rest}"))
}
