//! Clients of one address, and the places and connects that they can take from others. Every address of the loopback is
//! another neighbour.

mod support;
use support::tls;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde_json::Value;
use support::{Probed, Program, Raw, eventually, fetch, get, header_values, status, upgrade};
use threadcast::{Application, Capacity, Exchange, Rate, RequestHandler, Result, Server};
use tls::{Identity, Secure};

/// Places beyond the clients, for requests.
const SPARE: usize = 16;
/// A fatal alert in plain text (RFC 8446, section 6.2).
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

struct Page;

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write("a page\n");
        Ok(())
    }
}

/// A server for this number of clients, with a page at `/`.
fn server(clients: usize, settings: impl FnOnce(Application) -> Application) -> Probed {
    let capacity = Capacity::new(clients);
    Probed::start_within(capacity, |application| settings(application.page("/", || Page)), |_, _| Ok(()))
}

/// This number of connected, silent clients of an address.
fn silent(probed: &Probed, host: u8, number: usize) -> Vec<Raw> {
    let before = probed.server.stats();
    let silent: Vec<_> = (0..number).map(|_| Raw::connect_from(host, probed.addr)).collect();
    eventually("all have come", || {
        let stats = probed.server.stats();
        stats.accepted + stats.rejected >= before.accepted + before.rejected + number as u64
    });
    silent
}

/// Asks for a WebSocket. Returns the status, and the head.
fn ask(mut client: Raw, more: &str) -> (u16, String, Raw) {
    client.send(upgrade("/ws", more));
    let head = client.head();
    (status(&head), head, client)
}

/// Checks a refusal that says when to come back.
fn expect_refusal(head: &str, code: u16) {
    assert_eq!(status(head), code, "{head}");
    let seconds: u64 = header_values(head, "Retry-After").concat().parse().expect("seconds");
    assert!((1..=10).contains(&seconds), "{head}");
}

#[test]
fn a_flood_from_one_address_refuses_itself_and_those_of_another_one_get_in() {
    let probed = server(40, |application| application);
    let share = 40 / 4 + SPARE;
    let mut flood = silent(&probed, 2, 100);
    eventually("its share of the places is left", || probed.server.stats().clients == share as u64);
    // These stay while they are young.
    let stats = probed.server.stats();
    assert_eq!(stats.rejections.half_open + stats.disconnects.evicted, (100 - share) as u64);
    assert!(stats.rejections.half_open > 0, "{stats:?}");
    let refused = flood.iter_mut().rev().find_map(Raw::response_or_end);
    expect_refusal(&refused.expect("the last ones have an answer"), 503);
    for _ in 0..30 {
        let (code, head, client) = ask(Raw::connect_from(3, probed.addr), "");
        assert_eq!(code, 101, "{head}");
        flood.push(client);
    }
}

#[test]
fn the_oldest_of_the_address_with_the_most_makes_room_and_each_address_keeps_its_first() {
    let probed = server(4, |application| application);
    let lonely = silent(&probed, 2, 1).pop().unwrap();
    let mut crowd = silent(&probed, 3, SPARE);
    let newcomers = silent(&probed, 4, 2);
    eventually("two had to go", || probed.server.stats().disconnects.evicted == 2);
    crowd.drain(..2).for_each(|mut oldest| expect_refusal(&oldest.head(), 503));
    for client in crowd.into_iter().chain([lonely]).chain(newcomers) {
        // Only as many as allowed become WebSockets, but all are connected.
        let (code, head, _) = ask(client, "");
        assert!(matches!(code, 101 | 503), "{head}");
    }
}

#[test]
fn a_newcomer_takes_the_place_of_one_that_is_evicted_on_a_full_server() {
    let probed = server(1, |application| application);
    let _inside = probed.open();
    let mut crowd = silent(&probed, 2, SPARE);
    // Twice as many as may wait.
    for round in 0..SPARE {
        let mut check = Raw::connect_from(3, probed.addr);
        check.send(get("/", "Connection: close\r\n"));
        assert_eq!(check.response().1, b"a page\n", "{round}");
        assert!(check.is_at_end());
    }
    expect_refusal(&crowd[0].head(), 503);
}

