//! [`Builder`]: what a client asks for, and the way from there to a connection. On the caller's thread.

use std::fmt;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::protocol::Role;

use super::messages::Messages;
use super::offer::Wishes;
use super::url::Url;
use super::{closer, connecting};
use crate::connection::connection::Connection;
use crate::connection::settings::Settings;
use crate::connection::state::SharedState;
use crate::error::{Error, Result};
use crate::machine::message_limit;
use crate::metrics::DisconnectReason;
use crate::net::maybe_tls::MaybeTls;
use crate::net::tcp::Tcp;
use crate::net::thread_budget::ThreadBudget;
#[cfg(feature = "tls")]
use crate::net::tls::dialing::{Dialing, Trust};
#[cfg(feature = "tls")]
use crate::net::tls::duplex::TlsStream;
use crate::net::transport::Transport;
use crate::observer::Observer;
#[cfg(feature = "deflate")]
use crate::ws::inflate::Inflater;

/// How long connecting may take, unless it is set.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of the stack of a pump, and of the thread that lingers.
const STACK: usize = 512 << 10;
/// A longer deadline is taken for this one: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a client asks for, and its limits.
///
/// ```no_run
/// # fn main() -> threadcast::Result<()> {
/// let (connection, messages) = threadcast::client::Builder::new("ws://feed.test/prices")
///     .header("Authorization", "Bearer abc")
///     .subprotocol("prices.v2")
///     .ping_interval(Some(std::time::Duration::from_secs(5)))
///     .connect()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Builder {
    url: String,
    wishes: Wishes,
    settings: Settings,
    deadline: Duration,
    #[cfg(feature = "tls")]
    trust: Trust,
}

impl Builder {
    /// Starts with the defaults. The URL is `ws://host:port/path?query`: what a request line cannot carry in path and
    /// query is percent-encoded, and a host is ASCII, so an international name is written `xn--...`.
    pub fn new(url: &str) -> Builder {
        let (wishes, settings) = (Wishes::default(), Settings::default());
        Builder {
            url: url.to_owned(),
            wishes,
            settings,
            deadline: CONNECT_DEADLINE,
            #[cfg(feature = "tls")]
            trust: Trust::default(),
        }
    }

