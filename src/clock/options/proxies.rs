//! Options: proxies in front of the program.

use clap::Args;
use threadcast::Network;

use super::values::network;

/// Proxies in front of the program.
#[derive(Debug, Args)]
#[command(next_help_heading = "Proxies")]
pub struct ProxyOptions {
    /// Trust X-Forwarded-For for the client's address, and X-Forwarded-Proto for its scheme, in requests from this
    /// address or network, e.g. 127.0.0.1 or 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "NET", value_parser = network)]
    pub trusted_proxy: Vec<Network>,

    /// Expect a PROXY header of version 1 or 2 at the start of each connection, and close connections that do not come
    /// from a trusted proxy
    #[arg(long, requires = "trusted_proxy", conflicts_with = "lab")]
    pub proxy_protocol: bool,
}
