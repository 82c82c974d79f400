//! [`TlsConfig`]: the certificate, its key, and the options of the handshake.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;

use crate::error::{Error, Result};
use crate::net::tls::certificates::{self, CertificateFiles};

/// The only protocol inside of TLS (ALPN, RFC 7301).
const HTTP: &[u8] = b"http/1.1";

/// The TLS settings of a server: a certificate with its key, TLS 1.2 and 1.3, resumption by tickets that use no memory
/// on the server, and `http/1.1` (ALPN). Cheap to clone. See [`guide::tls`](crate::guide::tls).
///
/// ```no_run
/// use threadcast::{Application, Server, TlsConfig};
///
/// let tls = TlsConfig::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let server = Server::bind("0.0.0.0:443", Application::new().tls(tls))?;
/// # Ok::<(), threadcast::Error>(())
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    pub(crate) rustls: Arc<ServerConfig>,
    files: Option<Arc<CertificateFiles>>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl TlsConfig {
    /// Reads a chain of certificates, the server's own first, and its private key (PKCS#8, PKCS#1 or SEC1, not
    /// encrypted), both PEM. Accepts RSA of 2048 to 4096 bits, ECDSA on P-256 and P-384, and Ed25519.
    ///
    /// When a client connects, the server looks at the files again, at most once a second. New connections get the new
    /// pair. While only one of the two has changed, or one cannot be read, the server keeps the old pair, and the log
    /// says so.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Invalid`] if its content is wrong, or if the key belongs to
    /// another certificate.
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<TlsConfig> {
        let provider = provider();
        let files = Arc::new(CertificateFiles::open(chain.as_ref(), key.as_ref(), provider.clone())?);
        Ok(TlsConfig { files: Some(files.clone()), ..TlsConfig::new(provider, files)? })
    }

    /// Reads the files of [`from_pem_files`](TlsConfig::from_pem_files) now, and not only when the next client
    /// connects. Blocks while it reads them. Returns false for a configuration without files.
    ///
    /// # Errors
    /// As of [`from_pem_files`](TlsConfig::from_pem_files); the certificate from before is kept.
    pub fn reload(&self) -> Result<bool> {
        self.files.as_ref().map_or(Ok(false), |files| files.reload().map(|()| true))
    }

    /// Parses a chain and its key from PEM in memory, which does not change.
    ///
    /// # Errors
    /// [`Error::Invalid`], as [`from_pem_files`](TlsConfig::from_pem_files).
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<TlsConfig> {
        let provider = provider();
        let names = ["the certificate's PEM", "the private key's PEM"];
        let pair = certificates::parse_pair(chain.as_ref(), key.as_ref(), names, &provider)?;
        TlsConfig::new(provider, Arc::new(SingleCertAndKey::from(pair)))
    }

    /// Uses a configuration of `rustls` (0.23) unchanged: for client certificates, several names, other algorithms.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it offers early data, or a protocol other than `http/1.1`, such as `h2`.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Result<TlsConfig> {
        if let Some(other) = config.alpn_protocols.iter().find(|name| *name != HTTP) {
            let other = other.escape_ascii();
            return Err(Error::invalid(format!(
                "the TLS configuration offers the protocol {other} (ALPN), and this server speaks http/1.1 only"
            )));
        }
        if config.max_early_data_size > 0 {
            return Err(Error::invalid(
                "the TLS configuration allows early data, which anybody can replay: set max_early_data_size to 0",
            ));
        }
        Ok(TlsConfig { rustls: config, files: None })
    }

    fn new(provider: Arc<CryptoProvider>, resolver: Arc<dyn ResolvesServerCert>) -> Result<TlsConfig> {
        let failed = |error| Error::invalid(format!("cannot set up TLS: {error}"));
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP.to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(failed)?;
        // Keeps no sessions for clients to resume.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(TlsConfig { rustls: Arc::new(config), files: None })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
