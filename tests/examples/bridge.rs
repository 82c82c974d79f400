//! A bridge to a program: one process for each client. Its output lines become messages, and messages become lines of
//! its input.
//!
//!     cargo run --example bridge -- 127.0.0.1:8888 bc
//!
//! Three threads for each client, so that none waits for another: `client-N` reads messages, one reads the process's
//! output, one writes its input.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use threadcast::{Application, Connection, Error, Exchange, Message, Result, Server, WebSocketHandler};

/// How long a process waits for its client, and a client for its process.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest line in one message; a longer one comes in pieces. Much less than half of
/// [`max_backlog`](Application::max_backlog), the part that `wait_for_room` leaves free.
const MAX_LINE: u64 = 64 << 10;
/// Lines that wait for the process.
const WAITING: usize = 64;

struct Bridge {
    command: Arc<[String]>,
    /// Both from `open` on. Dropped with this handler, which is when the client has left.
    running: Option<(Process, Sender<String>)>,
}

/// Ends the process when dropped, and waits for it: otherwise it stays in the system's table.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl WebSocketHandler for Bridge {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let doing = format!("cannot start {}", self.command[0]);
        let mut process = Process(command.spawn().map_err(Error::io(doing))?);
        let (stdin, stdout) = (process.0.stdin.take(), process.0.stdout.take());
        let (sender, lines) = bounded(WAITING);
        self.running = Some((process, sender));
        let (id, connection) = (connection.id(), connection.clone());
        Builder::new().name(format!("output-{id}")).spawn(move || print_to(&connection, stdout))?;
        Builder::new().name(format!("input-{id}")).spawn(move || read_from(&lines, stdin))?;
        Ok(())
    }

    /// Blocks while the process does not read, which is how the client learns to wait. Not for ever: as long as
    /// this thread is here, it does not see that the client has left, and answers no Ping.
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let Some((_, lines)) = &self.running else { return Ok(()) };
        let Ok(line) = message.into_text() else {
            return connection.close(Some(1003), Some("text only"));
        };
        match lines.send_timeout(line, PATIENCE) {
            Ok(()) => Ok(()),
            Err(_) => connection.close(Some(1013), Some("the program does not read")),
        }
    }
}

/// Sends the process's output, at the client's pace, so that no process is too fast for its client. While this waits,
/// the process does too, once its pipe is full. Ends when the process closes its output, or the client leaves.
fn print_to(connection: &Connection, stdout: Option<ChildStdout>) {
    let mut stdout = BufReader::new(stdout.expect("is piped"));
    let mut line = Vec::new();
    loop {
        line.clear();
        // An error of a pipe is its end.
        let length = (&mut stdout).take(MAX_LINE).read_until(b'\n', &mut line).unwrap_or(0);
        if length == 0 {
            let _ = connection.close(Some(1000), Some("the program has ended"));
            return;
        }
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
        if connection.wait_for_room(PATIENCE).and_then(|()| connection.write_message(text)).is_err() {
            // It fails if the client has gone; otherwise the client took nothing for that long.
            let _ = connection.close(Some(1013), Some("too slow"));
            return;
        }
    }
}

/// Writes the client's messages, a line each. Ends with the process, or with the handler, which has the other end.
fn read_from(lines: &Receiver<String>, stdin: Option<ChildStdin>) {
    let mut stdin = stdin.expect("is piped");
    for line in lines {
        if writeln!(stdin, "{line}").is_err() {
            return;
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (address, command) = (arguments.next(), arguments.collect::<Arc<[String]>>());
    let (Some(address), false) = (address, command.is_empty()) else {
        return Err(Error::invalid("usage: bridge ADDRESS PROGRAM [ARGUMENT]..."));
    };
    // Pages of other sites are refused, as by every handler that does not say otherwise: who else could use them?
    let make = move || Bridge { command: command.clone(), running: None };
    let server =
        Server::bind(address, Application::new().websocket("/", make).max_message(MAX_LINE as usize))?;
    println!("bridge is at ws://{}/", server.local_addr());
    server.join();
    Ok(())
}
