//! Straight-line handlers: a function that has its client's thread, and how it ends.

use crate::support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, unbounded};
use support::{DEADLINE, Raw, close_frame, eventually, frame, masked};
use threadcast::{
    Application, Capacity, Connection, DisconnectReason, Error, Event, Exchange, Hub, Message, Messages,
    Observer, Rate, Result, Server, WebSocketHandler, testing,
};

/// For what has to be here at once.
const SHORT: Duration = Duration::from_millis(50);

/// A server whose handlers are this function.
fn serve(run: impl Fn(&Connection, &mut Messages) -> Result<()> + Clone + Send + Sync + 'static) -> Server {
    serve_with(|application| application, run)
}

fn serve_with(
    settings: impl FnOnce(Application) -> Application,
    run: impl Fn(&Connection, &mut Messages) -> Result<()> + Clone + Send + Sync + 'static,
) -> Server {
    let application = settings(Application::new().max_buffered(1 << 30)).websocket("/ws", move || {
        let run = run.clone();
        move |connection: &Connection, messages: &mut Messages| run(connection, messages)
    });
    Server::bind_with("127.0.0.1:0", application, Capacity::new(100)).unwrap()
}

fn connect(server: &Server) -> Raw {
    Raw::websocket(server.local_addr(), "/ws")
}

fn next<T>(receiver: &Receiver<T>, what: &str) -> T {
    receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("waited for {what}"))
}

/// A room with history, whose newcomers say their names first.
fn rooms(patience: Duration) -> Server {
    let hub = Hub::new();
    let application = Application::new().websockets("/room", move |exchange| {
        let (room, hub) = (exchange.path_rest()?, hub.clone());
        Ok(move |connection: &Connection, messages: &mut Messages| {
            connection.write_message("who are you?")?;
            let name = match messages.recv_timeout(patience) {
                Err(Error::TimedOut) => return Err(Error::closing(4408, "no name in time")),
                name => name?,
            };
            let Some(name) = name else { return Ok(()) };
            hub.subscribe(&room, connection)?;
            for line in 1..=3 {
                connection.wait_for_room(DEADLINE)?;
                connection.write_message(format!("{room} {line}"))?;
            }
            for message in messages {
                hub.publish(&room, format!("{name}: {}", message?))?;
            }
            Ok(())
        })
    });
    Server::bind("127.0.0.1:0", application).unwrap()
}

#[test]
fn a_function_asks_for_a_name_sends_the_history_and_publishes_what_it_hears() {
    let server = rooms(DEADLINE);
    let mut clients = Vec::new();
    for name in ["ann", "bob"] {
        let mut client = Raw::websocket(server.local_addr(), "/room/a/b");
        assert_eq!(client.frame(), frame(0x81, "who are you?"));
        client.send_frame(0x81, name);
        for line in ["a/b 1", "a/b 2", "a/b 3"] {
            assert_eq!(client.frame(), frame(0x81, line));
        }
        clients.push(client);
    }
    clients[0].send_frame(0x81, "hi");
    for client in &mut clients {
        assert_eq!(client.frame(), frame(0x81, "ann: hi"));
    }
    clients[1].send_frame(0x88, 1000u16.to_be_bytes());
    assert_eq!(clients[1].frame(), close_frame(1000, ""));
    assert!(clients[1].is_at_end());
}

#[test]
fn who_says_no_name_in_time_is_closed_with_the_handlers_own_code() {
    let server = rooms(SHORT);
    let mut client = Raw::websocket(server.local_addr(), "/room/x");
    assert_eq!(client.frame(), frame(0x81, "who are you?"));
    assert_eq!(client.frame(), close_frame(4408, "no name in time"));
    client.send_frame(0x88, 4408u16.to_be_bytes());
    assert!(client.is_at_end());
}

