//! Options: what a client may do, and how many there may be.

use clap::{Args, ValueEnum};
use threadcast::Rate;

use super::values::{
    OrOff, SizeOrOff, byte_rate, clients, clients_per_address, interval_or_off, rate, size, size_or_off,
    stack_size,
};

/// What a client may do, and how many there may be.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients")]
pub struct ClientOptions {
    /// Most clients at a time [default: what this machine's limits allow]
    #[arg(long, value_name = "N", value_parser = clients)]
    pub max_clients: Option<usize>,

    /// Most clients of one address at a time; one more gets a 503 [default: no limit]
    #[arg(long, value_name = "N", value_parser = clients_per_address)]
    pub max_clients_per_address: Option<usize>,

    /// How often one address may connect, e.g. 20/s, 100/m or 5/h; beyond that it gets a 429 [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub max_connects_per_address: Option<Rate>,

    /// How many messages a client may send, e.g. 20/s, 100/m or 5/h [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub max_messages: Option<Rate>,

    /// How many bytes a client may send, e.g. 64KiB/s or 1MiB/s [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = byte_rate)]
    pub max_bytes: Option<Rate>,

    /// What happens to a client that sends more: it is read later, or closed with 1008
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OverLimitOption::Slow)]
    pub over_limit: OverLimitOption,

    /// Largest message accepted from a client
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = size)]
    pub max_message: usize,

    /// Backlog at which a client that reads too slowly is disconnected
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size)]
    pub max_backlog: usize,

    /// Size from which messages are compressed for clients that offer it, 1KiB is a good one, or `off`
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = size_or_off)]
    pub compression: SizeOrOff,

    /// Silence after which a client is pinged, or `off`
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = interval_or_off)]
    pub ping_interval: OrOff,

    /// Stack of a client's thread, from 64KiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = stack_size)]
    pub stack_size: usize,
}

/// [`threadcast::OverLimit`](threadcast::OverLimit), as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverLimitOption {
    /// Read it later.
    Slow,
    /// Close it with 1008.
    Close,
}

impl From<OverLimitOption> for threadcast::OverLimit {
    fn from(over_limit: OverLimitOption) -> threadcast::OverLimit {
        match over_limit {
            OverLimitOption::Slow => threadcast::OverLimit::Slow,
            OverLimitOption::Close => threadcast::OverLimit::Close,
        }
    }
}
