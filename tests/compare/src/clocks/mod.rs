//! The variants that are written in Rust, and what they share: the options, the payload, the two
//! commands of the clock route.
//!
//! Each of them is the same clock: `GET /websocket?Id=NAME` registers a client, who then gets the
//! local time once each interval; `GET /echo?Id=NAME` sends every message back.

pub mod commands;
pub mod floor;
pub mod frame;
pub mod options;
pub mod payload;
pub mod tokio_channel;
pub mod tokio_direct;
mod tokio_outbox;
pub mod tokio_server;
