//! How a server leaves: the drain, which lets clients go to another server in their own time, and what a shutdown owes to those
//! that it has accepted.

use crate::support;

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    Event, Probed, Program, Raw, close_frame, eventually, fetch, get, header_values, status, upgrade,
};
use threadcast::{Application, Capacity, Exchange, RequestHandler, Result, Server};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(20);

struct Page;

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write("a page");
        Ok(())
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let body = exchange.body().to_vec();
        exchange.write(body);
        Ok(())
    }
}

fn probed() -> Probed {
    Probed::start_with(|application| application.page("/page", || Page), |_, _| Ok(()))
}

/// Reads up to the Close frame, which has this code, and answers it.
fn expect_restart(client: &mut Raw) {
    assert_eq!(client.frame(), close_frame(1012, "service restart"));
    client.send_frame(0x88, 1012u16.to_be_bytes());
    assert_eq!(client.rest(), b"");
}

fn is_close(head: &str) -> bool {
    header_values(head, "Connection") == ["close"]
}

#[test]
fn while_the_delay_lasts_pages_are_answered_and_new_websockets_get_503() {
    let probed = probed();
    let (mut client, connection) = probed.open();
    let mut idle = Raw::connect(probed.addr);
    idle.send(get("/page", ""));
    let (head, _) = idle.response();
    assert!(status(&head) == 200 && !is_close(&head) && !probed.server.is_draining(), "{head}");
    thread::scope(|scope| {
        let drain = scope.spawn(|| probed.server.drain(LONG, Duration::ZERO));
        eventually("the drain begins", || probed.server.is_draining());
        // Those that were here before the drain too.
        for _ in 0..2 {
            let (head, body) = fetch(probed.addr, get("/page", ""));
            assert!(status(&head) == 200 && is_close(&head) && body == b"a page", "{head}");
        }
        idle.send(get("/page", ""));
        let (head, _) = idle.response();
        assert!(status(&head) == 200 && is_close(&head), "{head}");
        for n in 1..=5 {
            let mut raw = Raw::connect(probed.addr);
            raw.send(upgrade("/ws", ""));
            let (head, body) = raw.response();
            let after: Vec<u64> =
                header_values(&head, "Retry-After").iter().map(|seconds| seconds.parse().unwrap()).collect();
            assert!(status(&head) == 503 && after.len() == 1 && (1..=10).contains(&after[0]), "{head}");
            assert!(String::from_utf8_lossy(&body).contains("503: The server is about to shut down"));
            let stats = probed.server.stats();
            assert_eq!((stats.rejections.draining, stats.rejected), (n, n));
        }
        assert!(!connection.is_closed() && !drain.is_finished());
        // A shutdown by another thread ends the wait alone.
        let shutdown = scope.spawn(|| probed.server.shutdown());
        assert_eq!(client.frame(), close_frame(1001, "server shutting down"));
        client.send_frame(0x88, 1001u16.to_be_bytes());
        shutdown.join().unwrap();
    });
    drop(TcpListener::bind(probed.addr).expect("the port is free"));
}

