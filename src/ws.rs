//! WebSocket frames and handshakes, in bytes: no sockets, no threads.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod close;
#[cfg(feature = "deflate")]
pub(crate) mod compress;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod mask;
pub(crate) mod scanner;
#[cfg(feature = "deflate")]
pub(crate) mod inflate;
pub(crate) mod message;
#[cfg(feature = "deflate")]
pub(crate) mod permessage_deflate;
pub(crate) mod handshake;
