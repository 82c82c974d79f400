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

use crossbeam_channel::{Receiver, bounded};
use threadcast::{Application, Connection, Error, Messages, Result, Server};

/// How long a process waits for its client, and a client for its process.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest line in one message; a longer one comes in pieces. Much less than half of
/// [`max_backlog`](Application::max_backlog), the part that `wait_for_room` leaves free.
const MAX_LINE: u64 = 64 << 10;
/// Lines that wait for the process.
const WAITING: usize = 64;

/// Ends the process when dropped, and waits for it: otherwise it stays in the system's table.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the client's thread until the client leaves. It blocks while the process does not read, which is how the client
/// learns to wait. Not for ever: as long as it blocks here, it does not see that the client has left, and answers no
/// Ping.
fn bridge(command: &[String], connection: &Connection, messages: &mut Messages) -> Result<()> {
    let mut spawned = Command::new(&command[0]);
    spawned.args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let doing = format!("cannot start {}", command[0]);
    let mut process = Process(spawned.spawn().map_err(Error::io(doing))?);
    let (stdin, stdout) = (process.0.stdin.take(), process.0.stdout.take());
    let (lines, waiting) = bounded(WAITING);
    let (id, own) = (connection.id(), connection.clone());
    Builder::new().name(format!("output-{id}")).spawn(move || print_to(&own, stdout))?;
    Builder::new().name(format!("input-{id}")).spawn(move || read_from(&waiting, stdin))?;
    for message in messages {
        // Closed before the process ends, which closes too.
        let Ok(line) = message?.into_text() else {
            return connection.close(Some(1003), Some("text only"));
        };
        if lines.send_timeout(line, PATIENCE).is_err() {
            return connection.close(Some(1013), Some("the program does not read"));
        }
    }
    Ok(())
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

/// Writes the client's messages, a line each. Ends with the process, or with the function above, which has the other end.
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
    let make = move || {
        let command = command.clone();
        move |connection: &Connection, messages: &mut Messages| bridge(&command, connection, messages)
    };
    let application = Application::new().websocket("/", make).max_message(MAX_LINE as usize);
    let server = Server::bind(address, application)?;
    println!("bridge is at ws://{}/", server.local_addr());
    server.join();
    Ok(())
}
