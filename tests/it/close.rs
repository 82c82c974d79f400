//! `tests/BEHAVIOUR.md`, *Close*: the bytes on the wire, and the values of `close_code` and `close_reason`.

use crate::support;

use std::net::Shutdown;
use std::time::Instant;

use support::{DEADLINE, Event, Probed, close_frame, frame};
use threadcast::Error;

#[test]
fn the_peers_close_as_a_table() {
    let code = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
    let long = "x".repeat(123);
    type Row<'a> = (&'a str, Vec<u8>, Vec<u8>, Option<u16>, Option<&'a str>);
    let table: Vec<Row<'_>> = vec![
        ("empty body", vec![], vec![], None, None),
        ("1001 bye", code(1001, b"bye"), code(1001, b""), Some(1001), Some("bye")),
        ("1000", code(1000, b""), code(1000, b""), Some(1000), None),
        ("1012, registered with IANA", code(1012, b""), code(1012, b""), Some(1012), None),
        ("1013, too", code(1013, b"busy"), code(1013, b""), Some(1013), Some("busy")),
        ("3000", code(3000, b""), code(3000, b""), Some(3000), None),
        ("4999 and 123 bytes", code(4999, &[b'x'; 123]), code(4999, b""), Some(4999), Some(&long)),
        (
            "1002 as the peer's own",
            code(1002, b"Protocol violation"),
            code(1002, b""),
            Some(1002),
            Some("Protocol violation"),
        ),
        ("999", code(999, b""), code(1002, b""), None, None),
        ("1005", code(1005, b""), code(1002, b""), None, None),
        ("1006 why", code(1006, b"why"), code(1002, b""), None, None),
        ("1015", code(1015, b""), code(1002, b""), None, None),
        ("5000", code(5000, b""), code(1002, b""), None, None),
        ("one byte", vec![3], code(1002, b"protocol error"), None, None),
        ("bad UTF-8 in the reason", code(1000, b"\xff"), code(1007, b"invalid UTF-8"), None, None),
    ];
    let probed = Probed::start();
    for (case, sent, answer, close_code, reason) in table {
        let (mut client, _) = probed.open();
        client.send_frame(0x88, sent);
        assert_eq!(client.frame(), frame(0x88, answer), "{case}");
        assert_eq!(probed.next(case), Event::Close(close_code, reason.map(str::to_owned)), "{case}");
        assert_eq!(client.rest(), b"", "{case}: the server ends the TCP connection");
    }
}

#[test]
fn fin_rst_and_half_close_leave_no_code() {
    let probed = Probed::start();
    let (client, _) = probed.open();
    drop(client);
    probed.expect_close(None, None);
    let (client, _) = probed.open();
    client.reset();
    probed.expect_close(None, None);
    let (mut client, _) = probed.open();
    client.stream.shutdown(Shutdown::Write).unwrap();
    probed.expect_close(None, None);
    assert_eq!(client.rest(), b"");
    let (mut client, _) = probed.open();
    client.send([0x81, 0x85, 1, 2, 3, 4, b'h']);
    client.stream.shutdown(Shutdown::Write).unwrap();
    probed.expect_close(None, None);
}

#[test]
fn close_sends_its_code_and_reason() {
    let probed = Probed::start();
    for (code, reason, expected) in [
        (None, None, frame(0x88, "")),
        (Some(4001), Some("replaced"), close_frame(4001, "replaced")),
        (Some(1001), None, close_frame(1001, "")),
        (None, Some("bye"), close_frame(1000, "bye")),
    ] {
        let (mut client, connection) = probed.open();
        connection.write_message("before").unwrap();
        connection.close(code, reason).unwrap();
        assert_eq!(client.frame(), frame(0x81, "before"));
        assert_eq!(client.frame(), expected);
        // The peer's answer may differ.
        client.send_frame(0x88, [&3001u16.to_be_bytes()[..], b"ok"].concat());
        probed.expect_close(Some(3001), Some("ok"));
        assert_eq!(client.rest(), b"", "no second Close frame");
    }
}

