//! `tests/BEHAVIOUR.md`, *Messages*: text of a client that a handler returns in an error is one line of the log.

mod support;
use support::python;

use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use support::{Raw, close_frame, get, upgrade};
use threadcast::{
    Application, Connection, Error, Exchange, Message, Messages, RequestHandler, Result, Server,
    WebSocketHandler, printable,
};

/// The log, with the level before each line.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        LINES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }
    fn flush(&self) {}
}

/// Characters that are invisible, or that reverse a line.
const UNSEEN: &str = "\u{61c}\u{200b}\u{ad}\u{feff}\u{180e}\u{e0041}\u{202e}\u{2028}\u{378}";
/// Their escaped forms.
const SEEN: &str = r"\u{61c}\u{200b}\u{ad}\u{feff}\u{180e}\u{e0041}\u{202e}\u{2028}\u{378}";

/// Fails with the client's text.
struct Fails;

impl WebSocketHandler for Fails {
    fn open(&mut self, _: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        match exchange.get_argument_or("fail", "")?.as_str() {
            "" => Ok(()),
            text => Err(Error::other(format!("in open: {text}"))),
        }
    }
    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        assert!(message.as_text() != Some("panic"), "{UNSEEN} \"quoted\"");
        Err(Error::other(format!("in on_message: {message}")))
    }
}

impl RequestHandler for Fails {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        Err(Error::refused(404, format!("in get: {}", exchange.path_argument("what"))))
    }
}

/// Writes the other clients' messages to the first one.
struct Forwards(Arc<OnceLock<Connection>>);

impl WebSocketHandler for Forwards {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.0.get_or_init(|| connection.clone());
        Ok(())
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        if message.as_text() == Some("here?") {
            return connection.write_message("here");
        }
        self.0.get().expect("somebody is the first").write_message(message)
    }
}

/// How functions end, and how their clients are closed. Of those that are loud the log has an error.
const ENDS: [(&str, u16, &str); 7] = [
    ("ok", 1000, ""),
    ("code", 4000, "mine"),
    ("late", 1008, "timed out"),
    ("behind-its-own", 4001, ""),
    ("loud-code", 1011, "internal error"),
    ("loud-error", 1011, "internal error"),
    ("loud-panic", 1011, "internal error"),
];

fn end(how: &str, connection: &Connection, messages: &mut Messages) -> Result<()> {
    match how {
        "ok" => Ok(()),
        "code" => Err(Error::closing(4000, "mine")),
        "late" => messages.recv_timeout(Duration::from_millis(1)).map(drop),
        "behind-its-own" => {
            connection.close(Some(4001), None)?;
            connection.write_message("too late")
        }
        "loud-code" => Err(Error::closing(1006, "nobody may send this")),
        "loud-error" => Err(Error::invalid("as planned")),
        _ => panic!("as planned"),
    }
}

