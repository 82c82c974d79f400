//! Producers that wait for their client, clients that read slowly and steadily, and which of them count as alive.

use crate::support;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::{DEADLINE, Event, Probed, Raw, close_frame, eventually, frame, get, masked};
use threadcast::{
    Application, Capacity, Connection, Delivery, Error, Exchange, Message, RequestHandler, Result, Server,
    WebSocketHandler, broadcast,
};

/// Reads at most `rate` bytes a second, to the end of the stream.
fn read_slowly(stream: &mut TcpStream, rate: usize) -> Vec<u8> {
    let (begun, mut bytes, mut piece) = (Instant::now(), Vec::new(), vec![0; 16 << 10]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("waited for more than {} bytes: {error}", bytes.len()),
        }
        let due = Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
        // The test is about this pace; it waits for nothing.
        thread::park_timeout(due.saturating_sub(begun.elapsed()));
    }
}

/// Shrinks the client's receive buffer.
fn with_small_buffer(raw: &Raw) {
    rustix::net::sockopt::set_socket_recv_buffer_size(&raw.stream, 16 << 10).unwrap();
}

/// Pushes so much that the kernel, whose buffers grow to tens of megabytes, cannot bring it below half of 64 MiB.
fn fill(connection: &Connection) {
    eventually("a full socket", || {
        connection.write_message(vec![0; 1 << 20]).expect("below the limit");
        connection.backlog() > 48 << 20
    });
}

#[test]
fn producers_that_wait_for_room_push_a_hundred_times_the_backlog_and_lose_nothing() {
    let probed = Probed::start_with(|application| application.max_backlog(256 << 10), |_, _| Ok(()));
    let (mut client, connection) = probed.open();
    let produce = |first: u8| {
        let connection = connection.clone();
        thread::spawn(move || {
            for _ in 0..800 {
                connection.wait_for_room(DEADLINE).unwrap();
                connection.write_message(vec![first; 16 << 10]).unwrap();
            }
        })
    };
    let producers = [produce(1), produce(2)];
    let mut received = [0, 0];
    while received != [800, 800] {
        let frame = client.frame();
        assert_eq!((frame.first, frame.payload.len()), (0x82, 16 << 10));
        received[usize::from(frame.payload[0]) - 1] += 1;
    }
    for producer in producers {
        producer.join().unwrap();
    }
    assert!(!connection.is_closed());
}

#[test]
fn waiting_for_room_ends_with_a_timeout_or_the_close() {
    let probed = Probed::start_with(
        |application| application.max_backlog(64 << 20).write_deadline(DEADLINE),
        |_, _| Ok(()),
    );
    let (client, connection) = probed.open();
    with_small_buffer(&client);
    connection.wait_for_room(Duration::ZERO).expect("nothing waits");
    fill(&connection);
    assert!(matches!(connection.wait_for_room(Duration::from_millis(20)), Err(Error::TimedOut)));
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let connection = connection.clone();
            thread::spawn(move || connection.wait_for_room(Duration::MAX))
        })
        .collect();
    client.reset();
    for thread in waiting {
        assert!(matches!(thread.join().unwrap(), Err(Error::Closed)));
    }
    assert!(matches!(connection.wait_for_room(DEADLINE), Err(Error::Closed)));
}

#[test]
fn messages_that_come_together_wait_for_room_for_the_answers_to_those_before() {
    const ANSWER: usize = 300 << 10;
    let probed = Probed::start_with(
        |application| application,
        |connection, _| connection.write_message(vec![7; ANSWER]),
    );
    let (mut client, connection) = probed.open();
    with_small_buffer(&client);
    // All in one piece, and so in one buffer of the server's.
    client.send(masked(0x81, b"more").repeat(100));
    for n in 0..100 {
        assert_eq!(client.frame().payload.len(), ANSWER, "answer {n}");
    }
    assert!(!connection.is_closed());
}

