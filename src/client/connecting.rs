//! From an address to a WebSocket: TCP, the request, the answer, all before one deadline. On the caller's thread.
//!
//! Never here: a thread, a retry, a redirect that is followed.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::offer::{Agreement, AnswerHead, Offer};
use super::url::Url;
use crate::connection::connection::Connection;
use crate::connection::timed_io::recv_before;
#[cfg(feature = "tls")]
use crate::connection::timed_io::send_before;
use crate::error::{Error, HttpAnswer, Result};
use crate::http::request_body::BodyDecoder;
#[cfg(feature = "tls")]
use crate::net::maybe_tls::MaybeTls;
use crate::net::names::Names;
#[cfg(feature = "tls")]
use crate::net::tls::dialing::Dialing;
use crate::printable::printable;

/// Most bytes of an answer's body that an error keeps, and shows.
const MAX_BODY: usize = 16 * 1024;
/// How long it may take. A server that says nothing of its length, and leaves the connection open, ends it never.
const BODY_WITHIN: Duration = Duration::from_secs(1);
const MAX_SHOWN: usize = 200;
/// Bytes received at a time.
const RECEIVE: usize = 2048;

/// What came of a handshake.
pub(super) struct Agreed101 {
    pub(super) agreement: Agreement,
    pub(super) headers: Vec<(String, String)>,
    /// What came behind the answer.
    pub(super) early: Vec<u8>,
}

/// Looks the name up, and tries its addresses one after the other, in the system's order: IPv6 before IPv4 as a rule. Each
/// has its share of the time that is left.
pub(super) fn dial(url: &Url, deadline: Instant) -> Result<TcpStream> {
    let found = Names::new().find(&url.host, url.port, deadline);
    let addresses = found.map_err(Error::io(format!("cannot find {}", url.host)))?;
    let mut last = io::Error::new(ErrorKind::NotFound, "it has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let shares = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = left / shares;
        if share.is_zero() {
            last = timed_out();
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    let tried: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    Err(Error::Io { doing: format!("cannot connect to {url} ({})", tried.join(", ")), source: last })
}

/// Does the handshake of TLS.
#[cfg(feature = "tls")]
pub(super) fn secure(
    connection: &Connection,
    url: &Url,
    mut dialing: Dialing,
    deadline: Instant,
) -> Result<()> {
    let failed = |error| Error::io(format!("cannot speak TLS with {url}"))(error);
    let mut received = Vec::new();
    loop {
        send_before(connection, &dialing.unsent(), deadline).map_err(failed)?;
        if dialing.is_done() {
            break;
        }
        received.clear();
        receive(connection, &mut received, deadline).map_err(failed)?;
        if let Err(why) = dialing.receive(&received) {
            // The alert, which the server may have no use for.
            let _ = send_before(connection, &dialing.unsent(), deadline);
            return Err(failed(io::Error::new(ErrorKind::InvalidData, why)));
        }
    }
    if let MaybeTls::Tls(tls) = &connection.link().transport {
        tls.begin(Box::new(dialing.into_session()));
    }
    Ok(())
}

/// Sends the request, and reads the answer.
pub(super) fn shake_hands(
    connection: &Connection,
    url: &Url,
    (offer, request): (Offer<'_>, Vec<u8>),
    deadline: Instant,
) -> Result<Agreed101> {
    // A write that fails is an answer that does not come; and there may be one that came before.
    let _ = connection.outbox().begin(request.into());
    let mut received = Vec::new();
    let head = loop {
        match AnswerHead::parse(&received) {
            Ok(Some((head, length))) => {
                received.drain(..length);
                if !head.is_interim() {
                    break head;
                }
            }
            Ok(None) => receive(connection, &mut received, deadline)
                .map_err(Error::io(format!("{url} did not answer the handshake")))?,
            Err(what) => return Err(no_websocket(url, &what, None, Vec::new())),
        }
    };
    if head.status != 101 {
        let body = read_body(connection, &head, received, deadline);
        let what = describe(&head, &body);
        return Err(no_websocket(url, &what, Some(&head), body));
    }
    match offer.check(&head) {
        Ok(agreement) => Ok(Agreed101 { agreement, headers: head.pairs(), early: received }),
        Err(what) => Err(no_websocket(url, &what, Some(&head), Vec::new())),
    }
}

/// Receives some more of what cannot end here.
fn receive(connection: &Connection, received: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    let have = received.len();
    received.resize(have + RECEIVE, 0);
    match recv_before(connection, &mut received[have..], deadline) {
        Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "it ended the connection")),
        Ok(length) => {
            received.truncate(have + length);
            Ok(())
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(timed_out()),
        Err(error) => Err(error),
    }
}

fn timed_out() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "not within the connect deadline")
}

/// Returns what comes of the body of a refusal, in time.
fn read_body(
    connection: &Connection,
    head: &AnswerHead,
    mut received: Vec<u8>,
    deadline: Instant,
) -> Vec<u8> {
    let deadline = deadline.min(Instant::now() + BODY_WITHIN);
    let Some(framing) = head.framing(MAX_BODY) else { return Vec::new() };
    let Ok(mut decoder) = BodyDecoder::new(framing, usize::MAX) else { return Vec::new() };
    while decoder.take(&received).is_ok() && !decoder.is_done() && decoder.len() < MAX_BODY {
        received.resize(RECEIVE, 0);
        match recv_before(connection, &mut received, deadline) {
            Ok(length @ 1..) => received.truncate(length),
            _ => break,
        }
    }
    let mut body = decoder.into_body();
    body.truncate(MAX_BODY);
    body
}

/// `401 Unauthorized, Who are you?`
fn describe(head: &AnswerHead, body: &[u8]) -> String {
    let mut what = format!("{} {}", head.status, printable(&head.reason)).trim_end().to_owned();
    if let [location] = &head.values("Location")[..] {
        what += &format!(", to {}; redirects are not followed", printable(location));
    } else if let Some(line) =
        String::from_utf8_lossy(body).lines().map(str::trim).find(|line| !line.is_empty())
    {
        what += &format!(", {}", printable(line).at_most(MAX_SHOWN));
    }
    what
}

fn no_websocket(url: &Url, what: &str, head: Option<&AnswerHead>, body: Vec<u8>) -> Error {
    let answer = head.map(|head| Box::new(HttpAnswer { status: head.status, headers: head.pairs(), body }));
    Error::Handshake { reason: format!("{url} answered the handshake with {what}"), answer }
}
