//! A relay: what one server says to this one goes on to any number of clients of ours, who may come and go.
//!
//!     cargo run --example relay -- 127.0.0.1:9000 ws://localhost:8888/websocket?Id=relay
//!
//! One thread reads the server, and publishes: it never waits for a client, so a slow one loses its own connection,
//! and nobody else's messages. When the server is away, the clients stay, and are told so.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use threadcast::{Application, Connection, Hub, Messages, Result, Server, client, printable};

/// What clients are subscribed to.
const TOPIC: &str = "relay";
/// How long the server is left alone after it was away.
const PAUSE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, url] = &arguments[..] else {
        eprintln!(
            "relay: two arguments are needed, as 127.0.0.1:9000 ws://localhost:8888/websocket?Id=relay"
        );
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
            hub.subscribe(TOPIC, connection)?; // it leaves by itself
            while messages.recv()?.is_some() {} // nobody here is asked
            Ok(())
        }
    });
    let server = Server::bind(address, application)?;
    println!("relay is at ws://{}/", server.local_addr());
    loop {
        let ended = forward(url, &hub);
        let why = ended.map_or_else(|error| error.to_string(), |()| "it has closed".to_owned());
        println!("away: {}", printable(why));
        hub.publish(TOPIC, "(away)")?;
        thread::sleep(PAUSE);
    }
}

/// Publishes what the server says, until it is away.
fn forward(url: &str, hub: &Hub) -> Result<()> {
    let (_connection, messages) = client::connect(url)?;
    for message in messages {
        hub.publish(TOPIC, message?)?;
    }
    Ok(())
}
