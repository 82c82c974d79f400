//! Certificates and their keys: from PEM, and from files that may change while the server runs.
//!
//! Never here: a key in a message, holding a lock while reading a file, or a handshake that waits for a slow file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::net::tls::pem::{self, Pem};
use crate::panics::caught;

/// The shortest time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a handshake waits for the look that it began. A disk needs far less, and only one handshake waits for a
/// disk that hangs.
const LOOK_WAIT: Duration = Duration::from_millis(100);
/// The most bytes of a file; a long chain has about ten thousand.
const MOST_BYTES: u64 = 1 << 20;

/// Parses a chain and its key. `chain_is` and `key_is` name them in errors.
pub(crate) fn parse_pair(
    chain: &[u8],
    key: &[u8],
    [chain_is, key_is]: [&str; 2],
    provider: &CryptoProvider,
) -> Result<CertifiedKey> {
    let unread = |why| Error::invalid(format!("{chain_is} {why}"));
    let pem = Pem::parse(chain).map_err(unread)?;
    let certificates = pem.certificates().map_err(unread)?;
    if certificates.is_empty() {
        let hint = if pem.has_key() {
            ", but a private key: are the two exchanged?".to_owned()
        } else {
            no_pem(chain, "-----BEGIN CERTIFICATE-----")
        };
        return Err(Error::invalid(format!("{chain_is} has no certificate{hint}")));
    }
    let key = private_key(key, key_is)?;
    CertifiedKey::from_der(certificates, key, provider).map_err(|error| {
        Error::invalid(match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("{key_is} does not belong to the first certificate of {chain_is}, which must be the server's own")
            }
            TlsError::InvalidCertificate(error) => {
                format!("the first certificate of {chain_is} cannot be read: {}", pem::describe(&error))
            }
            _ => format!(
                "the private key of {key_is} is of an unsupported kind: use RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519"
            ),
        })
    })
}

fn private_key(pem: &[u8], is: &str) -> Result<PrivateKeyDer<'static>> {
    let unread = |why| Error::invalid(format!("{is} {why}"));
    let blocks = Pem::parse(pem).map_err(unread)?;
    if blocks.has_encrypted_key() {
        return Err(Error::invalid(format!(
            "the private key of {is} is encrypted, and the server has no passphrase: decrypt it with openssl pkey"
        )));
    }
    match blocks.private_key() {
        Some(key) => key.map_err(unread),
        None => {
            let hint = no_pem(pem, "-----BEGIN PRIVATE KEY-----, or RSA or EC before PRIVATE");
            Err(Error::invalid(format!("{is} has no private key{hint}")))
        }
    }
}

/// Returns what the file should contain, and what it may contain instead.
fn no_pem(bytes: &[u8], begin: &str) -> String {
    // A sequence (X.690, section 8.9): DER, or PKCS#12.
    if bytes.starts_with(&[0x30]) {
        return ": it is binary: convert it to PEM with openssl".to_owned();
    }
    format!(": its PEM begins with {begin}")
}

/// A chain and its key in two files. When they change, the thread `tls-files`, which exists only while it reads, reads
/// them again. If a read blocks forever, as on a file system that hangs, connections keep the current pair.
pub(crate) struct CertificateFiles(Arc<WatchedFiles>);

struct WatchedFiles {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// [`read`], except in tests.
    read: fn(&Path) -> io::Result<Vec<u8>>,
    /// Read by the threads that do handshakes, written by `tls-files`, both briefly.
    current: Mutex<Current>,
    /// Signalled when `tls-files` has looked.
    looked: Condvar,
}

/// The pair for new connections.
struct Current {
    pair: Arc<CertifiedKey>,
    looked: Instant,
    /// Whether `tls-files` is reading. Set by its starter, cleared at its end.
    is_reading: bool,
    /// The content of the files at the last look, valid or not.
    seen: PairSeen,
    /// Whether that was not a valid pair, and the log has said so.
    has_failed: bool,
}

/// A digest of both files, or why they could not be read.
type PairSeen = Result<[u8; 32], String>;

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("chain", &self.0.chain).field("key", &self.0.key).finish()
    }
}

impl CertificateFiles {
    /// Reads both files for the first time.
    pub(crate) fn open(chain: &Path, key: &Path, provider: Arc<CryptoProvider>) -> Result<CertificateFiles> {
        CertificateFiles::open_with(chain, key, provider, read)
    }

