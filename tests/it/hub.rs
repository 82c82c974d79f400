//! Topics over real sockets: which clients get which messages, in which order, and that nothing of a former subscriber
//! is left.

use crate::support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use support::{Raw, dice::Dice, eventually, frame};
use threadcast::{
    Application, Connection, Exchange, Hub, Message, Result, Server, WebSocketHandler, broadcast,
};

/// A chat in rooms: everybody in the room hears each message.
struct Room {
    hub: Hub,
    name: String,
}

impl WebSocketHandler for Room {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.hub.subscribe(&self.name, connection)?;
        Ok(())
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        if message.as_text() == Some("leave") {
            self.hub.unsubscribe(&self.name, connection);
            return connection.write_message("left");
        }
        self.hub.publish(&self.name, message)?;
        Ok(())
    }
    fn on_close(&mut self, connection: &Connection) {
        // It leaves after this.
        if self.hub.subscribers(&self.name).contains(connection) {
            let _ = self.hub.publish("obituary", connection.id().to_string());
        }
    }
}

fn rooms() -> (Server, Hub) {
    let hub = Hub::new();
    let handlers = hub.clone();
    let application = Application::new().websocket_with("/room", move |exchange| {
        Ok(Room { hub: handlers.clone(), name: exchange.get_argument("name")? })
    });
    (Server::bind("127.0.0.1:0", application).unwrap(), hub)
}

fn join(server: &Server, room: &str) -> Raw {
    Raw::websocket(server.local_addr(), &format!("/room?name={room}"))
}

#[test]
fn members_of_a_room_get_its_messages_and_no_others() {
    let (server, hub) = rooms();
    let (mut ann, mut bob, mut eve) = (join(&server, "a"), join(&server, "a"), join(&server, "b"));
    assert_eq!((hub.count("a"), hub.count("b"), hub.count("c")), (2, 1, 0));
    ann.send_frame(0x81, "hi");
    assert_eq!((ann.frame(), bob.frame()), (frame(0x81, "hi"), frame(0x81, "hi")));
    assert_eq!(hub.publish("b", "for b").unwrap(), 1);
    assert_eq!(eve.frame(), frame(0x81, "for b"));
    assert_eq!(hub.publish("c", "for nobody").unwrap(), 0);
    bob.send_frame(0x81, "leave");
    assert_eq!(bob.frame(), frame(0x81, "left"));
    assert_eq!(hub.publish("a", "for ann").unwrap(), 1);
    assert_eq!(ann.frame(), frame(0x81, "for ann"));
    let mut mourner = join(&server, "obituary");
    let [one] = &hub.subscribers("a")[..] else { panic!("ann alone is there") };
    ann.send_frame(0x88, "");
    assert_eq!(mourner.frame(), frame(0x81, one.id().to_string()), "in on_close ann is still there");
    drop((bob, eve, mourner));
    eventually("all have left", || hub.topics().is_empty());
    assert_eq!(hub.subscribers("a"), []);
}

#[test]
fn everybody_sees_one_order_where_one_thread_publishes_or_a_lock_makes_it_one() {
    let (server, hub) = rooms();
    let mut listeners: Vec<_> = (0..8).map(|_| join(&server, "a")).collect();
    let lock = Arc::new(Mutex::new(()));
    let publishers: Vec<_> = (0..4)
        .map(|n| {
            let (hub, lock) = (hub.clone(), lock.clone());
            thread::spawn(move || {
                for m in 0..500 {
                    let _one_at_a_time = lock.lock().unwrap();
                    hub.publish("a", format!("{n}:{m}")).unwrap();
                }
            })
        })
        .collect();
    let orders: Vec<Vec<_>> =
        listeners.iter_mut().map(|listener| (0..2000).map(|_| listener.frame().payload).collect()).collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

/// The manual's way without a hub: it holds the lock during the broadcast.
struct Chat(Arc<Mutex<Vec<Connection>>>);

impl WebSocketHandler for Chat {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.0.lock().unwrap().push(connection.clone());
        Ok(())
    }
    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        let everybody = self.0.lock().unwrap();
        broadcast(&*everybody, message)?;
        Ok(())
    }
    fn on_close(&mut self, connection: &Connection) {
        self.0.lock().unwrap().retain(|other| other != connection);
    }
}

#[test]
fn a_chat_that_holds_its_lock_while_it_broadcasts_has_one_order_for_all() {
    let everybody = Arc::default();
    let application = Application::new().websocket("/chat", move || Chat(Arc::clone(&everybody)));
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let mut clients: Vec<_> = (0..4).map(|_| Raw::websocket(server.local_addr(), "/chat")).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        (0..250).for_each(|m| client.send_frame(0x81, format!("{n}:{m}")));
    }
    let orders: Vec<Vec<_>> =
        clients.iter_mut().map(|client| (0..1000).map(|_| client.frame().payload).collect()).collect();
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[test]
fn a_subscriber_that_reads_nothing_is_disconnected_and_leaves_while_the_others_hear_all() {
    let (server, hub) = rooms();
    let (mut listener, _deaf) = (join(&server, "a"), join(&server, "a"));
    let mut number = 0u64;
    while hub.count("a") == 2 {
        let mut message = vec![0; 256 << 10];
        message[..8].copy_from_slice(&number.to_be_bytes());
        hub.publish("a", message).unwrap();
        assert_eq!(listener.frame().payload[..8], number.to_be_bytes());
        number += 1;
    }
    assert_eq!(server.stats().slow_consumers, 1);
    assert_eq!(hub.publish("a", "and on").unwrap(), 1);
    assert_eq!(listener.frame(), frame(0x81, "and on"));
}

#[test]
fn clients_that_come_and_go_while_others_publish_leave_nothing() {
    let (server, hub) = rooms();
    let over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2)
        .map(|_| {
            let (hub, over) = (hub.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    for room in ["0", "1", "2"] {
                        hub.publish(room, "tick").unwrap();
                    }
                    thread::yield_now();
                }
            })
        })
        .collect();
    let visitors: Vec<_> = (0..6)
        .map(|seed| {
            let (addr, hub) = (server.local_addr(), hub.clone());
            thread::spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..60 {
                    let room = dice.below(3).to_string();
                    let mut client = Raw::websocket(addr, &format!("/room?name={room}"));
                    // Some leave at once, some with a Close, some with a reset.
                    match dice.below(3) {
                        0 => drop(client),
                        1 => client.send_frame(0x88, 1000u16.to_be_bytes()),
                        _ => client.reset(),
                    }
                    // Other threads have them too, also after they have gone.
                    for connection in hub.subscribers(&room) {
                        let _ = hub.subscribe("late", &connection);
                    }
                }
            })
        })
        .collect();
    for visitor in visitors {
        visitor.join().unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.join().unwrap();
    }
    eventually("every topic has ended", || hub.topics().is_empty());
    eventually("everybody has gone", || server.stats().clients == 0);
}
