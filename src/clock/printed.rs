//! Prints the program's options for other programs: the page for man, completions for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::clock::console;
use crate::clock::options::Options;
use threadcast::{Error, Result};

/// Prints the page for man.
///
/// # Errors
/// None that is known of.
pub fn man() -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Options::command()).render(&mut page).map_err(Error::io("cannot make the page"))?;
    console::print_text(&String::from_utf8_lossy(&page));
    Ok(())
}

/// Prints the completions of a shell.
pub fn completions(shell: Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Options::command(), "threadcast", &mut text);
    console::print_text(&String::from_utf8_lossy(&text));
}
