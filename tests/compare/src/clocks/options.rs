//! The options that every variant understands.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono::Local;
use clap::Args;

use crate::program::{interval, time};

/// What every clock can be told on its command line.
#[derive(Args, Debug, Clone)]
pub struct ClockOptions {
    /// Port to listen on, at 127.0.0.1
    #[arg(long)]
    pub port: u16,
    /// Time between two pushes, such as 1s or 250ms
    #[arg(long, default_value = "1s", value_parser = interval::parse)]
    pub interval: Duration,
    /// Pad each push with spaces to this many bytes
    #[arg(long, default_value_t = 0)]
    pub pad: usize,
}

impl ClockOptions {
    /// Where this clock listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns the payload of a push that happens now, padded with spaces.
    pub fn payload(&self) -> String {
        let text = time::payload(&Local::now());
        // A width in `format!` ends at 65,535.
        let padding = " ".repeat(self.pad.saturating_sub(text.len()));
        text + &padding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_as_long_as_it_is_told_to_be() {
        for pad in [100, 65_535, 64 * 1024, 1 << 20] {
            let options = ClockOptions { port: 0, interval: Duration::from_secs(1), pad };
            assert_eq!(options.payload().len(), pad);
        }
        let bare = ClockOptions { port: 0, interval: Duration::from_secs(1), pad: 0 }.payload();
        assert!([19, 26].contains(&bare.len()) && !bare.ends_with(' '), "{bare}");
    }
}
