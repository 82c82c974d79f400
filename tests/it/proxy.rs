//! `tests/BEHAVIOUR.md`, *Behind a proxy*: which headers the server trusts, and what never reaches the log.

use crate::support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use threadcast::{
    Application, Connection, Exchange, Message, RequestHandler, Result, Server, WebSocketHandler,
};

use support::{Program, Raw, frame, get, upgrade};

/// Answers with the client's address, and whether it came by HTTPS.
struct Who;

impl RequestHandler for Who {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let who = format!("{} {}", exchange.peer_addr().ip(), exchange.is_secure());
        exchange.write(who);
        Ok(())
    }
}

impl WebSocketHandler for Who {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        assert_eq!(connection.peer_addr(), exchange.peer_addr());
        connection.write_message(format!("{} {}", connection.peer_addr().ip(), exchange.is_secure()))
    }
    fn on_message(&mut self, connection: &Connection, _: Message) -> Result<()> {
        connection.write_message(connection.to_string())
    }
}

fn serve(settings: impl FnOnce(Application) -> Application) -> Server {
    let application = Application::new().page("/page", || Who).websocket("/ws", || Who);
    Server::bind("127.0.0.1:0", settings(application)).expect("binds")
}

/// The answers of a page, and of a WebSocket.
fn who(addr: SocketAddr, lines: &str) -> [String; 2] {
    let mut raw = Raw::connect(addr);
    raw.send(get("/page", lines) + &upgrade("/ws", lines));
    let (_, body) = raw.response();
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    [body, raw.frame().payload].map(|text| String::from_utf8(text).expect("is UTF-8"))
}

#[test]
fn only_a_trusted_proxy_sets_the_clients_address_and_scheme() {
    let off = serve(|application| application);
    let others = serve(|application| application.xheaders([IpAddr::from([10, 0, 0, 1])]));
    let trusted = serve(|application| application.xheaders([Ipv4Addr::LOCALHOST.into()]));
    let lines = "X-Forwarded-For: 10.9.9.9, 203.0.113.7\r\nX-Forwarded-Proto: https\r\n";
    for (case, server, expected) in [
        ("off", &off, "127.0.0.1 false"),
        ("another proxy", &others, "127.0.0.1 false"),
        ("trusted", &trusted, "203.0.113.7 true"),
    ] {
        assert_eq!(who(server.local_addr(), lines), [expected; 2], "{case}");
    }
    assert_eq!(who(trusted.local_addr(), "X-Forwarded-For: nobody\r\n"), ["127.0.0.1 false"; 2]);
    assert_eq!(who(trusted.local_addr(), ""), ["127.0.0.1 false"; 2]);
}

// One connection of the proxy may carry requests of many clients.
#[test]
fn each_request_of_a_proxys_connection_has_its_own_client_and_the_name_is_that_of_the_websockets() {
    let server = serve(|application| application.xheaders([Ipv4Addr::LOCALHOST.into()]));
    let mut raw = Raw::connect(server.local_addr());
    for (line, expected) in [
        ("X-Forwarded-For: 203.0.113.1\r\n", "203.0.113.1 false"),
        ("X-Forwarded-For: 203.0.113.2\r\nX-Forwarded-Proto: https\r\n", "203.0.113.2 true"),
        ("", "127.0.0.1 false"),
    ] {
        raw.send(get("/page", line));
        assert_eq!(String::from_utf8_lossy(&raw.response().1), expected);
    }
    raw.send(upgrade("/ws", "X-Forwarded-For: 203.0.113.3\r\n"));
    raw.head();
    assert_eq!(raw.frame(), frame(0x81, "203.0.113.3 false"));
    raw.send_frame(0x81, "your name?");
    let name = String::from_utf8(raw.frame().payload).expect("is UTF-8");
    assert!(name.ends_with(" (203.0.113.3:0 /ws)"), "{name}");
}

// If the scheme is known, a page by HTTP has another origin than one by HTTPS.
#[test]
fn behind_a_trusted_proxy_the_scheme_of_the_origin_counts() {
    let server = serve(|application| application.xheaders([Ipv4Addr::LOCALHOST.into()]));
    for (proto, origin, accepted) in [
        ("https", "https://localhost", true),
        ("https", "https://localhost:443", true),
        ("https", "http://localhost:443", false),
        ("http", "http://localhost", true),
        ("http", "https://localhost", false),
    ] {
        let mut raw = Raw::connect(server.local_addr());
        let lines = format!("X-Forwarded-Proto: {proto}\r\nOrigin: {origin}\r\n");
        raw.send(upgrade("/ws", &lines));
        let status = if accepted { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        let head = raw.head();
        assert!(head.starts_with(status), "{proto} {origin}: {head}");
    }
}

#[test]
fn no_line_of_the_log_has_a_query_a_cookie_or_a_token() {
    let program = Program::start(&["--logging", "debug", "--allow-origin", "https://friend.example"]);
    let lines = "Cookie: who=SECRET\r\nAuthorization: Bearer SECRET\r\n";
    let query = "/websocket?Id=A&token=SECRET";
    for request in [
        get("/?token=SECRET", lines),
        get("/none?token=SECRET", lines),
        get("/static/none?token=SECRET", lines),
        get(query, lines),
        get("/websocket?token=SECRET", lines),
        get("/?token=SECRET", lines).replacen("GET", "BREW", 1),
        get("/?token=SECRET HTTP/1.1", lines),
        get("/?token=SECRET", &format!("{lines}Host: b\r\n")),
        get("/?token=SECRET", &format!("{lines}X: {}\r\n", "x".repeat(20_000))),
        upgrade("/websocket?token=SECRET", lines),
        upgrade(query, &format!("{lines}Origin: https://evil.example/?token=SECRET\r\n")),
        upgrade(query, &format!("{lines}Sec-WebSocket-Protocol: SECRET\r\n")),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(&request);
        raw.head();
    }
    // One that fails.
    let mut raw = Raw::websocket(program.addr(), query);
    raw.send_frame(0x83, "no such opcode");
    raw.rest();
    program.wait_for_line("closing with 1002");
    let told: Vec<_> = program.lines().into_iter().filter(|line| line.contains("SECRET")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
