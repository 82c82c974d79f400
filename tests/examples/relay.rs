//! A relay: it passes one server's messages to any number of clients, which may come and go.
//!
//!     cargo run --example relay -- 127.0.0.1:9000 ws://localhost:8888/websocket?Id=relay
//!
//! One thread reads from the server, and publishes. It never waits for a client, so a slow one loses only its own
//! connection. When the server goes away, the clients stay, and get a message that says so.

use std::process::ExitCode;

use threadcast::client::{self, Builder};
use threadcast::{Application, Connection, Hub, Messages, Result, Server, printable};

/// The topic of all clients.
const TOPIC: &str = "relay";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, url] = &arguments[..] else {
        eprintln!("relay: give two arguments, such as 127.0.0.1:9000 ws://localhost:8888/websocket?Id=relay");
        return ExitCode::from(2);
    };
    match run(address, url) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {}", printable(error));
            ExitCode::FAILURE
        }
    }
}

fn run(address: &str, url: &str) -> Result<()> {
    let hub = Hub::new();
    let listeners = hub.clone();
    let application = Application::new().websocket("/", move || {
        let hub = listeners.clone();
        move |connection: &Connection, messages: &mut Messages| {
            hub.subscribe(TOPIC, connection)?; // until the connection ends
            while messages.recv()?.is_some() {} // nobody here is asked
            Ok(())
        }
    });
    let server = Server::bind(address, application)?;
    println!("relay is at ws://{}/", server.local_addr());
    let connections =
        client::reconnecting(Builder::new(url)).on_failure(|error, _| println!("away: {}", printable(error)));
    for connected in connections {
        let (_connection, messages) = connected?;
        let ended = forward(messages, &hub);
        let why = ended.map_or_else(|error| error.to_string(), |()| "it has closed".to_owned());
        println!("away: {}", printable(why));
        hub.publish(TOPIC, "(away)")?;
    }
    Ok(())
}

/// Publishes what the server says, until it is away.
fn forward(messages: Messages, hub: &Hub) -> Result<()> {
    for message in messages {
        hub.publish(TOPIC, message?)?;
    }
    Ok(())
}
