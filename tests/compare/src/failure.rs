//! The one error of this crate: a line that names the operation and the cause.

use std::fmt;

/// An error as one line for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure with this line.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Adds the operation to an error.
pub trait While<T> {
    /// Turns the error into `what: error`.
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> While<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.to_string();
            // The error number of the system means nothing to a reader.
            let said = error.split(" (os error ").next().unwrap_or_default();
            Failure(format!("{what}: {said}"))
        })
    }
}
