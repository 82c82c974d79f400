//! The command line. Each group of options has a file below.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};
use threadcast::Origin;

use crate::clock::{fleet, mistake};
use clients::ClientOptions;
use ending::EndOptions;
use lab::LabOptions;
use logging::LogOptions;
use messages::MessageOptions;
use pushes::PushOptions;
use tls::TlsOptions;
use values::{address, host, origin, port};

pub mod clients;
pub mod ending;
pub mod lab;
pub mod logging;
pub mod messages;
pub mod pushes;
pub mod tls;
mod values;

/// A WebSocket server with one blocking thread per client, which pushes the time.
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "\
Signals:
  SIGINT, SIGTERM   close every client, and end; another one, a second later, ends at once
  SIGHUP            open the log file again; the end, if there is none
  SIGUSR1           log the numbers of /stats

Environment:
  THREADCAST_PUBLISH_TOKEN   the token itself, in place of --publish-token-file
  THREADCAST_REDIS           what --redis takes, and a password: redis://USER:PASSWORD@HOST:PORT

Example:
  threadcast --port 9000 --interval 250ms --log-file clock.log
  serves http://localhost:9000/ and pushes the time four times a second to every client of
  ws://localhost:9000/websocket?Id=NAME"
)]
pub struct Options {
    /// Port to listen on; 0 lets the system choose one
    #[arg(long, default_value_t = 8888, value_parser = port)]
    pub port: u16,

    /// Address to listen on [default: all, IPv4 and IPv6]
    #[arg(long, value_name = "IP", value_parser = address)]
    pub address: Option<IpAddr>,

    /// Serve the pages from this directory, not the ones in the binary
    #[arg(long, value_name = "DIR")]
    pub www: Option<PathBuf>,

    /// Let only pages of this origin, and our own, connect; may be repeated [default: any; with --lab our own]
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<Origin>,

    /// Answer only requests for this name or address, on any port; `localhost` includes every name and address
    /// of the loopback; may be repeated [default: any; --lab adds localhost and --address]
    #[arg(long, value_name = "NAME", value_parser = host)]
    pub host: Vec<String>,

    /// Who may look at /stats and /metrics. A proxy on this machine that adds no X-Forwarded-For, or the like, is
    /// taken for a local client: let it refuse both
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Audience::Local)]
    pub stats: Audience,

    /// Print this
    #[arg(long, short, action = ArgAction::HelpShort)]
    help: Option<bool>,

    #[command(flatten)]
    pub tls: TlsOptions,

    #[command(flatten)]
    pub pushes: PushOptions,

    #[command(flatten)]
    pub clients: ClientOptions,

    #[command(flatten)]
    pub messages: MessageOptions,

    #[command(flatten)]
    pub log: LogOptions,

    #[command(flatten)]
    pub ending: EndOptions,

    #[command(flatten)]
    pub lab: LabOptions,
}

/// Who may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audience {
    /// Who comes from this machine.
    Local,
    /// Everybody.
    Public,
}

impl Options {
    /// Returns the options that the arguments are.
    ///
    /// # Errors
    /// The text to print, and the exit code: 0 for `--help`, 2 for a mistake, which is one line.
    pub fn parse_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Options, (String, i32)> {
        let options: Options = mistake::parse(&args.into_iter().collect::<Vec<_>>())?;
        // Not where the value is parsed: what is said of a wrong one has the value in it.
        if options.messages.redis.as_deref().is_some_and(fleet::has_password) {
            let advice = "put a URL with a password into THREADCAST_REDIS, since every user can see this one";
            return Err((format!("threadcast: --redis: {advice} (--help shows the options)\n"), 2));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests;
