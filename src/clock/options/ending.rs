//! Options: how the program ends.

use std::time::Duration;

use clap::Args;

use crate::clock::interval;

/// How the program ends.
#[derive(Debug, Args)]
#[command(next_help_heading = "End")]
pub struct EndOptions {
    /// At SIGTERM or SIGINT, keep serving for this time with /ready at 503, until the load balancer notices
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = interval::parse_wait)]
    pub drain_delay: Duration,

    /// Then close the clients with 1012, spread over this time, so that they return to another server; 0s closes all at
    /// once [default: close them with 1001, at once]
    #[arg(long, value_name = "TIME", value_parser = interval::parse_wait)]
    pub drain: Option<Duration>,
}
