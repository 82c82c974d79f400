//! The tutorial's third step: the chat on several machines, with TLS.

use std::{env, process};

use threadcast::{Application, Connection, Fleet, FleetOptions, Hub, Messages, Result, Server, TlsConfig};

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
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(redis)) = (arguments.next(), arguments.next()) else {
        eprintln!("tutorial_fleet: give an address and the URL of a Redis");
        process::exit(2);
    };
    let hub = Hub::new();
    // From here on, a message published on one machine reaches the subscribers on all.
    let _fleet = Fleet::join(&hub, &FleetOptions::new(&redis), || 0)?;
    let tls = TlsConfig::from_pem_files("cert.pem", "key.pem")?;
    let server = Server::bind(address, chat(hub).tls(tls))?;
    println!("the chat is at wss://{}/room/tea?name=Anna", server.local_addr());
    server.join();
    Ok(())
}
