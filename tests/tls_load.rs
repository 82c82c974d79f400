//! TLS under load: clients that do not read, that flood, that come all at once, or do not finish their handshake. Other
//! clients notice nothing, and no thread leaks.

mod support;
use support::tls;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use support::{DEADLINE, Event, Probed, Raw, eventually, get, masked, server_threads};
use threadcast::{Application, Capacity, Connection, Error, Message, broadcast};
use tls::{Identity, Secure};

/// One test after the other: they look at the threads and the memory of this process, and load the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that echoes, and the configuration of its clients.
struct Tls {
    probed: Probed,
    config: Arc<ClientConfig>,
}

impl Tls {
    fn start(clients: usize, settings: impl FnOnce(Application) -> Application) -> Tls {
        let identity = Identity::new();
        let tls = identity.config();
        let settings = |application: Application| settings(application).stack_size(64 << 10).tls(tls);
        let capacity = Capacity::new(clients);
        let probed = Probed::start_within(capacity, settings, |connection, message| {
            if message.as_text().is_some() { connection.write_message(message) } else { Ok(()) }
        });
        Tls { probed, config: Arc::new(identity.client(&[&TLS12, &TLS13])) }
    }

    fn open(&self) -> (Secure, Connection) {
        let client = Secure::websocket(self.probed.addr, &self.config, "/ws");
        loop {
            match self.probed.next("open") {
                Event::Open(connection) => return (client, connection),
                // From clients that flood, or leave.
                _ => continue,
            }
        }
    }

    /// A client that does not read, with a small receive buffer.
    fn deaf(&self) -> (Secure, Connection) {
        let (client, connection) = self.open();
        set_buffer(&client, 16 << 10);
        (client, connection)
    }
}

fn set_buffer(client: &Secure, size: usize) {
    rustix::net::sockopt::set_socket_recv_buffer_size(&client.tls.sock, size).unwrap();
}