/// How a handler ends, by what its client asks for.
fn outcome(message: &Message) -> Result<()> {
    match message.as_text().unwrap() {
        "ok" => Ok(()),
        "own" => Err(Error::closing(4001, "as planned")),
        "long" => Err(Error::closing(3000, "é".repeat(100))),
        "1005" => Err(Error::closing(1005, "may not be sent")),
        "0" => Err(Error::closing(0, "")),
        "late" => Err(Error::TimedOut),
        "failed" => Err(Error::invalid("as planned")),
        "io" => Err(Error::io("reading")(std::io::ErrorKind::NotFound.into())),
        "other" => message.parse::<u64>().map(drop),
        "closed" => Err(Error::Closed),
        _ => panic!("as planned"),
    }
}

/// The same for both forms.
fn ends() -> Vec<(&'static str, u16, String)> {
    let internal = || "internal error".to_owned();
    vec![
        ("own", 4001, "as planned".to_owned()),
        ("long", 3000, "é".repeat(61)),
        ("1005", 1011, internal()),
        ("0", 1011, internal()),
        ("late", 1008, "timed out".to_owned()),
        ("failed", 1011, internal()),
        ("io", 1011, internal()),
        ("other", 1011, internal()),
        ("panic", 1011, internal()),
    ]
}

#[test]
fn how_a_run_ends_is_how_its_connection_closes_as_a_table() {
    let server = serve(|_, messages| outcome(&messages.recv()?.expect("a message")));
    let mut table = ends();
    table.push(("ok", 1000, String::new()));
    // Of another connection, since this one is open.
    table.push(("closed", 1011, "internal error".to_owned()));
    for (how, code, reason) in table {
        let mut client = connect(&server);
        client.send_frame(0x81, how);
        assert_eq!(client.frame(), close_frame(code, &reason), "{how}");
        client.send_frame(0x88, code.to_be_bytes());
        assert!(client.is_at_end(), "{how}");
    }
}

struct Callback;

impl WebSocketHandler for Callback {
    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        outcome(&message)
    }
}

#[test]
fn a_callback_closes_with_the_same_codes() {
    let application = Application::new().websocket("/ws", || Callback);
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    for (how, code, reason) in ends() {
        let mut client = connect(&server);
        client.send_frame(0x81, "ok");
        client.send_frame(0x81, how);
        assert_eq!(client.frame(), close_frame(code, &reason), "{how}");
    }
}

/// Messages are passed over, Pings are answered.
struct Deaf;

impl WebSocketHandler for Deaf {}

#[test]
fn a_handler_without_a_method_reads_to_the_end() {
    let server = Server::bind("127.0.0.1:0", Application::new().websocket("/ws", || Deaf)).unwrap();
    let mut client = connect(&server);
    client.send_frame(0x81, "hi");
    client.send_frame(0x89, "p");
    assert_eq!(client.frame(), frame(0x8a, "p"));
    client.send_frame(0x88, 1000u16.to_be_bytes());
    assert_eq!(client.frame(), close_frame(1000, ""));
}

#[test]
fn an_error_behind_the_own_close_is_an_ordinary_end() {
    let server = serve(|connection, messages| {
        messages.recv()?;
        connection.close(Some(4000), Some("mine"))?;
        Err(Error::invalid("too late to matter"))
    });
    let mut client = connect(&server);
    client.send_frame(0x81, "go");
    assert_eq!(client.frame(), close_frame(4000, "mine"));
    client.send_frame(0x88, 4000u16.to_be_bytes());
    assert!(client.is_at_end());
    drop(client);
    eventually("it is counted", || server.stats().clients == 0);
    let counted = server.stats().disconnects;
    assert_eq!((counted.failed, counted.panicked, counted.done), (0, 0, 1));
}

#[test]
fn behind_its_own_close_a_run_gets_what_was_sent_before_the_answer() {
    let (heard, hears) = unbounded();
    let server = serve(move |connection, messages| {
        connection.close(Some(4000), None)?;
        for message in &mut *messages {
            heard.send(message?.to_string()).unwrap();
        }
        heard.send(format!("{:?} {:?}", messages.ended_by().unwrap(), messages.close_code())).unwrap();
        Ok(())
    });
    let mut client = connect(&server);
    assert_eq!(client.frame(), close_frame(4000, ""));
    client.send_frame(0x81, "one");
    client.send_frame(0x81, "two");
    client.send_frame(0x88, 4000u16.to_be_bytes());
    assert_eq!(next(&hears, "a message"), "one");
    assert_eq!(next(&hears, "a message"), "two");
    assert_eq!(next(&hears, "the end"), "Done Some(4000)");
    assert!(client.is_at_end());
}

