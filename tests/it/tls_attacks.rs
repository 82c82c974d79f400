//! TLS in the hands of attackers and of the ignorant: each gets an answer at once, the log gets one line with address
//! and reason, and a bystander gets every push.

use crate::support;
use support::tls;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use support::{Directory, Program, Raw, eventually, masked, upgrade};
use tls::{Identity, Secure};

/// Types of records, and alerts (RFC 8446, sections 5.1 and 6).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const UNEXPECTED_MESSAGE: u8 = 10;
const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
/// Key changes without data between them that are too many.
const TOO_MANY: usize = 33;

/// The program, and a harmless client.
struct Attacked {
    program: Program,
    identity: Identity,
    bystander: Secure,
}

impl Attacked {
    fn start(name: &str) -> Attacked {
        let (files, identity) = (Directory::new(name), Identity::new());
        files.write("chain.pem", &identity.chain);
        files.write("key.pem", &identity.key);
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| format!("{}/{name}", files.path()));
        let more = ["--interval", "20ms", "--logging", "debug"];
        let program = Program::start(&[&["--tls-cert", &chain, "--tls-key", &key], &more[..]].concat());
        let config = Arc::new(identity.client(&[&TLS13]));
        let bystander = Secure::websocket(program.addr(), &config, "/websocket?Id=bystander");
        Attacked { program, identity, bystander }
    }

    fn websocket(&self, config: ClientConfig) -> Secure {
        Secure::websocket(self.program.addr(), &Arc::new(config), "/websocket?Id=attacker")
    }

    /// Checks that the log has one more line with `mark`, which ends like this, and that the bystander gets the next
    /// pushes.
    fn expect(&mut self, mark: &str, lines: usize, end: &str) {
        let with_mark = || {
            let mut lines = self.program.lines();
            lines.retain(|line| line.contains(mark));
            lines
        };
        eventually(end, || with_mark().len() >= lines);
        let with_mark = with_mark();
        assert!(with_mark.len() == lines && with_mark[lines - 1].ends_with(end), "{end}: {with_mark:#?}");
        assert!(with_mark[lines - 1].contains(" (127.0.0.1:"), "{with_mark:#?}");
        pong(&mut self.bystander);
        assert_eq!(self.bystander.frame().0, 0x81);
    }
}

/// Sends a Ping, and reads pushes until its Pong.
fn pong(client: &mut Secure) {
    client.send_frame(0x89, "there?");
    while client.frame() != (0x8a, b"there?".to_vec()) {}
}

/// Handshake messages, in records of this length.
fn records(handshake: &[u8], length: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
    handshake.chunks(length).flat_map(record).collect()
}

/// A ClientHello of TLS 1.2 with these extensions.
fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let extensions = extensions.iter();
    let extensions: Vec<u8> = extensions
        .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat())
        .collect();
    let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    [&[1], &(body.len() as u32).to_be_bytes()[1..], &body].concat()
}

/// The first message of rustls, without its record header.
fn rustls_hello(identity: &Identity) -> Vec<u8> {
    let config = Arc::new(identity.client(&[&TLS13]));
    let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello.split_off(5)
}

