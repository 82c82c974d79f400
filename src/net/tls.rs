//! TLS around a socket. No other room of the library uses TLS; the fleet uses its Redis client's.

pub(crate) mod pem;
pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod duplex;
pub(crate) mod threads;
pub(crate) mod dialing;
