//! [`LogThread`]: the threads `log` and `log-file`, each of which writes the log to one place.
//!
//! Blocks in a channel, and in `write`: a terminal that is paused, a pipe that nobody reads or a slow disk
//! holds up this thread, and nobody who has something to log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use crossbeam_channel::{Receiver, Sender};
use log::{Level, Record};
use simplelog::SharedLogger;

/// Lines that may wait for one place. What is more is lost, and counted.
const WAITING: usize = 16_384;
/// How long the end of the program waits for lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// What such a thread is told.
enum Entry {
    Line(Level, Arc<str>),
    /// All lines before it are written when this is dropped.
    Flush(#[expect(dead_code, reason = "its end is the message")] Sender<()>),
}

/// The way to one place.
pub struct LogThread {
    entries: Sender<Entry>,
    lost: Arc<AtomicU64>,
}

impl LogThread {
    /// Starts the thread, which writes with `logger`. It runs as long as the program.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(name: &str, logger: Box<dyn SharedLogger>) -> io::Result<LogThread> {
        let (entries, to_write) = crossbeam_channel::unbounded();
        let lost = Arc::new(AtomicU64::new(0));
        let counter = lost.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || run(&*logger, &to_write, &counter))?;
        Ok(LogThread { entries, lost })
    }

    /// Leaves a line to the thread, if there is room.
    pub fn write(&self, level: Level, line: Arc<str>) {
        if self.entries.len() >= WAITING || self.entries.send(Entry::Line(level, line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Blocks until all lines are written, or a second has passed.
    pub fn flush(&self) {
        let (written, wait) = crossbeam_channel::bounded(0);
        let _ = self.entries.send(Entry::Flush(written));
        let _ = wait.recv_deadline(Instant::now() + FLUSH);
    }
}

fn run(logger: &dyn SharedLogger, entries: &Receiver<Entry>, lost: &AtomicU64) {
    let write = |level, line: &str| {
        let record = |line| Record::builder().level(level).args(line).build();
        logger.log(&record(format_args!("{line}")));
    };
    for entry in entries {
        let Entry::Line(level, line) = entry else { continue };
        write(level, &line);
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            write(Level::Warn, &format!("{lost} lines are lost, which could not be written in time"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use log::{LevelFilter, Log, Metadata};
    use simplelog::Config;

    use super::*;

    /// A place that takes nothing while its lock is held.
    struct Place(Arc<Mutex<Vec<String>>>);

    impl Log for Place {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }

        fn flush(&self) {}
    }

    impl SharedLogger for Place {
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
        let log = LogThread::start("log", Box::new(Place(lines.clone()))).unwrap();
        let blocked = lines.lock().unwrap();
        (0..WAITING + 100).for_each(|_| log.write(Level::Info, "x".into()));
        drop(blocked);
        // On a slow machine one flush may give up.
        (0..60).take_while(|_| lines.lock().unwrap().len() <= WAITING).for_each(|_| log.flush());
        log.flush();
        let lines = lines.lock().unwrap();
        let (lost, written): (Vec<_>, Vec<_>) = lines.iter().partition(|line| *line != "x");
        // The thread may hold one line already.
        assert!((WAITING..=WAITING + 1).contains(&written.len()), "{}", written.len());
        let expected =
            format!("{} lines are lost, which could not be written in time", WAITING + 100 - written.len());
        assert_eq!(lost, [&expected]);
    }
}
