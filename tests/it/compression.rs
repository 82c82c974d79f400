//! `tests/BEHAVIOUR.md`, *Compression*: negotiation, incoming and outgoing messages, and errors.

use crate::support;

use std::fs;
use std::thread;

use support::deflate::{TAIL, deflated, inflated};
use support::dice::Dice;
use support::{
    Event, Probed, Program, Raw, Wire, close_frame, eventually, frame, get, header_values, masked, upgrade,
};
use threadcast::{Application, Connection, FanOut, Message, broadcast};

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const RSV1: u8 = 0x40;

/// From 1 KiB on.
fn compressing(application: Application) -> Application {
    application.compression(Some(1024))
}

/// A client that offers `offers`, if any, with its connection and the server's answer.
fn open(probed: &Probed, offers: &str) -> (Raw, Connection, Option<String>) {
    let mut raw = Raw::connect(probed.addr);
    let lines =
        if offers.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {offers}\r\n") };
    raw.send(upgrade("/ws", &lines));
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut answers = header_values(&head, "Sec-WebSocket-Extensions").into_iter().map(str::to_owned);
    let answer = answers.next();
    assert_eq!(answers.next(), None);
    match probed.next("open") {
        Event::Open(connection) => (raw, connection, answer),
        other => panic!("waited for open, got {other:?}"),
    }
}

fn open_compressed(probed: &Probed) -> (Raw, Connection) {
    let (raw, connection, answer) = open(probed, "permessage-deflate; client_max_window_bits");
    assert_eq!(answer.as_deref(), Some(ANSWER));
    (raw, connection)
}

/// Text that compresses as JSON does.
fn text(length: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("{{\"id\":{n},\"value\":{}}},", n * n % 977));
    }
    text.truncate(length);
    text
}

#[test]
fn compression_is_agreed_on_where_it_is_turned_on_and_offered() {
    let probed = Probed::start_with(compressing, |_, _| Ok(()));
    let mut open_still = Vec::new();
    for (offers, answer) in [
        ("permessage-deflate; client_max_window_bits", Some(ANSWER.to_owned())),
        ("permessage-deflate; server_max_window_bits=9", Some(format!("{ANSWER}; server_max_window_bits=9"))),
        ("permessage-deflate; server_max_window_bits=99", None),
        ("x, permessage-deflate", Some(ANSWER.to_owned())),
        ("x\r\nSec-WebSocket-Extensions: permessage-deflate", Some(ANSWER.to_owned())),
        ("", None),
    ] {
        let (raw, connection, answered) = open(&probed, offers);
        assert_eq!(answered, answer, "{offers}");
        assert_eq!(connection.is_compressed(), answer.is_some(), "{offers}");
        open_still.push(raw);
    }
    let off = Probed::start();
    let (mut raw, connection, answered) = open(&off, "permessage-deflate");
    assert_eq!((answered, connection.is_compressed()), (None, false));
    connection.write_message(text(4096)).unwrap();
    assert_eq!(raw.frame(), frame(0x81, text(4096)));
}

#[test]
fn a_message_is_compressed_from_the_size_on_and_only_if_that_makes_it_smaller() {
    let probed = Probed::start_with(compressing, |_, _| Ok(()));
    let (mut raw, connection) = open_compressed(&probed);
    let noise = Dice(17).bytes(4096);
    for (case, message, compressed) in [
        ("below", Message::from(text(1023)), false),
        ("from there", Message::from(text(1024)), true),
        ("binary", Message::from(text(5000).into_bytes()), true),
        ("large", Message::from(text(1 << 20)), true),
        ("noise", Message::from(noise), false),
        ("empty", Message::from(""), false),
    ] {
        let (opcode, payload) = (1 + u8::from(message.is_binary()), message.as_bytes().to_vec());
        connection.write_message(message).unwrap();
        let got = raw.frame();
        assert_eq!(got.first, 0x80 | opcode | if compressed { RSV1 } else { 0 }, "{case}");
        let content = if compressed { inflated(&got.payload, 15) } else { got.payload };
        assert!(content == payload, "{case}");
    }
    connection.ping(&[b'x'; 125]).unwrap();
    assert_eq!(raw.frame(), frame(0x89, [b'x'; 125]));
}

