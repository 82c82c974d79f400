//! The floor as a program: a bare send loop over the sockets of all clients.

#![forbid(unsafe_code)]

use clap::Parser;
use threadcast_compare::clocks::floor;
use threadcast_compare::clocks::options::ClockOptions;

/// A clock that is a bare send loop
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    clock: ClockOptions,
}

fn main() {
    if let Err(failure) = floor::serve(&Options::parse().clock) {
        eprintln!("compare-floor: {failure}");
        std::process::exit(1);
    }
}
