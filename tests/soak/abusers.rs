//! The abusers: each way is one misuse of a server, bounded in time, from its own address. An error is an early end:
//! the server may disconnect an abuser at any moment. A wrong answer is a panic.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::support::deflate::{TAIL, deflated};
use crate::support::dice::Dice;
use crate::support::{get, masked, upgrade};

/// Offers compression.
pub const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// The program's token, which some abusers have too.
pub const TOKEN: &str = "0123456789abcdef-abuse";
/// The topic of subscribers that do not read.
pub const BULK: &str = "bulk";
/// The program's default for `--max-message`.
const MAX_MESSAGE: usize = 10 << 20;
/// Sockets that one abuser holds.
const HELD: usize = 60;
/// Connects of one run of the flood, and the most runs per second.
const FLOOD: usize = 100;
/// How long an abuser waits for the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Signalled when its sender is dropped: the abuse is over.
pub type Stop = Receiver<std::convert::Infallible>;

/// Its target, its address, its deadline, and its dice.
pub struct Abuser<'a> {
    addr: SocketAddr,
    ip: [u8; 4],
    stop: Stop,
    dice: Dice,
    /// Answers 401 that arrived.
    unauthorized: &'a AtomicU64,
}

type Way = fn(&mut Abuser<'_>) -> io::Result<()>;

/// The kinds of abuse, from how many addresses, and the milliseconds between two runs.
const WAYS: &[(&str, Way, usize, u64)] = &[
    ("connects and resets", floods, 1, 25),
    ("sends half heads", half_heads, 3, 500),
    ("connects and is silent", silent, 3, 500),
    ("never reads", never_reads, 20, 100),
    ("pings and never reads", pings, 4, 200),
    ("sends 10 MiB", large_messages, 4, 500),
    ("announces too much", too_large, 2, 100),
    ("begins large messages", begun_messages, 8, 100),
    ("begins bodies", begun_bodies, 4, 100),
    ("sends empty blocks", empty_blocks, 4, 500),
    ("sends 1 GiB in 1 MB", bombs, 4, 500),
    ("has a wrong token", wrong_tokens, 4, 20),
    ("has an odd Id", odd_ids, 2, 20),
    ("asks for odd targets", odd_targets, 2, 20),
    ("speaks TLS", garbage, 2, 20),
    ("closes badly", bad_closes, 2, 20),
    ("dribbles", dribbles, 8, 100),
    ("sends small messages", small_messages, 2, 200),
    ("comes and resets in crowds", crowds, 2, 1000),
];

/// How often each way completed, and how often it was cut short.
pub type Tally = Mutex<BTreeMap<&'static str, (u64, u64)>>;

/// Starts all abusers, until `stop`.
pub fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    addr: SocketAddr,
    stop: &Stop,
    tally: &'scope Tally,
    unauthorized: &'scope AtomicU64,
) {
    for (kind, &(what, way, many, pause)) in WAYS.iter().enumerate() {
        for n in 0..many {
            let ip = [127, 0, 10 + kind as u8, 1 + n as u8];
            let dice = Dice((kind * 1000 + n) as u64);
            let mut abuser = Abuser { addr, ip, stop: stop.clone(), dice, unauthorized };
            scope.spawn(move || {
                loop {
                    let is_done = way(&mut abuser).is_ok();
                    let mut tally = tally.lock().expect("nothing panics under it");
                    let (well, short) = tally.entry(what).or_default();
                    *(if is_done { well } else { short }) += 1;
                    drop(tally);
                    if !abuser.pause(pause) {
                        return;
                    }
                }
            });
        }
    }
}

impl Abuser<'_> {
    /// The pace of the load: waits for nothing but the end of the abuse. Returns false when that has come.
    fn pause(&self, millis: u64) -> bool {
        self.stop.recv_timeout(Duration::from_millis(millis)) == Err(RecvTimeoutError::Timeout)
    }

    /// Holds its connections for at most this long.
    fn stay(&mut self, millis: usize) {
        let millis = self.dice.below(millis) as u64;
        self.pause(millis);
    }

    fn connect(&self) -> io::Result<TcpStream> {
        self.connect_with(None)
    }

    /// Connects, with a receive buffer of this size.
    fn connect_with(&self, buffer: Option<usize>) -> io::Result<TcpStream> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        buffer.map_or(Ok(()), |size| set_socket_recv_buffer_size(&socket, size))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        rustix::net::bind(&stream, &SocketAddr::from((self.ip, 0)))?;
        rustix::net::connect(&stream, &self.addr)?;
        Ok(stream)
    }

    fn websocket(&self, target: &str, more: &str) -> io::Result<TcpStream> {
        open(self.connect()?, target, more)
    }

    /// One of its few Ids.
    fn target(&mut self) -> String {
        let [_, _, kind, n] = self.ip;
        format!("/websocket?Id=abuser-{kind}-{n}-{}", self.dice.below(5))
    }

    fn opened(&mut self) -> io::Result<TcpStream> {
        let target = self.target();
        self.websocket(&target, "")
    }

    fn compressed(&mut self) -> io::Result<TcpStream> {
        let target = self.target();
        self.websocket(&target, DEFLATE)
    }
}

