//! The client against this crate's server, and against servers that speak bytes: requests, frames, endings.

use crate::support;
use support::far;

use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use far::{Far, SWITCHING, plain, unmasked};
use support::{DEADLINE, Event, Probed, close_frame, eventually, frame, header_values, masked, threads};
use threadcast::client::{self, Builder, Messages};
use threadcast::{Application, Connection, Error, Hub, Message, Result, broadcast};

/// A short deadline, which the test lets pass.
const SHORT: Duration = Duration::from_millis(200);

fn to(far: &Far) -> Builder {
    Builder::new(&far.url())
}

fn url(server: &Probed) -> String {
    format!("ws://{}/ws", server.addr)
}

/// An echo, and a client of it.
fn echo() -> (Probed, Connection, Messages) {
    let server = Probed::start_with(|application| application, Connection::write_message);
    let (connection, messages) = client::connect(&url(&server)).expect("connects");
    (server, connection, messages)
}

fn error<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("not an error"),
        Err(error) => error.to_string(),
    }
}

// ---- requests and messages ----

#[test]
fn messages_go_both_ways_and_a_close_ends_both() {
    let (server, connection, mut messages) = echo();
    assert!(matches!(server.next("open"), Event::Open(_)));
    for message in
        [Message::from("hi"), Message::from(b"\0\xff"), Message::from(""), "x".repeat(1 << 20).into()]
    {
        connection.wait_for_room(DEADLINE).expect("has room");
        connection.write_message(message.clone()).expect("is open");
        server.expect_message(message.clone());
        assert_eq!(messages.recv().expect("comes"), Some(message));
    }
    connection.close(Some(4000), Some("enough")).expect("is open");
    server.expect_close(Some(4000), Some("enough"));
    assert_eq!(messages.recv().expect("ends"), None);
    assert_eq!((messages.close_code(), messages.close_reason()), (Some(4000), None));
    assert!(matches!(connection.write_message("late"), Err(Error::Closed)));
    assert_eq!(messages.recv().expect("has ended"), None);
}

#[test]
fn the_request_is_the_rfcs_with_the_callers_headers() {
    let far = Far::bind();
    let builder = to(&far)
        .origin("http://b.test")
        .origin("http://a.test")
        .header("X-Token", "abc")
        .header("Cookie", "y=8; z=9")
        .cookie("a", "1")
        .cookie("b", "2")
        .subprotocol("v2.chat")
        .subprotocol("chat");
    let answer = SWITCHING.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: c=3\r\n\r\n");
    thread::scope(|scope| {
        let request = scope.spawn(|| far.accept());
        let failed = builder.clone().connect_deadline(SHORT).connect();
        let request = request.join().unwrap().1;
        assert!(error(failed).contains("did not answer the handshake: not within the connect deadline"));
        assert!(request.starts_with("GET /ws?token=secret HTTP/1.1\r\n"), "{request}");
        let host = far.addr().to_string();
        for (name, values) in [
            ("Host", vec![host.as_str()]),
            ("Upgrade", vec!["websocket"]),
            ("Connection", vec!["Upgrade"]),
            ("Sec-WebSocket-Version", vec!["13"]),
            ("Origin", vec!["http://a.test"]),
            ("X-Token", vec!["abc"]),
            ("Cookie", vec!["y=8; z=9; a=1; b=2"]),
            ("Sec-WebSocket-Protocol", vec!["v2.chat, chat"]),
            ("Sec-WebSocket-Extensions", vec![]),
        ] {
            assert_eq!(header_values(&request, name), values, "{name}");
        }
        assert_eq!(header_values(&request, "Sec-WebSocket-Key")[0].len(), 24);
    });
    let (connected, _raw) = far.meet(&builder, &answer, b"");
    let messages = connected.expect("connects").1;
    assert_eq!(messages.subprotocol(), Some("chat"));
    assert!(
        messages.headers().contains(&("set-cookie".to_owned(), "c=3".to_owned())),
        "{:?}",
        messages.headers()
    );
}

