//! A variant as a running process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::experiment::{Setup, in_ms};
use crate::failure::{Failure, While};
use crate::manifest::{Manifest, Variant};

/// The time limit for a server's port to accept connections.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// The pause between two looks at a port that does not accept yet.
const READY_PAUSE: Duration = Duration::from_millis(10);
/// The time for a crashing server to end after its connections did.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// A server; ends when this is dropped.
pub struct Server {
    child: Child,
    /// Its address.
    pub address: SocketAddr,
    /// Whether its clients use TLS.
    pub tls: bool,
    /// Its last line on stderr, written by the thread that reads them.
    last_words: Arc<Mutex<String>>,
    /// Disconnected when stderr has ended, and so the process.
    stderr_open: mpsc::Receiver<()>,
}

impl Server {
    /// Starts a variant, and waits until its port accepts connections.
    pub fn start(manifest: &Manifest, variant: &Variant, setup: &Setup) -> Result<Self, Failure> {
        let address = free_address()?;
        let mut command = manifest.command(&variant.command);
        command.arg(&variant.port).arg(address.port().to_string());
        command.arg("--interval").arg(in_ms(setup.interval));
        if setup.pad > 0 {
            command.arg("--pad").arg(setup.pad.to_string());
        }
        Self::spawn(command, address, variant.tls, &variant.name)
    }

    /// Starts a program that will listen at `address`, and waits until it accepts connections there. It ends with the
    /// calling thread, however that ends.
    pub fn spawn(command: Command, address: SocketAddr, tls: bool, name: &str) -> Result<Self, Failure> {
        let child = ending_with_us(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.doing(format!("start {name}"))?;
        let last_words = Arc::default();
        let (sender, stderr_open) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let last_words = Arc::clone(&last_words);
            thread::spawn(move || keep_last_line(BufReader::new(stderr), &last_words, sender));
        }
        let mut server = Self { child, address, tls, last_words, stderr_open };
        server.await_readiness()?;
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did: now, or within [`LAST_BREATH`] if `seems` is set.
    pub fn crash(&mut self, seems: bool) -> Option<String> {
        // Its connections and its stderr end a moment before the process does.
        let deadline = Instant::now() + LAST_BREATH;
        while seems && matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::park_timeout(READY_PAUSE);
        }
        let status = self.child.try_wait().ok()??;
        // Its last line may still be on its way.
        let _ = self.stderr_open.recv_timeout(LAST_BREATH);
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        Some(ending(status, &words))
    }

    fn await_readiness(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_DEADLINE;
        while TcpStream::connect(self.address).is_err() {
            if let Some(crash) = self.crash(false) {
                return Err(Failure::new(crash));
            }
            if Instant::now() > deadline {
                let seconds = READY_DEADLINE.as_secs();
                return Err(Failure::new(format!("its port was not open after {seconds} s")));
            }
            let _ = self.stderr_open.recv_timeout(READY_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the command as one that the kernel kills when the calling thread ends, for instance because somebody killed
/// its process. A server that stays would disturb every later measurement.
pub fn ending_with_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

/// The unexpected end of a process, and its last line.
fn ending(status: ExitStatus, words: &str) -> String {
    let end = if status.success() { "ended with status 0".to_owned() } else { format!("crashed: {status}") };
    if words.is_empty() { end } else { format!("{end}: {words}") }
}

/// A local address with a free port.
pub fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("find a free port")?;
    listener.local_addr().doing("find a free port")
}

/// Reads lines until the end, and keeps the last non-empty one. Drops `_open` at the end.
fn keep_last_line(lines: impl BufRead, last: &Mutex<String>, _open: mpsc::Sender<()>) {
    for line in lines.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_server_ends_with_the_thread_that_started_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo bound >&2; exec sleep 1000"]);
        // As if that thread's process had been killed: nobody drops the server.
        let started = thread::spawn(move || {
            let server = Server::spawn(command, address, false, "sleep").unwrap();
            let deadline = Instant::now() + READY_DEADLINE;
            while server.last_words.lock().unwrap().is_empty() {
                assert!(Instant::now() < deadline, "it has not begun");
                thread::park_timeout(READY_PAUSE);
            }
            std::mem::ManuallyDrop::new(server)
        });
        let server = started.join().unwrap();
        server.stderr_open.recv_timeout(READY_DEADLINE).expect_err("no message");
        let mut server = std::mem::ManuallyDrop::into_inner(server);
        assert_eq!(server.crash(true).as_deref(), Some("crashed: signal: 9 (SIGKILL): bound"));
    }

    #[test]
    fn only_what_fails_has_crashed() {
        for (status, words, expected) in [
            (0, "", "ended with status 0"),
            (0, "no more files", "ended with status 0: no more files"),
            (1 << 8, "", "crashed: exit status: 1"),
            (6, "told to crash", "crashed: signal: 6 (SIGABRT): told to crash"),
        ] {
            assert_eq!(ending(ExitStatus::from_raw(status), words), expected);
        }
    }
}
