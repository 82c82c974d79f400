//! The programs in `tests/examples/` do what they claim, for clients in Python that do not use this library.
//!
//! Each client fails at the first unexpected answer.

use crate::support;
use support::python;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::Program;

const EXAMPLES: [&str; 8] =
    ["chat", "dashboard", "bridge", "rpc", "tornado_port", "client", "reconnect", "relay"];
/// Longer, and nobody reads it in one go.
const MAX_LINES: usize = 120;

/// Where the examples are.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| support::examples(&["--examples"]))
}

/// An example on a free port, and its address.
fn start(example: &str, arguments: &[&str]) -> (Program, SocketAddr) {
    let mut command = Command::new(directory().join(example));
    command.arg("127.0.0.1:0").args(arguments).env("DASHBOARD_TOKEN", "secret");
    listening(example, &mut command)
}

fn listening(name: &str, command: &mut Command) -> (Program, SocketAddr) {
    let program = Program::spawn(command.stdin(Stdio::null()));
    let line = program.wait_for_line(&format!("{name} is at "));
    let address = line.split('/').nth(2).and_then(|address| address.parse().ok()).expect("an address");
    (program, address)
}

/// Runs the client of an example to its end.
fn visit(client: &str, addresses: &[SocketAddr]) {
    let script = Path::new("tests/examples/clients").join(client).with_extension("py");
    let mut command = Command::new(python::python());
    command.arg("-B").arg(script).args(addresses.iter().map(SocketAddr::to_string));
    python::run(&mut command).unwrap_or_else(|what| panic!("{what}"));
}

#[test]
fn the_chat_announces_arrivals_and_departures_in_each_room() {
    let (_chat, address) = start("chat", &[]);
    visit("chat", &[address]);
}

#[test]
fn the_dashboard_shows_the_posts_of_callers_with_the_token() {
    let (_dashboard, address) = start("dashboard", &[]);
    visit("dashboard", &[address]);
}

#[test]
fn the_bridge_loses_no_client_to_a_fast_program_and_each_ends_with_the_other() {
    let shell = r#"
        while read -r line; do
            case $line in
                pid) echo $$;;
                end) exit;;
                sleep) exec sleep 1000;;
                long) head -c 200000 /dev/zero | tr '\0' x; echo;;
                flood) head -c 100000000 /dev/zero | tr '\0' x | fold -w 10000; echo; echo flooded;;
                *) echo "you said $line";;
            esac
        done"#;
    let (_bridge, address) = start("bridge", &["sh", "-c", shell]);
    visit("bridge", &[address]);
}

#[test]
fn the_rpc_answers_calls_batches_and_errors_by_websocket_and_by_post() {
    let (_rpc, address) = start("rpc", &[]);
    visit("rpc", &[address]);
}

#[test]
fn the_port_answers_as_its_original_in_tornado() {
    let mut command = Command::new(python::python());
    let (_tornado, original) =
        listening("tornado", command.args(["tests/examples/tornado_port.py", "127.0.0.1:0"]));
    let (_port, port) = start("tornado_port", &[]);
    visit("tornado_port", &[original, port]);
}

/// The clock in a child process, on a port that is free now.
fn clock(port: u16) -> Program {
    let port = port.to_string();
    let mut command = Program::command();
    let clock = Program::spawn(command.args([
        "--lab",
        "--logging",
        "none",
        "--address",
        "127.0.0.1",
        "--port",
        &port,
    ]));
    clock.wait_for_line("threadcast is at http://");
    clock
}

