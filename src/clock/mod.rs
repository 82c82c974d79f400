//! The application: the clock of the Tornado tutorial, on top of the framework.

pub mod application;
pub mod clients;
pub mod console;
pub mod fleet;
pub mod greeting;
pub mod handlers;
pub mod health;
pub mod interval;
pub mod listening;
pub mod log_output;
pub mod log_thread;
pub mod logging;
pub mod metrics;
pub mod mistake;
pub mod options;
pub mod process;
pub mod publish;
pub mod received_lines;
pub mod redirect;
pub mod rounds;
pub mod send_thread;
pub mod signals;
pub mod stats;
pub mod time;
pub mod tls;
pub mod topics;
