//! The client against servers of every kind: its own crate's, and ones that speak bytes.

mod support;

use std::time::Duration;

use support::{DEADLINE, Event, Probed};
use threadcast::{Error, Message, client};

fn url(addr: std::net::SocketAddr) -> String {
    format!("ws://{addr}/ws")
}

#[test]
fn messages_go_both_ways_and_a_close_ends_both() {
    let server = Probed::start_with(
        |application| application,
        |connection, message| connection.write_message(message),
    );
    let (connection, mut messages) = client::connect(&url(server.addr)).expect("connects");
    assert!(matches!(server.next("open"), Event::Open(_)));
    for message in [
        Message::from("hi"),
        Message::from(&b"\0\xff"[..]),
        Message::from(""),
        Message::from("x".repeat(1 << 20)),
    ] {
        connection.wait_for_room(DEADLINE).expect("has room");
        connection.write_message(message.clone()).expect("is open");
        server.expect_message(message.clone());
        assert_eq!(messages.recv().expect("comes"), Some(message));
    }
    assert!(matches!(messages.recv_timeout(Duration::ZERO), Err(Error::TimedOut)));
    connection.close(Some(4000), Some("enough")).expect("is open");
    server.expect_close(Some(4000), Some("enough"));
    assert_eq!(messages.recv().expect("ends"), None);
    assert_eq!((messages.close_code(), messages.close_reason()), (Some(4000), None));
    assert!(matches!(connection.write_message("late"), Err(Error::Closed)));
    assert_eq!(messages.recv().expect("has ended"), None);
}
