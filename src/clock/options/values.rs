//! What the values of options mean. Pure.
//!
//! # Errors
//! Of all of them: what is wrong with the text, and what to write.

use threadcast::{Application, Origin};

use super::{OrOff, SizeOrOff};
use crate::clock::{interval, topics};

pub(super) fn interval_or_off(text: &str) -> Result<OrOff, String> {
    if text == "off" { Ok(OrOff(None)) } else { interval::parse(text).map(|time| OrOff(Some(time))) }
}

pub(super) fn size_or_off(text: &str) -> Result<SizeOrOff, String> {
    if text == "off" { Ok(SizeOrOff(None)) } else { size(text).map(|size| SizeOrOff(Some(size))) }
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    let how = || {
        format!("{text:?} is not a size: use a whole number of bytes, or with KiB, MiB or GiB, such as 64KiB")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().map_err(|_| how())?;
    let shift = match &text[digits..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(how()),
    };
    let bytes = number.checked_mul(1 << shift).filter(|bytes| (1..=1 << 30).contains(bytes));
    bytes.ok_or_else(|| "it must be from 1B to 1GiB".to_owned())
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number of threads from 1 to 64"))
}

pub(super) fn clients(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is not a number of clients from 1"))
}

pub(super) fn stack_size(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    if bytes < Application::MIN_STACK {
        return Err(format!("it must be from {}KiB to 1GiB", Application::MIN_STACK >> 10));
    }
    Ok(bytes)
}

pub(super) fn channel(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !(1..=64).contains(&text.len()) || !text.chars().all(is_plain) {
        return Err("use 1 to 64 letters, digits, '.', '_' and '-'".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn topic(text: &str) -> Result<String, String> {
    topics::check(text).map(|()| text.to_owned())
}

pub(super) fn origin(text: &str) -> Result<Origin, String> {
    let origin = Origin::parse(text).map_err(|error| error.to_string())?;
    if !matches!(origin.scheme(), "http" | "https") {
        return Err(format!("no page has the scheme {}: write http:// or https://", origin.scheme()));
    }
    if origin.host().contains('*') {
        return Err(
            "it stands for one host: repeat the option for each, or leave it out to let any".to_owned()
        );
    }
    Ok(origin)
}
