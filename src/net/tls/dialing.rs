//! TLS at the client's end: the authorities that it trusts, and the computation of its handshake, on the caller's
//! thread.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error as TlsError, RootCertStore};

use crate::error::{Error, Result};
use crate::net::tls::pem::{self, Pem};

/// The only protocol inside of TLS (ALPN, RFC 7301).
const HTTP: &[u8] = b"http/1.1";

/// The system's authorities, loaded on first use.
static SYSTEM: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);

/// The authorities that a client trusts.
#[derive(Clone, Default)]
pub(crate) enum Trust {
    /// The system's authorities, read once.
    #[default]
    System,
    /// The authorities in this PEM.
    Roots(Vec<u8>),
    /// Those of a `rustls` configuration.
    Rustls(Arc<ClientConfig>),
}

impl Trust {
    /// Returns the configuration.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        match self {
            Trust::System => system(),
            Trust::Roots(pem) => with_roots(pem),
            Trust::Rustls(config) => checked(config),
        }
    }
}

/// An unfinished handshake.
pub(crate) struct Dialing(ClientConnection);

impl Dialing {
    /// Begins with the server's name, which it sends to the server, or its address, which it does not send.
    pub(crate) fn begin(config: Arc<ClientConfig>, host: &str) -> Result<Dialing> {
        let name = ServerName::try_from(host.to_owned());
        let name =
            name.map_err(|_| Error::invalid(format!("{host} is not a name that a certificate can have")))?;
        let tls = ClientConnection::new(config, name)
            .map_err(|error| Error::invalid(format!("cannot set up TLS: {error}")))?;
        Ok(Dialing(tls))
    }

    /// Returns the bytes to send now.
    pub(crate) fn unsent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        while self.0.wants_write() && self.0.write_tls(&mut bytes).is_ok() {}
        bytes
    }

    /// Returns whether the handshake needs no more input.
    pub(crate) fn is_done(&self) -> bool {
        !self.0.is_handshaking()
    }

    /// Processes received bytes. The error says in one line why the server is unusable; then an alert may be
    /// [unsent](Dialing::unsent).
    pub(crate) fn receive(&mut self, mut received: &[u8]) -> Result<(), String> {
        while !received.is_empty() {
            match self.0.read_tls(&mut received) {
                Ok(1..) => self.0.process_new_packets().map(|_| ()).map_err(|error| describe(&error))?,
                Ok(0) | Err(_) => return Err("it sent more than a handshake".to_owned()),
            }
        }
        Ok(())
    }

    /// Returns the session of a finished handshake.
    pub(crate) fn into_session(self) -> rustls::Connection {
        self.0.into()
    }
}

fn system() -> Result<Arc<ClientConfig>> {
    let mut system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = &*system {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(Error::invalid(format!(
            "this system has no root certificates{why}: install ca-certificates, or pass some to root_certificates"
        )));
    }
    Ok(system.insert(config_of(roots)?).clone())
}

fn with_roots(pem: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let unread = |why| Error::invalid(format!("the root certificates' PEM {why}"));
    for certificate in Pem::parse(pem).and_then(|pem| pem.certificates()).map_err(unread)? {
        let added = roots.add(certificate);
        added.map_err(|error| {
            Error::invalid(format!("a root certificate cannot be read: {}", pem::describe_any(&error)))
        })?;
    }
    if roots.is_empty() {
        return Err(Error::invalid(
            "the root certificates' PEM has no certificate: one begins with -----BEGIN CERTIFICATE-----",
        ));
    }
    config_of(roots)
}

fn config_of(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::invalid(format!("cannot set up TLS: {error}")))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP.to_vec()];
    Ok(Arc::new(config))
}

/// A server may choose any protocol that the configuration offers.
fn checked(config: &Arc<ClientConfig>) -> Result<Arc<ClientConfig>> {
    match config.alpn_protocols.iter().find(|name| *name != HTTP) {
        Some(other) => Err(Error::invalid(format!(
            "the TLS configuration offers the protocol {} (ALPN), and a WebSocket speaks http/1.1 only",
            other.escape_ascii()
        ))),
        None => Ok(config.clone()),
    }
}

fn describe(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "no trusted authority signed its certificate; add the one that did with root_certificates"
                .to_owned()
        }
        TlsError::InvalidCertificate(error @ CertificateError::Other(_)) => {
            let why = pem::describe(error);
            let is_authority = why.contains("CaUsedAsEndEntity");
            let hint = if is_authority {
                ": it is a certificate of an authority; make the server's own with CA:FALSE"
            } else {
                ""
            };
            format!("the client refuses its certificate ({why}){hint}")
        }
        TlsError::InvalidMessage(_) => format!("it does not speak TLS; did you mean ws://? ({error})"),
        _ => error.to_string(),
    }
}
