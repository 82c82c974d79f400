//! `tests/BEHAVIOUR.md`, *The handshake*: which requests become WebSockets, which are refused and how, and what `open`
//! can do before the 101 is written.

use crate::support;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use threadcast::{
    Application, Connection, CookieSecret, Error, Exchange, Message, Request, Result, Server,
    WebSocketHandler,
};
use tungstenite::handshake::derive_accept_key;

use support::{
    DEADLINE, Event, Probed, Program, Raw, close_frame, eventually, frame, header_values, masked, upgrade,
};

/// The handshake of RFC 6455, section 1.3, line by line.
const LINES: [(&str, &str); 5] = [
    ("Host", "localhost:8888"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Header lines: a name, and one line for each of its values.
type Changes<'a> = &'a [(&'a str, &'a [&'a str])];

/// That handshake with the lines named in `changes` replaced.
fn handshake(target: &str, changes: Changes<'_>) -> String {
    let mut head = format!("GET {target} HTTP/1.1\r\n");
    let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
    for (name, value) in LINES.iter().filter(|(name, _)| !changed(name)) {
        head += &format!("{name}: {value}\r\n");
    }
    for (name, values) in changes {
        values.iter().for_each(|value| head += &format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// Checks that the refusal has this status and text, and ends its connection.
fn assert_refused(raw: &mut Raw, status: u16, text: &str, case: &str) -> String {
    let (head, body) = raw.response();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {head}");
    assert_eq!(String::from_utf8_lossy(&body), format!("{text}\n"), "{case}");
    assert!(header_values(&head, "Connection").contains(&"close"), "{case}: {head}");
    assert!(header_values(&head, "Sec-WebSocket-Accept").is_empty(), "{case}: {head}");
    assert_eq!(raw.rest(), b"", "{case}");
    head
}

type Open = dyn Fn(&Connection, &mut Exchange<'_>) -> Result<()> + Send + Sync;
type Choose = fn(&[&str]) -> Option<String>;

/// The methods of a [`Scripted`] handler.
#[derive(Clone)]
struct Script {
    open: Arc<Open>,
    choose: Choose,
    origin: fn(&Request, &str) -> bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            open: Arc::new(|_, _| Ok(())),
            choose: |_| None,
            origin: |request, origin| request.is_same_origin(origin),
        }
    }
}

/// A handler that follows its script, and reports further events.
struct Scripted(Script, Sender<Event>);

impl WebSocketHandler for Scripted {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        (self.0.open)(connection, exchange)
    }
    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        let _ = self.1.send(Event::Message(message));
        Ok(())
    }
    fn on_close(&mut self, connection: &Connection) {
        let reason = connection.close_reason().map(str::to_owned);
        let _ = self.1.send(Event::Close(connection.close_code(), reason));
    }
    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        (self.0.origin)(request, origin)
    }
    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        (self.0.choose)(offered)
    }
}

/// A server with a [`Scripted`] handler at `/ws`.
struct Served {
    server: Server,
    events: Receiver<Event>,
}

impl Served {
    fn start(script: Script) -> Served {
        let (sender, events) = crossbeam_channel::unbounded();
        let application = Application::new()
            .websocket("/ws", move || Scripted(script.clone(), sender.clone()))
            .cookie_secret(CookieSecret::new("It's a secret to everybody").expect("is a secret"));
        Served { server: Server::bind("127.0.0.1:0", application).expect("binds"), events }
    }

    fn open(open: impl Fn(&Connection, &mut Exchange<'_>) -> Result<()> + Send + Sync + 'static) -> Served {
        Served::start(Script { open: Arc::new(open), ..Script::default() })
    }

    /// A client that has sent this request.
    fn client(&self, request: impl AsRef<[u8]>) -> Raw {
        let mut raw = Raw::connect(self.server.local_addr());
        raw.send(request);
        raw
    }

    /// All events, after the last one.
    fn events_to_the_end(self) -> Vec<Event> {
        drop(self.server);
        self.events.iter().collect()
    }
}

#[test]
fn the_answer_is_that_of_the_rfc_and_nothing_else() {
    let probed = Probed::start();
    for (key, accept) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
    ] {
        let mut raw = Raw::connect(probed.addr);
        let offers = [
            ("Sec-WebSocket-Key", &[key][..]),
            // The server accepts neither.
            ("Sec-WebSocket-Extensions", &["permessage-deflate; client_max_window_bits"]),
            ("Sec-WebSocket-Protocol", &["chat, superchat"]),
        ];
        raw.send(handshake("/ws", &offers));
        let head = raw.head();
        let mut lines: Vec<_> = head.trim_end().lines().collect();
        assert_eq!(lines.remove(0), "HTTP/1.1 101 Switching Protocols");
        assert_eq!(lines.len(), 3, "{head}");
        assert_eq!(header_values(&head, "Connection"), ["Upgrade"]);
        assert_eq!(header_values(&head, "Upgrade"), ["websocket"]);
        assert_eq!(header_values(&head, "Sec-WebSocket-Accept"), [accept]);
    }
}

// All that Tornado and RFC 6455 allow.
#[test]
fn handshakes_that_are_accepted_as_a_table() {
    let probed = Probed::start();
    let table: &[Changes] = &[
        &[],
        &[("Connection", &["upgrade"])],
        &[("Connection", &["UPGRADE"])],
        &[("Connection", &["keep-alive, Upgrade"])],
        &[("Connection", &["keep-alive,upgrade,foo"])],
        &[("Connection", &["keep-alive\t,\tuPgRaDe"])],
        &[("Connection", &["keep-alive", "Upgrade"])],
        &[("Connection", &["Upgrade", "keep-alive"])],
        &[("connection", &["Upgrade"]), ("Connection", &[])],
        &[("Upgrade", &["WebSocket"])],
        &[("Upgrade", &["WEBSOCKET"])],
        &[("SEC-WEBSOCKET-KEY", &["AAAAAAAAAAAAAAAAAAAAAA=="]), ("Sec-WebSocket-Key", &[])],
        &[("Content-Length", &["0"])],
        &[("Origin", &["http://localhost:8888"])],
    ];
    for changes in table {
        let mut raw = Raw::connect(probed.addr);
        raw.send(handshake("/ws", changes));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{changes:?}: {head}");
        assert!(matches!(probed.next("open"), Event::Open(_)), "{changes:?}");
        raw.send_frame(0x81, "hi");
        probed.expect_message("hi");
        raw.send_frame(0x88, "");
        assert_eq!(raw.frame(), frame(0x88, ""), "{changes:?}");
        probed.expect_close(None, None);
    }
}

#[test]
fn handshakes_that_are_refused_as_a_table() {
    let probed = Probed::start();
    let not_websocket = (426, r#"Can "Upgrade" only to "WebSocket"."#);
    let not_upgrade = (400, r#""Connection" must be "Upgrade"."#);
    let version = (426, "Sec-WebSocket-Version must be 13.");
    let host = (400, "An HTTP/1.1 request has exactly one Host header.");
    let table: &[(Changes, (u16, &str))] = &[
        (&[("Upgrade", &[]), ("Connection", &[])], not_websocket),
        (&[("Upgrade", &[])], not_websocket),
        (&[("Upgrade", &["h2c"])], not_websocket),
        (&[("Upgrade", &["websockets"])], not_websocket),
        (&[("Upgrade", &[""])], not_websocket),
        (&[("Connection", &[])], not_upgrade),
        (&[("Connection", &[""])], not_upgrade),
        (&[("Connection", &["keep-alive"])], not_upgrade),
        (&[("Connection", &["close"])], not_upgrade),
        (&[("Connection", &["Upgrades"])], not_upgrade),
        (&[("Connection", &["no-upgrade, xupgrade"])], not_upgrade),
        (&[("Connection", &["keep-alive upgrade"])], not_upgrade),
        (&[("Sec-WebSocket-Version", &[])], version),
        (&[("Sec-WebSocket-Version", &[""])], version),
        (&[("Sec-WebSocket-Version", &["8"])], version),
        (&[("Sec-WebSocket-Version", &["14"])], version),
        (&[("Sec-WebSocket-Version", &["013"])], version),
        (&[("Sec-WebSocket-Version", &["13.0"])], version),
        (&[("Host", &[])], host),
        (&[("Host", &["a", "a"])], host),
        (&[("Content-Length", &["5"])], (400, "This server accepts no GET request with a body.")),
    ];
    for (changes, (status, text)) in table {
        let case = format!("{changes:?}");
        let mut raw = Raw::connect(probed.addr);
        // The server reads bytes after a refused handshake neither as a frame nor as a request.
        raw.send(
            [handshake("/ws", changes).into_bytes(), masked(0x81, b"hi"), upgrade("/ws", "").into_bytes()]
                .concat(),
        );
        let head = assert_refused(&mut raw, *status, text, &case);
        let expected: &[&str] = if *status == 426 { &["websocket"] } else { &[] };
        assert_eq!(header_values(&head, "Upgrade"), expected, "{case}: {head}");
    }
    let mut raw = Raw::connect(probed.addr);
    raw.send(upgrade("/ws", "").replacen("HTTP/1.1", "HTTP/1.0", 1));
    assert_refused(&mut raw, 400, "A WebSocket needs HTTP/1.1.", "HTTP/1.0");
    probed.server.shutdown();
    let events: Vec<_> = probed.events.try_iter().collect();
    assert_eq!(events, [], "none of them reached the handler");
}

// The answer names the version of this server (RFC 6455, section 4.4).
#[test]
fn a_client_of_another_version_learns_which_one_to_speak() {
    let probed = Probed::start();
    for versions in [&[][..], &["8"], &["25"]] {
        let mut raw = Raw::connect(probed.addr);
        raw.send(handshake("/ws", &[("Sec-WebSocket-Version", versions)]));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 426 "), "{versions:?}: {head}");
        assert_eq!(header_values(&head, "Sec-WebSocket-Version"), ["13"], "{versions:?}: {head}");
    }
}

#[test]
fn a_key_is_the_base64_of_16_bytes() {
    let probed = Probed::start();
    for keys in [
        &[][..],
        &[""],
        &["x"],
        &["dGhlIHNhbXBsZSBub25jZQ"],
        &["dGhlIHNhbXBsZSBub25jZQ="],
        &["dGhlIHNhbXBsZSBub25jZQ==="],
        &["dGhlIHNhbXBsZSBub25jZQ==x"],
        &["dGhlIHNhbXBsZSBub25jZ!=="],
        &["dGhlIHNhbXBsZSBub25j"],
        &["dGhlIHNhbXBsZSBub25jZSEh"],
        &["_-hlIHNhbXBsZSBub25jZQ=="],
    ] {
        let case = format!("{keys:?}");
        let mut raw = Raw::connect(probed.addr);
        raw.send(handshake("/ws", &[("Sec-WebSocket-Key", keys)]));
        let (head, body) = raw.response();
        assert!(head.starts_with("HTTP/1.1 400 "), "{case}: {head}");
        let body = String::from_utf8_lossy(&body).to_lowercase();
        assert!(body.contains("sec-websocket-key") && body.trim_end().lines().count() == 1, "{case}: {body}");
        assert_eq!(raw.rest(), b"", "{case}");
    }
}

// The last letter of a key has four unused bits; RFC 6455's own example has some of them set.
#[test]
fn a_key_may_have_odd_bits_where_none_are_used() {
    let probed = Probed::start();
    for key in [
        "dGhlIHNhbXBsZSBub25jZQ==",
        "AQIDBAUGBwgJCgsMDQ4PEC==",
        "AAAAAAAAAAAAAAAAAAAAA/==",
        "++++++++++++++++++++++==",
        "AAAAAAAAAAAAAAAAAAAAAz==",
    ] {
        let mut raw = Raw::connect(probed.addr);
        raw.send(handshake("/ws", &[("Sec-WebSocket-Key", &[key])]));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{key}: {head}");
        assert_eq!(
            header_values(&head, "Sec-WebSocket-Accept"),
            [derive_accept_key(key.as_bytes())],
            "{key}"
        );
    }
}

// A proxy in front may have read the other line.
#[test]
fn a_repeated_key_or_version_is_refused() {
    let probed = Probed::start();
    let (key, other) = ("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEA==");
    for (name, values) in [
        ("Sec-WebSocket-Key", [key, key]),
        ("Sec-WebSocket-Key", [key, other]),
        ("Sec-WebSocket-Key", [key, ""]),
        ("Sec-WebSocket-Version", ["13", "13"]),
        ("Sec-WebSocket-Version", ["13", "8"]),
        ("Sec-WebSocket-Version", ["8", "13"]),
    ] {
        let mut raw = Raw::connect(probed.addr);
        raw.send(handshake("/ws", &[(name, &values)]));
        assert_refused(
            &mut raw,
            400,
            &format!("The request has more than one {name} header."),
            &format!("{values:?}"),
        );
    }
}

// The lab executes orders, so it refuses the pages of other sites, and other names of this machine.
#[test]
fn with_the_lab_websockets_take_their_own_origin_only() {
    let lab = Program::start(&["--lab", "--logging", "none"]);
    let friends = Program::start(&["--lab", "--logging", "none", "--allow-origin", "app://friend"]);
    for (host, origin, accepted) in [
        ("localhost:8888", None, true),
        ("localhost:8888", Some("http://localhost:8888"), true),
        ("127.0.0.1:8888", Some("http://127.0.0.1:8888"), true),
        ("[::1]:8888", Some("http://[::1]:8888"), true),
        ("localhost:8888", Some("http://127.0.0.1:8888"), false),
        ("localhost:8888", Some("http://localhost:3000"), false),
        ("localhost:8888", Some("http://localhost"), false),
        ("localhost:8888", Some("http://evil.test"), false),
        ("localhost:8888", Some("http://evil.test:8888"), false),
        ("localhost:8888", Some("null"), false),
    ] {
        for path in ["/websocket?Id=A", "/echo?Id=A", "/lab/events?Id=A"] {
            let origin = origin.as_slice();
            let mut raw = Raw::connect(lab.addr());
            raw.send(handshake(path, &[("Host", &[host]), ("Origin", origin)]));
            assert_eq!(raw.head().starts_with("HTTP/1.1 101 "), accepted, "{path} of {host} from {origin:?}");
        }
    }
    for (origin, accepted) in
        [("app://friend", true), ("http://localhost:8888", true), ("app://other", false)]
    {
        let mut raw = Raw::connect(friends.addr());
        raw.send(handshake("/websocket?Id=A", &[("Origin", &[origin])]));
        assert_eq!(raw.head().starts_with("HTTP/1.1 101 "), accepted, "{origin}");
    }
}

// An application's pages have their own schemes.
#[test]
fn any_scheme_of_an_origin_can_be_allowed() {
    let origins = [
        "capacitor://localhost",
        "tauri://localhost",
        "chrome-extension://abcdefghijklmnop",
        "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
        "app://-",
        "ionic://localhost:8100",
    ];
    let options: Vec<_> = origins.iter().flat_map(|origin| ["--allow-origin", origin]).collect();
    let program = Program::start(&options);
    for origin in origins.into_iter().chain(["capacitor://other", "tauri://localhost:1", "http://-"]) {
        let mut raw = Raw::connect(program.addr());
        raw.send(handshake("/websocket?Id=A", &[("Origin", &[origin])]));
        assert_eq!(raw.head().starts_with("HTTP/1.1 101 "), origins.contains(&origin), "{origin}");
    }
}

// The default handler, and one with its own rule.
#[test]
fn origins_as_a_table() {
    let default = Served::start(Script::default());
    let own = Served::start(Script {
        origin: |request, origin| request.path() == "/ws" && origin == "https://friend.example",
        ..Script::default()
    });
    for (origins, by_default, by_own) in [
        (&[][..], true, true),
        (&["http://localhost:8888"], true, false),
        (&["https://localhost:8888"], true, false),
        (&["HTTP://LOCALHOST:8888"], true, false),
        (&["http://LocalHost:8888"], true, false),
        (&["http://localhost:8888/"], false, false),
        (&["http://localhost"], false, false),
        (&["http://localhost:80"], false, false),
        (&["http://localhost:88888"], false, false),
        (&["http://localhost:8888.evil.example"], false, false),
        (&["http://evil.example/localhost:8888"], false, false),
        (&["http://localhost:8888@evil.example"], false, false),
        (&["http://evil@localhost:8888"], false, false),
        (&["localhost:8888"], false, false),
        (&["null"], false, false),
        (&[""], false, false),
        (&["file://"], false, false),
        (&["http://localhost:8888", "http://evil.example"], false, false),
        (&["https://friend.example"], false, true),
    ] {
        // The second name comes from older drafts, as in Tornado.
        for name in ["Origin", "Sec-WebSocket-Origin"] {
            for (which, served, accepted) in [("default", &default, by_default), ("own", &own, by_own)] {
                let case = format!("{which}, {name}: {origins:?}");
                let mut raw = served.client(handshake("/ws", &[(name, origins)]));
                if accepted {
                    assert!(raw.head().starts_with("HTTP/1.1 101 "), "{case}");
                } else {
                    assert_refused(&mut raw, 403, "Cross origin websockets not allowed", &case);
                }
            }
        }
    }
}

// A missing port is the default of the origin's scheme, because a proxy may have done TLS.
#[test]
fn hosts_and_origins_as_a_table() {
    let served = Served::start(Script::default());
    for (host, origin, same) in [
        ("me.test", "https://me.test", true),
        ("me.test", "http://me.test", true),
        ("me.test:443", "https://me.test", true),
        ("ME.test", "https://me.TEST:443", true),
        ("me.test:443", "http://me.test", false),
        ("me.test", "https://me.test:8443", false),
        ("[::1]:8888", "http://[::1]:8888", true),
        ("[fe80::1%lo]:8888", "http://[fe80::1]:8888", true),
        ("[fe80::1%25lo]:8888", "http://[fe80::1%25lo]:8888", true),
        ("[fe80::2%lo]:8888", "http://[fe80::1]:8888", false),
        ("", "http://", false),
        ("", "null", false),
        ("", "http://me.test", false),
    ] {
        let case = format!("{origin} at {host:?}");
        let mut raw = served.client(handshake("/ws", &[("Host", &[host]), ("Origin", &[origin])]));
        if same {
            assert!(raw.head().starts_with("HTTP/1.1 101 "), "{case}");
        } else {
            assert_refused(&mut raw, 403, "Cross origin websockets not allowed", &case);
        }
    }
}

// The clock accepts any origin; with `--allow-origin`, only those and its own.
#[test]
fn origins_of_the_clock_as_a_table() {
    let any = Program::start(&[]);
    let allow = ["--allow-origin", "https://friend.example", "--allow-origin", "http://other.example:81"];
    let some = Program::start(&allow);
    for (origin, by_some) in [
        (None, true),
        (Some("https://friend.example"), true),
        (Some("https://FRIEND.example"), true),
        (Some("http://other.example:81"), true),
        (Some("http://localhost:8888"), true),
        (Some("http://friend.example"), false),
        (Some("https://friend.example:444"), false),
        (Some("https://friend.example.evil.example"), false),
        (Some("https://x.friend.example"), false),
        (Some("http://other.example"), false),
        (Some("http://evil.example"), false),
        (Some("null"), false),
        (Some(""), false),
    ] {
        let request = handshake("/websocket?Id=A", &[("Origin", origin.as_slice())]);
        for (which, program, accepted) in [("any", &any, true), ("some", &some, by_some)] {
            let case = format!("{which}, {origin:?}");
            let mut raw = Raw::connect(program.addr());
            raw.send(&request);
            if accepted {
                assert!(raw.head().starts_with("HTTP/1.1 101 "), "{case}");
            } else {
                assert_refused(&mut raw, 403, "Cross origin websockets not allowed", &case);
            }
        }
    }
}

#[test]
fn a_client_of_the_clock_without_an_id_is_refused() {
    let program = Program::start(&["--logging", "debug"]);
    for target in ["/websocket", "/websocket?", "/websocket?id=A", "/websocket?ID=A&Idx=B", "/websocket?=A"] {
        let mut raw = Raw::connect(program.addr());
        raw.send(upgrade(target, ""));
        assert_refused(&mut raw, 400, "Missing argument Id", target);
    }
    let mut raw = Raw::connect(program.addr());
    raw.send(upgrade("/websocket?Id=%ff", ""));
    assert_refused(&mut raw, 400, "Invalid unicode in Id", "not UTF-8");
    // The refused ones did not become clients: the only client to close is this one.
    let mut raw = Raw::websocket(program.addr(), "/websocket?Id=");
    raw.send_frame(0x88, 1000_u16.to_be_bytes());
    assert_eq!(raw.frame(), close_frame(1000, ""));
    program.wait_for_line("is closed 1000");
    let closed = program.lines().iter().filter(|line| line.contains(" is closed")).count();
    assert_eq!(closed, 1, "{:#?}", program.lines());
}

#[test]
fn frames_sent_together_with_the_handshake_are_delivered() {
    let probed = Probed::start();
    let head = upgrade("/ws", "").into_bytes();
    let large = "x".repeat(100_000);
    let frames = [masked(0x81, b"one"), masked(0x89, b"ping"), masked(0x81, large.as_bytes())].concat();
    let close = masked(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat());
    let all = [head.clone(), frames, close].concat();
    // Cut: after all; inside the first frame's head; inside its payload; inside the large message.
    for cut in [all.len(), head.len() + 1, head.len() + 7, head.len() + 40, head.len() - 1] {
        let mut raw = Raw::connect(probed.addr);
        raw.send(&all[..cut]);
        if cut >= head.len() {
            // The rest goes out after the handshake, so it cannot have come with it.
            assert!(raw.head().starts_with("HTTP/1.1 101 "), "{cut}");
            raw.send(&all[cut..]);
        } else {
            raw.send(&all[cut..]);
            assert!(raw.head().starts_with("HTTP/1.1 101 "), "{cut}");
        }
        assert!(matches!(probed.next("open"), Event::Open(_)), "{cut}");
        probed.expect_message("one");
        assert_eq!(probed.next("a ping"), Event::Ping(b"ping".to_vec()));
        probed.expect_message(large.as_str());
        probed.expect_close(Some(1000), Some("bye"));
        assert_eq!(raw.frame(), frame(0x8a, "ping"));
        assert_eq!(raw.frame(), close_frame(1000, ""));
        assert_eq!(raw.rest(), b"");
    }
}

#[test]
fn a_handshake_and_a_frame_that_come_byte_by_byte_are_read() {
    let probed = Probed::start();
    let mut raw = Raw::connect(probed.addr);
    for byte in [upgrade("/ws", "").into_bytes(), masked(0x82, b"\0\xff")].concat() {
        raw.send([byte]);
    }
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    assert!(matches!(probed.next("open"), Event::Open(_)));
    probed.expect_message(&b"\0\xff"[..]);
}

// None, unless `select_subprotocol` picks one of the offered ones.
#[test]
fn subprotocols_as_a_table() {
    let last: Choose = |offered| offered.last().map(|name| (*name).to_owned());
    let joined: Choose = |offered| (offered == ["a", "b", "c"]).then(|| "b".to_owned());
    let never: Choose = |_| None;
    let empty: Choose = |offered| offered.is_empty().then(|| "none offered".to_owned());
    for (case, choose, offers, chosen) in [
        ("the default chooses none", Script::default().choose, &["a, b"][..], None),
        ("none is picked", never, &["a, b"], None),
        ("the last", last, &["a, b"], Some("b")),
        ("the only one", last, &["chat.v2"], Some("chat.v2")),
        ("without spaces", last, &["a,b,c"], Some("c")),
        ("in several lines", joined, &["a", "b,c"], Some("b")),
        ("empty members do not count", joined, &["a,, b ,c,"], Some("b")),
        ("the case is kept", last, &["CHAT"], Some("CHAT")),
        ("nothing offered", last, &[], None),
    ] {
        let served = Served::start(Script { choose, ..Script::default() });
        let mut raw = served.client(handshake("/ws", &[("Sec-WebSocket-Protocol", offers)]));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{case}: {head}");
        assert_eq!(header_values(&head, "Sec-WebSocket-Protocol"), chosen.as_slice(), "{case}");
    }
    let other: Choose = |_| Some("mqtt".to_owned());
    let part: Choose = |_| Some("cha".to_owned());
    let injects: Choose = |_| Some("chat\r\nSet-Cookie: a=b".to_owned());
    for (case, choose, offers) in [
        ("one that was not offered", other, &["chat"][..]),
        ("part of one that was", part, &["chat"]),
        ("one in place of none", empty, &[]),
        ("an injected line", injects, &["chat"]),
    ] {
        let served = Served::start(Script { choose, ..Script::default() });
        let mut raw = served.client(handshake("/ws", &[("Sec-WebSocket-Protocol", offers)]));
        assert_refused(&mut raw, 500, "Internal Server Error", case);
        drop(raw);
        assert_eq!(served.events_to_the_end(), [], "{case}: open has not run, so on_close does not");
    }
}

#[test]
fn open_can_refuse_with_a_status_and_on_close_does_not_run() {
    type Refusal = fn() -> Error;
    let table: [(Refusal, u16, &str); 8] = [
        (|| Error::refused(400, "Not like this"), 400, "Not like this"),
        (|| Error::refused(401, "Who are you?"), 401, "Who are you?"),
        (|| Error::refused(403, "Not you"), 403, "Not you"),
        (|| Error::refused(404, "No such room: \"é\""), 404, "No such room: \"é\""),
        (|| Error::refused(503, "Later"), 503, "Later"),
        // Other errors do not go to the client, but to the log.
        (|| Error::invalid("for the log only"), 500, "Internal Server Error"),
        (|| Error::io("cannot ask the database")(std::io::Error::other("no")), 500, "Internal Server Error"),
        (|| Error::Closed, 500, "Internal Server Error"),
    ];
    for (refusal, status, text) in table {
        let (sender, shared) = crossbeam_channel::unbounded();
        let served = Served::open(move |connection, exchange| {
            // None of this reaches the client: a message before a refusal, a cookie.
            connection.write_message("unseen")?;
            exchange.set_cookie("unseen", "unseen")?;
            let _ = sender.send(connection.clone());
            Err(refusal())
        });
        let mut raw = served.client([upgrade("/ws", "").into_bytes(), masked(0x81, b"hi")].concat());
        assert_refused(&mut raw, status, text, text);
        drop(raw);
        let connection = shared.recv_timeout(DEADLINE).expect("open has run");
        eventually("the refused connection is closed", || connection.is_closed());
        assert!(matches!(connection.write_message("late"), Err(Error::Closed)), "{text}");
        assert_eq!(served.events_to_the_end(), [], "{text}");
    }
}

// A panicking handler ends its own connection. `open` may have shared the connection before, so it gets its `on_close`,
// once.
#[test]
fn a_panic_in_open_is_a_500_and_on_close_runs_once() {
    let served = Served::open(|connection, exchange| {
        if exchange.get_argument_or("panic", "")? == "yes" {
            connection.write_message("unseen")?;
            panic!("an open that panics on purpose");
        }
        Ok(())
    });
    let mut neighbour = served.client(upgrade("/ws", ""));
    assert!(neighbour.head().starts_with("HTTP/1.1 101 "));
    let mut raw = served.client(upgrade("/ws?panic=yes", ""));
    assert_refused(&mut raw, 500, "Internal Server Error", "panic");
    drop(raw);
    assert_eq!(served.events.recv_timeout(DEADLINE), Ok(Event::Close(None, None)));
    // Other clients, and the server, notice nothing.
    neighbour.send_frame(0x81, "still here");
    assert_eq!(served.events.recv_timeout(DEADLINE), Ok(Event::Message("still here".into())));
    assert!(served.client(upgrade("/ws", "")).head().starts_with("HTTP/1.1 101 "));
    neighbour.send_frame(0x88, "");
    assert_eq!(neighbour.frame(), frame(0x88, ""));
    let closes = served.events_to_the_end();
    // From the neighbour, and from the client after it: none from the one that panicked.
    assert_eq!(closes, vec![Event::Close(None, None); 2]);
}

#[test]
fn a_panic_before_open_is_a_500_and_on_close_does_not_run() {
    let in_origin = Script { origin: |_, _| panic!("a check that panics on purpose"), ..Script::default() };
    let in_choice = Script { choose: |_| panic!("a choice that panics on purpose"), ..Script::default() };
    for (case, script) in [("check_origin", in_origin), ("select_subprotocol", in_choice)] {
        let served = Served::start(script);
        let mut raw = served.client(handshake("/ws", &[("Origin", &["http://localhost:8888"])]));
        assert_refused(&mut raw, 500, "Internal Server Error", case);
        drop(raw);
        assert_eq!(served.events_to_the_end(), [], "{case}");
    }
}

// In Tornado's `open` cookies raise; in threadcast they are on the 101.
#[test]
fn headers_and_cookies_from_open_are_on_the_101() {
    let served = Served::open(|connection, exchange| {
        let known = exchange.get_secure_cookie("who")?.map(|who| String::from_utf8_lossy(&who).into_owned());
        connection.write_message(known.unwrap_or_else(|| "nobody".to_owned()))?;
        connection.write_message(exchange.get_cookie("plain").unwrap_or_else(|| "none".to_owned()))?;
        exchange.set_secure_cookie("who", "Zoë")?;
        exchange.set_cookie("plain", "replaced")?;
        exchange.set_cookie("plain", "a-b")?;
        exchange.set_header("X-Room", "7")?;
        exchange.set_header("x-room", "8")
    });
    let mut raw = served.client(upgrade("/ws", ""));
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(header_values(&head, "X-Room"), ["8"]);
    assert!(
        header_values(&head, "Content-Type").is_empty() && header_values(&head, "Content-Length").is_empty()
    );
    let cookies = header_values(&head, "Set-Cookie");
    assert_eq!(cookies.len(), 2, "{head}");
    assert!(cookies[0].starts_with("who=2|1:0|10:"), "{head}");
    assert!(cookies[1].starts_with("plain=a-b; "), "{head}");
    assert_eq!((raw.frame(), raw.frame()), (frame(0x81, "nobody"), frame(0x81, "none")));
    // The client sends them when it comes back.
    let pairs: Vec<_> = cookies.iter().filter_map(|line| line.split(';').next()).collect();
    let mut raw = served.client(upgrade("/ws", &format!("Cookie: {}\r\n", pairs.join("; "))));
    raw.head();
    assert_eq!((raw.frame(), raw.frame()), (frame(0x81, "Zoë"), frame(0x81, "a-b")));
}

#[test]
fn a_header_that_a_101_cannot_carry_is_a_500() {
    type Set = fn(&mut Exchange<'_>) -> Result<()>;
    // Whether `open` itself gets the error; if not, it has not refused, and `on_close` runs.
    let table: [(&str, bool, Set); 10] = [
        ("an injected line", false, |exchange| exchange.set_header("X", "a\r\nSet-Cookie: b=c")),
        ("a name with a line", false, |exchange| exchange.set_header("X: y\r\nZ", "a")),
        ("a name with a space", false, |exchange| exchange.set_header("X Y", "a")),
        ("not ASCII", false, |exchange| exchange.set_header("X", "\u{e9}")),
        ("an extension that is not there", true, |exchange| {
            exchange.set_header("Sec-WebSocket-Extensions", "permessage-deflate")
        }),
        ("the server's own header", true, |exchange| exchange.set_header("sec-websocket-accept", "a")),
        ("another of them", true, |exchange| exchange.set_header("Upgrade", "a")),
        ("a cookie with a semicolon", true, |exchange| exchange.set_cookie("a", "b; Domain=evil.example")),
        ("a cookie with a line", true, |exchange| exchange.set_cookie("a", "b\r\nX: y")),
        ("a cookie's name with a line", true, |exchange| exchange.set_cookie("a\r\nX", "b")),
    ];
    for (case, learns, set) in table {
        let served = Served::open(move |_, exchange| {
            let result = set(exchange);
            assert_eq!(result.is_err(), learns, "{case}");
            result
        });
        let mut raw = served.client(upgrade("/ws", ""));
        let head = assert_refused(&mut raw, 500, "Internal Server Error", case);
        assert!(header_values(&head, "Set-Cookie").is_empty(), "{case}: {head}");
        drop(raw);
        let closes = if learns { vec![] } else { vec![Event::Close(None, None)] };
        assert_eq!(served.events_to_the_end(), closes, "{case}");
    }
}

// Messages written in `open()` wait until the 101 is out.
#[test]
fn messages_written_in_open_arrive_behind_the_101() {
    let large = "x".repeat(200_000);
    let expected = large.clone();
    let served = Served::open(move |connection, _| {
        connection.write_message("first")?;
        // Another thread has the connection, and is done with it before `open` returns.
        std::thread::scope(|scope| {
            let other = scope.spawn(|| connection.write_message("second"));
            other.join().expect("does not panic")
        })?;
        connection.ping(b"third")?;
        connection.write_message(large.clone().into_bytes())
    });
    let mut raw = served.client(upgrade("/ws", ""));
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(raw.frame(), frame(0x81, "first"));
    assert_eq!(raw.frame(), frame(0x81, "second"));
    assert_eq!(raw.frame(), frame(0x89, "third"));
    assert_eq!(raw.frame(), frame(0x82, expected));
}

#[test]
fn open_can_close_and_the_close_arrives_behind_the_101() {
    let served = Served::open(|connection, _| {
        connection.write_message("sorry")?;
        connection.close(Some(4000), Some("full"))
    });
    let mut raw = served.client([upgrade("/ws", "").into_bytes(), masked(0x81, b"early")].concat());
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.frame(), frame(0x81, "sorry"));
    assert_eq!(raw.frame(), close_frame(4000, "full"));
    raw.send_frame(0x88, 4000_u16.to_be_bytes());
    assert_eq!(raw.rest(), b"");
    drop(raw);
    let expected = [Event::Message("early".into()), Event::Close(Some(4000), None)];
    assert_eq!(served.events_to_the_end(), expected);
}

// An `open` that blocks delays only its own client.
#[test]
fn an_open_that_blocks_delays_nobody_else() {
    let (release, blocked) = crossbeam_channel::bounded::<()>(0);
    let (entered, entries) = crossbeam_channel::unbounded();
    let served = Served::open(move |_, exchange| {
        if exchange.get_argument_or("block", "")? == "yes" {
            let _ = entered.send(());
            let _ = blocked.recv_timeout(DEADLINE);
        }
        Ok(())
    });
    let mut slow = served.client(upgrade("/ws?block=yes", ""));
    entries.recv_timeout(DEADLINE).expect("the slow one is in open");
    assert!(served.client(upgrade("/ws", "")).head().starts_with("HTTP/1.1 101 "));
    slow.stream.set_nonblocking(true).expect("sets O_NONBLOCK");
    let early = std::io::Read::read(&mut slow.stream, &mut [0]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "no 101 before open is done");
    slow.stream.set_nonblocking(false).expect("clears O_NONBLOCK");
    drop(release);
    assert!(slow.head().starts_with("HTTP/1.1 101 "));
}
