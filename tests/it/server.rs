//! A server in a test or under a supervisor: on an existing socket, shut down within an explicit time; and handlers
//! that are made from the request.

use crate::support;

use std::net::{SocketAddr, TcpListener};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{Raw, close_frame, eventually, frame, upgrade};
use threadcast::{Application, Connection, Error, Exchange, Message, Result, Server, WebSocketHandler};

/// Answers with its name, and counts the open ones.
struct Room {
    name: String,
    open: Arc<AtomicUsize>,
}

impl WebSocketHandler for Room {
    fn open(&mut self, _: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        connection.write_message(format!("{}: {message}", self.name))
    }
    fn on_close(&mut self, _: &Connection) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Rooms, the number of handlers made, and the number of open ones.
fn rooms() -> (Application, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (made, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, rooms) = (made.clone(), open.clone());
    let application = Application::new().websocket_with("/room", move |exchange| {
        count.fetch_add(1, Ordering::SeqCst);
        exchange.set_header("X-Room", "yes")?;
        match exchange.get_argument("name")? {
            name if name == "none" => Err(Error::refused(404, "No such room")),
            name => Ok(Room { name, open: rooms.clone() }),
        }
    });
    (application, made, open)
}

#[test]
fn a_handler_is_made_of_the_request_and_its_refusal_is_the_answer() {
    let (application, made, open) = rooms();
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    for (target, more, status, handlers) in [
        ("/room?name=a", "", "101", 1),
        ("/room?name=none", "", "404", 1),
        ("/room", "", "400", 1),
        ("/room?name=a", "Origin: http://other.test\r\n", "403", 1),
        ("/none", "", "404", 0),
    ] {
        let before = made.load(Ordering::SeqCst);
        let mut client = Raw::connect(server.local_addr());
        client.send(upgrade(target, more));
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
        // The headers that it has set are on its refusal too, but not on that of the origin.
        let kept = handlers == 1 && status != "403";
        assert_eq!(head.contains("X-Room: yes\r\n"), kept, "{head}");
        assert_eq!(made.load(Ordering::SeqCst) - before, handlers, "{target}");
        if status == "101" {
            client.send_frame(0x81, "hi");
            assert_eq!(client.frame(), frame(0x81, "a: hi"));
        }
        drop(client);
        eventually("its handler has closed", || open.load(Ordering::SeqCst) == 0);
    }
    // The head of a plain request makes no handler.
    let before = made.load(Ordering::SeqCst);
    for (head, status) in [
        ("GET /room?name=a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "426"),
        (upgrade("/room?name=a", "").replace("Version: 13", "Version: 12"), "426"),
        (upgrade("/room?name=a", "").replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), "400"),
        (upgrade("/room?name=a", "").replace("Connection: Upgrade", "Connection: close"), "400"),
    ] {
        let mut client = Raw::connect(server.local_addr());
        client.send(&head);
        let answer = client.head();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
    assert_eq!(made.load(Ordering::SeqCst), before);
}

#[test]
fn it_serves_on_an_existing_socket() {
    for nonblocking in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(nonblocking).unwrap();
        let addr = listener.local_addr().unwrap();
        // A client that came before the server gets service too.
        let mut early = Raw::connect(addr);
        early.send(upgrade("/room?name=a", ""));
        let server = Server::serve(listener, rooms().0).unwrap();
        assert_eq!(server.local_addr(), addr);
        assert!(early.head().starts_with("HTTP/1.1 101 "));
        server.shutdown();
        drop(TcpListener::bind(addr).expect("the port is free"));
    }
}

#[test]
fn a_shutdown_takes_no_longer_than_its_grace() {
    let server = Server::bind("127.0.0.1:0", rooms().0).unwrap();
    let mut client = Raw::websocket(server.local_addr(), "/room?name=a");
    let begun = Instant::now();
    // It reads, and does not answer.
    server.shutdown_within(Duration::from_millis(100));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(client.frame(), close_frame(1001, "server shutting down"));
    assert!(client.is_at_end());
}

#[test]
fn an_address_that_is_not_here_is_passed_over_and_one_in_use_is_not() {
    let bind = |addresses: &[&str]| {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Server::bind(&addresses[..], Application::new()).map(|server| server.local_addr().ip().to_string())
    };
    assert_eq!(bind(&["192.0.2.1:0", "[2001:db8::1]:0", "127.0.0.1:0"]).unwrap(), "127.0.0.1");
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let error = bind(&[&taken.to_string(), "127.0.0.1:0"]).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {taken}: Address already in use"));
    let error = bind(&[]).unwrap_err().to_string();
    assert_eq!(error, "cannot listen: the list of addresses is empty");
}

#[test]
fn settings_out_of_range_are_a_panic_that_says_so() {
    type Set = fn(Application) -> Application;
    let settings: [(Set, &str); 4] = [
        (|application| application.stack_size(65_535), "a client's stack has 65536 bytes at least"),
        (|application| application.max_backlog(0), "a backlog is from 1 byte to 1 GiB"),
        (|application| application.max_backlog((1 << 30) + 1), "a backlog is from 1 byte to 1 GiB"),
        (|application| application.write_deadline(Duration::ZERO), "a write deadline is more than zero"),
    ];
    for (set, told) in settings {
        let panic = panic::catch_unwind(|| drop(set(Application::new()))).unwrap_err();
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned());
        assert!(text.starts_with(told), "{text}");
    }
}
