//! A command-line client: an input line is a message, and a message is an output line.
//!
//!     cargo run --example client -- ws://localhost:8888/websocket?Id=A
//!
//! At the end of the input it closes, and prints messages that arrive before the server's answer. Two threads: `main`
//! reads messages, `stdin` reads lines.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;
use std::thread::Builder;
use std::time::Duration;

use threadcast::{Connection, Error, Result, client, printable};

/// How long a line waits for a server that reads slowly.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("client: give the server's address, such as ws://localhost:8888/websocket?Id=A");
        return ExitCode::from(2);
    };
    match run(&url) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {}", printable(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(url: &str) -> Result<()> {
    let (connection, mut messages) = client::connect(url)?;
    let lines = move || {
        if let Err(error) = send_lines(&connection) {
            eprintln!("client: {}", printable(&error));
        }
        // It fails if the server has already closed.
        let _ = connection.close(Some(1000), None);
    };
    Builder::new().name("stdin".to_owned()).spawn(lines)?;
    // A terminal would obey the server's control characters.
    let is_terminal = stdout().is_terminal();
    for message in &mut messages {
        let message = message?;
        if is_terminal {
            writeln!(stdout(), "{}", printable(message).at_most(usize::MAX))?;
        } else {
            writeln!(stdout(), "{message}")?;
        }
    }
    match messages.close_code() {
        None | Some(1000 | 1001) => Ok(()),
        Some(code) => {
            let reason = messages.close_reason().unwrap_or("without a reason");
            Err(Error::invalid(format!("the server closed with {code}, {reason}")))
        }
    }
}

fn send_lines(connection: &Connection) -> Result<()> {
    for line in stdin().lock().lines() {
        let line = line.map_err(Error::io("cannot read a line of the input"))?;
        let sent = connection.wait_for_room(PATIENCE).and_then(|()| connection.write_message(line));
        match sent {
            // `main` says why.
            Err(Error::Closed | Error::SlowConsumer { .. }) => return Ok(()),
            sent => sent?,
        }
    }
    Ok(())
}