#[test]
fn compressed_messages_arrive_whole_in_fragments_and_between_plain_ones() {
    let probed = Probed::start_with(compressing, |_, _| Ok(()));
    let (mut raw, _connection) = open_compressed(&probed);
    for length in [0, 1, 125, 126, 1000, 16_383, 16_384, 16_385, 65_536, 1 << 20] {
        let message = text(length);
        raw.send_frame(0xc1, deflated(message.as_bytes()));
        probed.expect_message(message.as_str());
        raw.send_frame(0xc2, deflated(message.as_bytes()));
        probed.expect_message(message.as_bytes());
        raw.send_frame(0x81, &message);
        probed.expect_message(message.as_str());
        let data = deflated(message.as_bytes());
        let pieces: Vec<_> = data.chunks(data.len().div_ceil(3)).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let first = if at == 0 { 0x41 } else { 0 } | if at + 1 == pieces.len() { 0x80 } else { 0 };
            if at > 0 {
                raw.send_frame(0x89, "between");
                assert_eq!(probed.next("a ping"), Event::Ping(b"between".to_vec()));
            }
            raw.send_frame(first, piece);
        }
        probed.expect_message(message.as_str());
    }
}

#[test]
fn a_compressed_message_that_came_with_the_handshake_is_read() {
    let probed = Probed::start_with(compressing, |_, _| Ok(()));
    let mut raw = Raw::connect(probed.addr);
    let head = upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    raw.send([head.into_bytes(), masked(0xc1, &deflated(text(3000).as_bytes()))].concat());
    assert!(matches!(probed.next("open"), Event::Open(_)));
    probed.expect_message(text(3000));
}

#[test]
fn a_broadcast_reaches_plain_compressed_and_small_window_clients_alike() {
    let probed = Probed::start_with(compressing, |_, _| Ok(()));
    let kinds = [
        ("", None),
        ("permessage-deflate", Some(15)),
        ("permessage-deflate; server_max_window_bits=8", Some(8)),
        ("permessage-deflate; server_max_window_bits=11", Some(11)),
        ("permessage-deflate; server_max_window_bits=12", Some(12)),
    ];
    let mut crowd: Vec<_> = kinds
        .iter()
        .cycle()
        .take(600)
        .map(|(offers, bits)| {
            let (raw, connection, _) = open(&probed, offers);
            (raw, connection, *bits)
        })
        .collect();
    let connections: Vec<_> = crowd.iter().map(|(_, connection, _)| connection.clone()).collect();
    let message = text(4096);
    assert_eq!(broadcast(&connections, message.as_str()).unwrap(), 600);
    assert_eq!(FanOut::with_threads(3).broadcast(connections, message.as_str()).unwrap(), 600);
    let mut compressed: Option<Vec<u8>> = None;
    for (raw, _, bits) in &mut crowd {
        for _ in 0..2 {
            let Wire { first, payload } = raw.frame();
            match bits {
                Some(bits @ 12..) => {
                    assert_eq!(first, 0xc1);
                    assert!(inflated(&payload, *bits) == message.as_bytes());
                    // One form for all.
                    assert!(*compressed.get_or_insert_with(|| payload.clone()) == payload);
                }
                _ => assert!((first, payload) == (0x81, message.clone().into_bytes())),
            }
        }
    }
    let length = compressed.expect("some are compressed").len();
    assert!(length < message.len() / 3, "{length}");
}

#[test]
fn a_small_window_gets_messages_that_fit_compressed() {
    let probed = Probed::start_with(|application| application.compression(Some(1)), |_, _| Ok(()));
    let mut open_still = Vec::new();
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let (mut raw, connection, _) = open(&probed, &offer);
        for length in [1 << bits, (1 << bits) + 1] {
            // Repeated bytes at the greatest possible distance.
            let message = "a".repeat(length / 2) + &text(length - length / 2);
            connection.write_message(message.as_str()).unwrap();
            let got = raw.frame();
            assert_eq!(got.first == 0xc1, bits == 15 || length == 1 << bits, "{bits} {length}");
            let content = if got.first == 0xc1 { inflated(&got.payload, bits) } else { got.payload };
            assert!(content == message.as_bytes(), "{bits} {length}");
        }
        open_still.push(raw);
    }
}

