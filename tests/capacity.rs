//! The server has no place for another client: it refuses politely and counts that, and other clients notice nothing.

mod support;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Probed, Program, Raw, eventually, frame, has_descriptors, not_checked, threads, upgrade};
use threadcast::{Application, Capacity, Message, Result, Server, WebSocketHandler};

/// Places beyond the clients, for requests.
const SPARE: usize = 16;
/// How long a head may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

struct Echo;

impl WebSocketHandler for Echo {
    fn on_message(&mut self, connection: &threadcast::Connection, message: Message) -> Result<()> {
        connection.write_message(message)
    }
}

#[test]
fn beyond_the_capacity_a_client_gets_503_and_those_inside_notice_nothing() {
    let capacity = Capacity::new(2);
    let application = Application::new().websocket("/ws", || Echo);
    let server = Server::bind_with("127.0.0.1:0", application, capacity).unwrap();
    let mut inside = [Raw::websocket(server.local_addr(), "/ws"), Raw::websocket(server.local_addr(), "/ws")];
    for refused in 1..=3 {
        let mut outside = Raw::connect(server.local_addr());
        outside.send(upgrade("/ws", ""));
        let (head, body) = outside.response();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
        assert_eq!(body, b"503: No room for another client, try again later\n");
        assert!(outside.is_at_end());
        eventually("it is counted", || server.stats().rejected == refused);
    }
    for client in &mut inside {
        client.send_frame(0x81, "hi");
        assert_eq!(client.frame(), frame(0x81, "hi"));
    }
    // They had a place, but could not stay.
    eventually("they are gone", || (server.stats().clients, server.stats().accepted) == (2, 5));
    let [first, _second] = inside;
    drop(first);
    eventually("there is room again", || server.stats().clients == 1);
    Raw::websocket(server.local_addr(), "/ws");
}

/// If the server closed it at once, the socket would answer with a reset, which may overtake the 503.
#[test]
fn a_client_whose_request_is_still_on_its_way_can_read_its_refusal() {
    let capacity = Capacity::new(1);
    let application = Application::new().websocket("/ws", || Echo);
    let server = Server::bind_with("127.0.0.1:0", application, capacity).unwrap();
    let _inside = Raw::websocket(server.local_addr(), "/ws");
    // Silent clients hold the places for requests.
    let _silent: Vec<_> = (0..SPARE).map(|_| Raw::connect(server.local_addr())).collect();
    let mut outside = Raw::connect(server.local_addr());
    let (head, _) = outside.response();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(outside.is_at_end());
    // A reset for the first part would show at the second.
    for part in [upgrade("/ws", ""), "more".into()] {
        outside.stream.write_all(part.as_ref()).unwrap();
    }
}

#[test]
fn the_machines_limits_are_in_the_start_up_line() {
    // A thread of this process takes as many mappings as one of the program only if the program keeps its signal
    // stacks.
    let program = after("export THREADCAST_KEEP_SIGNAL_STACKS=1", &[]);
    let line = program.wait_for_line("threadcast is at ");
    let capacity = Capacity::of_this_machine(&Application::new().stack_size(64 << 10));
    // Without the number: if free memory is the limit, it changes within a moment.
    assert!(line.contains("for up to ") && line.contains(&format!(" clients ({}", capacity.limit)), "{line}");
}

/// A program that a shell starts after `first`. It lowers a limit there, because only a process itself can.
fn after(first: &str, args: &[&str]) -> Program {
    let mut command = Command::new("sh");
    let script = format!("{first} && exec \"$0\" --port 0 --address 127.0.0.1 --interval 50ms \"$@\"");
    Program::spawn(command.args(["-c", &script, env!("CARGO_BIN_EXE_threadcast")]).args(args))
}

/// A program that may open 64 descriptors.
fn with_64_descriptors(args: &[&str]) -> Program {
    after("ulimit -n 64", args)
}

#[test]
fn with_few_descriptors_it_refuses_and_serves_again_when_one_is_free() {
    let program = with_64_descriptors(&["--logging", "warning"]);
    let line = program.wait_for_line("threadcast is at ");
    assert!(line.contains("(RLIMIT_NOFILE"), "{line}");
    let mut witness = Raw::websocket(program.addr(), "/websocket?Id=witness");
    let crowd: Vec<_> = (0..200).map(|_| Raw::connect(program.addr())).collect();
    (0..3).for_each(|_| assert_eq!(witness.frame().first, 0x81));
    drop(crowd);
    expect_service(&program);
    (0..3).for_each(|_| assert_eq!(witness.frame().first, 0x81));
}

/// Waits until a new client gets service.
fn expect_service(program: &Program) {
    eventually("a new client is served", || {
        let mut client = Raw::connect(program.addr());
        client.send(upgrade("/websocket?Id=late", ""));
        client.response_or_end().is_some_and(|head| head.starts_with("HTTP/1.1 101 "))
    });
}

