//! The mistake in a command line, in clap's words and on one line. Pure.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, Error};

/// Most characters of a value that are shown.
const SHOWN: usize = 60;

/// Parses the arguments into options. `name_of` returns the name of an option, such as `port`, at the source of its
/// value.
///
/// # Errors
/// The text to print, and the exit code: 0 for `--help`, 2 for a mistake, which is one line. Only a line without the
/// command that it needs gets all of the help.
pub fn parse_arguments(
    mut command: Command,
    args: &[OsString],
    name_of: &dyn Fn(&str) -> String,
) -> Result<ArgMatches, (String, i32)> {
    command.try_get_matches_from_mut(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => (error.to_string(), error.exit_code()),
        _ => (one_line(command.get_name(), &on_one_line(&error, name_of)), error.exit_code()),
    })
}

/// Returns the line that says what is wrong.
pub fn one_line(program: &str, wrong: &str) -> String {
    format!("{program}: {wrong} (--help shows the options)\n")
}

/// Returns the option that is nearly called so, without dashes.
pub fn similar(command: &Command, option: &str) -> Option<String> {
    let args = [command.get_name().to_owned(), format!("--{option}")];
    let error = command.clone().try_get_matches_from(args).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(name) => name.strip_prefix("--").map(str::to_owned),
        _ => None,
    }
}

/// Returns clap's text, with each option called as where its value is from, and without its usage.
fn on_one_line(error: &Error, name_of: &dyn Fn(&str) -> String) -> String {
    let mut text = error.to_string();
    for (kind, value) in error.context() {
        let texts = match value {
            ContextValue::String(text) => std::slice::from_ref(text),
            ContextValue::Strings(texts) => texts,
            _ => &[],
        };
        for from in texts {
            let option = from.strip_prefix("--").and_then(|option| option.split(' ').next());
            let is_option = [ContextKind::InvalidArg, ContextKind::PriorArg].contains(&kind);
            let name = option.filter(|_| is_option).map(name_of).filter(|name| !name.starts_with('-'));
            let to = name.unwrap_or_else(|| cut(from.escape_debug()));
            text = text.replace(&format!("'{from}'"), &format!("'{to}'"));
            text = text.replace(&format!("\n  {from}"), &format!("\n  {to}"));
        }
    }
    let said = text.split("\n\nUsage:").next().unwrap_or_default();
    let said = said.split("\n\nFor more information").next().unwrap_or_default();
    let words: Vec<_> = said.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ").replace(" tip: ", "; tip: ").replace(char::is_control, "")
}

/// Returns a value as it was typed, if that is plain; the end of a long one is left out.
pub fn shown(value: &str) -> String {
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let text = if is_plain { value.to_owned() } else { format!("{value:?}") };
    cut(text.chars())
}

fn cut(text: impl Iterator<Item = char>) -> String {
    let mut text = text.peekable();
    let short: String = text.by_ref().take(SHOWN).collect();
    if text.peek().is_some() { short + "..." } else { short }
}