#[test]
fn an_invalid_request_is_an_error_before_anything_is_sent() {
    let far = Far::bind();
    for (builder, says) in [
        (to(&far).header("Host", "b.test"), "the client writes the header Host itself"),
        (to(&far).header("sec-websocket-key", "x"), "the client writes the header sec-websocket-key itself"),
        (to(&far).header("Connection", "close"), "the client writes the header Connection itself"),
        (to(&far).header("X-A", "b\r\nX-B: c"), "characters that a header cannot carry"),
        (to(&far).header("a b", "c"), "characters that a header cannot carry"),
        (to(&far).cookie("a", "b\nc"), "the value of cookie a has characters"),
        (to(&far).cookie("a", "b; c"), "the value of cookie a has characters"),
        (to(&far).cookie("a b", "c"), "cannot be a cookie's name"),
        (to(&far).subprotocol("a b"), "cannot be a subprotocol"),
        (Builder::new("ws://me:secret@a.test/"), "Authorization"),
        (Builder::new("http://a.test/"), "write ws://"),
    ] {
        let failed = builder.connect();
        assert!(matches!(failed, Err(Error::Invalid(_))), "{says}");
        let line = error(failed);
        assert!(line.contains(says) && line.lines().count() == 1 && !line.contains("secret"), "{line}");
    }
}

#[test]
fn each_frame_has_its_own_mask_and_shared_frames_stay_plain() {
    let far = Far::bind();
    let (first, _kept, mut raw) = far.open(&to(&far));
    let (second, _kept, mut other) = far.open(&to(&far));
    let server = Probed::start();
    let (mut client, third) = server.open();
    let all = [first.clone(), second, third];
    for text in ["a".repeat(10), "b".repeat(1000), "c".repeat(100_000)] {
        assert_eq!(broadcast(&all, text.as_str()).expect("valid"), 3);
        for raw in [&mut raw, &mut other] {
            assert_eq!(unmasked(raw), frame(0x81, &text));
        }
        assert_eq!(client.frame(), frame(0x81, &text));
    }
    first.ping(b"p").expect("is open");
    assert_eq!(unmasked(&mut raw), frame(0x89, "p"));
    first.write_message("aaaa").expect("is open");
    first.write_message("aaaa").expect("is open");
    let wires = [raw.take(10, "a frame"), raw.take(10, "a frame")];
    assert_ne!(wires[0], wires[1], "the same mask twice, which chance does once in 4 billion times");
}

#[test]
fn a_client_can_be_in_a_topic_and_leaves_it_at_its_end() {
    let hub = Hub::new();
    let far = Far::bind();
    let (connection, messages, mut raw) = far.open(&to(&far));
    hub.subscribe("prices", &connection).expect("joins");
    assert_eq!(hub.publish("prices", "1").expect("publishes"), 1);
    assert_eq!(unmasked(&mut raw), frame(0x81, "1"));
    drop(messages);
    assert_eq!(hub.count("prices"), 0);
}

#[test]
fn pings_are_answered_and_frames_that_came_with_the_101_are_read() {
    let far = Far::bind();
    let early = [plain(0x89, "early"), plain(0x81, "text")].concat();
    let (connected, mut raw) = far.meet(&to(&far), SWITCHING, &early);
    let mut messages = connected.expect("connects").1;
    assert_eq!(messages.recv().expect("comes"), Some("text".into()));
    assert_eq!(unmasked(&mut raw), frame(0x8a, "early"));
}

#[test]
fn an_interim_answer_is_passed_over() {
    let far = Far::bind();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let (connected, _raw) = far.meet(&to(&far), &format!("{hints}{SWITCHING}"), b"");
    assert!(connected.is_ok());
}

#[test]
fn recv_timeout_loses_nothing() {
    let far = Far::bind();
    let (_connection, mut messages, mut raw) = far.open(&to(&far));
    let bytes = [plain(0x01, "a"), plain(0x80, "b")].concat();
    for part in bytes.chunks(1) {
        assert!(matches!(messages.recv_timeout(Duration::ZERO), Err(Error::TimedOut)));
        raw.send(part);
    }
    assert_eq!(messages.recv_timeout(DEADLINE).expect("comes"), Some("ab".into()));
    let begun = Instant::now();
    assert!(matches!(messages.recv_timeout(SHORT), Err(Error::TimedOut)));
    assert!(begun.elapsed() >= SHORT);
    raw.send(plain(0x81, "c"));
    assert_eq!(messages.recv().expect("comes"), Some("c".into()), "it waits for ever again");
}

#[test]
fn recv_timeout_of_zero_does_not_wait() {
    let far = Far::bind();
    let (_connection, mut messages, mut raw) = far.open(&to(&far));
    let begun = Instant::now();
    for _ in 0..5000 {
        assert!(matches!(messages.recv_timeout(Duration::ZERO), Err(Error::TimedOut)));
    }
    // A kernel timeout takes 1 to 10 ms each.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let long = "x".repeat(100_000);
    raw.send(plain(0x81, &long));
    eventually("what has come is there", || match messages.recv_timeout(Duration::ZERO) {
        Ok(message) => message.is_some_and(|message| message.as_text() == Some(&long)),
        Err(error) => panic_unless_timed_out(&error),
    });
    raw.send(plain(0x81, "b"));
    assert_eq!(messages.recv().expect("comes"), Some("b".into()), "it waits for ever again");
    raw.stream.shutdown(Shutdown::Both).expect("shuts");
    eventually("the end is there", || match messages.recv_timeout(Duration::ZERO) {
        Err(Error::Io { .. }) => true,
        Err(error) => panic_unless_timed_out(&error),
        Ok(message) => panic!("{message:?}"),
    });
}

