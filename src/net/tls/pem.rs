//! Parses PEM files (RFC 7468), also with a byte order mark, or with two marks on one line, where files without a final
//! newline were joined. Reads every block, or returns an error that names the block it cannot read. Pure.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, Error as TlsError};

const MARK: &str = "-----";
const BEGIN: &str = "-----BEGIN";
const END: &str = "-----END";
const CERTIFICATE: &str = "CERTIFICATE";
/// Another label for a certificate.
const X509: &str = "X509 CERTIFICATE";
/// The most bytes of a label to show in an error.
const MAX_SHOWN: usize = 40;

/// The blocks of a PEM, in order.
pub(crate) struct Pem<'a>(Vec<Block<'a>>);

/// One block, from its first mark to its last.
struct Block<'a> {
    label: &'a str,
    /// The text between the marks.
    text: &'a str,
}

impl<'a> Pem<'a> {
    /// Finds the blocks, and ignores text around them. The error ends a sentence that begins with the name of the file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Pem<'a>, String> {
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err("is in UTF-16: save it as UTF-8, or as ASCII".to_owned());
        }
        // Text around the blocks may be in any encoding. The blocks are ASCII.
        let mut blocks = Vec::new();
        for chunk in bytes.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(BEGIN) {
                let number = blocks.len() + 1;
                if rest[..at].contains(END) {
                    return Err(torn(number));
                }
                rest = &rest[at + BEGIN.len()..];
                let line = rest.lines().next().unwrap_or_default();
                let Some((label, _)) = line.split_once(MARK) else { return Err(torn(number)) };
                rest = &rest[label.len() + MARK.len()..];
                let label = label.strip_prefix(' ').unwrap_or(label);
                let end = format!("{END} {label}{MARK}");
                let Some((text, behind)) = rest.split_once(&end) else { return Err(torn(number)) };
                if text.contains(MARK) {
                    return Err(torn(number));
                }
                rest = behind;
                check(number, label)?;
                blocks.push(Block { label, text });
            }
            if rest.contains(END) {
                return Err(torn(blocks.len() + 1));
            }
        }
        Ok(Pem(blocks))
    }

    /// Returns the certificates.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let is_certificate = |block: &Block<'_>| [CERTIFICATE, X509].contains(&block.label);
        let found = self.0.iter().enumerate().filter(|(_, block)| is_certificate(block));
        found.map(|(at, block)| read(at, CERTIFICATE, block)).collect()
    }

    /// Returns the first private key.
    pub(crate) fn private_key(&self) -> Option<Result<PrivateKeyDer<'static>, String>> {
        let (at, block) = self.0.iter().enumerate().find(|(_, block)| is_key(block.label))?;
        Some(read(at, block.label, block))
    }

    /// Returns whether it has a private key.
    pub(crate) fn has_key(&self) -> bool {
        self.0.iter().any(|block| is_key(block.label))
    }

    /// Returns whether it has a private key that needs a passphrase.
    pub(crate) fn has_encrypted_key(&self) -> bool {
        let is_encrypted = |block: &Block<'_>| {
            block.label == "ENCRYPTED PRIVATE KEY" || block.text.contains("Proc-Type: 4,ENCRYPTED")
        };
        self.0.iter().any(is_encrypted)
    }
}

fn is_key(label: &str) -> bool {
    label.ends_with("PRIVATE KEY")
}

/// Accepts the labels that it reads, and EC parameters, which the key also contains.
fn check(number: usize, label: &str) -> Result<(), String> {
    let instead = match label {
        CERTIFICATE
        | X509
        | "PRIVATE KEY"
        | "RSA PRIVATE KEY"
        | "EC PRIVATE KEY"
        | "ENCRYPTED PRIVATE KEY" => {
            return Ok(());
        }
        "EC PARAMETERS" | "DH PARAMETERS" => return Ok(()),
        "TRUSTED CERTIFICATE" => "; openssl x509 makes a CERTIFICATE of it",
        "OPENSSH PRIVATE KEY" | "DSA PRIVATE KEY" => {
            "; a key begins with -----BEGIN PRIVATE KEY-----, or RSA or EC before PRIVATE"
        }
        _ => "; remove it",
    };
    let shown: String = label.chars().take(MAX_SHOWN).collect();
    Err(format!("has an unsupported PEM block, number {number}, {shown:?}{instead}"))
}

/// Decodes a block under the standard label of its kind.
fn read<T: PemObject>(at: usize, label: &str, block: &Block<'_>) -> Result<T, String> {
    let text = block.text.split_ascii_whitespace().collect::<Vec<_>>().join("\n");
    let pem = format!("{BEGIN} {label}{MARK}\n{text}\n{END} {label}{MARK}\n");
    T::from_pem_slice(pem.as_bytes()).map_err(|_| torn(at + 1))
}

fn torn(number: usize) -> String {
    format!("is damaged: its PEM block {number} is incomplete")
}

/// Says why a certificate cannot be read, and what to do about it.
pub(crate) fn describe(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "it is not a certificate, or damaged".to_owned(),
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "it is an X.509 certificate of version 1, which TLS clients refuse: make one of version 3, for example with openssl req -x509 -addext subjectAltName=DNS:NAME"
                .to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => other.to_string(),
    }
}

/// Says why `rustls` does not take a certificate.
pub(crate) fn describe_any(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(error) => describe(error),
        other => other.to_string(),
    }
}
