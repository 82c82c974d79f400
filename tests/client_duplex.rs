//! The client in both directions at once, without TLS and with it: eight threads write while one reads a flood, with
//! pings between, and messages of up to 4 MiB. Compares every byte. Runs for `THREADCAST_DUPLEX_SECONDS` each, and at
//! least [`MESSAGES`].

mod support;
use support::tls;

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::{DEADLINE, Event, Probed, duplex_time};
use threadcast::client::{self, Builder};
use threadcast::{Application, Connection, Error, Message};
use tls::Identity;

/// Threads that write at each end, and the least number of messages of each.
const WRITERS: usize = 8;
const MESSAGES: usize = 60;
/// Room for what all threads push between two looks.
const BACKLOG: usize = 256 << 20;

/// The message of this number from this writer: usually 1 KiB, sometimes 4 MiB.
fn message(writer: usize, number: usize) -> Vec<u8> {
    let length = match number % 20 {
        19 => 4 << 20,
        10 => 100_000,
        _ => 1024,
    };
    let mut bytes = vec![0; length];
    bytes[0] = writer as u8;
    for (at, byte) in bytes.iter_mut().enumerate().skip(1) {
        *byte = (at * 31 + writer * 7 + number) as u8;
    }
    bytes
}

/// How much each writer has sent.
#[derive(Default)]
struct Seen(Mutex<HashMap<u8, usize>>);

impl Seen {
    fn check(&self, message: &Message) {
        let bytes = message.as_bytes();
        let mut seen = self.0.lock().unwrap();
        let number = seen.entry(bytes[0]).or_default();
        assert!(bytes == message_of(bytes[0], *number), "message {number} of {} is another one", bytes[0]);
        *number += 1;
    }

    fn total(&self) -> usize {
        self.0.lock().unwrap().values().sum()
    }
}

fn message_of(writer: u8, number: usize) -> Vec<u8> {
    message(usize::from(writer), number)
}

/// Writes as one of several threads. Returns the number of messages.
fn write(connection: &Connection, writer: usize, until: Instant) -> usize {
    let mut number = 0;
    while number < MESSAGES || Instant::now() < until {
        connection.wait_for_room(DEADLINE).expect("has room");
        connection.write_message(message(writer, number)).expect("is open");
        if number % 7 == 0 {
            connection.ping(b"between").expect("is open");
        }
        number += 1;
    }
    number
}

/// Both ends write, and read until everything has come.
fn both_write(
    application: impl FnOnce(Application) -> Application,
    connect: impl FnOnce(&Probed) -> Builder,
) {
    let seen = Arc::new(Seen::default());
    let by_the_server = seen.clone();
    let server = Probed::start_with(
        |plain| application(plain.max_backlog(BACKLOG)),
        move |_, message| {
            by_the_server.check(&message);
            Ok(())
        },
    );
    let (connection, mut messages) = connect(&server).max_backlog(BACKLOG).connect().expect("connects");
    let Event::Open(theirs) = server.next("open") else { panic!("waited for open") };
    let until = Instant::now() + duplex_time().unwrap_or_default();
    let (writing, written) = (AtomicUsize::new(2 * WRITERS), [const { AtomicUsize::new(0) }; 2]);
    let read = Seen::default();
    thread::scope(|scope| {
        for (end, written) in [&connection, &theirs].into_iter().zip(&written) {
            for writer in 0..WRITERS {
                let writing = &writing;
                scope.spawn(move || {
                    written.fetch_add(write(end, writer, until), Ordering::AcqRel);
                    if writing.fetch_sub(1, Ordering::AcqRel) == 1 {
                        end.close(Some(4000), None).expect("is open");
                    }
                });
            }
        }
        for message in &mut messages {
            read.check(&message.expect("comes"));
            // Not used here, and they would pile up.
            while server.events.try_recv().is_ok() {}
        }
    });
    assert_eq!(messages.close_code(), Some(4000));
    let [by_client, by_server] = written.map(AtomicUsize::into_inner);
    assert_eq!((seen.total(), read.total()), (by_client, by_server));
    println!("duplex: {by_client} messages to the server, {by_server} from it");
}

#[test]
fn eight_threads_write_at_each_end_and_every_byte_is_right() {
    both_write(|application| application, |server| Builder::new(&format!("ws://{}/ws", server.addr)));
}

#[test]
fn eight_threads_write_at_each_end_over_tls_and_every_byte_is_right() {
    let identity = Identity::new();
    both_write(
        |application| application.tls(identity.config()),
        |server| {
            Builder::new(&format!("wss://localhost:{}/ws", server.addr.port()))
                .root_certificates(&identity.chain)
        },
    );
}

fn secure_echo(identity: &Identity) -> Probed {
    Probed::start_with(|application| application.tls(identity.config()), Connection::write_message)
}

#[test]
fn over_tls_it_ends_in_order_and_pings_and_waits() {
    let identity = Identity::new();
    let server = secure_echo(&identity);
    let builder = Builder::new(&format!("wss://127.0.0.1:{}/ws", server.addr.port()))
        .root_certificates(&identity.chain)
        .ping_interval(Some(Duration::from_millis(20)))
        .ping_timeout(DEADLINE);
    let (connection, mut messages) = builder.connect().expect("connects");
    assert!(matches!(messages.recv_timeout(Duration::ZERO), Err(Error::TimedOut)));
    while connection.latency().is_none() {
        assert!(matches!(messages.recv_timeout(Duration::from_millis(50)), Err(Error::TimedOut)));
    }
    connection.write_message("x".repeat(100_000)).expect("is open");
    assert_eq!(messages.recv().expect("comes"), Some("x".repeat(100_000).into()));
    connection.close(Some(1000), Some("done")).expect("is open");
    assert!(matches!(messages.recv(), Ok(None)));
    assert_eq!(messages.close_code(), Some(1000));
}

