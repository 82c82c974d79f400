//! `tests/BEHAVIOUR.md`, *Messages to topics*: which callers may publish, what each client gets, and which topics it
//! may ask for.

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::{Directory, Program, Raw, Wire, fetch, frame, get, header_values, status, upgrade};

const TOKEN: &str = "SECRET-0123456789abcdef";

/// The program, with this token in its environment.
fn serve_with(token: &str, args: &[&str]) -> Program {
    let mut command = Program::command();
    command.args(["--port", "0", "--address", "127.0.0.1"]).args(args);
    Program::spawn(command.env("THREADCAST_PUBLISH_TOKEN", token))
}

/// A program with a clock that does not interfere.
fn serve(args: &[&str]) -> Program {
    serve_with(TOKEN, &[&["--interval", "1h"], args].concat())
}

/// A client that asks for `query`; with the subprotocol it has read its hello.
fn client(program: &Program, query: &str, is_wrapped: bool) -> Raw {
    if !is_wrapped {
        return Raw::websocket(program.addr(), &format!("/websocket?{query}"));
    }
    let mut raw = Raw::connect(program.addr());
    raw.send(upgrade(&format!("/websocket?{query}"), "Sec-WebSocket-Protocol: threadcast.1\r\n"));
    assert_eq!(status(&raw.head()), 101);
    assert_eq!(raw.frame(), frame(0x81, r#"{"hello":{"interval_ms":3600000}}"#));
    raw
}

/// The next frame that is not the time.
fn message(client: &mut Raw) -> Wire {
    let is_time = |wire: &Wire| wire.payload.starts_with(b"20") && wire.payload.contains(&b':');
    loop {
        let wire = client.frame();
        if !is_time(&wire) {
            return wire;
        }
    }
}

fn request(target: &str, lines: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{lines}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Publishes, and returns the answer.
fn publish(program: &Program, topic: &str, body: impl AsRef<[u8]>) -> String {
    let lines = format!("Authorization: Bearer {TOKEN}\r\n");
    let (head, answer) = fetch(program.addr(), request(&format!("/publish?topic={topic}"), &lines, body));
    assert_eq!(status(&head), 200, "{head}");
    assert_eq!(header_values(&head, "Content-Type"), ["application/json; charset=utf-8"]);
    String::from_utf8(answer).expect("is UTF-8")
}

#[test]
fn a_message_reaches_each_client_in_its_form_and_the_answer_says_how_many_they_are() {
    let program = serve(&[]);
    let mut plain = client(&program, "Id=A", false);
    let mut wrapped = client(&program, "Id=B", true);
    assert_eq!(publish(&program, "all", "hello"), "{\"local\":2}\n");
    assert_eq!(message(&mut plain), frame(0x81, "hello"));
    assert_eq!(message(&mut wrapped), frame(0x81, r#"{"topic":"all","text":"hello"}"#));
    // Bytes that are not UTF-8 are binary, and JSON cannot hold them.
    publish(&program, "all", [0xff, 0]);
    assert_eq!(message(&mut plain), frame(0x82, [0xff, 0]));
    assert_eq!(message(&mut wrapped), frame(0x81, r#"{"topic":"all","base64":"/wA="}"#));
    // The topic of one client.
    assert_eq!(publish(&program, "id/B", "you \"there\""), "{\"local\":1}\n");
    assert_eq!(message(&mut wrapped), frame(0x81, r#"{"topic":"id/B","text":"you \"there\""}"#));
    assert_eq!(publish(&program, "nobody", "hello"), "{\"local\":0}\n");
    publish(&program, "all", "");
    assert_eq!(message(&mut plain), frame(0x81, ""));
}

#[test]
fn the_time_comes_as_it_is_to_every_client() {
    let program = serve_with(TOKEN, &["--interval", "50ms"]);
    let mut plain = Raw::websocket(program.addr(), "/websocket?Id=A");
    let mut wrapped = Raw::connect(program.addr());
    wrapped.send(upgrade("/websocket?Id=B", "Sec-WebSocket-Protocol: threadcast.1\r\n"));
    wrapped.head();
    wrapped.frame();
    for client in [&mut plain, &mut wrapped] {
        let push = client.frame();
        let text = String::from_utf8(push.payload).expect("is UTF-8");
        program.wait_for_line(&format!("write to client A:{text}"));
    }
}

#[test]
fn a_client_gets_the_topics_that_it_asks_for_and_no_others() {
    let program = serve(&[]);
    let mut both = client(&program, "Id=A&topic=news&topic=weather%20in%20Bern&topic=news&topic=all", true);
    let mut one = client(&program, "Id=B&topic=news", false);
    assert_eq!(publish(&program, "news", "1"), "{\"local\":2}\n");
    assert_eq!(publish(&program, "weather%20in%20Bern", "2"), "{\"local\":1}\n");
    assert_eq!(publish(&program, "all", "3"), "{\"local\":2}\n");
    for (topic, text) in [("news", "1"), ("weather in Bern", "2"), ("all", "3")] {
        let expected = format!(r#"{{"topic":"{topic}","text":"{text}"}}"#);
        assert_eq!(message(&mut both), frame(0x81, expected));
    }
    assert_eq!([message(&mut one), message(&mut one)], [frame(0x81, "1"), frame(0x81, "3")]);
    // A client that has left is in no topic.
    drop(one);
    program.wait_for_line("Client B is closed");
    support::eventually("it leaves", || publish(&program, "news", "4") == "{\"local\":1}\n");
}

#[test]
fn topics_that_cannot_be_had_are_400_as_a_table() {
    let (any, some) = (serve(&[]), serve(&["--topics", "news, weather"]));
    let without = Program::start(&[]);
    let many = |count: usize| (0..count).map(|n| format!("&topic=t{n}")).collect::<String>();
    let long = |length: usize| "x".repeat(length);
    for (program, query, expected, reason) in [
        (&any, format!("Id=A{}", many(32)), 101, ""),
        (&any, format!("Id=A{}", many(33)), 400, "33 topics are too many: ask for 32 at most"),
        (&any, "Id=A&topic=id/B".to_owned(), 400, "clients cannot ask for topics that begin with id/"),
        (&any, "Id=A&topic=id/A".to_owned(), 400, "clients cannot ask for topics that begin with id/"),
        (&any, "Id=A&topic=".to_owned(), 400, "\"\" is not a topic: use 1 to 256 bytes"),
        (&any, format!("Id=A&topic={}", long(256)), 101, ""),
        (&any, format!("Id=A&topic={}", long(257)), 400, "is not a topic: use 1 to 256 bytes"),
        // The longest Id belongs to its own topic; no client may ask for a topic of that length.
        (&any, format!("Id={}", long(256)), 101, ""),
        (&any, format!("Id={}", long(257)), 400, "An Id has at most 256 bytes"),
        (&some, "Id=A&topic=news&topic=weather&topic=all".to_owned(), 101, ""),
        (&some, "Id=A&topic=news&topic=other".to_owned(), 400, "This server has no topic \"other\""),
        // Without publishing, it is an ordinary argument.
        (&without, format!("Id={}&topic=id/B", long(256)), 101, ""),
        (&without, format!("Id={}", long(257)), 400, "An Id has at most 256 bytes"),
        (&without, format!("Id={}", "%C3%A9".repeat(129)), 400, "An Id has at most 256 bytes"),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(upgrade(&format!("/websocket?{query}"), ""));
        let (head, body) = if expected == 101 { (raw.head(), Vec::new()) } else { raw.response() };
        assert_eq!(status(&head), expected, "{query}: {head}");
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains(reason), "{query}: {body}");
    }
}

#[test]
fn refusals_to_publish_as_a_table() {
    let program = serve(&["--logging", "debug"]);
    let mut client = client(&program, "Id=A", false);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let (right, all) = (bearer(TOKEN), "/publish?topic=all");
    let large = "x".repeat((1 << 20) + 1);
    for (target, lines, body, expected) in [
        (all, String::new(), "no", 401),
        (all, bearer(""), "no", 401),
        (all, bearer("guess"), "no", 401),
        (all, bearer(&TOKEN[..TOKEN.len() - 1]), "no", 401),
        (all, bearer(&format!("{TOKEN}x")), "no", 401),
        (all, format!("Authorization: Basic {TOKEN}\r\n"), "no", 401),
        (all, format!("Authorization: {TOKEN}\r\n"), "no", 401),
        (all, format!("{right}{right}"), "no", 401),
        (all, format!("{right}Origin: https://evil.example\r\n"), "no", 403),
        ("/publish", right.clone(), "no", 400),
        ("/publish?topic=", right.clone(), "no", 400),
        ("/publish?topic=%ff", right.clone(), "no", 400),
        (&format!("/publish?topic={}", "x".repeat(257)), right.clone(), "no", 400),
        (all, right.clone(), &large, 413),
        (all, right.to_lowercase().replace(&TOKEN.to_lowercase(), TOKEN), "yes", 200),
    ] {
        let (head, _) = fetch(program.addr(), request(target, &lines, body));
        assert_eq!(status(&head), expected, "{target} {lines}: {head}");
        let challenge = header_values(&head, "WWW-Authenticate");
        assert_eq!(challenge, if expected == 401 { &["Bearer"][..] } else { &[] }, "{target} {lines}");
    }
    let (head, _) = fetch(program.addr(), get(all, &right));
    assert_eq!((status(&head), header_values(&head, "Allow")), (405, vec!["POST, OPTIONS"]));
    assert_eq!(message(&mut client), frame(0x81, "yes"), "nothing of the others came before it");
    let told: Vec<_> = program.lines().into_iter().filter(|line| line.contains("SECRET")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn a_token_comes_from_a_file_or_the_environment_and_without_one_the_route_does_not_exist() {
    let directory = Directory::new("publish-token");
    let path = directory.secret("token", format!("{TOKEN}\n"));
    let lines = format!("Authorization: Bearer {TOKEN}\r\n");
    let from_file = serve_with("another token's", &["--publish-token-file", &path]);
    // As compose files write an unset variable.
    let (without, empty) = (Program::start(&[]), serve_with("", &[]));
    empty.wait_for_line("threadcast is at ");
    for (program, expected) in [(&serve(&[]), 200), (&from_file, 200), (&without, 404), (&empty, 404)] {
        let (head, _) = fetch(program.addr(), request("/publish?topic=all", &lines, "hello"));
        assert_eq!(status(&head), expected);
    }
    let args = fs::read(format!("/proc/{}/cmdline", from_file.pid())).expect("reads");
    assert!(!String::from_utf8_lossy(&args).contains("SECRET"));
    assert!(!from_file.lines().iter().any(|line| line.contains("warning")), "{:?}", from_file.lines());
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("sets the mode");
    let warned = serve_with("", &["--publish-token-file", &path]);
    warned.wait_for_line(&format!(
        "threadcast: warning: every user of this machine may read the publish token {path}: chmod o= {path}"
    ));
}

#[test]
fn every_id_is_reached_by_its_own_topic_and_no_id_is_refused_for_it() {
    let program = serve(&[]);
    let long = "x".repeat(256);
    for id in ["", "a%09b", "a%0Ab", "a%C2%85b", "a%E2%80%AEb", &long] {
        let mut client = client(&program, &format!("Id={id}"), false);
        assert_eq!(publish(&program, &format!("id/{id}"), "you"), "{\"local\":1}\n", "{id}");
        assert_eq!(message(&mut client), frame(0x81, "you"), "{id}");
    }
    let lines = format!("Authorization: Bearer {TOKEN}\r\n");
    for (topic, reason) in [
        (format!("id/{long}x"), "an Id has at most 256 bytes"),
        ("a%09b".to_owned(), "is not a topic: use 1 to 256 bytes"),
    ] {
        let (head, body) =
            fetch(program.addr(), request(&format!("/publish?topic={topic}"), &lines, "hello"));
        let body = String::from_utf8_lossy(&body);
        assert!(status(&head) == 400 && body.contains(reason), "{head}{body}");
    }
}

#[test]
fn without_the_token_no_body_is_read_and_the_numbers_and_one_line_of_the_log_say_how_often() {
    let program = serve(&[]);
    // Only the head: an answer that waited for the body would not come.
    let head = "POST /publish?topic=all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n";
    for more in ["", "Authorization: Bearer guess\r\n", "Expect: 100-continue\r\n"] {
        let mut raw = Raw::connect(program.addr());
        raw.send(format!("{head}{more}\r\n"));
        let (answer, _) = raw.response();
        assert_eq!((status(&answer), header_values(&answer, "Connection")), (401, vec!["close"]), "{answer}");
        // The server does not parse the bytes after it as a request.
        raw.send(get("/", ""));
        assert!(raw.is_at_end(), "{more}");
    }
    let (_, stats) = fetch(program.addr(), get("/stats", ""));
    let stats = String::from_utf8_lossy(&stats).into_owned();
    assert!(stats.contains("\"unauthorized\": 3"), "{stats}");
    program.wait_for_line("without a valid token");
    let lines = program.lines();
    let told: Vec<_> = lines.iter().filter(|line| line.contains("without a valid token")).collect();
    assert!(told.len() == 1 && told[0].ends_with("from 127.0.0.1 (1 so far)"), "{told:?}");
}

#[test]
fn options_that_do_nothing_have_one_warning() {
    let topics = "--topics does nothing without --publish-token-file or --redis";
    let channel = "--channel does nothing without --redis or THREADCAST_REDIS";
    for (token, args, expected) in [
        ("", vec!["--topics", "news"], vec![topics]),
        ("", vec!["--channel", "threadcast"], vec![channel]),
        (TOKEN, vec!["--topics", "news"], vec![]),
        ("", vec![], vec![]),
    ] {
        let mut command = Program::command();
        command.args(["--port", "0", "--address", "127.0.0.1"]).args(&args);
        command.env("THREADCAST_PUBLISH_TOKEN", token).env("THREADCAST_REDIS", "");
        let program = Program::spawn(&mut command);
        program.wait_for_line("threadcast is at ");
        program.signal(rustix::process::Signal::TERM);
        let (code, lines) = program.run_to_its_end();
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains("warning: ")).collect();
        assert_eq!((code, warnings.len()), (Some(0), expected.len()), "{lines:#?}");
        assert!(warnings.iter().zip(&expected).all(|(line, text)| line.contains(text)), "{lines:#?}");
    }
}

#[test]
fn an_invalid_token_is_one_line_without_it_and_exit_1() {
    let directory = Directory::new("publish-bad-token");
    for (name, content) in [
        ("empty", &b" \n"[..]),
        ("short", b"SECRET-89012345\n"),
        ("two", b"SECRET-89 0123456"),
        ("binary", b"SECRET-890123456\xff"),
    ] {
        directory.secret(name, content);
    }
    let file = |name: &str| format!("{}/{name}", directory.path());
    let none = "not a valid token in";
    let write = ": use at least 16 printable ASCII characters without spaces, e.g. from openssl rand -hex 32";
    for (token, args, expected) in [
        (" ", vec![], format!("{none} THREADCAST_PUBLISH_TOKEN{write}")),
        ("a", vec![], format!("{none} THREADCAST_PUBLISH_TOKEN{write}")),
        ("SECRET-89 0123456", vec![], format!("{none} THREADCAST_PUBLISH_TOKEN{write}")),
        ("x", vec![file("empty")], format!("{none} the file {}{write}", file("empty"))),
        ("x", vec![file("short")], format!("{none} the file {}{write}", file("short"))),
        ("x", vec![file("two")], format!("{none} the file {}{write}", file("two"))),
        ("x", vec![file("binary")], format!("{none} the file {}{write}", file("binary"))),
        (
            "x",
            vec![file("missing")],
            format!("cannot read the token from the file {}: No such file or directory", file("missing")),
        ),
    ] {
        let args: Vec<_> = args.iter().flat_map(|file| ["--publish-token-file", file]).collect();
        let (code, lines) = serve_with(token, &args).run_to_its_end();
        assert_eq!((code, lines), (Some(1), vec![format!("threadcast: {expected}")]), "{token} {args:?}");
    }
}

#[test]
fn of_several_tokens_in_the_file_each_is_enough_so_that_one_can_be_replaced() {
    let directory = Directory::new("publish-tokens");
    let file = directory.secret("tokens", format!("{TOKEN}\n\n next-0123456789abcdef \r\n"));
    let program = Program::start(&["--interval", "1h", "--publish-token-file", &file]);
    for (token, code) in
        [(TOKEN, 200), ("next-0123456789abcdef", 200), ("next-0123456789abcdee", 401), ("", 401)]
    {
        let lines = format!("Authorization: Bearer {token}\r\n");
        let (head, _) = fetch(program.addr(), request("/publish?topic=all", &lines, "hello"));
        assert_eq!(status(&head), code, "{token}");
    }
    let file = directory.secret("wrong", format!("{TOKEN}\nshort\n"));
    let mut command = Program::command();
    let (code, lines) =
        Program::spawn(command.args(["--port", "0", "--publish-token-file", &file])).run_to_its_end();
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(
        lines[0].contains("not a valid token in line 2 of the file ") && !lines[0].contains("short"),
        "{lines:?}"
    );
}
