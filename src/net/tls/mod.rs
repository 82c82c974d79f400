//! TLS, around a socket. The only room that knows `rustls`.

pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod duplex;
pub(crate) mod handshake;
pub(crate) mod dialing;
