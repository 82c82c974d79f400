//! The clocks on tokio and tokio-tungstenite as a program.

#![forbid(unsafe_code)]

use clap::Parser;
use threadcast_compare::clocks::options::ClockOptions;
use threadcast_compare::clocks::tokio_server::{self, Delivery};
use threadcast_compare::{command_line, values};

/// A clock on tokio-tungstenite
#[derive(Parser)]
#[command(name = "compare-tokio")]
struct Options {
    #[command(flatten)]
    clock: ClockOptions,
    /// Worker threads; 1 means tokio's current-thread runtime, 0 one for each core
    #[arg(long, default_value_t = 1, value_parser = values::workers)]
    workers: usize,
    /// How a push reaches a client
    #[arg(long, value_enum, default_value_t = Delivery::Channel)]
    delivery: Delivery,
    /// Serve wss, with a new self-signed certificate
    #[arg(long, conflicts_with = "delivery")]
    tls: bool,
}

fn main() {
    let options = command_line::options::<Options>();
    if let Err(failure) = tokio_server::run(options.clock, options.workers, options.delivery, options.tls) {
        eprintln!("compare-tokio: {failure}");
        std::process::exit(1);
    }
}