#[test]
fn a_full_server_answers_requests_and_closes_and_has_no_place_for_a_websocket() {
    let probed = server(4, |application| application);
    let mut inside: Vec<_> = (0..4).map(|_| probed.open()).collect();
    let (head, body) = fetch(probed.addr, get("/", ""));
    assert_eq!((status(&head), &body[..]), (200, &b"a page\n"[..]));
    assert_eq!(header_values(&head, "Connection"), ["close"]);
    let (code, head, mut outside) = ask(Raw::connect(probed.addr), "");
    assert_eq!(code, 503);
    expect_refusal(&head, 503);
    outside.take("503: No room for another client, try again later\n".len(), "the reason");
    assert!(outside.is_at_end());
    assert_eq!((probed.server.stats().rejected, probed.server.stats().rejections.full), (1, 1));
    // A client that has not sent its request may get the place of one that leaves.
    let late = silent(&probed, 2, 1).pop().unwrap();
    inside.pop();
    eventually("one has left", || probed.server.stats().clients <= 4);
    assert_eq!(ask(late, "").0, 101);
}

#[test]
fn silent_connects_do_not_hold_the_places_for_requests() {
    let probed = server(2, |application| application);
    let _inside = [probed.open(), probed.open()];
    let _silent = silent(&probed, 2, 40);
    for _ in 0..20 {
        let mut check = Raw::connect_from(3, probed.addr);
        check.send(get("/", ""));
        assert_eq!(status(&check.head()), 200);
    }
}

