//! Parses a server's output, and checks that it is well-formed.

use crate::COMPRESSION;
use crate::support::deflate::inflated;
use crate::support::{Wire, frame};

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A response: its status, and whether it is the connection's last.
    Response(u16, bool),
    Frame(Wire),
}

/// The parsed answers; the error says what is malformed.
pub fn answers(mut output: &[u8]) -> std::result::Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    while !output.is_empty() {
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").ok_or("half a head")?;
        let head = str::from_utf8(&output[..end]).map_err(|_| "a head that is not ASCII")?;
        output = &output[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or("not a response")?;
        let last = head.contains("\r\nConnection: close");
        answers.push(Answer::Response(status, last));
        if status == 101 {
            return frames_of(output, head.contains("\r\nSec-WebSocket-Extensions: "), answers);
        }
        // A HEAD gets the length of a body, and no body.
        if !output.is_empty() && !output.starts_with(b"HTTP/1.1 ") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize =
                length.and_then(|length| length.parse().ok()).ok_or("a body without a length")?;
            let body = output.get(..length).ok_or("half a body")?;
            if body.windows(9).any(|nine| nine == b"[package]") {
                return Err("a file from outside".into());
            }
            output = &output[length..];
        }
        if last && !output.is_empty() {
            return Err("something behind the last response".into());
        }
    }
    Ok(answers)
}

/// The frames of a server (RFC 6455, section 5), with compressed ones inflated.
fn frames_of(
    mut output: &[u8],
    is_compressed: bool,
    mut answers: Vec<Answer>,
) -> std::result::Result<Vec<Answer>, String> {
    let mut closed = false;
    while !output.is_empty() {
        if closed {
            return Err("something behind a Close".into());
        }
        let (first, short) = (output[0], *output.get(1).ok_or("half a header")?);
        let (header, length) = match short {
            0..=125 => (2, usize::from(short)),
            126 => (
                4,
                output.get(2..4).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]]))).unwrap_or(0),
            ),
            127 => {
                let eight = output.get(2..10).ok_or("half a header")?;
                (10, u64::from_be_bytes(eight.try_into().expect("eight bytes")) as usize)
            }
            _ => return Err("a frame with a mask".into()),
        };
        let shortest = match length {
            0..=125 => 2,
            126..=65535 => 4,
            _ => 10,
        };
        let payload = output.get(header..header + length).ok_or("half a frame")?;
        output = &output[header + length..];
        closed = first == 0x88;
        let plain;
        let (first, payload) = match first {
            0xc1 | 0xc2 if is_compressed => {
                plain = inflated(payload, 15);
                if plain.len() < COMPRESSION || plain.len() <= length {
                    return Err(format!("{} bytes, compressed to {length}", plain.len()));
                }
                (first & !0x40, &plain[..])
            }
            _ => (first, payload),
        };
        let right = match first {
            0x81 => str::from_utf8(payload).is_ok(),
            0x82 => true,
            0x8a => length <= 125,
            0x88 if length == 0 => true,
            0x88 if !(2..=125).contains(&length) => false,
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
                    && str::from_utf8(&payload[2..]).is_ok()
            }
            _ => false,
        };
        if !right || header != shortest {
            return Err(format!("a bad frame, {first:#x}, {length} bytes"));
        }
        answers.push(Answer::Frame(frame(first, payload)));
    }
    Ok(answers)
}

/// The output without its `Date` lines, the only part that depends on the time.
pub fn without_dates(output: &[u8]) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    const LENGTH: usize = b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT".len();
    let mut kept = Vec::with_capacity(output.len());
    let mut rest = output;
    while let Some(at) = rest.windows(DATE.len()).position(|bytes| bytes == DATE) {
        kept.extend(&rest[..at]);
        rest = &rest[(at + LENGTH).min(rest.len())..];
    }
    kept.extend(rest);
    kept
}
