//! Faults around the program that its clients must not notice.

#[path = "../src"]
#[allow(dead_code, reason = "the program's own module, of which this test needs a part")]
mod program {
    pub mod clock;
}
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, TimeZone};
use clock::clients::Clients;
use clock::greeting::Greeting;
use clock::handlers::{self, Site};
use clock::rounds::RoundStats;
use clock::send_thread::{Rounds, SendThread};
use clock::time::payload;
use program::clock;
use rustix::process::Signal;
use serde_json::Value;
use support::network::{in_a_private_network, ip, with_mounts};
use support::{Program, Raw, eventually, fetch, frame, free_port, get, status, threads};
use threadcast::{Application, Server};

fn client(addr: SocketAddr, id: &str) -> Raw {
    Raw::websocket(addr, &format!("/websocket?Id={id}"))
}

#[test]
fn with_its_output_closed_it_still_serves() {
    let addr = free_port();
    let script = format!("exec \"$0\" --port {} --address 127.0.0.1 --interval 20ms >&- 2>&-", addr.port());
    let _program = Program::spawn(Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_threadcast")]));
    eventually("it listens", || TcpStream::connect(addr).is_ok());
    let mut client = client(addr, "A");
    (0..5).for_each(|_| assert_eq!(client.frame().first, 0x81));
}

/// The program, its output after the first line, and the address in that line.
fn with_output(interval: &str) -> (Child, BufReader<ChildStdout>, SocketAddr) {
    let args = ["--port", "0", "--address", "127.0.0.1", "--interval", interval];
    let mut child = Program::command().args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let addr = line.strip_prefix("threadcast is at http://").and_then(|rest| rest.split_once('/'));
    let addr = addr.unwrap_or_else(|| panic!("{line}")).0.parse().unwrap();
    (child, output, addr)
}

#[test]
fn a_reader_of_its_output_that_goes_away_does_not_end_it() {
    let (mut child, output, addr) = with_output("20ms");
    drop(output);
    // The reader is gone, and every line from now on is a broken pipe.
    let mut client = client(addr, "A");
    (0..5).for_each(|_| assert_eq!(client.frame().first, 0x81));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_output_that_takes_no_more_holds_up_nobody() {
    let (mut child, output, addr) = with_output("1ms");
    let mut lines = output.lines().map_while(Result::ok);
    let mut client = client(addr, "A");
    // Their lines are twice as many as fit in the pipe.
    (0..3000).for_each(|_| assert_eq!(client.frame().first, 0x81));
    // Now the test reads it, and no line is missing.
    let mut pushes = lines.by_ref().filter(|line| line.contains("(send) write to client A:"));
    assert_eq!(pushes.by_ref().take(3000).count(), 3000);
    // It fills up again, which must not keep the program from ending.
    (0..3000).for_each(|_| assert_eq!(client.frame().first, 0x81));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    eventually("it ends", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_output_that_does_not_wait_is_waited_for() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Any process that has the pipe may set this, for all that have it.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let args = ["--port", "0", "--address", "127.0.0.1", "--interval", "1ms"];
    let mut child = Program::command().args(args).stdout(writer).spawn().unwrap();
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    let first = lines.next().expect("where it is");
    let addr = first.strip_prefix("threadcast is at http://").and_then(|rest| rest.split_once('/'));
    let mut client = client(addr.unwrap_or_else(|| panic!("{first}")).0.parse().unwrap(), "A");
    // Their lines are twice as many as fit in the pipe.
    (0..3000).for_each(|_| assert_eq!(client.frame().first, 0x81));
    let pushes = lines.by_ref().filter(|line| line.contains("(send) write to client A:"));
    assert_eq!(pushes.take(3000).count(), 3000);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_log_file_on_a_full_disk_loses_lines_and_nothing_else() {
    let program = Program::start(&["--log-file", "/dev/full", "--interval", "20ms"]);
    let mut client = client(program.addr(), "A");
    (0..5).for_each(|_| assert_eq!(client.frame().first, 0x81));
    program.wait_for_line("write to client A:");
}

const FILLS_UP: &str = "a_disk_that_fills_up_costs_log_lines_which_both_places_of_the_log_say";

#[test]
fn a_disk_that_fills_up_costs_log_lines_which_both_places_of_the_log_say() {
    with_mounts(FILLS_UP, "mount -t tmpfs -o size=16k tmpfs /mnt", || {
        let file = "/mnt/threadcast.log";
        let program = Program::start(&["--log-file", file, "--interval", "1ms"]);
        let mut client = client(program.addr(), "A");
        let mut pushed_until = |what: &str, done: &dyn Fn() -> bool| {
            eventually(what, || {
                (0..5).for_each(|_| assert_eq!(client.frame().first, 0x81));
                done()
            });
        };
        let lost = || number(&stats(program.addr()), "lost_log_lines");
        pushed_until("lines are lost", &|| lost() > 100);
        let said = |text: &str| program.lines().iter().filter(|line| line.ends_with(text)).count();
        let full =
            "(log-file) cannot write the log file, so it loses lines: No space left on device (os error 28)";
        program.wait_for_line(full);
        assert_eq!(status(&fetch(program.addr(), get("/health", "")).0), 200);
        assert!(Command::new("mount").args(["-o", "remount,size=1m", "/mnt"]).status().unwrap().success());
        let text = || fs::read_to_string(file).unwrap();
        pushed_until("the file says so", &|| {
            text().contains(" lines were lost, because the log could not take them\n")
        });
        pushed_until("the file has room", &|| said("(log-file) the log file takes lines again") == 1);
        pushed_until("the file has the end", &|| text().contains("the log file takes lines again\n"));
        assert_eq!(said(full), 1);
    });
}

const READ_ONLY: &str = "with_a_read_only_root_it_serves_and_a_log_file_there_is_one_line_and_exit_1";

#[test]
fn with_a_read_only_root_it_serves_and_a_log_file_there_is_one_line_and_exit_1() {
    with_mounts(READ_ONLY, "mount -o remount,bind,ro / && ! touch /threadcast.log 2>/dev/null", || {
        let program = Program::start(&["--tls-self-signed"]);
        assert!(program.wait_for_line("threadcast is at https://").contains(" for up to "));
        for args in [&["--log-file", "/threadcast.log"][..], &["--log-file", "/threadcast.log", "--check"]] {
            let mut command = Program::command();
            let (code, lines) = Program::spawn(command.args(["--port", "0"]).args(args)).run_to_its_end();
            let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("threadcast: ")).collect();
            let told = "threadcast: cannot write the log file /threadcast.log: Read-only file system";
            assert_eq!((code, &errors[..]), (Some(1), &[&told.to_owned()][..]), "{args:?}");
        }
    });
}

#[test]
fn stopped_and_continued_it_goes_on_and_does_not_catch_up() {
    let interval = Duration::from_millis(100);
    let program = Program::start(&["--interval", "100ms"]);
    let mut client = client(program.addr(), "A");
    client.frame();
    let (begun, before) = (Instant::now(), stats(program.addr()));
    program.signal(Signal::STOP);
    let status = format!("/proc/{}/stat", program.pid());
    eventually("it is stopped", || fs::read_to_string(&status).is_ok_and(|text| text.contains(") T ")));
    let stopped = Instant::now();
    eventually("two seconds have passed", || stopped.elapsed() > Duration::from_secs(2));
    let (stopped, continued) = (stopped.elapsed(), Instant::now());
    program.signal(Signal::CONT);
    // Five pushes, in the time of five.
    let mut pushes = 0;
    while pushes < 5 || continued.elapsed() < 5 * interval {
        assert_eq!(client.frame().first, 0x81);
        pushes += 1;
    }
    let after = stats(program.addr());
    let running = begun.elapsed() - stopped;
    let more = |name: &str| number(&after, name) - number(&before, name);
    assert!(more("late_rounds") >= 1, "{after}");
    // One for each interval in which it ran; and one that was in flight before, one that was due when it was stopped,
    // one right after that, and one for partial intervals. A server that catches up would send twenty more.
    let most = running.as_millis() / interval.as_millis() + 4;
    assert!(u128::from(more("rounds")) <= most, "{} rounds in {running:?}", more("rounds"));
}

/// A second later at each reading, except for the readings 5 to 9, which are an hour earlier.
fn jumping(reading: i64) -> DateTime<Local> {
    let hours = i64::from((5..10).contains(&reading));
    Local.timestamp_opt(1_795_371_245 + reading - 3600 * hours, 0).unwrap()
}

#[test]
fn when_the_wall_clock_jumps_an_hour_back_and_forth_pushes_keep_their_interval_and_show_it() {
    static READINGS: AtomicI64 = AtomicI64::new(0);
    let interval = Duration::from_millis(200);
    let clients = Arc::new(Clients::new());
    let site = Site {
        clients: clients.clone(),
        pages: handlers::PAGES,
        origins: None,
        also: |_| {},
        greeting: Greeting::new(interval, false).into(),
        topics: None,
        fleet: None,
    };
    let server = Server::bind("127.0.0.1:0", handlers::routes(Application::new(), site)).unwrap();
    let mut client = client(server.local_addr(), "A");
    let wall = || jumping(READINGS.fetch_add(1, Ordering::Relaxed));
    let rounds = Rounds { interval, pad: 0, threads: None, wall };
    let send = SendThread::start(clients, rounds, Arc::new(RoundStats::new(interval))).unwrap();
    let arrivals = (0..15).map(|reading| {
        assert_eq!(client.frame(), frame(0x81, payload(&jumping(reading))));
        Instant::now()
    });
    let arrivals: Vec<_> = arrivals.collect();
    send.stop();
    // The distance of each one from its slot. On a busy machine some are late.
    let mut off: Vec<_> =
        (0..15).map(|n| (arrivals[n] - arrivals[0]).abs_diff(interval * n as u32)).collect();
    off.sort();
    assert!(off[8] < Duration::from_millis(50), "{off:?}");
}

const VANISHES: &str = "a_peer_that_vanishes_without_a_word_is_noticed_and_nobody_else_is_disturbed";

#[test]
fn a_peer_that_vanishes_without_a_word_is_noticed_and_nobody_else_is_disturbed() {
    in_a_private_network(VANISHES, a_peer_vanishes);
}

fn a_peer_vanishes() {
    ip(&["address", "add", "10.0.0.1/32", "dev", "lo"]);
    let args = ["--port", "0", "--address", "0.0.0.0", "--interval", "20ms", "--logging", "debug"];
    let program = Program::spawn(Program::command().args(args).args(["--ping-interval", "1s"]));
    let addr = program.addr();
    let (mut near, mut far) = (client(addr, "near"), client(([10, 0, 0, 1], addr.port()).into(), "far"));
    assert_eq!(far.frame().first, 0x81);
    // From now on no packet passes in either direction.
    ip(&["address", "delete", "10.0.0.1/32", "dev", "lo"]);
    let mut serve_until = |what: &str, done: &dyn Fn() -> bool| {
        eventually(what, || {
            match near.frame().first {
                0x89 => near.send_frame(0x8a, ""),
                first => assert_eq!(first, 0x81),
            }
            done()
        });
    };
    let says = |text: &str| program.lines().iter().any(|line| line.contains(text));
    serve_until("its ping is not answered", &|| says("/websocket): closing with 1011 ping timed out"));
    serve_until("on_close", &|| says("Client far is closed"));
    serve_until("its thread is gone", &|| {
        threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count() == 1
    });
    assert!(!says("?Id=near): closing"));
}

#[test]
fn a_client_that_reads_a_byte_a_second_delays_nobody() {
    let program = Program::start(&["--lab", "--interval", "20ms", "--pad", "64KiB", "--logging", "warning"]);
    let mut witness = client(program.addr(), "witness");
    let mut slow = client(program.addr(), "slow");
    // Otherwise the kernel keeps tens of megabytes for it.
    rustix::net::sockopt::set_socket_recv_buffer_size(&slow.stream, 256 << 10).unwrap();
    let (mut pushes, mut read) = (0, Instant::now());
    // Until its backlog is full, and the server disconnects it.
    eventually("it is disconnected", || {
        if read.elapsed() >= Duration::from_secs(1) {
            read = Instant::now();
            let _ = std::io::Read::read(&mut slow.stream, &mut [0]);
        }
        pushes += u32::from(witness.frame().first == 0x81);
        program
            .lines()
            .iter()
            .any(|line| line.contains("is a slow consumer: disconnected, its backlog is full"))
    });
    assert!(pushes > 10, "{pushes}");
    eventually("its threads are gone", || {
        !threads(program.pid()).iter().any(|name| name.starts_with("pump-"))
    });
    let stats = stats(program.addr());
    assert_eq!(number(&stats, "slow_consumers"), 1, "{stats}");
}

/// The body of `/stats`.
fn stats(addr: SocketAddr) -> Value {
    let mut client = Raw::connect(addr);
    client.send("GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("application/json"), "{head}");
    serde_json::from_slice(&body).unwrap()
}

/// One of its numbers.
fn number(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"))
}

#[test]
fn stats_have_every_number_and_the_log_has_them_on_sigusr1_and_at_the_end() {
    let mut program = Program::start(&["--interval", "20ms", "--max-clients", "7"]);
    let mut client = client(program.addr(), "A");
    (0..3).for_each(|_| assert_eq!(client.frame().first, 0x81));
    let json = stats(program.addr());
    let number = |name: &str| number(&json, name);
    assert_eq!((number("clients"), number("capacity"), number("accepted"), number("rejected")), (2, 7, 2, 0));
    // The third push may arrive before it is counted.
    assert!(number("pushes") >= 2 && number("bytes") >= 2 * 28 && number("rounds") >= 2, "{json}");
    assert_eq!(number("slow_consumers"), 0);
    assert!(number("threads") >= 6 && number("resident_kib") > 1000, "{json}");
    assert!(number("longest_round_us") >= number("last_round_us"));
    number("late_rounds");
    program.signal(Signal::USR1);
    program.wait_for_line("\"slow_consumers\":0");
    let before = program.lines().iter().filter(|line| line.contains("\"capacity\":7")).count();
    assert_eq!((before, client.frame().first), (1, 0x81), "and it goes on");
    client.send_frame(0x88, "");
    while client.frame() != frame(0x88, "") {}
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    eventually("the last numbers", || {
        program.lines().iter().filter(|line| line.contains("\"capacity\":7")).count() == 2
    });
}

#[test]
fn more_clients_than_is_safe_are_a_warning() {
    let program = Program::start(&["--max-clients", "1000000"]);
    program.wait_for_line("--max-clients 1000000 is more than is safe here, which is ");
    assert!(program.wait_for_line("threadcast is at ").contains("for up to 1000000 clients (as chosen)"));
}

const BOTH: &str = "where_ipv6_is_without_ipv4_by_default_it_listens_on_both";

#[test]
fn where_ipv6_is_without_ipv4_by_default_it_listens_on_both() {
    in_a_private_network(BOTH, || {
        fs::write("/proc/sys/net/ipv6/bindv6only", "1").unwrap();
        let program = Program::spawn(Program::command().args(["--port", "0", "--interval", "20ms"]));
        let port = program.addr().port();
        for host in ["127.0.0.1", "[::1]"] {
            assert_eq!(client(format!("{host}:{port}").parse().unwrap(), "A").frame().first, 0x81, "{host}");
        }
    });
}