#[test]
fn an_error_with_a_clients_line_end_is_one_line_of_the_log() {
    log::set_logger(&Collector).expect("is the first");
    log::set_max_level(LevelFilter::Debug);
    let first = Arc::<OnceLock<Connection>>::default();
    let forwards = first.clone();
    let application = Application::new()
        .websocket("/ws", || Fails)
        .websocket("/ws/{path}", || Fails)
        .page("/page/{what}", || Fails)
        .websocket_with("/ends/{how}", |exchange| {
            let how = exchange.path_argument("how").to_owned();
            Ok(move |connection: &Connection, messages: &mut Messages| end(&how, connection, messages))
        })
        .websocket("/forward", move || Forwards(forwards.clone()));
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let answer = |request: String| {
        let mut client = Raw::connect(server.local_addr());
        client.send(request);
        client.head()
    };
    assert!(answer(get("/page/a%0Aforged", "")).starts_with("HTTP/1.1 404 "));
    // As in Tornado, most control characters of an argument become spaces; a line end does not, and neither do those of
    // a message.
    assert!(answer(upgrade("/ws?fail=b%1B%0Aforged", "")).starts_with("HTTP/1.1 500 "));
    let mut client = Raw::websocket(server.local_addr(), "/ws");
    client.send_frame(0x81, "c\r\n\u{1b}[31mforged");
    assert_eq!(client.frame(), close_frame(1011, "internal error"));
    let unseen: String = UNSEEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert!(answer(get(&format!("/page/{unseen}"), "")).starts_with("HTTP/1.1 404 "));
    for said in ["panic", &format!("{UNSEEN}{}", "x".repeat(5000))] {
        let mut client = Raw::websocket(server.local_addr(), &format!("/ws/{unseen}"));
        client.send_frame(0x81, said);
        assert_eq!(client.frame(), close_frame(1011, "internal error"));
    }
    // The end of one connection does not end another one, but shows there.
    let mut gone = Raw::websocket(server.local_addr(), "/forward");
    let mut other = Raw::websocket(server.local_addr(), "/forward");
    gone.send_frame(0x88, "");
    assert_eq!(gone.rest(), [0x88, 0]);
    support::eventually("the first one is closed", || first.get().is_some_and(Connection::is_closed));
    other.send_frame(0x81, "for the first");
    other.send_frame(0x81, "here?");
    assert_eq!(other.frame(), support::frame(0x81, "here"));
    // An end that a handler has chosen is not a failure.
    for (how, code, reason) in ENDS {
        let mut client = Raw::websocket(server.local_addr(), &format!("/ends/{how}"));
        assert_eq!(client.frame(), close_frame(code, reason), "{how}");
    }
    server.shutdown();
    let lines = LINES.lock().unwrap();
    for (how, ..) in ENDS {
        let of = |line: &&String| line.starts_with("ERROR") && line.contains(&format!(" /ends/{how})"));
        let errors: Vec<_> = lines.iter().filter(of).collect();
        assert_eq!(errors.len(), usize::from(how.starts_with("loud")), "{how}: {errors:#?}");
    }
    let (page, panicked) =
        (format!("in get: {SEEN}"), format!("): the handler panicked in on_message: {SEEN} \"quoted\""));
    let long = format!("in on_message: {SEEN}xxx");
    assert!(
        lines.iter().any(|line| line.contains(&long) && line.ends_with("xxx...") && line.len() < 2200),
        "{lines:#?}"
    );
    for text in [
        "in get: a\\nforged",
        "in open: b \\nforged",
        r"in on_message: c\r\n\u{1b}[31mforged",
        &page,
        &panicked,
    ] {
        assert!(lines.iter().any(|line| line.ends_with(text)), "{text} in {lines:#?}");
    }
    let is_unseen = |c: char| c.is_control() || UNSEEN.contains(c);
    assert!(!lines.iter().any(|line| line.contains(is_unseen)), "{lines:#?}");
    let ended = "on_message failed with the error of another connection, and goes on with the next message: the connection is closed";
    assert_eq!(lines.iter().filter(|line| line.ends_with(ended)).count(), 1, "{lines:#?}");
}

#[test]
fn characters_of_the_categories_cc_cf_zl_zp_and_cn_are_escaped_and_no_others() {
    const SCRIPT: &str = "import sys, unicodedata\n\
        print(' '.join(unicodedata.category(chr(c)) for c in range(0x110000)))";
    let output = Command::new(python::python()).args(["-c", SCRIPT]).output().expect("python3 runs");
    let categories = String::from_utf8(output.stdout).expect("is ASCII");
    let (mut seen, mut newer) = (0, 0);
    for (code, category) in (0..).zip(categories.split_whitespace()) {
        // Surrogates are not characters.
        let Some(c) = char::from_u32(code) else { continue };
        let is_escaped = printable(c).to_string() != c.to_string();
        match category {
            // Python's table may be older than this compiler's.
            "Cn" => newer += usize::from(!is_escaped),
            "Cc" | "Cf" | "Zl" | "Zp" => assert!(is_escaped, "{code:x} {category}"),
            _ => assert!(!is_escaped, "{code:x} {category}"),
        }
        seen += 1;
    }
    assert!(seen == 0x11_0000 - 0x800 && newer < 50_000, "{seen} {newer}");
}
