//! [`RedisLink`]: one connection to Redis. The crate `redis` parses its URL and its answers; this file reads and
//! writes, so that each step has a deadline, and an interrupted call is repeated. (The crate's own connection ends when
//! a call is interrupted, has no deadline for name resolution or the password, and skips an answer after each late
//! one.)
//!
//! Never here: a URL or a password in an error.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ConnectionInfo, Msg, Parser, RedisError, RedisResult, Value};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::error::{Result, uninterrupted};
use crate::hub::fleet::redis_url;
use crate::net::names::Names;
use crate::net::racing::connect_first;

/// The time limit for a usable connection: name resolution, TCP, TLS, password and role.
const CONNECT: Duration = Duration::from_secs(3);
/// The time limit for an answer, and for Redis to take what is written.
const ANSWER: Duration = Duration::from_secs(2);
/// The shortest timeout that a socket allows.
const SHORTEST: Duration = Duration::from_millis(1);

/// See the [module](self).
pub(super) struct RedisLink {
    stream: RedisStream,
    parser: Parser,
}

enum RedisStream {
    Plain(RedisSocket),
    Tls(Box<StreamOwned<ClientConnection, RedisSocket>>),
}

/// Never interrupted.
enum RedisSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Parses a URL.
pub(super) fn target(url: &str) -> Result<ConnectionInfo> {
    let info = redis_url::parse(url)?;
    match info.addr() {
        ConnectionAddr::Tcp(..)
        | ConnectionAddr::TcpTls { insecure: false, .. }
        | ConnectionAddr::Unix(_) => Ok(info),
        _ => Err(redis_url::wrong(url)),
    }
}

impl RedisLink {
    /// Connects, authenticates, and asks for the role: a message that is published at a replica reaches only that
    /// replica's subscribers.
    pub(super) fn connect(target: &ConnectionInfo, names: &Names) -> RedisResult<RedisLink> {
        let deadline = Instant::now() + CONNECT;
        let stream = match target.addr() {
            ConnectionAddr::Tcp(host, port) => RedisStream::Plain(tcp(host, *port, names, deadline)?),
            ConnectionAddr::TcpTls { host, port, .. } => {
                let tls = tls(host)?;
                RedisStream::Tls(Box::new(StreamOwned::new(tls, tcp(host, *port, names, deadline)?)))
            }
            ConnectionAddr::Unix(path) => RedisStream::Plain(unix(path)?),
            _ => return Err(io::Error::from(ErrorKind::Unsupported).into()),
        };
        let mut link = RedisLink { stream, parser: Parser::new() };
        link.set_timeout(left(deadline)?)?;
        link.introduce(target)?;
        link.set_timeout(ANSWER)?;
        Ok(link)
    }

    fn introduce(&mut self, target: &ConnectionInfo) -> RedisResult<()> {
        let settings = target.redis_settings();
        let mut pipeline = redis::pipe();
        if let Some(password) = settings.password() {
            pipeline.cmd("AUTH").arg(settings.username()).arg(password);
        }
        if settings.db() != 0 {
            pipeline.cmd("SELECT").arg(settings.db());
        }
        pipeline.cmd("ROLE");
        self.send(&pipeline.get_packed_pipeline())?;
        for _ in 1..pipeline.len() {
            self.reply()?.extract_error()?;
        }
        match self.reply()?.extract_error() {
            Ok(Value::Array(role)) if role.first().is_some_and(is_replica) => {
                let what = "it is a replica, and the other machines do not receive messages published to it";
                Err(io::Error::other(what).into())
            }
            Ok(_) => Ok(()),
            // Some users may not ask, and some servers that speak this protocol do not know the command.
            Err(error) if error.code() == Some("NOPERM") || says_unknown(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets the time limit for reads and writes from now on.
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self.stream {
            RedisStream::Plain(ref socket) => socket.set_timeout(timeout),
            RedisStream::Tls(ref stream) => stream.sock.set_timeout(timeout),
        }
    }

    /// Writes packed commands.
    pub(super) fn send(&mut self, packed: &[u8]) -> RedisResult<()> {
        let written = match &mut self.stream {
            RedisStream::Plain(socket) => socket.write_all(packed),
            RedisStream::Tls(stream) => stream.write_all(packed).and_then(|()| stream.flush()),
        };
        Ok(written?)
    }

    /// Reads one answer. After a timeout, the next call continues where this one ended.
    pub(super) fn reply(&mut self) -> RedisResult<Value> {
        match &mut self.stream {
            RedisStream::Plain(socket) => self.parser.parse_value(socket),
            RedisStream::Tls(stream) => self.parser.parse_value(stream),
        }
    }

    /// Reads one message of a subscription; `None` for any other answer.
    pub(super) fn message(&mut self) -> RedisResult<Option<Msg>> {
        Ok(Msg::from_owned_value(self.reply()?))
    }
}

fn is_replica(role: &Value) -> bool {
    matches!(role, Value::BulkString(role) if role == b"slave" || role == b"replica")
}

fn says_unknown(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.to_ascii_lowercase().contains("unknown command"))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < SHORTEST { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Connects to the first of a host's addresses that answers.
fn tcp(host: &str, port: u16, names: &Names, deadline: Instant) -> io::Result<RedisSocket> {
    let unknown = |error| io::Error::other(format!("cannot resolve {host}: {error}"));
    let addresses = names.find(host, port, deadline).map_err(unknown)?;
    let stream = connect_first(&addresses, deadline)?;
    stream.set_nodelay(true)?;
    let socket = RedisSocket::Tcp(stream);
    socket.set_timeout(left(deadline)?)?;
    Ok(socket)
}

fn unix(path: &Path) -> io::Result<RedisSocket> {
    uninterrupted(|| UnixStream::connect(path)).map(RedisSocket::Unix)
}

/// Trusts the system's certificate authorities, or those in the file `SSL_CERT_FILE`. Uses the process's provider for
/// `rustls`, if it has one.
fn tls(host: &str) -> io::Result<ClientConnection> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if let (true, Some(error)) = (roots.is_empty(), loaded.errors.first()) {
        return Err(io::Error::other(error.to_string()));
    }
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
    ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)
}

impl RedisSocket {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            RedisSocket::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            RedisSocket::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }
}

impl Read for RedisSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            RedisSocket::Tcp(stream) => stream.read(into),
            RedisSocket::Unix(stream) => stream.read(into),
        })
    }
}

impl Write for RedisSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            RedisSocket::Tcp(stream) => stream.write(bytes),
            RedisSocket::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
