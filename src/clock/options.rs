//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Parser, ValueEnum};
use log::LevelFilter;
use threadcast::{Origin, Rate};

use crate::clock::{fleet, interval, mistake};
use values::{
    address, byte_rate, channel, clients, clients_per_address, host, interval_or_off, origin, port, rate,
    size, size_or_off, stack_size, threads, topic,
};

mod values;

/// A WebSocket server with one blocking thread per client, which pushes the time.
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_flag = true,
    max_term_width = 100,
    group = ArgGroup::new("tls").args(["tls_cert", "tls_self_signed"]),
    after_help = "\
Signals:
  SIGINT, SIGTERM   close every client with 1001, and end; another one, a second later, ends at once
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

    /// Who may look at /stats. A proxy on this machine that adds no X-Forwarded-For, or the like, is taken
    /// for a local client: let it refuse /stats
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Audience::Local)]
    pub stats: Audience,

    /// Serve https and wss with this certificate, and the chain behind it
    #[arg(long, value_name = "PEM", requires = "tls_key", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key: PKCS#8, PKCS#1 or SEC1, without a passphrase
    #[arg(
        long,
        value_name = "PEM",
        requires = "tls_cert",
        conflicts_with = "tls_self_signed",
        help_heading = "TLS"
    )]
    pub tls_key: Option<PathBuf>,

    /// Serve https and wss with a certificate that is made now, for a try-out
    #[arg(long, help_heading = "TLS")]
    pub tls_self_signed: bool,

    /// Send who comes by http to this port on to https; 0 lets the system choose one
    #[arg(long, value_name = "PORT", value_parser = port, requires = "tls", help_heading = "TLS")]
    pub http_port: Option<u16>,

    /// Time between two pushes: 250ms, 1s, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval::parse, help_heading = "Pushes")]
    pub interval: Duration,

    /// Who writes what is pushed
    #[arg(long, value_name = "WAY", value_enum, default_value_t = DeliveryOption::Inline, help_heading = "Pushes")]
    pub delivery: DeliveryOption,

    /// Threads that share a round of 500 pushes or more [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = "Pushes")]
    pub push_threads: Option<usize>,

    /// Most clients at a time [default: what this machine's limits allow]
    #[arg(long, value_name = "N", value_parser = clients, help_heading = "Clients")]
    pub max_clients: Option<usize>,

    /// Most clients of one address at a time; one more gets a 503 [default: no limit]
    #[arg(long, value_name = "N", value_parser = clients_per_address, help_heading = "Clients")]
    pub max_clients_per_address: Option<usize>,

    /// How often one address may connect, e.g. 20/s, 100/m or 5/h; beyond that it gets a 429 [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Clients")]
    pub max_connects_per_address: Option<Rate>,

    /// How many messages a client may send, e.g. 20/s, 100/m or 5/h [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Clients")]
    pub max_messages: Option<Rate>,

    /// How many bytes a client may send, e.g. 64KiB/s or 1MiB/s [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = byte_rate, help_heading = "Clients")]
    pub max_bytes: Option<Rate>,

    /// What happens to a client that sends more: it is read later, or closed with 1008
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OverLimitOption::Slow, help_heading = "Clients")]
    pub over_limit: OverLimitOption,

    /// Largest message accepted from a client
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = size, help_heading = "Clients")]
    pub max_message: usize,

    /// Backlog at which a client that reads too slowly is disconnected
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size, help_heading = "Clients")]
    pub max_backlog: usize,

    /// Size from which messages are compressed for clients that offer it, 1KiB is a good one, or `off`
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = size_or_off, help_heading = "Clients")]
    pub compression: SizeOrOff,

    /// Silence after which a client is pinged, or `off`
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = interval_or_off, help_heading = "Clients")]
    pub ping_interval: OrOff,

    /// Stack of a client's thread, from 64KiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = stack_size, help_heading = "Clients")]
    pub stack_size: usize,

    /// Let callers that send the token in this file, of 16 characters or more, POST to /publish?topic=all
    #[arg(long, value_name = "PATH", help_heading = "Messages")]
    pub publish_token_file: Option<PathBuf>,

    /// Topics that a client may ask for, besides `all` [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = topic, help_heading = "Messages")]
    pub topics: Vec<String>,

    /// Join the fleet at this Redis, redis://HOST:PORT, or rediss: for TLS: messages and Ids are those of all its
    /// machines
    #[arg(long, value_name = "URL", help_heading = "Messages")]
    pub redis: Option<String>,

    /// Name of the fleet: its Redis channels begin with it [default: threadcast]
    #[arg(long, value_name = "NAME", value_parser = channel, help_heading = "Messages")]
    pub channel: Option<String>,

    /// Least important log lines to show
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Logging::Info, help_heading = "Log")]
    pub logging: Logging,

    /// Append the log to this file as well
    #[arg(long, value_name = "PATH", help_heading = "Log")]
    pub log_file: Option<PathBuf>,

    /// Show the threads at /lab, echo at /echo?Id=NAME, obey `sleep 2000`, `spin 2000` (ms), `panic`; on
    /// loopback
    #[arg(long, help_heading = "Lab")]
    pub lab: bool,

    /// A server to show beside this one, see src/lab/beside.rs; may be repeated
    #[arg(long, value_name = "JSON", requires = "lab", help_heading = "Lab")]
    pub beside: Vec<String>,

    /// Pad each push with JSON to this size
    #[arg(long, value_name = "SIZE", default_value = "1B", hide_default_value = true, value_parser = size, requires = "lab", help_heading = "Lab")]
    pub pad: usize,

    /// Print this
    #[arg(long, short, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

/// [`threadcast::Delivery`](threadcast::Delivery), as an option.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeliveryOption {
    /// The pushing thread; wakes nobody.
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

/// Who may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audience {
    /// Who comes from this machine.
    Local,
    /// Everybody.
    Public,
}

/// Log levels, with Tornado's names.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Logging {
    /// Everything, a line for each client and push.
    Debug,
    /// What the tutorial prints.
    Info,
    /// What somebody should look at.
    Warning,
    /// What went wrong.
    Error,
    /// Nothing.
    None,
}

impl Logging {
    /// Returns the level for the `log` crate.
    pub fn filter(self) -> LevelFilter {
        match self {
            Logging::Debug => LevelFilter::Debug,
            Logging::Info => LevelFilter::Info,
            Logging::Warning => LevelFilter::Warn,
            Logging::Error => LevelFilter::Error,
            Logging::None => LevelFilter::Off,
        }
    }
}

/// A time, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrOff(pub Option<Duration>);

/// A size, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeOrOff(pub Option<usize>);

impl Options {
    /// Returns the options that the arguments are.
    ///
    /// # Errors
    /// The text to print, and the exit code: 0 for `--help`, 2 for a mistake, which is one line.
    pub fn parse_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Options, (String, i32)> {
        let options: Options = mistake::parse(&args.into_iter().collect::<Vec<_>>())?;
        // Not where the value is parsed: what is said of a wrong one has the value in it.
        if options.redis.as_deref().is_some_and(fleet::has_password) {
            let advice = "put a URL with a password into THREADCAST_REDIS, since every user can see this one";
            return Err((format!("threadcast: --redis: {advice} (--help shows the options)\n"), 2));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests;
