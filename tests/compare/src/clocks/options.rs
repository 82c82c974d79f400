//! The options that every variant understands.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono::Local;
use clap::Args;

use crate::program::{interval, time};
use crate::values;

/// The command line of every clock.
#[derive(Args, Debug, Clone)]
pub struct ClockOptions {
    /// Port to listen on, at 127.0.0.1
    #[arg(long, value_parser = values::port)]
    pub port: u16,
    /// Time between two pushes, such as 1s or 250ms
    #[arg(long, default_value = "1s", value_parser = interval::parse_time)]
    pub interval: Duration,
    /// Pad each push with JSON to this many bytes
    #[arg(long, default_value_t = 0, value_parser = values::bytes)]
    pub pad: usize,
}

impl ClockOptions {
    /// Where this clock listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns the payload of a push that happens now, padded with JSON.
    pub fn payload(&self) -> String {
        time::padded(&Local::now(), self.pad)
    }
}
