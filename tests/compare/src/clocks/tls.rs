//! The certificate of a tokio variant: made at its start, of threadcast's kind.

use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use crate::failure::{Failure, While};

/// Returns the acceptor for clients' handshakes.
pub fn acceptor() -> Result<TlsAcceptor, Failure> {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).doing("make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().doing("set up TLS")?.with_no_client_auth();
    let config = builder.with_single_cert(vec![made.cert.der().clone()], key.into()).doing("set up TLS")?;
    Ok(Arc::new(config).into())
}
