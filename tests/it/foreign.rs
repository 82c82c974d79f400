//! An application's own code that panics in unexpected places: in a drop, in the payload of a panic, in the formatting
//! of an error. The answer, the backlog and the Close still arrive, and a shutdown ends.

use crate::support;

use std::fmt;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use support::{Raw, close_frame, eventually, fetch, frame, get, masked, status, upgrade};
use threadcast::{
    Application, Connection, Error, Exchange, Hub, Message, Observer, Relay, RequestHandler, Result, Server,
    WebSocketHandler,
};

/// Panics when it is dropped or formatted, and so does the payload of that panic, and so on.
#[derive(Debug)]
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

/// An error that panics when it is formatted.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(Bomb(1));
    }
}

impl std::error::Error for Unspeakable {}

/// An error that panics when it is dropped.
#[derive(Debug)]
struct Undroppable(#[allow(dead_code, reason = "it is dropped")] Bomb);

impl fmt::Display for Undroppable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be dropped")
    }
}

impl std::error::Error for Undroppable {}

/// Misbehaves in the way that its name says.
fn misbehave(what: &str) -> Result<()> {
    match what {
        "payload" => panic_any(Bomb(3)),
        "display" => Err(Error::other(Unspeakable)),
        "io display" => Err(Error::io("reading")(std::io::Error::other(Unspeakable))),
        "error drop" => Err(Error::other(Undroppable(Bomb(2)))),
        "refused" => Err(Error::refused(403, "no")),
        _ => Ok(()),
    }
}

/// A page that also panics when it is dropped.
struct Page(#[allow(dead_code, reason = "it is dropped")] Bomb);

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        misbehave(&exchange.get_argument("do")?)?;
        exchange.write("done");
        Ok(())
    }
    fn methods(&self) -> &'static [&'static str] {
        panic_any(Bomb(1))
    }
}

