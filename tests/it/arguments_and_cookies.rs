//! `tests/BEHAVIOUR.md`, *Arguments* and *Cookies*: over the wire, and beside a real Tornado, installed from PyPI into
//! a virtual environment under `target/`. Each side reads the other's signatures.

use crate::support;
use support::python;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde_json::{Value, json};
use threadcast::{
    Application, Connection, CookieAttributes, CookieSecret, Error, Exchange, Message, RequestHandler,
    Result, SameSite, Server, WebSocketHandler, create_signed_value, decode_signed_value, xhtml_escape,
};

use python::python;
use support::{Program, Raw, frame, get, header_values, upgrade};

const SECRET: &str = "It's a secret to everybody";
const DAY: u64 = 86_400;
/// More than the clocks of a test may differ, in seconds.
const SLACK: u64 = 60;

/// The counterpart of [`threadcast_application`] in Tornado. Its argument is an object: a name and a `cookie_secret`
/// for each server; the keys of a dict of secrets are strings there. It ends when its input does, so that it cannot
/// outlive its test.
const TORNADO_SERVERS: &str = r#"
import asyncio, json, os, sys
from tornado.escape import xhtml_escape
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

class Argument(RequestHandler):
    def get(self): self.write(self.get_argument("Id"))
class Arguments(RequestHandler):
    def get(self): self.write(json.dumps(self.get_arguments("Id")))
class Default(RequestHandler):
    def get(self): self.write(self.get_argument("Id", "a default"))
class Set(RequestHandler):
    def get(self): self.set_cookie(self.get_argument("name"), self.get_argument("value"))
class Get(RequestHandler):
    def get(self): self.write(json.dumps(self.get_cookie(self.get_argument("name"))))
class Sign(RequestHandler):
    def get(self): self.set_secure_cookie(self.get_argument("name"), self.get_argument("value"))
def text(value): return json.dumps(value and value.decode())
class Read(RequestHandler):
    def get(self): self.write(text(self.get_secure_cookie(self.get_argument("name"))))
class Socket(WebSocketHandler):
    def open(self): self.write_message(text(self.get_secure_cookie("who")))
class Escape(RequestHandler):
    def get(self): self.write(xhtml_escape(self.get_argument("text")))
DOES = [
    lambda h: h.set_cookie("k", "v", httponly=True, samesite="Lax"),
    lambda h: h.set_cookie("k", "v", domain="b.test", path="/a", secure=True, samesite="None"),
    lambda h: h.set_cookie("k", "v", expires_days=7, httponly=True, samesite="Strict"),
    lambda h: h.set_secure_cookie("k", "v", expires_days=None, httponly=True, samesite="Lax"),
    lambda h: h.set_secure_cookie("k", "v", expires_days=2, path="/b", httponly=True, samesite="Lax"),
    lambda h: h.clear_cookie("k", httponly=True, samesite="Lax"),
    lambda h: h.clear_cookie("k", path="/a", domain="b.test", httponly=True, samesite="Lax"),
    lambda h: h.redirect("/new?a=b"),
    lambda h: h.redirect("https://other.test/", permanent=True),
    lambda h: h.redirect("see", status=303),
]
class Does(RequestHandler):
    def get(self): DOES[int(self.get_argument("row"))](self)

ROUTES = [("/escape", Escape), ("/does", Does)] + [("/argument", Argument), ("/arguments", Arguments), ("/default", Default), ("/set", Set),
          ("/get", Get), ("/sign", Sign), ("/read", Read), ("/ws", Socket)]

async def main():
    for name, secret, version in json.loads(sys.argv[1]):
        if isinstance(secret, dict):
            secret = {int(key): value for key, value in secret.items()}
        sockets = bind_sockets(0, "127.0.0.1")
        HTTPServer(Application(ROUTES, cookie_secret=secret, key_version=version)).add_sockets(sockets)
        print("tornado", name, "is at", sockets[0].getsockname()[1], flush=True)
    asyncio.get_running_loop().add_reader(0, lambda: os.read(0, 1) or os._exit(0))
    await asyncio.Event().wait()
asyncio.run(main())
"#;

/// Tornado's two functions, for rows on its input: `["sign", secret, key version, name, value in hex,
/// time]` returns a string, `["decode", secret, name, signed, days, time]` returns hex or null.
const TORNADO_FUNCTIONS: &str = r#"
import json, sys
from tornado.web import create_signed_value, decode_signed_value
def secret(given):
    return {int(key): value for key, value in given.items()} if isinstance(given, dict) else given
def run(what, *row):
    if what == "sign":
        keys, version, name, value, now = row
        value = bytes.fromhex(value)
        return create_signed_value(secret(keys), name, value, 2, lambda: now, version).decode()
    keys, name, signed, days, now = row
    value = decode_signed_value(secret(keys), name, signed, days, lambda: now)
    return None if value is None else value.hex()
print(json.dumps([run(*row) for row in json.load(sys.stdin)]))
"#;

