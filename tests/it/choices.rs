//! The choices of one route: its subprotocol, origins and limits, and everything below a prefix.

use crate::support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::unbounded;
use support::{DEADLINE, Raw, Wire, close_frame, eventually, fetch, frame, get, status, upgrade};
use threadcast::{
    Application, Capacity, Connection, Error, Exchange, Hub, Message, Messages, RequestHandler, Result,
    Server, StaticFiles, WebSocketHandler,
};

fn start(application: Application) -> Server {
    Server::bind_with("127.0.0.1:0", application.max_buffered(1 << 30), Capacity::new(100)).unwrap()
}

/// Sends each message back.
fn echo(connection: &Connection, messages: &mut Messages) -> Result<()> {
    for message in messages {
        connection.write_message(message?)?;
    }
    Ok(())
}

/// The head of the answer to a handshake, and the client.
fn shake(server: &Server, target: &str, more: &str) -> (String, Raw) {
    let mut client = Raw::connect(server.local_addr());
    client.send(upgrade(target, more));
    (client.head(), client)
}

/// The subprotocol in a head.
fn subprotocol(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "))
}

#[test]
fn a_route_chooses_the_first_of_its_own_subprotocols_that_is_offered() {
    let server = start(Application::new().websocket_with("/ws", |exchange| {
        let chosen = exchange.choose_subprotocol(&["v2", "v1"]);
        // The first choice stays.
        assert_eq!(exchange.choose_subprotocol(&["v1", "v2"]), chosen);
        assert!(chosen.is_none() || exchange.choose_subprotocol(&["v3"]).is_none());
        Ok(move |connection: &Connection, messages: &mut Messages| {
            assert_eq!(connection.subprotocol(), chosen);
            assert_eq!(messages.subprotocol(), chosen);
            connection.write_message(connection.subprotocol().unwrap_or("none"))?;
            echo(connection, messages)
        })
    }));
    for (offered, chosen) in [
        ("", None),
        ("Sec-WebSocket-Protocol: v1, v2\r\n", Some("v2")),
        ("Sec-WebSocket-Protocol: v1\r\n", Some("v1")),
        ("Sec-WebSocket-Protocol: v0 ,v1,  v3\r\n", Some("v1")),
        ("Sec-WebSocket-Protocol: v0\r\nSec-WebSocket-Protocol: v2\r\n", Some("v2")),
        ("Sec-WebSocket-Protocol: V2\r\n", None),
        ("Sec-WebSocket-Protocol: v22\r\n", None),
    ] {
        let (head, mut client) = shake(&server, "/ws", offered);
        assert_eq!((status(&head), subprotocol(&head)), (101, chosen), "{offered:?}");
        assert_eq!(client.frame(), frame(0x81, chosen.unwrap_or("none")), "{offered:?}");
    }
}

/// Chooses by the method, in `open`, or not at all.
struct Chooses(Arc<AtomicBool>);

impl WebSocketHandler for Chooses {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        assert_eq!(connection.subprotocol(), None, "the 101 is not made");
        exchange.choose_subprotocol(&["a", "b"]);
        Ok(())
    }
    fn on_message(&mut self, connection: &Connection, _: Message) -> Result<()> {
        connection.write_message(connection.subprotocol().unwrap_or("none"))
    }
    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        self.0.store(true, Ordering::SeqCst);
        offered.contains(&"b").then(|| "b".to_owned())
    }
}

#[test]
fn a_choice_of_the_method_stays_and_the_method_is_not_asked_behind_a_choice() {
    let asked = Arc::<AtomicBool>::default();
    let (own, other) = (asked.clone(), asked.clone());
    let server = start(Application::new().websocket("/method", move || Chooses(own.clone())).websocket_with(
        "/made",
        move |exchange| {
            exchange.choose_subprotocol(&["a"]);
            Ok(Chooses(other.clone()))
        },
    ));
    for (target, offered, chosen, is_asked) in [
        ("/method", "a, b", "b", true),
        ("/method", "a", "a", true),
        ("/made", "a, b", "a", false),
        ("/made", "b", "b", true),
    ] {
        asked.store(false, Ordering::SeqCst);
        let (head, mut client) = shake(&server, target, &format!("Sec-WebSocket-Protocol: {offered}\r\n"));
        assert_eq!(subprotocol(&head), Some(chosen), "{target} {offered}");
        client.send_frame(0x81, "?");
        assert_eq!(client.frame(), frame(0x81, chosen), "{target} {offered}");
        assert_eq!(asked.load(Ordering::SeqCst), is_asked, "{target} {offered}");
    }
}

