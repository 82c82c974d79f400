//! The application: the clock of the Tornado tutorial, on top of the framework.
//!
//! A file imports only files above it in this list.

pub mod time;
pub mod interval;
pub mod rounds;
pub mod clients;
pub mod greeting;
pub mod received_lines;
pub mod topics;
pub mod handlers;
pub mod send_thread;
pub mod fleet;
pub mod mistake;
pub mod configuration;
pub mod options;
pub mod log_line;
pub mod console;
pub mod log_output;
pub mod log_thread;
pub mod logging;
pub mod access_lines;
pub mod printed;
pub mod health_probe;
pub mod process;
pub mod token;
pub mod stats;
pub mod health;
pub mod metrics;
pub mod admin;
pub mod publish;
pub mod redirect;
pub mod application;
pub mod notify;
pub mod succession;
pub mod sockets;
pub mod tls;
pub mod listening;
pub mod reload;
pub mod signals;
pub mod ending;