/// Tornado's answers to rows for [`TORNADO_FUNCTIONS`].
fn ask_tornado(rows: &[Value]) -> Vec<Option<String>> {
    let mut command = Command::new(python());
    command.args(["-c", TORNADO_FUNCTIONS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("starts Python");
    let input = Value::from(rows).to_string();
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("writes to Python");
    let output = child.wait_with_output().expect("reads from Python");
    let answers: Vec<Option<String>> = serde_json::from_slice(&output.stdout).expect("Tornado's answers");
    assert_eq!(answers.len(), rows.len());
    answers
}

/// A cookie secret in Tornado's form: one string, or strings by key version and the version that signs.
#[derive(Clone, Copy)]
enum Keys {
    One(&'static str),
    Many(&'static [(u32, &'static str)], u32),
}

impl Keys {
    fn secret(self) -> CookieSecret {
        match self {
            Keys::One(secret) => CookieSecret::new(secret),
            Keys::Many(secrets, current) => CookieSecret::rotating(secrets.iter().copied(), current),
        }
        .expect("is a secret")
    }

    /// `cookie_secret` and `key_version`.
    fn json(self) -> (Value, Option<u32>) {
        match self {
            Keys::One(secret) => (json!(secret), None),
            Keys::Many(secrets, current) => {
                let secrets = secrets.iter().map(|(version, secret)| (version.to_string(), json!(secret)));
                (Value::Object(secrets.collect()), Some(current))
            }
        }
    }
}

/// A process with a Tornado server for each of these, by name.
struct Tornado(Program);

impl Tornado {
    fn start(servers: &[(&str, Keys)]) -> Tornado {
        let rows: Vec<_> = servers
            .iter()
            .map(|(name, keys)| {
                let (secret, version) = keys.json();
                json!([name, secret, version])
            })
            .collect();
        let mut command = Command::new(python());
        command.args(["-c", TORNADO_SERVERS, &Value::from(rows).to_string()]).stdin(Stdio::piped());
        Tornado(Program::spawn(&mut command))
    }

    fn addr(&self, name: &str) -> SocketAddr {
        let line = self.0.wait_for_line(&format!("tornado {name} is at "));
        let port = line.split(' ').next_back().and_then(|port| port.parse().ok()).expect("a port");
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

/// A page made of a function.
struct Page(fn(&mut Exchange<'_>) -> Result<()>);

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        (self.0)(exchange)
    }
}

/// Tornado's counterparts, row by row.
const DOES: [fn(&mut Exchange<'_>) -> Result<()>; 10] = [
    |exchange| exchange.set_cookie("k", "v"),
    |exchange| {
        let attributes =
            CookieAttributes::new().path("/a").domain("b.test").secure().same_site(SameSite::None);
        exchange.set_cookie_with("k", "v", &attributes.readable_by_scripts())
    },
    |exchange| {
        let attributes = CookieAttributes::new().expires_days(7).same_site(SameSite::Strict);
        exchange.set_cookie_with("k", "v", &attributes)
    },
    |exchange| exchange.set_secure_cookie_with("k", "v", &CookieAttributes::new().until_the_browser_closes()),
    |exchange| exchange.set_secure_cookie_with("k", "v", &CookieAttributes::new().expires_days(2).path("/b")),
    |exchange| exchange.clear_cookie("k"),
    |exchange| exchange.clear_cookie_with("k", &CookieAttributes::new().path("/a").domain("b.test")),
    |exchange| exchange.redirect("/new?a=b"),
    |exchange| exchange.redirect_with(301, "https://other.test/"),
    |exchange| exchange.redirect_with(303, "see"),
];

/// Answers with its argument and the name in the cookie; sets one on request.
struct Socket;

impl WebSocketHandler for Socket {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        match exchange.get_argument_or("sign", "")?.as_str() {
            "" => {}
            who => exchange.set_secure_cookie("who", who)?,
        }
        match exchange.path() {
            "/ws/argument" => connection.write_message(exchange.get_argument("Id")?),
            _ => connection.write_message(Message::json(&text(exchange.get_secure_cookie("who")?))?),
        }
    }
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        Ok(())
    }
}

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|value| String::from_utf8(value).expect("is UTF-8"))
}

fn threadcast_application() -> Application {
    fn write_json(exchange: &mut Exchange<'_>, value: &impl serde::Serialize) -> Result<()> {
        exchange.write(serde_json::to_vec(value).expect("has a JSON form"));
        Ok(())
    }
    Application::new()
        .page("/argument", || {
            Page(|exchange| {
                let value = exchange.get_argument("Id")?;
                exchange.write(value);
                Ok(())
            })
        })
        .page("/arguments", || {
            Page(|exchange| {
                let values = exchange.get_arguments("Id")?;
                write_json(exchange, &values)
            })
        })
        .page("/default", || {
            Page(|exchange| {
                let value = exchange.get_argument_or("Id", "a default")?;
                exchange.write(value);
                Ok(())
            })
        })
        .page("/set", || {
            Page(|exchange| {
                exchange.set_cookie(&exchange.get_argument("name")?, &exchange.get_argument("value")?)
            })
        })
        .page("/get", || {
            Page(|exchange| {
                let value = exchange.get_cookie(&exchange.get_argument("name")?);
                write_json(exchange, &value)
            })
        })
        .page("/sign", || {
            Page(|exchange| {
                exchange.set_secure_cookie(&exchange.get_argument("name")?, exchange.get_argument("value")?)
            })
        })
        .page("/read", || {
            Page(|exchange| {
                let value = exchange.get_secure_cookie(&exchange.get_argument("name")?)?;
                write_json(exchange, &text(value))
            })
        })
        .page("/escape", || {
            Page(|exchange| {
                let text = exchange.get_argument("text")?;
                exchange.write(xhtml_escape(&text));
                Ok(())
            })
        })
        .page("/does", || {
            Page(|exchange| {
                let row: usize = exchange.get_argument("row")?.parse().map_err(Error::other)?;
                DOES[row](exchange)
            })
        })
        .websocket("/ws", || Socket)
        .websocket("/ws/argument", || Socket)
}