#[test]
fn without_a_free_descriptor_it_says_so_once_and_serves_again_when_one_is_free() {
    let begun = Instant::now();
    let program = with_64_descriptors(&["--logging", "warning", "--max-clients", "1000"]);
    assert!(program.wait_for_line("threadcast is at ").contains("for up to 1000 clients (as chosen)"));
    let mut witness = Raw::websocket(program.addr(), "/websocket?Id=witness");
    let crowd: Vec<_> = (0..200).map(|_| Raw::connect(program.addr())).collect();
    let line = program.wait_for_line("cannot accept: ");
    assert!(line.contains("(listener)") && line.contains("Too many open files"), "{line}");
    // In that time `accept` fails many more times.
    (0..20).for_each(|_| assert_eq!(witness.frame().first, 0x81));
    assert!(threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count() < 64);
    drop(crowd);
    expect_service(&program);
    (0..3).for_each(|_| assert_eq!(witness.frame().first, 0x81));
    let lines = program.lines();
    let said = lines.iter().filter(|line| line.contains("cannot accept: ")).count() as u64;
    assert!((1..=1 + begun.elapsed().as_secs() / 60).contains(&said), "{lines:#?}");
}

#[test]
fn a_client_that_no_thread_can_be_started_for_gets_503_and_the_server_stays_up() {
    // More than the address space.
    let settings = |application: Application| application.stack_size(1 << 48);
    let capacity = Capacity::new(2);
    let probed = Probed::start_within(capacity, settings, |_, _| Ok(()));
    // More clients than places: none of them has kept one.
    for refused in 1..=5 {
        let mut client = Raw::connect(probed.addr);
        let (head, body) = client.response();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
        assert_eq!(body, b"503: No room for another client, try again later\n");
        assert!(client.is_at_end());
        eventually("it is counted", || probed.server.stats().rejected == refused);
    }
    let stats = probed.server.stats();
    assert_eq!((stats.clients, stats.accepted), (0, 0));
    probed.server.shutdown();
}

#[test]
fn a_flood_of_half_open_connections_keeps_to_its_share_of_the_capacity() {
    let capacity = Capacity::new(40);
    let application = Application::new().websocket("/ws", || Echo);
    let server = Server::bind_with("127.0.0.1:0", application, capacity).unwrap();
    let mut flood: Vec<_> = (0..200).map(|_| Raw::connect(server.local_addr())).collect();
    eventually("a quarter of the places is taken, and those for requests", || {
        let stats = server.stats();
        stats.accepted + stats.rejected == 200 && stats.clients == (10 + SPARE) as u64
    });
    let mut real: Vec<_> =
        (0..30).map(|_| Raw::connect_from(2, server.local_addr()).upgraded("/ws")).collect();
    for client in &mut real {
        client.send_frame(0x81, "hi");
        assert_eq!(client.frame(), frame(0x81, "hi"));
    }
    // The oldest went, with a 503.
    assert!(flood[0].head().starts_with("HTTP/1.1 503 "));
}

/// Descriptors for the tests below. The program needs as many.
const DESCRIPTORS: u64 = 2500;

#[test]
fn a_thousand_half_open_connections_keep_nobody_out_and_pushes_go_on() {
    if !has_descriptors(DESCRIPTORS, "a thousand half-open connections") {
        return;
    }
    let half_a_head = &upgrade("/websocket?Id=half", "")[..60];
    // With room for all of them, and with room for some of them, one of which makes way for a client.
    for (room, at_first, at_last) in [("4400", 1000, 1000), ("40", 10 + SPARE, 9 + SPARE)] {
        let args = ["--max-clients", room, "--interval", "50ms", "--logging", "none"];
        let program = Program::start(&args);
        let clients = || threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count();
        let mut witness = Raw::websocket(program.addr(), "/websocket?Id=witness");
        let half_open = |n: usize| {
            let mut raw = Raw::connect(program.addr());
            raw.send(if n.is_multiple_of(2) { half_a_head } else { "" });
            raw
        };
        let begun = Instant::now();
        let _half_open: Vec<_> = (0..1000).map(half_open).collect();
        // Unless this machine is so slow that the first have used up the ten seconds for a head.
        let all = || clients() == 1 + at_first || begun.elapsed() > HEAD_DEADLINE;
        eventually("they have their share", all);
        let real = |n: usize| Raw::connect_from(2, program.addr()).upgraded(&format!("/websocket?Id=c{n}"));
        let mut real: Vec<_> = (0..20).map(real).collect();
        for client in real.iter_mut().chain([&mut witness]) {
            (0..3).for_each(|_| assert_eq!(client.frame().first, 0x81));
        }
        // Or fewer half-open ones, because they do not stay.
        eventually("no more than the limit are open", || (21..=21 + at_last).contains(&clients()));
    }
}