#[test]
fn every_end_is_none_and_ended_by_says_which_as_a_table() {
    let (ended, ends) = unbounded();
    let server = serve_with(
        |application| application.max_message(100).max_backlog(1000),
        move |connection, messages| {
            assert_eq!(messages.ended_by(), None);
            while let Some(message) = messages.recv()? {
                match message.as_text() {
                    Some("close") => connection.close(Some(4000), None)?,
                    Some("flood") => while connection.write_message(vec![0; 1 << 20]).is_ok() {},
                    _ => {}
                }
            }
            assert!(matches!(messages.recv(), Ok(None)), "and so it stays");
            assert!(matches!(messages.try_recv(), Ok(None)));
            ended.send(messages.ended_by().unwrap()).unwrap();
            // Each call of a handler now fails, and the log has no failure.
            connection.write_message("late")
        },
    );
    let table: &[(&str, Vec<u8>, &str)] = &[
        ("a Close", masked(0x88, &1000u16.to_be_bytes()), "Done"),
        ("a Close without a code", masked(0x88, b""), "Done"),
        ("the own Close", masked(0x81, b"close"), "Done"),
        ("too large", masked(0x82, &[0; 101]), "Failed"),
        ("no UTF-8", masked(0x81, b"\xff"), "Failed"),
        ("no opcode", masked(0x83, b""), "Failed"),
        ("takes nothing", masked(0x81, b"flood"), "Overflow"),
        ("FIN", vec![], "Done"),
        ("RST", vec![], "Done"),
    ];
    for (how, bytes, expected) in table {
        let mut client = connect(&server);
        client.send(bytes);
        match *how {
            "the own Close" => {
                assert_eq!(client.frame(), close_frame(4000, ""));
                client.send_frame(0x88, 4000u16.to_be_bytes());
            }
            "FIN" => client.stream.shutdown(std::net::Shutdown::Write).unwrap(),
            "RST" => {
                client.reset();
                assert_eq!(format!("{:?}", next(&ends, how)), *expected, "{how}");
                continue;
            }
            _ => {}
        }
        assert_eq!(format!("{:?}", next(&ends, how)), *expected, "{how}");
        drop(client);
    }
    eventually("all are gone", || server.stats().clients == 0);
    let counted = server.stats().disconnects;
    assert_eq!((counted.panicked, counted.failed, counted.overflow), (0, 3, 1));
}

#[test]
fn a_wait_with_a_deadline_loses_nothing_and_one_without_takes_what_is_here() {
    let (go, gone) = bounded::<()>(0);
    let server = serve(move |connection, messages| {
        assert!(matches!(messages.try_recv(), Err(Error::TimedOut)));
        assert!(matches!(messages.recv_timeout(SHORT), Err(Error::TimedOut)));
        connection.write_message("nothing")?;
        assert_eq!(messages.recv()?.unwrap().as_text(), Some("one"));
        gone.recv().unwrap_err();
        assert_eq!(messages.try_recv()?.unwrap().as_text(), Some("two"));
        assert!(matches!(messages.try_recv(), Err(Error::TimedOut)));
        connection.write_message("not whole")?;
        assert_eq!(messages.recv_timeout(DEADLINE)?.unwrap().as_text(), Some("three"));
        Ok(())
    });
    let mut client = connect(&server);
    assert_eq!(client.frame(), frame(0x81, "nothing"));
    client.send([masked(0x81, b"one"), masked(0x81, b"two"), masked(0x01, b"thr")].concat());
    eventually("the server's kernel has it", || support::on_its_way(server.local_addr()) == 0);
    drop(go);
    assert_eq!(client.frame(), frame(0x81, "not whole"));
    client.send_frame(0x89, "between two parts");
    client.send_frame(0x80, "ee");
    assert_eq!(client.frame(), frame(0x8a, "between two parts"));
    assert_eq!(client.frame(), close_frame(1000, ""));
}