/// A threadcast server with that application.
fn threadcast(keys: Keys) -> Server {
    Server::bind("127.0.0.1:0", threadcast_application().cookie_secret(keys.secret())).expect("binds")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Status, head and body of the answer to a GET.
fn fetch(addr: SocketAddr, target: &str, lines: &str) -> (u16, String, Vec<u8>) {
    let mut raw = Raw::connect(addr);
    raw.send(get(target, lines));
    let (head, body) = raw.response();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head, body)
}

/// The body of a 200, as JSON.
fn fetch_json(addr: SocketAddr, target: &str, lines: &str) -> Value {
    let (status, head, body) = fetch(addr, target, lines);
    assert_eq!(status, 200, "{target} {lines}: {head}");
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{target} {lines}: {error}"))
}

/// Escapes every character that has a meaning in a query.
fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// `Cookie: name=value`, as a browser sends it after this response.
fn cookie_line(head: &str) -> String {
    let pairs = header_values(head, "Set-Cookie").into_iter().filter_map(|line| line.split(';').next());
    let pairs: Vec<_> = pairs.collect();
    assert!(!pairs.is_empty(), "no cookie in {head}");
    format!("Cookie: {}\r\n", pairs.join("; "))
}

/// The result of query `?...` in each of them: the value of `Id`, or the status of the refusal.
const ARGUMENTS: [(&str, Result<&str, u16>); 32] = [
    ("?Id=A", Ok("A")),
    ("?Id=A&Id=B", Ok("B")),
    ("?Id=A&Id=", Ok("")),
    ("?x=1&Id=A&y=2", Ok("A")),
    ("?&&Id=A&", Ok("A")),
    ("?Id=a+b%20c", Ok("a b c")),
    ("?Id=a%2Bb", Ok("a+b")),
    ("?Id=%E4%BD%A0%e5%a5%bd", Ok("你好")),
    ("?Id=你", Ok("你")),
    ("?Id=++a%20%09", Ok("a")),
    ("?Id=%C2%A0a%E3%80%80", Ok("a")),
    ("?Id=%20", Ok("")),
    ("?Id=a%00b%0Ac%1Fd", Ok("a b\nc d")),
    ("?Id=%01a%01", Ok("a")),
    ("?Id=a%7F%C2%85b", Ok("a\u{7f}\u{85}b")),
    ("?Id=", Ok("")),
    ("?Id", Ok("")),
    ("?Id&Id=A&Id", Ok("")),
    ("?Id=a;x=1", Ok("a;x=1")),
    ("?x=1;Id=A", Err(400)),
    ("?Id=a%zzb%", Ok("a%zzb%")),
    ("?Id=%4", Ok("%4")),
    ("?Id=%%41", Ok("%A")),
    ("?Id=%2541", Ok("%41")),
    ("?Id=a=b?c", Ok("a=b?c")),
    ("?%49d=A", Ok("A")),
    ("?+Id=A", Err(400)),
    ("?id=A", Err(400)),
    ("?ID=A", Err(400)),
    ("?", Err(400)),
    ("?Id=%ff", Err(400)),
    ("?Id=%E4%BD&Id=A", Err(400)),
];

// `get_argument`, in a page and in `open`.
#[test]
fn arguments_as_a_table() {
    let server = threadcast(Keys::One(SECRET));
    let addr = server.local_addr();
    for (query, expected) in ARGUMENTS.into_iter().chain([("", Err(400))]) {
        let (status, head, body) = fetch(addr, &format!("/argument{query}"), "");
        let body = String::from_utf8(body).expect("is UTF-8");
        let mut raw = Raw::connect(addr);
        raw.send(upgrade(&format!("/ws/argument{query}"), ""));
        match expected {
            Ok(value) => {
                assert_eq!((status, body.as_str()), (200, value), "{query}: {head}");
                assert!(raw.head().starts_with("HTTP/1.1 101 "), "{query}");
                assert_eq!(raw.frame(), frame(0x81, value), "{query}");
            }
            Err(refused) => {
                let utf8 = !query.contains("Id=%ff") && !query.contains("%BD&");
                let text = if utf8 { "Missing argument Id\n" } else { "Invalid unicode in Id\n" };
                assert_eq!((status, body.as_str()), (refused, text), "{query}: {head}");
                let (head, body) = raw.response();
                assert!(head.starts_with(&format!("HTTP/1.1 {refused} ")), "{query}: {head}");
                assert_eq!(body, text.as_bytes(), "{query}");
                assert_eq!(raw.rest(), b"", "{query}");
            }
        }
    }
}

