//! Options: the lesson.

use clap::Args;

use super::values::size;

/// The lesson.
#[derive(Debug, Args)]
#[command(next_help_heading = "Lab")]
pub struct LabOptions {
    /// Serve the lab: show the threads at /lab, echo at /echo?Id=NAME, and let clients send `sleep 2000`, `spin 2000`
    /// (ms) or `panic` to their handlers; listen on loopback only
    #[arg(long)]
    pub lab: bool,

    /// Another server to show at /lab, such as {"name":"tokio","kind":"loop","address":"127.0.0.1:9000","pid":4711}; may be
    /// repeated
    #[arg(long, value_name = "JSON", requires = "lab")]
    pub beside: Vec<String>,

    /// Pad each push with JSON to this size
    #[arg(long, value_name = "SIZE", default_value = "1B", hide_default_value = true, value_parser = size, requires = "lab")]
    pub pad: usize,
}
