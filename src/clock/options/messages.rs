//! Options: who may publish, to which topics, on which machines.

use std::path::PathBuf;

use clap::Args;

use super::values::{channel, topic};

/// Who may publish, to which topics, on which machines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub struct MessageOptions {
    /// Let callers that send the token in this file, of 16 characters or more, POST to /publish?topic=all
    #[arg(long, value_name = "PATH")]
    pub publish_token_file: Option<PathBuf>,

    /// Topics that a client may ask for, besides `all` [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = topic)]
    pub topics: Vec<String>,

    /// Join the fleet at this Redis, redis://HOST:PORT, or rediss: for TLS: messages and Ids are those of all its
    /// machines
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,

    /// Name of the fleet: its Redis channels begin with it [default: threadcast]
    #[arg(long, value_name = "NAME", value_parser = channel)]
    pub channel: Option<String>,
}