#[test]
fn clients_are_closed_with_1012_in_waves_over_the_time() {
    let probed = probed();
    let mut clients: Vec<_> = (0..20).map(|_| probed.open()).collect();
    let over = Duration::from_secs(1);
    let begun = Instant::now();
    let mut ends: Vec<Duration> = thread::scope(|scope| {
        scope.spawn(|| probed.server.drain(Duration::ZERO, over));
        let clients = clients.iter_mut().map(|(client, _)| {
            scope.spawn(move || {
                expect_restart(client);
                begun.elapsed()
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    ends.sort_unstable();
    // The last of 20 waves comes 19 of 20 parts of the time after the first one.
    assert!(ends[19] >= over * 9 / 10, "{ends:?}");
    let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.filter(|gap| *gap >= Duration::from_millis(10)).count() >= 2, "not all at once: {ends:?}");
    for _ in 0..20 {
        assert!(matches!(probed.next("on_close"), Event::Close(Some(1012), _)));
    }
}

#[test]
fn without_a_time_they_are_closed_with_1001_and_with_none_of_it_with_1012_at_once() {
    for (over, code, reason) in
        [(None, 1001, "server shutting down"), (Some(Duration::ZERO), 1012, "service restart")]
    {
        let probed = probed();
        let (mut client, _) = probed.open();
        thread::scope(|scope| {
            scope.spawn(|| probed.server.drain(Duration::ZERO, over));
            assert_eq!(client.frame(), close_frame(code, reason));
            client.send_frame(0x88, code.to_be_bytes());
        });
        assert!(probed.server.is_draining());
        drop(TcpListener::bind(probed.addr).expect("the port is free"));
    }
}

#[test]
fn a_shutdown_ends_the_waves_of_a_drain() {
    let probed = probed();
    let mut clients: Vec<_> = (0..3).map(|_| probed.open()).collect();
    thread::scope(|scope| {
        scope.spawn(|| probed.server.drain(Duration::ZERO, LONG));
        // The first wave has no wait before it.
        assert!(matches!(probed.next("on_close"), Event::Close(..)) || clients.is_empty());
        scope.spawn(|| probed.server.shutdown());
        let codes = clients.iter_mut().map(|(client, _)| {
            let Some(close) = client.frame_or_end() else { panic!("no Close") };
            client.send_frame(0x88, &close.payload[..2]);
            close.payload[..2].to_vec()
        });
        let codes: Vec<_> = codes.collect();
        assert_eq!(codes.iter().filter(|code| code[..] == 1012u16.to_be_bytes()).count(), 1, "{codes:?}");
    });
}

/// A connection whose thread waits for a request.
fn accepted(probed: &Probed) -> Raw {
    let before = probed.server.stats().accepted;
    let raw = Raw::connect(probed.addr);
    eventually("it is accepted", || probed.server.stats().accepted > before);
    raw
}

#[test]
fn who_was_accepted_before_a_shutdown_gets_an_answer_and_only_who_is_idle_is_cut_at_once() {
    let probed = probed();
    let (mut client, _) = probed.open();
    let mut idle = accepted(&probed);
    idle.send(get("/page", ""));
    assert_eq!(status(&idle.response().0), 200);
    let mut silent = accepted(&probed);
    let mut late = accepted(&probed);
    let mut half = accepted(&probed);
    let request = get("/page", "");
    half.send(&request[..20]);
    let mut wants = accepted(&probed);
    let mut body = accepted(&probed);
    body.send("POST /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab");
    eventually("what was sent is read", || support::on_its_way(probed.addr) == 0);
    let begun = Instant::now();
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| {
            probed.server.shutdown_within(SHORT);
            begun.elapsed()
        });
        assert_eq!(client.frame(), close_frame(1001, "server shutting down"));
        client.send_frame(0x88, 1001u16.to_be_bytes());
        assert!(idle.is_at_end(), "it has its answer");
        late.send(&request);
        half.send(&request[20..]);
        for raw in [&mut late, &mut half] {
            let (head, body) = raw.response();
            assert!(status(&head) == 200 && is_close(&head) && body == b"a page", "{head}");
            assert_eq!(raw.rest(), b"");
        }
        wants.send(upgrade("/ws", ""));
        let (head, _) = wants.response();
        assert!(status(&head) == 503 && is_close(&head), "{head}");
        // Half a body is not silence.
        assert!(silent.is_at_end());
        body.send("cd");
        let (head, answer) = body.response();
        assert!(status(&head) == 200 && is_close(&head) && answer == b"abcd", "{head}");
        drop((late, half, wants, body, idle, client, silent));
        let took = shutdown.join().unwrap();
        assert!(Duration::from_secs(1) <= took && took < SHORT, "{took:?}");
    });
}

#[test]
fn who_was_accepted_before_a_drain_still_becomes_a_websocket_and_is_closed_with_it() {
    let probed = probed();
    let mut late = accepted(&probed);
    thread::scope(|scope| {
        scope.spawn(|| probed.server.drain(Duration::ZERO, Duration::ZERO));
        eventually("it accepts no more", || probed.server.listener().is_err());
        late.send(upgrade("/ws", ""));
        let head = late.head();
        assert_eq!(status(&head), 101, "{head}");
        expect_restart(&mut late);
    });
    assert_eq!(probed.server.stats().rejected, 0);
}

#[test]
fn a_listener_that_was_handed_on_is_not_harmed_and_what_waits_in_it_is_served() {
    let probed = probed();
    let handed = probed.server.listener().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| probed.server.drain(Duration::ZERO, Duration::ZERO));
        eventually("it accepts no more", || probed.server.listener().is_err());
    });
    let mut early = Raw::connect(probed.addr);
    early.send(get("/page", ""));
    let application = Application::new().page("/page", || Page);
    let capacity = Capacity::new(7);
    let next = Server::serve_with(handed, application, capacity).unwrap();
    assert_eq!((early.response().1, next.capacity()), (b"a page".to_vec(), capacity));
}

#[test]
fn a_socket_that_does_not_listen_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = OwnedFd::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let error = Server::serve(connection.into(), Application::new()).unwrap_err();
    assert_eq!(error.to_string(), "the socket does not listen: pass one that does");
}

#[test]
fn the_program_drains_as_its_options_say() {
    let mut program = Program::start(&["--interval", "1h", "--drain-delay", "1h", "--drain", "0s"]);
    let _open = Raw::websocket(program.addr(), "/websocket?Id=A");
    program.signal(Signal::TERM);
    program.wait_for_line("shutting down; another signal after a second ends the program at once");
    eventually("it refuses WebSockets", || {
        let mut raw = Raw::connect(program.addr());
        raw.send(upgrade("/websocket?Id=B", ""));
        status(&raw.head()) == 503
    });
    assert!(is_close(&fetch(program.addr(), get("/", "")).0));
    let later = Instant::now() + Duration::from_millis(1100);
    eventually("more than a second has passed", || Instant::now() > later);
    program.signal(Signal::INT);
    assert_eq!(program.wait().code(), Some(130));

    let mut program = Program::start(&["--interval", "1h", "--drain-delay", "10ms", "--drain", "300ms"]);
    let mut clients: Vec<_> =
        (0..5).map(|n| Raw::websocket(program.addr(), &format!("/websocket?Id={n}"))).collect();
    program.signal(Signal::INT);
    for client in &mut clients {
        let mut frame = client.frame();
        while frame.first == 0x81 {
            frame = client.frame();
        }
        assert_eq!(frame, close_frame(1012, "service restart"));
        client.send_frame(0x88, 1012u16.to_be_bytes());
    }
    assert_eq!(program.wait().code(), Some(0));
}
