//! [`Visitor`]: the socket of one of the lab's clients, with TLS where the server has it.
//!
//! Discards the server's bytes as they are, encrypted or not: only the lab's own messages need TLS.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use threadcast::{Error, Result};
use tungstenite::protocol::frame::Frame;

/// How long a connection, or a step of its handshake, may take; longer only where a server's queue is full.
const CONNECT: Duration = Duration::from_secs(2);

/// A server, and how its clients do TLS, if they do.
#[derive(Clone)]
pub struct Host {
    pub address: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

/// See the [module](self).
pub struct Visitor {
    pub stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Visitor {
    /// Connects and asks for a WebSocket. Blocks for the TLS handshake, but not for the answer.
    ///
    /// # Errors
    /// If it cannot connect, or the server does no TLS.
    pub fn connect(host: &Host, path: &str, name: &str) -> io::Result<Visitor> {
        let mut stream = TcpStream::connect_timeout(&host.address, CONNECT)?;
        stream.set_nodelay(true)?;
        let tls =
            host.tls.clone().map(|config| connect_tls(config, host.address, &mut stream)).transpose()?;
        let mut visitor = Visitor { stream, tls };
        let request = format!(
            "GET {path}?Id={name} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            host.address
        );
        visitor.write_all(request.as_bytes())?;
        Ok(visitor)
    }

    /// Returns bytes as they are to be sent, in the order of the calls.
    ///
    /// # Errors
    /// If a key has been used for too long.
    pub fn seal<'b>(&mut self, mut bytes: &'b [u8]) -> io::Result<Cow<'b, [u8]>> {
        let Some(tls) = &mut self.tls else { return Ok(Cow::Borrowed(bytes)) };
        let mut sealed = Vec::new();
        while !bytes.is_empty() {
            bytes = &bytes[tls.writer().write(bytes)?..];
            while tls.wants_write() {
                tls.write_tls(&mut sealed)?;
            }
        }
        Ok(Cow::Owned(sealed))
    }

    /// Blocks until all is sent.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sealed = self.seal(bytes)?;
        (&self.stream).write_all(&sealed)
    }
}

/// Returns the bytes of a client's frame. A mask of zeros changes nothing of the payload (RFC 6455, section 5.3).
pub fn client_bytes(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some([0; 4]);
    let mut bytes = Vec::with_capacity(frame.len());
    // Writing to a Vec never fails.
    let _ = frame.format(&mut bytes);
    bytes
}

fn connect_tls(
    config: Arc<ClientConfig>,
    address: SocketAddr,
    stream: &mut TcpStream,
) -> io::Result<Box<ClientConnection>> {
    let name = ServerName::IpAddress(address.ip().into());
    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    stream.set_read_timeout(Some(CONNECT))?;
    while tls.is_handshaking() {
        tls.complete_io(stream)?;
    }
    Ok(Box::new(tls))
}

/// Returns the TLS configuration of the lab's clients. It accepts any certificate, since the server is this process.
///
/// # Errors
/// If rustls cannot do it.
pub fn config() -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::invalid(format!("cannot set up the lab's TLS: {error}")))?;
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustsItself));
    Ok(Arc::new(config.with_no_client_auth()))
}

/// The server is this process.
#[derive(Debug)]
struct TrustsItself;

impl ServerCertVerifier for TrustsItself {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
