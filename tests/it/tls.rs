//! TLS as an independent client sees it: `rustls` on its own socket, and raw bytes.

use crate::support;
use support::tls;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use support::{DEADLINE, Event, Probed, Raw, eventually, get, masked, status, upgrade};
use threadcast::{Application, Capacity, Error, Exchange, RequestHandler, Result};
use tls::{Identity, Secure};

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
/// The type of a record, and an alert (RFC 8446, sections 5.1 and 6).
const ALERT: u8 = 21;
const INTERNAL_ERROR: u8 = 80;

/// Answers with the scheme of the request.
struct Scheme;

impl RequestHandler for Scheme {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_cookie("a", "b")?;
        exchange.write(if exchange.is_secure() { "https" } else { "http" });
        Ok(())
    }
}

/// A server whose probe echoes, on the smallest stacks.
fn echoing(identity: &Identity) -> Probed {
    let tls = identity.config();
    let settings = |application: Application| {
        application.page("/", || Scheme).max_backlog(16 << 20).stack_size(64 << 10).tls(tls)
    };
    Probed::start_with(settings, |connection, message| connection.write_message(message))
}

/// The first bytes of a client.
fn client_hello(identity: &Identity) -> Vec<u8> {
    let config = Arc::new(identity.client(&[&TLS13]));
    let mut client = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Sends bytes, and returns everything up to the end.
fn answer(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut raw = Raw::connect(addr);
    raw.send(bytes);
    raw.rest()
}

#[test]
fn pages_and_messages_go_to_and_fro_and_the_end_is_in_order() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    for versions in VERSIONS {
        let config = Arc::new(identity.client(versions));
        let mut page = Secure::connect(probed.addr, &config);
        page.send(get("/", ""));
        let head = page.head();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("; Secure"), "{head}");
        assert_eq!(page.take(5, "the page"), b"https");
        page.send(get("/", "Connection: close\r\n"));
        assert!(page.rest().expect("close_notify").ends_with(b"https"));

        let mut client = Secure::websocket(probed.addr, &config, "/ws");
        for length in [0, 1, 125, 126, 16_000, 16_384, 65_536, 1 << 20, 9 << 20] {
            let sent: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            client.send_frame(0x82, &sent);
            assert!(client.frame() == (0x82, sent), "{length}");
        }
        client.send_frame(0x88, 1000u16.to_be_bytes());
        assert_eq!(client.frame(), (0x88, 1000u16.to_be_bytes().to_vec()));
        assert!(client.rest().expect("close_notify").is_empty());
    }
}

#[test]
fn our_close_comes_before_close_notify_which_waits_for_the_answer() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    for versions in VERSIONS {
        let mut client = Secure::websocket(probed.addr, &Arc::new(identity.client(versions)), "/ws");
        let Event::Open(connection) = probed.next("open") else { panic!("opens first") };
        connection.write_message("last").unwrap();
        connection.close(Some(4000), Some("bye")).unwrap();
        assert_eq!(client.frame(), (0x81, b"last".to_vec()));
        assert_eq!(client.frame(), (0x88, [&4000u16.to_be_bytes()[..], b"bye"].concat()));
        // The server still reads, so messages in flight arrive.
        client.send_frame(0x81, "on its way");
        probed.expect_message("on its way");
        client.send_frame(0x88, 4000u16.to_be_bytes());
        probed.expect_close(Some(4000), None);
        assert!(client.rest().expect("close_notify").is_empty());
    }
}

#[test]
fn a_client_that_leaves_without_close_notify_is_an_ordinary_end() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    let client = Secure::websocket(probed.addr, &Arc::new(identity.client(&[&TLS13])), "/ws");
    assert!(matches!(probed.next("open"), Event::Open(_)));
    client.tls.sock.shutdown(Shutdown::Write).unwrap();
    probed.expect_close(None, None);
    eventually("it is gone", || probed.server.stats().clients == 0);
}

#[test]
fn the_wrong_protocol_gets_an_answer_that_says_so() {
    let identity = Identity::new();
    let secure = echoing(&identity);
    let plain = Probed::start();
    for request in [get("/", ""), upgrade("/ws", ""), "OPTIONS * HTTP/1.0\r\n\r\n".to_owned()] {
        let answered = String::from_utf8(answer(secure.addr, request.as_bytes())).unwrap();
        assert_eq!(status(&answered), 400, "{answered}");
        assert!(answered.contains("https:// or wss://"), "{answered}");
    }
    let answered = answer(plain.addr, &client_hello(&identity));
    assert!(answered.starts_with(b"HTTP/1.1 400 "), "{:?}", answered.escape_ascii());
    for garbage in
        [&b"\x00\x01\x02\x03\x04\x05\x06\x07"[..], b"\x16\x03\x01\xff\xff\x00", b"\x15\x03\x01\x00\x02\x02"]
    {
        let mut raw = Raw::connect(secure.addr);
        raw.send(garbage);
        raw.stream.shutdown(Shutdown::Write).unwrap();
        let answered = raw.rest();
        assert!(answered.is_empty() || answered[0] == ALERT, "{:?}", answered.escape_ascii());
    }
    eventually("all are gone", || secure.server.stats().clients == 0);
}

