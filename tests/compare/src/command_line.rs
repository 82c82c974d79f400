//! How the programs here read their command lines: as threadcast does, with a mistake in one line.

use std::ffi::OsString;
use std::process;

use clap::Parser;

use crate::program::mistake;

/// Returns the options of this process, or ends it: with 0 behind what `--help` prints, with 2 for a mistake.
pub fn options<O: Parser>() -> O {
    let args: Vec<OsString> = std::env::args_os().collect();
    mistake::parse(&args).unwrap_or_else(|(text, code)| {
        if code == 0 {
            print!("{text}");
        } else {
            eprint!("{text}");
        }
        process::exit(code)
    })
}