/// The client's bytes, and the code with which the server fails the connection.
#[test]
fn misuse_of_compression_closes_with_its_code_as_a_table() {
    let data = deflated(text(3000).as_bytes());
    let begun = masked(0x41, &data[..50]);
    for (case, sent, code, reason) in [
        (
            "RSV1 on a continuation",
            [begun.clone(), masked(0xc0, &data[50..])].concat(),
            1002,
            "protocol error",
        ),
        ("a text within", [begun.clone(), masked(0x81, b"x")].concat(), 1002, "protocol error"),
        ("RSV1 on a Ping", masked(0xc9, b"x"), 1002, "protocol error"),
        ("RSV1 and RSV2", masked(0xe1, &data), 1002, "protocol error"),
        ("RSV1 on a continuation of nothing", masked(0xc0, &data), 1002, "protocol error"),
        (
            "a compressed text in a plain one",
            [masked(0x01, b"x"), masked(0xc1, &data)].concat(),
            1002,
            "protocol error",
        ),
        (
            "no mask",
            [&[0xc1, data.len().min(125) as u8][..], &data[..data.len().min(125)]].concat(),
            1002,
            "protocol error",
        ),
        ("no compressed data", masked(0xc1, &[0xff; 9]), 1007, "invalid compressed data"),
        ("no UTF-8", masked(0xc1, &deflated(b"\xff\xfe")), 1007, "invalid UTF-8"),
        ("larger than the limit", masked(0xc2, &deflated(&vec![0; 100_001])), 1009, "message too big"),
        ("its header alone says so", masked(0xc2, &vec![0; 200_000])[..14].to_vec(), 1009, "message too big"),
    ] {
        let probed = Probed::start_with(|a| compressing(a).max_message(100_000), |_, _| Ok(()));
        let (mut raw, _) = open_compressed(&probed);
        raw.send(sent);
        assert_eq!(raw.frame(), close_frame(code, reason), "{case}");
        probed.expect_close(None, None);
    }
}

#[test]
fn a_message_at_the_limit_after_inflation_is_taken() {
    let probed = Probed::start_with(|a| compressing(a).max_message(100_000), |_, _| Ok(()));
    let (mut raw, _connection) = open_compressed(&probed);
    raw.send_frame(0xc2, deflated(&vec![0; 100_000]));
    probed.expect_message(vec![0; 100_000]);
}

fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("has a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_message_that_does_not_end_with_a_block_is_closed_with_1007() {
    let probed = Probed::start_with(compressing, |_, _| Ok(()));
    let sent = text(5000);
    let data = deflated(sent.as_bytes());
    let stored = |says: u16, is: usize| {
        [&[0][..], &says.to_le_bytes(), &(!says).to_le_bytes(), &vec![b'x'; is]].concat()
    };
    for (name, data) in [
        ("cut within a block", data[..data.len() / 2].to_vec()),
        ("cut before its last byte", data[..data.len() - 1].to_vec()),
        ("with half of its tail", [&data[..], &TAIL[..2]].concat()),
        ("a stored block that has too little", stored(100, 10)),
        ("a stored block with room for our own tail", stored(14, 10)),
    ] {
        let (mut client, _connection) = open_compressed(&probed);
        client.send(masked(0x81 | RSV1, &data));
        assert_eq!(client.frame(), close_frame(1007, "invalid compressed data"), "{name}");
        drop(client);
        probed.expect_close(None, None);
    }
    let (mut client, _connection) = open_compressed(&probed);
    let (cut, rest) = data.split_at(data.len() / 2);
    for (name, frames, message) in [
        ("with its tail in place", masked(0x81 | RSV1, &[&data[..], &TAIL].concat()), sent.clone()),
        ("in two fragments", [masked(0x01 | RSV1, cut), masked(0x80, rest)].concat(), sent.clone()),
        ("a stored block, and no more", masked(0x81 | RSV1, &stored(10, 10)), "x".repeat(10)),
        ("a last block", masked(0x81 | RSV1, &[0x4b, 0x4c, 0x04, 0x00]), "aa".to_owned()),
        ("nothing", masked(0x81 | RSV1, b""), String::new()),
    ] {
        client.send(frames);
        match probed.next(name) {
            Event::Message(received) => assert!(received.as_text() == Some(&message), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A gibibyte of zeros in about a mebibyte.
fn bomb() -> Vec<u8> {
    let mebibyte = [deflated(&vec![0; 1 << 20]), TAIL.to_vec()].concat();
    mebibyte.repeat(1024)
}

fn compressed_program(args: &[&str]) -> Program {
    Program::start(
        &[&["--compression", "1KiB", "--interval", "1h", "--logging", "none", "--lab"], args].concat(),
    )
}

fn compressed_client(program: &Program, target: &str) -> Raw {
    let mut raw = Raw::connect(program.addr());
    raw.send(upgrade(target, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    let head = raw.head();
    assert_eq!(header_values(&head, "Sec-WebSocket-Extensions"), [ANSWER], "{head}");
    raw
}

#[test]
fn bombs_end_at_the_limit_in_bounded_memory() {
    let program = compressed_program(&[]);
    let bomb = masked(0xc2, &bomb());
    assert!(bomb.len() < 2 << 20, "{}", bomb.len());
    let before = peak_kib(program.pid());
    thread::scope(|scope| {
        for n in 0..4 {
            let (program, bomb) = (&program, &bomb);
            scope.spawn(move || {
                let mut raw = compressed_client(program, &format!("/echo?Id=bomb-{n}"));
                raw.send(bomb);
                assert_eq!(raw.frame(), close_frame(1009, "message too big"));
            });
        }
    });
    let grown = peak_kib(program.pid()) - before;
    // Four messages of up to 10 MiB, whose buffers may double as they grow, and the bombs' output.
    assert!(grown < 128 << 10, "{grown} KiB");
}

#[test]
fn half_messages_by_the_thousand_wait_in_their_compressed_form() {
    const CLIENTS: u64 = 1000;
    let program = compressed_program(&["--max-clients", "2000"]);
    let data = deflated(text(100_000).as_bytes());
    let half = &masked(0xc1, &data)[..data.len() / 2];
    assert!(half.len() > 8000 && half.len() < 16_000, "{}", half.len());
    let mut crowd: Vec<_> =
        (0..CLIENTS).map(|n| compressed_client(&program, &format!("/echo?Id={n}"))).collect();
    let before = resident_kib(program.pid());
    for raw in &mut crowd {
        raw.send(half);
    }
    eventually("all is read", || support::on_its_way(program.addr()) == 0);
    let grown = resident_kib(program.pid()).saturating_sub(before);
    assert!(grown / CLIENTS < 48, "{} KiB each", grown / CLIENTS);
    // Another client gets service as if they did not exist.
    let mut raw = compressed_client(&program, "/echo?Id=whole");
    raw.send_frame(0xc1, deflated(text(50_000).as_bytes()));
    let got = raw.frame();
    assert!((got.first, inflated(&got.payload, 15)) == (0xc1, text(50_000).into_bytes()));
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("has a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn messages_in_assembly_are_counted_by_their_size_after_inflation() {
    let probed = Probed::start_with(|a| compressing(a).max_buffered(1 << 20), |_, _| Ok(()));
    let (mut raw, _connection) = open_compressed(&probed);
    raw.send_frame(0xc2, deflated(&vec![0; 900_000]));
    probed.expect_message(vec![0; 900_000]);
    raw.send_frame(0xc2, deflated(&vec![0; 3 << 20]));
    assert_eq!(raw.frame(), close_frame(1013, "no room for this message, try again later"));
}

#[test]
fn stats_count_bytes_before_and_after_compression() {
    let program = compressed_program(&[]);
    let mut raw = compressed_client(&program, "/echo?Id=one");
    raw.send_frame(0x81, text(10_000));
    let got = raw.frame();
    assert!(got.first == 0xc1 && got.payload.len() < 4000);
    eventually("it is counted", || {
        let mut page = Raw::connect(program.addr());
        page.send(get("/stats", ""));
        let (_, body) = page.response();
        let stats: serde_json::Value = serde_json::from_slice(&body).expect("is JSON");
        let (sent, uncompressed) = (&stats["bytes"], &stats["bytes_uncompressed"]);
        let (sent, uncompressed) = (sent.as_u64().unwrap(), uncompressed.as_u64().unwrap());
        uncompressed - sent == 10_000 - got.payload.len() as u64
    });
}
