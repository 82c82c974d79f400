//! The program's certificate: one from files, or one that is made at the start.

use std::fs;

use chrono::{Datelike, Days, Local, NaiveDate};
use data_encoding::HEXUPPER;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use sha2::{Digest, Sha256};

use crate::clock::console;
use crate::clock::options::Options;
use threadcast::{Error, Result, TlsConfig};

/// Days for which a self-signed certificate is valid.
const DAYS: Days = Days::new(365);

/// How the program does TLS.
pub struct Tls {
    /// The configuration of its server.
    pub config: TlsConfig,
    /// A line for the operator, if any.
    pub note: Option<String>,
}

/// Returns TLS as the options say; `None` for plain http and ws.
///
/// # Errors
/// As of [`TlsConfig::from_pem_files`]; [`Error::Invalid`] if no certificate can be made.
pub fn make_tls(options: &Options) -> Result<Option<Tls>> {
    if let (Some(chain), Some(key)) = (&options.tls.tls_cert, &options.tls.tls_key) {
        let config = TlsConfig::from_pem_files(chain, key)?;
        console::warn_if_others_may_read(key, "private key");
        return Ok(Some(Tls { config, note: None }));
    }
    options.tls.tls_self_signed.then(|| self_signed(options)).transpose()
}

/// Makes a self-signed certificate.
fn self_signed(options: &Options) -> Result<Tls> {
    let failed = |error: rcgen::Error| Error::invalid(format!("cannot make a certificate: {error}"));
    let names = names(options);
    let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "threadcast, self-signed");
    let today = Local::now().date_naive();
    let at = |date: Option<NaiveDate>| {
        let date = date.unwrap_or(today);
        // Months and days are below 32.
        date_time_ymd(date.year(), date.month() as u8, date.day() as u8)
    };
    // From yesterday, for clocks that are behind.
    (params.not_before, params.not_after) = (at(today.pred_opt()), at(today.checked_add_days(DAYS)));
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let config = TlsConfig::from_pem(certificate.pem(), key.serialize_pem())?;
    let fingerprint = fingerprint(certificate.der());
    let note = format!(
        "its new self-signed certificate, for {}, has the SHA-256 fingerprint {fingerprint}",
        names.join(", ")
    );
    Ok(Tls { config, note: Some(note) })
}

/// Returns this machine's names that a certificate can contain.
fn names(options: &Options) -> Vec<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_name = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    let host = Some(host.trim().to_ascii_lowercase()).filter(|host| is_name(host));
    let address = options.address.filter(|address| !address.is_unspecified()).map(|ip| ip.to_string());
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    for name in host.into_iter().chain(address) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns it as browsers and `openssl x509 -fingerprint -sha256` show it.
fn fingerprint(der: &[u8]) -> String {
    let digest = HEXUPPER.encode(&Sha256::digest(der));
    let bytes: Vec<_> = digest.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    bytes.join(":")
}
