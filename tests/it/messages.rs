//! `tests/BEHAVIOUR.md`, *Messages*: incoming messages, outgoing messages, and errors.

use crate::support;

use std::collections::HashMap;
use std::time::Duration;

use support::{DEADLINE, Event, Probed, Wire, close_frame, frame, masked};
use threadcast::{Application, Error, Message};

#[test]
fn text_arrives_as_text_and_binary_as_binary() {
    let probed = Probed::start();
    let (mut client, _) = probed.open();
    client.send_frame(0x81, "你好");
    probed.expect_message("你好");
    client.send_frame(0x82, [0, 255]);
    probed.expect_message(vec![0, 255]);
    client.send_frame(0x81, "");
    probed.expect_message("");
}

#[test]
fn write_message_takes_text_binary_and_anything_that_has_a_json_form() {
    let probed = Probed::start();
    let (mut client, connection) = probed.open();
    connection.write_message("text").unwrap();
    connection.write_message(String::from("string")).unwrap();
    connection.write_message(&b"\x00\xff"[..]).unwrap();
    connection.write_message(vec![1]).unwrap();
    connection.write_message(Message::json(&HashMap::from([("a", [1, 2])])).unwrap()).unwrap();
    let expected = [
        frame(0x81, "text"),
        frame(0x81, "string"),
        frame(0x82, [0, 255]),
        frame(0x82, [1]),
        frame(0x81, r#"{"a":[1,2]}"#),
    ];
    for expected in expected {
        assert_eq!(client.frame(), expected);
    }
}

#[test]
fn lengths_of_every_form_go_both_ways_whole() {
    let probed = Probed::start_with(|a| a, |connection, message| connection.write_message(message));
    let (mut client, _) = probed.open();
    for length in [0, 1, 125, 126, 127, 4095, 4096, 16_384, 65_535, 65_536, 300_000, 2_000_000] {
        let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut writer = client.stream.try_clone().unwrap();
        let bytes = masked(0x82, &payload);
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
        assert!(client.frame() == frame(0x82, &payload), "{length}");
        sender.join().unwrap();
    }
}

#[test]
fn fragments_become_one_message_with_a_ping_between_them() {
    let probed = Probed::start();
    let (mut client, _) = probed.open();
    client.send_frame(0x01, "a");
    client.send_frame(0x89, "p");
    client.send_frame(0x00, "b");
    client.send_frame(0x80, "c");
    assert_eq!(client.frame(), frame(0x8a, "p"));
    assert_eq!(probed.next("a ping"), Event::Ping(b"p".to_vec()));
    probed.expect_message("abc");
}

#[test]
fn a_ping_is_answered_with_its_payload_and_a_pong_is_reported() {
    let probed = Probed::start();
    let (mut client, connection) = probed.open();
    client.send_frame(0x89, [7; 125]);
    assert_eq!(client.frame(), frame(0x8a, [7; 125]));
    assert_eq!(probed.next("a ping"), Event::Ping(vec![7; 125]));
    connection.ping(b"q").unwrap();
    assert_eq!(client.frame(), frame(0x89, "q"));
    client.send_frame(0x8a, "q");
    assert_eq!(probed.next("a pong"), Event::Pong(b"q".to_vec()));
}

#[test]
fn writing_to_a_closed_connection_is_an_error_and_nothing_else() {
    let probed = Probed::start();
    let (mut client, connection) = probed.open();
    client.send_frame(0x88, 1000u16.to_be_bytes());
    probed.expect_close(Some(1000), None);
    assert!(matches!(connection.write_message("late"), Err(Error::Closed)));
    assert!(matches!(connection.ping(b""), Err(Error::Closed)));
    assert!(matches!(connection.close(None, None), Err(Error::Closed)));
    assert!(connection.is_closed());
    assert_eq!(client.rest(), [0x88, 2, 3, 0xe8]);
}

/// The client's bytes, and the code with which the server fails the connection.
#[test]
fn violations_close_with_their_codes_as_a_table() {
    let rsv = |bits: u8| masked(0x81 | bits, b"x");
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("invalid UTF-8 in a text", masked(0x81, b"\xff"), 1007),
        ("UTF-8 cut at the end", masked(0x81, &"é".as_bytes()[..1]), 1007),
        ("RSV1", rsv(0x40), 1002),
        ("RSV2", rsv(0x20), 1002),
        ("RSV3", rsv(0x10), 1002),
        ("opcode 3", masked(0x83, b""), 1002),
        ("opcode 11", masked(0x8b, b""), 1002),
        ("a continuation of nothing", masked(0x80, b"x"), 1002),
        ("a text inside a text", [masked(0x01, b"x"), masked(0x81, b"y")].concat(), 1002),
        ("a fragmented ping", masked(0x09, b"x"), 1002),
        ("a ping of 126 bytes", masked(0x89, &[0; 126]), 1002),
        ("a Close of 126 bytes", masked(0x88, &[0; 126]), 1002),
        ("over the limit", masked(0x82, &[0; 101]), 1009),
        ("over the limit in fragments", [masked(0x02, &[0; 60]), masked(0x80, &[0; 41])].concat(), 1009),
        ("over the limit from the header alone", masked(0x82, &[0; 101])[..6].to_vec(), 1009),
        (
            "a fragment over it, from the header alone",
            [&masked(0x02, &[0; 60])[..], &masked(0x80, &[0; 41])[..6]].concat(),
            1009,
        ),
        ("a length of 2^63", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009),
    ];
    let probed = Probed::start_with(|application| application.max_message(100), |_, _| Ok(()));
    for (case, bytes, code) in table {
        let (mut client, connection) = probed.open();
        client.send(bytes);
        let Wire { first, payload } = client.frame();
        assert_eq!((first, &payload[..2]), (0x88, &code.to_be_bytes()[..]), "{case}");
        probed.expect_close(None, None);
        assert_eq!(client.rest(), b"", "{case}: nothing follows the Close frame");
        drop(client);
        assert!(connection.is_closed(), "{case}");
    }
    // Within the limits, inclusive; control frames have their own.
    let (mut client, _) = probed.open();
    client.send_frame(0x89, [0; 125]);
    assert_eq!(client.frame(), frame(0x8a, [0; 125]));
    assert_eq!(probed.next("a ping"), Event::Ping(vec![0; 125]));
    client.send_frame(0x82, [0; 100]);
    probed.expect_message(vec![0; 100]);
    client.send([masked(0x02, &[0; 60]), masked(0x80, &[0; 40])].concat());
    probed.expect_message(vec![0; 100]);
}