    /// Adds a header to the request.
    pub fn header(mut self, name: &str, value: &str) -> Builder {
        self.wishes.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the `Origin`, which browsers send, and some servers want.
    pub fn origin(mut self, origin: &str) -> Builder {
        self.wishes.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Origin"));
        self.header("Origin", origin)
    }

    /// Adds a cookie to the request.
    pub fn cookie(mut self, name: &str, value: &str) -> Builder {
        self.wishes.cookies.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Offers one more subprotocol, the most welcome first. The server may choose one, see
    /// [`Messages::subprotocol`].
    pub fn subprotocol(mut self, name: &str) -> Builder {
        self.wishes.subprotocols.push(name.to_owned());
        self
    }

    /// Sets the most bytes in a message from the server, 10 MiB by default. A larger one closes with 1009 when its
    /// header arrives.
    pub fn max_message(mut self, bytes: usize) -> Builder {
        self.settings.max_message = bytes;
        self
    }

    /// Sets the bytes of backlog at which the server is a slow consumer, 1 MiB by default. The push that finds that
    /// much waiting behind the message that is being written ends the connection. A program that writes much waits
    /// first, with [`wait_for_room`](Connection::wait_for_room).
    ///
    /// # Panics
    /// If there are none, or more than 1 GiB.
    pub fn max_backlog(mut self, bytes: usize) -> Builder {
        self.settings.set_max_backlog(bytes);
        self
    }

    /// Offers permessage-deflate, and sets the size from which messages are compressed, if the server accepts: 1 KiB is
    /// a good one. `None`, the default, does not offer it. See [`guide::compression`](crate::guide::compression).
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, from: Option<usize>) -> Builder {
        self.settings.compression = from;
        self.wishes.compression = from.is_some();
        self
    }

    /// Sets how long looking the name up, TCP, TLS and the handshake may take together, 10 s by default.
    pub fn connect_deadline(mut self, deadline: Duration) -> Builder {
        self.deadline = deadline.min(LONGEST);
        self
    }

    /// Sets how long the backlog may stand still before the connection is ended, 10 s by default.
    ///
    /// # Panics
    /// If it is zero: no server is that fast.
    pub fn write_deadline(mut self, deadline: Duration) -> Builder {
        self.settings.set_write_deadline(deadline);
        self
    }

    /// Sets the silence after which the server gets a Ping, 20 s by default; `None` or zero for never. It is sent, and
    /// its answer is seen, while somebody reads.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Builder {
        self.settings.ping_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// Sets how long after that Ping the server has to show a sign of life, or it is closed with 1011; as long as the
    /// interval by default, or if it is zero.
    pub fn ping_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.ping_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Trusts the authorities in this PEM, in place of those that the system knows: for a server of one's own.
    #[cfg(feature = "tls")]
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Builder {
        self.trust = Trust::Roots(pem.as_ref().to_vec());
        self
    }

    /// Takes a configuration of `rustls` (0.23) as it is: for a client's certificate, other algorithms or
    /// verifiers. It offers no protocol but `http/1.1` (ALPN).
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Builder {
        self.trust = Trust::Rustls(config);
        self
    }

    /// Connects. No thread is started but the process's `closer`, by the first client of it.
    ///
    /// A name's addresses are tried one after the other, each for its share of the time that is left. No proxy is
    /// used: a program that needs one connects to it, and passes the stream to
    /// [`connect_over`](Builder::connect_over).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL, a header or a subprotocol that cannot be; [`Error::Io`] if the server cannot be
    /// reached, or does not answer in time; [`Error::Handshake`] if it answers with something else than this
    /// WebSocket. Redirects are not followed: the error has their address.
    pub fn connect(&self) -> Result<(Connection, Messages)> {
        let url = Url::parse(&self.url)?;
        let deadline = Instant::now() + self.deadline;
        let stream = connecting::dial(&url, deadline)?;
        self.begin(url, stream, deadline)
    }

    /// Does the same over a stream that is connected already. The URL is what the request names.
    ///
    /// # Errors
    /// As [`connect`](Builder::connect).
    pub fn connect_over(&self, stream: TcpStream) -> Result<(Connection, Messages)> {
        self.begin(Url::parse(&self.url)?, stream, Instant::now() + self.deadline)
    }

    fn begin(&self, url: Url, stream: TcpStream, deadline: Instant) -> Result<(Connection, Messages)> {
        let doing = || format!("cannot connect to {url}");
        #[cfg(not(feature = "tls"))]
        if url.is_secure {
            return Err(Error::invalid("wss needs the feature tls of threadcast"));
        }
        let offer = self.wishes.offer(&url)?;
        let peer = stream.peer_addr().map_err(Error::io(doing()))?;
        stream.set_nonblocking(false).map_err(Error::io(doing()))?;
        stream.set_nodelay(true).map_err(Error::io(doing()))?;
        #[cfg(feature = "deflate")]
        if self.wishes.compression {
            Inflater::prepare();
        }
        let closer = closer().map_err(Error::io(doing()))?;
        let max_message = message_limit(self.settings.max_message, 0);
        let settings = Settings { max_message, ..self.settings.clone() };
        let budget = Arc::new(ThreadBudget::new(1, settings.delivery, STACK));
        let (counters, observer) = (Arc::default(), Observer::default());
        let state = SharedState::new(settings, u64::MAX, counters, budget, observer, closer);
        let transport = Tcp::new(stream, true);
        #[cfg(feature = "tls")]
        let (transport, dialing) = if url.is_secure {
            let dialing = Dialing::begin(self.trust.config()?, &url.host)?;
            (MaybeTls::Tls(Box::new(TlsStream::new(transport))), Some(dialing))
        } else {
            (MaybeTls::Plain(transport), None)
        };
        #[cfg(not(feature = "tls"))]
        let transport = MaybeTls::Plain(transport);
        let connection = Connection::over(transport, Role::Client, peer, Arc::new(state));
        connection.set_path(url.path(), peer);
        #[cfg(feature = "tls")]
        if let Some(dialing) = dialing {
            connecting::secure(&connection, &url, dialing, deadline)?;
        }
        match connecting::shake_hands(&connection, &url, offer, deadline) {
            Ok(answer) => {
                #[cfg(feature = "deflate")]
                if let Some(bits) = answer.agreement.window_bits {
                    connection.set_compressed(bits);
                }
                let timeout = connection.link().transport.set_recv_timeout(self.settings.ping_interval);
                timeout.map_err(Error::io(doing()))?;
                let subprotocol = answer.agreement.subprotocol;
                let messages = Messages::new(&connection, url, answer.early, subprotocol, answer.headers);
                Ok((connection, messages))
            }
            Err(error) => {
                connection.outbox().kill(DisconnectReason::Done);
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