struct Socket(#[allow(dead_code, reason = "it is dropped")] Bomb);

impl WebSocketHandler for Socket {
    fn open(&mut self, _: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        misbehave(&exchange.get_argument("open")?)
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        connection.write_message("accepted")?;
        misbehave(message.as_text().unwrap_or_default())
    }
}

fn application() -> Application {
    // Each route's closure panics when it is dropped, with the server.
    let (page, socket) = (Bomb(1), Bomb(1));
    Application::new()
        .page("/page", move || {
            let _ = &page;
            Page(Bomb(1))
        })
        .page("/none", || -> Page { panic_any(Bomb(1)) })
        .websocket("/ws", move || {
            let _ = &socket;
            Socket(Bomb(1))
        })
        .websocket_with("/made", |exchange| {
            misbehave(&exchange.get_argument("make")?)?;
            Ok(Socket(Bomb(1)))
        })
}

#[test]
fn a_page_has_its_answer_whatever_panics_beside_it() {
    let server = Server::bind("127.0.0.1:0", application()).unwrap();
    let request = |method: &str, target: &str| get(target, "").replacen("GET", method, 1);
    for (method, target, expected) in [
        ("GET", "/page?do=nothing", 200),
        ("GET", "/page?do=payload", 500),
        ("GET", "/page?do=display", 500),
        ("GET", "/page?do=io+display", 500),
        ("GET", "/page?do=error+drop", 500),
        ("GET", "/page?do=refused", 403),
        ("OPTIONS", "/page", 500),
        ("PATCH", "/page", 500),
        ("POST", "/page", 500),
        ("GET", "/none", 500),
    ] {
        let (head, _) = fetch(server.local_addr(), request(method, target));
        assert_eq!(status(&head), expected, "{method} {target}: {head}");
    }
    server.shutdown();
}

#[test]
fn a_handshake_has_its_answer_whatever_panics_beside_it() {
    let server = Server::bind("127.0.0.1:0", application()).unwrap();
    for (target, expected) in [
        ("/ws?open=nothing", 101),
        ("/ws?open=payload", 500),
        ("/ws?open=display", 500),
        ("/ws?open=error+drop", 500),
        ("/ws?open=refused", 403),
        ("/made?make=nothing&open=nothing", 101),
        ("/made?make=payload", 500),
        ("/made?make=display", 500),
        ("/made?make=refused", 403),
    ] {
        let mut client = Raw::connect(server.local_addr());
        client.send(upgrade(target, ""));
        assert_eq!(status(&client.head()), expected, "{target}");
    }
    server.shutdown();
}

#[test]
fn accepted_messages_and_the_close_arrive_despite_panics() {
    let server = Server::bind("127.0.0.1:0", application()).unwrap();
    let closed = |code: u16, reason: &str| close_frame(code, reason);
    for (what, close) in [
        ("payload", closed(1011, "internal error")),
        ("display", closed(1011, "internal error")),
        ("error drop", closed(1011, "internal error")),
        ("refused", closed(1011, "internal error")),
        ("nothing", frame(0x88, "")),
    ] {
        let mut client = Raw::websocket(server.local_addr(), "/ws?open=nothing");
        client.send_frame(0x81, what);
        assert_eq!(client.frame(), frame(0x81, "accepted"), "{what}");
        if what == "nothing" {
            client.send(masked(0x88, b""));
        }
        assert_eq!(client.frame(), close, "{what}");
    }
    server.shutdown();
}

#[test]
fn an_observer_that_panics_ends_no_thread() {
    let observer = Observer::new(|_, _| panic_any(Bomb(1)));
    observer.watch(true);
    let server = Server::bind("127.0.0.1:0", application().observer(observer.clone())).unwrap();
    for _ in 0..2 {
        let mut client = Raw::websocket(server.local_addr(), "/ws?open=nothing");
        client.send_frame(0x81, "nothing");
        assert_eq!(client.frame(), frame(0x81, "accepted"));
        assert!(!observer.is_watching());
    }
}

struct Nowhere;

impl Relay for Nowhere {
    fn forward(&self, _: &str, _: &Message) {
        panic_any(Bomb(1));
    }
}

#[test]
fn a_relay_that_panics_takes_no_message_from_those_here() {
    let hub = Hub::new();
    assert!(hub.set_relay(Arc::new(Nowhere)));
    assert_eq!(hub.publish("a", "hi").unwrap(), 0);
    assert_eq!(hub.publish("a", "hi").unwrap(), 0);
}

#[test]
fn a_second_form_that_panics_takes_no_message_from_the_first() {
    let (first, second) = Hub::in_two_forms(|_, _| panic_any(Bomb(1)));
    let application = Application::new().websocket("/ws", move || Both(first.clone(), second.clone()));
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let mut client = Raw::websocket(server.local_addr(), "/ws");
    client.send_frame(0x81, "hi");
    assert_eq!(client.frame(), frame(0x81, "hi"));
}

/// Subscribes to both hubs, and publishes in the first.
struct Both(Hub, Hub);

impl WebSocketHandler for Both {
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        self.0.subscribe("a", connection)?;
        self.1.subscribe("a", connection)?;
        self.0.publish("a", message).map(drop)
    }
}

/// Blocks until its sender is gone.
struct Blocks(Arc<AtomicBool>, Arc<std::sync::Mutex<mpsc::Receiver<()>>>);

impl WebSocketHandler for Blocks {
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        self.0.store(true, Ordering::SeqCst);
        let _ = self.1.lock().unwrap().recv();
        Ok(())
    }
}

#[test]
fn a_shutdown_beside_a_handler_that_blocks_takes_its_grace_and_a_second_more() {
    let grace = Duration::from_millis(500);
    // Two cores may be busy with other tests: this takes the best time, not the worst.
    let took = (0..4).map(|_| {
        let (release, blocked) = mpsc::channel::<()>();
        let (begun, blocked) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::Mutex::new(blocked)));
        let handler = (begun.clone(), blocked);
        let application =
            Application::new().websocket("/ws", move || Blocks(handler.0.clone(), handler.1.clone()));
        let server = Server::bind("127.0.0.1:0", application).unwrap();
        let mut client = Raw::websocket(server.local_addr(), "/ws");
        client.send_frame(0x81, "block");
        eventually("the handler blocks", || begun.load(Ordering::SeqCst));
        let before = Instant::now();
        server.shutdown_within(grace);
        drop(release);
        before.elapsed()
    });
    let limit = grace + Duration::from_secs(1) + Duration::from_millis(700);
    let took: Vec<_> = took.collect();
    assert!(took.iter().any(|took| *took < limit), "{took:?}");
}

