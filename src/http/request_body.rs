//! The length of a request's body, its end, and the speed that the server demands.
//!
//! Pure: bytes and times are passed in. Two readers of one connection must never disagree about where a request ends,
//! so this one accepts only what RFC 9112 requires, and none of the leniency that it permits.

use std::time::{Duration, Instant};

use tungstenite::http::{HeaderMap, HeaderName};

use crate::error::{Error, Result};

/// How long a body may stand still, and its time limit in addition to the time that [`LEAST_RATE`] grants.
const STANDSTILL: Duration = Duration::from_secs(10);
/// The lowest average speed of a body, in bytes per second.
const LEAST_RATE: u64 = 16 << 10;
/// The most bytes in a chunk-size line or a trailer line.
const MAX_LINE: usize = 4 << 10;
/// The most bytes in all chunk extensions and trailers of a body; the server ignores them.
const MAX_IGNORED: usize = 16 << 10;
/// The most digits in a chunk size: those of 64 bits.
const MAX_DIGITS: usize = 16;

/// How to find the end of a body (RFC 9112, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By counting its bytes.
    Length(u64),
    /// By chunks, the last of which is empty.
    Chunked,
}

impl Framing {
    /// Returns how the body of a request with these headers ends; `None` if it has no body.
    pub(crate) fn of(headers: &HeaderMap, http_1_0: bool) -> Result<Option<Framing>> {
        let odd = |what: &str| Err(Error::refused(400, what));
        let mut lengths = headers.get_all("Content-Length").iter();
        let (length, second) = (lengths.next(), lengths.next());
        if !headers.contains_key("Transfer-Encoding") {
            let Some(length) = length else { return Ok(None) };
            let digits = length.as_bytes();
            let plain =
                digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || !digits.starts_with(b"0"));
            let length = length.to_str().ok().filter(|_| plain).and_then(|digits| digits.parse().ok());
            return match length {
                Some(length) if second.is_none() => Ok((length > 0).then_some(Framing::Length(length))),
                _ => odd("A Content-Length is one plain number."),
            };
        }
        if length.is_some() {
            return odd("A request has a Content-Length or a Transfer-Encoding, not both.");
        }
        if http_1_0 {
            return odd("HTTP/1.0 has no Transfer-Encoding.");
        }
        let lines = headers.get_all("Transfer-Encoding").iter();
        let codings: Vec<_> = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
        let chunked = |coding: &&[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        match (codings.len(), codings.iter().filter(|coding| chunked(coding)).count()) {
            (1, 1) => Ok(Some(Framing::Chunked)),
            (_, 1) if codings.last().is_some_and(chunked) => {
                Err(Error::refused(501, "The only supported Transfer-Encoding is chunked."))
            }
            _ => odd("A Transfer-Encoding ends with chunked, once."),
        }
    }
}

/// Takes the bytes of a body as they come, and finds its end.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    state: Awaited,
    /// The bytes of an incomplete line. Empty between lines.
    line: Vec<u8>,
    /// Bytes of extensions and trailers so far.
    ignored: usize,
    body: Vec<u8>,
    max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Remaining bytes of the body.
    Counted(usize),
    /// The line with a chunk's size.
    Size,
    /// Remaining bytes of a chunk.
    Chunk(usize),
    /// The empty line after a chunk.
    ChunkEnd,
    /// A line after the last chunk.
    Trailer,
    Done,
}

impl BodyDecoder {
    /// Starts at the first byte after the head. The error is a 413 for a length over `max`.
    pub(crate) fn new(framing: Framing, max: usize) -> Result<BodyDecoder> {
        let state = match framing {
            Framing::Length(length) => Awaited::Counted(within(length, max)?),
            Framing::Chunked => Awaited::Size,
        };
        Ok(BodyDecoder { state, line: Vec::new(), ignored: 0, body: Vec::new(), max })
    }

