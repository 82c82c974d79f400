//! Describes the mistake in a command line, in one line for the person who typed it. Pure.
//!
//! clap finds the mistake, and names the option and the value. This module words the message.

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, Error};

/// Most characters of a value that are shown.
const SHOWN: usize = 60;

/// Parses the arguments into options. `name_of` returns the name of an option, such as `port`, at the source of its
/// value.
///
/// # Errors
/// The text to print, and the exit code: 0 for `--help`, 2 for a mistake, which is one line.
pub fn parse(
    command: Command,
    args: &[OsString],
    name_of: &dyn Fn(&str) -> String,
) -> Result<ArgMatches, (String, i32)> {
    let mut command = with_any_value(command);
    command.try_get_matches_from_mut(args).map_err(|error| {
        if !error.use_stderr() {
            return (error.to_string(), 0);
        }
        let wrong = match error.kind() {
            ErrorKind::InvalidUtf8 => not_utf8(&mut command, args),
            _ => what_is_wrong(&error, name_of),
        };
        let hint = suggested(&error).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        (line(command.get_name(), &format!("{wrong}{hint}")), 2)
    })
}

/// Returns the line that says what is wrong.
pub fn line(program: &str, wrong: &str) -> String {
    format!("{program}: {wrong} (--help shows the options)\n")
}

/// Returns the option that is nearly called so, without dashes.
pub fn similar(command: &Command, option: &str) -> Option<String> {
    let args = [command.get_name().to_owned(), format!("--{option}")];
    let error = command.clone().try_get_matches_from(args).err()?;
    suggested(&error).and_then(|name| name.strip_prefix("--").map(str::to_owned))
}

fn suggested(error: &Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand];
    kinds.into_iter().find_map(|kind| texts(error, kind).into_iter().next())
}

/// Lets an option's value begin with a minus, so that the message about `--port -1` is about -1. Not for options
/// that take any text: `--log-file --lab` lacks a value.
fn with_any_value(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let of = arg.get_value_parser().type_id();
        let is_any_text = [TypeId::of::<String>(), TypeId::of::<PathBuf>()].iter().any(|text| of == *text);
        let has_value = arg.get_action().takes_values();
        if has_value && !is_any_text { arg.allow_hyphen_values(true) } else { arg }
    });
    // Without a command the message lists the commands, and not all of the help.
    command.arg_required_else_help(false).mut_subcommands(with_any_value)
}

/// Returns the words of a mistake.
fn what_is_wrong(error: &Error, name_of: &dyn Fn(&str) -> String) -> String {
    let first = |kind| texts(error, kind).into_iter().next().unwrap_or_default();
    let (arg, value) = (first(ContextKind::InvalidArg), first(ContextKind::InvalidValue));
    let called = |arg: &str| match name(arg).strip_prefix("--") {
        Some(option) => name_of(option),
        None => name(arg).to_owned(),
    };
    let name = called(&arg);
    match error.kind() {
        ErrorKind::InvalidValue => {
            let valid = listed(&texts(error, ContextKind::ValidValue), "or");
            match (value.as_str(), valid.as_str()) {
                ("", "") => format!("{name} has no value: write {}", plain(&arg)),
                ("", valid) => format!("{name} has no value: write {valid}"),
                (value, valid) => format!("{name} {}: write {valid}", shown(value)),
            }
        }
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{name} {}: {reason}", shown(&value))
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("unknown option {}", shown(&arg)),
        ErrorKind::UnknownArgument => format!("{} is not an option", shown(&arg)),
        ErrorKind::TooManyValues => format!("{name} takes no value"),
        ErrorKind::ArgumentConflict => match first(ContextKind::PriorArg) {
            other if other == arg => format!("{name} is given twice"),
            other => format!("{name} and {} exclude each other", called(&other)),
        },
        // Another option or the command needs it.
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg);
            let is = if missing.len() == 1 { "is" } else { "are" };
            let missing: Vec<_> = missing.iter().map(|arg| plain(arg)).collect();
            format!("{} {is} missing", listed(&missing, "and"))
        }
        ErrorKind::MissingSubcommand => {
            format!("say what to do: {}", listed(&texts(error, ContextKind::ValidSubcommand), "or"))
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {}", shown(&first(ContextKind::InvalidSubcommand)))
        }
        // None that is left is of an option that there is.
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

/// Returns the message for an argument that is not UTF-8. clap does not say which one it is: the last one of the
/// shortest beginning of the line that has the mistake.
fn not_utf8(command: &mut Command, args: &[OsString]) -> String {
    let mut has_it = |count: &usize| {
        let found = command.try_get_matches_from_mut(&args[..*count]);
        found.is_err_and(|error| error.kind() == ErrorKind::InvalidUtf8)
    };
    let count = (1..=args.len()).find(|count| has_it(count)).unwrap_or(args.len());
    let last = args[..count].last().map(|arg| arg.to_string_lossy()).unwrap_or_default();
    let option = args[..count].iter().rev().nth(1).map(|arg| arg.to_string_lossy()).unwrap_or_default();
    let option = if last.starts_with('-') { "" } else { &option };
    format!("{option} {}: this is not UTF-8", shown(&last)).trim_start().to_owned()
}

/// Returns clap's context of a mistake, of one kind.
fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// Returns the name in `--port <PORT>`.
fn name(arg: &str) -> &str {
    arg.split([' ', '=']).next().unwrap_or_default()
}

/// Returns `--port <PORT>` as `--port PORT`, and `<--a|--b <B>>` as `--a or --b B`.
fn plain(arg: &str) -> String {
    arg.replace(['<', '>'], "").replace('|', " or ")
}

/// Returns a value as it was typed, if that is plain; the end of a long one is left out.
pub fn shown(value: &str) -> String {
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let text = if is_plain { value.to_owned() } else { format!("{value:?}") };
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { short + "..." } else { text }
}

/// Returns `a, b or c`.
fn listed(words: &[String], or: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [many @ .., last] => format!("{} {or} {last}", many.join(", ")),
    }
}
