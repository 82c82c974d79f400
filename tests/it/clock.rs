//! `tests/BEHAVIOUR.md`, *The clock*: the binary, seen from outside.

use crate::support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{DEADLINE, Program, Raw, close_frame, eventually, frame, sockets, threads};

/// `2026-11-22 18:14:05.561472`, or without its fraction.
fn is_payload(text: &[u8]) -> bool {
    let form = b"dddd-dd-dd dd:dd:dd.dddddd";
    (text.len() == 26 || text.len() == 19)
        && text
            .iter()
            .zip(form)
            .all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form })
}

fn client(program: &Program, id: &str) -> Raw {
    Raw::websocket(program.addr(), &format!("/websocket?Id={id}"))
}

/// Waits until it has exactly these threads: a thread gets its name a moment after its start.
fn expect_threads(program: &Program, expected: &[&str]) {
    eventually(&format!("the threads {expected:?}"), || {
        let mut names = threads(program.pid());
        names.sort();
        names == expected
    });
}

#[test]
fn every_client_gets_the_time_as_python_prints_it_one_payload_a_round() {
    let program = Program::start(&["--interval", "100ms"]);
    let mut clients = [client(&program, "A"), client(&program, "B"), client(&program, "C")];
    for client in &mut clients {
        for _ in 0..3 {
            let push = client.frame();
            assert!(push.first == 0x81 && is_payload(&push.payload), "{push:?}");
        }
    }
    // From some round on all of them are in it, with equal payloads.
    let mut latest = clients.each_mut().map(|client| client.frame().payload);
    eventually("a common round", || {
        let newest = latest.iter().max().unwrap().clone();
        for (client, payload) in clients.iter_mut().zip(&mut latest) {
            if *payload < newest {
                *payload = client.frame().payload;
            }
        }
        latest.iter().all(|payload| *payload == latest[0])
    });
    assert_eq!(
        clients
            .each_mut()
            .map(|client| client.frame())
            .map(|push| push.payload)
            .iter()
            .collect::<std::collections::HashSet<_>>()
            .len(),
        1
    );
}

#[test]
fn ten_pushes_are_a_second_apart_and_do_not_drift() {
    let program = Program::start(&[]);
    let mut client = client(&program, "A");
    client.frame();
    let times: Vec<_> = (0..10).map(|_| (client.frame(), Instant::now()).1).collect();
    // How late each one is, in milliseconds, against a grid of seconds with any origin.
    let late = |n: usize| (times[n] - times[0]).as_secs_f64() * 1000.0 - n as f64 * 1000.0;
    let late: Vec<_> = (0..10).map(late).collect();
    // On a machine that is busy with other tests some are late, but none is early. So the most punctual of the first
    // and of the last show whether the grid has moved, by 3 ms a second or more.
    let most_punctual = |some: &[f64]| some.iter().copied().fold(f64::INFINITY, f64::min);
    let drift = most_punctual(&late[6..]) - most_punctual(&late[..4]);
    assert!(drift.abs() < 18.0, "{late:?}");
    // And most are on it.
    let mut sorted = late.clone();
    sorted.sort_by(f64::total_cmp);
    let punctual = late.iter().filter(|late| (**late - sorted[5]).abs() < 50.0).count();
    assert!(punctual >= 8, "{late:?}");
}

#[test]
fn the_log_has_the_original_lines_with_the_name_of_the_thread() {
    let program = Program::start(&["--interval", "100ms"]);
    let mut client = client(&program, "A");
    client.send_frame(0x81, "hi");
    assert!(program.wait_for_line("Client A received a message:hi").contains("(client-"));
    client.send_frame(0x82, [0, 255]);
    program.wait_for_line(r"Client A received a message:b'\x00\xff'");
    let line = program.wait_for_line("write to client A:");
    let (before, payload) = line.split_once("write to client A:").unwrap();
    assert!(before.contains("(send)") && is_payload(payload.as_bytes()), "{line}");
    // The time of the line, to the second. log_format.rs tests the rest.
    let words: Vec<_> = before.split_whitespace().collect();
    assert!(
        words[0] == "[INFO]"
            && is_payload(format!("{} {}", words[1], words[2].split_once('.').unwrap().0).as_bytes()),
        "{line}"
    );
    client.send_frame(0x88, [&1001u16.to_be_bytes()[..], b"bye"].concat());
    assert!(program.wait_for_line("Client A is closed 1001 bye").contains("(client-"));
}