#[test]
fn a_handler_that_panics_or_fails_closes_its_own_connection_with_1011() {
    let probed = Probed::start_with(
        |application| application,
        |connection, message| match message.as_text() {
            Some("panic") => panic!("as planned"),
            Some("fail") => Err(Error::invalid("as planned")),
            Some("closed") => Err(Error::Closed),
            _ => connection.write_message(message),
        },
    );
    let (mut bystander, _) = probed.open();
    for how in ["panic", "fail"] {
        let (mut client, _) = probed.open();
        client.send_frame(0x81, how);
        probed.expect_message(how);
        assert_eq!(client.frame(), close_frame(1011, "internal error"));
        probed.expect_close(None, None);
        client.send_frame(0x88, 1011u16.to_be_bytes());
        assert!(client.is_at_end());
    }
    // A client that has left is not a failure of the handler.
    bystander.send_frame(0x81, "closed");
    probed.expect_message("closed");
    bystander.send_frame(0x81, "still here");
    assert_eq!(bystander.frame(), frame(0x81, "still here"));
}

#[test]
fn a_handler_that_blocks_delays_nobody_and_its_own_client_still_gets_pushes() {
    let (release, blocked) = crossbeam_channel::bounded::<()>(0);
    let probed = Probed::start_with(
        |application| application,
        move |connection, message| match message.as_text() {
            Some("block") => {
                assert!(blocked.recv().is_err(), "released");
                Ok(())
            }
            _ => connection.write_message(message),
        },
    );
    let (mut stuck, connection) = probed.open();
    stuck.send_frame(0x81, "block");
    probed.expect_message("block");
    let (mut other, _) = probed.open();
    other.send_frame(0x81, "hi");
    assert_eq!(other.frame(), frame(0x81, "hi"));
    probed.expect_message("hi");
    connection.write_message("push").unwrap();
    assert_eq!(stuck.frame(), frame(0x81, "push"));
    stuck.send_frame(0x81, "later");
    drop(release);
    assert_eq!(stuck.frame(), frame(0x81, "later"));
}

#[test]
fn a_silent_peer_is_pinged_and_one_that_does_not_answer_is_closed() {
    let interval = Some(Duration::from_millis(100));
    // A client that answers has time to, even on a busy machine.
    let patient = |application: Application| application.ping_interval(interval).ping_timeout(DEADLINE);
    let probed = Probed::start_with(patient, |_, _| Ok(()));
    let (mut client, _) = probed.open();
    for number in 1..=3u64 {
        assert_eq!(client.frame(), frame(0x89, number.to_be_bytes()));
        client.send_frame(0x8a, number.to_be_bytes());
    }
    client.send_frame(0x8a, "");
    assert_eq!(probed.next("the handler's own pong"), Event::Pong(vec![]));
    let probed = Probed::start_with(|application| application.ping_interval(interval), |_, _| Ok(()));
    let (mut client, _) = probed.open();
    assert_eq!(client.frame().first, 0x89);
    assert_eq!(client.frame(), close_frame(1011, "ping timed out"));
    probed.expect_close(None, None);
}

#[test]
fn the_ping_timeout_can_be_longer_than_the_interval() {
    let probed = Probed::start_with(
        |application| {
            application.ping_interval(Some(Duration::from_millis(50))).ping_timeout(Duration::from_secs(3600))
        },
        |_, _| Ok(()),
    );
    let (mut client, _) = probed.open();
    assert_eq!(client.frame().first, 0x89);
    client.send_frame(0x81, "a sign of life");
    probed.expect_message("a sign of life");
    assert_eq!(client.frame().first, 0x89, "and the interval counts again");
}

#[test]
fn compression_is_not_negotiated() {
    let probed = Probed::start();
    let mut client = support::Raw::connect(probed.addr);
    client.send(support::upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert!(!client.head().to_lowercase().contains("extensions"));
}
