//! Options: publishing and topics.

use std::path::PathBuf;

use clap::Args;

use super::values::{channel, topic};

/// Publishing: tokens, topics, machines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub struct MessageOptions {
    /// Enable POST /publish?topic=all for callers that send a token from this file: one token per line, of at least 16
    /// characters
    #[arg(long, value_name = "PATH")]
    pub publish_token_file: Option<PathBuf>,

    /// Enable GET /clients, which lists the clients, and DELETE /clients/ID, which closes one, for callers that send a
    /// token from this file
    #[arg(long, value_name = "PATH")]
    pub admin_token_file: Option<PathBuf>,

    /// Topics that a client can subscribe to, in addition to `all`, separated by commas [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = topic)]
    pub topics: Vec<String>,

    /// Share messages and client Ids with other machines through this Redis: redis://HOST:PORT, or rediss://HOST:PORT
    /// with TLS
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,

    /// Prefix of the Redis channels: machines with the same prefix share messages [default: threadcast]
    #[arg(long, value_name = "NAME", value_parser = channel)]
    pub channel: Option<String>,
}