/// Returns false.
fn panic_unless_timed_out(error: &Error) -> bool {
    assert!(matches!(error, Error::TimedOut), "{error}");
    false
}

#[test]
fn polling_with_a_timeout_of_zero_keeps_the_connection_alive() {
    let far = Far::bind();
    let interval = Duration::from_millis(50);
    let (_connection, mut messages, mut raw) = far.open(&to(&far).ping_interval(Some(interval)));
    thread::scope(|scope| {
        scope.spawn(move || assert_eq!(unmasked(&mut raw).first, 0x89));
        eventually("a server that answers no Ping is given up", || {
            match messages.recv_timeout(Duration::ZERO) {
                Err(Error::Failed { code: 1011, .. } | Error::Io { .. }) => true,
                Err(error) => panic_unless_timed_out(&error),
                Ok(message) => panic!("{message:?}"),
            }
        });
    });
}

#[test]
fn a_flood_of_pings_does_not_outlast_recv_timeout() {
    let far = Far::bind();
    let (_connection, mut messages, mut raw) = far.open(&to(&far));
    let mut reads = raw.stream.try_clone().expect("clones");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut reads, &mut std::io::sink()));
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                raw.send(plain(0x89, "x"));
            }
            raw.stream.shutdown(Shutdown::Both).expect("shuts");
        });
        assert!(matches!(messages.recv_timeout(SHORT), Err(Error::TimedOut)));
        over.store(true, Ordering::Relaxed);
    });
}

// ---- faulty servers ----

/// A 101 with these headers.
fn switching(headers: &str) -> String {
    format!("HTTP/1.1 101 Switching Protocols\r\n{headers}\r\n\r\n")
}