// A default, and all values.
#[test]
fn an_argument_may_have_a_default_or_many_values() {
    let server = threadcast(Keys::One(SECRET));
    for (target, expected) in [
        ("/default?Id=A", "A"),
        ("/default?Id=", ""),
        ("/default?id=A", "a default"),
        ("/default", "a default"),
        ("/arguments", "[]"),
        ("/arguments?id=A", "[]"),
        ("/arguments?Id=A", r#"["A"]"#),
        ("/arguments?Id=+c&x=1&Id&%49d=a+b&Id=c", r#"["c","","a b","c"]"#),
    ] {
        let (status, _, body) = fetch(server.local_addr(), target, "");
        assert_eq!((status, &*String::from_utf8_lossy(&body)), (200, expected), "{target}");
    }
    for target in ["/default?Id=%ff", "/arguments?Id=A&Id=%ff"] {
        assert_eq!(fetch(server.local_addr(), target, "").0, 400, "{target}");
    }
    // An argument that no handler reads may be anything.
    assert_eq!(fetch(server.local_addr(), "/argument?Id=A&x=%ff", "").2, b"A");
}

// The same table, and Tornado itself.
#[test]
fn tornado_parses_every_argument_alike() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    let (theirs, ours) = (tornado.addr("one"), ours.local_addr());
    for (query, expected) in ARGUMENTS {
        let (status, head, body) = fetch(theirs, &format!("/argument{query}"), "");
        match expected {
            Ok(value) => {
                assert_eq!((status, &*String::from_utf8_lossy(&body)), (200, value), "{query}: {head}");
                let target = format!("/arguments{query}");
                assert_eq!(fetch_json(theirs, &target, ""), fetch_json(ours, &target, ""), "{query}");
            }
            Err(refused) => assert_eq!(status, refused, "{query}: {head}"),
        }
    }
}

/// Names, values and times to sign.
fn signed_samples() -> Vec<(&'static str, Vec<u8>, u64)> {
    vec![
        ("key", b"value".to_vec(), 1_300_000_000),
        ("key", Vec::new(), 1_300_000_000),
        ("k", (0..=255).collect(), 0),
        ("a-b_c.d!#$%&'*+^`~", b"2|1:0|10:1300000000|3:key|".to_vec(), 1),
        ("who", "Zoë 你好".as_bytes().to_vec(), 1_795_371_245),
        ("long", vec![b'x'; 3000], 9_999_999_999),
        ("a|b:c", b"1:2|3".to_vec(), 1_300_000_000),
    ]
}

const ROTATING: Keys = Keys::Many(&[(1, "one"), (2, "two"), (10, "ten")], 10);

// The signed values are equal byte for byte, and each side reads the other's.
#[test]
fn tornado_signs_equal_bytes_and_both_read_each_others_cookies() {
    for keys in [Keys::One(SECRET), ROTATING, Keys::Many(&[(0, "zero"), (7, "seven")], 0)] {
        let (secret, version) = keys.json();
        let (mut sign, mut decode) = (Vec::new(), Vec::new());
        let samples = signed_samples();
        for (name, value, now) in &samples {
            sign.push(json!(["sign", secret, version, name, data_encoding::HEXLOWER.encode(value), now]));
            let ours = create_signed_value(&keys.secret(), name, value, *now);
            decode.push(json!(["decode", secret, name, ours, 31, now]));
        }
        let (signed, decoded) = (ask_tornado(&sign), ask_tornado(&decode));
        for ((name, value, now), (signed, decoded)) in samples.iter().zip(signed.iter().zip(decoded)) {
            let signed = signed.as_deref().expect("Tornado signs");
            assert_eq!(signed, create_signed_value(&keys.secret(), name, value, *now), "{name}");
            let ours = decode_signed_value(&keys.secret(), name, signed, 31.0, *now);
            assert_eq!(ours.as_ref(), Some(value), "{name}");
            assert_eq!(decoded, Some(data_encoding::HEXLOWER.encode(value)), "{name}");
        }
    }
    // The value in the table of behaviour.
    let signed = create_signed_value(&Keys::One(SECRET).secret(), "key", b"value", 1_300_000_000);
    assert_eq!(
        signed,
        "2|1:0|10:1300000000|3:key|8:dmFsdWU=|3d4e60b996ff9c5d5788e333a0cba6f238a22c6c0f94788870e1a9ecd482e152"
    );
}

// How long values are valid, and forgeries. Tornado agrees on all rows but one.
#[test]
fn tornado_accepts_and_refuses_signed_values_as_we_do() {
    let at = 1_300_000_000;
    let keys = Keys::One(SECRET);
    let signed = create_signed_value(&keys.secret(), "key", b"value", at);
    let other = |name: &str, secret: &str| {
        create_signed_value(&CookieSecret::new(secret).expect("is a secret"), name, b"value", at)
    };
    let same = |text: &str| text.to_owned();
    let table = [
        ("as signed", same(&signed), 31.0, at, true),
        ("at exactly 31 days", same(&signed), 31.0, at + 31 * DAY, true),
        ("a second later", same(&signed), 31.0, at + 31 * DAY + 1, false),
        ("at exactly half a day", same(&signed), 0.5, at + DAY / 2, true),
        ("a second past half a day", same(&signed), 0.5, at + DAY / 2 + 1, false),
        ("a day ahead", same(&signed), 31.0, at - DAY, true),
        ("another name", other("yek", SECRET), 31.0, at, false),
        ("a name that begins the same", other("key2", SECRET), 31.0, at, false),
        ("another secret", other("key", "another"), 31.0, at, false),
        ("the last digit changed", signed.replace("e152", "e153"), 31.0, at, false),
        ("the signature cut", signed[..signed.len() - 1].to_owned(), 31.0, at, false),
        ("no signature", signed[..signed.len() - 64].to_owned(), 31.0, at, false),
        ("one digit more", format!("{signed}0"), 31.0, at, false),
        ("an upper-case signature", signed.replace("|3d4e60b9", "|3D4E60B9"), 31.0, at, false),
        ("the time changed", signed.replace("10:13", "10:14"), 31.0, at, false),
        ("the key version changed", signed.replace("2|1:0", "2|1:1"), 31.0, at, false),
        ("the value changed", signed.replace("dmFs", "dmFt"), 31.0, at, false),
        ("a length changed", signed.replace("|8:", "|9:"), 31.0, at, false),
        ("a pipe in place of a colon", signed.replace("3:key", "3|key"), 31.0, at, false),
        ("a space before it", format!(" {signed}"), 31.0, at, false),
        ("no version", signed[2..].to_owned(), 31.0, at, false),
        ("empty", String::new(), 31.0, at, false),
        ("only pipes", same("2|||||"), 31.0, at, false),
        ("a negative length", same("2|-1:0|"), 31.0, at, false),
        ("a length past the end", same("2|1:0|10:1300000000|999:key|"), 31.0, at, false),
    ];
    let rows: Vec<_> = table
        .iter()
        .map(|(_, signed, days, now, _)| json!(["decode", SECRET, "key", signed, days, now]))
        .collect();
    for ((case, signed, days, now, valid), theirs) in table.iter().zip(ask_tornado(&rows)) {
        let ours = decode_signed_value(&keys.secret(), "key", signed, *days, *now);
        assert_eq!(ours, valid.then(|| b"value".to_vec()), "{case}");
        assert_eq!(theirs.is_some(), *valid, "{case}, in Tornado");
    }
    // The one row: a time from far ahead.
    for (ahead, valid) in [(31 * DAY, true), (31 * DAY + 1, false)] {
        let ours = decode_signed_value(&keys.secret(), "key", &signed, 31.0, at - ahead);
        assert_eq!(ours.is_some(), valid, "{ahead} s ahead");
    }
}

// Key rotation, a dict of secrets with key versions, between servers.
#[test]
fn keys_rotate_across_tornado_and_threadcast() {
    let servers = [
        ("single", Keys::One("one")),
        ("old", Keys::Many(&[(1, "one")], 1)),
        ("both", Keys::Many(&[(1, "one"), (2, "two")], 2)),
        ("new", Keys::Many(&[(2, "two")], 2)),
    ];
    // Which side reads which cookie: with one key, any key version; with several, the known ones.
    let readers = |signer: &str| match signer {
        "single" => &["single"][..],
        "old" => &["single", "old", "both"],
        _ => &["both", "new"],
    };
    let tornado = Tornado::start(&servers);
    let ours: Vec<_> = servers.iter().map(|(_, keys)| threadcast(*keys)).collect();
    let mut all = Vec::new();
    for ((name, _), server) in servers.iter().zip(&ours) {
        all.push((*name, "tornado", tornado.addr(name)));
        all.push((*name, "threadcast", server.local_addr()));
    }
    for (signer, signing, at) in &all {
        let (status, head, _) = fetch(*at, &format!("/sign?name=who&value={}", encode("Zoë")), "");
        assert_eq!(status, 200, "{head}");
        for (reader, reading, at) in &all {
            let who = fetch_json(*at, "/read?name=who", &cookie_line(&head));
            let expected = readers(signer).contains(reader).then_some("Zoë");
            assert_eq!(who, json!(expected), "{signer} of {signing} read by {reader} of {reading}");
        }
    }
}

// Between WebSockets too, where Tornado can read them but not set them.
#[test]
fn cookies_pass_between_the_pages_and_websockets_of_both() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    let (theirs, ours) = (tornado.addr("one"), ours.local_addr());
    let open = |addr: SocketAddr, target: &str, cookies: &str| {
        let mut raw = Raw::connect(addr);
        raw.send(upgrade(target, cookies));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{target}: {head}");
        (head, raw.frame())
    };
    let known = frame(0x81, serde_json::to_vec("anna").expect("has a JSON form"));
    for signing in [theirs, ours] {
        let (_, head, _) = fetch(signing, "/sign?name=who&value=anna", "");
        for reading in [theirs, ours] {
            assert_eq!(open(reading, "/ws", &cookie_line(&head)).1, known);
        }
    }
    let (head, frame_before) = open(ours, "/ws?sign=anna", "");
    assert_eq!(frame_before, frame(0x81, "null"));
    for reading in [theirs, ours] {
        assert_eq!(open(reading, "/ws", &cookie_line(&head)).1, known);
        assert_eq!(fetch_json(reading, "/read?name=who", &cookie_line(&head)), json!("anna"));
    }
}

