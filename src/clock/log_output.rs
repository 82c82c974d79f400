//! [`LogOutput`]: a place that takes whole lines of the log, and reports a failure. Only one of the threads
//! `log` and `log-file` uses it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;

use crate::clock::console;

/// A file, or standard output that is not a terminal. The logger that writes has one, and its thread another.
#[derive(Clone)]
pub struct LogOutput(Arc<Mutex<Output>>);

struct Output {
    file: File,
    /// Where the file can be opened again.
    path: Option<PathBuf>,
    /// The part of a line that has come.
    line: Vec<u8>,
    /// Whether a line lacks its end, so that the next one begins with it.
    is_torn: bool,
    /// Why a line was not written, or not all of it.
    failure: Option<Errno>,
}

impl LogOutput {
    /// Appends to standard output.
    ///
    /// # Errors
    /// If the system has no descriptor for it.
    pub fn stdout() -> io::Result<LogOutput> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(LogOutput::new(file, None))
    }

    /// Appends to a file.
    ///
    /// # Errors
    /// It cannot be opened, or not be written: a directory, a disk, a pipe that nobody reads.
    pub fn file(path: &Path) -> io::Result<LogOutput> {
        Ok(LogOutput::new(open(path, true)?, Some(path.to_owned())))
    }

    /// Tries whether [`file`](LogOutput::file) would work. Does not create the file: another user may be
    /// the one who will write.
    ///
    /// # Errors
    /// As [`file`](LogOutput::file).
    pub fn check(path: &Path) -> io::Result<()> {
        match open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Ok(access(parent.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
            }
            opened => opened.map(drop),
        }
    }

    fn new(file: File, path: Option<PathBuf>) -> LogOutput {
        LogOutput(Arc::new(Mutex::new(Output {
            file,
            path,
            line: Vec::new(),
            is_torn: false,
            failure: None,
        })))
    }

    /// Opens the file once more, by its name: the one that is open may have another name by now.
    ///
    /// # Errors
    /// As [`file`](LogOutput::file); the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        let mut output = self.lock();
        if let Some(path) = &output.path {
            output.file = open(path, true)?;
            output.is_torn = false;
        }
        Ok(())
    }

    /// Returns whether it is the log file, and not standard output.
    pub fn is_file(&self) -> bool {
        self.lock().path.is_some()
    }

    /// Returns an error if a line was not written, or not all of it, since the last call.
    pub fn take_failure(&self) -> io::Result<()> {
        self.lock().failure.take().map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A logger writes a line in pieces; the file gets it in one.
impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut output = self.lock();
        output.line.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            output.write_line();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn write_line(&mut self) {
        if self.is_torn {
            self.line.insert(0, b'\n');
        }
        let (written, ended) = console::write_whole(&self.file, &self.line);
        self.is_torn = ended.is_err() && (self.is_torn || written > 0);
        self.failure = ended.err().or(self.failure);
        self.line.clear();
    }
}

/// Does not wait for a reader, as a pipe with a name would.
fn open(path: &Path, create: bool) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a disk; choose a file"));
    }
    let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().create(create).append(true).custom_flags(without_waiting).open(path);
    let file = file.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => io::Error::new(
            error.kind(),
            "it is a pipe without a reader; start its reader first, or choose a file",
        ),
        _ => error,
    })?;
    // Only opening must not wait. The log's thread may wait for a full pipe.
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_out_whole_and_the_next_one_after_a_torn_one_begins_anew() {
        let (reader, writer) = io::pipe().unwrap();
        let mut output = LogOutput::new(File::from(std::os::fd::OwnedFd::from(writer)), None);
        output.lock().is_torn = true;
        for piece in ["INFO ", "one", "\n", "two\n"] {
            output.write_all(piece.as_bytes()).unwrap();
        }
        output.take_failure().unwrap();
        drop(output);
        assert_eq!(io::read_to_string(reader).unwrap(), "\nINFO one\ntwo\n");
    }

    #[test]
    fn what_is_not_written_is_noticed_once() {
        let mut output = LogOutput::file(Path::new("/dev/full")).unwrap();
        output.write_all(b"lost\n").unwrap();
        assert_eq!(output.take_failure().unwrap_err().kind(), io::ErrorKind::StorageFull);
        output.take_failure().unwrap();
    }
}
