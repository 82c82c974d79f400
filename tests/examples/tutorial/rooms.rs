//! The tutorial's second step: a chat with rooms.

use std::env;

use threadcast::{Application, Connection, Hub, Messages, Result, Server};

/// A chat on this hub: each room is a topic.
fn chat(hub: Hub) -> Application {
    Application::new().websocket_with("/room/{room}", move |exchange| {
        // Before the 101. An `Err` refuses the request: without a name it is a 400.
        let (hub, room) = (hub.clone(), exchange.path_argument("room").to_owned());
        let name = exchange.get_argument("name")?;
        // After the 101, on the client's thread, until it returns.
        Ok(move |connection: &Connection, messages: &mut Messages| {
            hub.subscribe(&room, connection)?;
            hub.publish(&room, format!("{name} is here"))?;
            for message in messages {
                hub.publish(&room, format!("{name}: {}", message?))?;
            }
            hub.publish(&room, format!("{name} has left"))?;
            Ok(())
        })
    })
}

fn main() -> Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    let server = Server::bind(address, chat(Hub::new()))?;
    println!("the chat is at ws://{}/room/tea?name=Anna", server.local_addr());
    server.join();
    Ok(())
}
