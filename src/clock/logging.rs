//! Where log lines go, and what may be in them.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::{panic, thread};

use chrono::Local;
use crossbeam_channel::{Receiver, Sender};
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ColorChoice, Config, ConfigBuilder, TermLogger, TerminalMode, WriteLogger};

use crate::clock::log_output::LogOutput;
use crate::clock::log_thread::{self, LogFile, LogPlace, LogThread};
use threadcast::{Error, Result, printable};

/// Most characters of a line. Must be more than those of an Id and of a message together, all escaped.
const LINE: usize = 8192;
/// The target of lines that are written at every level.
const ALWAYS: &str = "threadcast::always";

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
    Ok((Box::new(Lines { threads, late: OnceLock::new() }), Started { file, held }))
}

/// Writes a line, whatever the level: somebody has asked for it.
pub fn print(what: impl Display) {
    let mut record = Record::builder();
    log::logger().log(&record.level(Level::Info).target(ALWAYS).args(format_args!("{what}")).build());
}

/// Returns the most bytes that the lines may take which wait to be written.
pub fn memory(level: LevelFilter, file: Option<&Path>) -> u64 {
    let places = u64::from(level != LevelFilter::Off) + u64::from(file.is_some());
    places * log_thread::WAITING as u64
}

/// What a line has beside its text. Which lines there are is decided before they come to a place.
fn config() -> Config {
    let mut config = ConfigBuilder::new();
    // The time and the thread are those of the moment at which something was logged.
    config.set_time_level(LevelFilter::Off).set_thread_level(LevelFilter::Off);
    config.set_target_level(LevelFilter::Off).set_location_level(LevelFilter::Off);
    config.build()
}

fn place(output: LogOutput) -> LogPlace {
    LogPlace { logger: WriteLogger::new(LevelFilter::Trace, config(), output.clone()), output: Some(output) }
}

/// Starts the thread for standard output.
fn stdout_thread(holding: Receiver<()>) -> Result<LogThread> {
    let place = if io::stdout().is_terminal() {
        let level = LevelFilter::Trace;
        let logger = TermLogger::new(level, config(), TerminalMode::Stdout, ColorChoice::Auto);
        LogPlace { logger, output: None }
    } else {
        place(LogOutput::stdout().map_err(Error::io("cannot write the log to standard output"))?)
    };
    LogThread::start("log", place, holding).map_err(Error::io("cannot start the thread log"))
}

/// Starts a thread for each place, and the way to the file among them.
fn threads(
    level: LevelFilter,
    file: Option<&Path>,
    holding: &Receiver<()>,
) -> Result<(Vec<LogThread>, Option<LogFile>)> {
    let mut threads = Vec::new();
    if level != LevelFilter::Off {
        threads.push(stdout_thread(holding.clone())?);
    }
    let Some(path) = file else { return Ok((threads, None)) };
    let doing = format!("cannot write the log file {}", path.display());
    let output = LogOutput::file(path).map_err(Error::io(doing))?;
    let thread = LogThread::start("log-file", place(output), holding.clone());
    let thread = thread.map_err(Error::io("cannot start the thread log-file"))?;
    let file = thread.file();
    threads.push(thread);
    Ok((threads, Some(file)))
}

/// Makes lines of what this crate logs, on the thread that logs.
struct Lines {
    threads: Vec<LogThread>,
    /// Started by the first line that is to be written though nothing is logged.
    late: OnceLock<Option<LogThread>>,
}

impl Lines {
    fn places(&self) -> &[LogThread] {
        // Nobody holds it back.
        let late = || stdout_thread(crossbeam_channel::bounded(0).1).ok();
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
            let (now, thread) = (Local::now().format("%Y-%m-%d %H:%M:%S"), thread::current());
            let name = thread.name().unwrap_or_default();
            // Here too, since each line is: a text that somebody forgot to escape forges no other.
            let line = format!("{now} ({name}) {}", printable(record.args()).at_most(LINE));
            let line: Arc<str> = line.into();
            self.places().iter().for_each(|thread| thread.write(record.level(), line.clone()));
        }
    }

    fn flush(&self) {
        self.threads.iter().chain(self.late.get().into_iter().flatten()).for_each(LogThread::flush);
    }
}
