//! The effective values and their sources, for `--check` and for an operator who has to correct a value.

use std::ffi::OsString;
use std::fmt::Display;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};

use super::{Configuration, LINE_ONLY, Source};
use crate::clock::fleet;

/// The column in which a line says where its value is from.
const COLUMN: usize = 40;

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OptionValue {
    option: String,
    /// As they would be on the command line.
    values: Vec<OsString>,
    action: Action,
    /// Whether it may be in the file.
    is_key: bool,
    /// `None` for the default.
    source: Option<Source>,
}

/// How a value is written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Flag,
    One,
    Many,
}

/// All of them, in the order of `--help`.
#[derive(Debug, Clone, Default)]
pub struct OptionValues(Vec<OptionValue>);

impl OptionValues {
    /// Returns the values that clap has found in the arguments of a configuration.
    pub fn new(command: &Command, matches: &ArgMatches, configuration: &Configuration) -> OptionValues {
        let values = command.get_arguments().filter_map(|arg| {
            let action = match arg.get_action() {
                ArgAction::Set => Action::One,
                ArgAction::Append => Action::Many,
                ArgAction::SetTrue => Action::Flag,
                _ => return None,
            };
            let (option, id) = (arg.get_long()?.to_owned(), arg.get_id().as_str());
            let is_of_line = matches.value_source(id) == Some(ValueSource::CommandLine);
            let source = configuration.sources.get(&option).cloned();
            let source = source.or_else(|| is_of_line.then_some(Source::Line));
            let values = match action {
                Action::Flag => vec![matches.get_flag(id).to_string().into()],
                _ => matches.get_raw(id).into_iter().flatten().map(OsString::from).collect(),
            };
            let is_key = super::arg_of(command, &option).is_ok();
            let prints_and_ends = arg.get_help_heading() == Some(LINE_ONLY[1]);
            (!prints_and_ends).then_some(OptionValue { option, values, action, is_key, source })
        });
        OptionValues(values.collect())
    }

    /// Returns what the option is called where its value is from.
    pub fn name(&self, option: &str) -> String {
        self.source(option).unwrap_or(&Source::Line).name(option)
    }

    /// Returns how another value of the option is written where its value is from.
    pub fn example(&self, option: &str, value: impl Display) -> String {
        match self.source(option) {
            Some(Source::Variable(name)) => format!("{name}={value}"),
            Some(Source::File(..)) => format!("{option} = {value}"),
            Some(Source::Line) | None => format!("--{option} {value}"),
        }
    }

    /// Returns where the value of an option is from; `None` for the default.
    pub fn source(&self, option: &str) -> Option<&Source> {
        self.0.iter().find(|setting| setting.option == option)?.source.as_ref()
    }

    /// Returns a file of all values, with their sources as comments. A value that cannot be in a file is a comment too.
    pub fn to_toml(&self) -> String {
        self.0.iter().map(OptionValue::to_toml).collect()
    }

    /// Returns the options whose values are others in `new`.
    pub fn changed<'a>(&'a self, new: &'a OptionValues) -> Vec<&'a str> {
        let pairs = self.0.iter().zip(&new.0);
        pairs.filter(|(old, new)| old.values != new.values).map(|(old, _)| &old.option[..]).collect()
    }
}

impl OptionValue {
    /// Returns its line.
    fn to_toml(&self) -> String {
        let option = &self.option;
        let values: Vec<_> = self.values.iter().map(|value| toml(&value.to_string_lossy())).collect();
        let assignment = match (self.action, &values[..]) {
            (_, [_]) if option == fleet::OPTION => format!("# {option} = (not shown)"),
            (Action::Many, []) if self.source.is_some() => format!("{option} = []"),
            (_, []) => format!("# {option}"),
            (Action::Flag, [value, ..]) => format!("{option} = {}", value.trim_matches('"')),
            (Action::One, [value, ..]) => format!("{option} = {value}"),
            (Action::Many, values) => format!("{option} = [{}]", values.join(", ")),
        };
        let hash = if self.is_key || assignment.starts_with('#') { "" } else { "# " };
        let assignment = format!("{hash}{assignment}");
        let source = match &self.source {
            Some(source) => source.to_string(),
            None if values.is_empty() => "not set".to_owned(),
            None => "default".to_owned(),
        };
        format!("{assignment:<COLUMN$} # {source}\n")
    }
}

/// Returns a value in the file's form: a number, or text. JSON's escapes are those of TOML, which wants one for DEL too.
fn toml(value: &str) -> String {
    let is_number = !value.is_empty() && value.len() < 19 && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && (value == "0" || !value.starts_with('0')) {
        return value.to_owned();
    }
    serde_json::Value::from(value).to_string().replace('\x7f', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_toml() {
        for (value, expected) in [
            ("8888", "8888"),
            ("0", "0"),
            ("007", "\"007\""),
            ("", "\"\""),
            ("1s", "\"1s\""),
            ("a\"b\\c\n\x1b\x7f", r#""a\"b\\c\n\u001b\u007f""#),
            ("99999999999999999999", "\"99999999999999999999\""),
        ] {
            assert_eq!(toml(value), expected);
            let line = format!("a = {expected}");
            assert_eq!(toml::de::DeTable::parse(&line).unwrap().into_inner().len(), 1);
        }
    }
}
