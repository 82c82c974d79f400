//! A line of the log: text for people, JSON for programs, and journald's prefix in front of either. Pure, except that
//! it looks at a descriptor.

use std::env;
use std::fmt::Write as _;
use std::os::fd::AsFd;

use chrono::{DateTime, Local, SecondsFormat};
use log::Level;
use log::kv::{Error, Key, Source, Value, VisitSource};

use crate::clock::options::logging::LogFormat;

/// The style of lines in one place.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    format: LogFormat,
    /// Whether journald reads them, which takes `<4>` at the beginning for the level (sd-daemon(3)).
    is_journal: bool,
}

impl Style {
    /// Returns the style of a file.
    pub fn of_file(format: LogFormat) -> Style {
        Style { format, is_journal: false }
    }

    /// Returns the style of standard output or standard error.
    pub fn of_stream(format: LogFormat, stream: impl AsFd) -> Style {
        let stream = rustix::fs::fstat(stream).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
        let journal = env::var("JOURNAL_STREAM").ok().filter(|journal| !journal.is_empty());
        Style {
            format,
            is_journal: journal.is_some_and(|journal| stream.is_ok_and(|stream| stream == journal)),
        }
    }

    /// Returns whether the logger shows the level, perhaps in colour.
    pub fn leaves_level_to_logger(self) -> bool {
        self.format == LogFormat::Plain && !self.is_journal
    }

    /// Returns the prefix of a line of the log.
    pub fn before(self, level: Level) -> &'static str {
        if !self.is_journal || self.format == LogFormat::Json {
            return self.priority(level);
        }
        match level {
            Level::Error => "<3>[ERROR] ",
            Level::Warn => "<4>[WARN] ",
            Level::Info => "<6>[INFO] ",
            Level::Debug => "<7>[DEBUG] ",
            Level::Trace => "<7>[TRACE] ",
        }
    }

    /// Returns journald's prefix, if journald reads the lines.
    pub fn priority(self, level: Level) -> &'static str {
        match level {
            _ if !self.is_journal => "",
            Level::Error => "<3>",
            Level::Warn => "<4>",
            Level::Info => "<6>",
            Level::Debug | Level::Trace => "<7>",
        }
    }

    /// Returns a text that is not from a log record as a line: as it is, unless all lines are JSON.
    pub fn own(self, level: Level, text: &str) -> String {
        match self.format {
            LogFormat::Plain => text.to_owned(),
            LogFormat::Json => {
                format_record(self.format, Local::now(), level, "", text, &None::<(&str, Value<'_>)>)
            }
        }
    }
}

/// Returns a line without its end. `message` has no control characters; `fields` are for programs only.
pub fn format_record(
    format: LogFormat,
    time: DateTime<Local>,
    level: Level,
    thread: &str,
    message: &str,
    fields: &dyn Source,
) -> String {
    if format == LogFormat::Plain {
        return format!("{} ({thread}) {message}", time.format("%Y-%m-%d %H:%M:%S%.3f%:z"));
    }
    let mut line = String::with_capacity(message.len() + 128);
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, false);
    let level = level.as_str().to_ascii_lowercase();
    let _ = write!(line, "{{\"time\":\"{time}\",\"level\":\"{level}\"");
    if !thread.is_empty() {
        let _ = write!(line, ",\"thread\":{}", json(thread));
    }
    let _ = write!(line, ",\"message\":{}", json(message));
    // It never fails.
    let _ = fields.visit(&mut Fields(&mut line));
    line.push('}');
    line
}

fn json(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}

/// Appends fields to an object.
struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = match (value.to_u64(), value.to_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => json(&value.to_string()),
        };
        let _ = write!(self.0, ",{}:{value}", json(key.as_str()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, TimeZone};
    use log::kv::ToValue;

    use super::*;

    #[test]
    fn lines_as_a_table() {
        let time = FixedOffset::east_opt(0).unwrap().with_ymd_and_hms(2026, 11, 30, 20, 46, 23).unwrap();
        let time = (time + chrono::Duration::microseconds(7999)).with_timezone(&Local);
        let (day, zone) = (time.format("%Y-%m-%d"), time.format("%:z"));
        let clock = time.format("%H:%M:%S");
        let fields = [("n", 7_u64.to_value()), ("s", 0.5.to_value()), ("text", "a\"b".to_value())];
        assert_eq!(
            format_record(LogFormat::Plain, time, Level::Info, "main", "hello", &fields),
            format!("{day} {clock}.007{zone} (main) hello")
        );
        assert_eq!(
            format_record(LogFormat::Json, time, Level::Warn, "cl\"1", r"a\n\u{202e}", &fields),
            format!(
                r#"{{"time":"{day}T{clock}.007{zone}","level":"warn","thread":"cl\"1","message":"a\\n\\u{{202e}}","n":7,"s":0.5,"text":"a\"b"}}"#
            )
        );
    }

    #[test]
    fn journald_is_told_the_level() {
        for (format, is_journal, expected) in [
            (LogFormat::Plain, false, ""),
            (LogFormat::Json, false, ""),
            (LogFormat::Plain, true, "<4>[WARN] "),
            (LogFormat::Json, true, "<4>"),
        ] {
            assert_eq!(Style { format, is_journal }.before(Level::Warn), expected, "{format:?} {is_journal}");
        }
    }
}
