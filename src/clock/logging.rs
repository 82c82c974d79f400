//! The destinations and the content of log lines.

use std::fmt::{Arguments, Display};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::{panic, thread};

use chrono::Local;
use crossbeam_channel::{Receiver, Sender};
use log::kv::Value;
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ColorChoice, Config, ConfigBuilder, TermLogger, TerminalMode, WriteLogger};

use crate::clock::log_line::{self, Style};
use crate::clock::log_output::LogOutput;
use crate::clock::log_thread::{self, LogFile, LogPlace, LogThread};
use crate::clock::options::logging::{LogFormat, LogOptions};
use threadcast::{Error, Result, printable};

/// Most characters of a line. Must be more than those of an Id and of a message together, all escaped.
const LINE: usize = 8192;
/// The target of lines that are written at every level.
const ALWAYS: &str = "threadcast::always";

/// The log of this program.
pub struct Started {
    /// The way to the log file, if there is one.
    pub file: Option<LogFile>,
    /// While it is kept nothing is written, so that something else comes first. Log lines wait.
    pub held: Sender<()>,
}

/// Logs with [`logger`] as the options say. A panic is one line of it.
///
/// # Errors
/// As of [`logger`]; [`Error::Invalid`] if there is another logger already.
pub fn start(options: &LogOptions) -> Result<Started> {
    let level = options.logging.filter();
    let (logger, started) = logger(options)?;
    log::set_boxed_logger(logger).map_err(|_| Error::invalid("logging has already started"))?;
    log::set_max_level(level);
    // The client's thread logs what a handler's panic did; this line says where it was.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at {place}");
    }));
    Ok(started)
}

/// Sends log lines of the level and above to standard output (in colour if it is a terminal), and to the file,
/// each by its own thread. Each line names the thread that logged it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, or a thread cannot be started.
pub fn logger(options: &LogOptions) -> Result<(Box<dyn Log>, Started)> {
    let (held, holding) = crossbeam_channel::bounded(0);
    let (threads, file) = threads(options, &holding)?;
    let format = options.log_format;
    Ok((Box::new(Lines { threads, late: OnceLock::new(), format }), Started { file, held }))
}

/// Writes a line that somebody has asked for, at any level.
pub fn print_line(what: impl Display) {
    always(Level::Info, format_args!("{what}"), &[]);
}

/// Writes a line with fields, which JSON has, whatever `--logging` is.
pub fn always(level: Level, what: Arguments<'_>, fields: &[(&str, Value<'_>)]) {
    let mut record = Record::builder();
    log::logger().log(&record.level(level).target(ALWAYS).key_values(&fields).args(what).build());
}

/// Returns the most bytes of lines that may wait to be written.
pub fn memory(options: &LogOptions) -> u64 {
    let places = u64::from(has_stdout(options)) + u64::from(options.log_file.is_some());
    places * log_thread::WAITING as u64
}

/// Returns whether all lines go to standard output, and not only those that somebody asks for.
fn has_stdout(options: &LogOptions) -> bool {
    options.logging.filter() != LevelFilter::Off || options.access_log
}

/// Checks whether the log file could be written, without creating it.
///
/// # Errors
/// [`Error::Io`] if it could not.
pub fn check_log_file(file: &Path) -> Result<()> {
    LogOutput::check(file).map_err(Error::io(doing(file)))
}

fn doing(file: &Path) -> String {
    format!("cannot write the log file {}", file.display())
}

/// Configures the fields of a line beside its text. Lines are filtered before they come to a place.
fn config(style: Style) -> Config {
    let mut config = ConfigBuilder::new();
    // The time and the thread are those of the moment at which something was logged.
    config.set_time_level(LevelFilter::Off).set_thread_level(LevelFilter::Off);
    config.set_target_level(LevelFilter::Off).set_location_level(LevelFilter::Off);
    if !style.leaves_level_to_logger() {
        config.set_max_level(LevelFilter::Off);
    }
    config.build()
}

fn place(output: LogOutput, style: Style) -> LogPlace {
    let logger = WriteLogger::new(LevelFilter::Trace, config(style), output.clone());
    LogPlace { logger, output: Some(output), style }
}

/// Starts the thread for standard output.
fn stdout_thread(format: LogFormat, holding: Receiver<()>) -> Result<LogThread> {
    let style = Style::of_stream(format, io::stdout());
    let place = if io::stdout().is_terminal() {
        let level = LevelFilter::Trace;
        let logger = TermLogger::new(level, config(style), TerminalMode::Stdout, ColorChoice::Auto);
        LogPlace { logger, output: None, style }
    } else {
        let output = LogOutput::stdout().map_err(Error::io("cannot write the log to standard output"))?;
        place(output, style)
    };
    LogThread::start("log", place, holding).map_err(Error::io("cannot start the thread log"))
}

/// Starts a thread for each place. Returns a handle to the log file too, if there is one.
fn threads(options: &LogOptions, holding: &Receiver<()>) -> Result<(Vec<LogThread>, Option<LogFile>)> {
    let (mut threads, format) = (Vec::new(), options.log_format);
    if has_stdout(options) {
        threads.push(stdout_thread(format, holding.clone())?);
    }
    let Some(path) = options.log_file.as_deref() else { return Ok((threads, None)) };
    let output = LogOutput::file(path).map_err(Error::io(doing(path)))?;
    let thread = LogThread::start("log-file", place(output, Style::of_file(format)), holding.clone());
    let thread = thread.map_err(Error::io("cannot start the thread log-file"))?;
    let file = thread.file();
    threads.push(thread);
    Ok((threads, Some(file)))
}

/// Makes lines of what this crate logs, on the thread that logs.
struct Lines {
    threads: Vec<LogThread>,
    /// Started by the first line that must be written although logging is off.
    late: OnceLock<Option<LogThread>>,
    format: LogFormat,
}

impl Lines {
    fn places(&self) -> &[LogThread] {
        // Nobody holds it back.
        let late = || stdout_thread(self.format, crossbeam_channel::bounded(0).1).ok();
        if self.threads.is_empty() { self.late.get_or_init(late).as_slice() } else { &self.threads }
    }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_asked_for = metadata.target() == ALWAYS;
        is_asked_for || metadata.level() <= log::max_level() && metadata.target().starts_with("threadcast")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (now, thread) = (Local::now(), thread::current());
            let name = thread.name().unwrap_or_default();
            // Here too, since each line is: a text that somebody forgot to escape forges no other.
            let text = printable(record.args()).at_most(LINE).to_string();
            let line =
                log_line::format_record(self.format, now, record.level(), name, &text, record.key_values());
            let line: Arc<str> = line.into();
            self.places().iter().for_each(|thread| thread.write(record.level(), line.clone()));
        }
    }

    fn flush(&self) {
        self.threads.iter().chain(self.late.get().into_iter().flatten()).for_each(LogThread::flush);
    }
}
