//! How long a request's body is, where it ends, and how fast it has to come.
//!
//! Pure: bytes and times are passed in. Two readers of one connection must never disagree about where a
//! request ends, so this one takes only what RFC 9112 calls right, and no leniency that it allows.

use std::time::{Duration, Instant};

use tungstenite::http::{HeaderMap, HeaderName};

use crate::error::{Error, Result};

/// How long a body may stand still, and how long it has besides what [`LEAST_RATE`] grants.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Bytes a second at which a body has to come, on the whole.
const LEAST_RATE: u64 = 16 << 10;
/// Most bytes in a line that has the size of a chunk, or a trailer.
const MAX_LINE: usize = 4 << 10;
/// Most bytes in all chunk extensions and trailers of a body, which nobody reads.
const MAX_IGNORED: usize = 16 << 10;
/// Most digits in the size of a chunk: those of 64 bits.
const MAX_DIGITS: usize = 16;

/// How the end of a body is found (RFC 9112, section 6).
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
                Err(Error::refused(501, "The only Transfer-Encoding here is chunked."))
            }
            _ => odd("A Transfer-Encoding ends with chunked, once."),
        }
    }
}

/// Takes the bytes of a body as they come, and knows where it ends.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    state: Awaited,
    /// What there is of a line. Empty between lines.
    line: Vec<u8>,
    /// Bytes of extensions and trailers so far.
    ignored: usize,
    body: Vec<u8>,
    max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Bytes that are left of the body.
    Counted(usize),
    /// The line with a chunk's size.
    Size,
    /// Bytes that are left of a chunk.
    Chunk(usize),
    /// The empty line behind a chunk.
    ChunkEnd,
    /// A line behind the last chunk.
    Trailer,
    Done,
}

impl BodyDecoder {
    /// Starts at the first byte behind the head. The error is a 413 for a length over `max`.
    pub(crate) fn new(framing: Framing, max: usize) -> Result<BodyDecoder> {
        let state = match framing {
            Framing::Length(length) => Awaited::Counted(within(length, max)?),
            Framing::Chunked => Awaited::Size,
        };
        Ok(BodyDecoder { state, line: Vec::new(), ignored: 0, body: Vec::new(), max })
    }

    /// Takes bytes up to the end of the body, and returns how many those are: all, unless it is
    /// [done](BodyDecoder::is_done).
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

    /// Returns how many bytes of the body are here.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Returns whether the body is whole.
    pub(crate) fn is_done(&self) -> bool {
        self.state == Awaited::Done
    }

    /// Returns the body, without the room that it has grown beyond.
    pub(crate) fn into_body(mut self) -> Vec<u8> {
        self.body.shrink_to_fit();
        self.body
    }

    /// Adds a byte to the line. A line ends with CR LF, and neither is anywhere else in it.
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

    /// Reads the line, which is whole, and returns what follows it.
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

/// Returns the size of a chunk, and how many bytes of extensions follow it (RFC 9112, section 7.1).
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
        .ok_or_else(|| Error::refused(413, "The body is larger than is accepted here."))
}

fn malformed<T>() -> Result<T> {
    Err(Error::refused(400, "The chunks of the body are malformed."))
}

/// How fast a body has come so far, and until when its next bytes have to be there.
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

    /// Counts bytes that have come.
    pub(crate) fn took(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.progressed = now;
    }

    /// Returns when it is over, unless more comes before.
    pub(crate) fn deadline(&self) -> Instant {
        let granted = Duration::from_millis(self.bytes * 1000 / LEAST_RATE);
        (self.progressed + STANDSTILL).min(self.begun + STANDSTILL + granted)
    }
}

#[cfg(test)]
mod tests;
