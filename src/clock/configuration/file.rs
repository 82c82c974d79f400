//! The file of `--config`: TOML, a key for each option.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use threadcast::{Error, printable};
use toml::de::{DeTable, DeValue};

/// The largest file that is read as a configuration.
const MOST_BYTES: u64 = 1 << 20;

/// One option's entry in the file.
pub(super) struct Assignment {
    pub key: String,
    /// From 1.
    pub line: usize,
    /// As they would be on the command line. None for an empty text, which leaves the option as it is.
    pub values: Vec<OsString>,
}

/// Returns the entries of the file, in their order.
///
/// # Errors
/// The file cannot be read, or has a mistake; the error says why or where, in one line.
pub(super) fn read(path: &Path) -> Result<Vec<Assignment>, String> {
    let place = printable(path.display()).at_most(100);
    let text = text(path).map_err(Error::io(format!("cannot read the --config file {place}")));
    let text = text.map_err(|error| error.to_string())?;
    let line_of = |byte: usize| text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1;
    let table = DeTable::parse(&text).map_err(|error| {
        let line = line_of(error.span().map_or(0, |span| span.start));
        // A hint may be on its own line.
        format!("{place}:{line}: not TOML: {}", error.message().replace('\n', ", "))
    })?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
        let line = line_of(key.span().start);
        let key: String = String::from(key.into_inner());
        let values = match value.into_inner() {
            DeValue::Array(values) => values.into_iter().map(|value| plain(value.into_inner())).collect(),
            value => {
                plain(value).map(|value| Some(value).filter(|value| !value.is_empty()).into_iter().collect())
            }
        };
        let values = values
            .map_err(|what| format!("{place}:{line}: {key} is {what}; write key = value, without tables"))?;
        Ok(Assignment { key, line, values })
    };
    entries.into_iter().map(entry).collect()
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has more than 1 MiB"));
    }
    Ok(text)
}

/// Returns a value as it would be on the command line, or the name of its unusable type.
fn plain(value: DeValue<'_>) -> Result<OsString, &'static str> {
    Ok(match value {
        DeValue::String(text) => text.into_owned().into(),
        DeValue::Integer(number) => number.to_string().into(),
        DeValue::Float(number) => number.to_string().into(),
        DeValue::Boolean(is_set) => is_set.to_string().into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(_) => return Err("an array in an array"),
        DeValue::Table(_) => return Err("a table"),
    })
}
