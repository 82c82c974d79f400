//! The other sources of an option's value, beside the command line: `--max-clients` is also the variable
//! `THREADCAST_MAX_CLIENTS` and the key `max-clients` of the file of `--config`. Pure, but for the file.
//!
//! clap's declaration of an option is the only one. Values of variables and of the file become arguments in front of
//! the others, unless the line has that option. So clap checks all of them, also which options require or exclude
//! others.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use crate::clock::mistake;
use file::Assignment;

pub use values::OptionValues;

mod file;
mod values;
mod variables;

/// The headings of options that are on the line only: those of the lesson, and those that print something and end.
const LINE_ONLY: [&str; 2] = ["Lab", "Instead of serving"];
/// The option that names the file.
const CONFIG: &str = "config";

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Line,
    /// The variable of this name.
    Variable(String),
    /// The file, at this line.
    File(PathBuf, usize),
}

/// The command line, with what the environment and the file add to it.
#[derive(Debug)]
pub struct Configuration {
    /// All arguments, for clap.
    pub args: Vec<OsString>,
    /// Where options without their dashes are from; those of the line and the defaults are not in it.
    pub sources: HashMap<String, Source>,
    /// Warnings: somebody should look at them, though the program goes on.
    pub warnings: Vec<String>,
}

impl Source {
    /// Returns what the option is called where the value is from.
    pub fn name(&self, option: &str) -> String {
        match self {
            Source::Line => format!("--{option}"),
            Source::Variable(name) => name.clone(),
            Source::File(..) => format!("{option} ({self})"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Line => f.write_str("command line"),
            Source::Variable(name) => f.write_str(name),
            Source::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

impl Configuration {
    /// Adds the values of the environment and of the file to the arguments, whose first one is the program's name. The
    /// line has precedence over a variable, and a variable over the file.
    ///
    /// # Errors
    /// A variable or the file has a mistake; the error says which and where, in one line.
    pub fn read(
        command: &Command,
        line: Vec<OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Configuration, String> {
        let mut configuration =
            Configuration { args: Vec::new(), sources: HashMap::new(), warnings: Vec::new() };
        let mut taken = on_the_line(&line);
        let variables = variables::of(command, environment, &mut configuration.warnings);
        let found = variables.iter().find(|variable| variable.arg.get_id() == CONFIG);
        let (path, in_variable) = match (config_of(&line), found) {
            (None, Some(variable)) => (Some(variable.value.clone()), Some(variable.name.clone())),
            (path, _) => (path, None),
        };
        for variable in variables {
            let option = option(variable.arg);
            if taken.insert(option.clone()) {
                let values = variable.values()?;
                let source = Source::Variable(variable.name);
                configuration.add(variable.arg, option, values, source)?;
            }
        }
        if let Some(path) = path {
            let path = Path::new(&path);
            let named = |why| match &in_variable {
                Some(name) => format!("{name}: {why}"),
                None => why,
            };
            for Assignment { key, line, values } in file::read(path).map_err(named)? {
                let source = Source::File(path.to_owned(), line);
                let arg = arg_of(command, &key).map_err(|why| format!("{source}: {why}"))?;
                if !taken.contains(&key) {
                    configuration.add(arg, key, values, source)?;
                }
            }
        }
        let others = line.iter().skip(1).cloned();
        let name = line.first().cloned().unwrap_or_default();
        configuration.args = [name].into_iter().chain(configuration.args).chain(others).collect();
        Ok(configuration)
    }

    /// Returns what the option is called where its value is from.
    pub fn name(&self, option: &str) -> String {
        self.sources.get(option).unwrap_or(&Source::Line).name(option)
    }

    /// Returns whether every user of this machine can see the value of an option.
    pub fn is_on_line(&self, option: &str) -> bool {
        !self.sources.contains_key(option)
    }

    /// Adds the values of an option, as arguments.
    fn add(
        &mut self,
        arg: &Arg,
        option: String,
        values: Vec<OsString>,
        source: Source,
    ) -> Result<(), String> {
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        if values.is_empty() && !is_list {
            return Ok(());
        }
        let name = source.name(&option);
        let dashed = |value: &OsStr| {
            let mut argument = OsString::from(format!("--{option}="));
            argument.push(value);
            argument
        };
        if values.len() > 1 && !is_list {
            return Err(format!("{name} takes one value, not several"));
        }
        for value in &values {
            let argument = match arg.get_action() {
                ArgAction::SetTrue => flag(value).map(|is_set| is_set.then(|| format!("--{option}").into())),
                _ => Ok(Some(dashed(value))),
            };
            let wrong = |how| format!("{name} {}: {how}", mistake::shown(&value.to_string_lossy()));
            self.args.extend(argument.map_err(wrong)?);
        }
        self.sources.insert(option, source);
        Ok(())
    }
}

/// Returns whether a flag is set.
fn flag(value: &OsStr) -> Result<bool, &'static str> {
    match value.to_str().map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "1" | "yes" | "on") => Ok(true),
        Some("false" | "0" | "no" | "off") => Ok(false),
        _ => Err("write true or false"),
    }
}

/// Returns what an option is called, without its dashes.
fn option(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

/// Returns the options that may be in the environment and in the file.
fn args(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_here = |arg: &&Arg| {
        let is_on_line = arg.get_help_heading().is_some_and(|heading| LINE_ONLY.contains(&heading));
        !is_on_line && matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue)
    };
    command.get_arguments().filter(is_here)
}

/// Returns the option that a key of the file is.
fn arg_of<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, String> {
    let found = args(command).find(|arg| arg.get_long() == Some(key) && key != CONFIG);
    found.ok_or_else(|| {
        let shown = mistake::shown(key);
        if command.get_arguments().any(|arg| arg.get_long() == Some(key)) {
            return format!("{shown} works on the command line only");
        }
        let similar = mistake::similar(command, key).map(|name| format!("; did you mean {name}?"));
        format!("unknown key {shown}{}", similar.unwrap_or_default())
    })
}

/// Returns the names of the options on the line. clap refuses a value that looks like an option.
fn on_the_line(line: &[OsString]) -> HashSet<String> {
    let names = line.iter().skip(1).filter_map(|arg| {
        let arg = arg.to_string_lossy();
        let name = arg.strip_prefix("--")?.split('=').next().unwrap_or_default();
        Some(name.to_owned())
    });
    names.collect()
}

/// Returns the file that the line names. clap decides whether it may occur twice.
fn config_of(line: &[OsString]) -> Option<OsString> {
    let dashed = format!("--{CONFIG}").into_bytes();
    let rest = |arg: &OsString| arg.as_bytes().strip_prefix(&dashed[..]).map(<[u8]>::to_vec);
    let (at, rest) = line.iter().enumerate().find_map(|(at, arg)| Some((at, rest(arg)?)))?;
    let value = match rest.strip_prefix(b"=") {
        Some(value) => OsStr::from_bytes(value),
        None if rest.is_empty() => line.get(at + 1)?,
        None => return None,
    };
    // A name that looks like an option is not a file, and an empty name is refused.
    (!value.is_empty() && !value.as_bytes().starts_with(b"-")).then(|| value.to_owned())
}
