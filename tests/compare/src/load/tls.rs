//! TLS for a client of the load generator: bytes in, bytes out. It trusts any certificate, and never resumes, so that
//! each handshake costs a server the same.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::failure::{Failure, While};
use crate::load::event::Ended;

const BROKEN: Ended = Ended::Protocol("TLS that breaks its rules");

/// The shared configuration of all clients.
pub fn config() -> Result<Arc<ClientConfig>, Failure> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().doing("set up TLS")?;
    let verifier = Arc::new(TrustsAnybody);
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// One client's side of TLS.
pub struct Session(ClientConnection);

impl Session {
    /// Starts with a ClientHello that is ready to send.
    pub fn new(config: Arc<ClientConfig>) -> Result<Self, Ended> {
        let server = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        ClientConnection::new(config, server).map(Self).map_err(|_| BROKEN)
    }

    /// Encrypts bytes, and appends all outgoing bytes to `sealed`. Before the end of the handshake they wait.
    pub fn seal(&mut self, bytes: &[u8], sealed: &mut Vec<u8>) -> Result<(), Ended> {
        self.0.writer().write_all(bytes).map_err(|_| BROKEN)?;
        self.take_queue(sealed)
    }

    /// Decrypts bytes into `plain`, and appends the answers to `sealed`.
    pub fn open(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> Result<(), Ended> {
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).map_err(|_| BROKEN)?;
            let state = self.0.process_new_packets().map_err(|_| BROKEN)?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plain[start..]).map_err(|_| BROKEN)?;
        }
        self.take_queue(sealed)
    }

    fn take_queue(&mut self, sealed: &mut Vec<u8>) -> Result<(), Ended> {
        while self.0.wants_write() {
            self.0.write_tls(sealed).map_err(|_| BROKEN)?;
        }
        Ok(())
    }
}

/// Every variant makes its own certificate.
#[derive(Debug)]
struct TrustsAnybody;

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
