//! A response on its way to the client, written by `client-N`, which blocks as long as the client takes it.
//!
//! Never here: a whole file in memory, or a client that is waited for though it takes nothing.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::http::request::Request;
use crate::http::response::{Response, Then};
use crate::net::transport::Transport;
use crate::server::client::Client;
use crate::server::half_open::Wait;

/// How long a page may stand still on its way out.
const PAGE_WRITE: Duration = Duration::from_secs(10);
/// Bytes a second at which a client takes its answer that is not to be evicted, [`RATE_GRACE`] after its beginning.
const LEAST_RATE: f64 = 4096.0;
const RATE_GRACE: Duration = Duration::from_secs(1);

/// Writes a response. The error is the socket's, or that of a file whose rest cannot be sent any more: the connection
/// is of no use then.
pub(crate) fn write(
    client: &Client,
    request: Option<&Request>,
    response: &Response,
    then: Then,
) -> io::Result<()> {
    let mut sender = Sender { client, begun: Instant::now(), taken: 0, is_slow: false };
    // Who makes room for another one gets a refusal, if it takes that at once.
    let within = if client.is_evicted() { Duration::ZERO } else { PAGE_WRITE };
    client.connection.link().transport.set_send_timeout(within)?;
    let written = match response.head(then) {
        Ok(head) => response.write_to(head, request, |bytes| sender.send_all(bytes)),
        Err(error) => {
            log::error!(target: crate::LOG, "{}: {}", client.connection, error.one_line());
            let failed = Response::refusal(500, "Internal Server Error");
            let head = failed.head(then).unwrap_or_default();
            failed.write_to(head, request, |bytes| sender.send_all(bytes))
        }
    };
    written.inspect_err(
        |error| log::debug!(target: crate::LOG, "{}: the answer ends early: {error}", client.connection),
    )
}

/// Sends one response, and watches the pace at which it is taken.
struct Sender<'a> {
    client: &'a Client,
    begun: Instant,
    taken: usize,
    /// Whether it may be evicted.
    is_slow: bool,
}

impl Sender<'_> {
    /// Blocks until all is written. A client that takes nothing for [`PAGE_WRITE`] ends it; one that takes less than
    /// [`LEAST_RATE`] may be evicted.
    fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let transport = &self.client.connection.link().transport;
        let sealed = transport.seal_all(bytes)?;
        let mut bytes = &*sealed;
        while !bytes.is_empty() {
            let due = self.begun.elapsed().saturating_sub(RATE_GRACE).as_secs_f64() * LEAST_RATE;
            self.set_slow((self.taken as f64) < due);
            match transport.send(bytes) {
                Ok(sent) => {
                    self.taken += sent;
                    bytes = &bytes[sent..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
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
