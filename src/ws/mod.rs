//! WebSocket frames and handshakes, in bytes: no sockets, no threads.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod frame;
pub(crate) mod scanner;
pub(crate) mod message;
pub(crate) mod handshake;
