//! `tests/BEHAVIOUR.md`, *Paths and bodies*: path parameters, a handler's access to a body, and that the server never
//! reads part of a body as a second request.

use crate::support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Raw, frame, get, header_values, status, upgrade};
use threadcast::{
    Application, Connection, Error, Exchange, Message, Request, RequestHandler, Result, Server,
    WebSocketHandler,
};

/// The most bytes of a body here.
const MAX_BODY: usize = 1000;
/// How long a body may stand still.
const STANDSTILL: Duration = Duration::from_secs(10);
/// A kernel timer may be early by one tick.
const TICK: Duration = Duration::from_millis(50);

/// Answers with its request, and the body.
struct Mirror;

impl Mirror {
    fn answer(exchange: &mut Exchange<'_>) -> Result<()> {
        let body = String::from_utf8_lossy(exchange.body()).into_owned();
        exchange.write(format!("{} {body}", exchange.method().to_owned()));
        Ok(())
    }
}

impl RequestHandler for Mirror {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        Mirror::answer(exchange)
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        Mirror::answer(exchange)
    }
    fn put(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        Mirror::answer(exchange)
    }
    fn delete(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        Mirror::answer(exchange)
    }
    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD", "POST", "PUT", "DELETE"]
    }
}

/// Handles POST alone, and answers with the form or JSON that it got.
struct Push;

impl RequestHandler for Push {
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let text = match exchange.path_argument("kind") {
            "form" => exchange.get_body_argument("a")?,
            "all" => exchange.get_body_arguments("a")?.join("|"),
            "sum" => exchange.body_json::<Vec<i64>>()?.iter().sum::<i64>().to_string(),
            other => other.to_owned(),
        };
        exchange.write(text);
        Ok(())
    }
    fn methods(&self) -> &'static [&'static str] {
        &["POST"]
    }
    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        request.is_same_origin(origin) || origin == "https://friend.test"
    }
}

/// Accepts a request whose query says so, and notes that in a header.
struct Guarded(bool);

impl RequestHandler for Guarded {
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        assert!(exchange.body().is_empty(), "it is before the body");
        exchange.set_header("X-Prepared", "yes")?;
        match exchange.get_argument_or("as", "")?.as_str() {
            "friend" => self.0 = true,
            "panic" => panic!("as planned"),
            "broken" => return Err(Error::other("as planned")),
            "405" => return Err(Error::refused(405, "Not today")),
            _ => return Err(Error::refused(401, "Who are you?")),
        }
        Ok(())
    }
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write(format!("got {}", self.0));
        Ok(())
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let text = format!("took {} {}", self.0, exchange.body().len());
        exchange.write(text);
        Ok(())
    }
    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD", "POST"]
    }
}

/// A page and a WebSocket, with a parameter.
struct Room(String);

impl RequestHandler for Room {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let name = format!("page {}", exchange.path_argument("name"));
        exchange.write(name);
        Ok(())
    }
}

impl WebSocketHandler for Room {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        self.0 = exchange.path_argument("name").to_owned();
        connection.write_message(format!("room {}", self.0))
    }
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        Ok(())
    }
}

/// Asks for a parameter that its path does not have.
struct Mistaken;

impl RequestHandler for Mistaken {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.path_argument("nobody");
        Ok(())
    }
}

fn start() -> (Server, SocketAddr) {
    let application = Application::new()
        .max_body(MAX_BODY)
        .page("/mirror", || Mirror)
        .page("/push/{kind}", || Push)
        .page("/room/{name}", || Room(String::new()))
        .websocket("/room/{name}", || Room(String::new()))
        .page("/guarded", || Guarded(false))
        .page("/mistaken/{here}", || Mistaken)
        .websocket("/ws", || Room(String::new()));
    let server = Server::bind("127.0.0.1:0", application).expect("binds");
    let addr = server.local_addr();
    (server, addr)
}