#[test]
fn above_twenty_clients_a_round_has_one_line_unless_everything_is_shown() {
    for (level, each) in [("info", false), ("debug", true)] {
        let program = Program::start(&["--interval", "100ms", "--logging", level]);
        let clients: Vec<_> = (0..21).map(|n| client(&program, &format!("c{n}"))).collect();
        if each {
            (0..21).for_each(|n| drop(program.wait_for_line(&format!("write to client c{n}:"))));
        } else {
            program.wait_for_line("write to 21 clients:");
        }
        drop(clients);
    }
}

#[test]
fn a_client_cannot_forge_a_log_line() {
    let program = Program::start(&["--log-file", "/dev/null"]);
    let mut client = client(&program, "a%0Ab%1B[31m%E2%80%AE");
    client.send_frame(0x81, "x\r\nClient root is closed");
    program.wait_for_line(r"Client a\nb [31m\u{202e} received a message:x\r\nClient root is closed");
    client.send_frame(0x81, "\u{61c}\u{200b}\u{ad}\u{feff}\u{180e}\u{e0041}\u{378}");
    program.wait_for_line(r" message:\u{61c}\u{200b}\u{ad}\u{feff}\u{180e}\u{e0041}\u{378}");
    assert!(!program.lines().iter().any(|line| line.starts_with("Client root")));
}

/// The program's peak memory so far, in KiB.
fn peak(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn a_large_message_is_formatted_only_as_far_as_the_log_shows_it() {
    const SIZE: usize = 10 << 20;
    let program = Program::start(&["--interval", "1h"]);
    let mut client = client(&program, "A");
    client.send_frame(0x81, "small");
    program.wait_for_line("message:small");
    let before = peak(&program);
    client.send_frame(0x82, vec![7; SIZE]);
    let line = program.wait_for_line("received a message:b'");
    assert!(
        line.contains(r"b'\x07\x07") && line.ends_with("... (10485760 bytes in all)") && line.len() < 2200,
        "{line}"
    );
    client.send_frame(0x81, "é".repeat(SIZE / 2));
    let line = program.wait_for_line("received a message:éé");
    assert!(line.ends_with("éé... (10485760 bytes in all)") && line.chars().count() < 2200, "{line}");
    // The message, and its buffer while that grows.
    let grown = peak(&program) - before;
    assert!(grown < 32 << 10, "{grown} KiB");
}

#[test]
fn a_client_that_floods_has_twenty_lines_a_second_and_the_rest_is_counted() {
    const MESSAGES: usize = 5000;
    let program = Program::start(&["--interval", "1h"]);
    let (mut flooding, mut other) = (client(&program, "A"), client(&program, "B"));
    let begun = Instant::now();
    flooding.send(support::masked(0x81, b"hi").repeat(MESSAGES));
    flooding.send_frame(0x88, "");
    program.wait_for_line("Client A is closed");
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let lines = program.lines();
    let shown = lines.iter().filter(|line| line.ends_with("Client A received a message:hi")).count();
    let more =
        lines.iter().filter_map(|line| line.split_once("Client A received ")?.1.split_once(" more messages"));
    let more: usize = more.map(|(number, _)| number.parse::<usize>().unwrap()).sum();
    assert_eq!(shown + more, MESSAGES);
    assert!((20..=20 * seconds).contains(&shown), "{shown} lines in {seconds} s");
    // Another client has its own.
    other.send_frame(0x81, "ho");
    program.wait_for_line("Client B received a message:ho");
}

#[test]
fn an_id_of_more_than_256_bytes_is_a_400_that_says_so() {
    let program = Program::start(&[]);
    for (id, expected) in [("x".repeat(256), 101), ("x".repeat(257), 400), ("%C3%A9".repeat(129), 400)] {
        let mut client = Raw::connect(program.addr());
        client.send(support::upgrade(&format!("/websocket?Id={id}"), ""));
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}");
        if expected == 400 {
            assert_eq!(client.take(28, "a reason"), b"An Id has at most 256 bytes\n");
        }
    }
}

