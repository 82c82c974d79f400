//! The visitors: each visit is one way to use a server, or to misuse it, from its beginning to its end. An error is an
//! early end, which is not a failure: a full house, or a head that made room for a newer one. A wrong answer, or a
//! missing one, is a panic.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use rustix::net::{AddressFamily, SocketType};

use crate::support::dice::Dice;
use crate::support::{DEADLINE, Wire, eventually, frame, get, masked, upgrade};
use crate::{CAPACITY, MAX_MESSAGE};

/// The receive buffer of visitors that do not read, so that only the sender's buffer has to fill.
const SMALL_BUFFER: usize = 4 << 10;
/// The clock's code for a session whose Id a newer one has taken.
const REPLACED: u16 = 4001;
/// The most bytes that a flood sends.
const FLOOD: usize = 8 << 20;

/// Its target, its end, and its dice.
pub struct Visit {
    pub addr: SocketAddr,
    pub dice: Dice,
    /// When everybody has to leave.
    pub end: Instant,
}

impl Visit {
    /// A pause between two visits. It waits for nothing: without it, rejected visitors would retry as fast as they can,
    /// and the house would never have room for others.
    pub fn stay_away(&self, time: Duration) {
        thread::sleep(time.min(self.end.saturating_duration_since(Instant::now())));
    }
}

pub type Way = fn(&mut Visit) -> io::Result<()>;

/// Short visits, which repeat.
pub const BRISK: &[(&str, Way)] = &[
    ("takes pushes and closes", closes),
    ("takes pushes and leaves", leaves),
    ("takes pushes and resets", resets),
    ("echoes", echoes),
    ("pings", pings),
    ("floods and resets", floods),
    ("breaks off a message", breaks_off),
    ("breaks the protocol", breaks_the_protocol),
    ("makes its handler panic", panics),
    ("sends a bad head", bad_head),
    ("asks for pages", pages),
    ("connects and is gone", gone),
];

/// Long visits, each on its own thread, and how many run concurrently.
pub const SLOW: &[(&str, Way, usize)] = &[
    ("never reads", never_reads, 3),
    ("sips", sips, 3),
    ("is half open", half_open, 12),
    ("crowds in", crowds, 1),
];

/// A client that the server may disconnect at any moment.
struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    fn connect(addr: SocketAddr) -> io::Result<Peer> {
        Peer::over(TcpStream::connect(addr)?)
    }

    fn over(stream: TcpStream) -> io::Result<Peer> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Peer { stream, unread: Vec::new() })
    }

    fn websocket(addr: SocketAddr, target: &str) -> io::Result<Peer> {
        Peer::connect(addr)?.open(target)
    }

    /// Connects with a small receive buffer.
    fn slow(addr: SocketAddr, target: &str) -> io::Result<Peer> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        set_socket_recv_buffer_size(&socket, SMALL_BUFFER)?;
        rustix::net::connect(&socket, &addr)?;
        Peer::over(socket.into())?.open(target)
    }

    fn open(mut self, target: &str) -> io::Result<Peer> {
        self.send(upgrade(target, ""))?;
        match self.head()? {
            head if head.starts_with("HTTP/1.1 101 ") => Ok(self),
            head if head.starts_with("HTTP/1.1 503 ") => Err(io::Error::other("the house is full")),
            head => panic!("{target}: {head}"),
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).map_err(not_late)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16384];
        let length = self.stream.read(&mut bytes).map_err(not_late)?;
        self.unread.extend_from_slice(&bytes[..length]);
        if length == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(String::from_utf8(self.take(end + 4)?).expect("a head is ASCII"));
            }
            self.fill()?;
        }
    }

    fn frame(&mut self) -> io::Result<Wire> {
        let head = self.take(2)?;
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2)?.try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes")) as usize,
            short => usize::from(short),
        };
        Ok(Wire { first: head[0], payload: self.take(length)? })
    }

    /// Reads to the Close frame, which has this code, and then to the end.
    fn closed(&mut self, code: u16) -> io::Result<()> {
        loop {
            let frame = self.frame()?;
            if frame.first == 0x88 {
                let got = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
                if got == REPLACED {
                    return Err(io::Error::other("a newer one has the Id"));
                }
                assert_eq!(got, code);
                break;
            }
        }
        self.end()
    }

    /// Reads to the end.
    fn end(&mut self) -> io::Result<()> {
        self.stream.read_to_end(&mut self.unread).map_err(not_late)?;
        Ok(())
    }

    /// Leaves with RST.
    fn reset(self) -> io::Result<()> {
        Ok(set_socket_linger(&self.stream, Some(Duration::ZERO))?)
    }
}