#[test]
fn garbage_in_place_of_a_handshake_is_answered_at_once_as_a_table() {
    let mut attacked = Attacked::start("tls-attacks-first");
    let server_name = |name: &[u8]| {
        let length = name.len() as u16;
        (0, [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name].concat())
    };
    let alert = |alert: u8| vec![ALERT, 3, 3, 0, 2, 2, alert];
    let http = b"HTTP/1.1 400 ".to_vec();
    let cases = [
        ("nothing that TLS 1.2 needs", records(&hello(&[]), 9999), alert(HANDSHAKE_FAILURE), "Required"),
        (
            "a name of 10,000 bytes",
            records(&hello(&[server_name(&[b'a'; 10_000])]), 9999),
            alert(ILLEGAL_PARAMETER),
            "ServerNameMustContainOneHostName",
        ),
        (
            "a name of garbage",
            records(&hello(&[server_name(&[0xff, 0, b'\n'].repeat(50))]), 100),
            alert(ILLEGAL_PARAMETER),
            "ServerNameMustContainOneHostName",
        ),
        ("no name", records(&hello(&[server_name(b"")]), 9999), alert(DECODE_ERROR), "IllegalEmptyValue"),
        (
            "16 MiB of a ClientHello",
            records(&[&[1, 0xff, 0xff, 0xff][..], &[0; 100_000]].concat(), 16_384),
            Vec::new(),
            "HandshakePayloadTooLarge",
        ),
        ("empty records", [HANDSHAKE, 3, 1, 0, 0].repeat(100), alert(DECODE_ERROR), "InvalidEmptyPayload"),
        (
            "data before all",
            b"\x17\x03\x03\x00\x05hello".to_vec(),
            alert(UNEXPECTED_MESSAGE),
            "got ApplicationData when expecting Handshake",
        ),
        (
            "another type",
            b"\x18\x03\x02\x00\x03\x01\x40\x00".to_vec(),
            alert(DECODE_ERROR),
            "InvalidContentType",
        ),
        ("a hello of SSL 2", b"\x80\x2e\x01\x00\x02".repeat(9), alert(DECODE_ERROR), "InvalidContentType"),
        ("a fatal alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec(), Vec::new(), "HandshakeFailure"),
        ("100 kB of garbage", vec![0xff; 100_000], alert(DECODE_ERROR), "InvalidContentType"),
        ("a WebSocket", upgrade("/websocket?Id=A", "").into_bytes(), http.clone(), "a request in plain text"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), http.clone(), "a request in plain text"),
        ("another server's greeting", b"SSH-2.0-x\r\n".to_vec(), http, "a request in plain text"),
    ];
    for (number, (what, sent, expected, line)) in cases.into_iter().enumerate() {
        let mut raw = Raw::connect(attacked.program.addr());
        raw.send(&sent);
        let answered = raw.rest();
        let is_right = answered.starts_with(&expected) && answered.is_empty() == expected.is_empty();
        assert!(is_right, "{what}: {}", answered.escape_ascii());
        attacked.expect(": no TLS: ", number + 1, line);
    }
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_in_the_log() {
    let mut attacked = Attacked::start("tls-attacks-stranger");
    for (number, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = Secure::connect(attacked.program.addr(), &Arc::new(config));
        client.tls.write_all(b"GET").expect_err("it does not know who signed it");
        attacked.expect(": no TLS: ", number + 1, "received fatal alert: UnknownCA");
    }
}

#[test]
fn records_that_come_byte_by_byte_or_in_shreds_are_read() {
    let attacked = Attacked::start("tls-attacks-shreds");
    let mut raw = Raw::connect(attacked.program.addr());
    raw.send(records(&rustls_hello(&attacked.identity), 1));
    assert_eq!(raw.take(1, "a ServerHello"), [HANDSHAKE]);
    for version in [&TLS12, &TLS13] {
        // The shortest records that rustls makes.
        let mut config = attacked.identity.client(&[version]);
        config.max_fragment_size = Some(32);
        pong(&mut attacked.websocket(config.clone()));

        let mut client = Secure::connect(attacked.program.addr(), &Arc::new(config));
        while client.tls.conn.is_handshaking() {
            dribble(&mut client);
            if client.tls.conn.wants_read() {
                client.tls.conn.read_tls(&mut client.tls.sock).unwrap();
                client.tls.conn.process_new_packets().unwrap();
            }
        }
        client.tls.conn.writer().write_all(upgrade("/websocket?Id=slow", "").as_bytes()).unwrap();
        dribble(&mut client);
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        client.tls.conn.writer().write_all(&masked(0x89, b"a byte at a time")).unwrap();
        dribble(&mut client);
        while client.frame() != (0x8a, b"a byte at a time".to_vec()) {}
    }
}

/// Sends everything that is ready, byte by byte.
fn dribble(client: &mut Secure) {
    let mut bytes = Vec::new();
    while client.tls.conn.wants_write() {
        client.tls.conn.write_tls(&mut bytes).unwrap();
    }
    bytes.iter().for_each(|byte| client.tls.sock.write_all(&[*byte]).unwrap());
}

#[test]
fn changes_of_keys_without_data_are_the_end_when_they_are_too_many() {
    let mut attacked = Attacked::start("tls-attacks-keys");
    let mut client = attacked.websocket(attacked.identity.client(&[&TLS13]));
    // Data between them restarts the count.
    for _ in 0..2 {
        (1..TOO_MANY).for_each(|_| client.tls.conn.refresh_traffic_keys().unwrap());
        pong(&mut client);
    }
    (0..TOO_MANY).for_each(|_| client.tls.conn.refresh_traffic_keys().unwrap());
    // Earlier pushes, and no Close.
    client.rest().expect("close_notify");
    attacked.expect(": lost: ", 1, "its TLS cannot be read: peer misbehaved: TooManyKeyUpdateRequests");
    attacked.program.wait_for_line("Client attacker is closed");
}

/// How a client leaves.
type End = fn(&mut Secure);

#[test]
fn an_end_in_the_middle_of_a_message_is_an_ordinary_end() {
    let mut attacked = Attacked::start("tls-attacks-end");
    let message = masked(0x82, &[0; 1000]);
    let ends: [(&str, End); 3] = [
        ("close_notify", |client| {
            client.tls.conn.send_close_notify();
            client.tls.conn.write_tls(&mut client.tls.sock).unwrap();
        }),
        ("an end of TCP", |client| client.tls.sock.shutdown(Shutdown::Write).unwrap()),
        ("half a record", |client| {
            client.tls.sock.write_all(&[23, 3, 3, 1, 0, 7]).unwrap();
            client.tls.sock.shutdown(Shutdown::Write).unwrap();
        }),
    ];
    for (number, (what, end)) in ends.into_iter().enumerate() {
        for (more, version) in [&TLS12, &TLS13].into_iter().enumerate() {
            let mut client = attacked.websocket(attacked.identity.client(&[version]));
            client.send(&message[..500]);
            end(&mut client);
            // Pushes in flight may come first.
            let _ = client.tls.sock.read_to_end(&mut Vec::new());
            let closed = || {
                let lines = attacked.program.lines();
                lines.iter().filter(|line| line.contains("Client attacker is closed")).count()
            };
            eventually(what, || closed() == 2 * number + more + 1);
            pong(&mut attacked.bystander);
        }
    }
    assert!(!attacked.program.lines().iter().any(|line| line.contains(": lost: ")));
}

#[test]
fn a_renegotiation_is_refused_and_the_connection_ends() {
    let mut attacked = Attacked::start("tls-attacks-renegotiation");
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-connect", &attacked.program.addr().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut openssl = command.spawn().expect("runs openssl");
    // A line that begins with R, and comes in a separate write, asks for it.
    openssl.stdin.as_mut().expect("piped").write_all(b"R\n").expect("writes");
    let mut said = String::new();
    openssl.stderr.take().expect("piped").read_to_string(&mut said).expect("is text");
    openssl.wait().expect("has ended");
    assert!(said.contains(":no renegotiation:"), "{said}");
    attacked.expect(": lost: ", 1, "it asks for a renegotiation");
}

#[test]
fn a_hello_that_does_not_end_within_a_record_ends_its_connection() {
    let mut attacked = Attacked::start("tls-attacks-hello");
    // It announces 60,000 bytes, and stops at 20,000.
    let hello = [&[1, 0, 0xea, 0x60][..], &[0; 20_000]].concat();
    let mut raw = Raw::connect(attacked.program.addr());
    raw.send(records(&hello, 9999));
    assert!(raw.is_at_end());
    attacked.expect("no TLS: ", 1, "more than 16384 bytes without an end");
}