// 31 days by a server's own clock, forgeries, and at most 31 days ahead.
#[test]
fn an_old_forged_or_future_secure_cookie_does_not_count() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    let (theirs, ours) = (tornado.addr("one"), ours.local_addr());
    let secret = Keys::One(SECRET).secret();
    let sign = |name: &str, at: u64| create_signed_value(&secret, name, b"anna", at);
    let now = now();
    let fresh = sign("who", now);
    for (case, signed, by_us, by_tornado) in [
        ("fresh", fresh.clone(), true, true),
        ("almost 31 days old", sign("who", now - 31 * DAY + SLACK), true, true),
        ("past 31 days old", sign("who", now - 31 * DAY - SLACK), false, false),
        ("31 days ahead", sign("who", now + 31 * DAY - SLACK), true, true),
        ("further ahead", sign("who", now + 31 * DAY + SLACK), false, true),
        ("signed for another name", sign("how", now), false, false),
        (
            "signed by another",
            create_signed_value(&CookieSecret::new("x").unwrap(), "who", b"anna", now),
            false,
            false,
        ),
        ("not signed", "anna".to_owned(), false, false),
        ("cut", fresh[..fresh.len() - 1].to_owned(), false, false),
        ("empty", String::new(), false, false),
    ] {
        let line = format!("Cookie: who={signed}\r\n");
        for (which, addr, valid) in [("threadcast", ours, by_us), ("Tornado", theirs, by_tornado)] {
            let who = fetch_json(addr, "/read?name=who", &line);
            assert_eq!(who, json!(valid.then_some("anna")), "{case}, {which}");
        }
    }
    assert_eq!(fetch_json(ours, "/read?name=who", ""), Value::Null);
}