#[test]
fn a_route_lets_in_its_own_origins_and_the_servers() {
    let server = start(
        Application::new()
            .websocket_with("/some", |exchange| {
                exchange.allow_origins(["https://a.test", "http://b.test:81"])?;
                Ok(echo)
            })
            .websocket_with("/all", |exchange| {
                exchange.allow_origins(["*"])?;
                Ok(echo)
            })
            .websocket("/own", || echo)
            .websocket_with("/wrong", |exchange| {
                exchange.allow_origins(["a.test"])?;
                Ok(echo)
            }),
    );
    for (target, origin, expected) in [
        ("/some", "https://a.test", 101),
        ("/some", "https://a.test:443", 101),
        ("/some", "http://a.test", 403),
        ("/some", "http://b.test:81", 101),
        ("/some", "http://b.test", 403),
        ("/some", "http://localhost", 101),
        ("/some", "null", 403),
        ("/all", "https://evil.test", 101),
        ("/all", "null", 101),
        ("/own", "https://a.test", 403),
        ("/own", "http://localhost", 101),
        ("/wrong", "http://localhost", 500),
    ] {
        let (head, _) = shake(&server, target, &format!("Origin: {origin}\r\n"));
        assert_eq!(status(&head), expected, "{target} {origin}");
    }
}

#[test]
fn a_route_has_its_own_limits() {
    let flood = |connection: &Connection, messages: &mut Messages| {
        messages.recv()?;
        loop {
            connection.write_message(vec![0; 4096])?;
        }
    };
    let server = start(
        Application::new()
            .max_message(100)
            .max_backlog(1 << 20)
            .send_buffer(4096)
            .websocket("/small", || echo)
            .websocket_with("/large", |exchange| {
                exchange.max_message(1000);
                Ok(echo)
            })
            .websocket_with("/tight", move |exchange| {
                exchange.max_backlog(10_000);
                Ok(flood)
            })
            .websocket("/wide", move || flood),
    );
    for (target, length, fits) in
        [("/small", 100, true), ("/small", 101, false), ("/large", 1000, true), ("/large", 1001, false)]
    {
        let mut client = Raw::websocket(server.local_addr(), target);
        client.send_frame(0x82, vec![7; length]);
        let Wire { first, payload } = client.frame();
        let (close, too_big) = (0x88, 1009u16.to_be_bytes());
        let is_echo = (first, payload.len()) == (0x82, length);
        let is_refused = first == close && payload.starts_with(&too_big);
        assert_eq!((is_echo, is_refused), (fits, !fits), "{target} {length}");
    }
    // The server disconnects a slow consumer sooner or later. The frames before that were in the kernel and the backlog.
    let taken = |target| {
        let mut client = Raw::narrow(server.local_addr(), 4096).upgraded(target);
        let before = server.stats().disconnects.overflow;
        client.send_frame(0x81, "go");
        eventually("it is disconnected", || server.stats().disconnects.overflow > before);
        server.stats().bytes
    };
    let tight = taken("/tight");
    let both = taken("/wide");
    assert!(tight < 300_000, "{tight} bytes were taken for a backlog of 10,000");
    assert!(both - tight > 900_000, "{} bytes were taken for a backlog of 1 MiB", both - tight);
}

#[test]
fn what_is_wrong_with_a_routes_limit_is_a_500_and_the_next_is_served() {
    let server = start(Application::new().websocket_with("/ws", |exchange| {
        let bytes = exchange.get_argument("backlog")?.parse().map_err(Error::other)?;
        exchange.max_backlog(bytes);
        Ok(echo)
    }));
    for (backlog, expected) in [("0", 500), ("1073741825", 500), ("1", 101), ("1073741824", 101)] {
        let (head, _) = shake(&server, &format!("/ws?backlog={backlog}"), "");
        assert_eq!(status(&head), expected, "{backlog}");
    }
}

