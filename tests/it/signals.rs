//! The signals that end the program and those that do not, and a log file that is full, moved away, or missing. All
//! from outside: the binary, real signals, real limits.

use crate::support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rustix::process::Signal;
use serde_json::Value;
use support::{Program, Raw, close_frame, eventually, kill};

const ARGS: [&str; 4] = ["--port", "0", "--address", "127.0.0.1"];

fn client(program: &Program) -> Raw {
    Raw::websocket(program.addr(), "/websocket?Id=A")
}

/// The program, in a shell that runs a command first. A background process of a shell ignores SIGINT and SIGQUIT, and
/// if the tests ran in one, the program would too.
fn after(shell: &str, args: &[&str]) -> Program {
    let script = format!("{shell}; exec \"$0\" \"$@\"");
    let mut command = Command::new("env");
    command.args(["--default-signal", "sh", "-c", &script, env!("CARGO_BIN_EXE_threadcast")]);
    Program::spawn(command.args(ARGS).args(args))
}

/// A path that does not exist.
fn nothing_at(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

fn expect_pushes(client: &mut Raw) {
    (0..5).for_each(|_| assert_eq!(client.frame().first, 0x81));
}

/// Reads pushes until the Close comes, and answers it.
fn expect_going_away(client: &mut Raw) {
    while client.frame() != close_frame(1001, "server shutting down") {}
    client.send_frame(0x88, 1001u16.to_be_bytes());
}

fn lost_log_lines(client: &mut Raw) -> u64 {
    client.send("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let stats: Value = serde_json::from_slice(&client.response().1).unwrap();
    stats["lost_log_lines"].as_u64().unwrap_or_else(|| panic!("{stats}"))
}

#[test]
fn sigxfsz_sigpipe_and_signals_that_the_system_ignores_do_not_end_it() {
    let program = Program::start(&["--interval", "20ms"]);
    let mut client = client(&program);
    for signal in ["XFSZ", "PIPE", "URG", "WINCH", "CHLD", "CONT"] {
        kill(program.pid(), signal);
        expect_pushes(&mut client);
    }
    assert_eq!(program.lines().iter().filter(|line| line.contains("shutting down")).count(), 0);
}

#[test]
fn faults_and_all_other_signals_end_it_by_their_signal() {
    for (name, number) in
        [("ILL", 4), ("FPE", 8), ("ABRT", 6), ("QUIT", 3), ("ALRM", 14), ("XCPU", 24), ("34", 34)]
    {
        let mut program = after("ulimit -c 0", &[]);
        program.addr();
        let status = program.wait_while(|program| kill(program.pid(), name));
        assert_eq!(status.signal(), Some(number), "{name}");
    }
}

#[test]
fn a_log_file_at_its_limit_loses_lines_and_nothing_else_and_they_are_counted() {
    let path = nothing_at("limited.log");
    let program = after("ulimit -f 4", &["--interval", "1ms", "--log-file", path.to_str().unwrap()]);
    let mut client = client(&program);
    let mut asking = Raw::connect(program.addr());
    eventually("a line is lost", || {
        expect_pushes(&mut client);
        lost_log_lines(&mut asking) > 0
    });
    expect_pushes(&mut client);
    assert!(fs::metadata(&path).unwrap().len() <= 4 * 1024);
}

#[test]
fn an_output_at_its_limit_loses_only_lines_and_later_says_how_many() {
    let path = nothing_at("limited.out");
    let name = path.to_str().unwrap();
    let program = after(&format!("ulimit -f 4; exec >>'{name}'"), &["--interval", "1ms"]);
    let text = || fs::read_to_string(&path).unwrap_or_default();
    eventually("its first line", || text().contains('\n'));
    let first = text();
    let addr = first.strip_prefix("threadcast is at http://").and_then(|rest| rest.split_once('/'));
    let addr = addr.unwrap_or_else(|| panic!("{first}")).0.parse().unwrap();
    let mut client = Raw::websocket(addr, "/websocket?Id=A");
    let mut asking = Raw::connect(addr);
    eventually("a line is lost", || {
        expect_pushes(&mut client);
        lost_log_lines(&mut asking) > 0
    });
    // As logrotate does with `copytruncate`.
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    eventually("it says so", || {
        expect_pushes(&mut client);
        text().contains(" lines were lost, because the log could not take them\n")
    });
    // The line that was cut at the limit has not absorbed the next one.
    assert!(text().starts_with('\n') || text().starts_with("[INFO] "), "{}", text());
    assert_eq!(program.lines(), Vec::<String>::new(), "nothing went to the terminal");
}

#[test]
fn sighup_opens_the_log_file_again() {
    let (path, moved) = (nothing_at("rotated.log"), nothing_at("rotated.log.1"));
    let program = Program::start(&["--interval", "20ms", "--log-file", path.to_str().unwrap()]);
    let mut client = client(&program);
    let has = |path: &Path, text: &str| fs::read_to_string(path).is_ok_and(|lines| lines.contains(text));
    eventually("a line in the file", || has(&path, "write to client A:"));
    fs::rename(&path, &moved).unwrap();
    program.signal(Signal::HUP);
    eventually("a line in the new file", || has(&path, "write to client A:"));
    let old = fs::read_to_string(&moved).unwrap();
    expect_pushes(&mut client);
    assert_eq!(fs::read_to_string(&moved).unwrap(), old, "nothing more in the old one");
}

#[test]
fn a_log_file_that_cannot_be_opened_again_is_written_on() {
    let folder = nothing_at("folder-of-log");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let path = folder.join("clock.log");
    let program = Program::start(&["--interval", "20ms", "--log-file", path.to_str().unwrap()]);
    let mut client = client(&program);
    let moved = nothing_at("moved-folder-of-log");
    let _ = fs::remove_dir_all(&moved);
    fs::rename(&folder, &moved).unwrap();
    program.signal(Signal::HUP);
    program.wait_for_line("cannot reopen the log file; still writing to the old one: No such file");
    expect_pushes(&mut client);
    eventually("the old one says so too", || {
        fs::read_to_string(moved.join("clock.log")).unwrap().contains("still writing to the old one")
    });
}

#[test]
fn without_a_log_file_sighup_is_an_orderly_end() {
    let mut program = Program::start(&["--interval", "20ms"]);
    let mut client = client(&program);
    program.signal(Signal::HUP);
    expect_going_away(&mut client);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn sighup_stays_ignored_under_nohup_and_other_signals_do_not() {
    for (signal, other) in [(Signal::TERM, "with nohup"), (Signal::INT, "of a shell's background")] {
        let mut program = after("trap '' HUP TERM INT", &["--interval", "20ms"]);
        let mut client = client(&program);
        program.signal(Signal::HUP);
        expect_pushes(&mut client);
        program.signal(signal);
        expect_going_away(&mut client);
        assert_eq!(program.wait().code(), Some(0), "{other}");
    }
}

#[test]
fn signals_that_were_blocked_at_its_start_are_not() {
    SigSet::all().thread_block().unwrap();
    let mut program = Program::start(&["--interval", "20ms"]);
    SigSet::all().thread_unblock().unwrap();
    let mut client = client(&program);
    program.signal(Signal::TERM);
    expect_going_away(&mut client);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn two_stop_signals_within_a_second_count_as_one() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::HUP)]
    {
        let mut program = Program::start(&["--interval", "20ms"]);
        let mut client = client(&program);
        program.signal(first);
        program.signal(second);
        expect_going_away(&mut client);
        program.wait_for_line("Client A is closed 1001");
        assert_eq!(program.wait().code(), Some(0), "{first:?} {second:?}");
    }
}

#[test]
fn a_double_signal_from_timeout_is_an_orderly_end() {
    let mut command = Command::new("timeout");
    command.args(["1", env!("CARGO_BIN_EXE_threadcast")]).args(ARGS).args(["--interval", "20ms"]);
    let mut program = Program::spawn(command.stdin(Stdio::null()));
    let mut client = client(&program);
    expect_going_away(&mut client);
    program.wait_for_line("Client A is closed 1001");
    assert_eq!(program.wait().code(), Some(124));
}

#[test]
fn a_later_second_stop_ends_it_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut program = Program::start(&["--interval", "1h"]);
        let _silent = client(&program);
        program.signal(Signal::TERM);
        program.wait_for_line("shutting down; another signal after a second ends the program at once");
        let later = Instant::now() + Duration::from_millis(1100);
        eventually("more than a second has passed", || Instant::now() > later);
        program.signal(second);
        assert_eq!(program.wait().code(), Some(code));
    }
}
