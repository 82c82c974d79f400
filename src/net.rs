//! Sockets, and the threads that write to them.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod seal;
pub(crate) mod tcp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod maybe_tls;
pub(crate) mod sync;
pub(crate) mod backlog;
pub(crate) mod buffers;
pub(crate) mod closer;
pub(crate) mod outbox;
pub(crate) mod waker;
pub(crate) mod thread_budget;
pub(crate) mod unacked;
pub(crate) mod listen;
pub(crate) mod names;
pub(crate) mod racing;
