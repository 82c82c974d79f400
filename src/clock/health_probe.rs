//! `threadcast --health URL`: checks a server, for the health check of a container that has no other program.
//!
//! Blocks for a second at most.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    StreamOwned,
};

use threadcast::{Error, Result};

/// All of it: the connect, the handshake of TLS, the request, the answer's first line.
const WITHIN: Duration = Duration::from_secs(1);
/// Bytes of an answer that the probe reads.
const FIRST_LINE: usize = 256;

/// Returns whether the answer to a GET is 200. Over TLS it verifies the certificate, except at a loopback address:
/// only this machine answers there, and its certificate is for the name that clients use, or self-signed.
///
/// # Errors
/// [`Error::Invalid`] for an invalid URL, and for another answer; [`Error::Io`] if none comes.
pub fn ask(url: &str) -> Result<()> {
    let target = Target::parse(url)?;
    let status = target.status().map_err(Error::io(format!("no answer from {url}")))?;
    // A server of TLS answers a request without it so.
    let hint = if status == "400" && !target.tls { "; did you mean https://?" } else { "" };
    if status == "200" { Ok(()) } else { Err(Error::invalid(format!("{url} answers {status}{hint}"))) }
}

/// Where to ask, and for what.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    tls: bool,
    /// The host with its port.
    authority: String,
    /// With its query.
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Target> {
        let wrong = || {
            Error::invalid(format!(
                "not a health URL: {url:?}; write http://HOST:PORT/health or https://HOST:PORT/health, without a user"
            ))
        };
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = (&rest[..end], if end == rest.len() { "/" } else { &rest[end..] });
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !is_plain(authority) || !is_plain(path) {
            return Err(wrong());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if tls { 443 } else { 80 };
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        Ok(Target { tls, authority, path: path.to_owned() })
    }

    /// Returns the host as a certificate has it.
    fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&self.authority[..], |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Asks, and returns the status.
    fn status(&self) -> io::Result<String> {
        let stream = Timed::connect(&self.authority, Instant::now() + WITHIN)?;
        if !self.tls {
            return self.ask_over(stream);
        }
        let is_own = stream.0.peer_addr()?.ip().to_canonical().is_loopback();
        let config = if is_own { unverified()? } else { of_the_system()? };
        let name = ServerName::try_from(self.host().to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        self.ask_over(StreamOwned::new(tls, stream)).map_err(explained)
    }

    fn ask_over(&self, mut stream: impl Read + Write) -> io::Result<String> {
        let Target { authority, path, .. } = self;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        while answer.len() < FIRST_LINE && !answer.contains(&b'\n') {
            let mut bytes = [0; FIRST_LINE];
            match stream.read(&mut bytes)? {
                0 => break,
                length => answer.extend_from_slice(&bytes[..length]),
            }
        }
        let line = String::from_utf8_lossy(&answer).into_owned();
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1));
        status
            .map(str::to_owned)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the answer is not HTTP"))
    }
}

/// A connection whose reads and writes end in time.
struct Timed(TcpStream, Instant);

impl Timed {
    /// Tries each address of the host.
    fn connect(authority: &str, deadline: Instant) -> io::Result<Timed> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        let connect = |address| TcpStream::connect_timeout(&address, left(deadline)?);
        let mut addresses = authority.to_socket_addrs()?;
        let stream = addresses.find_map(|address| connect(address).map_err(|error| last = error).ok());
        stream.map(|stream| Timed(stream, deadline)).ok_or(last)
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket's timeout is [`ErrorKind::WouldBlock`].
fn timed<T>(done: io::Result<T>) -> io::Result<T> {
    done.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    })
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.set_read_timeout(Some(left(self.1)?))?;
        timed(self.0.read(bytes))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set_write_timeout(Some(left(self.1)?))?;
        timed(self.0.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds what to do.
fn hint(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{error}; {what}"))
}

/// Adds what to do about an error of TLS.
fn explained(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(TlsError::InvalidCertificate(_)) => hint(
            &error,
            "SSL_CERT_FILE names a file of trusted authorities, and at a loopback address any certificate will do",
        ),
        Some(TlsError::InvalidMessage(_)) => hint(&error, "did you mean http://?"),
        _ => error,
    }
}

/// Trusts the system's authorities.
fn of_the_system() -> io::Result<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this system has no root certificates: install ca-certificates, or name a file of them in SSL_CERT_FILE",
        ));
    }
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Trusts every certificate.
fn unverified() -> io::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnMachine(provider())))
        .with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Asks for no proof of who answers, for servers of this machine.
#[derive(Debug)]
struct OwnMachine(Arc<CryptoProvider>);

impl ServerCertVerifier for OwnMachine {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_a_table() {
        for (url, expected) in [
            ("http://127.0.0.1:8888/health", Some((false, "127.0.0.1:8888", "127.0.0.1", "/health"))),
            ("http://[::1]:80", Some((false, "[::1]:80", "::1", "/"))),
            ("http://[::1]/", Some((false, "[::1]:80", "::1", "/"))),
            ("http://localhost/ready?x=1", Some((false, "localhost:80", "localhost", "/ready?x=1"))),
            ("https://localhost/", Some((true, "localhost:443", "localhost", "/"))),
            ("https://[::1]:8443/health", Some((true, "[::1]:8443", "::1", "/health"))),
            ("ws://localhost/", None),
            ("localhost:8888", None),
            ("http:///health", None),
            ("https://", None),
            ("http://a:b@localhost/", None),
            ("https://a@localhost/", None),
            ("http://localhost/a b", None),
            ("http://localhost/\r\nX: y", None),
        ] {
            let found = Target::parse(url).ok();
            let found =
                found.as_ref().map(|found| (found.tls, &found.authority[..], found.host(), &found.path[..]));
            assert_eq!(found, expected, "{url}");
        }
    }
}