#[test]
fn a_close_behind_a_backlog_waits_until_the_client_has_taken_it() {
    const BYTES: usize = 20 << 20;
    let probed = Probed::start_with(|application| application.max_backlog(64 << 20), |_, _| Ok(()));
    let (mut client, connection) = probed.open();
    with_small_buffer(&client);
    for _ in 0..BYTES / (1 << 20) {
        connection.write_message(vec![7; 1 << 20]).unwrap();
    }
    connection.close(Some(1000), Some("that was all")).unwrap();
    // Longer than a peer has to answer a Close.
    let bytes = read_slowly(&mut client.stream, BYTES / 8);
    let end = [&[0x88, 14, 0x03, 0xe8][..], b"that was all"].concat();
    assert!(bytes.ends_with(&end), "{} bytes came", bytes.len());
    assert_eq!(bytes.iter().filter(|byte| **byte == 7).count(), BYTES);
}

#[test]
fn a_slow_client_that_still_reads_is_alive_while_its_ping_is_queued() {
    let probed = Probed::start_with(
        |application| application.ping_interval(Some(Duration::from_millis(300))).max_backlog(64 << 20),
        |_, _| Ok(()),
    );
    let (mut client, connection) = probed.open();
    with_small_buffer(&client);
    // Some of it waits in the outbox, and the last part only in the kernel.
    connection.write_message(vec![7; 2 << 20]).unwrap();
    connection.write_message("last").unwrap();
    let begun = Instant::now();
    let mut taken = 0;
    let mut piece = vec![0; 8 << 10];
    while taken < 2 << 20 {
        let length = client.stream.read(&mut piece).unwrap();
        assert!(length > 0, "closed after {taken} bytes");
        taken += length;
        let due = Duration::from_secs_f64(taken as f64 / f64::from(400 << 10));
        thread::park_timeout(due.saturating_sub(begun.elapsed()));
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "many intervals");
    assert!(!connection.is_closed());
}

#[test]
fn a_client_that_takes_nothing_is_dead_though_the_kernel_took_all_for_it() {
    let probed = Probed::start_with(
        |application| application.ping_interval(Some(Duration::from_millis(300))),
        |_, _| Ok(()),
    );
    let (client, connection) = probed.open();
    with_small_buffer(&client);
    connection.write_message(vec![7; 200 << 10]).unwrap();
    probed.expect_close(None, None);
    eventually("it is counted", || probed.server.stats().disconnects.ping_timeout == 1);
}

#[test]
fn the_latency_is_that_of_the_last_keepalive_ping_and_the_handler_does_not_get_its_pong() {
    let probed = Probed::start_with(
        |application| application.ping_interval(Some(Duration::from_millis(100))).ping_timeout(DEADLINE),
        |_, _| Ok(()),
    );
    let (mut client, connection) = probed.open();
    assert_eq!((connection.latency(), connection.latency_age()), (None, None));
    let ping = client.frame();
    assert_eq!((ping.first, ping.payload.len()), (0x89, 8));
    client.send_frame(0x8a, "not the answer");
    assert_eq!(probed.next("the handler's Pong"), Event::Pong(b"not the answer".to_vec()));
    assert_eq!(connection.latency(), None);
    let answered = Instant::now();
    client.send_frame(0x8a, &ping.payload);
    eventually("it is measured", || connection.latency().is_some());
    assert!(connection.latency_age().unwrap() <= answered.elapsed());
    // A second copy answers nothing.
    client.send_frame(0x8a, &ping.payload);
    assert_eq!(probed.next("the handler's Pong"), Event::Pong(ping.payload));
}

#[test]
fn a_broadcast_does_not_wait_for_a_client_that_a_producer_waits_for() {
    let probed = Probed::start_with(|application| application.max_backlog(64 << 20), |_, _| Ok(()));
    let (slow, connection) = probed.open();
    with_small_buffer(&slow);
    let (mut quick, other) = probed.open();
    fill(&connection);
    let waiting = thread::spawn({
        let connection = connection.clone();
        move || connection.wait_for_room(DEADLINE)
    });
    assert_eq!(broadcast([&connection, &other], "hi").unwrap(), 2);
    assert_eq!(quick.frame(), frame(0x81, "hi"));
    other.close(Some(1000), None).unwrap();
    assert_eq!(quick.frame(), close_frame(1000, ""));
    drop(slow);
    assert!(waiting.join().unwrap().is_err());
}