#[test]
fn the_numbers_of_sigusr1_are_logged_at_every_level() {
    for level in ["warning", "error", "none"] {
        let program = Program::start(&["--logging", level]);
        for _ in 0..2 {
            let before = program.lines().len();
            program.signal(Signal::USR1);
            eventually("the numbers", || {
                program.lines()[before..].iter().any(|line| line.contains("\"capacity\":"))
            });
        }
    }
}

#[test]
fn the_newer_client_takes_the_id_and_the_older_is_closed_with_4001() {
    let program = Program::start(&["--interval", "100ms"]);
    let (mut older, mut newer) = (client(&program, "A"), client(&program, "A"));
    while older.frame() != close_frame(4001, "replaced") {}
    older.send_frame(0x88, 4001u16.to_be_bytes());
    program.wait_for_line("Client A is closed 4001");
    assert_eq!(older.rest(), b"");
    // The end of the older one has left the newer one in place.
    (0..3).for_each(|_| assert!(is_payload(&newer.frame().payload)));
}

#[test]
fn a_missing_id_is_a_400_that_names_it() {
    let program = Program::start(&[]);
    let mut client = Raw::connect(program.addr());
    client.send(support::upgrade("/websocket", ""));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(body, b"Missing argument Id\n");
}

#[test]
fn a_thousand_clients_come_and_go_while_pushes_never_stop() {
    let program = Program::start(&["--interval", "50ms", "--logging", "warning"]);
    let mut witness = client(&program, "witness");
    witness.frame();
    let (threads_before, sockets_before) = (threads(program.pid()).len(), sockets(program.pid()));
    let addr = program.addr();
    let come_and_go = |from: usize| {
        for n in from..from + 250 {
            let mut client = Raw::websocket(addr, &format!("/websocket?Id=c{n}"));
            match n % 4 {
                0 => drop(client),
                1 => client.reset(),
                2 => client.send_frame(0x88, ""),
                _ => assert!(is_payload(&client.frame().payload)),
            }
        }
    };
    std::thread::scope(|scope| {
        let others = [0, 250, 500, 750].map(|from| scope.spawn(move || come_and_go(from)));
        while !others.iter().all(|other| other.is_finished()) {
            assert!(is_payload(&witness.frame().payload));
        }
    });
    (0..3).for_each(|_| assert!(is_payload(&witness.frame().payload)));
    eventually("threads and sockets are back where they were", || {
        (threads(program.pid()).len(), sockets(program.pid())) == (threads_before, sockets_before)
    });
    assert_eq!(program.lines().iter().filter(|line| line.contains("panic")).count(), 0);
}

#[test]
fn every_thread_has_its_name() {
    let program = Program::start(&["--logging", "none"]);
    let _clients = [client(&program, "A"), client(&program, "B")];
    expect_threads(&program, &["client-1", "client-2", "closer", "listener", "reaper", "send", "threadcast"]);
}

#[test]
fn sigint_and_sigterm_close_everybody_with_1001_and_exit_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut program = Program::start(&["--interval", "1h"]);
        let addr = program.addr();
        let (mut a, mut b) = (client(&program, "A"), client(&program, "B"));
        let _idle = TcpStream::connect(addr).unwrap();
        program.signal(signal);
        for client in [&mut a, &mut b] {
            // The first round may have been late.
            while client.frame() != close_frame(1001, "server shutting down") {}
            client.send_frame(0x88, 1001u16.to_be_bytes());
        }
        assert_eq!(program.wait().code(), Some(0));
        assert_eq!(a.rest(), b"");
        drop(TcpListener::bind(addr).expect("the port is free at once"));
    }
}

