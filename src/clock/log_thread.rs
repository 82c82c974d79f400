//! [`LogThread`]: the threads `log` and `log-file`, each of which writes the log to one place.
//!
//! Blocks in a channel, and in `write`: a paused terminal, a pipe that nobody reads or a slow disk holds up this
//! thread, but not the threads that log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use crossbeam_channel::{Receiver, Sender};
use log::{Level, Record};
use simplelog::SharedLogger;

use crate::clock::console;
use crate::clock::log_line::Style;
use crate::clock::log_output::LogOutput;

/// Bytes of lines that may wait for one place. Lines beyond that are lost, and counted.
pub const WAITING: usize = 4 << 20;
/// Bytes that a line takes beside its text: its place in the channel, and its counters.
const BESIDE: usize = 64;
/// How long the end of the program waits for lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// Between two lines about a log file that cannot be written.
const AGAIN: Duration = Duration::from_secs(60);

/// Lines that a place did not get, since the start. Written by the threads that log and by those that write.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines were lost so far, in all places.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// An entry of such a thread's queue.
enum Entry {
    Line(Level, Arc<str>),
    /// The lines from here on go to the file that has the name now.
    Reopen,
    /// All lines before it are written when this is dropped.
    Flush(#[expect(dead_code, reason = "its end is the message")] Sender<()>),
}

/// Where lines go.
pub struct LogPlace {
    /// Makes a line of a record.
    pub logger: Box<dyn SharedLogger>,
    /// Where the logger writes, if it can tell what failed.
    pub output: Option<LogOutput>,
    /// The style of its lines.
    pub style: Style,
}

/// The way to one place.
pub struct LogThread {
    entries: Sender<Entry>,
    /// Bytes of lines that wait. Added to by the threads that log, taken off by the one that writes.
    waiting: Arc<AtomicUsize>,
    /// Lines that were lost for want of room, and that the log has not reported yet.
    untold: Arc<AtomicU64>,
}

/// A handle to the log file, to reopen it.
#[derive(Clone)]
pub struct LogFile(Sender<Entry>);

impl LogFile {
    /// Asks for the file to be opened once more, by its name, when the lines before are written.
    pub fn reopen(&self) {
        let _ = self.0.send(Entry::Reopen);
    }
}

impl LogThread {
    /// Starts the thread, which begins to write when `held` has no sender any more. It runs as long as the program.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(name: &str, place: LogPlace, held: Receiver<()>) -> io::Result<LogThread> {
        let (entries, to_write) = crossbeam_channel::unbounded();
        let (untold, waiting) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counter, bytes) = (untold.clone(), waiting.clone());
        let run = move || {
            // Nothing is ever sent.
            let _ = held.recv();
            run(&place, &to_write, &bytes, &counter);
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(LogThread { entries, waiting, untold })
    }