/// A page of 8 MiB.
struct Large;

impl RequestHandler for Large {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write(vec![b'x'; 8 << 20]);
        Ok(())
    }
}

fn large_pages(clients: usize) -> Server {
    let application = Application::new().page("/", || Large);
    Server::bind_with("127.0.0.1:0", application, Capacity::new(clients)).unwrap()
}

#[test]
fn a_download_that_goes_on_is_not_cut_by_newer_clients() {
    let server = large_pages(8);
    let mut download = Raw::connect(server.local_addr());
    with_small_buffer(&download);
    download.send(get("/", "Connection: close\r\n"));
    assert!(download.head().starts_with("HTTP/1.1 200 "));
    // A quarter of the places, and 16 for requests, from one address; then some from another one.
    let hosts = std::iter::repeat_n(2, 18).chain(std::iter::repeat_n(3, 8));
    let mut silent: Vec<_> = hosts.map(|host| Raw::connect_from(host, server.local_addr())).collect();
    eventually("some had to go", || server.stats().disconnects.evicted >= 5);
    let body = read_slowly(&mut download.stream, 4 << 20);
    assert!(body.len() > 7 << 20, "{}", body.len());
    silent.clear();
}

#[test]
fn a_download_that_hardly_goes_on_keeps_nobody_out() {
    let server = large_pages(1);
    let mut download = Raw::connect(server.local_addr());
    with_small_buffer(&download);
    download.send(get("/", ""));
    assert!(download.head().starts_with("HTTP/1.1 200 "));
    // They have all places but its own, and each address keeps its first.
    let _silent: Vec<_> = (2..18).map(|host| Raw::connect_from(host, server.local_addr())).collect();
    let (begun, mut bytes) = (Instant::now(), vec![0; 512]);
    eventually("its place is taken", || {
        // A few bytes per read.
        let _ = download.stream.read(&mut bytes);
        let mut newer = Raw::connect(server.local_addr());
        newer.send(get("/none", "Connection: close\r\n"));
        newer.response_or_end().is_some_and(|head| head.starts_with("HTTP/1.1 404 "))
    });
    // Unless this machine is so slow that the others have used up the ten seconds for a head.
    assert!(server.stats().disconnects.evicted == 1 || begun.elapsed() > Duration::from_secs(10));
}

#[test]
fn the_bytes_that_wait_for_all_clients_have_a_limit_and_other_clients_continue() {
    let settings = |application: Application| application.max_backlog(64 << 20).max_buffered(2 << 20);
    let probed = Probed::start_with(settings, |connection, message| connection.write_message(message));
    let (mut witness, _) = probed.open();
    let stalled: Vec<_> = (0..4).map(|_| probed.open()).collect();
    let mut accepted = 0;
    for (client, connection) in &stalled {
        with_small_buffer(client);
        // Far below its own limit: it meets the limit of all clients.
        while connection.write_message(vec![0; 256 << 10]).is_ok() {
            accepted += 1;
            assert!(accepted < 4000, "nothing stops it");
        }
        probed.expect_close(None, None);
    }
    eventually("all are counted", || probed.server.stats().disconnects.overflow == 4);
    witness.send_frame(0x82, vec![7; 1 << 20]);
    assert_eq!(witness.frame().payload.len(), 1 << 20, "and all has been given back");
}

/// Answers with the length of a message. The limit for all is 1 MiB.
fn measuring() -> Probed {
    Probed::start_with(
        |application| application.max_buffered(1 << 20),
        |connection, message| connection.write_message(message.as_bytes().len().to_string()),
    )
}

/// A client that has stopped after this much of a message, which the server has.
fn begun(probed: &Probed, length: usize) -> Raw {
    let mut client = Raw::websocket(probed.addr, "/ws");
    client.send_frame(0x02, vec![0; length]);
    // A Ping does not end a message, and its Pong shows that the server has read up to it.
    client.send_frame(0x89, "read");
    assert_eq!(client.frame(), frame(0x8a, "read"));
    client
}