#[test]
fn answers_without_a_websocket_as_a_table() {
    let far = Far::bind();
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade";
    let right = format!("{upgrade}\r\nSec-WebSocket-Accept: ACCEPT");
    for (answer, says, status) in [
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(), "bytes that are not HTTP/1.1", None),
        ("<html>\r\n\r\n".to_owned(), "bytes that are not HTTP/1.1", None),
        (switching(&right).replace("1.1", "1.0"), "HTTP/1.0", Some(101)),
        (switching(&right).replace("1.1", "2"), "HTTP/1.0, or of an unknown version", Some(101)),
        ("HTTP/x 503 Busy\r\n\r\n".to_owned(), "bytes that are not HTTP/1.1", None),
        (
            switching(&format!("{right}\r\nX: {}", "y".repeat(20_000))),
            "a head of over 16384 bytes",
            Some(101),
        ),
        (
            switching(&format!("{right}{}", "\r\nX: y".repeat(100))),
            "a head of over 16384 bytes or 100 headers",
            Some(101),
        ),
        ("\r\n".repeat(10_000), "a head of over 16384 bytes or 100 headers", None),
        (switching(&right.replace("websocket", "h2c")), "without Upgrade: websocket", Some(101)),
        (
            switching(&right.replace("Connection: Upgrade", "Connection: close")),
            "without Connection",
            Some(101),
        ),
        (switching(upgrade), "with 0 Sec-WebSocket-Accept headers", Some(101)),
        (
            switching(&format!("{right}\r\nSec-WebSocket-Accept: ACCEPT")),
            "with 2 Sec-WebSocket-Accept",
            Some(101),
        ),
        (
            switching(&right.replace("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
            "does not match the request's key",
            Some(101),
        ),
        (
            switching(&format!("{right}\r\nSec-WebSocket-Protocol: chat")),
            "subprotocol \"chat\", which the client did not offer",
            Some(101),
        ),
        (
            switching(&format!("{right}\r\nSec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2")),
            "\"v1, v2\"",
            Some(101),
        ),
        (
            switching(&format!("{right}\r\nSec-WebSocket-Extensions: permessage-deflate")),
            "do not match the client's offer",
            Some(101),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n".to_owned(), "200 OK, hi", Some(200)),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "204 No Content", Some(204)),
        (
            "HTTP/1.1 302 Found\r\nLocation: /in\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "302 Found, to /in; redirects are not followed",
            Some(302),
        ),
        (
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n2\r\nr.\r\n0\r\n\r\n"
                .to_owned(),
            "503 Busy, later.",
            Some(503),
        ),
        (
            "HTTP/1.1 400\r\nContent-Length: 9\r\n\r\n\x1b[31mred\n".to_owned(),
            "400, \\u{1b}[31mred",
            Some(400),
        ),
    ] {
        let (connected, _raw) = far.meet(&to(&far).subprotocol("v1").subprotocol("v2"), &answer, b"");
        let Err(Error::Handshake { reason, answer, .. }) = connected else { panic!("{says}") };
        assert!(reason.contains(says), "{says}: {reason}");
        assert!(
            reason.starts_with(&format!("ws://{}/ws answered the handshake with ", far.addr())),
            "{reason}"
        );
        assert!(reason.lines().count() == 1 && !reason.contains("secret"), "{reason}");
        assert_eq!(answer.map(|answer| answer.status), status, "{says}");
    }
}

#[test]
fn a_refusal_is_in_the_error_with_its_headers_and_its_body() {
    let far = Far::bind();
    let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"door\"\r\nContent-Length: 12\r\n\r\nWho are you?";
    let (connected, _raw) = far.meet(&to(&far), refusal, b"");
    let Err(Error::Handshake { reason, answer: Some(answer), .. }) = connected else {
        panic!("is a refusal")
    };
    assert!(reason.ends_with("answered the handshake with 401 Unauthorized, Who are you?"), "{reason}");
    assert_eq!((answer.status, &answer.body[..]), (401, &b"Who are you?"[..]));
    let header = ("www-authenticate".to_owned(), "Basic realm=\"door\"".to_owned());
    assert!(answer.headers.contains(&header), "{:?}", answer.headers);
    let server = Probed::start();
    let failed = client::connect(&format!("ws://{}/missing", server.addr));
    assert!(error(failed).contains("404 Not Found"));
}

#[test]
fn a_refusal_is_whole_whatever_its_version_and_its_framing() {
    let far = Far::bind();
    let long = "x".repeat(20_000);
    for (head, body, status, expected) in [
        ("HTTP/1.0 503 Busy\r\nContent-Length: 5", "later", 503, "later"),
        ("HTTP/1.0 401 Unauthorized\r\nTransfer-Encoding: chunked", "3\r\nwho\r\n0\r\n\r\n", 401, "who"),
        ("HTTP/1.2 401 Unauthorized\r\nContent-Length: 3", "who", 401, "who"),
        ("HTTP/2 503\r\nContent-Length: 5", "later", 503, "later"),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 20000", &long, 503, &long[..16_384]),
        (
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked",
            &format!("4e20\r\n{long}\r\n0\r\n\r\n"),
            503,
            &long[..16_384],
        ),
        ("HTTP/1.1 503 Busy\r\nTransfer-Encoding: gzip, chunked", "3\r\nabc\r\n0\r\n\r\n", 503, "abc"),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 9\r\nTransfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
            503,
            "abc",
        ),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 3\r\nContent-Length: 3", "abc", 503, "abc"),
        ("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked", "3\r\nabc\r\nnone\r\n", 503, "abc"),
        ("HTTP/1.1 401 Unauthorized\r\nno header\r\nX Y: z\r\nContent-Length: 3", "who", 401, "who"),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0", "", 503, ""),
    ] {
        let (connected, _raw) = far.meet(&to(&far), &format!("{head}\r\nX-A: b\r\n\r\n{body}"), b"");
        let Err(Error::Handshake { answer: Some(answer), .. }) = connected else { panic!("{head}") };
        assert_eq!((answer.status, answer.body.as_slice()), (status, expected.as_bytes()), "{head}");
        assert!(answer.headers.contains(&("x-a".to_owned(), "b".to_owned())), "{head}: {:?}", answer.headers);
    }
}

#[test]
fn a_head_that_is_too_long_does_not_hide_the_status_of_a_refusal() {
    let far = Far::bind();
    let (long, many) = ("y".repeat(20_000), "\r\nX: y".repeat(200));
    for (head, status, first_header) in [
        (format!("HTTP/1.1 401 Unauthorized\r\nX-A: b\r\nX: {long}"), 401, true),
        (format!("HTTP/1.1 429 Later\r\nX-A: b{many}"), 429, true),
        (format!("HTTP/2 503\r\nX-A: b\r\nX: {long}"), 503, true),
        (format!("HTTP/1.1 103 Hints\nX-A: b\nX: {long}"), 103, true),
        (format!("HTTP/1.1 403 {long}"), 403, false),
        (format!("HTTP/1.1 400 Bad\r\nno header {long}"), 400, false),
    ] {
        let (connected, _raw) = far.meet(&to(&far), &format!("{head}\r\n\r\n"), b"");
        let Err(Error::Handshake { reason, answer: Some(answer), .. }) = connected else {
            panic!("{status}")
        };
        assert_eq!((answer.status, answer.body.as_slice()), (status, &b""[..]));
        let header = ("x-a".to_owned(), "b".to_owned());
        assert_eq!(answer.headers.contains(&header), first_header, "{status}: {:?}", answer.headers);
        assert!(reason.ends_with(", and a head of over 16384 bytes or 100 headers"), "{reason}");
        assert!(reason.contains(&format!("with {status}")) && reason.len() < 1000, "{reason}");
    }
}

#[test]
fn the_body_of_a_refusal_has_a_second_where_its_end_does_not_come() {
    let far = Far::bind();
    for (head, body) in [
        ("HTTP/1.0 503 Busy", "later"),
        ("HTTP/1.1 503 Busy", "later"),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 100", "later"),
        ("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked", "64\r\nlater"),
    ] {
        let builder = to(&far).connect_deadline(3 * DEADLINE);
        let begun = Instant::now();
        let (connected, _raw) = far.meet(&builder, &format!("{head}\r\n\r\n{body}"), b"");
        let Err(Error::Handshake { answer: Some(answer), .. }) = connected else { panic!("{head}") };
        assert_eq!((answer.status, answer.body.as_slice()), (503, &b"later"[..]), "{head}");
        assert!(begun.elapsed() < 2 * DEADLINE, "{head}");
    }
}

#[test]
fn a_server_that_is_slow_or_leaves_is_an_error_by_the_deadline() {
    type Drive = fn(support::Raw, &AtomicBool);
    let cases: [(&str, Drive, &str); 4] = [
        ("leaves", |raw, _| drop(raw), "it closed the connection"),
        ("leaves within the head", |mut raw, _| raw.send("HTTP/1.1 101 Swi"), "it closed the connection"),
        ("resets", |raw, _| raw.reset(), "Connection reset by peer"),
        (
            "dribbles",
            |mut raw, over| {
                while !over.load(Ordering::Relaxed) {
                    raw.send("H");
                    thread::park_timeout(Duration::from_millis(1));
                }
            },
            "bytes that are not HTTP/1.1",
        ),
    ];
    for (name, drive, says) in cases {
        let (far, over) = (Far::bind(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| drive(far.accept().0, &over));
            let line = error(to(&far).connect());
            assert!(line.contains(says), "{name}: {line}");
            over.store(true, Ordering::Relaxed);
        });
    }
    let (far, over) = (Far::bind(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut raw = far.accept().0;
            raw.send("HTTP/1.1 101 Switching Protocols\r\nX: ");
            while !over.load(Ordering::Relaxed) {
                raw.send("y");
                thread::park_timeout(Duration::from_millis(1));
            }
        });
        let line = error(to(&far).connect_deadline(SHORT).connect());
        assert!(line.ends_with("did not answer the handshake: not within the connect deadline"), "{line}");
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_absent_server_is_named() {
    let port = support::free_port().port();
    // A bare system has no `/etc/hosts`.
    let known = |host: &&str| (*host, port).to_socket_addrs().is_ok();
    let host = ["localhost", "127.0.0.1"].into_iter().find(known).expect("an address");
    let line = error(client::connect(&format!("ws://{host}:{port}/x?token=secret")));
    assert!(line.starts_with(&format!("cannot connect to ws://{host}:{port}/x (")), "{line}");
    assert!(line.contains("127.0.0.1:") && line.ends_with("): Connection refused"), "{line}");
    let line = error(client::connect("ws://nobody.invalid/"));
    assert!(line.starts_with("cannot find nobody.invalid: "), "{line}");
}

#[test]
fn forbidden_frames_close_with_their_code_as_a_table() {
    let far = Far::bind();
    let masked_text = masked(0x81, b"hi");
    for (bytes, code, says) in [
        (masked_text, 1002, "protocol error"),
        (plain(0x83, "x"), 1002, "protocol error"),
        (plain(0xc1, "x"), 1002, "protocol error"),
        (plain(0x80, "x"), 1002, "protocol error"),
        (plain(0x09, "x"), 1002, "protocol error"),
        (plain(0x89, "x".repeat(126)), 1002, "protocol error"),
        (plain(0x88, "x"), 1002, "protocol error"),
        (plain(0x81, &"\u{fc}".as_bytes()[..1]), 1007, "invalid UTF-8"),
        (plain(0x82, vec![0; 1001])[..4].to_vec(), 1009, "message too big"),
    ] {
        let (connection, mut messages, mut raw) = far.open(&to(&far).max_message(1000));
        raw.send(&bytes);
        let failed = messages.recv();
        let Err(Error::Failed { code: closed, reason, .. }) = failed else { panic!("{says}") };
        assert_eq!(
            (closed, reason),
            (code, format!("ws://{}/ws: {says}, so it was closed with {code}", far.addr()))
        );
        assert_eq!(unmasked(&mut raw), close_frame(code, says));
        assert!(matches!(messages.recv(), Ok(None)) && connection.is_closed());
        drop(messages);
        raw.stream.shutdown(Shutdown::Write).expect("shuts");
        assert!(raw.is_at_end(), "nothing follows, and it is in order");
    }
}

#[test]
fn a_connection_that_ends_without_a_close_is_an_error() {
    let far = Far::bind();
    for (bytes, resets, says) in [
        (&b""[..], false, "it ended without a Close frame"),
        (b"\x81\x05he", false, "it ended without a Close frame"),
        (b"\x81\x05he", true, "Connection reset by peer"),
    ] {
        let (_connection, mut messages, mut raw) = far.open(&to(&far));
        raw.send(bytes);
        if resets {
            raw.reset()
        } else {
            drop(raw)
        }
        let line = error(messages.recv());
        assert_eq!(line, format!("reading from ws://{}/ws: {says}", far.addr()));
        assert!(matches!(messages.recv(), Ok(None)));
        assert_eq!(messages.close_code(), None);
    }
}

// ---- ends ----

#[test]
fn the_servers_close_is_an_end_and_is_answered_after_accepted_messages() {
    let far = Far::bind();
    let (connection, mut messages, mut raw) = far.open(&to(&far));
    connection.write_message("before").expect("is open");
    raw.send(plain(0x81, "last"));
    raw.send(plain(0x88, [&1012_u16.to_be_bytes()[..], b"restart"].concat()));
    assert_eq!(messages.recv().expect("comes"), Some("last".into()));
    thread::scope(|scope| {
        let end = scope.spawn(|| messages.recv());
        assert_eq!(unmasked(&mut raw), frame(0x81, "before"));
        assert_eq!(unmasked(&mut raw), frame(0x88, 1012_u16.to_be_bytes()));
        // The client ignores bytes after it; and the server ends TCP first.
        raw.send(plain(0x81, "nonsense"));
        raw.stream.shutdown(Shutdown::Write).expect("shuts");
        assert!(matches!(end.join().unwrap(), Ok(None)));
    });
    assert_eq!((messages.close_code(), messages.close_reason()), (Some(1012), Some("restart")));
    assert!(raw.is_at_end());
}

#[test]
fn messages_that_come_behind_our_close_are_read_until_the_servers() {
    let far = Far::bind();
    let (connection, messages, mut raw) = far.open(&to(&far));
    connection.close(None, None).expect("is open");
    assert_eq!(unmasked(&mut raw), frame(0x88, ""));
    for text in ["a", "b"] {
        raw.send(plain(0x81, text));
    }
    raw.send(plain(0x88, ""));
    drop(raw);
    let texts: Vec<_> = messages.map(|message| message.expect("comes").to_string()).collect();
    assert_eq!(texts, ["a", "b"]);
}

#[test]
fn a_close_that_is_never_answered_is_an_error_after_5_seconds() {
    let far = Far::bind();
    let (connection, mut messages, _raw) = far.open(&to(&far));
    connection.close(None, None).expect("is open");
    let begun = Instant::now();
    let line = error(messages.recv());
    assert_eq!(line, format!("closing ws://{}/ws: the server did not answer it in time", far.addr()));
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_never_ends_tcp_is_left_after_5_seconds() {
    let far = Far::bind();
    let (_connection, mut messages, mut raw) = far.open(&to(&far));
    raw.send(plain(0x88, ""));
    assert!(matches!(messages.recv(), Ok(None)));
    assert_eq!(unmasked(&mut raw), frame(0x88, ""));
}

#[test]
fn dropping_messages_ends_it_with_1001_after_accepted_messages_and_does_not_block() {
    let far = Far::bind();
    let (connection, messages, mut raw) = far.open(&to(&far).max_backlog(64 << 20));
    let sent: Vec<_> = (0..20).map(|n| n.to_string().repeat(500_000)).collect();
    for text in &sent {
        connection.write_message(text.as_str()).expect("is accepted");
    }
    assert!(connection.backlog() > 0, "the socket is full");
    let begun = Instant::now();
    drop(messages);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // The client reads these bytes, so that the kernel does not reset.
    raw.send(plain(0x81, "x".repeat(100_000)));
    for text in &sent {
        assert!(unmasked(&mut raw) == frame(0x81, text));
    }
    assert_eq!(unmasked(&mut raw), frame(0x88, 1001_u16.to_be_bytes()));
    raw.send(plain(0x88, 1001_u16.to_be_bytes()));
    raw.stream.shutdown(Shutdown::Write).expect("shuts");
    assert!(raw.is_at_end());
    let (linger, pump) = (format!("linger-{}", connection.id()), format!("pump-{}", connection.id()));
    eventually("its threads are gone", || {
        let names = threads(std::process::id());
        !names.contains(&linger) && !names.contains(&pump)
    });
}

#[test]
fn recv_ends_only_when_all_that_was_accepted_is_written() {
    let far = Far::bind();
    let (connection, mut messages, mut raw) = far.open(&to(&far).max_backlog(64 << 20));
    for _ in 0..20 {
        connection.write_message("x".repeat(500_000)).expect("is accepted");
    }
    connection.close(None, None).expect("is open");
    assert!(connection.backlog() > 0, "the socket is full");
    // A server that sends a Close, and reads the rest.
    raw.send(plain(0x88, ""));
    raw.stream.shutdown(Shutdown::Write).expect("shuts");
    thread::scope(|scope| {
        let end = scope.spawn(|| messages.recv());
        for _ in 0..20 {
            assert_eq!(unmasked(&mut raw).payload.len(), 500_000);
        }
        assert_eq!(unmasked(&mut raw), frame(0x88, ""));
        assert!(matches!(end.join().unwrap(), Ok(None)));
    });
    assert_eq!(connection.backlog(), 0);
}

// ---- keepalive ----

#[test]
fn a_server_that_shows_no_sign_of_life_is_closed_with_1011() {
    for polls in [false, true] {
        let far = Far::bind();
        let interval = Some(Duration::from_millis(100));
        let (_connection, mut messages, mut raw) =
            far.open(&to(&far).ping_interval(interval).ping_timeout(SHORT));
        let failed = loop {
            let read = if polls { messages.recv_timeout(Duration::from_millis(10)) } else { messages.recv() };
            if !matches!(read, Err(Error::TimedOut)) {
                break read;
            }
        };
        let Err(Error::Failed { code: 1011, reason, .. }) = failed else { panic!("it is silent") };
        assert!(reason.contains("ping timed out"), "{reason}");
        assert_eq!(unmasked(&mut raw).first, 0x89);
        assert_eq!(unmasked(&mut raw), close_frame(1011, "ping timed out"));
    }
}

#[test]
fn a_pong_is_a_sign_of_life_and_measures_the_latency() {
    for polls in [false, true] {
        let far = Far::bind();
        let interval = Some(Duration::from_millis(20));
        let (connection, mut messages, mut raw) =
            far.open(&to(&far).ping_interval(interval).ping_timeout(DEADLINE));
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..5 {
                    let ping = unmasked(&mut raw);
                    assert_eq!(ping.first, 0x89);
                    raw.send(plain(0x8a, ping.payload));
                }
                raw.send(plain(0x81, "alive"));
                unmasked(&mut raw)
            });
            let message = loop {
                let read =
                    if polls { messages.recv_timeout(Duration::from_millis(5)) } else { messages.recv() };
                if !matches!(read, Err(Error::TimedOut)) {
                    break read;
                }
            };
            assert_eq!(message.expect("is alive"), Some("alive".into()));
            assert!(connection.latency().is_some_and(|latency| latency < DEADLINE));
            drop(messages);
        });
    }
}

