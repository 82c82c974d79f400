//! TLS in both directions at once: threads push as fast as the client reads, the client floods the server, and keys
//! change in between. Compares every byte. Runs for `THREADCAST_DUPLEX_SECONDS` each (3).

mod support;
use support::tls;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, SupportedProtocolVersion};
use support::{DEADLINE, Event, Probed, duplex_time, masked};
use threadcast::{Application, Connection, Delivery};
use tls::{Identity, Secure};

const THREADS: usize = 8;
/// The least bytes of a message; some are longer than a record.
const SHORT: usize = 16;
const LONG: usize = 40_000;
/// Messages of a thread over TLS 1.2, whose keys are used up after 2^24 records. TLS 1.3 changes them.
const MOST_1_2: u64 = 1 << 20;
/// Messages of the client between two key changes; the server echoes one of this number.
const REFRESH: u64 = 20;
const ECHO: u64 = 10;

/// A message whose bytes all follow from its sender and its number.
fn message(from: u64, number: u64) -> Vec<u8> {
    let length = SHORT + if number.is_multiple_of(64) { LONG } else { (number % 900) as usize };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&from.to_be_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend((SHORT..length).map(|at| (at as u64 * 31 + from * 7 + number) as u8));
    bytes
}

/// Checks one, and returns its sender.
fn check(bytes: &[u8], expected: &mut [u64]) -> usize {
    let from = u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let number = &mut expected[from as usize];
    assert!(bytes == message(from, *number), "message {number} of {from} has other bytes, or is another one");
    *number += 1;
    from as usize
}

/// The client's half of the connection that writes: encrypts and sends, with `rustls` unlocked while it sends.
struct Writer {
    tls: Arc<Mutex<ClientConnection>>,
    stream: TcpStream,
}

impl Writer {
    fn send(&mut self, plain: &[u8], refresh: bool) {
        let mut sealed = Vec::new();
        for part in plain.chunks(16 << 10) {
            let mut tls = self.tls.lock().unwrap();
            tls.writer().write_all(part).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut sealed).unwrap();
            }
        }
        if refresh {
            let mut tls = self.tls.lock().unwrap();
            tls.refresh_traffic_keys().unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut sealed).unwrap();
            }
        }
        self.stream.write_all(&sealed).unwrap();
    }
}

/// The other half: receives with `rustls` unlocked.
struct Reader {
    tls: Arc<Mutex<ClientConnection>>,
    stream: TcpStream,
    plain: Vec<u8>,
}

impl Reader {
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut received = vec![0; 4096];
        loop {
            if let Some((first, at, end)) = header(&self.plain)
                && self.plain.len() >= end
            {
                let payload = self.plain[at..end].to_vec();
                self.plain.drain(..end);
                return (first, payload);
            }
            let length = self.stream.read(&mut received).unwrap();
            assert!(length > 0, "the connection ended");
            let mut left = &received[..length];
            let mut tls = self.tls.lock().unwrap();
            while !left.is_empty() {
                tls.read_tls(&mut left).unwrap();
                tls.process_new_packets().unwrap();
                match tls.reader().read_to_end(&mut self.plain) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    other => _ = other.unwrap(),
                }
            }
        }
    }
}

/// Returns the first byte of a frame, and where its payload begins and ends.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (at, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    Some((bytes[0], at, at + length))
}

/// Pushes until `stop`, or until it has pushed the most. Returns how many.
fn push(connection: &Connection, from: u64, most: u64, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while number < most && !stop.load(Ordering::Relaxed) {
        connection.wait_for_room(DEADLINE).unwrap();
        connection.write_message(message(from, number)).unwrap();
        number += 1;
    }
    number
}

fn duplex(delivery: Delivery, version: &'static SupportedProtocolVersion) {
    let identity = Identity::new();
    let tls = identity.config();
    let expected = Arc::new(Mutex::new([0]));
    let echoes = Arc::new(AtomicU64::new(0));
    let (its_expected, its_echoes) = (expected.clone(), echoes.clone());
    let probed = Probed::start_with(
        |application: Application| {
            application.delivery(delivery).max_backlog(4 << 20).stack_size(64 << 10).tls(tls)
        },
        move |connection, message| {
            let mut expected = its_expected.lock().unwrap();
            check(message.as_bytes(), &mut *expected);
            if expected[0].is_multiple_of(ECHO) {
                its_echoes.fetch_add(1, Ordering::Relaxed);
                connection.ping(&expected[0].to_be_bytes())?;
            }
            Ok(())
        },
    );
    let client = Secure::websocket(probed.addr, &Arc::new(identity.client(&[version])), "/ws");
    let Event::Open(connection) = probed.next("open") else { panic!("opens first") };
    let (conn, stream) = client.tls.into_parts();
    let tls = Arc::new(Mutex::new(conn));
    let mut writer = Writer { tls: tls.clone(), stream: stream.try_clone().unwrap() };
    let mut reader = Reader { tls, stream, plain: Vec::new() };

    let stop = Arc::new(AtomicBool::new(false));
    let refreshes = std::ptr::eq(version, &TLS13);
    let most = if refreshes { u64::MAX } else { MOST_1_2 };
    let pushing: Vec<_> = (0..THREADS as u64)
        .map(|from| {
            let (connection, stop) = (connection.clone(), stop.clone());
            thread::spawn(move || push(&connection, from, most, &stop))
        })
        .collect();
    let flood = thread::spawn({
        let stop = stop.clone();
        move || {
            let mut number = 0;
            while number < most && !stop.load(Ordering::Relaxed) {
                writer.send(&masked(0x82, &message(0, number)), refreshes && number % REFRESH == 0);
                number += 1;
            }
            (writer, number)
        }
    });
    let reading = thread::spawn(move || {
        let (mut expected, mut pings) = ([0; THREADS], 0);
        loop {
            match reader.frame() {
                (0x82, payload) => _ = check(&payload, &mut expected),
                (0x89, _) => pings += 1,
                (0x88, _) => return (expected, pings),
                (first, payload) => panic!("a frame {first:#x} of {} bytes", payload.len()),
            }
        }
    });
    let end = Instant::now() + duplex_time().unwrap_or(Duration::from_secs(3));
    // The test does not use these events, so it takes them out.
    while probed.events.recv_deadline(end).is_ok() {}
    stop.store(true, Ordering::Relaxed);
    let pushed: Vec<u64> = pushing.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (mut writer, flooded) = flood.join().unwrap();
    writer.send(&masked(0x88, &1000u16.to_be_bytes()), false);
    let (received, pings) = reading.join().unwrap();
    assert_eq!(received.to_vec(), pushed, "each was received once, in its order");
    assert_eq!(expected.lock().unwrap()[0], flooded);
    assert_eq!(pings, echoes.load(Ordering::Relaxed));
    assert!(pushed.iter().all(|n| *n > 0) && flooded > REFRESH, "{pushed:?} {flooded}");
    println!("duplex: {delivery:?} {version:?}: {} pushes, {flooded} messages", pushed.iter().sum::<u64>());
    let _ = writer.stream.shutdown(Shutdown::Both);
}

#[test]
fn inline_tls_1_2() {
    duplex(Delivery::Inline, &TLS12);
}

#[test]
fn inline_tls_1_3_with_key_updates() {
    duplex(Delivery::Inline, &TLS13);
}

#[test]
fn handoff_tls_1_2() {
    duplex(Delivery::Handoff, &TLS12);
}

#[test]
fn handoff_tls_1_3_with_key_updates() {
    duplex(Delivery::Handoff, &TLS13);
}
