//! A response on its way to the client, written by `client-N`, which blocks as long as the client takes it.
//!
//! Never here: a whole file in memory, or an endless wait for a client that reads nothing.

use std::io;
use std::time::{Duration, Instant};

use crate::error::uninterrupted;
use crate::http::request::Request;
use crate::http::response::{Response, Then};
use crate::net::seal::Seal;
use crate::server::client::Client;
use crate::server::half_open::Wait;

/// How long a page may go without a byte written.
const PAGE_WRITE: Duration = Duration::from_secs(10);
/// The rate, in bytes per second, below which a client that reads its answer may be evicted. It holds [`RATE_GRACE`]
/// after the answer begins.
const LEAST_RATE: f64 = 4096.0;
const RATE_GRACE: Duration = Duration::from_secs(1);

/// Writes a response. Also returns how many bytes of it were sent. The error is the socket's, or that of a file whose
/// rest cannot be read. The connection is unusable then.
pub(crate) fn write_response(
    client: &Client,
    request: Option<&Request>,
    response: &Response,
    then: Then,
) -> (io::Result<()>, u64) {
    let mut sender = Sender { client, begun: Instant::now(), taken: 0, is_slow: false };
    // A client that makes room for another one gets a refusal, if its socket takes that at once.
    let within = if client.is_evicted() { Duration::ZERO } else { PAGE_WRITE };
    let written =
        client.connection.link().tcp().set_send_timeout(within).and_then(|()| match response.head(then) {
            Ok(head) => response.write_to(head, request, |bytes| sender.send_all(bytes)),
            Err(error) => {
                log::error!("{}: {}", client.connection, error.one_line());
                let failed = Response::refusal(500, "Internal Server Error");
                let head = failed.head(then).unwrap_or_default();
                failed.write_to(head, request, |bytes| sender.send_all(bytes))
            }
        });
    let written =
        written.inspect_err(|error| log::debug!("{}: the answer ends early: {error}", client.connection));
    (written, sender.taken as u64)
}

/// Sends one response, and measures how fast the client reads it.
struct Sender<'a> {
    client: &'a Client,
    begun: Instant,
    taken: usize,
    /// Whether it may be evicted.
    is_slow: bool,
}

impl Sender<'_> {
    /// Blocks until all is written. A client that reads nothing for [`PAGE_WRITE`] ends it. One that reads less than
    /// [`LEAST_RATE`] may be evicted.
    fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let transport = &self.client.connection.link().transport;
        let sealed = transport.seal_all(bytes)?;
        let mut bytes = &*sealed;
        while !bytes.is_empty() {
            let due = self.begun.elapsed().saturating_sub(RATE_GRACE).as_secs_f64() * LEAST_RATE;
            self.set_slow((self.taken as f64) < due);
            let sent = uninterrupted(|| transport.send(bytes))?;
            self.taken += sent;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    fn set_slow(&mut self, slow: bool) {
        if slow != self.is_slow {
            self.is_slow = slow;
            if slow { self.client.begin_wait(Wait::ForOutput) } else { self.client.end_wait() }
        }
    }
}