// ---- load ----

#[test]
fn a_writer_that_waits_for_room_meets_no_slow_consumer_and_another_does() {
    let far = Far::bind();
    let (connection, messages, mut raw) = far.open(&to(&far));
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..100 {
                assert_eq!(unmasked(&mut raw).payload.len(), 256 << 10);
            }
            raw.send(plain(0x88, ""));
            unmasked(&mut raw);
        });
        for _ in 0..100 {
            connection.wait_for_room(DEADLINE).expect("has room");
            connection.write_message(vec![0; 256 << 10]).expect("is accepted");
        }
        assert!(messages.collect::<Result<Vec<_>>>().expect("none fails").is_empty());
    });
    let (connection, mut messages, _raw) = far.open(&to(&far));
    let refused = (0..100).find_map(|_| connection.write_message(vec![0; 256 << 10]).err());
    assert!(matches!(refused, Some(Error::SlowConsumer { .. })), "{refused:?}");
    let ended = messages.recv();
    assert!(matches!(ended, Err(Error::SlowConsumer { backlog: 1.. })), "{ended:?}");
}

#[test]
fn a_close_with_a_code_that_may_not_be_sent_is_a_failure() {
    let far = Far::bind();
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let (_connection, mut messages, mut raw) = far.open(&to(&far));
        raw.send(plain(0x88, code.to_be_bytes()));
        match messages.recv() {
            Err(Error::Failed { code: 1002, reason, .. }) => {
                assert!(reason.contains("protocol error"), "{reason}")
            }
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!((messages.close_code(), messages.recv().expect("has ended")), (None, None));
        assert_eq!(unmasked(&mut raw), close_frame(1002, "protocol error"), "{code}");
    }
    for (payload, code) in [(vec![], None), (3999u16.to_be_bytes().to_vec(), Some(3999))] {
        let (_connection, mut messages, mut raw) = far.open(&to(&far));
        raw.send(plain(0x88, payload));
        raw.stream.shutdown(Shutdown::Write).expect("shuts");
        assert_eq!((messages.recv().expect("ends"), messages.close_code()), (None, code));
    }
}

