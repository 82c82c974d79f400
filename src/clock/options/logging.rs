//! Options: what is logged, and where.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use log::LevelFilter;

/// What is logged, and where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// Least important log lines to show
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Logging::Info)]
    pub logging: Logging,

    /// Append the log to this file as well
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,
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