/// The server may end a visit, but must not forget it.
fn not_late(error: io::Error) -> io::Error {
    assert!(!is_timeout(&error), "no answer within {DEADLINE:?}");
    error
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One of 500 Ids, few enough that visitors sometimes replace each other.
fn clock(visit: &mut Visit) -> String {
    format!("/websocket?Id={}", visit.dice.below(500))
}

/// A WebSocket of the clock, after up to `most` pushes.
fn after_pushes(visit: &mut Visit, most: usize) -> io::Result<Peer> {
    let target = clock(visit);
    let mut peer = Peer::websocket(visit.addr, &target)?;
    for _ in 0..visit.dice.below(most + 1) {
        peer.frame()?;
    }
    Ok(peer)
}

fn closes(visit: &mut Visit) -> io::Result<()> {
    let mut peer = after_pushes(visit, 3)?;
    peer.send(masked(0x88, &1000u16.to_be_bytes()))?;
    peer.closed(1000)
}

fn leaves(visit: &mut Visit) -> io::Result<()> {
    let mut peer = after_pushes(visit, 2)?;
    peer.stream.shutdown(Shutdown::Write)?;
    peer.end()
}

fn resets(visit: &mut Visit) -> io::Result<()> {
    after_pushes(visit, 2)?.reset()
}

fn echoes(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::websocket(visit.addr, "/echo?Id=A")?;
    for _ in 0..=visit.dice.below(3) {
        let size = 256 << visit.dice.below(11);
        let message = vec![visit.dice.below(256) as u8; visit.dice.below(size)];
        if visit.dice.below(2) == 0 {
            peer.send(masked(0x82, &message))?;
        } else {
            let parts: Vec<_> = message.chunks(1 + size / (1 + visit.dice.below(20))).collect();
            for (n, part) in parts.iter().enumerate() {
                let (first, last) = (n == 0, n + 1 == parts.len());
                peer.send(masked(u8::from(first) * 2 + u8::from(last) * 0x80, part))?;
            }
            if parts.is_empty() {
                continue;
            }
        }
        assert!(peer.frame()? == frame(0x82, &message), "other bytes than sent");
    }
    peer.send(masked(0x88, b""))?;
    assert_eq!(peer.frame()?, frame(0x88, b""));
    peer.end()
}

fn pings(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::websocket(visit.addr, "/echo?Id=A")?;
    let payload = [visit.dice.below(256) as u8; 125];
    peer.send(masked(0x89, &payload).repeat(200))?;
    for _ in 0..200 {
        assert!(peer.frame()? == frame(0x8a, payload), "not the pong to that ping");
    }
    peer.stream.shutdown(Shutdown::Write)?;
    peer.end()
}

/// Sends without reading, until the server stops reading too.
fn floods(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::slow(visit.addr, "/echo?Id=A")?;
    peer.stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    let piece = match visit.dice.below(2) {
        0 => masked(0x89, &[0; 125]).repeat(500),
        _ => masked(0x82, &vec![0; 1 + visit.dice.below(256 << 10)]),
    };
    let mut sent = 0;
    while sent < FLOOD && Instant::now() < visit.end {
        match peer.stream.write(&piece[sent % piece.len()..]) {
            Ok(length) => sent += length,
            Err(error) if is_timeout(&error) => break,
            Err(error) => return Err(error),
        }
    }
    peer.reset()
}

fn breaks_off(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::websocket(visit.addr, "/echo?Id=A")?;
    let message = masked(0x82, &vec![0; 1 + visit.dice.below(256 << 10)]);
    peer.send(&message[..visit.dice.below(message.len())])?;
    if visit.dice.below(2) == 0 {
        return peer.reset();
    }
    peer.stream.shutdown(Shutdown::Write)?;
    peer.end()
}

fn breaks_the_protocol(visit: &mut Visit) -> io::Result<()> {
    let mut large = masked(0x82, &[0; 70_000]);
    large[2..10].copy_from_slice(&(MAX_MESSAGE as u64 + 1).to_be_bytes());
    let broken: [(Vec<u8>, u16); 5] = [
        (b"\x81\x01a".to_vec(), 1002),
        (masked(0xc1, b"a"), 1002),
        (masked(0x83, b"a"), 1002),
        (masked(0x81, b"\xff"), 1007),
        (large[..100].to_vec(), 1009),
    ];
    let (bytes, code) = &broken[visit.dice.below(broken.len())];
    let target = clock(visit);
    let mut peer = Peer::websocket(visit.addr, &target)?;
    peer.send(bytes)?;
    peer.closed(*code)
}

fn panics(visit: &mut Visit) -> io::Result<()> {
    let target = clock(visit);
    let mut peer = Peer::websocket(visit.addr, &target)?;
    peer.send(masked(0x81, b"panic"))?;
    peer.closed(1011)
}

fn bad_head(visit: &mut Visit) -> io::Result<()> {
    let many = get("/", &"X: x\r\n".repeat(200));
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    let heads =
        ["what?\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", &many, &long];
    let head = visit.dice.pick(&heads);
    let mut peer = Peer::connect(visit.addr)?;
    peer.send(head)?;
    let answer = peer.head()?;
    assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 503 "), "{head:?}: {answer}");
    peer.stream.shutdown(Shutdown::Write)?;
    peer.end()
}

fn pages(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::connect(visit.addr)?;
    for _ in 0..=visit.dice.below(4) {
        let (target, status) = visit.dice.pick(&[
            ("/", "200"),
            ("/static/clock.js", "200"),
            ("/stats", "200"),
            ("/none", "404"),
            ("/static/%2e%2e/none", "403"),
            ("/websocket", "426"),
        ]);
        peer.send(get(target, ""))?;
        let head = peer.head()?;
        if head.starts_with("HTTP/1.1 503 ") {
            return Err(io::Error::other("the house is full"));
        }
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        peer.take(length.expect("has a length").parse().expect("a number"))?;
        if target == "/websocket" {
            break;
        }
    }
    Ok(())
}

fn gone(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::connect(visit.addr)?;
    if visit.dice.below(2) == 0 {
        peer.send(&upgrade("/websocket?Id=A", "")[..50])?;
    }
    if visit.dice.below(2) == 0 { peer.reset() } else { Ok(()) }
}

/// Stays until the server disconnects it, which shows on sending.
fn never_reads(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::slow(visit.addr, &format!("/websocket?Id=never-{}", visit.dice.below(1000)))?;
    eventually("a client that never reads is disconnected", || peer.send(masked(0x8a, b"")).is_err());
    Ok(())
}

/// Too slow for the clock, so it ends like `never_reads`.
fn sips(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::slow(visit.addr, &format!("/websocket?Id=sips-{}", visit.dice.below(1000)))?;
    eventually("a client that reads 500 bytes a second is disconnected", || {
        peer.stream.read(&mut [0]).map_err(not_late).is_err() || peer.send(masked(0x8a, b"")).is_err()
    });
    Ok(())
}

/// Sends nothing, or not everything, until the server disconnects it or it gives up.
fn half_open(visit: &mut Visit) -> io::Result<()> {
    let mut peer = Peer::connect(visit.addr)?;
    let head = upgrade("/websocket?Id=half", "");
    peer.send(&head[..visit.dice.below(head.len())])?;
    let patience = Duration::from_millis(50 + visit.dice.below(500) as u64);
    let patience = patience.min(visit.end.saturating_duration_since(Instant::now()));
    peer.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
    match peer.stream.read(&mut [0; 100]) {
        Err(error) if !is_timeout(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Opens more connections than fit, stays for a moment, and stays away for longer. An echo gets no pushes, so none of
/// them becomes a slow consumer and leaves room for another.
fn crowds(visit: &mut Visit) -> io::Result<()> {
    let begun = Instant::now();
    let mut inside = Vec::new();
    for n in 0..CAPACITY + 20 {
        // Whatever keeps them out: a 503, or a newer head.
        inside.extend(Peer::websocket(visit.addr, &format!("/echo?Id=crowd-{n}")));
    }
    assert!(inside.len() < CAPACITY, "{} and the witnesses are inside", inside.len());
    for (n, peer) in inside.into_iter().enumerate() {
        if n % 2 == 0 {
            peer.reset()?;
        }
    }
    visit.stay_away(begun.elapsed() * 4);
    Ok(())
}
