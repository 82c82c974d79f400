//! The framework: it knows nothing of clocks. Each file imports only files above it in this list.

pub(crate) mod error;
pub(crate) mod observer;
pub(crate) mod sync;

pub(crate) mod cookies;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod static_files;

pub(crate) mod backlog;
pub(crate) mod wire;

pub(crate) mod threads;

pub(crate) mod outbox;

pub(crate) mod message;
pub(crate) mod stats;

pub(crate) mod socket;

pub(crate) mod connection;

pub(crate) mod exchange;

pub(crate) mod handler;

pub(crate) mod application;
pub(crate) mod capacity;
pub(crate) mod handshake;

pub(crate) mod frames;

pub(crate) mod session;

pub(crate) mod client_thread;
pub(crate) mod closer;

pub(crate) mod listener;

pub(crate) mod server;
