//! [`AnswerReader`]: reads the answer of a server, or of a proxy on the way to it. On the caller's thread.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use crate::connection::timed_io::Deadline;
use crate::error::{Error, HttpAnswer, Result};
use crate::http::request_body::{BodyDecoder, Framing};
use crate::printable::printable;

/// Most bytes in the head of an answer, and header lines in it.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// The error for a longer head.
pub(super) const TOO_LONG: &str = "a head of over 16384 bytes or 100 headers";
/// Most bytes of an answer's body that an error keeps, and shows.
const MAX_BODY: usize = 16 * 1024;
/// How long it may take. A server that sends no length, and keeps the connection open, never ends it.
const BODY_WITHIN: Duration = Duration::from_secs(1);
const MAX_SHOWN: usize = 200;
/// Bytes per receive.
const RECEIVE: usize = 2048;
/// A version that a WebSocket cannot have.
const KNOWN_VERSION: &[u8] = b"HTTP/1.0";

/// The head of an answer.
pub(super) struct AnswerHead {
    pub(super) status: u16,
    /// Whether it is HTTP/1.1, which a WebSocket needs.
    pub(super) is_http_1_1: bool,
    /// Whether it was too long: then this is only its front.
    pub(super) is_cut: bool,
    /// The rest of the status line.
    reason: String,
    headers: HeaderMap,
}

/// See the [module](self).
pub(super) struct AnswerReader<R> {
    /// Receives once, until the deadline at most.
    recv: R,
    received: Vec<u8>,
    deadline: Deadline,
    /// The answering end, and the question: `ws://a.test/`, `the handshake`.
    who: String,
    what: String,
}

impl<R: FnMut(&mut [u8], Deadline) -> io::Result<usize>> AnswerReader<R> {
    pub(super) fn new(who: impl Display, what: impl Display, recv: R, deadline: Deadline) -> AnswerReader<R> {
        let (who, what) = (who.to_string(), what.to_string());
        AnswerReader { recv, received: Vec::new(), deadline, who, what }
    }

    /// Blocks until the head of a final answer has arrived.
    pub(super) fn head(&mut self) -> Result<AnswerHead> {
        loop {
            match AnswerHead::parse(&self.received) {
                Ok(Some((head, length))) => {
                    self.received.drain(..length);
                    if !head.is_interim() {
                        return Ok(head);
                    }
                }
                Ok(None) => receive(&mut self.received, |bytes| (self.recv)(bytes, self.deadline))
                    .map_err(Error::io(format!("{} did not answer {}", self.who, self.what)))?,
                Err(why) => return Err(self.error(&why, None, Vec::new())),
            }
        }
    }

    /// Returns a refusal as an error, with the part of its body that arrives in time.
    pub(super) fn refusal(mut self, head: &AnswerHead) -> Error {
        let body = self.body(head);
        let what = head.describe(&body);
        self.error(&what, Some(head), body)
    }

    /// Returns the error for an unexpected answer.
    pub(super) fn error(&self, why: &str, head: Option<&AnswerHead>, body: Vec<u8>) -> Error {
        let answer =
            head.map(|head| Box::new(HttpAnswer { status: head.status, headers: head.pairs(), body }));
        Error::Handshake { reason: format!("{} answered {} with {why}", self.who, self.what), answer }
    }

    /// Returns whether bytes came behind the head.
    pub(super) fn has_more(&self) -> bool {
        !self.received.is_empty()
    }

    /// Returns the bytes behind the head.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.received
    }

    fn body(&mut self, head: &AnswerHead) -> Vec<u8> {
        let at = self.deadline.at.min(Instant::now() + BODY_WITHIN);
        let deadline = Deadline { at, ..self.deadline };
        let Some(framing) = head.framing(MAX_BODY) else { return Vec::new() };
        let Ok(mut decoder) = BodyDecoder::new(framing, usize::MAX) else { return Vec::new() };
        let mut received = std::mem::take(&mut self.received);
        while decoder.take(&received).is_ok() && !decoder.is_done() && decoder.len() < MAX_BODY {
            received.resize(RECEIVE, 0);
            match (self.recv)(&mut received, deadline) {
                Ok(length @ 1..) => received.truncate(length),
                _ => break,
            }
        }
        let mut body = decoder.into_body();
        body.truncate(MAX_BODY);
        body
    }
}

