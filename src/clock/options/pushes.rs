//! Options: pushes.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::threads;
use crate::clock::interval;

/// Pushes: how often, and by which thread.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pushes")]
pub struct PushOptions {
    /// Time between two pushes: 250ms, 1s, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval::parse_time)]
    pub interval: Duration,

    /// Thread that writes a push: the one that pushes (`inline`), or a writer for each client (`handoff`)
    #[arg(long, value_name = "WAY", value_enum, default_value_t = DeliveryOption::Inline)]
    pub delivery: DeliveryOption,

    /// Threads that share the work of a push to 500 or more clients [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub push_threads: Option<usize>,
}

/// [`threadcast::Delivery`](threadcast::Delivery), as an option.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeliveryOption {
    /// The pushing thread, which wakes no other thread.
    Inline,
    /// A writer thread for each client.
    Handoff,
}

impl From<DeliveryOption> for threadcast::Delivery {
    fn from(delivery: DeliveryOption) -> threadcast::Delivery {
        match delivery {
            DeliveryOption::Inline => threadcast::Delivery::Inline,
            DeliveryOption::Handoff => threadcast::Delivery::Handoff,
        }
    }
}
