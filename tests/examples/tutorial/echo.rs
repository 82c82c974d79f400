//! The tutorial's first step: an echo.

use std::env;

use threadcast::{Application, Connection, Messages, Result, Server};

/// Runs on its client's thread, from the handshake to the end.
fn echo(connection: &Connection, messages: &mut Messages) -> Result<()> {
    for message in messages {
        connection.write_message(message?)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    let server = Server::bind(address, Application::new().websocket("/echo", || echo))?;
    println!("echo is at ws://{}/echo", server.local_addr());
    server.join();
    Ok(())
}