#[test]
fn many_requests_at_once_each_get_a_page_or_a_503() {
    let probed = server(4, |application| application);
    for _ in 0..10 {
        let answers = thread::scope(|scope| {
            let ask = |_| {
                scope.spawn(|| {
                    let mut client = Raw::connect(probed.addr);
                    client.send(get("/", ""));
                    client.response_or_end().map(|head| status(&head))
                })
            };
            let asking: Vec<_> = (0..40).map(ask).collect();
            asking.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(answers.iter().all(|answer| matches!(answer, Some(200 | 503))), "{answers:?}");
        assert!(answers.contains(&Some(200)), "{answers:?}");
    }
}

#[test]
fn an_address_has_as_many_clients_as_it_may() {
    let probed = server(40, |application| application.max_clients_per_address(2));
    let mut inside: Vec<_> = (0..2).map(|_| ask(Raw::connect_from(2, probed.addr), "").2).collect();
    for refused in 1..=3 {
        let mut outside = Raw::connect_from(2, probed.addr);
        let (head, body) = outside.response();
        expect_refusal(&head, 503);
        assert_eq!(body, b"503: Too many clients from your address, try again later\n");
        eventually("it is counted", || probed.server.stats().rejections.clients_per_address == refused);
    }
    let other = ask(Raw::connect_from(3, probed.addr), "");
    assert_eq!(other.0, 101, "another address");
    inside.pop();
    eventually("one has left", || probed.server.stats().clients == 2);
    assert_eq!(ask(Raw::connect_from(2, probed.addr), "").0, 101);
    assert_eq!(probed.server.stats().rejected, 3);
}

#[test]
fn an_address_connects_as_often_as_it_may() {
    let probed = server(40, |application| application.max_connects_per_address(Rate::per_hour(1)));
    assert_eq!(ask(Raw::connect_from(2, probed.addr), "").0, 101);
    for _ in 0..2 {
        let (head, body) = Raw::connect_from(2, probed.addr).response();
        expect_refusal(&head, 429);
        assert_eq!(header_values(&head, "Retry-After"), ["10"]);
        assert_eq!(body, b"429: Too many connects from your address, try again later\n");
    }
    assert_eq!(ask(Raw::connect_from(3, probed.addr), "").0, 101);
    let stats = probed.server.stats();
    assert_eq!((stats.rejections.connects_per_address, stats.rejected), (2, 2));
}

/// The headers of a proxy.
fn forwarded(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[test]
fn behind_a_trusted_proxy_the_clients_address_counts_and_the_proxys_never() {
    let proxy: IpAddr = "127.0.0.2".parse().unwrap();
    let limits = |application: Application| {
        application
            .xheaders([proxy])
            .max_clients_per_address(1)
            .max_connects_per_address(Rate::per_second(99))
    };
    let probed = server(40, limits);
    let mut inside = Vec::new();
    for (client, code) in [
        ("192.0.2.1", 101),
        ("192.0.2.1", 503),
        ("::ffff:192.0.2.1", 503),
        ("192.0.2.2", 101),
        ("2001:db8::1", 101),
        ("2001:db8::2", 503),
        ("2001:db8:0:1::1", 101),
        // Without a client's address the limit does not apply.
        ("127.0.0.2", 101),
        ("127.0.0.2", 101),
        ("unknown", 101),
    ] {
        let (answered, head, open) = ask(Raw::connect_from(2, probed.addr), &forwarded(client));
        assert_eq!(answered, code, "{client}: {head}");
        inside.push(open);
    }
    assert_eq!(probed.server.stats().rejections.clients_per_address, 3);
    // An untrusted peer counts under its own address, whatever its header says.
    let (code, _, _first) = ask(Raw::connect_from(3, probed.addr), &forwarded("192.0.2.9"));
    assert_eq!(code, 101);
    expect_refusal(&Raw::connect_from(3, probed.addr).head(), 503);
    inside.remove(0);
    eventually("its place is free", || {
        ask(Raw::connect_from(2, probed.addr), &forwarded("192.0.2.1")).0 == 101
    });
}

#[test]
fn behind_a_trusted_proxy_a_client_connects_as_often_as_it_may() {
    let proxy: IpAddr = "127.0.0.2".parse().unwrap();
    let limits =
        |application: Application| application.xheaders([proxy]).max_connects_per_address(Rate::per_hour(1));
    let probed = server(40, limits);
    let ask = |client| ask(Raw::connect_from(2, probed.addr), &forwarded(client));
    assert_eq!(ask("192.0.2.1").0, 101);
    let (_, head, mut refused) = ask("192.0.2.1");
    expect_refusal(&head, 429);
    refused.take("429: Too many connects from your address, try again later\n".len(), "the reason");
    assert_eq!(ask("192.0.2.2").0, 101);
    assert!(!head.contains("Upgrade: "), "{head}");
}

#[test]
fn over_tls_an_address_that_has_too_much_gets_an_alert() {
    let identity = Identity::new();
    let config = identity.config();
    let probed = server(40, |application| application.tls(config).max_clients_per_address(1));
    let _inside = silent(&probed, 2, 1);
    let mut outside = Raw::connect_from(2, probed.addr);
    assert_eq!(outside.rest(), ALERT);
    // Of this machine's own address it is WebSockets that count.
    let client = Arc::new(identity.client(&[&rustls::version::TLS13]));
    let _first = Secure::websocket(probed.addr, &client, "/ws");
    let mut second = Secure::connect(probed.addr, &client);
    second.send(upgrade("/ws", ""));
    expect_refusal(&second.head(), 503);
}

#[test]
fn this_machines_own_requests_are_not_limited_and_its_websockets_are() {
    for (limited, code) in [
        (server(40, |application| application.max_clients_per_address(1)), 503),
        (server(40, |application| application.max_connects_per_address(Rate::per_hour(1))), 429),
    ] {
        let _silent: Vec<_> = (0..5).map(|_| Raw::connect(limited.addr)).collect();
        for _ in 0..5 {
            assert_eq!(status(&fetch(limited.addr, get("/", "")).0), 200);
        }
        let (first, _, _inside) = ask(Raw::connect(limited.addr), "");
        assert_eq!(first, 101);
        let (second, head, _) = ask(Raw::connect(limited.addr), "");
        expect_refusal(&head, code);
        assert_eq!(second, code);
        assert_eq!(status(&fetch(limited.addr, get("/", "")).0), 200);
        assert_eq!(limited.server.stats().rejected, 1);
    }
}

#[test]
fn over_tls_a_silent_connection_that_makes_room_gets_an_alert() {
    let identity = Identity::new();
    let config = identity.config();
    let probed = server(4, |application| application.tls(config));
    let mut crowd = silent(&probed, 2, 1 + SPARE);
    let client = Arc::new(identity.client(&[&rustls::version::TLS13]));
    let _newcomer = Secure::websocket(probed.addr, &client, "/ws");
    assert_eq!(crowd[0].rest(), ALERT);
}

#[test]
fn over_tls_a_connection_that_makes_room_after_its_handshake_gets_a_503() {
    let identity = Identity::new();
    let config = identity.config();
    let probed = server(4, |application| application.tls(config));
    let client = Arc::new(identity.client(&[&rustls::version::TLS12, &rustls::version::TLS13]));
    let mut crowd: Vec<_> = (0..=SPARE).map(|_| Secure::connect(probed.addr, &client)).collect();
    crowd[0].send("GET / HTTP/1.1\r\n");
    let begun = probed.server.stats();
    let _newcomers = silent(&probed, 2, 1);
    expect_refusal(&crowd[0].head(), 503);
    assert_eq!(begun.rejected, 0);
}

#[test]
fn invalid_limits_of_an_address_are_one_line_and_exit_2() {
    for (args, what) in [
        (["--max-clients-per-address", "0"], "expected a number of at least 1"),
        (["--max-clients-per-address", "-1"], "expected a number of at least 1"),
        (["--max-clients-per-address", ""], "expected a number of at least 1"),
        (["--max-connects-per-address", "0/s"], "a rate is at least 1"),
        (["--max-connects-per-address", "20"], "such as 20/s"),
        (["--max-connects-per-address", "1.5/m"], "such as 20/s"),
    ] {
        let output = Program::command().args(["--port", "0"]).args([args.join("=")]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{args:?}: {errors}");
        assert!(errors.contains(args[0]) && errors.contains(what), "{args:?}: {errors}");
    }
}

#[test]
#[should_panic(expected = "an address has at least 1 client, not 0")]
fn an_address_without_clients_is_a_mistake() {
    let _ = Application::new().max_clients_per_address(0);
}

#[test]
fn the_program_counts_rejections_by_reason_and_says_so_in_one_line() {
    let args =
        ["--logging", "warning", "--max-clients-per-address", "1", "--max-connects-per-address", "3/s"];
    let program = Program::start(&args);
    let inside = Raw::connect_from(2, program.addr()).upgraded("/websocket?Id=A");
    let mut refused = 0;
    eventually("both limits are met", || {
        let head = Raw::connect_from(2, program.addr()).head();
        refused += 1;
        status(&head) == 429
    });
    let (_, body) = fetch(program.addr(), get("/stats", ""));
    let stats: Value = serde_json::from_slice(&body).unwrap();
    let reasons = &stats["rejections"];
    let count = |name: &str| reasons[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"));
    let [clients, connects] = ["clients_per_address", "connects_per_address"].map(count);
    assert_eq!((clients + connects, count("full"), count("half_open")), (refused, 0, 0), "{stats}");
    assert_eq!((connects, stats["rejected"].as_u64()), (1, Some(refused)), "{stats}");
    let line = "rejecting clients, such as 127.0.0.2: the limit of clients per address is 1 (1 so far)";
    program.wait_for_line(line);
    program.wait_for_line("rejecting clients, such as 127.0.0.2: the limit of connects per address is 3/s");
    let said = program.lines().iter().filter(|line| line.contains("rejecting clients")).count();
    assert_eq!(said, 2, "{:#?}", program.lines());
    drop(inside);
}

/// A supervisor keeps the socket: nobody resets its accepted connections.
#[test]
fn a_socket_that_somebody_else_has_too_goes_on_when_the_server_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve =
        || Server::serve(listener.try_clone().unwrap(), Application::new().page("/", || Page)).unwrap();
    let first = serve();
    assert_eq!(status(&fetch(addr, get("/", "")).0), 200);
    first.shutdown();
    // It waits in the backlog.
    let mut between = Raw::connect(addr);
    between.send(get("/", ""));
    let second = serve();
    assert_eq!(between.response().1, b"a page\n");
    // Two servers share a socket: the slower one finds no client.
    let third = serve();
    for _ in 0..50 {
        assert_eq!(status(&fetch(addr, get("/", "")).0), 200);
    }
    drop((second, third));
}

/// How long a flood lasts, from `THREADCAST_FLOOD_SECONDS`.
fn flood_time() -> Duration {
    let seconds = std::env::var("THREADCAST_FLOOD_SECONDS").expect("THREADCAST_FLOOD_SECONDS is set");
    Duration::from_secs(seconds.parse().expect("THREADCAST_FLOOD_SECONDS is a number"))
}

/// Connects from 127.0.0.2 and resets, in a loop, at this rate or as fast as it can, with 100 sockets. Returns how
/// often.
fn flood(addr: SocketAddr, rate: Option<u32>, stop: &AtomicBool) -> u32 {
    let (begun, mut sockets, mut done) = (Instant::now(), std::collections::VecDeque::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        if rate.is_some_and(|rate| f64::from(done) > begun.elapsed().as_secs_f64() * f64::from(rate)) {
            thread::park_timeout(Duration::from_micros(500));
            continue;
        }
        let flags = SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
        // It completes in the background.
        let _ = rustix::net::connect(&socket, &addr);
        sockets.push_back(socket);
        if sockets.len() > 100 {
            sockets.pop_front();
        }
        done += 1;
    }
    done
}

/// How long an honest client waits for its 101, from 127.0.0.3: it asks 150 ms after it has connected. The error is its
/// answer within ten seconds if it did not get one.
fn honest(addr: SocketAddr) -> std::result::Result<Duration, String> {
    let begun = Instant::now();
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 3], 0))).unwrap();
    let mut stream = TcpStream::from(socket);
    let limit = Duration::from_secs(10);
    stream.set_write_timeout(Some(limit)).unwrap();
    stream.set_read_timeout(Some(limit)).unwrap();
    rustix::net::connect(&stream, &addr).map_err(|error| format!("connect: {error}"))?;
    let asks = Instant::now() + Duration::from_millis(150);
    while let Some(left) = asks.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
    let sent = stream.write_all(upgrade("/websocket?Id=honest", "").as_bytes());
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) if head == *b"HTTP/1.1 101" => Ok(begun.elapsed()),
        Ok(()) => Err(String::from_utf8_lossy(&head).into_owned()),
        Err(error) => Err(format!("{sent:?}, {error}")),
    }
}

