//! Reports from `client-N` to the access log. Not inlined, to keep the stack of an idle client small.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::http::request::Request;
use crate::server::access::Access;
use crate::server::client::Client;

/// A request and when its head was read; `None` without a request, or without an access log.
pub(crate) type Asked<'a> = Option<(&'a Request, Instant)>;

/// Reports a response.
#[inline(never)]
pub(crate) fn responded(client: &Client, asked: Asked<'_>, status: u16, bytes: u64) {
    client.server.settings.access.tell(|| {
        let (address, method, path) = match asked {
            Some((request, _)) => (request.peer_addr(), request.method(), request.path()),
            None => (client.connection.link().addr(), "-", "-"),
        };
        let elapsed = asked.map_or(Duration::ZERO, |(_, begun)| begun.elapsed());
        Access { address, method, path, status, close_code: None, bytes, elapsed }
    });
}

/// Reports a WebSocket, all of whose frames are written. `failed` is the code with which the server has ended it.
#[inline(never)]
pub(crate) fn ended(client: &Client, failed: Option<u16>) {
    let link = client.connection.link();
    client.server.settings.access.tell(|| {
        let none = if client.connection.link().has_peers_close() { 1005 } else { 1006 };
        Access {
            address: link.addr(),
            method: "GET",
            path: link.path.get().map_or("-", String::as_str),
            status: 101,
            close_code: Some(failed.or(client.connection.close_code()).unwrap_or(none)),
            bytes: link.sent.load(Relaxed),
            elapsed: client.since.elapsed(),
        }
    });
}
