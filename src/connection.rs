//! The connection of either end: what it holds, how it is written to and read from. No listener, no handler, no route.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod membership;
pub(crate) mod link;
#[expect(clippy::module_inception, reason = "the room is named after what it builds up to")]
pub(crate) mod connection;
pub(crate) mod guarded;
pub(crate) mod on_end;
pub(crate) mod broadcast;
pub(crate) mod timed_io;
pub(crate) mod keepalive;
pub(crate) mod patience;
pub(crate) mod rate_limiter;
pub(crate) mod received;
pub(crate) mod frame_stream;
pub(crate) mod reader;
pub(crate) mod messages;