fn open(mut stream: TcpStream, target: &str, more: &str) -> io::Result<TcpStream> {
    stream.write_all(upgrade(target, more).as_bytes())?;
    match status(&mut stream)? {
        101 => Ok(stream),
        other => panic!("{target}: {other}"),
    }
}

/// The status of the answer; ignores the rest.
fn status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    match head.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok()).expect(&head) {
        503 => Err(io::Error::other("its address has the most half-open connections")),
        status => Ok(status),
    }
}

/// Leaves with RST.
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}

/// Reads the rest, which ends with a Close frame of this code.
fn closed(mut stream: TcpStream, code: u16) -> io::Result<()> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    // The bytes before it are pushes, in ASCII, and a Close frame has less of it.
    let close = rest.iter().rposition(|byte| *byte == 0x88).expect("a Close frame");
    assert_eq!(rest.get(close + 2..close + 4), Some(&code.to_be_bytes()[..]), "{rest:?}");
    Ok(())
}

/// Closes in order, and reads to the end: by then the server has read everything.
fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(&masked(0x88, &1000u16.to_be_bytes()))?;
    closed(stream, 1000)
}

fn floods(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let mut held = Vec::new();
    for _ in 0..FLOOD {
        let flags = SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        rustix::net::bind(&socket, &SocketAddr::from((abuser.ip, 0)))?;
        // It completes in the background.
        let _ = rustix::net::connect(&socket, &abuser.addr);
        held.push(socket);
    }
    Ok(())
}

fn half_heads(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let head = upgrade("/websocket?Id=half", "");
    let mut held = Vec::new();
    for _ in 0..HELD {
        let mut stream = abuser.connect()?;
        // The server may already have refused it.
        let _ = stream.write(&head.as_bytes()[..abuser.dice.below(head.len())]);
        held.push(stream);
    }
    abuser.stay(3000);
    held.iter().step_by(2).try_for_each(reset)
}

fn silent(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let held: Vec<_> = (0..HELD).map(|_| abuser.connect()).collect::<io::Result<_>>()?;
    abuser.stay(3000);
    held.iter().step_by(2).try_for_each(reset)
}

/// Stays until the server disconnects it, which shows on sending.
fn never_reads(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let target = format!("{}&topic={BULK}", abuser.target());
    let mut stream = open(abuser.connect_with(Some(4 << 10))?, &target, "")?;
    while stream.write_all(&masked(0x8a, b"")).is_ok() {
        if !abuser.pause(100) {
            return reset(&stream);
        }
    }
    Ok(())
}

/// Sends Pings until the server stops reading too.
fn pings(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let mut stream = open(abuser.connect_with(Some(4 << 10))?, &abuser.target(), "")?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let pings = masked(0x89, &[0; 125]).repeat(500);
    for _ in 0..200 {
        if stream.write_all(&pings).is_err() {
            break;
        }
    }
    reset(&stream)
}

fn large_messages(abuser: &mut Abuser<'_>) -> io::Result<()> {
    static MESSAGES: LazyLock<[Vec<u8>; 2]> =
        LazyLock::new(|| [0x81, 0x82].map(|first| masked(first, &vec![b'a'; MAX_MESSAGE])));
    let mut stream = abuser.opened()?;
    stream.write_all(&MESSAGES[abuser.dice.below(2)])?;
    close(stream)
}

/// The head of a frame with this length, masked with zeros.
fn head_of(first: u8, length: usize) -> Vec<u8> {
    [&[first, 0xff][..], &(length as u64).to_be_bytes(), &[0; 4]].concat()
}

fn too_large(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let length = MAX_MESSAGE + 1 + abuser.dice.below(1 << 40);
    let mut stream = abuser.opened()?;
    stream.write_all(&head_of(0x82, length))?;
    closed(stream, 1009)
}

fn begun_messages(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let mut stream = abuser.opened()?;
    let first = abuser.dice.pick(&[0x01, 0x82]);
    stream.write_all(&head_of(first, MAX_MESSAGE))?;
    stream.write_all(&vec![b'a'; abuser.dice.below(MAX_MESSAGE)])?;
    abuser.stay(3000);
    reset(&stream)
}

fn begun_bodies(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let mut stream = abuser.connect()?;
    let length = 1 << 20;
    stream.write_all(publish(TOKEN, "all", length).as_bytes())?;
    stream.write_all(&vec![b'a'; abuser.dice.below(length)])?;
    abuser.stay(3000);
    reset(&stream)
}