/// The round-trip time of one message.
fn round_trip(client: &mut Secure) -> Duration {
    let begun = Instant::now();
    client.send_frame(0x81, "there and back");
    assert_eq!(client.frame(), (0x81, b"there and back".to_vec()));
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Bytes of anonymous memory that this process has in use.
fn anonymous() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_client_that_never_reads_is_disconnected_at_its_limit() {
    let _alone = alone();
    let tls = Tls::start(10, |application| application);
    let ((_deaf, connection), (mut other, _)) = (tls.deaf(), tls.open());
    let mut accepted = 0;
    let error = loop {
        match connection.write_message(vec![0; 64 << 10]) {
            Ok(()) => accepted += 64 << 10,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::SlowConsumer { backlog } if backlog >= 1 << 20), "{error}");
    assert!(accepted < 64 << 20, "{accepted}");
    assert!(matches!(connection.write_message("late"), Err(Error::Closed)));
    tls.probed.expect_close(None, None);
    assert_eq!(tls.probed.server.stats().slow_consumers, 1);
    round_trip(&mut other);
}

#[test]
fn a_backlog_that_stands_still_has_a_deadline_and_one_that_moves_has_none() {
    let _alone = alone();
    let deadline = Duration::from_secs(2);
    let tls = Tls::start(10, |application| application.max_backlog(64 << 20).write_deadline(deadline));
    let ((_deaf, stands), (mut slow, moves)) = (tls.deaf(), tls.deaf());
    let message = Message::from(vec![7; 24 << 20]);
    assert_eq!(broadcast([&stands, &moves], message).unwrap(), 2);
    // A part now and then, for longer than the deadline.
    let begun = Instant::now();
    assert_eq!(slow.take(10, "a header"), [&[0x82, 127][..], &(24u64 << 20).to_be_bytes()].concat());
    let mut taken = 0;
    while begun.elapsed() < 2 * deadline {
        taken += slow.take(64 << 10, "a part").len();
        thread::park_timeout(Duration::from_millis(50));
    }
    tls.probed.expect_close(None, None);
    assert!(stands.is_closed() && !moves.is_closed());
    eventually("it is counted", || tls.probed.server.stats().slow_consumers == 1);
    set_buffer(&slow, 1 << 20);
    assert!(slow.take((24 << 20) - taken, "the rest").iter().all(|byte| *byte == 7));
    round_trip(&mut slow);
    eventually("the pumps have ended", || !server_threads().iter().any(|name| name.starts_with("pump-")));
}

#[test]
fn slow_clients_share_their_unsent_frames() {
    const CLIENTS: usize = 20;
    const FRAME: usize = 4 << 20;
    let _alone = alone();
    // With 1,000 places, each of these finds one for its pump.
    let tls = Tls::start(1000, |application| application.max_backlog(64 << 20).write_deadline(DEADLINE));
    let (clients, connections): (Vec<_>, Vec<_>) = (0..CLIENTS).map(|_| tls.deaf()).unzip();
    let message = Message::from(vec![7; FRAME]);
    let before = anonymous();
    assert_eq!(broadcast(&connections, message).unwrap(), CLIENTS);
    let waiting = connections.iter().map(Connection::backlog).sum::<u64>();
    assert!(waiting > (CLIENTS as u64) * FRAME as u64 / 2, "the sockets took it: {waiting}");
    eventually("each has its pump", || {
        server_threads().iter().filter(|name| name.starts_with("pump-")).count() == CLIENTS
    });
    let more = anonymous().saturating_sub(before);
    assert!(more < 16 << 20, "{more} bytes, for {waiting} that wait");
    assert!(!connections.iter().any(Connection::is_closed));
    drop(clients);
}

#[test]
fn handshakes_that_do_not_end_are_evicted_for_newer_clients() {
    let _alone = alone();
    let tls = Tls::start(8, |application| application);
    let (mut inside, _) = tls.open();
    // Connections without a WebSocket get a quarter of the places, and 16.
    let half = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let pending: Vec<_> = (0..18)
        .map(|_| {
            let mut pending = Raw::connect_from(2, tls.probed.addr);
            pending.send(half);
            pending
        })
        .collect();
    eventually("all are there", || tls.probed.server.stats().clients == 19);
    let (mut newer, _) = tls.open();
    eventually("the oldest had to go", || tls.probed.server.stats().disconnects.evicted == 1);
    round_trip(&mut newer);
    round_trip(&mut inside);
    drop(pending);
}

/// Clients that connect, ask for a page, and leave, until `stop`.
fn storm(addr: SocketAddr, config: &Arc<ClientConfig>, stop: &AtomicBool, done: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        // None resumes.
        let mut config = ClientConfig::clone(config);
        config.resumption = rustls::client::Resumption::disabled();
        let mut client = Secure::connect(addr, &Arc::new(config));
        client.send(get("/none", "Connection: close\r\n"));
        assert!(client.head().starts_with("HTTP/1.1 404 "));
        client.rest().expect("close_notify");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_storm_of_handshakes_keeps_nobody_from_its_messages() {
    let _alone = alone();
    let tls = Tls::start(100, |application| application);
    let (mut client, _) = tls.open();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let times = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| storm(tls.probed.addr, &tls.config, &stop, &done));
        }
        let times: Vec<_> = (0..100).map(|_| round_trip(&mut client)).collect();
        eventually("many have come", || done.load(Ordering::Relaxed) > 100);
        stop.store(true, Ordering::Relaxed);
        times
    });
    let cores = thread::available_parallelism().unwrap().get();
    let arithmetic = server_threads().iter().filter(|name| name.starts_with("tls-")).count();
    assert_eq!(arithmetic, cores, "threads for handshakes");
    let median = median(times);
    assert!(median < Duration::from_millis(100), "{median:?} to and fro");
}

#[test]
fn a_client_that_floods_delays_no_push() {
    let _alone = alone();
    let tls = Tls::start(10, |application| application);
    let ((mut flooder, flooded), (mut other, its)) = (tls.open(), tls.open());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let frame = masked(0x82, &[0; 100]);
            while !stop.load(Ordering::Relaxed) {
                flooder.send(frame.repeat(100));
                while tls.probed.events.try_recv().is_ok() {}
            }
        });
        let times = (0..200).map(|number: u32| {
            let begun = Instant::now();
            flooded.write_message("to one that floods").unwrap();
            its.write_message(number.to_string()).unwrap();
            let took = begun.elapsed();
            assert_eq!(other.frame(), (0x81, number.to_string().into_bytes()));
            took
        });
        let median = median(times.collect());
        stop.store(true, Ordering::Relaxed);
        assert!(median < Duration::from_millis(20), "{median:?} for two pushes");
    });
}

#[test]
fn a_server_that_shuts_down_among_handshakes_leaves_no_thread() {
    let _alone = alone();
    let tls = Tls::start(100, |application| application);
    let (mut client, _) = tls.open();
    let addr = tls.probed.addr;
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(addr).unwrap()).collect();
    eventually("they are accepted", || tls.probed.server.stats().clients >= 11);
    thread::scope(|scope| {
        let closing = scope.spawn(|| tls.probed.server.shutdown());
        let close = [&1001u16.to_be_bytes()[..], b"server shutting down"].concat();
        assert_eq!(client.frame(), (0x88, close));
        client.send_frame(0x88, 1001u16.to_be_bytes());
        assert!(client.rest().expect("close_notify").is_empty());
        closing.join().unwrap();
    });
    eventually("all have ended", || server_threads().is_empty());
    drop(silent);
}
