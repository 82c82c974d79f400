//! Options: how the program ends.

use std::time::Duration;

use clap::Args;

use crate::clock::interval;

/// How the program ends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Shutdown")]
pub struct EndOptions {
    /// At SIGTERM or SIGINT, answer /ready with 503 but keep serving for this time, so that a load balancer can notice
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = interval::parse_wait)]
    pub drain_delay: Duration,

    /// After that delay, close the clients with 1012, spread over this time, so that they reconnect to another server;
    /// 0s closes all at once, also with 1012 [default: close all at once with 1001]
    #[arg(long, value_name = "TIME", value_parser = interval::parse_wait)]
    pub drain: Option<Duration>,
}