/// The head of a request to publish a body of this length.
pub fn publish(token: &str, topic: &str, length: usize) -> String {
    format!(
        "POST /publish?topic={topic} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// An empty message of 10 MiB of final, empty blocks.
fn empty_blocks(abuser: &mut Abuser<'_>) -> io::Result<()> {
    static BLOCKS: LazyLock<Vec<u8>> = LazyLock::new(|| masked(0xc2, &[3, 0].repeat(MAX_MESSAGE / 2)));
    let mut stream = abuser.compressed()?;
    stream.write_all(&BLOCKS)?;
    close(stream)
}

fn bombs(abuser: &mut Abuser<'_>) -> io::Result<()> {
    static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let piece = [&deflated(&vec![0; 1 << 20])[..], &TAIL].concat();
        masked(0xc2, &piece.repeat(1024))
    });
    let mut stream = abuser.compressed()?;
    // The server ends this as soon as it is too large, perhaps with more of it on its way.
    stream.write_all(&BOMB)?;
    closed(stream, 1009)
}

fn wrong_tokens(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let wrong = ["", "0123456789abcdef", "0123456789abcdef-abusf", "0123456789abcdef-abuse!"];
    let mut stream = abuser.connect()?;
    let length = abuser.dice.below(1 << 20);
    stream.write_all(publish(abuser.dice.pick(&wrong), "all", length).as_bytes())?;
    assert_eq!(status(&mut stream)?, 401);
    abuser.unauthorized.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn odd_ids(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let (most, more) = ("x".repeat(256), "x".repeat(257));
    let ids = [
        ("%1b%5b2J%07", 101),
        ("a%0d%0aINFO:forged", 101),
        ("%E2%80%AE%E2%80%8B%F3%A0%81%81", 101),
        (&most, 101),
        (&more, 400),
        (&"%00".repeat(257), 101),
        (&"%C3%A4".repeat(129), 400),
    ];
    let (id, expected) = abuser.dice.pick(&ids);
    let mut stream = abuser.connect()?;
    stream.write_all(upgrade(&format!("/websocket?Id={id}"), "").as_bytes())?;
    assert_eq!(status(&mut stream)?, expected, "{id}");
    if expected == 101 {
        stream.write_all(&masked(0x81, "\x1b[31m\u{202e}\u{feff}".as_bytes()))?;
        // Sometimes a newer client has its Id, so the server may close it with 4001.
        let _ = stream.write_all(&masked(0x88, b"\x03\xe8\x1b[2J"));
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(())
}

fn odd_targets(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let long = "x".repeat(20_000);
    let targets = [
        "*",
        "*://a/stats",
        "http://a@b/",
        "//",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/../../Cargo.toml",
        "/.env",
        "/static/%2egit/config",
        "/%00",
        "/%",
        "http:///",
        "a:80",
        "/\u{202e}",
        "/none?%ff",
        "?",
        "",
        &long,
    ];
    let target = abuser.dice.pick(&targets);
    let mut stream = abuser.connect()?;
    stream.write_all(get(target, "Connection: close\r\n").as_bytes())?;
    let status = status(&mut stream)?;
    assert!((400..500).contains(&status) || target == "//", "{target:.40}: {status}");
    Ok(())
}

/// A ClientHello's beginning, or random bytes.
fn garbage(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let length = abuser.dice.below(2000);
    let mut bytes = abuser.dice.bytes(length);
    if abuser.dice.one_in(2) {
        bytes.splice(..0, *b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    }
    let mut stream = abuser.connect()?;
    stream.write_all(&bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert!(
        answer.is_empty() || [b"HTTP/1.1 4", b"HTTP/1.1 5"].iter().any(|of| answer.starts_with(*of)),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

fn bad_closes(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let closes: [(&[u8], u16); 8] = [
        (b"\x00\x00", 1002),
        (b"\x03\xe7", 1002),
        (b"\x03\xed", 1002),
        (b"\x03\xee", 1002),
        (b"\x13\x88", 1002),
        (b"\xff\xff", 1002),
        (b"\x03", 1002),
        (b"\x03\xe8\xff", 1007),
    ];
    let (payload, code) = abuser.dice.pick(&closes);
    let mut stream = abuser.opened()?;
    stream.write_all(&masked(0x88, payload))?;
    closed(stream, code)
}

/// Byte by byte, of a head or after it of a message.
fn dribbles(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let head = upgrade(&abuser.target(), "");
    let bytes = [head.as_bytes(), &masked(0x81, &[b'a'; 1000])].concat();
    let at_once = abuser.dice.pick(&[1, head.len()]);
    let mut stream = abuser.connect()?;
    stream.write_all(&bytes[..at_once])?;
    for byte in &bytes[at_once..][..100] {
        stream.write_all(&[*byte])?;
        if !abuser.pause(50) {
            break;
        }
    }
    reset(&stream)
}

fn small_messages(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let mut stream = abuser.opened()?;
    let messages = [masked(0x81, b"a"), masked(0x81, &[b'a'; 2000]), masked(0x82, &[0xff; 100])].concat();
    stream.write_all(&messages.repeat(500))?;
    close(stream)
}

fn crowds(abuser: &mut Abuser<'_>) -> io::Result<()> {
    let mut inside = Vec::new();
    for n in 0..HELD {
        inside.push(abuser.websocket(&format!("/websocket?Id=crowd-{}-{n}", abuser.ip[3]), "")?);
    }
    abuser.stay(1000);
    inside.iter().try_for_each(reset)
}
