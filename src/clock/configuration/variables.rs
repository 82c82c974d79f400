//! The environment: finds the variables that are options, and likely misspellings of them.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

use crate::clock::mistake;

/// Variables of the program that are not options, without the prefix.
const OTHERS: [&str; 5] = ["PUBLISH_TOKEN", "ADMIN_TOKEN", "PREDECESSOR", "BEGUN", "KEEP_SIGNAL_STACKS"];
const PREFIX: &str = "THREADCAST_";

/// A variable that is set and is an option.
pub(super) struct Variable<'a> {
    pub name: String,
    pub arg: &'a Arg,
    pub value: OsString,
}

/// Returns the options in the environment, by name. Warns of near misses. An empty variable counts as unset, since
/// Compose writes it for a missing one.
pub(super) fn of<'a>(
    command: &'a Command,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    warnings: &mut Vec<String>,
) -> Vec<Variable<'a>> {
    let mut variables: Vec<_> = environment
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, value)| {
            name.starts_with(PREFIX) && !value.is_empty() && !is_of_kubernetes(name, value)
        })
        .collect();
    variables.sort();
    let mut found = Vec::new();
    for (name, value) in variables {
        let rest = &name[PREFIX.len()..];
        match super::args(command).find(|arg| arg.get_long().is_some_and(|long| variable(long) == rest)) {
            Some(arg) => found.push(Variable { name, arg, value }),
            None if OTHERS.contains(&rest) => {}
            None => {
                let option = rest.to_ascii_lowercase().replace('_', "-");
                let similar = mistake::similar(command, &option);
                let similar = similar.map(|name| format!("; did you mean {PREFIX}{}?", variable(&name)));
                let name = mistake::shown(&name);
                warnings.push(format!("{name} sets no option{}", similar.unwrap_or_default()));
            }
        }
    }
    found
}

/// Returns what an option is called in the environment, without the prefix.
fn variable(option: &str) -> String {
    option.to_ascii_uppercase().replace('-', "_")
}

/// Returns whether Kubernetes has set a variable: a pod gets some for each service, and one of a service with the name
/// `threadcast` is `THREADCAST_PORT=tcp://10.0.0.1:8888`.
fn is_of_kubernetes(name: &str, value: &OsStr) -> bool {
    let is_url = |scheme: &&str| value.as_encoded_bytes().starts_with(scheme.as_bytes());
    let is_link = name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(is_url);
    let has_number = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    is_link
        || ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|part| name.contains(part))
        || name.split_once("_PORT_").is_some_and(has_number)
}

impl Variable<'_> {
    /// Returns the values in it: between commas, if the option may be repeated.
    ///
    /// # Errors
    /// The value must be text and is not. The error does not show it, since it may be a password.
    pub(super) fn values(&self) -> Result<Vec<OsString>, String> {
        if self.arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
            return Ok(vec![self.value.clone()]);
        }
        let text = self.value.to_str().ok_or_else(|| format!("{} is not UTF-8", self.name))?;
        if !matches!(self.arg.get_action(), ArgAction::Append) {
            return Ok(vec![text.into()]);
        }
        Ok(text.split(',').map(|value| value.trim().into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_as_a_table() {
        for (name, value, expected) in [
            ("THREADCAST_PORT", "tcp://10.0.0.1:8888", true),
            ("THREADCAST_PORT_8888_TCP", "tcp://10.0.0.1:8888", true),
            ("THREADCAST_PORT_8888_TCP_ADDR", "10.0.0.1", true),
            ("THREADCAST_SERVICE_HOST", "10.0.0.1", true),
            ("THREADCAST_SERVICE_PORT_HTTP", "8888", true),
            ("THREADCAST_HTTP_PORT", "udp://10.0.0.1:80", true),
            ("THREADCAST_PORT", "8888", false),
            ("THREADCAST_HTTP_PORT", "80", false),
            ("THREADCAST_REDIS", "tcp://10.0.0.1", false),
            ("THREADCAST_PORT_X", "1", false),
        ] {
            assert_eq!(is_of_kubernetes(name, OsStr::new(value)), expected, "{name}={value}");
        }
    }
}
