//! Parses the command lines of these programs as threadcast does, with an error in one line.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process;

use clap::Parser;

use crate::program::mistake;

/// Returns the options of this process, or ends it: with 0 after `--help`, with 2 after an error.
pub fn options<O: Parser>() -> O {
    let args: Vec<OsString> = std::env::args_os().collect();
    let matches = mistake::parse_arguments(O::command(), &args, &|option| format!("--{option}"));
    let matches = matches.unwrap_or_else(|(text, code)| {
        // Does not panic if the reader has gone away.
        let _ = if code == 0 { write!(io::stdout(), "{text}") } else { write!(io::stderr(), "{text}") };
        process::exit(code)
    });
    // clap has checked the values already.
    O::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}