/// A page that says where it is.
struct Page(&'static str);

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write(format!("{} {:?}", self.0, exchange.path_rest()?));
        Ok(())
    }
}

/// Tells what is below the prefix.
fn rest(exchange: &mut Exchange<'_>) -> Result<impl WebSocketHandler + use<>> {
    let rest = exchange.path_rest()?;
    Ok(move |connection: &Connection, _: &mut Messages| connection.write_message(&rest))
}

#[test]
fn a_prefix_has_all_that_is_below_it_by_whole_segments() {
    for prefix in ["/deep", "/deep/"] {
        let server = start(
            Application::new()
                .websockets(prefix, rest)
                .websocket_with("/deep/exact", |_| {
                    Ok(|connection: &Connection, _: &mut Messages| connection.write_message("exact"))
                })
                .page("/deep/page", || Page("a page")),
        );
        for (target, expected) in [
            ("/deep", Some("")),
            ("/deep/", Some("")),
            ("/deep?x=/y", Some("")),
            ("/deep/a", Some("a")),
            ("/deep/a/b", Some("a/b")),
            ("/deep/a/b/?x=y", Some("a/b/")),
            ("/deep//a", Some("/a")),
            ("/deep/a%2Fb%20c/%C3%A9", Some("a/b c/é")),
            ("/deep/exact", Some("exact")),
            ("/deepest", None),
            ("/deepest/a", None),
            ("/dee", None),
            ("/", None),
            ("/Deep/a", None),
        ] {
            let (head, mut client) = shake(&server, target, "");
            let Some(expected) = expected else {
                assert_eq!(status(&head), 404, "{prefix} {target}");
                continue;
            };
            assert_eq!(status(&head), 101, "{prefix} {target}");
            assert_eq!(client.frame(), frame(0x81, expected), "{prefix} {target}");
            assert_eq!(client.frame(), close_frame(1000, ""), "{prefix} {target}");
        }
        let (head, _) = shake(&server, "/deep/%ff", "");
        assert_eq!(status(&head), 400);
        let (head, _) = fetch(server.local_addr(), get("/deep/a", ""));
        assert_eq!(status(&head), 426, "a plain request");
    }
}

#[test]
fn below_one_prefix_there_may_be_sockets_and_pages_or_files() {
    let server = start(
        Application::new()
            .websockets("/", rest)
            .static_files("/", StaticFiles::directory("tests/it").unwrap())
            .pages("/p/", || Page("below"))
            .websockets("/p", rest),
    );
    let (head, mut client) = shake(&server, "/choices.rs", "");
    assert_eq!((status(&head), client.frame()), (101, frame(0x81, "choices.rs")));
    let (head, body) = fetch(server.local_addr(), get("/choices.rs", ""));
    assert_eq!((status(&head), body.starts_with(b"//! The choices of one route")), (200, true));
    let (head, mut client) = shake(&server, "/p/a/b", "");
    assert_eq!((status(&head), client.frame()), (101, frame(0x81, "a/b")));
    let (head, body) = fetch(server.local_addr(), get("/p/a/b", ""));
    assert_eq!((status(&head), &body[..]), (200, &b"below \"a/b\""[..]));
}

#[test]
fn a_small_send_buffer_shows_in_the_backlog_what_the_kernel_would_hide() {
    let backlog = |bytes: Option<usize>| {
        let (told, tells) = unbounded();
        let application = Application::new().max_backlog(64 << 20);
        let application = match bytes {
            Some(bytes) => application.send_buffer(bytes),
            None => application,
        };
        let server = start(application.websocket("/ws", move || {
            let told = told.clone();
            move |connection: &Connection, messages: &mut Messages| {
                for _ in 0..256 {
                    connection.write_message(vec![0; 16 << 10])?;
                }
                told.send(connection.backlog()).unwrap();
                messages.recv().map(drop)
            }
        }));
        let _client = Raw::narrow(server.local_addr(), 4096).upgraded("/ws");
        tells.recv_timeout(DEADLINE).expect("the backlog")
    };
    let (small, unset) = (backlog(Some(16 << 10)), backlog(None));
    assert!(small > 3_900_000, "{small} of 4 MiB");
    assert!(small - unset > 1_000_000, "{small} with a send buffer, {unset} without");
}