#[test]
fn certificates_that_are_wrong_are_one_line_as_a_table() {
    let (identity, stranger, authority) = (Identity::new(), Identity::new(), Identity::authority());
    let server = secure_echo(&identity);
    let authoritys = secure_echo(&authority);
    let plain = Probed::start();
    let port = server.addr.port();
    for (url, roots, stream_to, says) in [
        (
            format!("wss://localhost:{port}/ws"),
            Some(&stranger.chain),
            server.addr,
            "no trusted authority signed its certificate",
        ),
        (
            format!("wss://localhost:{port}/ws"),
            None,
            server.addr,
            "no trusted authority signed its certificate",
        ),
        (
            "wss://other.test/ws".to_owned(),
            Some(&identity.chain),
            server.addr,
            "not valid for name \"other.test\"",
        ),
        ("wss://127.0.0.2/ws".to_owned(), Some(&identity.chain), server.addr, "not valid for name"),
        (
            "wss://localhost/ws".to_owned(),
            Some(&authority.chain),
            authoritys.addr,
            "it is a certificate of an authority; make the server's own with CA:FALSE",
        ),
        (
            "wss://localhost/ws".to_owned(),
            Some(&identity.chain),
            plain.addr,
            "it does not speak TLS; did you mean ws://?",
        ),
    ] {
        let builder = Builder::new(&url);
        let builder = roots.map_or(builder.clone(), |roots| builder.root_certificates(roots));
        let stream = TcpStream::connect(stream_to).expect("connects");
        let line = builder.connect_over(stream).expect_err(says).to_string();
        assert!(line.starts_with("cannot speak TLS with wss://") && line.contains(says), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    let line = Builder::new("wss://localhost/")
        .root_certificates("no pem")
        .connect_over(TcpStream::connect(server.addr).expect("connects"));
    assert_eq!(
        line.expect_err("no root").to_string(),
        "the root certificates' PEM has no certificate: one begins with -----BEGIN CERTIFICATE-----"
    );
    // A request in plain text to a TLS port.
    let line = client::connect(&format!("ws://{}/ws", server.addr)).expect_err("speaks TLS").to_string();
    assert!(line.contains("answered the handshake with 400 ") && line.contains("wss://"), "{line}");
}

#[test]
fn roots_are_read_as_certificates_are_and_an_unknown_block_is_named() {
    let (identity, other) = (Identity::new(), Identity::new());
    let server = secure_echo(&identity);
    let connect = |roots: String| {
        let builder = Builder::new("wss://localhost/ws").root_certificates(roots);
        builder.connect_over(TcpStream::connect(server.addr).expect("connects")).map(|_| ())
    };
    let joined = format!("\u{feff}{}{}", other.chain.trim_end(), identity.chain);
    connect(joined.clone()).expect("two marks on one line, behind a mark of byte order");
    connect(identity.chain.replace("CERTIFICATE", "X509 CERTIFICATE")).expect("an older name");
    for (roots, says) in [
        (
            joined.replacen("CERTIFICATE", "TRUSTED CERTIFICATE", 2),
            "has an unsupported PEM block, number 1, \"TRUSTED CERTIFICATE\"",
        ),
        (joined.clone() + "-----BEGIN CERTIFICATE-----", "is damaged: its PEM block 3 is incomplete"),
        (joined.replacen("MII", "M!I", 1), "is damaged: its PEM block 1 is incomplete"),
    ] {
        let line = connect(roots).expect_err(says).to_string();
        assert!(line.starts_with(&format!("the root certificates' PEM {says}")), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn over_tls_recv_timeout_of_zero_does_not_wait_and_takes_waiting_messages() {
    let identity = Identity::new();
    let server = secure_echo(&identity);
    let builder = Builder::new(&format!("wss://localhost:{}/ws", server.addr.port()));
    let (connection, mut messages) = builder.root_certificates(&identity.chain).connect().expect("connects");
    let begun = std::time::Instant::now();
    for _ in 0..5000 {
        assert!(matches!(messages.recv_timeout(Duration::ZERO), Err(Error::TimedOut)));
    }
    // A kernel timeout takes 1 to 10 ms each.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let long = "x".repeat(100_000);
    connection.write_message(long.as_str()).expect("is open");
    support::eventually("the echo is there", || match messages.recv_timeout(Duration::ZERO) {
        Ok(message) => message.is_some_and(|message| message.as_text() == Some(&long)),
        Err(error) => {
            assert!(matches!(error, Error::TimedOut), "{error}");
            false
        }
    });
}

#[test]
fn a_handshake_of_tls_that_does_not_come_ends_at_the_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("wss://{}/", listener.local_addr().expect("an address"));
    let identity = Identity::new();
    let builder =
        Builder::new(&url).root_certificates(&identity.chain).connect_deadline(Duration::from_millis(200));
    let line = builder.connect().expect_err("is silent").to_string();
    assert_eq!(line, format!("cannot speak TLS with {url}: not within the connect deadline"));
}