#[test]
fn garbage_after_the_101_gets_an_alert_and_on_close_is_called() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    for versions in VERSIONS {
        let mut client = Secure::websocket(probed.addr, &Arc::new(identity.client(versions)), "/ws");
        assert!(matches!(probed.next("open"), Event::Open(_)));
        // More than one read: the unread rest must not cost it the alert.
        let garbage = b"\x17\x03\x03\x00\x20 not a record of this session".repeat(5_000);
        client.tls.sock.write_all(&garbage).unwrap();
        let error = client.rest().expect_err("an alert");
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
        probed.expect_close(None, None);
    }
}

#[test]
fn a_server_without_a_place_sends_an_alert_at_once_and_does_no_handshake() {
    let identity = Identity::new();
    let tls = identity.config();
    let capacity = Capacity::new(1);
    let probed = Probed::start_within(capacity, |application| application.tls(tls), |_, _| Ok(()));
    let config = Arc::new(identity.client(&[&TLS13]));
    let mut inside = Secure::websocket(probed.addr, &config, "/ws");
    // Silent clients hold the places for requests.
    let _silent: Vec<_> = (0..16).map(|_| TcpStream::connect(probed.addr).unwrap()).collect();
    let answered = answer(probed.addr, &client_hello(&identity));
    assert_eq!(answered, [ALERT, 3, 3, 0, 2, 2, INTERNAL_ERROR]);
    inside.send_frame(0x89, "still there?");
    assert_eq!(inside.frame(), (0x8a, b"still there?".to_vec()));
}

#[test]
fn http_1_1_is_agreed_on_and_another_protocol_gets_an_alert() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    for versions in VERSIONS {
        for (offered, agreed) in [
            (&["http/1.1"][..], Some(&b"http/1.1"[..])),
            (&["h2", "http/1.1"], Some(b"http/1.1")),
            (&[], None),
        ] {
            let mut config = identity.client(versions);
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut client = Secure::connect(probed.addr, &Arc::new(config));
            client.send(get("/", ""));
            assert!(client.head().starts_with("HTTP/1.1 200 "));
            assert_eq!(client.tls.conn.alpn_protocol(), agreed);
        }
        let mut config = identity.client(versions);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = Secure::connect(probed.addr, &Arc::new(config));
        let error = client.tls.write_all(b"GET").expect_err("an alert");
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    }
}

#[test]
fn a_client_that_comes_again_resumes() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    for versions in VERSIONS {
        let config = Arc::new(identity.client(versions));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = Secure::connect(probed.addr, &config);
            client.send(get("/", "Connection: close\r\n"));
            assert!(client.head().starts_with("HTTP/1.1 200 "));
            assert_eq!(client.tls.conn.handshake_kind(), Some(kind));
            client.rest().expect("close_notify");
        }
    }
}