/// The server serves as many clients as the program says, the next ones get 503, and the others notice nothing.
fn serves_as_many_as_it_says(program: Program, limit: &str, what: &str) {
    if !has_descriptors(DESCRIPTORS, what) {
        return;
    }
    let line = program.wait_for_line("threadcast is at ");
    // In a container without control groups it cannot know their limits.
    let has_groups = fs::read_dir("/sys/fs/cgroup").is_ok_and(|mut groups| groups.next().is_some());
    let is_hidden = !has_groups && line.contains("(the limits in /sys/fs/cgroup could not be read; ");
    assert!(line.contains(limit) || is_hidden, "{what}: {line}");
    let number = line.split(" for up to ").nth(1).and_then(|rest| rest.split(' ').next());
    let clients: usize = number.and_then(|number| number.parse().ok()).expect("says how many");
    assert!(clients > 100, "{what}: {line}");
    let open = |n| Raw::websocket(program.addr(), &format!("/websocket?Id=c{n}"));
    let mut inside: Vec<_> = (0..clients).map(open).collect();
    for _ in 0..50 {
        let mut outside = Raw::connect(program.addr());
        outside.send(upgrade("/websocket?Id=one-more", ""));
        let head = outside.response_or_end();
        assert!(head.as_ref().is_some_and(|head| head.starts_with("HTTP/1.1 503 ")), "{what}: {head:?}");
    }
    for client in &mut inside {
        client.send_frame(0x89, "still there?");
        while client.frame() != frame(0x8a, "still there?") {}
    }
    program.signal(Signal::TERM);
    drop(inside);
    let (code, lines) = program.run_to_its_end();
    assert_eq!(code, Some(0), "{what}: {lines:#?}");
}

#[test]
fn with_few_addresses_it_serves_as_many_as_it_says_and_refuses_the_next() {
    const ADDRESSES: &str = "RLIMIT_AS, half of it at 104 KiB a client; raise it with ulimit -v";
    for (first, args, limit) in [
        ("ulimit -v 409600", &["--logging", "none"][..], ADDRESSES),
        ("ulimit -v 409600", &["--logging", "none", "--delivery", "handoff"], "RLIMIT_AS"),
        ("ulimit -v 409600", &["--logging", "none", "--stack-size", "1MiB"], "RLIMIT_AS"),
        ("ulimit -v 102400", &["--logging", "none"], ADDRESSES),
        // This leaves room for some arenas of the allocator.
        ("ulimit -v 800000", &["--logging", "none", "--stack-size", "1MiB"], "RLIMIT_AS"),
        ("ulimit -v 409600 && export MALLOC_ARENA_MAX=2", &["--logging", "none"], ADDRESSES),
        ("ulimit -d 102400", &["--logging", "none"], "RLIMIT_DATA"),
    ] {
        serves_as_many_as_it_says(after(first, args), limit, &format!("{first} {args:?}"));
    }
}

/// It executes itself again with fewer arenas, and nobody can tell.
#[test]
fn with_few_addresses_it_keeps_its_number_its_name_and_its_arguments() {
    let program = after("ulimit -v 409600", &["--max-clients", "7", "--logging", "none"]);
    assert!(program.wait_for_line("threadcast is at ").contains("for up to 7 clients (as chosen)"));
    assert!(threads(program.pid()).contains(&"threadcast".to_owned()));
    for (first, arenas) in [
        ("ulimit -v 409600", Some("MALLOC_ARENA_MAX=1")),
        ("ulimit -v 409600 && export MALLOC_ARENA_MAX=3", Some("MALLOC_ARENA_MAX=3")),
        ("unset MALLOC_ARENA_MAX", None),
    ] {
        let program = after(first, &["--logging", "none"]);
        program.addr();
        let environment = fs::read(format!("/proc/{}/environ", program.pid())).expect("reads");
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let found = environment.split('\0').find(|variable| variable.starts_with("MALLOC_ARENA_MAX="));
        assert_eq!(found, arenas, "{first}");
    }
}

/// Bytes of the control group below.
const GROUP_BYTES: u64 = 48 << 20;
const IN_A_GROUP: &str = "in_a_control_group_of_48_mib_it_serves_as_many_as_it_says_and_refuses_the_next";

/// A new control group, until this is dropped.
struct Group(PathBuf);

impl Group {
    /// Makes one at `root`, with the limit of its memory in `file`.
    fn new(root: &str, file: &str) -> io::Result<Group> {
        let group = Group(Path::new(root).join(format!("threadcast-test-{}", id())));
        fs::create_dir(&group.0)?;
        // Only if it exists: without mounted control groups, this could create a file.
        OpenOptions::new()
            .write(true)
            .open(group.0.join(file))?
            .write_all(GROUP_BYTES.to_string().as_bytes())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has ended stays in it for a moment.
        eventually("the group is empty", || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

#[test]
fn in_a_control_group_of_48_mib_it_serves_as_many_as_it_says_and_refuses_the_next() {
    const LIMIT: &str = "memory of the control group, half of it at ";
    let mut refusals = Vec::new();
    // Version 1, and version 2.
    for (root, file) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
    {
        match Group::new(root, file) {
            Ok(group) => {
                let join = format!("echo $$ > {}/cgroup.procs", group.0.display());
                for args in [&["--logging", "none"][..], &["--logging", "none", "--delivery", "handoff"]] {
                    serves_as_many_as_it_says(after(&join, args), LIMIT, &format!("{join} {args:?}"));
                }
                return;
            }
            Err(error) => refusals.push(format!("{root}: {error}")),
        }
    }
    not_checked(IN_A_GROUP, &refusals.join("; "));
}
