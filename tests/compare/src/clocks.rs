//! The variants in Rust, and their shared parts: the options and the payload.
//!
//! Each of them is the same clock: `GET /websocket?Id=NAME` registers a client, which then gets the local time once per
//! interval; `GET /echo?Id=NAME` sends every message back.

pub mod floor;
pub mod options;
pub mod tokio_channel;
pub mod tokio_direct;
mod tokio_outbox;
pub mod tokio_server;
mod tls;