    /// Leaves a line to the thread, if there is room.
    pub fn write(&self, level: Level, line: Arc<str>) {
        let bytes = size(&line);
        let has_room = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= WAITING;
        if !has_room || self.entries.send(Entry::Line(level, line)).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.untold.fetch_add(1, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Blocks until all lines are written, or a second has passed.
    pub fn flush(&self) {
        let (written, wait) = crossbeam_channel::bounded(0);
        let _ = self.entries.send(Entry::Flush(written));
        let _ = wait.recv_deadline(Instant::now() + FLUSH);
    }

    /// Returns the way to the file that it writes.
    pub fn file(&self) -> LogFile {
        LogFile(self.entries.clone())
    }
}

/// Returns how many bytes a line takes while it waits.
fn size(line: &str) -> usize {
    line.len() + BESIDE
}

fn run(place: &LogPlace, entries: &Receiver<Entry>, waiting: &AtomicUsize, untold: &AtomicU64) {
    let (mut is_stale, mut outage) = (false, Outage::default());
    for entry in entries {
        if let Entry::Line(_, line) = &entry {
            waiting.fetch_sub(size(line), Ordering::Relaxed);
        }
        match entry {
            Entry::Flush(_) => {}
            Entry::Reopen => is_stale = !reopen(place, is_stale),
            Entry::Line(level, line) => match place.write(level, &line) {
                Ok(()) => {
                    outage.ends();
                    let lost = untold.swap(0, Ordering::Relaxed);
                    let told = format!("{lost} lines were lost, because the log could not take them");
                    let told = place.style.own(Level::Warn, &told);
                    if lost > 0 && place.write(Level::Warn, &told).is_err() {
                        untold.fetch_add(lost, Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    untold.fetch_add(1, Ordering::Relaxed);
                    LOST.fetch_add(1, Ordering::Relaxed);
                    if place.output.as_ref().is_some_and(LogOutput::is_file) {
                        outage.goes_on(&error);
                    }
                }
            },
        }
    }
}

/// A time in which the log file cannot be written. Standard output then says so: at the beginning, at the end, and once
/// a minute between.
#[derive(Default)]
struct Outage {
    /// When the log said so last, also of an outage that has ended: a file on a full disk may take every other line.
    told: Option<Instant>,
    is_told: bool,
}

impl Outage {
    fn goes_on(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= AGAIN) {
            (self.told, self.is_told) = (Some(Instant::now()), true);
            log::error!("cannot write the log file, so it loses lines: {error}");
        }
    }

    fn ends(&mut self) {
        if std::mem::take(&mut self.is_told) {
            log::error!("the log file takes lines again");
        }
    }
}

/// Returns whether the file has been opened. `is_stale`: whether it could not be the last time, and the log has said so.
fn reopen(place: &LogPlace, is_stale: bool) -> bool {
    let Some(output) = &place.output else { return true };
    let opened = output.reopen();
    match &opened {
        Ok(()) if is_stale => log::error!("reopened the log file"),
        Ok(()) => log::info!("reopened the log file"),
        Err(error) => log::error!("cannot reopen the log file; still writing to the old one: {error}"),
    }
    opened.is_ok()
}

impl LogPlace {
    /// Writes a line.
    ///
    /// # Errors
    /// As the system says, if the place has not taken all of it.
    fn write(&self, level: Level, line: &str) -> io::Result<()> {
        if self.output.is_none() {
            console::wait_for_room(io::stdout());
        }
        // One statement, since its arguments live no longer.
        let before = self.style.before(level);
        self.logger.log(&Record::builder().level(level).args(format_args!("{before}{line}")).build());
        self.output.as_ref().map_or(Ok(()), LogOutput::take_failure)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use log::{LevelFilter, Log, Metadata};
    use simplelog::Config;

    use super::*;
    use crate::clock::options::logging::LogFormat;

    /// A place that takes nothing while its lock is held.
    struct Memory(Arc<Mutex<Vec<String>>>);

    impl Log for Memory {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }

        fn flush(&self) {}
    }

    impl SharedLogger for Memory {
        fn level(&self) -> LevelFilter {
            LevelFilter::Info
        }

        fn config(&self) -> Option<&Config> {
            None
        }

        fn as_log(self: Box<Self>) -> Box<dyn Log> {
            self
        }
    }

    #[test]
    fn what_a_place_does_not_take_is_lost_and_counted_and_nobody_waits() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let place = LogPlace {
            logger: Box::new(Memory(lines.clone())),
            output: None,
            style: Style::of_file(LogFormat::Plain),
        };
        let log = LogThread::start("log", place, crossbeam_channel::bounded(0).1).unwrap();
        let blocked = lines.lock().unwrap();
        // Of any length: it is bytes that are counted. One more is in the hands of the thread.
        let line: Arc<str> = "x".repeat(4000).into();
        let room = WAITING / size(&line);
        (0..room + 100).for_each(|_| log.write(Level::Info, line.clone()));
        drop(blocked);
        // On a slow machine one flush may give up.
        (0..60).take_while(|_| lines.lock().unwrap().len() <= room).for_each(|_| log.flush());
        log.flush();
        let lines = lines.lock().unwrap();
        let (lost, written): (Vec<_>, Vec<_>) = lines.iter().partition(|line| !line.starts_with('x'));
        assert!((room..=room + 1).contains(&written.len()), "{}", written.len());
        let expected =
            format!("{} lines were lost, because the log could not take them", room + 100 - written.len());
        assert_eq!(lost, [&expected]);
    }
}