#[test]
fn a_client_that_does_not_answer_delays_the_exit_to_the_drain_deadline() {
    let mut program = Program::start(&["--interval", "1h"]);
    let mut silent = client(&program, "A");
    let begun = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    assert!((Duration::from_secs(2)..DEADLINE / 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    while silent.frame() != close_frame(1001, "server shutting down") {}
}

fn run(args: &[&str]) -> (Option<i32>, Vec<String>) {
    Program::spawn(Program::command().args(args)).run_to_its_end()
}

#[test]
fn bad_input_is_one_line_and_the_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let next = taken.local_addr().unwrap().port().checked_add(1).unwrap_or(8888);
    let in_use = format!(
        "threadcast: cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port, such as \
         --port {next}"
    );
    let pipe = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unread.log");
    let _ = fs::remove_file(&pipe);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    let unread = format!(
        "threadcast: cannot write the log file {pipe}: it is a pipe without a reader; start its reader first, or \
         choose a file"
    );
    let table: &[(&[&str], i32, &str)] = &[
        (&["--port", &port, "--address", "127.0.0.1"], 1, &in_use),
        (
            &["--www", "no/such/place"],
            1,
            "threadcast: cannot serve the directory no/such/place: No such file or directory",
        ),
        (
            &["--www", "no\n\x1bplace"],
            1,
            "threadcast: cannot serve the directory no\\n\\u{1b}place: No such file or directory",
        ),
        (
            &["--redis", "x"],
            1,
            "threadcast: --redis: not a Redis URL: use redis://HOST:PORT, or rediss://HOST:PORT with TLS",
        ),
        (&["--www", "src"], 1, "threadcast: cannot serve the directory src: it has no index.html"),
        (
            &["--log-file", "no/such/place"],
            1,
            "threadcast: cannot write the log file no/such/place: No such file or directory",
        ),
        (&["--log-file", "src"], 1, "threadcast: cannot write the log file src: Is a directory"),
        (&["--log-file", pipe], 1, &unread),
        (
            &["--prot", "1"],
            2,
            "threadcast: unexpected argument '--prot' found; tip: a similar argument exists: '--port' (--help shows the options)",
        ),
        (
            &["--stack-size", "1KiB"],
            2,
            "threadcast: invalid value '1KiB' for '--stack-size <SIZE>': expected a size from 64KiB to 1GiB (--help shows the options)",
        ),
        (
            &["--allow-origin", "https://example.com/app"],
            2,
            "threadcast: invalid value 'https://example.com/app' for '--allow-origin <ORIGIN>': this is more than an origin: write \
             https://example.com (--help shows the options)",
        ),
        (
            &["--address", "192.0.2.1"],
            1,
            "threadcast: cannot listen on 192.0.2.1:8888: Cannot assign requested address",
        ),
        (
            &["--port", "x"],
            2,
            "threadcast: invalid value 'x' for '--port <PORT>': expected a number from 0 to 65535; 0 lets the system choose (--help shows the \
             options)",
        ),
        (
            &["--lab", "--beside", "x"],
            1,
            "threadcast: --beside: \"x\" is not JSON such as {\"name\": \"b\", \"kind\": \"loop\", \
             \"address\": \"127.0.0.1:40001\", \"pid\": 4711}",
        ),
    ];
    for (args, code, line) in table {
        let (exit, lines) = run(args);
        assert_eq!((exit, lines), (Some(*code), vec![(*line).to_owned()]), "{args:?}");
    }
}

#[test]
fn help_and_version_are_printed_and_exit_0() {
    let (code, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in ["--interval", "--www", "--allow-origin", "--max-backlog", "--ping-interval", "Example:"] {
        assert!(help.iter().any(|line| line.contains(word)), "{word}");
    }
    assert_eq!(help.iter().filter(|line| line.chars().count() > 100).collect::<Vec<_>>(), [""; 0]);
    let place = |word: &str| help.iter().position(|line| line.starts_with(word)).expect("a heading");
    assert!(place("Pushes:") < place("Clients:") && place("Log:") < place("Lab:"), "{help:#?}");
    assert_eq!(run(&["--version"]), (Some(0), vec![format!("threadcast {}", env!("CARGO_PKG_VERSION"))]));
}

#[test]
fn it_listens_on_ipv4_and_ipv6_and_prints_where() {
    let program = Program::spawn(Program::command().args(["--port", "0"]));
    let line = program.wait_for_line("threadcast is at http://localhost:");
    let port = program.addr().port();
    assert!(line.contains(" for up to ") && line.contains(" clients ("), "{line}");
    for host in ["127.0.0.1", "[::1]"] {
        let addr = format!("{host}:{port}").parse().unwrap();
        assert!(Raw::websocket(addr, "/websocket?Id=A").frame().first == 0x81);
    }
}

#[test]
fn a_port_that_another_program_has_on_ipv6_is_not_taken_on_ipv4_alone() {
    let taken = TcpListener::bind("[::1]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, lines) = run(&["--port", &port]);
    let line = format!(
        "threadcast: cannot listen on [::]:{port}: Address already in use; choose another with --port"
    );
    assert!(code == Some(1) && lines.len() == 1 && lines[0].starts_with(&line), "{lines:#?}");
}

#[test]
fn the_first_line_is_the_address_whatever_is_warned_of() {
    let args = ["--port", "0", "--address", "127.0.0.1", "--max-clients", "1000000", "--logging", "debug"];
    let mut child =
        Program::command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = |stream: &mut dyn Read| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    let stdout = first(child.stdout.as_mut().unwrap());
    let stderr = first(child.stderr.as_mut().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(stdout.starts_with("threadcast is at http://127.0.0.1:"), "{stdout}");
    assert!(
        stderr.starts_with("threadcast: warning: --max-clients 1000000 is more than is safe"),
        "{stderr}"
    );
}

#[test]
fn the_log_goes_to_a_file_as_well() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clock.log");
    let _ = fs::remove_file(&path);
    let program = Program::start(&["--log-file", path.to_str().unwrap()]);
    let mut client = client(&program, "A");
    client.send_frame(0x81, "hi");
    program.wait_for_line("Client A received a message:hi");
    eventually("the line in the file", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("Client A received a message:hi"))
    });
    let file = fs::read_to_string(&path).unwrap();
    assert!(!file.contains('\x1b') && !program.lines().concat().contains('\x1b'), "colour is for terminals");
}

#[test]
fn a_client_of_the_subprotocol_gets_the_interval_before_the_first_push() {
    let chosen = "Sec-WebSocket-Protocol: threadcast.1\r\n";
    let told = |json: &str| Some(frame(0x81, json));
    let plain = &["--interval", "50ms"][..];
    let slow = &["--interval", "2m"][..];
    let lab = &["--interval", "50ms", "--lab"][..];
    for (options, offered, answered, first) in [
        (plain, "threadcast.1", chosen, told(r#"{"hello":{"interval_ms":50}}"#)),
        (plain, "chat, threadcast.1,other", chosen, told(r#"{"hello":{"interval_ms":50}}"#)),
        (slow, "threadcast.1", chosen, told(r#"{"hello":{"interval_ms":120000}}"#)),
        (lab, "threadcast.1", chosen, told(r#"{"hello":{"interval_ms":50,"lab":true}}"#)),
        (plain, "threadcast.10, THREADCAST.1", "", None),
        (plain, "", "", None),
    ] {
        let program = Program::start(options);
        let mut client = Raw::connect(program.addr());
        let offer = match offered {
            "" => String::new(),
            offered => format!("Sec-WebSocket-Protocol: {offered}\r\n"),
        };
        client.send(support::upgrade("/websocket?Id=A", &offer));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{offered}: {head}");
        assert_eq!(head.contains("Sec-WebSocket-Protocol"), !answered.is_empty(), "{offered}: {head}");
        assert!(head.contains(answered), "{offered}: {head}");
        if let Some(first) = first {
            assert_eq!(client.frame(), first, "{offered}");
        }
        if options != slow {
            for _ in 0..2 {
                let push = client.frame();
                assert!(push.first == 0x81 && is_payload(&push.payload), "{offered}: {push:?}");
            }
        }
    }
}

#[test]
fn www_serves_pages_from_the_disk() {
    let www = Path::new(env!("CARGO_TARGET_TMPDIR")).join("www");
    fs::create_dir_all(&www).unwrap();
    fs::write(www.join("index.html"), "<h1>mine</h1>").unwrap();
    let program = Program::start(&["--www", www.to_str().unwrap()]);
    let mut client = Raw::connect(program.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().1, b"<h1>mine</h1>");
    fs::write(www.join("index.html"), "<h1>changed</h1>").unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().1, b"<h1>changed</h1>");
}

#[test]
fn the_echo_exists_in_the_lab_only() {
    let lab = Program::start(&["--lab"]);
    let mut client = Raw::websocket(lab.addr(), "/echo?Id=A");
    client.send_frame(0x82, "x");
    assert_eq!(client.frame(), frame(0x82, "x"));
    let plain = Program::start(&[]);
    let mut client = Raw::connect(plain.addr());
    client.send(support::upgrade("/echo?Id=A", ""));
    assert!(client.head().starts_with("HTTP/1.1 404 "));
}

#[test]
fn in_the_lab_a_handler_sleeps_or_spins_on_request_and_delays_nobody() {
    let program = Program::start(&["--lab", "--interval", "20ms", "--logging", "none"]);
    let (mut told, mut other) = (client(&program, "A"), client(&program, "B"));
    for command in ["sleep 300", "spin 300"] {
        let begun = Instant::now();
        told.send_frame(0x81, command);
        told.send_frame(0x89, "after");
        let mut pushes = 0;
        while told.frame() != frame(0x8a, "after") {
            pushes += 1;
        }
        assert!(begun.elapsed() >= Duration::from_millis(300), "{command}");
        assert!(pushes > 1, "its own client still gets pushes");
        other.frame();
    }
}

#[test]
fn a_handler_that_panics_is_named_in_the_log_and_takes_nobody_with_it() {
    let program = Program::start(&["--lab", "--interval", "50ms"]);
    let (mut doomed, mut other) = (client(&program, "A"), client(&program, "B"));
    doomed.send_frame(0x81, "panic");
    while doomed.frame() != close_frame(1011, "internal error") {}
    let line = program.wait_for_line("the handler panicked in on_message: told to panic");
    assert!(line.contains("(client-") && line.contains(" /websocket)") && !line.contains("Id=A"), "{line}");
    program.wait_for_line("Client A is closed");
    (0..3).for_each(|_| assert!(is_payload(&other.frame().payload)));
    let lines = program.lines();
    assert!(
        !lines.iter().any(|line| line.contains("backtrace") || line.starts_with("thread '")),
        "{lines:#?}"
    );
}

#[test]
fn a_large_round_is_shared_and_everybody_gets_its_one_payload() {
    for (threads_wanted, names) in [("1", vec!["send"]), ("3", vec!["send", "send-2", "send-3"])] {
        let args = ["--push-threads", threads_wanted, "--interval", "100ms", "--logging", "info"];
        let mut program = Program::start(&args);
        let clients: Vec<_> = (0..501).map(|n| client(&program, &format!("c{n}"))).collect();
        program.wait_for_line("write to 501 clients:");
        let line = program.lines().into_iter().rfind(|line| line.contains("write to 501 clients:")).unwrap();
        let payload = line.split_once("clients:").unwrap().1.as_bytes().to_vec();
        for mut client in clients {
            while client.frame().payload != payload {}
        }
        eventually(&format!("the threads {names:?}"), || {
            let mut senders = threads(program.pid());
            senders.retain(|name| name.starts_with("send"));
            senders.sort();
            senders == names
        });
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[test]
fn with_handoff_every_client_has_a_writer_and_gets_every_push() {
    let mut program = Program::start(&["--delivery", "handoff", "--interval", "50ms", "--logging", "none"]);
    let mut a = client(&program, "A");
    assert!(is_payload(&a.frame().payload) && is_payload(&a.frame().payload));
    expect_threads(&program, &["client-1", "closer", "listener", "reaper", "send", "threadcast", "writer-1"]);
    a.send_frame(0x88, "");
    eventually("its threads are gone", || threads(program.pid()).len() == 5);
    let mut b = client(&program, "B");
    program.signal(Signal::TERM);
    while b.frame() != close_frame(1001, "server shutting down") {}
    b.send_frame(0x88, 1001u16.to_be_bytes());
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn an_idle_server_with_a_hundred_clients_sleeps() {
    let program = Program::start(&["--interval", "1h", "--logging", "none"]);
    let _clients: Vec<_> = (0..100).map(|n| client(&program, &format!("c{n}"))).collect();
    // How often each thread has gone to sleep so far; `None` if one of them is awake.
    let asleep = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", program.pid())).unwrap().flatten();
        let switches = tasks.map(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let switches = value("voluntary_ctxt_switches:")?.parse::<u64>().ok()?;
            value("State:")?.starts_with('S').then_some(switches)
        });
        switches.collect::<Option<Vec<_>>>()
    };
    let switches = || asleep().map(|switches| switches.iter().sum::<u64>());
    let (mut before, mut equal) = (None, 0);
    // Equal counts at a hundred looks, and no thread awake at any of them.
    eventually("all threads are asleep", || {
        let now = switches();
        equal = if now.is_some() && now == before { equal + 1 } else { 0 };
        before = now;
        equal == 100
    });
    let until = Instant::now() + Duration::from_secs(3);
    eventually("three seconds", || Instant::now() > until);
    assert_eq!(switches(), before, "no thread has woken in three seconds");
}

#[test]
fn stats_are_for_this_machine_and_not_for_clients_of_a_proxy_or_a_foreign_name() {
    let (local, public) = (Program::start(&[]), Program::start(&["--stats", "public"]));
    for (headers, status) in [
        ("Host: localhost\r\n", "200"),
        ("Host: 127.0.0.1:8888\r\n", "200"),
        ("Host: [::1]\r\n", "200"),
        ("Host: evil.test\r\n", "403"),
        ("Host: localhost.evil.test\r\n", "403"),
        ("Host: localhost\r\nX-Forwarded-For: 10.0.0.1\r\n", "403"),
        ("Host: localhost\r\nX-Forwarded-Proto: https\r\n", "403"),
        ("Host: localhost\r\nX-Forwarded-Port: 80\r\n", "403"),
        ("Host: localhost\r\nX-Forwarded-Server: a\r\n", "403"),
        ("Host: localhost\r\nx-forwarded-prefix: /a\r\n", "403"),
        ("Host: localhost\r\nX-Real-IP: 10.0.0.1\r\n", "403"),
        ("Host: localhost\r\nForwarded: for=10.0.0.1\r\n", "403"),
        ("Host: localhost\r\nVia: 1.1 proxy\r\n", "403"),
    ] {
        for (program, status) in [(&local, status), (&public, "200")] {
            let mut client = Raw::connect(program.addr());
            client.send(format!("GET /stats HTTP/1.1\r\n{headers}\r\n"));
            let head = client.head();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {head}");
        }
    }
}