/// Receives more of an incomplete answer.
pub(super) fn receive(
    received: &mut Vec<u8>,
    recv: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let have = received.len();
    received.resize(have + RECEIVE, 0);
    match recv(&mut received[have..]) {
        Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection")),
        Ok(length) => {
            received.truncate(have + length);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

impl AnswerHead {
    /// Reads a head from the front of `bytes`, and returns its length; `None` while it is incomplete. The error says
    /// why it is not a head.
    fn parse(bytes: &[u8]) -> Result<Option<(AnswerHead, usize)>, String> {
        let taken = &bytes[..bytes.len().min(MAX_HEAD)];
        let mut lines = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut lines);
        // A malformed header does not hide the status of a refusal.
        let mut parser = httparse::ParserConfig::default();
        parser.ignore_invalid_headers_in_responses(!taken.starts_with(b"HTTP/1.1 101"));
        let length = match parser.parse_response(&mut head, taken) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                // Neither does a head that is too long.
                let (head, _) = AnswerHead::parse(&front(taken))?.ok_or(TOO_LONG)?;
                return Ok(Some((AnswerHead { is_cut: true, ..head }, bytes.len())));
            }
            Err(error) => {
                // The parser may not know its version.
                let known = with_known_version(bytes).filter(|_| error == httparse::Error::Version);
                let Some((known, version)) = known else {
                    return Err(format!("bytes that are not HTTP/1.1 ({error})"));
                };
                let parsed = AnswerHead::parse(&known)?;
                return Ok(parsed.map(|(head, length)| (head, length + version - KNOWN_VERSION.len())));
            }
        };
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for line in head.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
                if head.code == Some(101) {
                    return Err("a malformed header".to_owned());
                }
                continue;
            };
            headers.append(name, value);
        }
        let (status, reason) = (head.code.unwrap_or_default(), head.reason.unwrap_or_default().to_owned());
        let is_http_1_1 = head.version == Some(1);
        Ok(Some((AnswerHead { status, is_http_1_1, is_cut: false, reason, headers }, length)))
    }

    /// Returns whether another answer follows this one (RFC 9110, section 15.2).
    fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199) && !self.is_cut
    }

    /// Returns where its body ends, or `most` bytes of it (RFC 9112, section 6.3); `None` if it has none. Unlike a
    /// request's body it is only for display, so contradictory headers are not an error.
    fn framing(&self, most: usize) -> Option<Framing> {
        if matches!(self.status, 204 | 304) || self.is_cut {
            return None;
        }
        if self.has_token("Transfer-Encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = self.values("Content-Length").first().and_then(|length| length.trim().parse().ok());
        // Without a length, it ends with the connection.
        let length = length.unwrap_or(u64::MAX).min(most as u64);
        (length > 0).then_some(Framing::Length(length))
    }

    /// `401 Unauthorized, Who are you?`
    fn describe(&self, body: &[u8]) -> String {
        let reason = printable(&self.reason).at_most(MAX_SHOWN);
        let mut what = format!("{} {reason}", self.status).trim_end().to_owned();
        if let [location] = &self.values("Location")[..] {
            what += &format!(", to {}; redirects are not followed", printable(location));
        } else if self.is_cut {
            what += &format!(", and {TOO_LONG}");
        } else if let Some(line) =
            String::from_utf8_lossy(body).lines().map(str::trim).find(|line| !line.is_empty())
        {
            what += &format!(", {}", printable(line).at_most(MAX_SHOWN));
        }
        what
    }

    /// Returns the values of a header; invalid UTF-8 becomes U+FFFD.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// Returns all headers.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        self.headers.iter().map(|(name, found)| (name.to_string(), value(found))).collect()
    }

    /// Returns whether a header's list contains this word.
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        let lines = self.values(name);
        lines.iter().flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    }
}

/// Shortens a head that is too long to its whole lines; cuts the status line if that alone is too long.
fn front(bytes: &[u8]) -> Vec<u8> {
    const END: &[u8] = b"\r\n\r\n";
    let bytes = &bytes[..bytes.len().min(MAX_HEAD - END.len())];
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let whole = lines.len() - usize::from(lines.len() > 1 && !bytes.ends_with(b"\n"));
    let kept = lines[..whole.min(MAX_HEADERS)].concat();
    [kept.trim_ascii_end(), END].concat()
}

/// Replaces the version of a status line by one that a parser knows. Returns the bytes, and the length of the old
/// version.
fn with_known_version(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let number = bytes.strip_prefix(b"HTTP/")?.split(|byte| *byte == b' ').next()?;
    let is_number = !number.is_empty() && number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let (_, rest) = bytes.split_at(b"HTTP/".len() + number.len());
    is_number.then(|| ([KNOWN_VERSION, rest].concat(), bytes.len() - rest.len()))
}
