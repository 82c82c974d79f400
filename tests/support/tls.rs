//! TLS for the tests: certificates made for them, and a client on plain `rustls`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedCipherSuite,
    SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite,
};
use threadcast::TlsConfig;

use super::{DEADLINE, masked, upgrade};

/// A self-signed certificate for `localhost`, and its key.
pub struct Identity {
    pub chain: String,
    pub key: String,
    roots: RootCertStore,
}

/// A client over TLS.
pub struct Secure {
    pub tls: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
}

impl Identity {
    pub fn new() -> Identity {
        Identity::of(KeyPair::generate().expect("a key"))
    }

    /// With a key in PEM (PKCS#8).
    pub fn of_key(pem: &str) -> Identity {
        Identity::of(KeyPair::from_pem(pem).expect("a key"))
    }

    /// With a certificate of an authority, as openssl makes one by default.
    pub fn authority() -> Identity {
        let mut params = params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Identity::with(params, KeyPair::generate().expect("a key"))
    }

    fn of(key: KeyPair) -> Identity {
        Identity::with(params(), key)
    }

    fn with(params: CertificateParams, key: KeyPair) -> Identity {
        let certificate = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        Identity { chain: certificate.pem(), key: key.serialize_pem(), roots }
    }

    pub fn config(&self) -> TlsConfig {
        TlsConfig::from_pem(&self.chain, &self.key).expect("a pair")
    }

    /// A server's, whose keys are used up after this number of records.
    pub fn config_with_limit(&self, records: u64) -> TlsConfig {
        let mut provider = ring::default_provider();
        for suite in &mut provider.cipher_suites {
            *suite = match *suite {
                SupportedCipherSuite::Tls12(suite) => {
                    let common = CipherSuiteCommon { confidentiality_limit: records, ..suite.common };
                    SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite { common, ..*suite })))
                }
                SupportedCipherSuite::Tls13(suite) => {
                    let common = CipherSuiteCommon { confidentiality_limit: records, ..suite.common };
                    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite { common, ..*suite })))
                }
            };
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let chain = vec![CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        TlsConfig::from_rustls(Arc::new(builder.with_single_cert(chain, key).expect("a pair")))
            .expect("is taken")
    }

    /// A client's configuration, for these versions of TLS.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).expect("versions");
        builder.with_root_certificates(self.roots.clone()).with_no_client_auth()
    }
}

fn params() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names")
}

impl Secure {
    pub fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> Secure {
        let stream = TcpStream::connect(addr).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(config.clone(), name).expect("a client");
        Secure { tls: StreamOwned::new(tls, stream), unread: Vec::new() }
    }

    pub fn websocket(addr: SocketAddr, config: &Arc<ClientConfig>, target: &str) -> Secure {
        let mut client = Secure::connect(addr, config);
        client.send(upgrade(target, ""));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tls.write_all(bytes.as_ref()).and_then(|()| self.tls.flush()).expect("sends");
    }

    pub fn send_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.send(masked(first, payload.as_ref()));
    }

    fn fill(&mut self, what: &str) {
        let mut bytes = vec![0; 65536];
        let length = self.tls.read(&mut bytes).unwrap_or_else(|error| panic!("waited for {what}: {error}"));
        assert!(length > 0, "the connection ended while waiting for {what}; before that: {:?}", self.unread);
        self.unread.extend_from_slice(&bytes[..length]);
    }

    pub fn take(&mut self, length: usize, what: &str) -> Vec<u8> {
        while self.unread.len() < length {
            self.fill(what);
        }
        self.unread.drain(..length).collect()
    }

    /// The head of a response, with its empty line.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.take(end + 4, "")).expect("a head is ASCII");
            }
            self.fill("the head of a response");
        }
    }

    /// The next frame: its first byte, and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2, "a frame");
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2, "a length").try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8, "a length").try_into().unwrap()) as usize,
            short => usize::from(short),
        };
        (head[0], self.take(length, "a payload"))
    }

    /// Everything to the end that `close_notify` announces; an error without it.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.unread);
        match self.tls.read_to_end(&mut rest) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(error),
            result => result.map(|_| rest),
        }
    }
}
