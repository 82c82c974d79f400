//! A feed reader that reconnects when the connection ends, after growing pauses with jitter, so that clients do not
//! come back all at once.
//!
//!     cargo run --example reconnect -- ws://localhost:8888/websocket?Id=A
//!
//! Messages that the server sent while nobody was connected may be lost, and so may those in flight at the end, in both
//! directions. `write_message` is `Ok` for accepted messages, not for delivered ones. If that matters, number the
//! messages, and ask for those after the last one that came.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use threadcast::client::{self, Builder, Messages};
use threadcast::{Result, printable};

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("reconnect: give the server's address, such as ws://localhost:8888/websocket?Id=A");
        return ExitCode::from(2);
    };
    let connections = client::reconnecting(Builder::new(&url)).on_failure(|error, pause| {
        eprintln!("away: {}; again in {} ms", printable(error), pause.as_millis());
    });
    for connected in connections {
        match connected {
            Ok((_connection, messages)) => match read(messages) {
                Ok(()) => eprintln!("away: the server has closed"),
                Err(error) => eprintln!("away: {}", printable(error)),
            },
            Err(error) => {
                eprintln!("reconnect: {}", printable(error));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Prints messages until the connection ends.
fn read(messages: Messages) -> Result<()> {
    eprintln!("connected");
    // A terminal would obey what the server sends.
    let is_terminal = stdout().is_terminal();
    for message in messages {
        let message = message?;
        if is_terminal {
            println!("{}", printable(message).at_most(usize::MAX));
        } else {
            println!("{message}");
        }
    }
    Ok(())
}