/// The result of `Cookie: ...` in each of them: the value of `k`.
const COOKIES: [(&str, Option<&str>); 29] = [
    ("k=v", Some("v")),
    ("a=1; k=v; b=2", Some("v")),
    ("a=1;k=v;b=2", Some("v")),
    ("k=1; k=2", Some("2")),
    ("k=1; k=", Some("")),
    ("k=", Some("")),
    ("k", None),
    ("  k =  v  ; x=y", Some("v")),
    ("k=a=b==", Some("a=b==")),
    ("K=v", None),
    ("xk=v", None),
    ("k2=v", None),
    ("=k; a", None),
    (";;; ;k=v;", Some("v")),
    ("k=a b", Some("a b")),
    ("k=a,b", Some("a,b")),
    ("k=%41+", Some("%41+")),
    (r#"k="v""#, Some("v")),
    (r#"k="""#, Some("")),
    (r#"k=""#, Some("\"")),
    (r#"k="v"#, Some("\"v")),
    (r#"k=a"b"c"#, Some("a\"b\"c")),
    (r#"k="a\054b\073c""#, Some("a,b;c")),
    (r#"k="q\"q\\""#, Some("q\"q\\")),
    (r#"k="\351\303\251""#, Some("éÃ©")),
    (r#"k="\400\08\1""#, Some("400081")),
    (r#"k="\\054""#, Some("\\054")),
    (r#"k="a\""#, Some("a\\")),
    (r"k=a\054b", Some(r"a\054b")),
];

// Tornado reads every `Cookie` line as we do.
#[test]
fn tornado_reads_every_cookie_line_alike() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    for (cookies, expected) in COOKIES {
        let line = format!("Cookie: {cookies}\r\n");
        for (which, addr) in [("Tornado", tornado.addr("one")), ("threadcast", ours.local_addr())] {
            assert_eq!(fetch_json(addr, "/get?name=k", &line), json!(expected), "{cookies} in {which}");
        }
    }
}

// As above: a cookie that another site of the domain has set must not hide ours.
#[test]
fn a_cookie_that_is_not_ascii_hides_no_other() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    for cookies in ["k=v; other=Zoë", "other=你; k=v", "Zoë=1; k=v"] {
        let line = format!("Cookie: {cookies}\r\n");
        for (which, addr) in [("Tornado", tornado.addr("one")), ("threadcast", ours.local_addr())] {
            assert_eq!(fetch_json(addr, "/get?name=k", &line), json!("v"), "{cookies} in {which}");
        }
    }
}

// A gateway turns one HTTP/2 cookie header into several `Cookie` lines (RFC 9113, section 8.2.3).
#[test]
fn several_cookie_lines_are_one() {
    let ours = threadcast(Keys::One(SECRET));
    for (lines, expected) in [
        ("Cookie: a=1\r\nCookie: k=v\r\n", Some("v")),
        ("Cookie: k=v\r\nCookie: a=1\r\n", Some("v")),
        ("cookie: k=1\r\nCOOKIE: k=2\r\n", Some("2")),
        ("", None),
    ] {
        assert_eq!(fetch_json(ours.local_addr(), "/get?name=k", lines), json!(expected), "{lines}");
    }
}

// Plain ones, with values that Tornado has to quote, from its server to ours and back.
#[test]
fn plain_cookies_pass_between_tornado_and_threadcast() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    let (theirs, ours) = (tornado.addr("one"), ours.local_addr());
    let set =
        |addr: SocketAddr, value: &str| fetch(addr, &format!("/set?name=k&value={}", encode(value)), "");
    // Values that a cookie carries unquoted: both set them, both read them.
    let plain = "!#$%&'()*+-./0123456789:<=>?@ABCXYZ[]^_`abcxyz{|}~";
    for value in ["v", "", plain, "2|1:0|10:1300000000|3:key|8:dmFsdWU=|"] {
        for (setting, at) in [("Tornado", theirs), ("threadcast", ours)] {
            let (status, head, _) = set(at, value);
            assert_eq!(status, 200, "{value} by {setting}: {head}");
            for (reading, at) in [("Tornado", theirs), ("threadcast", ours)] {
                let read = fetch_json(at, "/get?name=k", &cookie_line(&head));
                assert_eq!(read, json!(value), "{value} from {setting} to {reading}");
            }
        }
    }
    // Values that Tornado quotes: threadcast reads them, but does not set them, because a secure cookie can carry them.
    for value in ["a,b", "x;y", "q\"q", "back\\slash", "\\054", "\"v\"", "Zoë", "\\\"", "a;\\b,\"c\\\\"] {
        let (status, head, _) = set(theirs, value);
        assert_eq!(status, 200, "{value}: {head}");
        // A quoted value has no semicolon, so the line can be cut at one.
        let line = cookie_line(&head);
        assert!(line.starts_with("Cookie: k=\""), "{line}");
        for (reading, at) in [("Tornado", theirs), ("threadcast", ours)] {
            assert_eq!(fetch_json(at, "/get?name=k", &line), json!(value), "{value} in {reading}");
        }
        let (status, head, body) = set(ours, value);
        assert_eq!((status, &body[..]), (500, &b"Internal Server Error\n"[..]), "{value}");
        assert!(header_values(&head, "Set-Cookie").is_empty(), "{value}: {head}");
    }
}

/// A `Set-Cookie` line in parts: the pair, and its attributes with their names in lower case, sorted.
fn parts(line: &str) -> (String, Vec<(String, String)>) {
    let mut parts = line.split(';').map(str::trim);
    let pair = parts.next().unwrap_or_default().to_owned();
    let split = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.to_lowercase(), value.to_owned())
    };
    let mut attributes: Vec<_> = parts.map(split).collect();
    attributes.sort();
    (pair, attributes)
}

// `Set-Cookie` as Tornado writes it, with `HttpOnly; SameSite=Lax` added.
#[test]
fn set_cookie_is_tornados_line_with_two_more_attributes() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    let line = |addr: SocketAddr| {
        let (_, head, _) = fetch(addr, "/sign?name=who&value=anna", "");
        let lines = header_values(&head, "Set-Cookie");
        assert_eq!(lines.len(), 1, "{head}");
        (lines[0].to_owned(), header_values(&head, "Date")[0].to_owned())
    };
    let mut attributes = Vec::new();
    for addr in [tornado.addr("one"), ours.local_addr()] {
        let (line, date) = line(addr);
        let (pair, mut own) = parts(&line);
        assert!(pair.starts_with("who=2|1:0|10:") || pair.starts_with("who=\"2|1:0|10:"), "{line}");
        let expires = own.iter_mut().find(|(name, _)| name == "expires").expect("expires");
        // RFC 9110, section 5.6.7, has one form for both.
        assert!(expires.1.ends_with(" GMT") && expires.1.len() == date.len(), "{line}");
        let time = |text: &str| DateTime::parse_from_rfc2822(text).expect("is a date").timestamp() as u64;
        let seconds = time(&expires.1) - time(&date);
        assert!((30 * DAY - SLACK..=30 * DAY + SLACK).contains(&seconds), "{line} at {date}");
        expires.1 = "30 days".to_owned();
        attributes.push(own);
    }
    let (theirs, mut ours) = (attributes.remove(0), attributes.remove(0));
    for added in [("httponly", ""), ("samesite", "Lax")] {
        let added = (added.0.to_owned(), added.1.to_owned());
        let at = ours.iter().position(|attribute| *attribute == added);
        ours.remove(at.unwrap_or_else(|| panic!("{added:?} in {ours:?}")));
    }
    assert_eq!(ours, theirs);
}

// Bad cookie secrets, and a missing one, are errors with a message; this test shows the client's side.
#[test]
fn without_a_secret_a_secure_cookie_is_a_500_and_a_plain_one_is_fine() {
    let server = Server::bind("127.0.0.1:0", threadcast_application()).expect("binds");
    let addr = server.local_addr();
    for target in ["/sign?name=who&value=anna", "/read?name=who"] {
        let (status, head, body) = fetch(addr, target, "");
        assert_eq!((status, &body[..]), (500, &b"Internal Server Error\n"[..]), "{target}");
        assert!(header_values(&head, "Set-Cookie").is_empty(), "{target}: {head}");
    }
    let (status, head, _) = fetch(addr, "/set?name=k&value=v", "");
    assert_eq!(status, 200);
    assert_eq!(fetch_json(addr, "/get?name=k", &cookie_line(&head)), json!("v"));
    for name in ["a b", "a;b", "a=b", "", "é", "a\r\nSet-Cookie: x"] {
        let (status, head, _) = fetch(addr, &format!("/set?name={}&value=v", encode(name)), "");
        assert_eq!(status, 500, "{name:?}");
        assert!(header_values(&head, "Set-Cookie").is_empty(), "{name:?}: {head}");
    }
}

// Attributes, clearing a cookie, redirects: both send equal heads, except for the order of attributes.
#[test]
fn cookie_attributes_and_redirects_are_what_tornado_writes() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    let time = |text: &str| DateTime::parse_from_rfc2822(text).expect("is a date").timestamp();
    for row in 0..DOES.len() {
        let answer = |addr: SocketAddr| {
            let (status, head, _) = fetch(addr, &format!("/does?row={row}"), "");
            let date = time(header_values(&head, "Date")[0]);
            let location: Vec<_> = header_values(&head, "Location").into_iter().map(str::to_owned).collect();
            let cookies = header_values(&head, "Set-Cookie").into_iter().map(|line| {
                let (pair, mut attributes) = parts(line);
                for (name, value) in attributes.iter_mut().filter(|(name, _)| name == "expires") {
                    let days = (time(value) - date) as f64 / DAY as f64;
                    *value = format!("in {} days", days.round());
                    assert!(
                        (days - days.round()).abs() * (DAY as f64) < SLACK as f64,
                        "{name} {value} {days}"
                    );
                }
                // The signed value contains the time; Tornado quotes an empty one.
                (pair.split('|').next().unwrap_or_default().replace('"', ""), attributes)
            });
            (status, location, cookies.collect::<Vec<_>>())
        };
        let (status, location, cookies) = answer(ours.local_addr());
        assert!([200, 301, 302, 303].contains(&status) && location.len() + cookies.len() == 1, "row {row}");
        assert_eq!((status, location, cookies), answer(tornado.addr("one")), "row {row}");
    }
}

#[test]
fn text_is_escaped_for_a_page_as_by_tornado() {
    let tornado = Tornado::start(&[("one", Keys::One(SECRET))]);
    let ours = threadcast(Keys::One(SECRET));
    for (text, expected) in [
        ("<script>alert('me')</script>", "&lt;script&gt;alert(&#x27;me&#x27;)&lt;/script&gt;"),
        (r#""a" & b"#, "&quot;a&quot; &amp; b"),
        ("&amp;", "&amp;amp;"),
        ("Zoë 你 `=/", "Zoë 你 `=/"),
        ("", ""),
    ] {
        for addr in [ours.local_addr(), tornado.addr("one")] {
            let (_, _, body) = fetch(addr, &format!("/escape?text={}", encode(text)), "");
            assert_eq!(String::from_utf8_lossy(&body), expected, "{text} at {addr}");
        }
    }
}

/// A handler's function, its status and cookie by http, and both behind a proxy that does TLS.
type Cookie = (fn(&mut Exchange<'_>) -> Result<()>, (u16, &'static str), (u16, &'static str));

const LAX: &str = "HttpOnly; SameSite=Lax; Path=/";
/// Bytes of a value whose signed form is over 4,096.
const TOO_LONG_TO_SIGN: usize = 3100;

// The server reports cookies that the browser would silently drop. Clearing a cookie adds the attributes that its name
// demands.
#[test]
fn a_cookie_that_browsers_drop_is_a_500_and_clearing_one_does_as_its_name_demands() {
    const DROPPED: (u16, &str) = (500, "");
    let table: [Cookie; 13] = [
        (|e| e.set_cookie("__Host-a", "v"), DROPPED, (200, "__Host-a=v; LAX; Secure")),
        (|e| e.set_cookie("__host-a", "v"), DROPPED, (200, "__host-a=v; LAX; Secure")),
        (|e| e.set_cookie("__Secure-a", "v"), DROPPED, (200, "__Secure-a=v; LAX; Secure")),
        (
            |e| e.set_cookie_with("__Host-a", "v", &CookieAttributes::new().secure()),
            (200, "__Host-a=v; LAX; Secure"),
            (200, "__Host-a=v; LAX; Secure"),
        ),
        (
            |e| e.set_cookie_with("__Host-a", "v", &CookieAttributes::new().secure().domain("b.test")),
            DROPPED,
            DROPPED,
        ),
        (
            |e| e.set_cookie_with("__Host-a", "v", &CookieAttributes::new().secure().path("/a")),
            DROPPED,
            DROPPED,
        ),
        (|e| e.set_secure_cookie("__Host-a", "v"), DROPPED, (200, "__Host-a=2")),
        (|e| e.set_cookie("a", &"v".repeat(4096)), DROPPED, DROPPED),
        (|e| e.set_secure_cookie("a", vec![b'v'; TOO_LONG_TO_SIGN]), DROPPED, DROPPED),
        (
            |e| e.clear_cookie("__Host-sid"),
            (200, "__Host-sid=; LAX; Secure; Expires"),
            (200, "__Host-sid=; LAX; Secure; Expires"),
        ),
        (
            |e| e.clear_cookie_with("__Host-sid", &CookieAttributes::new().path("/a").domain("b.test")),
            (200, "__Host-sid=; LAX; Secure; Expires"),
            (200, "__Host-sid=; LAX; Secure; Expires"),
        ),
        (
            |e| e.clear_cookie("__Secure-sid"),
            (200, "__Secure-sid=; LAX; Secure; Expires"),
            (200, "__Secure-sid=; LAX; Secure; Expires"),
        ),
        (|e| e.clear_cookie("sid"), (200, "sid=; LAX; Expires"), (200, "sid=; LAX; Secure; Expires")),
    ];
    for (row, (function, plain, behind_tls)) in table.into_iter().enumerate() {
        let application = Application::new().page("/page", move || Page(function));
        let application = application.cookie_secret(Keys::One(SECRET).secret());
        let server =
            Server::bind("127.0.0.1:0", application.xheaders([[127, 0, 0, 1].into()])).expect("binds");
        for (lines, (expected, cookie)) in [("", plain), ("X-Forwarded-Proto: https\r\n", behind_tls)] {
            let (status, head, _) = fetch(server.local_addr(), "/page", lines);
            assert_eq!(status, expected, "row {row} {lines}: {head}");
            let set = header_values(&head, "Set-Cookie").join("|");
            assert_eq!(set.is_empty(), cookie.is_empty(), "row {row} {lines}: {set}");
            assert!(set.starts_with(&cookie.replace("LAX", LAX)), "row {row} {lines}: {set}");
        }
    }
    // As long as it may be.
    let longest: fn(&mut Exchange<'_>) -> Result<()> = |e| e.set_cookie("a", &"v".repeat(4095));
    let server = Server::bind("127.0.0.1:0", Application::new().page("/page", move || Page(longest)));
    assert_eq!(fetch(server.expect("binds").local_addr(), "/page", "").0, 200);
}

#[test]
fn over_https_only_every_cookie_is_secure() {
    let application =
        threadcast_application().cookie_secret(Keys::One(SECRET).secret()).cookies_over_https_only();
    let server = Server::bind("127.0.0.1:0", application).expect("binds");
    for target in (0..7).map(|row| format!("/does?row={row}")) {
        let (_, head, _) = fetch(server.local_addr(), &target, "");
        let line = header_values(&head, "Set-Cookie")[0];
        assert!(parts(line).1.contains(&("secure".to_owned(), String::new())), "{line}");
    }
    let mut raw = Raw::connect(server.local_addr());
    raw.send(upgrade("/ws?sign=anna", ""));
    let head = raw.head();
    assert!(header_values(&head, "Set-Cookie")[0].contains("; Secure"), "{head}");
}