#[test]
fn waits_keep_their_time_while_the_backlog_is_over_half() {
    let (told, tells) = unbounded();
    let server = serve_with(
        |application| application.max_backlog(1 << 20).send_buffer(4096),
        move |connection, messages| {
            while connection.backlog() < 700 << 10 {
                connection.write_message(vec![0; 16 << 10])?;
            }
            let begun = Instant::now();
            assert!(matches!(messages.try_recv(), Err(Error::TimedOut)));
            assert!(matches!(messages.recv_timeout(SHORT), Err(Error::TimedOut)));
            told.send(begun.elapsed()).unwrap();
            assert_eq!(messages.recv_timeout(DEADLINE)?.unwrap().as_text(), Some("later"));
            connection.write_message("heard")
        },
    );
    let mut client = Raw::narrow(server.local_addr(), 4096).upgraded("/ws");
    client.send_frame(0x81, "later");
    let took = next(&tells, "the two waits");
    assert!(took < DEADLINE / 2, "{took:?}");
    while client.frame() != frame(0x81, "heard") {}
}

#[test]
fn waits_keep_their_time_while_a_rate_slows_the_client() {
    let (told, tells) = unbounded();
    let server = serve_with(
        |application| application.max_messages(Rate::per_second(1)),
        move |_, messages| {
            assert_eq!(messages.recv()?.unwrap().as_text(), Some("one"));
            let begun = Instant::now();
            let mut waits = 0;
            let second = loop {
                match messages.recv_timeout(SHORT) {
                    Err(Error::TimedOut) => waits += 1,
                    second => break second?.unwrap(),
                }
            };
            told.send((second, waits, begun.elapsed())).unwrap();
            Ok(())
        },
    );
    let mut client = connect(&server);
    client.send([masked(0x81, b"one"), masked(0x81, b"two")].concat());
    let (second, waits, took) = next(&tells, "the second message");
    assert_eq!(second.as_text(), Some("two"));
    assert!(waits >= 3, "{waits} waits within {took:?}");
    assert!(took > Duration::from_millis(500), "{took:?}: it was not slowed");
}

#[test]
fn a_handler_that_waits_in_turns_still_pings_and_finds_out_who_is_gone() {
    let (ended, ends) = unbounded();
    let server = serve_with(
        |application| application.ping_interval(Some(Duration::from_millis(200))),
        move |_, messages| {
            loop {
                match messages.recv_timeout(SHORT) {
                    Err(Error::TimedOut) => {}
                    Ok(Some(_)) => {}
                    _ => break,
                }
            }
            ended.send(messages.ended_by().unwrap()).unwrap();
            Ok(())
        },
    );
    let mut client = connect(&server);
    let ping = client.frame();
    assert_eq!(ping.first, 0x89);
    client.send_frame(0x8a, &ping.payload);
    assert_eq!(client.frame().first, 0x89, "and again");
    // Now it is silent.
    assert_eq!(client.frame(), close_frame(1011, "ping timed out"));
    assert_eq!(next(&ends, "the end"), DisconnectReason::PingTimeout);
}

/// Has all three: a method for the request, one for the connection, and one for its end.
struct Whole(Arc<Mutex<Vec<String>>>);

impl WebSocketHandler for Whole {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        self.0.lock().unwrap().push(format!("open {}", exchange.path()));
        connection.write_message("from open")
    }
    fn run(&mut self, connection: &Connection, messages: &mut Messages) -> Result<()> {
        connection.write_message("from run")?;
        let first = messages.recv()?;
        self.0.lock().unwrap().push(format!("run {}", first.unwrap()));
        Ok(())
    }
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        unreachable!("run reads")
    }
    fn on_close(&mut self, connection: &Connection) {
        self.0.lock().unwrap().push(format!("on_close {}", connection.is_closed()));
    }
}

