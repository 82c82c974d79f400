//! A chat with rooms: open `/room/tea?name=Anna` in two browsers.
//!
//!     cargo run --example chat                  # http://127.0.0.1:8888
//!     cargo run --example chat -- 0.0.0.0:9000
//!
//! `/room/{name}` is a page and a WebSocket: a request with `Upgrade: websocket` is for the second one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use threadcast::{
    Application, Connection, Error, Exchange, Hub, Message, RequestHandler, Result, Server, WebSocketHandler,
    xhtml_escape,
};

/// The most bytes in the name of a room or a member.
const MAX_NAME: usize = 40;

/// The state that all members share.
#[derive(Clone, Default)]
struct Rooms {
    hub: Hub,
    /// The room and name of each member. Locked during each publish too, so that all members of a room read one order.
    /// A publish never blocks, so the lock is never held for long.
    members: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.members.lock().unwrap()
    }
}

/// One member in one room: a value for each WebSocket.
struct Member {
    rooms: Rooms,
    room: String,
    name: String,
}

impl Member {
    /// Reads the request; an `Err` refuses it. Registers nothing yet, because the server may still refuse it.
    fn new(rooms: &Rooms, exchange: &mut Exchange<'_>) -> Result<Member> {
        let room = checked(exchange.path_argument("name"))?;
        let name = checked(&exchange.get_argument("name")?)?; // missing: the client gets a 400
        Ok(Member { rooms: rooms.clone(), room, name })
    }

    fn key(&self) -> (String, String) {
        (self.room.clone(), self.name.clone())
    }
}

impl WebSocketHandler for Member {
    /// Runs before the client gets the 101. Messages that it writes wait for that.
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        let mut members = self.rooms.lock();
        if members.contains(&self.key()) {
            return Err(Error::refused(409, format!("{} is here already.", self.name)));
        }
        self.rooms.hub.subscribe(&self.room, connection)?;
        members.insert(self.key());
        let here: Vec<_> =
            members.iter().filter(|(room, _)| *room == self.room).map(|(_, name)| name).collect();
        connection.write_message(json!({ "here": here }))?;
        self.rooms.hub.publish(&self.room, json!({ "joined": self.name }))?;
        Ok(())
    }

    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let Some(text) = message.as_text() else {
            return connection.close(Some(1003), Some("text only"));
        };
        let _order = self.rooms.lock();
        self.rooms.hub.publish(&self.room, json!({ "name": self.name, "says": text }))?;
        Ok(())
    }

    /// Runs once, however the connection ended. The connection leaves the hub automatically.
    fn on_close(&mut self, _: &Connection) {
        let mut members = self.rooms.lock();
        members.remove(&self.key());
        let _ = self.rooms.hub.publish(&self.room, json!({ "left": self.name }));
    }
}

/// The page of a room. Client input goes into HTML only through `xhtml_escape`.
struct Page;

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let room = xhtml_escape(&checked(exchange.path_argument("name"))?);
        exchange.write(include_str!("chat.html").replace("{room}", &room));
        Ok(())
    }
}

/// A name that is valid in a topic, or a refusal.
fn checked(name: &str) -> Result<String> {
    match name.len() {
        1..=MAX_NAME if !name.contains(char::is_control) => Ok(name.to_owned()),
        _ => Err(Error::refused(400, format!("A name has 1 to {MAX_NAME} bytes of text."))),
    }
}

fn main() -> Result<()> {
    let rooms = Rooms::default();
    let application = Application::new()
        .page("/room/{name}", || Page)
        .websocket_with("/room/{name}", move |exchange| Member::new(&rooms, exchange))
        .max_message(4 << 10);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    let server = Server::bind(address, application)?;
    println!("chat is at http://{}/room/tea?name=Anna", server.local_addr());
    server.join();
    Ok(())
}