#[test]
fn an_author_is_left_out_of_what_it_publishes_in_both_forms() {
    let (plain, json) = Hub::in_two_forms(|_, message| Message::json(&[message.as_text()]).unwrap());
    let counts = Arc::new(Mutex::new(Vec::new()));
    let (hubs, told) = ((plain.clone(), json.clone()), counts.clone());
    let server = start(Application::new().websockets("/", move |exchange| {
        let ((plain, json), told) = (hubs.clone(), told.clone());
        let form = exchange.path_rest()?;
        Ok(move |connection: &Connection, messages: &mut Messages| {
            let hub = if form == "json" { &json } else { &plain };
            hub.subscribe("topic", connection)?;
            connection.write_message("in")?;
            for message in messages {
                let message = message?;
                told.lock().unwrap().push(plain.publish_except("topic", message, connection)?);
                connection.write_message("sent")?;
            }
            Ok(())
        })
    }));
    let mut clients = ["/a", "/b", "/json"].map(|target| {
        let mut client = Raw::websocket(server.local_addr(), target);
        assert_eq!(client.frame(), frame(0x81, "in"));
        client
    });
    for author in 0..3 {
        clients[author].send_frame(0x81, format!("{author}"));
        assert_eq!(clients[author].frame(), frame(0x81, "sent"), "and not its own message");
        for other in (0..3).filter(|other| *other != author) {
            let expected = if other == 2 { format!("[\"{author}\"]") } else { format!("{author}") };
            assert_eq!(clients[other].frame(), frame(0x81, expected));
        }
    }
    assert_eq!(*counts.lock().unwrap(), [2, 2, 2]);
    // One that has not subscribed is nobody's author.
    let ((connection, _messages), _) = threadcast::testing::pair().unwrap();
    assert_eq!(plain.publish_except("topic", "all", &connection).unwrap(), 3);
    assert_eq!(plain.publish_except("empty", "all", &connection).unwrap(), 0);
    assert!(plain.publish_except("", "all", &connection).is_err());
}

#[test]
fn an_author_among_hundreds_is_the_only_one_left_out() {
    if !support::has_descriptors(4000, "an author among hundreds") {
        return;
    }
    let hub = Hub::new();
    let pairs: Vec<_> = (0..700).map(|_| threadcast::testing::pair().unwrap()).collect();
    for ((connection, _), _) in &pairs {
        hub.subscribe("topic", connection).unwrap();
    }
    let author = &pairs[300].0.0;
    assert_eq!(hub.publish_except("topic", "hi", author).unwrap(), 699);
    assert_eq!(hub.count("topic"), 700, "it is still subscribed");
    assert_eq!(hub.publish("topic", "all").unwrap(), 700);
    for (n, (_, (_, mut messages))) in pairs.into_iter().enumerate() {
        let expected = if n == 300 { "all" } else { "hi" };
        assert_eq!(messages.recv_timeout(DEADLINE).unwrap().unwrap().as_text(), Some(expected), "{n}");
    }
}

#[test]
fn json_is_read_from_text_and_binary_and_a_mistake_names_its_place() {
    for message in [Message::text(r#"["tea", 2]"#), Message::binary(*br#"["tea", 2]"#)] {
        // The borrowed value is in the message.
        assert_eq!(message.parse::<(&str, u32)>().unwrap(), ("tea", 2));
    }
    for (wrong, expected) in [(r#"["tea", -2]"#, "invalid value: integer `-2`"), ("[", "EOF"), ("", "EOF")] {
        let error = Message::from(wrong).parse::<(&str, u32)>().unwrap_err();
        assert!(matches!(error, Error::Other(_)) && error.to_string().contains(expected), "{error:?}");
    }
}
