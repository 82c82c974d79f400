//! Writes to standard output and standard error, and to the places of the log. Writes everything, even if the file is
//! non-blocking (another process that shares it may have set O_NONBLOCK).
//!
//! Blocks in `poll` while nobody reads.

use std::fmt::Display;
use std::fs;
use std::io::{stderr, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

use log::Level;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};
use threadcast::printable;

use crate::clock::log_line::Style;
use crate::clock::options::logging::LogFormat;

/// Writes bytes, and returns how many: all, unless the file takes no more, for the reason that is also returned.
pub fn write_whole(file: impl AsFd, bytes: &[u8]) -> (usize, Result<(), Errno>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match write(&file, rest) {
            Ok(written) if written > 0 => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for_room(&file),
            failed => return (bytes.len() - rest.len(), Err(failed.err().unwrap_or(Errno::IO))),
        }
    }
    (bytes.len(), Ok(()))
}

/// Blocks until the file takes something, or has failed: then the next write says so.
pub fn wait_for_room(file: impl AsFd) {
    while poll(&mut [PollFd::new(&file, PollFlags::OUT)], None) == Err(Errno::INTR) {}
}

/// Prints a text as it is. Never panics because the reader has gone away, nor do the functions below.
pub fn print_text(text: &str) {
    let _ = write_whole(stdout(), text.as_bytes());
}

/// The format of lines. Lines are plain until it is set, since mistakes in the options are reported before that.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Sets the format of the program's own lines: that of the log.
pub fn set_format(format: LogFormat) {
    let _ = FORMAT.set(format);
}

/// Prints a line on standard output.
pub fn say(text: &str) {
    write_line(stdout(), Level::Info, text);
}

/// Prints one line on standard error.
pub fn complain(what: impl Display) {
    write_line(stderr(), Level::Error, &printable(what).to_string());
}

/// Prints a warning on standard error; the program goes on.
pub fn warn(what: impl Display) {
    write_line(stderr(), Level::Warn, &format!("threadcast: warning: {}", printable(what)));
}

fn write_line(stream: impl AsFd, level: Level, text: &str) {
    let style = Style::of_stream(*FORMAT.get().unwrap_or(&LogFormat::Plain), &stream);
    let line = format!("{}{}\n", style.priority(level), style.own(level, text));
    let _ = write_whole(stream, line.as_bytes());
}

/// Warns of a file with a secret in it that every user of this machine may read.
pub fn warn_if_others_may_read(file: &Path, what: &str) {
    const OTHERS_READ: u32 = 0o004;
    if fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0) {
        let file = file.display();
        warn(format_args!("every user of this machine may read the {what} {file}: chmod o= {file}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread;

    use super::*;

    #[test]
    fn a_pipe_that_does_not_wait_gets_all_of_it() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        // More than a pipe takes.
        let bytes = vec![b'x'; 1 << 20];
        thread::scope(|scope| {
            let written = scope.spawn(|| write_whole(&writer, &bytes));
            let mut read = vec![0; bytes.len()];
            reader.read_exact(&mut read).unwrap();
            assert_eq!((written.join().unwrap(), read == bytes), ((bytes.len(), Ok(())), true));
        });
        drop(reader);
        assert_eq!(write_whole(&writer, b"nobody reads this"), (0, Err(Errno::PIPE)));
    }
}
