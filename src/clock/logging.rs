//! Where log lines go, and what may be in them.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::{panic, thread};

use chrono::Local;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ColorChoice, ConfigBuilder, TermLogger, TerminalMode, WriteLogger};

use crate::clock::log_thread::LogThread;
use threadcast::{Error, Result};

/// Most characters of a client's text in a log line.
const SHOWN: usize = 2000;

/// Logs with [`logger`] what is of `level` and above. A panic is one line of it.
///
/// # Errors
/// As of [`logger`]; [`Error::Invalid`] if there is another logger already.
pub fn start(level: LevelFilter, file: Option<&Path>) -> Result<()> {
    let logger = logger(level, file)?;
    log::set_boxed_logger(logger).map_err(|_| Error::invalid("logging has been started already"))?;
    log::set_max_level(level);
    // The client's thread logs what a handler's panic did; this line says where it was.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at {place}");
    }));
    Ok(())
}

/// Sends log lines of `level` and above to the terminal (in colour if it is one), and to `file`, each by a
/// thread of its own. Each line names the thread that logged it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, or a thread cannot be started.
pub fn logger(level: LevelFilter, file: Option<&Path>) -> Result<Box<dyn Log>> {
    let mut config = ConfigBuilder::new();
    // The time and the thread are those of the moment at which something was logged.
    config.set_time_level(LevelFilter::Off).set_thread_level(LevelFilter::Off);
    config.set_target_level(LevelFilter::Off).set_location_level(LevelFilter::Off);
    let config = config.build();
    let mut threads = Vec::new();
    let mut add = |name, logger| LogThread::start(name, logger).map(|thread| threads.push(thread));
    if level != LevelFilter::Off {
        let color = if std::io::stdout().is_terminal() { ColorChoice::Auto } else { ColorChoice::Never };
        let terminal = TermLogger::new(level, config.clone(), TerminalMode::Stdout, color);
        add("log", terminal).map_err(Error::io("cannot start the thread log"))?;
    }
    if let Some(path) = file {
        let doing = format!("cannot write the log file {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(doing))?;
        let file = WriteLogger::new(level, config, file);
        add("log-file", file).map_err(Error::io("cannot start the thread log-file"))?;
    }
    Ok(Box::new(Lines(threads)))
}

/// Makes lines of what this crate logs, on the thread that logs.
struct Lines(Vec<LogThread>);

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("threadcast")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (now, thread) = (Local::now().format("%H:%M:%S"), thread::current());
            let name = thread.name().unwrap_or_default();
            let line: Arc<str> = format!("{now} ({name}) {}", record.args()).into();
            self.0.iter().for_each(|thread| thread.write(record.level(), line.clone()));
        }
    }

    fn flush(&self) {
        self.0.iter().for_each(LogThread::flush);
    }
}

/// `text` as it may go to a terminal or a log file: control characters and the invisible ones that
/// break or turn a line are escaped, and the end of a long one is left out.
pub fn printable(text: &str) -> Cow<'_, str> {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    let cut = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    if cut.is_none() && !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text[..cut.unwrap_or(text.len())].chars() {
        if odd(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if cut.is_some() {
        write!(shown, "... ({} bytes in all)", text.len()).expect("a String takes every write");
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unprintable_reaches_the_log() {
        for (text, shown) in [
            ("A", "A"),
            ("你 é <b>", "你 é <b>"),
            ("a\nb", "a\\nb"),
            ("\x1b[31m", "\\u{1b}[31m"),
            ("\u{9b}x\u{202e}y", "\\u{9b}x\\u{202e}y"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert!(printable(&"é".repeat(SHOWN + 1)).ends_with("é... (4002 bytes in all)"));
    }
}
