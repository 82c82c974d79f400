//! A restart without a supervisor, at SIGUSR2. This program starts its successor, hands over its sockets, serves until
//! the successor does, and then drains. On the thread `threadcast`; `successor` waits for the new process.
//!
//! The two share a socket pair, which is the standard input of the new process. The old process sends its listening
//! sockets; the new one answers with a line, [`SERVES`] or an error. If the new process dies, the old one sees the end
//! of the pair.

use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Write, stdin};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::getppid;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level;

use crate::clock::notify;
use threadcast::{Error, Result, printable};

/// Set to the number of the process before this one, which is its parent.
const PREDECESSOR: &str = "THREADCAST_PREDECESSOR";
/// The new process writes this when it serves.
const SERVES: &str = "serves\n";
/// How long it may take until then: as long as systemd would wait.
const START: Duration = Duration::from_secs(90);
/// Sockets that are handed on, at most.
const SOCKETS: usize = 2;
/// Of a supervisor, which has not started the new process.
const OF_A_SUPERVISOR: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"];

/// The process that has started this one to take its place.
pub struct Predecessor {
    stream: UnixStream,
    /// Its number.
    pub process: u32,
}

impl Predecessor {
    /// Returns it, if there is one.
    pub fn find() -> Option<Predecessor> {
        let process = env::var(PREDECESSOR).ok()?.parse().ok()?;
        let is_parent = getppid().is_some_and(|parent| parent.as_raw_nonzero().get() as u32 == process);
        let stream = stdin().as_fd().try_clone_to_owned().ok().filter(|_| is_parent)?;
        Some(Predecessor { stream: stream.into(), process })
    }

    /// Returns the sockets that it hands on.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not.
    pub fn sockets(&self) -> Result<Vec<TcpListener>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.stream, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC);
        received.map_err(|errno| {
            Error::io("cannot take over the sockets of the process before this one")(errno.into())
        })?;
        let messages = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets.map(TcpListener::from)),
            _ => None,
        });
        Ok(messages.flatten().collect())
    }

    /// Says that this process serves. The other one drains then.
    pub fn leave(&self) {
        self.say(SERVES);
    }

    /// Says why this process does not serve.
    pub fn tell(&self, error: impl Display) {
        self.say(&format!("{}\n", printable(error)));
    }

    fn say(&self, line: &str) {
        // If it is gone, this process goes on without it.
        let _ = (&self.stream).write_all(line.as_bytes());
    }
}

/// The restart, if there is one.
#[derive(Clone, Default)]
pub struct Succession(Arc<Mutex<Successor>>);

#[derive(Default)]
enum Successor {
    #[default]
    None,
    /// It has not said that it serves.
    Starting(Child),
    Serves,
}

impl Succession {
    fn successor(&self) -> MutexGuard<'_, Successor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the successor, unless one is starting. Logs the outcome; when the successor serves, this process gets
    /// SIGTERM.
    pub fn begin(&self, sockets: Result<Vec<TcpListener>>) {
        if let Err(error) = self.start(sockets) {
            log::error!("cannot restart at SIGUSR2: {error}");
        }
    }

    fn start(&self, sockets: Result<Vec<TcpListener>>) -> Result<()> {
        let mut successor = self.successor();
        if !matches!(*successor, Successor::None) {
            log::info!("ignoring a SIGUSR2, since the successor is still starting");
            return Ok(());
        }
        if env::var_os(notify::SOCKET).is_some_and(|socket| !socket.is_empty()) {
            return Err(Error::invalid(
                "a supervisor started this program, and would lose track of the successor; use systemctl restart",
            ));
        }
        if process::id() == 1 {
            return Err(Error::invalid("a container ends with its first process; start another container"));
        }
        let (own, theirs) = UnixStream::pair().map_err(Error::io("cannot make a pair of sockets"))?;
        own.set_read_timeout(Some(START)).map_err(Error::io("cannot set a time limit"))?;
        let child = spawn(&own, theirs.into(), &sockets?)?;
        log::info!("process {} starts, to replace this one", child.id());
        *successor = Successor::Starting(child);
        drop(successor);
        let succession = self.clone();
        let waiting = thread::Builder::new().name("successor".to_owned()).spawn(move || succession.wait(own));
        if let Err(error) = waiting {
            self.abandon();
            return Err(Error::io("cannot start the thread successor")(error));
        }
        Ok(())
    }

    /// Blocks until the successor serves, or fails.
    fn wait(&self, stream: UnixStream) {
        let mut line = String::new();
        let read = BufReader::new(stream).read_line(&mut line);
        let mut successor = self.successor();
        // Otherwise it has been abandoned.
        let Successor::Starting(child) = &mut *successor else { return };
        if line == SERVES {
            log::info!("process {} serves: this one drains", child.id());
            *successor = Successor::Serves;
            drop(successor);
            // `threadcast` waits for a signal.
            let _ = low_level::raise(SIGTERM);
            return;
        }
        if read.is_err() {
            line = format!("it did not serve within {} s", START.as_secs());
            let _ = child.kill();
        }
        let status = child.wait();
        if line.is_empty() {
            line = status.map_or_else(|error| error.to_string(), |status| format!("it ended with {status}"));
        }
        log::error!("the successor failed, so this process keeps serving: {}", line.trim_end());
        *successor = Successor::None;
    }

    /// Returns whether the successor serves. One that does not is ended.
    pub fn end(&self) -> bool {
        self.abandon();
        matches!(*self.successor(), Successor::Serves)
    }

    fn abandon(&self) {
        let mut successor = self.successor();
        if let Successor::Starting(child) = &mut *successor {
            let _ = child.kill();
            let _ = child.wait();
            *successor = Successor::None;
        }
    }
}

/// Starts this program again, with the same arguments.
fn spawn(own: &UnixStream, theirs: OwnedFd, sockets: &[TcpListener]) -> Result<Child> {
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    // It waits in the pair until it is read.
    let sent = sendmsg(own, &[IoSlice::new(b"\n")], &mut control, SendFlags::NOSIGNAL);
    sent.map_err(|errno| Error::io("cannot hand on the sockets")(errno.into()))?;
    let path = env::current_exe().map(|path| replaced(path.into_os_string()));
    let path = path.map_err(Error::io("cannot find the program's file"))?;
    let mut command = Command::new(&path);
    let mut args = env::args_os();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    OF_A_SUPERVISOR.iter().for_each(|name| _ = command.env_remove(name));
    command.args(args).env(PREDECESSOR, process::id().to_string()).stdin(theirs);
    command.spawn().map_err(Error::io(format!("cannot start {}", path.display())))
}

/// Returns where the program's file was, if an upgrade has put another one there.
fn replaced(path: OsString) -> PathBuf {
    const DELETED: &[u8] = b" (deleted)";
    let mut bytes = path.into_vec();
    if bytes.ends_with(DELETED) {
        bytes.truncate(bytes.len() - DELETED.len());
    }
    OsString::from_vec(bytes).into()
}
