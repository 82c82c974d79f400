//! Options: the log.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use log::LevelFilter;

/// The log: lines, format, file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// Lowest log level to show
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Logging::Info)]
    pub logging: Logging,

    /// Append the log to this file as well
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,

    /// Format of log lines: plain text, or one JSON object per line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Plain)]
    pub log_format: LogFormat,

    /// Log each request and the end of each WebSocket: address, path, status or close code, bytes, seconds
    #[arg(long)]
    pub access_log: bool,
}

/// Log levels, with Tornado's names.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Logging {
    /// All lines, one for each client and push.
    Debug,
    /// The lines of Tornado's tutorial.
    Info,
    /// Trouble that the program survives.
    Warning,
    /// Failures only.
    Error,
    /// No lines.
    None,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text with a time.
    Plain,
    /// One JSON object a line.
    Json,
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
