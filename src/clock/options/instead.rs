//! Options: what the program does instead of serving.

use clap::Args;
use clap_complete::Shell;

/// What the program does instead of serving.
#[derive(Debug, Args)]
#[command(next_help_heading = "Instead of serving")]
pub struct InsteadOptions {
    /// Try the options: print each value and where it is from, open the files, take the port, and end with 0, or
    /// with 1 or 2 as a start would
    #[arg(long)]
    pub check: bool,

    /// Ask a server, such as http://127.0.0.1:8888/health, and end with 0 if it answers 200 within a second, else 1
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    pub health: Option<String>,

    /// Print the manual's page for man
    #[arg(long, conflicts_with_all = ["check", "health"])]
    pub man: bool,

    /// Print what completes these options in a shell
    #[arg(long, value_name = "SHELL", value_enum, conflicts_with_all = ["check", "health", "man"])]
    pub completions: Option<Shell>,
}