    /// Takes bytes up to the end of the body, and returns their number: all, unless it is [done](BodyDecoder::is_done).
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            match self.state {
                Awaited::Done => break,
                Awaited::Counted(left) | Awaited::Chunk(left) => {
                    let (part, behind) = rest.split_at(left.min(rest.len()));
                    self.body.extend_from_slice(part);
                    rest = behind;
                    let left = left - part.len();
                    self.state = match self.state {
                        Awaited::Counted(_) if left == 0 => Awaited::Done,
                        Awaited::Counted(_) => Awaited::Counted(left),
                        _ if left == 0 => Awaited::ChunkEnd,
                        _ => Awaited::Chunk(left),
                    };
                }
                Awaited::Size | Awaited::ChunkEnd | Awaited::Trailer => {
                    rest = &rest[1..];
                    if self.ends_line(*first)? {
                        self.state = self.after_line()?;
                        self.line.clear();
                    }
                }
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Returns the number of body bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Returns whether the body is whole.
    pub(crate) fn is_done(&self) -> bool {
        self.state == Awaited::Done
    }

    /// Returns the body, without spare capacity.
    pub(crate) fn into_body(mut self) -> Vec<u8> {
        self.body.shrink_to_fit();
        self.body
    }

    /// Appends a byte to the line. A line ends with CR LF, and contains neither before its end.
    fn ends_line(&mut self, byte: u8) -> Result<bool> {
        let after_cr = self.line.last() == Some(&b'\r');
        if after_cr {
            self.line.pop();
            return if byte == b'\n' { Ok(true) } else { malformed() };
        }
        let fits = self.line.len() < MAX_LINE;
        if !fits || (byte.is_ascii_control() && !matches!(byte, b'\r' | b'\t')) {
            return malformed();
        }
        self.line.push(byte);
        Ok(false)
    }

    /// Parses the complete line, and returns what comes next.
    fn after_line(&mut self) -> Result<Awaited> {
        match self.state {
            Awaited::Size => {
                let (size, extension) = chunk_size(&self.line)?;
                self.ignore(extension)?;
                let size = within(size, self.max.saturating_sub(self.body.len()))?;
                Ok(if size == 0 { Awaited::Trailer } else { Awaited::Chunk(size) })
            }
            Awaited::ChunkEnd if self.line.is_empty() => Ok(Awaited::Size),
            Awaited::Trailer if self.line.is_empty() => Ok(Awaited::Done),
            Awaited::Trailer => {
                self.ignore(self.line.len())?;
                let name = self.line.split(|byte| *byte == b':').next().unwrap_or_default();
                let has_colon = name.len() < self.line.len();
                if has_colon && HeaderName::from_bytes(name).is_ok() {
                    Ok(Awaited::Trailer)
                } else {
                    malformed()
                }
            }
            _ => malformed(),
        }
    }

    fn ignore(&mut self, bytes: usize) -> Result<()> {
        self.ignored += bytes;
        if self.ignored > MAX_IGNORED { malformed() } else { Ok(()) }
    }
}

/// Returns the size of a chunk, and the length of its extensions (RFC 9112, section 7.1).
fn chunk_size(line: &[u8]) -> Result<(u64, usize)> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let begins = extension.trim_ascii_start().first();
    if !(1..=MAX_DIGITS).contains(&digits) || (!extension.is_empty() && begins != Some(&b';')) {
        return malformed();
    }
    let size = str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    size.map_or_else(malformed, |size| Ok((size, extension.len())))
}

fn within(length: u64, max: usize) -> Result<usize> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= max)
        .ok_or_else(|| Error::refused(413, "The body is larger than the limit."))
}

fn malformed<T>() -> Result<T> {
    Err(Error::refused(400, "The chunks of the body are malformed."))
}

/// How fast a body has come so far, and the deadline for its next bytes.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    progressed: Instant,
    bytes: u64,
}

impl Pace {
    /// Starts with nothing received.
    pub(crate) fn begin(now: Instant) -> Pace {
        Pace { begun: now, progressed: now, bytes: 0 }
    }

    /// Counts received bytes.
    pub(crate) fn took(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.progressed = now;
    }

    /// Returns when the body times out, unless more bytes come before.
    pub(crate) fn deadline(&self) -> Instant {
        let granted = Duration::from_millis(self.bytes * 1000 / LEAST_RATE);
        (self.progressed + STANDSTILL).min(self.begun + STANDSTILL + granted)
    }
}

#[cfg(test)]
mod tests;