#[test]
fn a_client_and_a_server_that_both_flood_do_not_stop_each_other() {
    const MESSAGES: usize = 3000;
    // On a slow machine a backlog may stand still for long.
    let settings = |application: Application| application.write_deadline(DEADLINE);
    let server = Probed::start_with(settings, Connection::write_message);
    let builder = Builder::new(&url(&server)).write_deadline(DEADLINE);
    let (connection, messages) = builder.connect().expect("connects");
    let text = "x".repeat(16 << 10);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MESSAGES {
                connection.wait_for_room(DEADLINE).expect("has room");
                connection.write_message(text.as_str()).expect("is open");
            }
        });
        let mut echoes = 0;
        for message in messages {
            assert!(message.expect("comes").as_text() == Some(&text));
            echoes += 1;
            // Not before: behind a backlog a slow machine answers it too late.
            if echoes == MESSAGES {
                connection.close(None, None).expect("is open");
            }
        }
        assert_eq!(echoes, MESSAGES);
    });
    drop(server);
}

#[test]
fn a_server_that_wants_pongs_and_takes_none_is_not_read_for_ever() {
    let far = Far::bind();
    let deadline = Duration::from_secs(1);
    let (connection, mut messages, raw) = far.open(&to(&far).max_backlog(256 << 10).write_deadline(deadline));
    let pings = plain(0x89, "x".repeat(125)).repeat(1000);
    raw.stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    let mut writes = raw.stream.try_clone().expect("clones");
    thread::scope(|scope| {
        scope.spawn(move || while std::io::Write::write_all(&mut writes, &pings).is_ok() {});
        let ended = messages.recv();
        assert!(matches!(ended, Err(Error::SlowConsumer { .. })), "{ended:?}");
        assert!(connection.is_closed());
        // Its socket closes, so the server's last write fails.
        drop((connection, messages));
    });
}