#[test]
fn a_struct_may_have_open_run_and_on_close_each_runs_once() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let own = told.clone();
    let application = Application::new().websocket("/ws", move || Whole(own.clone()));
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let mut client = connect(&server);
    assert_eq!(client.frame(), frame(0x81, "from open"));
    assert_eq!(client.frame(), frame(0x81, "from run"));
    client.send_frame(0x81, "hi");
    assert_eq!(client.frame(), close_frame(1000, ""));
    client.send_frame(0x88, 1000u16.to_be_bytes());
    assert!(client.is_at_end());
    eventually("it is gone", || server.stats().clients == 0);
    assert_eq!(*told.lock().unwrap(), ["open /ws", "run hi", "on_close true"]);
}

#[test]
fn a_shutdown_reaches_a_run_that_blocks_in_recv_and_one_that_blocks_elsewhere() {
    let (ended, ends) = unbounded();
    let server = serve(move |connection, messages| {
        if messages.recv()?.unwrap().as_text() == Some("away") {
            let (open, end) = bounded::<()>(0);
            connection.on_end(move || drop(open));
            connection.write_message("blocks")?;
            assert!(end.recv_timeout(DEADLINE).is_err_and(|error| error.is_disconnected()));
            ended.send(None).unwrap();
            return Ok(());
        }
        connection.write_message("blocks")?;
        assert!(messages.recv()?.is_none());
        ended.send(messages.ended_by()).unwrap();
        Ok(())
    });
    let mut clients = ["here", "away"].map(|how| {
        let mut client = connect(&server);
        client.send_frame(0x81, how);
        assert_eq!(client.frame(), frame(0x81, "blocks"));
        client
    });
    let stops = thread::spawn(move || server.shutdown());
    for client in &mut clients {
        assert_eq!(client.frame(), close_frame(1001, "server shutting down"));
        client.send_frame(0x88, 1001u16.to_be_bytes());
    }
    let mut both = [next(&ends, "one end"), next(&ends, "the other")];
    both.sort_by_key(Option::is_some);
    assert_eq!(both, [None, Some(DisconnectReason::Shutdown)]);
    stops.join().unwrap();
}