fn request(method: &str, target: &str, lines: &str, body: &str) -> String {
    get(target, lines).replacen("GET", method, 1) + body
}

/// A POST with the length of its body.
fn post(target: &str, lines: &str, body: &str) -> String {
    request("POST", target, &format!("{lines}Content-Length: {}\r\n", body.len()), body)
}

/// The status, whether it is the connection's last, and the body of the next response.
fn answer(raw: &mut Raw) -> (u16, bool, String) {
    let (head, body) = raw.response();
    let last = header_values(&head, "Connection").contains(&"close");
    (status(&head), last, String::from_utf8(body).expect("is text"))
}

#[test]
fn a_body_reaches_its_method_and_the_next_request_follows_it() {
    let (_server, addr) = start();
    let mut raw = Raw::connect(addr);
    let full = "x".repeat(MAX_BODY);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, lines, body, seen) in [
        ("POST", "Content-Length: 5\r\n", "hello", "hello"),
        ("PUT", "Content-Length: 5\r\n", "hello", "hello"),
        ("DELETE", "Content-Length: 5\r\n", "hello", "hello"),
        ("DELETE", "", "", ""),
        ("POST", "", "", ""),
        ("POST", "Content-Length: 0\r\n", "", ""),
        ("POST", "Content-Length: 1000\r\n", &full, &full),
        ("POST", chunked, "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: y\r\n\r\n", "hello"),
        ("PUT", chunked, "0\r\n\r\n", ""),
        ("POST", chunked, &format!("3e8\r\n{full}\r\n0\r\n\r\n"), &full),
    ] {
        let both = request(method, "/mirror", lines, body) + &get("/mirror", "");
        raw.send(&both);
        let mut bytewise = Raw::connect(addr);
        both.bytes().for_each(|byte| bytewise.send([byte]));
        for raw in [&mut raw, &mut bytewise] {
            assert_eq!(answer(raw), (200, false, format!("{method} {seen}")), "{lines}{body:.40}");
            assert_eq!(answer(raw), (200, false, "GET ".to_owned()), "{lines}{body:.40}");
        }
    }
}

#[test]
fn forms_and_json_as_a_table() {
    let (_server, addr) = start();
    let mut raw = Raw::connect(addr);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    for (target, lines, body, expected, text) in [
        ("/push/form", form, "a=1&b=2&a=+%C3%A9+", 200, "é"),
        ("/push/form?a=query", form, "b=2", 400, "Missing argument a\n"),
        ("/push/form", "", "a=1", 400, "Missing argument a\n"),
        ("/push/form", form, "a=%ff", 400, "Invalid unicode in a\n"),
        ("/push/form", form, "a=\u{7f}\0x", 200, "\u{7f} x"),
        (
            "/push/all",
            "Content-Type: Application/X-WWW-Form-Urlencoded;charset=utf-8\r\n",
            "a=1&a=2&&a",
            200,
            "1|2|",
        ),
        ("/push/all", form, "", 200, ""),
        ("/push/sum", json, "[1, 2, 39]", 200, "42"),
        ("/push/sum", "Content-Type: application/vnd.x+json\r\n", "[]", 200, "0"),
        ("/push/sum", json, "[1, 2", 400, "Invalid JSON: EOF while parsing a list at line 1 column 5\n"),
        ("/push/sum", json, "", 400, "Invalid JSON: EOF while parsing a value at line 1 column 0\n"),
        (
            "/push/sum",
            "Content-Type: text/plain\r\n",
            "[1]",
            415,
            "The Content-Type has to be application/json.\n",
        ),
        ("/push/sum", "", "[1]", 415, "The Content-Type has to be application/json.\n"),
    ] {
        raw.send(post(target, lines, body));
        assert_eq!(answer(&mut raw), (expected, false, text.to_owned()), "{target} {lines}{body}");
    }
    raw.send(post("/push/form", "Content-Type: multipart/form-data; boundary=x\r\n", "--x"));
    let (status, last, text) = answer(&mut raw);
    assert!(status == 415 && last && text.starts_with("multipart/form-data is not supported"), "{text}");
}

