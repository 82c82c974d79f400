//! Asks the name, waits 3 s, greets, sends a history, echoes until silent for a minute: straight-line, on the client's
//! thread.
//!
//!     greeter-straight --port 9000 --history 127.0.0.1:9001

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Parser;
use compare_rivals::Greeter;
use threadcast::{Application, Connection, Error, Messages, Result, Server};

/// Time to say a name.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time without a message that ends a conversation.
const SILENCE: Duration = Duration::from_secs(60);

fn talk(connection: &Connection, messages: &mut Messages, history: SocketAddr) -> Result<()> {
    connection.write_message("who are you?")?;
    let name = match messages.recv_timeout(PATIENCE) {
        Err(Error::TimedOut) => return Err(Error::closing(4408, "no name in time")),
        name => name?,
    };
    let Some(name) = name else { return Ok(()) };
    connection.write_message(format!("welcome, {name}"))?;
    for line in BufReader::new(TcpStream::connect(history)?).lines() {
        connection.write_message(line?)?;
    }
    loop {
        match messages.recv_timeout(SILENCE) {
            Err(Error::TimedOut) => return Ok(()),
            message => match message? {
                Some(message) => connection.write_message(message)?,
                None => return Ok(()),
            },
        }
    }
}

fn main() -> Result<()> {
    let Greeter { port, history } = Greeter::parse();
    let application = Application::new().websocket("/", move || {
        move |connection: &Connection, messages: &mut Messages| talk(connection, messages, history)
    });
    Server::bind(("127.0.0.1", port), application)?.join();
    Ok(())
}