#[test]
fn on_end_is_called_once_on_the_closer_at_each_kind_of_end_as_a_table() {
    let (told, tells) = unbounded();
    let server = serve_with(
        |application| application.max_backlog(1000),
        move |connection, messages| {
            let calls = Arc::new(AtomicU32::new(0));
            // A panic ends nothing.
            connection.on_end(|| panic!("as planned"));
            let (counts, told) = (calls.clone(), told.clone());
            connection.on_end(move || {
                let calls = counts.fetch_add(1, Ordering::SeqCst) + 1;
                told.send((calls, thread::current().name().unwrap_or_default().to_owned())).unwrap();
            });
            assert_eq!(calls.load(Ordering::SeqCst), 0);
            match messages.recv()?.as_ref().and_then(Message::as_text) {
                Some("close") => connection.close(None, None)?,
                Some("return") => return Ok(()),
                Some("fail") => return Err(Error::invalid("as planned")),
                Some("flood") => while connection.write_message(vec![0; 1 << 20]).is_ok() {},
                _ => {}
            }
            while messages.recv()?.is_some() {}
            Ok(())
        },
    );
    for (how, bytes) in [
        ("this end", masked(0x81, b"close")),
        ("a return", masked(0x81, b"return")),
        ("an error", masked(0x81, b"fail")),
        ("a slow consumer", masked(0x81, b"flood")),
        ("the peer", masked(0x88, b"")),
        ("a violation", masked(0x83, b"")),
        ("FIN", vec![]),
    ] {
        let mut client = connect(&server);
        client.send(bytes);
        if how == "FIN" {
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert_eq!(next(&tells, how), (1, "closer".to_owned()), "{how}");
        client.send_frame(0x88, b"");
        drop(client);
        eventually("it is gone", || server.stats().clients == 0);
        assert!(tells.try_recv().is_err(), "{how}: once");
    }
}

#[test]
fn on_end_of_a_connection_that_has_ended_is_called_at_once() {
    let (told, tells) = unbounded();
    let server = serve(move |connection, messages| {
        while messages.recv()?.is_some() {}
        let (own, told) = (connection.clone(), told.clone());
        connection.on_end(move || told.send(own.is_closed()).unwrap());
        Ok(())
    });
    let mut client = connect(&server);
    client.send_frame(0x88, b"");
    assert!(next(&tells, "the call"));
    let ((connection, messages), _client) = testing::pair().unwrap();
    drop(messages);
    let (told, tells) = unbounded();
    connection.on_end(move || told.send(()).unwrap());
    next(&tells, "the call, of a connection without a server");
}

#[test]
fn an_observer_sees_a_run_by_what_it_does_between_its_messages() {
    let (seen, sees) = unbounded();
    let observer = Observer::new(move |_, event| {
        let shown = match event {
            Event::HandlerBegins(method) => format!("+{method}"),
            Event::HandlerEnds { method, panicked } => {
                format!("-{method}{}", if panicked { "!" } else { "" })
            }
            Event::Gone => "gone".to_owned(),
            _ => return,
        };
        seen.send(shown).unwrap();
    });
    observer.watch(true);
    let watching = observer.clone();
    let server = serve_with(
        move |application| application.observer(watching),
        |_, messages| {
            messages.recv()?;
            outcome(&messages.recv()?.expect("a message"))
        },
    );
    let all = |how| {
        let mut client = connect(&server);
        client.send_frame(0x81, "one");
        client.send_frame(0x81, how);
        client.frame();
        client.send_frame(0x88, b"");
        let mut events = Vec::new();
        while events.last().is_none_or(|last| last != "gone") {
            events.push(next(&sees, "an event"));
        }
        events.retain(|event| !event.ends_with("the handshake"));
        events.join(" ")
    };
    let parts = "+open -open +run -run +run -run +run";
    assert_eq!(all("ok"), format!("{parts} -run +on_close -on_close gone"));
    assert_eq!(all("panic"), format!("{parts} -run! +on_close -on_close gone"));
}

#[test]
fn a_pair_has_both_ends_of_a_connection_and_each_ends_as_over_a_network() {
    let ((server, mut asked), (client, mut answers)) = testing::pair().unwrap();
    client.write_message("one").unwrap();
    server.write_message(vec![2]).unwrap();
    assert_eq!(asked.recv().unwrap().unwrap().as_text(), Some("one"));
    assert_eq!(answers.recv().unwrap().unwrap().as_bytes(), [2]);
    assert!(matches!(asked.try_recv(), Err(Error::TimedOut)));
    // A client waits for its server to end, which has to read for that.
    server.close(Some(4000), Some("done")).unwrap();
    let reads = thread::spawn(move || {
        assert!(asked.recv().unwrap().is_none());
        asked.ended_by()
    });
    assert!(answers.recv().unwrap().is_none());
    assert_eq!((answers.close_code(), answers.close_reason()), (Some(4000), Some("done")));
    assert_eq!(answers.ended_by(), Some(DisconnectReason::Done));
    assert_eq!(reads.join().unwrap(), Some(DisconnectReason::Done));
}

#[test]
fn an_end_of_a_pair_that_is_dropped_closes_the_other_with_1001_at_once() {
    for server_first in [true, false] {
        let (server, client) = testing::pair().unwrap();
        let (dropped, (_left, mut left)) = if server_first { (server, client) } else { (client, server) };
        let begun = Instant::now();
        drop(dropped.1);
        assert!(left.recv().unwrap().is_none());
        assert_eq!(left.close_code(), Some(1001));
        assert!(begun.elapsed() < Duration::from_secs(4), "not after the deadline of an answer");
    }
}

#[test]
fn a_function_fails_in_a_pair_as_it_does_in_a_server() {
    fn ask(connection: &Connection, messages: &mut Messages) -> Result<()> {
        connection.write_message("who?")?;
        match messages.recv_timeout(SHORT) {
            Err(Error::TimedOut) => Err(Error::closing(4408, "no name in time")),
            name => name.map(drop),
        }
    }
    let ((connection, mut messages), (_client, mut answers)) = testing::pair().unwrap();
    let ended = ask(&connection, &mut messages).unwrap_err();
    assert!(matches!(ended, Error::Closing { code: 4408, .. }), "{ended}");
    assert_eq!(answers.recv().unwrap(), Some("who?".into()));
}
