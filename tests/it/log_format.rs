//! How lines of the log look: for people, for programs, for journald; and the access log. The binary, from outside.

use crate::support;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::{Directory, Program, Raw, close_frame, eventually, fetch, get, status};

/// Whether a text has digits where this has zeros, and the same text around them.
fn is_like(text: &str, form: &str) -> bool {
    let alike = |(found, wanted): (char, char)| match wanted {
        '0' => found.is_ascii_digit(),
        '+' => found == '+' || found == '-',
        _ => found == wanted,
    };
    text.chars().count() == form.chars().count() && text.chars().zip(form.chars()).all(alike)
}

#[test]
fn plain_lines_have_milliseconds_and_the_zone() {
    let program = Program::start(&["--interval", "20ms"]);
    let _client = Raw::websocket(program.addr(), "/websocket?Id=A");
    let line = program.wait_for_line("write to client A:");
    let time = line.strip_prefix("[INFO] ").and_then(|rest| rest.split_once(" (")).expect("a time");
    assert!(is_like(time.0, "0000-00-00 00:00:00.000+00:00"), "{line}");
}

#[test]
fn with_json_each_line_of_both_streams_and_of_the_file_is_an_object() {
    let directory = Directory::new("json-log");
    let file = format!("{}/clock.log", directory.path());
    let args = ["--log-format", "json", "--interval", "20ms", "--log-file", &file, "--lab", "--channel", "a"];
    let program = Program::start(&args);
    let mut client = Raw::websocket(program.addr(), "/websocket?Id=A%22%0A%E2%80%AE%7F");
    client.send_frame(0x81, "hi \"there\"\n");
    program.wait_for_line("received a message:hi ");
    client.send_frame(0x81, "panic");
    program.wait_for_line("panic at ");
    program.signal(Signal::USR1);
    program.wait_for_line("slow_consumers");
    program.signal(Signal::TERM);
    let (code, lines) = program.run_to_its_end();
    assert_eq!(code, Some(0));
    let of_file = fs::read_to_string(&file).unwrap();
    let parsed: Vec<Value> = lines
        .iter()
        .map(String::as_str)
        .chain(of_file.lines())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &parsed {
        let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("{key} in {line}"));
        assert!(is_like(text("time"), "0000-00-00T00:00:00.000+00:00"), "{line}");
        assert!(["debug", "info", "warn", "error"].contains(&text("level")), "{line}");
        assert!(!text("message").contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
    }
    let has = |level: &str, message: &str| {
        parsed
            .iter()
            .any(|line| line["level"] == level && line["message"].as_str().unwrap().contains(message))
    };
    assert!(has("info", "threadcast is at http://127.0.0.1:"), "{lines:#?}");
    assert!(has("warn", "threadcast: warning: --channel does nothing"), "{lines:#?}");
    assert!(has("error", "panic at "), "{lines:#?}");
    assert!(has("info", r#"A"\n\u{202e}\u{7f} received a message:hi "there"\n"#), "{lines:#?}");
    assert!(
        parsed.iter().any(|line| line["thread"].as_str().is_some_and(|name| name.starts_with("client-")))
    );
}

#[test]
fn an_error_at_the_start_is_an_object_too() {
    let args = ["--log-format", "json", "--www", "/not/there", "--port", "0"];
    let output = Program::command().args(args).output().expect("starts");
    let line: Value = serde_json::from_slice(&output.stderr).expect("is an object");
    assert_eq!((output.status.code(), &line["level"]), (Some(1), &Value::from("error")));
    assert!(line["message"].as_str().unwrap().starts_with("threadcast: cannot "), "{line}");
}

/// The environment names the file that journald reads.
fn journal(args: &[&str]) -> String {
    let directory = Directory::new("journal");
    directory.write("journal", "");
    let path = directory.0.join("journal");
    let file: OwnedFd = fs::File::options().append(true).open(&path).unwrap().into();
    let stat = rustix::fs::fstat(file.as_fd()).unwrap();
    let mut command = Program::command();
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino));
    command.args(["--port", "0", "--address", "127.0.0.1", "--channel", "a"]).args(args);
    command.stdout(file.try_clone().unwrap()).stderr(Stdio::from(file));
    let mut child = command.spawn().expect("starts");
    let text = || fs::read_to_string(&path).unwrap();
    eventually("it is there", || text().contains("Ctrl-C ends it"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    text()
}

#[test]
fn what_journald_reads_has_the_level_in_front() {
    let text = journal(&[]);
    assert!(
        text.contains("\n<6>threadcast is at http://") || text.starts_with("<6>threadcast is at http://"),
        "{text}"
    );
    assert!(text.contains("<4>threadcast: warning: --channel does nothing"), "{text}");
    assert!(text.contains("\n<6>[INFO] "), "{text}");
    assert!(text.lines().all(|line| line.starts_with("<6>") || line.starts_with("<4>")), "{text}");
    for line in journal(&["--log-format", "json"]).lines() {
        let object =
            line.strip_prefix("<6>").or(line.strip_prefix("<4>")).unwrap_or_else(|| panic!("{line}"));
        assert!(serde_json::from_str::<Value>(object).is_ok(), "{line}");
    }
    // Another file than the one that the environment names: a pipe.
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast"));
    command.env("JOURNAL_STREAM", "1:1").args(["--port", "0", "--address", "127.0.0.1"]);
    let program = Program::spawn(&mut command);
    assert!(program.wait_for_line("threadcast is at").starts_with("threadcast is at"));
}

/// The lines of the access log, as objects, sorted by their path and what they say of the end.
fn accesses(program: &Program) -> Vec<Value> {
    let lines = program.lines();
    let objects = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter(|line| line["address"].is_string()).collect()
}

#[test]
fn the_access_log_has_a_line_for_each_request_and_each_websocket_and_no_query() {
    let program =
        Program::start(&["--access-log", "--log-format", "json", "--logging", "none", "--interval", "20ms"]);
    let addr = program.addr();
    assert_eq!(status(&fetch(addr, get("/?token=SECRET", "")).0), 200);
    assert_eq!(status(&fetch(addr, get("/stats", "")).0), 200);
    assert_eq!(status(&fetch(addr, get("/none%20such?token=SECRET", "")).0), 404);
    assert_eq!(
        status(&fetch(addr, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").0),
        405
    );
    assert_eq!(status(&fetch(addr, "GET / HTTP/9.9\r\n\r\n").0), 400);
    assert_eq!(status(&fetch(addr, support::upgrade("/websocket?Other=SECRET", "")).0), 400);
    fetch(addr, get("/health", ""));
    fetch(addr, get("/ready", ""));
    for end in [Some(&1000u16.to_be_bytes()[..]), Some(&[]), None] {
        let mut client = Raw::websocket(addr, "/websocket?Id=SECRET");
        assert_eq!(client.frame().first, 0x81);
        match end {
            Some(payload) => client.send_frame(0x88, payload),
            None => client.reset(),
        }
    }
    let mut failing = Raw::websocket(addr, "/websocket?Id=SECRET");
    failing.send_frame(0x83, "of no kind");
    while failing.frame().first != close_frame(1002, "").first {}
    eventually("a line for each", || accesses(&program).len() >= 10);
    let mut found: Vec<_> = accesses(&program)
        .into_iter()
        .map(|line| {
            assert_eq!((&line["address"], line["level"].as_str()), (&Value::from("127.0.0.1"), Some("info")));
            assert!(
                line["seconds"].as_f64().is_some_and(|seconds| (0.0..600.0).contains(&seconds)),
                "{line}"
            );
            let code = line.get("close_code").or(line.get("status")).and_then(Value::as_u64).expect("a code");
            let sent = line["bytes"].as_u64().expect("a number");
            assert!(sent > 50, "{line}");
            let method = line["method"].as_str().unwrap_or("WebSocket").to_owned();
            (line["path"].as_str().expect("a path").to_owned(), method, code)
        })
        .collect();
    found.sort();
    let expected = [
        ("-", "-", 400),
        ("/", "GET", 200),
        ("/", "POST", 405),
        ("/none%20such", "GET", 404),
        ("/stats", "GET", 200),
        ("/websocket", "GET", 400),
        ("/websocket", "WebSocket", 1000),
        ("/websocket", "WebSocket", 1002),
        ("/websocket", "WebSocket", 1005),
        ("/websocket", "WebSocket", 1006),
    ];
    assert_eq!(found, expected.map(|(path, method, code)| (path.to_owned(), method.to_owned(), code)));
    let lines = program.lines();
    assert!(!lines.iter().any(|line| line.contains("SECRET")), "{lines:#?}");
}

#[test]
fn the_access_log_is_off_by_default_and_a_plain_line_has_it_all() {
    let quiet = Program::start(&[]);
    let loud = Program::start(&["--access-log"]);
    for program in [&quiet, &loud] {
        assert_eq!(status(&fetch(program.addr(), get("/stats", "")).0), 200);
    }
    let line = loud.wait_for_line("127.0.0.1 GET /stats 200 ");
    assert!(line.starts_with("[INFO] ") && line.ends_with(" s") && line.contains(" bytes 0."), "{line}");
    quiet.signal(Signal::TERM);
    let (_, lines) = quiet.run_to_its_end();
    assert!(!lines.iter().any(|line| line.contains("GET /stats")), "{lines:#?}");
}
