//! The floor as a program: a bare send loop over the sockets of all clients.

#![forbid(unsafe_code)]

use clap::Parser;
use threadcast_compare::clocks::floor;
use threadcast_compare::clocks::options::ClockOptions;
use threadcast_compare::command_line;

/// A clock that is a bare send loop
#[derive(Parser)]
#[command(name = "compare-floor")]
struct Options {
    #[command(flatten)]
    clock: ClockOptions,
}

fn main() {
    if let Err(failure) = floor::serve(&command_line::options::<Options>().clock) {
        eprintln!("compare-floor: {failure}");
        std::process::exit(1);
    }
}
