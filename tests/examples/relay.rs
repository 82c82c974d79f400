//! A relay: it passes one server's messages to any number of clients, which may come and go.
//!
//!     cargo run --example relay -- 127.0.0.1:9000 ws://localhost:8888/websocket?Id=relay
//!
//! One thread reads from the server, and publishes. It never waits for a client, so a slow one loses only its own
//! connection. When the server goes away, the clients stay, and get a message that says so.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use threadcast::{
    Application, Connection, Exchange, Hub, Message, Result, Server, WebSocketHandler, client, printable,
};

/// The topic of all clients.
const TOPIC: &str = "relay";
/// How long the server is left alone after it was away.
const PAUSE: Duration = Duration::from_secs(1);

struct Listener(Hub);

impl WebSocketHandler for Listener {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.0.subscribe(TOPIC, connection)?; // it leaves by itself
        Ok(())
    }

    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        Ok(()) // nobody here is asked
    }
}

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
    let application = Application::new().websocket("/", move || Listener(listeners.clone()));
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