#[test]
#[ignore = "measures times on an idle machine, in `make stress`"]
fn beside_a_flood_from_one_address_an_honest_client_of_another_one_has_its_101() {
    let time = flood_time();
    for (rate, share, within) in
        [(Some(10_000), 0.99, Duration::from_secs(1)), (None, 0.9, Duration::from_secs(3))]
    {
        let args = ["--max-clients", "200", "--logging", "none", "--interval", "1s"];
        let program = Program::start(&args);
        let (addr, stop) = (program.addr(), AtomicBool::new(false));
        let (floods, mut times) = thread::scope(|scope| {
            let flood = scope.spawn(|| flood(addr, rate, &stop));
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut times = Vec::new();
                        let begun = Instant::now();
                        while begun.elapsed() < time {
                            times.push(honest(addr).unwrap_or_else(|error| {
                                println!("after {:?}: {error}", begun.elapsed());
                                Duration::MAX
                            }));
                        }
                        times
                    })
                })
                .collect();
            let times: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
            stop.store(true, Ordering::Relaxed);
            (flood.join().unwrap(), times)
        });
        times.sort_unstable();
        let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
        println!(
            "a flood of {} connects a second: of {} honest clients half have their 101 within {:?}, {:.0} % within {:?}",
            f64::from(floods) / time.as_secs_f64(),
            times.len(),
            at(0.5),
            share * 100.0,
            at(share),
        );
        println!("{}", String::from_utf8_lossy(&fetch(addr, get("/stats", "")).1));
        assert!(at(share) < within, "{:?}", at(share));
    }
}
