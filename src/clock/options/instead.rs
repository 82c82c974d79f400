//! Options: what the program does instead of serving.

use clap::Args;
use clap_complete::Shell;

/// Tasks in place of serving.
#[derive(Debug, Args)]
#[command(next_help_heading = "Instead of serving")]
pub struct InsteadOptions {
    /// Check the options: print each value and its source, open the files and listen on the port; then exit with 0 if
    /// all is well, with 2 for a wrong option, and with 1 otherwise
    #[arg(long)]
    pub check: bool,

    /// Ask a server at this URL, e.g. http://127.0.0.1:8888/health; exit with 0 if it answers 200 within a second, else 1.
    /// Over https it verifies the certificate, except at a loopback address
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    pub health: Option<String>,

    /// Print the man page
    #[arg(long, conflicts_with_all = ["check", "health"])]
    pub man: bool,

    /// Print the completion script of this shell
    #[arg(long, value_name = "SHELL", value_enum, conflicts_with_all = ["check", "health", "man"])]
    pub completions: Option<Shell>,
}