#[test]
fn bodies_that_are_refused_as_a_table() {
    let (_server, addr) = start();
    let smuggled = get("/mirror", "");
    let mut cases = vec![
        ("Content-Length: 1001\r\n", "", 413),
        ("Content-Length: 18446744073709551615\r\n", "", 413),
        ("Transfer-Encoding: chunked\r\n", "3e9\r\n", 413),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n", 413),
    ];
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Content-Length: 5\r\n",
    ] {
        cases.push((lines, "0\r\n\r\n", 400));
    }
    cases.push(("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", 501));
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\n folded\r\n\r\n",
    ] {
        cases.push(("Transfer-Encoding: chunked\r\n", body, 400));
    }
    for (lines, body, expected) in cases {
        for method in ["POST", "PUT", "DELETE"] {
            let mut raw = Raw::connect(addr);
            raw.send(request(method, "/mirror", lines, body) + &smuggled);
            let (status, last, text) = answer(&mut raw);
            assert_eq!((status, last), (expected, true), "{method} {lines:?} {body:?}: {text}");
            assert_eq!(raw.rest(), b"", "{method} {lines:?} {body:?}");
        }
    }
    let mut raw = Raw::connect(addr);
    raw.send("POST /mirror HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(status(&raw.head()), 400, "chunked in HTTP/1.0");
}

