//! A handler that panics on the smallest stack, where the standard library prints a backtrace: it reads the binary's
//! symbols on that stack, and an overflow would end the whole process.

use crate::support;

use std::env;
use std::process::Command;

use support::{Program, Raw, close_frame, frame};
use threadcast::{
    Application, Connection, Exchange, Message, RequestHandler, Result, Server, WebSocketHandler,
};

/// Values of `RUST_BACKTRACE`.
const STYLES: [&str; 2] = ["1", "full"];

/// Header lines of a form in chunks.
const POST: &str = "Origin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n";

/// Echoes, and panics in the method of this name.
struct Fragile(&'static str);

impl Fragile {
    fn reach(&self, method: &str) {
        assert!(self.0 != method, "as planned, in {method}");
    }
}

impl WebSocketHandler for Fragile {
    fn open(&mut self, _: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.reach("open");
        Ok(())
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        self.reach("on_message");
        connection.write_message(message)
    }
    fn on_close(&mut self, _: &Connection) {
        self.reach("on_close");
    }
    fn on_ping(&mut self, _: &Connection, _: &[u8]) {
        self.reach("on_ping");
    }
}

impl RequestHandler for Fragile {
    fn get(&mut self, _: &mut Exchange<'_>) -> Result<()> {
        self.reach("get");
        Ok(())
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        assert_eq!(exchange.get_body_argument("a")?, "b");
        exchange.path_argument("where");
        self.reach("post");
        Ok(())
    }
}

/// Each method panics, as deep in the stack as a client can drive it.
fn panic_everywhere() {
    let mut application = Application::new()
        .stack_size(Application::MIN_STACK)
        .page("/get", || Fragile("get"))
        .page("/post/{where}", || Fragile("post"));
    for method in ["nowhere", "open", "on_message", "on_ping", "on_close"] {
        application = application.websocket(&format!("/{method}"), move || Fragile(method));
    }
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let addr = server.local_addr();
    let mut witness = Raw::websocket(addr, "/nowhere");
    let post =
        support::get("/post/a", POST).replacen("GET", "POST", 1) + "1;x\r\na\r\n2\r\n=b\r\n0\r\nX: y\r\n\r\n";
    for request in [support::get("/get", ""), post, support::upgrade("/open", "")] {
        let mut doomed = Raw::connect(addr);
        doomed.send(request);
        assert!(doomed.head().starts_with("HTTP/1.1 500 "));
    }
    for (method, first) in [("on_message", 0x81), ("on_ping", 0x89)] {
        let mut doomed = Raw::websocket(addr, &format!("/{method}"));
        doomed.send_frame(first, "now");
        while doomed.frame() != close_frame(1011, "internal error") {}
    }
    let mut doomed = Raw::websocket(addr, "/on_close");
    doomed.send_frame(0x88, 1000u16.to_be_bytes());
    assert_eq!(doomed.frame(), close_frame(1000, ""));
    assert_eq!(doomed.rest(), b"");
    witness.send_frame(0x81, "undisturbed");
    assert_eq!(witness.frame(), frame(0x81, "undisturbed"));
}

#[test]
fn a_panic_in_any_method_has_its_backtrace_and_takes_nobody_with_it() {
    if support::is_run_again() {
        return panic_everywhere();
    }
    for style in STYLES {
        let mut command = Command::new(env::current_exe().unwrap());
        let errors = support::run_again(
            "a_panic_in_any_method_has_its_backtrace_and_takes_nobody_with_it",
            command.env("RUST_BACKTRACE", style),
        );
        for method in ["get", "post", "open", "on_message", "on_ping", "on_close"] {
            assert!(errors.contains(&format!("as planned, in {method}\n")), "{method}: {errors}");
        }
        assert_eq!(errors.matches("stack backtrace:\n").count(), 6, "{errors}");
    }
}

#[test]
fn a_panic_in_the_program_takes_nobody_with_it() {
    for style in STYLES {
        let mut command = Program::command();
        command.args(["--port", "0", "--lab", "--stack-size", "64KiB", "--interval", "20ms"]);
        let program = Program::spawn(command.env("RUST_BACKTRACE", style));
        let mut witness = Raw::websocket(program.addr(), "/websocket?Id=witness");
        let mut doomed = Raw::websocket(program.addr(), "/websocket?Id=doomed");
        doomed.send_frame(0x81, "panic");
        while doomed.frame() != close_frame(1011, "internal error") {}
        program.wait_for_line("the handler panicked in on_message: told to panic");
        program.wait_for_line("Client doomed is closed");
        (0..3).for_each(|_| assert_eq!(witness.frame().first, 0x81));
    }
}

/// Answers with the JSON that it gets.
struct Parrot;

impl WebSocketHandler for Parrot {
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let value: serde_json::Value = serde_json::from_str(&message.to_string()).unwrap();
        connection.write_message(Message::json(&value)?)
    }
}

#[test]
fn the_default_stack_is_enough_for_json_as_deep_as_it_gets() {
    let application = Application::new().websocket("/ws", || Parrot);
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    let mut client = Raw::websocket(server.local_addr(), "/ws");
    let deepest = 127;
    for [begin, end] in [["[", "]"], [r#"{"a":"#, "}"]] {
        let text = format!("{}1{}", begin.repeat(deepest), end.repeat(deepest));
        client.send_frame(0x81, &text);
        assert_eq!(client.frame(), frame(0x81, text));
    }
}
