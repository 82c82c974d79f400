//! From an address to a WebSocket: TCP, a proxy, TLS, the request, the answer, all before one deadline. On the caller's
//! thread.
//!
//! Never here: retrying, or following a redirect.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::answer::AnswerReader;
#[cfg(feature = "tls")]
use super::answer::receive;
use super::offer::{Agreement, Offer};
use super::proxy::Proxy;
use super::url::{Url, host_and_port};
use crate::connection::connection::Connection;
#[cfg(feature = "tls")]
use crate::connection::timed_io::send_before;
use crate::connection::timed_io::{Deadline, recv_before};
use crate::error::{Error, Result, uninterrupted};
#[cfg(feature = "tls")]
use crate::net::maybe_tls::MaybeTls;
use crate::net::names::Names;
use crate::net::racing::connect_first;
#[cfg(feature = "tls")]
use crate::net::tls::dialing::Dialing;

/// The result of a handshake.
pub(super) struct Agreed101 {
    pub(super) agreement: Agreement,
    pub(super) headers: Vec<(String, String)>,
    /// Bytes behind the answer.
    pub(super) early: Vec<u8>,
}

/// Connects to the server, or to a proxy that opens a tunnel to it.
pub(super) fn dial(url: &Url, proxy: Option<&Proxy>, deadline: Deadline) -> Result<TcpStream> {
    let Some(proxy) = proxy else { return dial_host(&url.to_string(), &url.host, url.port, deadline) };
    let stream = dial_host(&proxy.to_string(), &proxy.host, proxy.port, deadline)?;
    open_way(&stream, proxy, url, deadline)?;
    Ok(stream)
}

/// Looks a name up, and connects to the first of its addresses that answers.
fn dial_host(whom: &str, host: &str, port: u16, deadline: Deadline) -> Result<TcpStream> {
    let found = Names::new().find(host, port, deadline.at);
    let addresses = found.map_err(Error::io(format!("cannot find {host}")))?;
    connect_first(&addresses, deadline.at).map_err(|source| {
        let tried: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        Error::Io { doing: format!("cannot connect to {whom} ({})", tried.join(", ")), source }
    })
}

/// Asks a proxy for a tunnel to the server. The client sends the first byte.
fn open_way(mut stream: &TcpStream, proxy: &Proxy, url: &Url, deadline: Deadline) -> Result<()> {
    let asked = format!("CONNECT {}", host_and_port(&url.host, Some(url.port)));
    let doing = || format!("cannot ask {proxy} for {asked}");
    let sent = set_timeouts(stream, deadline).and_then(|()| stream.write_all(proxy.request(url).as_bytes()));
    sent.map_err(Error::io(doing()))?;
    let recv = |bytes: &mut [u8], deadline: Deadline| {
        let received = uninterrupted(|| {
            set_timeouts(stream, deadline)?;
            stream.read(bytes)
        });
        received.map_err(|error| deadline.named(error))
    };
    let mut answer = AnswerReader::new(proxy, &asked, recv, deadline);
    let head = answer.head()?;
    if !(200..300).contains(&head.status) || head.is_cut {
        return Err(answer.refusal(&head));
    }
    if answer.has_more() {
        return Err(answer.error("bytes that follow its head too early", Some(&head), Vec::new()));
    }
    let blocking = stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(None));
    blocking.map_err(Error::io(doing()))
}

fn set_timeouts(stream: &TcpStream, deadline: Deadline) -> io::Result<()> {
    let left = deadline.left()?;
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))
}

/// Does the handshake of TLS.
#[cfg(feature = "tls")]
pub(super) fn secure(
    connection: &Connection,
    url: &Url,
    mut dialing: Dialing,
    deadline: Deadline,
) -> Result<()> {
    let failed = |error| Error::io(format!("cannot speak TLS with {url}"))(error);
    let mut received = Vec::new();
    loop {
        send_before(connection, &dialing.unsent(), deadline).map_err(failed)?;
        if dialing.is_done() {
            break;
        }
        received.clear();
        receive(&mut received, |bytes| recv_before(connection, bytes, deadline)).map_err(failed)?;
        if let Err(why) = dialing.receive(&received) {
            // The alert, which the server may ignore.
            let _ = send_before(connection, &dialing.unsent(), deadline);
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, why)));
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
    deadline: Deadline,
) -> Result<Agreed101> {
    // After a failed write, an earlier answer may still be readable.
    let _ = connection.outbox().begin(request.into());
    let recv = |bytes: &mut [u8], deadline| recv_before(connection, bytes, deadline);
    let mut answer = AnswerReader::new(url, "the handshake", recv, deadline);
    let head = answer.head()?;
    if head.status != 101 {
        return Err(answer.refusal(&head));
    }
    match offer.check(&head) {
        Ok(agreement) => Ok(Agreed101 { agreement, headers: head.pairs(), early: answer.into_rest() }),
        Err(what) => Err(answer.error(&what, Some(&head), Vec::new())),
    }
}
