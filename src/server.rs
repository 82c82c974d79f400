//! The server: handlers, one thread for each client, and the listener.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod access;
pub(crate) mod settings;
pub(crate) mod addresses;
pub(crate) mod half_open;
pub(crate) mod rejection;
pub(crate) mod state;
pub(crate) mod client;
pub(crate) mod handler;
pub(crate) mod application;
pub(crate) mod capacity;
pub(crate) mod accessed;
pub(crate) mod session;
pub(crate) mod registry;
pub(crate) mod responding;
pub(crate) mod input;
pub(crate) mod proxy_header;
#[cfg(feature = "tls")]
pub(crate) mod secure;
pub(crate) mod pages;
pub(crate) mod client_thread;
pub(crate) mod listener;
#[expect(clippy::module_inception, reason = "the room is named after what it builds up to")]
pub(crate) mod server;