    fn open_with(
        chain: &Path,
        key: &Path,
        provider: Arc<CryptoProvider>,
        read: fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<CertificateFiles> {
        let looked = Instant::now();
        let pems = read_both(chain, key, read)?;
        let pair = Arc::new(pair_of(&pems, chain, key, &provider)?);
        let current = Mutex::new(Current {
            pair,
            looked,
            is_reading: false,
            seen: Ok(digest(&pems)),
            has_failed: false,
        });
        let (chain, key) = (chain.to_owned(), key.to_owned());
        Ok(CertificateFiles(Arc::new(WatchedFiles {
            chain,
            key,
            provider,
            read,
            current,
            looked: Condvar::new(),
        })))
    }

    /// Reads both files now, on the calling thread.
    pub(crate) fn reload(&self) -> Result<()> {
        let files = &self.0;
        let pems = read_both(&files.chain, &files.key, files.read)?;
        let pair = Arc::new(pair_of(&pems, &files.chain, &files.key, &files.provider)?);
        let mut current = files.current();
        (current.pair, current.seen, current.has_failed) = (pair, Ok(digest(&pems)), false);
        Ok(())
    }

    /// Returns the pair for a connection that begins now. The connection that finds a look due waits for it, at most
    /// [`LOOK_WAIT`]; no other connection looks within the next second, or before that look is over.
    fn at(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut current = self.0.current();
        if now.saturating_duration_since(current.looked) >= LOOK_EVERY && !current.is_reading {
            (current.looked, current.is_reading) = (now, true);
            let files = self.0.clone();
            let look = move || {
                if caught(|| files.look()).is_err() {
                    // The error has been reported. The next look may succeed.
                    files.current().is_reading = false;
                }
            };
            let started = thread::Builder::new().name("tls-files".to_owned()).spawn(look);
            if let Err(error) = started {
                current.is_reading = false;
                log::warn!("cannot start the thread tls-files: {error}");
            }
            let waited = self.0.looked.wait_timeout_while(current, LOOK_WAIT, |current| current.is_reading);
            current = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        current.pair.clone()
    }
}

impl WatchedFiles {
    /// Uses the new files if they are a valid pair. Logs an invalid pair once, and keeps the old one: the other half
    /// may be on its way.
    fn look(&self) {
        let pems = read_both(&self.chain, &self.key, self.read);
        let seen = pems.as_ref().map(digest).map_err(ToString::to_string);
        let is_new = self.current().seen != seen;
        let pair = is_new.then(|| {
            pems.and_then(|pems| pair_of(&pems, &self.chain, &self.key, &self.provider)).map(Arc::new)
        });
        let mut current = self.current();
        (current.seen, current.is_reading) = (seen, false);
        if let Some(Ok(pair)) = &pair {
            current.pair = pair.clone();
        }
        let had_failed = match &pair {
            Some(pair) => std::mem::replace(&mut current.has_failed, pair.is_err()),
            None => false,
        };
        drop(current);
        self.looked.notify_all();
        match pair {
            Some(Ok(_)) => {
                // The end of a problem that the log has warned of matters as much.
                let level = if had_failed { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "new connections get the new certificate in {}", self.chain.display());
            }
            Some(Err(error)) => {
                log::warn!("new connections still get the old certificate: {}", error.one_line());
            }
            None => {}
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for CertificateFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.at(Instant::now()))
    }
}

fn read_both(chain: &Path, key: &Path, read: fn(&Path) -> io::Result<Vec<u8>>) -> Result<[Vec<u8>; 2]> {
    let read = |path: &Path, what: &str| {
        read(path).map_err(Error::io(format!("cannot read the {what} {}", path.display())))
    };
    Ok([read(chain, "certificate")?, read(key, "private key")?])
}

/// Reads a whole file; refuses one that would block or never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has more than 1 MiB"));
    }
    Ok(bytes)
}

fn pair_of(
    [chain_pem, key_pem]: &[Vec<u8>; 2],
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey> {
    let names = [chain, key].map(|path| path.display().to_string());
    parse_pair(chain_pem, key_pem, [&names[0], &names[1]], provider)
}

/// Does not keep the key.
fn digest([chain, key]: &[Vec<u8>; 2]) -> [u8; 32] {
    let both = Sha256::new().chain_update(chain.len().to_le_bytes()).chain_update(chain).chain_update(key);
    both.finalize().into()
}

#[cfg(all(test, not(loom)))]
mod tests;