#[test]
fn a_message_without_room_closes_with_1013_if_nobody_holds_more() {
    let probed = measuring();
    let mut part = begun(&probed, 400 << 10);
    let mut client = Raw::websocket(probed.addr, "/ws");
    client.send_frame(0x82, vec![0; 2 << 20]);
    assert_eq!(client.frame(), close_frame(1013, "no room for this message, try again later"));
    part.send_frame(0x80, "end");
    assert_eq!(part.frame(), frame(0x81, ((400 << 10) + 3).to_string()));
    assert_eq!(probed.server.stats().disconnects.gave_way, 0);
    let mut next = Raw::websocket(probed.addr, "/ws");
    next.send_frame(0x82, vec![0; 900 << 10]);
    assert_eq!(next.frame(), frame(0x81, (900 << 10).to_string()), "all has been given back");
}

const GAVE_WAY: &str = "no room for all of this message, try again later";

#[test]
fn a_holder_of_incomplete_messages_gives_way_to_a_newcomer() {
    let probed = measuring();
    let mut witness = Raw::websocket(probed.addr, "/ws");
    let mut strangers: Vec<_> = (0..3).map(|_| begun(&probed, 300 << 10)).collect();
    let mut small = begun(&probed, 50 << 10);
    for gone in 1..=2 {
        let mut newcomer = Raw::websocket(probed.addr, "/ws");
        newcomer.send_frame(0x82, vec![0; 300 << 10]);
        assert_eq!(newcomer.frame(), frame(0x81, (300 << 10).to_string()));
        // Among equals, the one that began first.
        assert_eq!(strangers.remove(0).frame(), close_frame(1009, GAVE_WAY));
        eventually("it is counted", || probed.server.stats().disconnects.gave_way == gone);
        strangers.push(begun(&probed, 300 << 10));
    }
    witness.send_frame(0x81, "hello");
    assert_eq!(witness.frame(), frame(0x81, "5"), "nobody else has noticed");
    for (client, length) in strangers.iter_mut().zip([300 << 10; 3]).chain([(&mut small, 50 << 10)]) {
        client.send_frame(0x80, "end");
        assert_eq!(client.frame(), frame(0x81, (length + 3).to_string()), "all others go on");
    }
    assert_eq!(probed.server.stats().disconnects.gave_way, 2);
}

#[test]
fn a_client_that_gives_way_and_keeps_sending_learns_why() {
    let probed = measuring();
    let mut stranger = begun(&probed, 900 << 10);
    let mut newcomer = Raw::websocket(probed.addr, "/ws");
    newcomer.send_frame(0x82, vec![0; 300 << 10]);
    assert_eq!(newcomer.frame(), frame(0x81, (300 << 10).to_string()));
    // After the end of its turn: the server does not read this as a message, and resets nothing.
    stranger.send_frame(0x00, vec![0; 1000]);
    assert_eq!(stranger.frame(), close_frame(1009, GAVE_WAY));
}

#[test]
fn a_client_does_not_become_a_slow_consumer_because_of_other_clients() {
    let probed = measuring();
    let (reader, connection) = probed.open();
    with_small_buffer(&reader);
    let mut stranger = begun(&probed, 1000 << 10);
    // More than the socket takes of it at once, and less than the stranger holds.
    let mut sent = 0;
    while connection.backlog() < 200 << 10 {
        connection.write_message(vec![0; 64 << 10]).expect("there is room for it");
        sent += 1;
    }
    assert_eq!(stranger.frame(), close_frame(1009, GAVE_WAY));
    let mut reader = reader;
    for _ in 0..sent {
        assert_eq!(reader.frame().payload.len(), 64 << 10);
    }
    assert_eq!(probed.server.stats().slow_consumers, 0);
}