#[test]
fn a_body_where_none_belongs_is_refused_and_the_last_of_its_connection() {
    let (_server, addr) = start();
    for (case, bytes, expected) in [
        ("GET", request("GET", "/mirror", "Content-Length: 5\r\n", "hello"), 400),
        ("HEAD", request("HEAD", "/mirror", "Content-Length: 5\r\n", "hello"), 400),
        ("OPTIONS", request("OPTIONS", "/mirror", "Content-Length: 5\r\n", "hello"), 400),
        ("an upgrade", upgrade("/ws", "Content-Length: 5\r\n") + "hello", 400),
        ("a chunked upgrade", upgrade("/ws", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400),
        ("an unknown path", post("/none", "", "hello"), 404),
        ("another method", request("PATCH", "/mirror", "Content-Length: 5\r\n", "hello"), 405),
        ("a WebSocket's route", post("/ws", "", "hello"), 405),
    ] {
        let mut raw = Raw::connect(addr);
        raw.send(bytes + &get("/mirror", ""));
        let head = raw.head();
        assert_eq!(status(&head), expected, "{case}");
        assert_eq!(header_values(&head, "Connection"), ["close"], "{case}");
        let rest = raw.rest();
        assert!(!rest.windows(9).any(|nine| nine == b"HTTP/1.1 "), "{case}");
    }
}

#[test]
fn a_100_is_sent_when_the_body_is_going_to_be_read_and_only_then() {
    let (_server, addr) = start();
    let expect = "Expect: 100-Continue\r\n";
    let mut raw = Raw::connect(addr);
    raw.send(request("POST", "/mirror", &format!("{expect}Content-Length: 5\r\n"), ""));
    assert_eq!(raw.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    raw.send("hello");
    assert_eq!(answer(&mut raw), (200, false, "POST hello".to_owned()));
    raw.send(request("POST", "/mirror", expect, ""));
    assert_eq!(answer(&mut raw), (200, false, "POST ".to_owned()), "without a body");
    for (case, method, target, lines, expected) in [
        ("too large", "POST", "/mirror", "Content-Length: 1001\r\n", 413),
        ("cross-origin", "POST", "/mirror", "Content-Length: 5\r\nOrigin: http://evil\r\n", 403),
        ("multipart", "POST", "/mirror", "Content-Length: 5\r\nContent-Type: multipart/form-data\r\n", 415),
        ("an unknown path", "POST", "/none", "Content-Length: 5\r\n", 404),
        ("another method", "PATCH", "/mirror", "Content-Length: 5\r\n", 405),
    ] {
        let mut raw = Raw::connect(addr);
        raw.send(request(method, target, &format!("{expect}{lines}"), ""));
        let (status, last, _) = answer(&mut raw);
        assert_eq!((status, last), (expected, true), "{case}");
    }
    let mut raw = Raw::connect(addr);
    raw.send(request("POST", "/mirror", "Expect: tea\r\nContent-Length: 5\r\n", ""));
    assert_eq!(answer(&mut raw).0, 417);
    let mut raw = Raw::connect(addr);
    raw.send("POST /mirror HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(answer(&mut raw), (200, true, "POST hello".to_owned()), "HTTP/1.0 knows no 100");
}

#[test]
fn a_body_that_stands_still_is_408_and_a_client_that_leaves_in_it_is_gone() {
    let (server, addr) = start();
    let mut raw = Raw::connect(addr);
    let begun = Instant::now();
    raw.send(request("POST", "/mirror", "Content-Length: 5\r\n", "hell"));
    let (status, last, text) = answer(&mut raw);
    assert_eq!((status, last, text.as_str()), (408, true, "The body came too slowly.\n"));
    assert!(begun.elapsed() >= STANDSTILL - TICK, "{:?}", begun.elapsed());
    drop(raw);
    let mut raw = Raw::connect(addr);
    raw.send(request("POST", "/mirror", "Content-Length: 5\r\n", "hell"));
    drop(raw);
    support::eventually("all clients are gone", || server.stats().clients == 0);
}

#[test]
fn a_cross_origin_request_is_403_unless_the_handler_allows_it() {
    let (_server, addr) = start();
    for (target, lines, expected) in [
        ("/mirror", "", 200),
        ("/mirror", "Origin: http://localhost\r\n", 200),
        ("/mirror", "Origin: http://evil.test\r\n", 403),
        ("/mirror", "Origin: null\r\n", 403),
        ("/push/x", "Origin: https://friend.test\r\n", 200),
        ("/push/x", "Origin: https://evil.test\r\n", 403),
    ] {
        let mut raw = Raw::connect(addr);
        raw.send(post(target, lines, "hello"));
        assert_eq!(answer(&mut raw).0, expected, "{target} {lines}");
    }
    let mut raw = Raw::connect(addr);
    raw.send(get("/mirror", "Origin: http://evil.test\r\n"));
    assert_eq!(answer(&mut raw).0, 200, "an allowed client may GET");
}

#[test]
fn options_and_allow_name_the_methods_of_the_handler() {
    let (_server, addr) = start();
    let mut raw = Raw::connect(addr);
    for (target, allow) in [
        ("/mirror", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        ("/push/x", "POST, OPTIONS"),
        ("/room/x", "GET, HEAD, OPTIONS"),
        ("/ws", "GET, OPTIONS"),
        ("*", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    ] {
        raw.send(request("OPTIONS", target, "", ""));
        let head = raw.head();
        assert_eq!(status(&head), 204, "{target}");
        assert_eq!(header_values(&head, "Allow"), [allow], "{target}");
        assert!(header_values(&head, "Content-Length").is_empty(), "{head}");
    }
    raw.send(request("OPTIONS", "/none", "", ""));
    assert_eq!(answer(&mut raw).0, 404);
    for (method, target, allow) in [
        ("GET", "/push/x", "POST, OPTIONS"),
        ("POST", "/room/x", "GET, HEAD, OPTIONS"),
        ("BREW", "/mirror", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        ("POST", "/ws", "GET, OPTIONS"),
    ] {
        raw.send(request(method, target, "", ""));
        let (head, _) = raw.response();
        assert_eq!(
            (status(&head), &header_values(&head, "Allow")[..]),
            (405, &[allow][..]),
            "{method} {target}"
        );
    }
}

#[test]
fn a_path_parameter_is_a_whole_segment_percent_decoded() {
    let (_server, addr) = start();
    let mut raw = Raw::connect(addr);
    for (target, expected, text) in [
        ("/room/a", 200, "page a"),
        ("/room/a?x=/", 200, "page a"),
        ("http://h/room/a", 200, "page a"),
        ("/room/%C3%A9%20b%2Fc+d", 200, "page é b/c+d"),
        ("/room/%2e%2e", 200, "page .."),
        ("/room/{name}", 200, "page {name}"),
        ("/room/", 404, "404: Not Found\n"),
        ("/room", 404, "404: Not Found\n"),
        ("/room/a/", 404, "404: Not Found\n"),
        ("/room/a/b", 404, "404: Not Found\n"),
    ] {
        raw.send(get(target, ""));
        assert_eq!(answer(&mut raw), (expected, false, text.to_owned()), "{target}");
    }
    raw.send(get("/mistaken/x", ""));
    assert_eq!(answer(&mut raw).0, 500);
    raw.send(get("/room/%ff", ""));
    assert_eq!(answer(&mut raw), (400, true, "Invalid unicode in name\n".to_owned()));
}

#[test]
fn one_path_has_a_page_and_a_websocket_and_upgrade_chooses() {
    let (_server, addr) = start();
    let mut raw = Raw::connect(addr);
    raw.send(get("/room/a%20b", "Upgrade: h2c\r\n"));
    assert_eq!(answer(&mut raw).2, "page a b");
    raw.send(request("HEAD", "/room/ab", "", ""));
    assert_eq!(status(&raw.head()), 200);
    raw.send(upgrade("/room/a%20b", ""));
    assert_eq!(status(&raw.head()), 101);
    assert_eq!(raw.frame(), frame(0x81, "room a b"));
    let mut raw = Raw::connect(addr);
    raw.send(get("/room/a", "Upgrade: websocket\r\n"));
    assert_eq!(answer(&mut raw).0, 400, "what the WebSocket says");
}

#[test]
fn two_routes_at_one_path_are_a_panic_that_names_it() {
    type Build = fn() -> Application;
    let build: [(&str, Build); 4] = [
        ("there are two pages at /a", || Application::new().page("/a", || Push).page("/a", || Push)),
        ("there are two WebSockets at /a/{b}", || {
            let room = || Room(String::new());
            Application::new().websocket("/a/{b}", room).websocket("/a/{b}", room)
        }),
        ("the path /a/{c} conflicts with /a/{b}", || {
            Application::new().page("/a/{b}", || Push).websocket("/a/{c}", || Room(String::new()))
        }),
        ("/echo instead of echo", || Application::new().page("echo", || Push)),
    ];
    for (expected, build) in build {
        let panic = std::panic::catch_unwind(build).expect_err("panics");
        let text = panic.downcast_ref::<String>().expect("has a text");
        assert!(text.contains(expected), "{text}");
    }
}

/// A POST of `length` bytes, of which only `sent` come.
fn posted(server: &Server, length: usize, sent: usize) -> Raw {
    let mut client = Raw::connect(server.local_addr());
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
        "x".repeat(sent)
    ));
    client
}

/// The limit for all bodies is 1 MiB.
fn mirror() -> Server {
    let application = Application::new().page("/", || Mirror).max_body(4 << 20).max_buffered(1 << 20);
    Server::bind("127.0.0.1:0", application).unwrap()
}

#[test]
fn a_body_without_room_gets_503_if_nobody_holds_more() {
    let server = mirror();
    let head = posted(&server, 2 << 20, 2 << 20).head();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 5\r\n"), "{head}");
    assert!(posted(&server, 1000, 1000).head().starts_with("HTTP/1.1 200 "));
    assert!(posted(&server, 900 << 10, 900 << 10).head().starts_with("HTTP/1.1 200 "), "all is given back");
    assert_eq!(server.stats().disconnects.gave_way, 0);
}

#[test]
fn a_holder_of_incomplete_bodies_gives_way_to_a_newcomer() {
    let server = mirror();
    let mut parts: Vec<_> = (0..3)
        .map(|_| {
            let part = posted(&server, 400 << 10, 300 << 10);
            support::eventually("it is read", || support::on_its_way(server.local_addr()) == 0);
            part
        })
        .collect();
    for gone in 1..=2 {
        assert!(posted(&server, 300 << 10, 300 << 10).head().starts_with("HTTP/1.1 200 "));
        let head = parts.remove(0).head();
        assert_eq!(status(&head), 413, "{head}");
        assert_eq!(header_values(&head, "Connection"), ["close"]);
        assert_eq!(header_values(&head, "Retry-After"), ["5"]);
        support::eventually("it is counted", || server.stats().disconnects.gave_way == gone);
        parts.push(posted(&server, 400 << 10, 300 << 10));
        support::eventually("it is read", || support::on_its_way(server.local_addr()) == 0);
    }
    for part in &mut parts {
        part.send("x".repeat(100 << 10));
        assert_eq!(status(&part.head()), 200, "all others go on");
    }
    assert_eq!(server.stats().disconnects.gave_way, 2);
}

#[test]
fn prepare_runs_before_the_body_is_read_and_its_error_is_the_answer() {
    let (_server, addr) = start();
    // The body does not come, so an answer to the first five has not waited for it.
    let waiting = "Content-Length: 900\r\n";
    for (method, who, lines, body, expected, text) in [
        ("POST", "nobody", waiting, "", 401, "Who are you?\n"),
        ("POST", "nobody", "Content-Length: 900\r\nExpect: 100-continue\r\n", "", 401, "Who are you?\n"),
        // Refused before the length matters.
        ("POST", "nobody", "Content-Length: 5000\r\n", "", 401, "Who are you?\n"),
        ("POST", "broken", waiting, "", 500, "Internal Server Error\n"),
        ("POST", "panic", waiting, "", 500, "Internal Server Error\n"),
        ("POST", "nobody", "Content-Length: 2\r\n", "hi", 401, "Who are you?\n"),
        ("POST", "friend", "Content-Length: 2\r\n", "hi", 200, "took true 2"),
        ("POST", "friend", "Content-Length: 5000\r\n", "", 413, "The body is larger than the limit.\n"),
        ("GET", "nobody", "", "", 401, "Who are you?\n"),
        ("GET", "friend", "", "", 200, "got true"),
        ("DELETE", "friend", "", "", 405, "405: Method Not Allowed\n"),
    ] {
        let mut raw = Raw::connect(addr);
        raw.send(request(method, &format!("/guarded?as={who}"), lines, body));
        let (head, found) = raw.response();
        let what = format!("{method} {who} {lines}");
        assert_eq!((status(&head), &*String::from_utf8_lossy(&found)), (expected, text), "{what}");
        // The headers that it has set go with the answer, unless it fails.
        let is_kept = expected != 500 && expected != 413;
        assert_eq!(header_values(&head, "X-Prepared").len(), usize::from(is_kept), "{what}: {head}");
        let is_the_last = !lines.is_empty() && expected != 200;
        assert_eq!(header_values(&head, "Connection") == ["close"], is_the_last, "{what}: {head}");
        if !is_the_last {
            raw.send(get("/guarded?as=friend", ""));
            assert_eq!(raw.response().1, b"got true", "{what}");
        }
    }
    let mut raw = Raw::connect(addr);
    raw.send(request("OPTIONS", "/guarded?as=nobody", "", ""));
    assert_eq!(status(&raw.head()), 204, "OPTIONS needs no name");
    raw.send(request("PUT", "/guarded?as=405", "", ""));
    let (head, _) = raw.response();
    assert_eq!((status(&head), header_values(&head, "Allow")), (405, vec!["GET, HEAD, POST, OPTIONS"]));
}
