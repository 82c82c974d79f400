//! The options that every variant understands.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use crate::interval::parse_interval;

/// What every clock can be told on its command line.
#[derive(Args, Debug, Clone)]
pub struct ClockOptions {
    /// Port to listen on, at 127.0.0.1
    #[arg(long)]
    pub port: u16,
    /// Time between two pushes, such as 1s or 250ms
    #[arg(long, default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Pad each push with spaces to so many bytes
    #[arg(long, default_value_t = 0)]
    pub pad: usize,
}

impl ClockOptions {
    /// Where this clock listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