#[test]
fn messages_that_arrive_before_the_answer_are_still_delivered() {
    let probed = Probed::start();
    let (mut client, connection) = probed.open();
    connection.close(Some(1000), None).unwrap();
    assert_eq!(client.frame(), close_frame(1000, ""));
    client.send_frame(0x81, "on its way");
    probed.expect_message("on its way");
    client.send_frame(0x89, "no pong after a Close");
    assert!(matches!(probed.next("a ping"), Event::Ping(_)));
    client.send_frame(0x88, 1000u16.to_be_bytes());
    probed.expect_close(Some(1000), None);
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_peer_that_does_not_answer_is_disconnected() {
    let probed = Probed::start();
    let (mut client, connection) = probed.open();
    let (mut other, _) = probed.open();
    let begun = Instant::now();
    connection.close(Some(1000), None).unwrap();
    assert_eq!(client.frame(), close_frame(1000, ""));
    probed.expect_close(None, None);
    assert!(begun.elapsed().as_secs() >= 4, "it had 5 seconds to answer");
    assert!(begun.elapsed() < DEADLINE / 2);
    assert!(client.is_at_end());
    other.send_frame(0x81, "undisturbed");
    probed.expect_message("undisturbed");
}

#[test]
fn a_code_that_may_not_be_sent_is_an_error_and_the_connection_stays_open() {
    let probed = Probed::start();
    let (mut client, connection) = probed.open();
    for (code, reason) in [(Some(1005), None), (Some(999), None), (Some(65535), None)] {
        assert!(matches!(connection.close(code, reason), Err(Error::Invalid(_))), "{code:?}");
    }
    connection.write_message("still open").unwrap();
    assert_eq!(client.frame(), frame(0x81, "still open"));
}

#[test]
fn a_reason_that_is_too_long_is_cut_between_two_characters() {
    let probed = Probed::start();
    for (reason, sent) in [("x".repeat(200), "x".repeat(123)), ("é".repeat(62), "é".repeat(61))] {
        let (mut client, connection) = probed.open();
        connection.close(Some(4000), Some(&reason)).unwrap();
        assert_eq!(client.frame(), close_frame(4000, &sent));
        drop(client);
        probed.expect_close(None, None);
    }
}

/// The outbox's rule 8: closing a socket with unread input would make the kernel send RST, and the peer would lose the
/// Close frame and earlier messages.
#[test]
fn messages_before_a_failure_arrive_while_the_peer_keeps_sending() {
    let probed = Probed::start_with(|application| application.max_backlog(64 << 20), |_, _| Ok(()));
    let (mut client, connection) = probed.open();
    let message = vec![7; 4 << 20];
    connection.write_message(message.clone()).unwrap();
    client.send([0x83, 0x80, 0, 0, 0, 0]);
    // The server has failed the connection, and never reads this as messages.
    let mut writer = client.stream.try_clone().unwrap();
    let flood =
        std::thread::spawn(move || while std::io::Write::write_all(&mut writer, &[0; 4096]).is_ok() {});
    assert!(client.frame() == frame(0x82, &message));
    assert_eq!(client.frame(), close_frame(1002, "protocol error"));
    probed.expect_close(None, None);
    client.stream.shutdown(Shutdown::Both).unwrap();
    flood.join().unwrap();
}

#[test]
fn on_close_runs_once_when_everything_happens_together() {
    let probed = Probed::start();
    for _ in 0..50 {
        let (client, connection) = probed.open();
        std::thread::scope(|scope| {
            scope.spawn(|| connection.close(Some(1000), None));
            scope.spawn(|| connection.write_message("x"));
            scope.spawn(|| client.reset());
        });
        assert!(matches!(probed.next("on_close"), Event::Close(..)));
    }
    probed.server.shutdown();
    assert!(probed.events.try_recv().is_err(), "one on_close each");
}

#[test]
fn frames_after_the_peers_close_are_not_delivered() {
    let probed = Probed::start();
    let (mut client, _) = probed.open();
    client.send([support::masked(0x88, &1000u16.to_be_bytes()), support::masked(0x81, b"late")].concat());
    probed.expect_close(Some(1000), None);
    assert_eq!(client.rest(), [0x88, 2, 3, 0xe8]);
}