#[test]
fn the_largest_limits_let_messages_through() {
    let application = application().max_message(usize::MAX).max_body(usize::MAX).max_buffered(u64::MAX);
    #[cfg(feature = "deflate")]
    let application = application.compression(Some(1));
    let application = application.ping_interval(Some(Duration::MAX)).ping_timeout(Duration::MAX);
    let application = application.write_deadline(Duration::MAX);
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let mut client = Raw::connect(server.local_addr());
    client.send(upgrade("/ws?open=nothing", "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert_eq!(status(&client.head()), 101);
    client.send_frame(0x81, "nothing");
    // "accepted" or its compressed form.
    assert_eq!(client.frame().first & 0x8f, 0x81);
    // A message too large for memory, by its header alone: the server does not allocate it.
    client.send([&[0x82, 0xff][..], &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat());
    eventually("it is closed", || client.frame_or_end().is_none_or(|frame| frame.first == 0x88));
    server.shutdown_within(Duration::MAX);
}

#[cfg(feature = "tls")]
mod resolvers {
    use std::io::Read;
    use std::net::{SocketAddr, TcpStream};
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use rustls::version::TLS13;
    use rustls::{ClientConnection, ServerConfig};
    use threadcast::TlsConfig;

    use super::*;
    use crate::support::DEADLINE;
    use crate::support::tls::{Identity, Secure};

    /// A resolver that calls a function before it returns a certificate.
    struct Resolver {
        asked: AtomicUsize,
        pair: Arc<CertifiedKey>,
        before: Box<dyn Fn(usize) + Send + Sync>,
    }

    impl fmt::Debug for Resolver {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Resolver")
        }
    }

    impl ResolvesServerCert for Resolver {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            (self.before)(self.asked.fetch_add(1, Ordering::SeqCst));
            Some(self.pair.clone())
        }
    }

    fn start(before: impl Fn(usize) + Send + Sync + 'static) -> (Server, Arc<Resolver>, Identity) {
        let identity = Identity::new();
        let chain = vec![CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let pair = Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).unwrap());
        let resolver = Arc::new(Resolver { asked: AtomicUsize::new(0), pair, before: Box::new(before) });
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_cert_resolver(resolver.clone());
        let tls = TlsConfig::from_rustls(Arc::new(config)).unwrap();
        (Server::bind("127.0.0.1:0", application().tls(tls)).unwrap(), resolver, identity)
    }

    /// A client that sends its ClientHello.
    fn hello(addr: SocketAddr, identity: &Identity) -> TcpStream {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(Arc::new(identity.client(&[&TLS13])), name).unwrap();
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        tls.write_tls(&mut stream).unwrap();
        stream
    }

    #[test]
    fn where_a_resolver_blocks_each_handshake_ends_and_a_stop_does_not_wait_for_it() {
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = std::sync::Mutex::new(blocked);
        let (server, resolver, identity) = start(move |_| _ = blocked.lock().unwrap().recv());
        let addr = server.local_addr();
        let threads = thread::available_parallelism().unwrap().get();
        let mut clients: Vec<_> = (0..threads + 2).map(|_| hello(addr, &identity)).collect();
        eventually("all threads for handshakes are held up", || {
            resolver.asked.load(Ordering::SeqCst) == threads
        });
        // At the deadline for its head, which counts from its accept.
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).expect("its end, in time"), 0);
        }
        let mut late = hello(addr, &identity);
        let begun = Instant::now();
        server.shutdown_within(Duration::from_secs(1));
        // Before that each client's wait was added to it.
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert!(matches!(late.read(&mut [0]), Ok(0) | Err(_)));
        drop(release);
    }

    #[test]
    fn where_a_resolver_panics_that_handshake_ends_and_no_other() {
        let (server, _, identity) = start(|asked| {
            if asked < 8 {
                panic_any(Bomb(2));
            }
        });
        let addr = server.local_addr();
        for _ in 0..8 {
            assert_eq!(hello(addr, &identity).read(&mut [0]).expect("its end"), 0);
        }
        let config = Arc::new(identity.client(&[&TLS13]));
        let mut client = Secure::websocket(addr, &config, "/ws?open=nothing");
        client.send(masked(0x81, b"nothing"));
        assert_eq!(client.frame(), (0x81, b"accepted".to_vec()));
    }
}
