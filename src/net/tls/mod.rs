//! TLS, around a socket. No other room of the library speaks it; the fleet's has it from Redis' client.

pub(crate) mod pem;
pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod duplex;
pub(crate) mod handshake;
pub(crate) mod dialing;
