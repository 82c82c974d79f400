//! The common parts of the two clocks: their limits, and the versions of what they run on.

/// Connections that may wait to be accepted.
pub const BACKLOG: u32 = 4096;
/// Versions of the libraries that are built in.
const LOCK: &str = include_str!("../Cargo.lock");

/// Returns the version of a crate in the lock file, which `--version` prints.
pub fn version(name: &str) -> &'static str {
    let behind = LOCK.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, behind)| behind);
    behind.and_then(|behind| behind.split('"').next()).unwrap_or("of an unknown version")
}

/// The configuration of the greeters.
#[derive(clap::Parser)]
pub struct Greeter {
    /// Port to listen on, at 127.0.0.1
    #[arg(long)]
    pub port: u16,
    /// Where the history is: a connection to it yields a line for each message, and ends
    #[arg(long)]
    pub history: std::net::SocketAddr,
}