#[test]
fn a_client_that_gives_way_and_does_not_read_is_disconnected_at_once() {
    let probed = Probed::start_with(
        |application| application.max_buffered(1 << 20).max_backlog(128 << 10),
        |connection, message| connection.write_message(message.as_bytes().len().to_string()),
    );
    let (mut deaf, connection) = probed.open();
    with_small_buffer(&deaf);
    deaf.send_frame(0x02, vec![0; 700 << 10]);
    deaf.send_frame(0x89, "read");
    assert_eq!(deaf.frame(), frame(0x8a, "read"));
    while connection.backlog() < 96 << 10 {
        connection.write_message(vec![0; 4 << 10]).expect("less than its limit waits");
    }
    let mut newcomer = Raw::websocket(probed.addr, "/ws");
    newcomer.send_frame(0x82, vec![0; 500 << 10]);
    assert_eq!(newcomer.frame(), frame(0x81, (500 << 10).to_string()));
    eventually("it is counted", || probed.server.stats().disconnects.gave_way == 1);
}

#[test]
fn a_message_above_the_limit_leaves_room_behind_it() {
    const LARGE: usize = 8 << 20;
    let probed = Probed::start_with(|application| application.max_backlog(64 << 10), |_, _| Ok(()));
    let (mut client, connection) = probed.open();
    with_small_buffer(&client);
    connection.write_message(vec![7; LARGE]).unwrap();
    assert!(connection.backlog() > 0, "the socket is full");
    connection.wait_for_room(DEADLINE).expect("nothing waits behind it");
    for _ in 0..100 {
        connection.write_message("typed").expect("little waits behind it");
    }
    assert_eq!(client.frame().payload.len(), LARGE);
    for _ in 0..100 {
        assert_eq!(client.frame(), frame(0x81, "typed"));
    }
    connection.write_message(vec![7; LARGE]).unwrap();
    connection.write_message(vec![7; LARGE]).unwrap();
    assert!(matches!(connection.write_message("too much"), Err(Error::SlowConsumer { .. })));
}

/// Writes much in `open`, and reports the result of waiting in it.
struct Opens {
    waited: std::sync::mpsc::Sender<(Duration, Result<()>)>,
}

const SNAPSHOT: usize = 2 << 20;

impl WebSocketHandler for Opens {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        connection.write_message(vec![7; SNAPSHOT])?;
        connection.write_message("and a word")?;
        let begun = Instant::now();
        let waited = connection.wait_for_room(100 * DEADLINE);
        self.waited.send((begun.elapsed(), waited)).unwrap();
        let (connection, waited) = (connection.clone(), self.waited.clone());
        thread::spawn(move || {
            let begun = Instant::now();
            let result =
                connection.wait_for_room(DEADLINE).and_then(|()| connection.write_message("from outside"));
            waited.send((begun.elapsed(), result)).unwrap();
        });
        Ok(())
    }
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        Ok(())
    }
}

#[test]
fn messages_from_open_are_not_limited_and_waiting_in_it_is_an_error_at_once() {
    for delivery in [Delivery::Inline, Delivery::Handoff] {
        let (waited, results) = std::sync::mpsc::channel();
        let application =
            Application::new().delivery(delivery).websocket("/ws", move || Opens { waited: waited.clone() });
        let server = Server::bind("127.0.0.1:0", application).unwrap();
        let mut client = Raw::websocket(server.local_addr(), "/ws");
        let (took, result) = results.recv_timeout(DEADLINE).expect("open has waited");
        let says = result.expect_err("is an error").to_string();
        assert!(took < DEADLINE && says.contains("in open") && says.lines().count() == 1, "{took:?} {says}");
        assert_eq!(client.frame().payload.len(), SNAPSHOT);
        assert_eq!(client.frame(), frame(0x81, "and a word"));
        assert_eq!(client.frame(), frame(0x81, "from outside"));
        assert!(results.recv_timeout(DEADLINE).expect("the other thread has waited").1.is_ok());
        assert_eq!(server.stats().slow_consumers, 0);
    }
}

#[test]
fn before_the_101_the_bound_of_all_clients_counts() {
    let (waited, results) = std::sync::mpsc::channel();
    let application = Application::new()
        .max_buffered(SNAPSHOT as u64)
        .websocket("/ws", move || Opens { waited: waited.clone() });
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let mut client = Raw::connect(server.local_addr());
    client.send(support::upgrade("/ws", ""));
    assert!(client.is_at_end());
    assert_eq!((server.stats().slow_consumers, results.try_recv().is_err()), (1, true));
}