#[test]
fn handshake_and_head_have_ten_seconds_however_slowly_the_bytes_come() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    let hello = client_hello(&identity);
    let record = {
        // A head in a record that is longer than the deadline at this pace.
        let mut client = Secure::connect(probed.addr, &Arc::new(identity.client(&[&TLS13])));
        client.send("GET / HTTP/1.1\r\n");
        let head = format!("Host: h\r\nX: {}\r\n\r\n", "x".repeat(200));
        client.tls.conn.writer().write_all(head.as_bytes()).unwrap();
        let mut record = Vec::new();
        client.tls.conn.write_tls(&mut record).unwrap();
        (client, record)
    };
    let (half, dribbled) = (hello[..50].to_vec(), hello);
    // Each sends a byte every 100 ms, for as long as the server takes it.
    let dribble = |mut stream: TcpStream, bytes: Vec<u8>, at_once: usize| {
        thread::spawn(move || {
            let begun = Instant::now();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let _ = stream.write_all(&bytes[..at_once]);
            let mut rest = bytes[at_once..].iter();
            loop {
                match stream.read(&mut [0; 4096]) {
                    Ok(0) => return begun.elapsed(),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                        return begun.elapsed();
                    }
                    Err(_) => {
                        if let Some(byte) = rest.next() {
                            let _ = stream.write_all(&[*byte]);
                        }
                        assert!(begun.elapsed() < DEADLINE, "it is still there");
                    }
                }
            }
        })
    };
    let connect = || TcpStream::connect(probed.addr).unwrap();
    let all = [
        dribble(connect(), Vec::new(), 0),
        dribble(connect(), half, 50),
        dribble(connect(), dribbled, 0),
        dribble(record.0.tls.sock, record.1, 0),
    ];
    for one in all {
        let took = one.join().unwrap();
        // The dribbling clients would have bytes for longer.
        assert!((8..18).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn a_pump_that_is_blocked_does_not_keep_key_updates_and_messages_out() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    let mut client = Secure::websocket(probed.addr, &Arc::new(identity.client(&[&TLS13])), "/ws");
    let Event::Open(connection) = probed.next("open") else { panic!("opens first") };
    // Less than half of the limit, so the server reads it.
    let sent: Vec<u8> = (0..7 << 20).map(|n| (n % 251) as u8).collect();
    connection.write_message(&sent[..]).unwrap();
    assert!(connection.backlog() > 0, "more than the socket takes");
    for n in 0..20 {
        client.tls.conn.refresh_traffic_keys().unwrap();
        client.send(masked(0x81, format!("{n}").as_bytes()));
    }
    for n in 0..20 {
        assert_eq!(probed.next("a message"), Event::Message(format!("{n}").as_str().into()));
    }
    assert!(client.frame() == (0x82, sent));
    for n in 0..20 {
        assert_eq!(client.frame(), (0x81, format!("{n}").into_bytes()));
    }
}

#[test]
fn keys_that_are_used_up_are_changed_or_end_the_connection_and_nothing_is_dropped_in_silence() {
    const LIMIT: u64 = 100;
    const MESSAGES: u64 = 20 * LIMIT;
    let identity = Identity::new();
    let tls = identity.config_with_limit(LIMIT);
    let probed = Probed::start_with(|application| application.tls(tls), |_, _| Ok(()));
    for (versions, has_others) in VERSIONS.into_iter().zip([false, true]) {
        let mut client = Secure::websocket(probed.addr, &Arc::new(identity.client(versions)), "/ws");
        let Event::Open(connection) = probed.next("open") else { panic!("opens first") };
        // Its Finished and the answer to its request were encrypted too.
        for number in 0..if has_others { MESSAGES } else { LIMIT - 2 } {
            connection.write_message(number.to_string()).unwrap();
            assert_eq!(client.frame(), (0x81, number.to_string().into_bytes()));
        }
        if has_others {
            client.send_frame(0x88, 1000u16.to_be_bytes());
            probed.expect_close(Some(1000), None);
        } else {
            let _ = connection.write_message("one too many");
            let end = client.rest().expect_err("no close_notify, since something is missing");
            assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
            probed.expect_close(None, None);
            assert!(matches!(connection.write_message("late"), Err(Error::Closed)));
        }
    }
}

#[test]
fn over_tls_too_the_largest_holder_gives_way_with_1009_or_413() {
    let identity = Identity::new();
    let tls = identity.config();
    let settings = |application: Application| application.page("/", || Scheme).max_buffered(1 << 20).tls(tls);
    let probed = Probed::start_with(settings, |_, _| Ok(()));
    let config = Arc::new(identity.client(&[&TLS13]));
    let newcomer = |gone: u64| {
        let mut newcomer = Secure::websocket(probed.addr, &config, "/ws");
        newcomer.send_frame(0x82, vec![0; 300 << 10]);
        newcomer.send_frame(0x89, "read");
        assert_eq!(newcomer.frame(), (0x8a, b"read".to_vec()));
        eventually("it is counted", || probed.server.stats().disconnects.gave_way == gone);
    };
    let mut stranger = Secure::websocket(probed.addr, &config, "/ws");
    stranger.send_frame(0x02, vec![0; 900 << 10]);
    stranger.send_frame(0x89, "read");
    assert_eq!(stranger.frame(), (0x8a, b"read".to_vec()));
    newcomer(1);
    assert_eq!(stranger.frame().1[..2], 1009_u16.to_be_bytes());
    let mut stranger = Secure::connect(probed.addr, &config);
    stranger.send("DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 950000\r\n\r\n");
    stranger.send(vec![b'x'; 900_000]);
    eventually("it is read", || support::on_its_way(probed.addr) == 0);
    newcomer(2);
    assert_eq!(status(&stranger.head()), 413);
}
