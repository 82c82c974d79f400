//! The command line. Each group of options has a file below.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use threadcast::Origin;

use crate::clock::configuration::{Configuration, OptionValues};
use crate::clock::{fleet, mistake};
use clients::ClientOptions;
use ending::EndOptions;
use instead::InsteadOptions;
use lab::LabOptions;
use logging::LogOptions;
use messages::MessageOptions;
use proxies::ProxyOptions;
use pushes::PushOptions;
use tls::TlsOptions;
use values::{address, host, origin, port};

pub mod clients;
pub mod instead;
pub mod ending;
pub mod lab;
pub mod logging;
pub mod messages;
pub mod proxies;
pub mod pushes;
pub mod tls;
mod values;

/// A WebSocket server that pushes the time to its clients, with one blocking thread per client.
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "\
Signals:
  SIGINT, SIGTERM   close every client and exit; a second signal, over a second later, exits at once
  SIGHUP            reload certificates, tokens and log file, and check the file of --config; exit
                    if none of these is set
  SIGUSR1           log the numbers of /stats
  SIGUSR2           pass the sockets to a new process; once it serves, close the clients with 1012

Environment:
  THREADCAST_MAX_CLIENTS     same as --max-clients, which takes precedence; each option has such a
                             variable, except those under \"Lab\" and \"Instead of serving\"
  THREADCAST_REDIS           same as --redis, also with a password: redis://USER:PASSWORD@HOST:PORT
  THREADCAST_PUBLISH_TOKEN   the token itself, in place of --publish-token-file
  THREADCAST_ADMIN_TOKEN     the token itself, in place of --admin-token-file

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

    /// Serve the pages from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub www: Option<PathBuf>,

    /// Accept WebSockets only from pages of this origin and the server's own; may be repeated [default: any; with --lab
    /// the server's own]
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<Origin>,

    /// Answer only requests whose Host is this name or address, on any port; `localhost` includes every name and
    /// address of the loopback; may be repeated; --lab adds localhost and --address [default: any, except in the lab]
    #[arg(long, value_name = "NAME", value_parser = host)]
    pub host: Vec<String>,

    /// Clients that can read /stats and /metrics. A proxy on this machine that adds no X-Forwarded-For or similar
    /// header counts as a local client: let that proxy refuse both paths
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Audience::Local)]
    pub stats: Audience,

    /// Also read options from this file: TOML with keys like max-clients = 100
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print this help
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
    pub proxies: ProxyOptions,

    #[command(flatten)]
    pub log: LogOptions,

    #[command(flatten)]
    pub ending: EndOptions,

    #[command(flatten)]
    pub lab: LabOptions,

    #[command(flatten)]
    pub instead: InsteadOptions,

    /// The value of each option, and its source.
    #[arg(skip)]
    pub values: OptionValues,

    /// Warnings about the configuration; the program starts all the same.
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// The clients that can read the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audience {
    /// Clients on this machine.
    Local,
    /// All clients.
    Public,
}

impl Options {
    /// Returns the options that the arguments are, of which the first is the program's name, with what the environment
    /// and the file of `--config` add to them.
    ///
    /// # Errors
    /// The text to print, and the exit code: 0 for `--help`, 2 for a mistake, which is one line.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Options, (String, i32)> {
        let command = Options::command();
        let line: Vec<_> = args.into_iter().collect();
        // Help for somebody whose file is wrong, too.
        if let Err((text, 0)) = mistake::parse_arguments(command.clone(), &line, &|option| option.to_owned())
        {
            return Err((text, 0));
        }
        let wrong = |text: String| (mistake::one_line(command.get_name(), &text), 2);
        let configuration = Configuration::read(&command, line, environment).map_err(wrong)?;
        let name_of = |option: &str| configuration.name(option);
        let matches = mistake::parse_arguments(command.clone(), &configuration.args, &name_of)?;
        let mut options = Options::from_arg_matches(&matches).map_err(|error| wrong(error.to_string()))?;
        // Not where the value is parsed: what is said of a wrong one has the value in it.
        if options.messages.redis.as_deref().is_some_and(fleet::has_password)
            && configuration.is_on_line(fleet::OPTION)
        {
            let advice = "put a URL with a password into THREADCAST_REDIS, since every user can see this one";
            return Err(wrong(format!("--redis: {advice}")));
        }
        options.values = OptionValues::new(&command, &matches, &configuration);
        options.warnings = configuration.warnings;
        Ok(options)
    }
}

#[cfg(test)]
mod tests;