#[test]
fn the_client_sends_lines_and_prints_messages_and_ends_with_either_side() {
    let echo = clock(0);
    let url = format!("ws://{}/echo?Id=A", echo.addr());
    for (input, printed) in [("", ""), ("one\ntwo\n\n", "one\ntwo\n\n"), ("no end", "no end\n")] {
        let mut client = Command::new(directory().join("client"));
        let mut client =
            client.arg(&url).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        client.stdin.take().expect("piped").write_all(input.as_bytes()).expect("writes");
        let output = client.wait_with_output().expect("ends");
        assert_eq!(
            (String::from_utf8_lossy(&output.stdout).as_ref(), output.status.code()),
            (printed, Some(0))
        );
    }
    // A terminal would obey it.
    let script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) != 0)";
    let client = directory().join("client");
    let output = Command::new("sh")
        .args(["-c", r#"printf 'a\033[31m\342\200\256b\n' | "$0" "$@""#])
        .arg(&client)
        .arg(&url)
        .output()
        .expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\u{1b}[31m\u{202e}b\n", "raw into a pipe");
    let shell = format!(r#"printf 'a\033[31m\342\200\256b\n' | '{}' '{url}'"#, client.display());
    let output = Command::new(python::python())
        .args(["-c", script, "sh", "-c", &shell])
        .stdin(Stdio::null())
        .output()
        .expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), r"a\u{1b}[31m\u{202e}b", "on a terminal");
    for (arguments, code, says) in [
        (&[][..], 2, "client: give the server's address"),
        (&["http://a.test/"], 1, "write ws:// in place of http://"),
        (&[&format!("ws://{}/nothing", echo.addr())], 1, "answered the handshake with 404 Not Found"),
    ] {
        let mut client = Command::new(directory().join("client"));
        let output = client.args(arguments).stdin(Stdio::null()).output().expect("ends");
        let line = String::from_utf8_lossy(&output.stderr);
        assert!(line.contains(says) && line.lines().count() == 1, "{line}");
        assert_eq!(output.status.code(), Some(code), "{line}");
    }
}

#[test]
fn a_client_that_reconnects_is_back_when_the_server_is() {
    let first = clock(0);
    let addr = first.addr();
    let mut command = Command::new(directory().join("reconnect"));
    let reader = Program::spawn(command.arg(format!("ws://{addr}/websocket?Id=A")).stdin(Stdio::null()));
    reader.wait_for_line("20");
    drop(first);
    reader.wait_for_line("Connection refused; again in ");
    let before = reader.lines().len();
    let _second = clock(addr.port());
    support::eventually("it is connected again, and has a message", || {
        let lines = reader.lines();
        let since: Vec<_> = lines[before..].iter().map(String::as_str).collect();
        since.contains(&"connected") && since.iter().any(|line| line.starts_with("20"))
    });
    let mut command = Command::new(directory().join("reconnect"));
    let refused = Program::spawn(command.arg(format!("ws://{addr}/websocket")).stdin(Stdio::null()));
    let (code, lines) = refused.run_to_its_end();
    assert_eq!(code, Some(1));
    assert!(lines.len() == 1 && lines[0].ends_with("400 Bad Request, Missing argument Id"), "{lines:?}");
    // A server of another version refuses for good.
    let old = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut command = Command::new(directory().join("reconnect"));
    let url = format!("ws://{}/", old.local_addr().expect("an address"));
    let refused = Program::spawn(command.arg(url).stdin(Stdio::null()));
    let mut raw = support::Raw::over(old.accept().expect("accepts").0);
    raw.head();
    raw.send("HTTP/1.0 401 Unauthorized\r\n\r\nWho are you?");
    raw.stream.shutdown(std::net::Shutdown::Write).expect("shuts");
    let (code, lines) = refused.run_to_its_end();
    assert_eq!(code, Some(1));
    assert!(lines.len() == 1 && lines[0].ends_with("401 Unauthorized, Who are you?"), "{lines:?}");
}

#[test]
fn the_relay_passes_on_its_servers_messages_and_reports_its_absence() {
    let clock = clock(0);
    let url = format!("ws://{}/websocket?Id=relay", clock.addr());
    let (relay, address) =
        listening("relay", Command::new(directory().join("relay")).args(["127.0.0.1:0", &url]));
    visit("relay", &[address]);
    drop(clock);
    relay.wait_for_line("away: ");
}

#[test]
fn each_example_is_short_and_is_in_the_manual() {
    let manual = std::fs::read_to_string("src/guide/writing.md").unwrap();
    for example in EXAMPLES {
        let path = format!("tests/examples/{example}.rs");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < MAX_LINES, "{path} has {lines} lines");
        assert!(manual.contains(&path), "{path} is not in the manual");
    }
}
