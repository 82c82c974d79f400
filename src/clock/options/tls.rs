//! Options: certificates, and the redirect to them.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::values::port;

/// Certificates, and the redirect to them.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS", group = ArgGroup::new("tls").args(["tls_cert", "tls_self_signed"]))]
pub struct TlsOptions {
    /// Serve https and wss with the certificate in this file, followed by its chain
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key: PKCS#8, PKCS#1 or SEC1, without a passphrase
    #[arg(long, value_name = "PEM", requires = "tls_cert", conflicts_with = "tls_self_signed")]
    pub tls_key: Option<PathBuf>,

    /// Serve https and wss with a new self-signed certificate, for testing
    #[arg(long)]
    pub tls_self_signed: bool,

    /// Redirect HTTP requests on this port to HTTPS; 0 lets the system choose one
    #[arg(long, value_name = "PORT", value_parser = port, requires = "tls")]
    pub http_port: Option<u16>,
}