#[test]
fn a_stream_that_is_connected_already_is_used() {
    let server = Probed::start_with(|application| application, Connection::write_message);
    let stream = TcpStream::connect(server.addr).expect("connects");
    let local = stream.local_addr().expect("an address");
    let (connection, mut messages) =
        Builder::new("ws://chat.test/ws").connect_over(stream).expect("shakes hands");
    assert_eq!(connection.peer_addr(), server.addr);
    match server.next("open") {
        Event::Open(theirs) => assert_eq!(theirs.peer_addr(), local),
        other => panic!("{other:?}"),
    }
    connection.write_message("hi").expect("is open");
    assert_eq!(messages.recv().expect("comes"), Some("hi".into()));
}

#[test]
fn compression_is_used_both_ways_where_both_want_it() {
    let server =
        Probed::start_with(|application| application.compression(Some(1)), Connection::write_message);
    let (connection, mut messages) =
        Builder::new(&url(&server)).compression(Some(1024)).connect().expect("connects");
    assert!(connection.is_compressed());
    for size in [0, 1, 1023, 1024, 65_535, 1 << 20] {
        let message = Message::from("0123456789abcdef".repeat(size / 16 + 1)[..size].to_owned());
        connection.write_message(message.clone()).expect("is open");
        assert!(messages.recv().expect("comes") == Some(message), "{size}");
    }
    let plain = Probed::start();
    let (connection, _messages) =
        Builder::new(&url(&plain)).compression(Some(1024)).connect().expect("connects");
    assert!(!connection.is_compressed(), "the server does not want it");
}
