//! Options: limits for clients.

use clap::{Args, ValueEnum};
use threadcast::Rate;

use super::values::{
    OrOff, SizeOrOff, byte_rate, clients, clients_per_address, interval_or_off, rate, size, size_or_off,
    stack_size,
};

/// Limits for clients.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients")]
pub struct ClientOptions {
    /// Maximum number of concurrent clients [default: what this machine's limits allow]
    #[arg(long, value_name = "N", value_parser = clients)]
    pub max_clients: Option<usize>,

    /// Maximum number of concurrent clients from one address; the next one gets a 503 [default: no limit]
    #[arg(long, value_name = "N", value_parser = clients_per_address)]
    pub max_clients_per_address: Option<usize>,

    /// How often one address can connect, e.g. 20/s, 100/m or 5/h; beyond that it gets a 429 [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub max_connects_per_address: Option<Rate>,

    /// How many messages a client can send, e.g. 20/s, 100/m or 5/h [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub max_messages: Option<Rate>,

    /// How many bytes a client can send, e.g. 64KiB/s or 1MiB/s [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = byte_rate)]
    pub max_bytes: Option<Rate>,

    /// How to treat a client above its rate: `slow` reads its messages later, `close` closes it with 1008
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OverLimitOption::Slow)]
    pub over_limit: OverLimitOption,

    /// Largest message accepted from a client
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = size)]
    pub max_message: usize,

    /// Disconnect a slow client once this much waits to be sent to it
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size)]
    pub max_backlog: usize,

    /// Compress messages of at least this size, e.g. 1KiB, for clients that support it; `off` disables compression
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = size_or_off)]
    pub compression: SizeOrOff,

    /// Ping a client that has been silent for this time; `off` disables pings
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = interval_or_off)]
    pub ping_interval: OrOff,

    /// Stack size of each client's thread, at least 64KiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = stack_size)]
    pub stack_size: usize,
}

/// [`threadcast::OverLimit`](threadcast::OverLimit), as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverLimitOption {
    /// Read its messages later.
    Slow,
    /// Close its connection with 1008.
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
