//! Where log lines go, and what may be in them.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::{panic, thread};

use chrono::Local;
use crossbeam_channel::{Receiver, Sender};
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ColorChoice, ConfigBuilder, TermLogger, TerminalMode, WriteLogger};

use crate::clock::log_output::LogOutput;
use crate::clock::log_thread::{LogFile, LogPlace, LogThread};
use threadcast::{Error, Result};

/// Most characters of a client's text in a log line.
const SHOWN: usize = 2000;

/// The log of this program.
pub struct Started {
    /// The way to the log file, if there is one.
    pub file: Option<LogFile>,
    /// While it is kept nothing is written, so that something else comes first. What is logged waits.
    pub held: Sender<()>,
}

/// Logs with [`logger`] what is of `level` and above. A panic is one line of it.
///
/// # Errors
/// As of [`logger`]; [`Error::Invalid`] if there is another logger already.
pub fn start(level: LevelFilter, file: Option<&Path>) -> Result<Started> {
    let (logger, started) = logger(level, file)?;
    log::set_boxed_logger(logger).map_err(|_| Error::invalid("logging has been started already"))?;
    log::set_max_level(level);
    // The client's thread logs what a handler's panic did; this line says where it was.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at {place}");
    }));
    Ok(started)
}

/// Sends log lines of `level` and above to standard output (in colour if it is a terminal), and to `file`, each by
/// a thread of its own. Each line names the thread that logged it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, or a thread cannot be started.
pub fn logger(level: LevelFilter, file: Option<&Path>) -> Result<(Box<dyn Log>, Started)> {
    let (held, holding) = crossbeam_channel::bounded(0);
    let (threads, file) = threads(level, file, &holding)?;
    Ok((Box::new(Lines(threads)), Started { file, held }))
}

/// Starts a thread for each place, and the way to the file among them.
fn threads(
    level: LevelFilter,
    file: Option<&Path>,
    holding: &Receiver<()>,
) -> Result<(Vec<LogThread>, Option<LogFile>)> {
    let mut config = ConfigBuilder::new();
    // The time and the thread are those of the moment at which something was logged.
    config.set_time_level(LevelFilter::Off).set_thread_level(LevelFilter::Off);
    config.set_target_level(LevelFilter::Off).set_location_level(LevelFilter::Off);
    let config = config.build();
    let to = |output: LogOutput| LogPlace {
        logger: WriteLogger::new(level, config.clone(), output.clone()),
        output: Some(output),
    };
    let mut threads = Vec::new();
    if level != LevelFilter::Off {
        let place = if io::stdout().is_terminal() {
            let logger = TermLogger::new(level, config.clone(), TerminalMode::Stdout, ColorChoice::Auto);
            LogPlace { logger, output: None }
        } else {
            to(LogOutput::stdout().map_err(Error::io("cannot write the log to standard output"))?)
        };
        let thread = LogThread::start("log", place, holding.clone());
        threads.push(thread.map_err(Error::io("cannot start the thread log"))?);
    }
    let Some(path) = file else { return Ok((threads, None)) };
    let doing = format!("cannot write the log file {}", path.display());
    let output = LogOutput::file(path).map_err(Error::io(doing))?;
    let thread = LogThread::start("log-file", to(output), holding.clone());
    let thread = thread.map_err(Error::io("cannot start the thread log-file"))?;
    let file = thread.file();
    threads.push(thread);
    Ok((threads, Some(file)))
}

/// Makes lines of what this crate logs, on the thread that logs.
struct Lines(Vec<LogThread>);

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("threadcast")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (now, thread) = (Local::now().format("%Y-%m-%d %H:%M:%S"), thread::current());
            let name = thread.name().unwrap_or_default();
            let line: Arc<str> = format!("{now} ({name}) {}", record.args()).into();
            self.0.iter().for_each(|thread| thread.write(record.level(), line.clone()));
        }
    }

    fn flush(&self) {
        self.0.iter().for_each(LogThread::flush);
    }
}

/// Returns `text` as it may go to a terminal or a log file: control characters and the invisible ones that
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
