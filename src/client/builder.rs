//! [`Builder`]: a client's request and settings, and how it connects. On the caller's thread.

use std::fmt;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tungstenite::protocol::Role;

use super::offer::{Offer, Wishes};
use super::proxy::ProxyChoice;
use super::url::Url;
use super::{STACK, closer, connecting};
use crate::connection::connection::Connection;
use crate::connection::messages::Messages;
use crate::connection::settings::Settings;
use crate::connection::state::SharedState;
use crate::connection::timed_io::Deadline;
use crate::error::{Error, Result};
use crate::http::exchange::Choices;
use crate::machine::message_limit;
use crate::metrics::DisconnectReason;
use crate::net::maybe_tls::MaybeTls;
use crate::net::tcp::Tcp;
use crate::net::thread_budget::ThreadBudget;
#[cfg(feature = "tls")]
use crate::net::tls::dialing::{Dialing, Trust};
#[cfg(feature = "tls")]
use crate::net::tls::duplex::TlsStream;
use crate::observer::Observer;
use crate::rate::FOR_EVER;
#[cfg(feature = "deflate")]
use crate::ws::inflate::Inflater;

/// How long connecting may take, by default.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A client's request, and its limits.
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
    proxy: ProxyChoice,
    #[cfg(feature = "tls")]
    trust: Trust,
}

impl Builder {
    /// Starts with the defaults. The URL is `ws://host:port/path?query`. The client percent-encodes characters of path
    /// and query that a request line cannot carry. A host is ASCII, so write an international name as `xn--...`.
    pub fn new(url: &str) -> Builder {
        let (wishes, settings) = (Wishes::default(), Settings::default());
        Builder {
            url: url.to_owned(),
            wishes,
            settings,
            deadline: CONNECT_DEADLINE,
            proxy: ProxyChoice::None,
            #[cfg(feature = "tls")]
            trust: Trust::default(),
        }
    }

    /// Adds a header to the request.
    pub fn header(mut self, name: &str, value: &str) -> Builder {
        self.wishes.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the `Origin`, which browsers send, and some servers require.
    pub fn origin(mut self, origin: &str) -> Builder {
        self.wishes.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Origin"));
        self.header("Origin", origin)
    }

    /// Adds a cookie to the request.
    pub fn cookie(mut self, name: &str, value: &str) -> Builder {
        self.wishes.cookies.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Offers one more subprotocol, in order of preference. The server may choose one, see [`Messages::subprotocol`].
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

    /// Sets the bytes of backlog at which the server is a slow consumer, 1 MiB by default. A push that finds this
    /// number of bytes behind the message in progress ends the connection. A program that writes much should wait
    /// first, with [`wait_for_room`](Connection::wait_for_room).
    ///
    /// # Panics
    /// If `bytes` is 0, or more than 1 GiB.
    pub fn max_backlog(mut self, bytes: usize) -> Builder {
        self.settings.set_max_backlog(bytes);
        self
    }

    /// Offers permessage-deflate, and compresses messages of at least this size, e.g. 1 KiB, if the server accepts.
    /// `None`, the default, does not offer it. See [`guide::compression`](crate::guide::compression).
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, from: Option<usize>) -> Builder {
        self.settings.compression = from;
        self.wishes.compression = from.is_some();
        self
    }

    /// Connects through this HTTP proxy: `http://user:password@host:3128`, where only the host is required. The client
    /// sends `CONNECT` with the URL's host and port, and the proxy looks the name up. A refusal is an
    /// [`Error::Handshake`] that names the proxy.
    pub fn proxy(mut self, url: &str) -> Builder {
        self.proxy = ProxyChoice::Url(url.to_owned());
        self
    }

    /// Connects through the proxy in the environment variable `HTTPS_PROXY`, for `ws` and `wss`, unless `NO_PROXY`
    /// lists the server. The names may be in lower case. See [`guide::client`](crate::guide::connecting#behind-a-proxy).
    pub fn proxy_from_environment(mut self) -> Builder {
        self.proxy = ProxyChoice::Environment;
        self
    }

    /// Sets how long the look-up, TCP, a proxy, TLS and the handshake may take together, 10 s by default.
    pub fn connect_deadline(mut self, deadline: Duration) -> Builder {
        self.deadline = deadline.min(FOR_EVER);
        self
    }

    /// Sets how long the backlog may go without progress before the connection ends, 10 s by default.
    ///
    /// # Panics
    /// If it is zero.
    pub fn write_deadline(mut self, deadline: Duration) -> Builder {
        self.settings.set_write_deadline(deadline);
        self
    }

    /// Sets the silence after which the server gets a Ping, 20 s by default; `None` or zero for never. Only a reading
    /// thread sends it, and sees its answer.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Builder {
        self.settings.ping_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// Sets how long after that Ping the server has to show a sign of life, or the client closes with 1011. The
    /// default, and zero, mean the interval.
    pub fn ping_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.ping_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Trusts the authorities in this PEM, in place of the system's: for your own server.
    #[cfg(feature = "tls")]
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Builder {
        self.trust = Trust::Roots(pem.as_ref().to_vec());
        self
    }

    /// Uses a configuration of `rustls` (0.23) unchanged: for a client's certificate, other algorithms or verifiers. It
    /// offers no protocol but `http/1.1` (ALPN).
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<rustls::ClientConfig>) -> Builder {
        self.trust = Trust::Rustls(config);
        self
    }

    /// Connects. It tries a name's addresses in order: the next one as soon as one has failed, or after 250 ms. The
    /// first that answers wins (RFC 8305). Each attempt has a thread, `connect-N`, unless the name has a single
    /// address. The process's first client also starts the `closer`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid URL, header or subprotocol; [`Error::Io`] if the server cannot be reached, or
    /// does not answer in time; [`Error::Handshake`] if it, or the proxy, does not accept this WebSocket. The client
    /// does not follow redirects: the error has their address.
    pub fn connect(&self) -> Result<(Connection, Messages)> {
        let url = self.url()?;
        let deadline = self.deadline();
        let offer = self.wishes.offer(&url)?;
        let stream = connecting::dial(&url, self.proxy.find(&url)?.as_ref(), deadline)?;
        self.begin(url, offer, stream, deadline)
    }

    /// Connects over a stream that is connected already, such as one through another kind of proxy. The request uses
    /// the URL.
    ///
    /// # Errors
    /// As [`connect`](Builder::connect).
    pub fn connect_over(&self, stream: TcpStream) -> Result<(Connection, Messages)> {
        let url = self.url()?;
        let offer = self.wishes.offer(&url)?;
        self.begin(url, offer, stream, self.deadline())
    }

    fn deadline(&self) -> Deadline {
        Deadline::within(self.deadline, "not within the connect deadline")
    }

    fn url(&self) -> Result<Url> {
        let url = Url::parse(&self.url)?;
        if cfg!(not(feature = "tls")) && url.is_secure {
            return Err(Error::invalid("wss needs the feature tls of threadcast"));
        }
        Ok(url)
    }

    fn begin(
        &self,
        url: Url,
        offer: (Offer<'_>, Vec<u8>),
        stream: TcpStream,
        deadline: Deadline,
    ) -> Result<(Connection, Messages)> {
        let doing = || format!("cannot connect to {url}");
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
        connection.link().set_path(url.path(), peer);
        #[cfg(feature = "tls")]
        if let Some(dialing) = dialing {
            connecting::secure(&connection, &url, dialing, deadline)?;
        }
        match connecting::shake_hands(&connection, &url, offer, deadline) {
            Ok(answer) => {
                #[cfg(feature = "deflate")]
                if let Some(bits) = answer.agreement.window_bits {
                    connection.link().set_compressed(bits);
                }
                let timeout = connection.link().tcp().set_recv_timeout(self.settings.ping_interval);
                timeout.map_err(Error::io(doing()))?;
                connection.set_choices(Choices::of(answer.agreement.subprotocol));
                let messages = Messages::of_owner(&connection, answer.early, url.to_string(), answer.headers);
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
