//! The program under a supervisor: sockets that are handed over, what the supervisor is told, the units of the manual; and
//! how a restart without one can fail.

use crate::support;

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{self, Command};
use std::thread;

use rustix::process::Signal;
use support::restarts::{Line, is_running, supervised};
use support::{
    DEADLINE, Directory, Program, Raw, close_frame, eventually, fetch, get, header_values, status,
};

const LOOPBACK: [&str; 4] = ["--port", "0", "--address", "127.0.0.1"];

#[test]
fn a_socket_that_is_handed_over_is_used_and_the_options_for_one_are_not() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    // A client that comes before the program is served.
    let mut early = Raw::connect(addr);
    early.send(get("/", ""));
    let directory = Directory::new("handed-over");
    directory.write("a.toml", "port = 8888\n");
    let file = format!("{}/a.toml", directory.path());
    // Also where the value is that of the default.
    for (args, variable, ignored) in [
        (&LOOPBACK[..], ("A", "b"), Some("--port and --address do")),
        (&["--port", "8888"], ("A", "b"), Some("--port does")),
        (&["--address", "127.0.0.1"], ("THREADCAST_PORT", "8888"), Some("THREADCAST_PORT and --address do")),
        (&["--config", &file], ("A", "b"), Some(&format!("port ({file}:1) does")[..])),
        (&[], ("A", "b"), None),
    ] {
        let mut command = supervised(&[&socket], args);
        let mut program = Program::spawn(command.env(variable.0, variable.1));
        assert_eq!(program.addr(), addr);
        assert_eq!(status(&fetch(addr, get("/", "")).0), 200);
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
        let lines = program.lines();
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains("warning")).collect();
        let expected = ignored.map(|names| {
            format!("threadcast: warning: {names} nothing: the supervisor passes the socket (LISTEN_FDS)")
        });
        assert_eq!(warnings, Vec::from_iter(&expected), "{args:?}");
    }
    assert_eq!(status(&early.response().0), 200);
    // Variables for another process are not for this one.
    let mut other = Program::command();
    other.args(LOOPBACK).envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    assert_ne!(Program::spawn(&mut other).addr(), addr);
}

#[test]
fn a_program_that_is_killed_leaves_its_connects_to_the_next_one() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut first = Program::spawn(&mut supervised(&[&socket], &[]));
    let mut client = Raw::websocket(first.addr(), "/websocket?Id=A");
    first.signal(Signal::KILL);
    assert_eq!(first.wait().code(), None);
    while client.frame_or_end().is_some() {}
    let mut early = Raw::connect(socket.local_addr().unwrap());
    early.send(get("/health", ""));
    let _second = Program::spawn(&mut supervised(&[&socket], &[]));
    assert_eq!(status(&early.response().0), 200);
}

#[test]
fn of_two_sockets_the_one_that_is_named_redirect_or_the_second_one_is_for_http() {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let args = ["--tls-self-signed", "--http-port", "0"];
    for (names, main, redirect) in
        [("", first, second), ("redirect:http", second, first), ("a:redirect", first, second)]
    {
        let mut command = supervised(&[&sockets[0], &sockets[1]], &args);
        let program = Program::spawn(command.env("LISTEN_FDNAMES", names));
        assert_eq!((program.addr(), program.addr_in("redirects to it")), (main, redirect), "{names}");
        assert_eq!(status(&fetch(redirect, get("/", "")).0), 308);
    }
}

#[test]
fn sockets_that_cannot_be_used_are_one_line_and_exit_code_1() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = std::net::TcpStream::connect(listening.local_addr().unwrap()).unwrap();
    let not_tcp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (mut command, told) in [
        (
            supervised(&[&listening, &listening], &[]),
            "threadcast: LISTEN_FDS: the supervisor passes 2 sockets, and the program uses 1; --http-port uses another one",
        ),
        (
            supervised(&[&OwnedFd::from(connection).into()], &[]),
            "threadcast: LISTEN_FDS: the socket does not listen: pass one that does",
        ),
        (
            supervised(&[&OwnedFd::from(not_tcp).into()], &[]),
            "threadcast: LISTEN_FDS: fd 3 is not a valid tcp socket",
        ),
        (
            supervised(&[&OwnedFd::from(fs::File::open("/dev/null").unwrap()).into()], &[]),
            "threadcast: LISTEN_FDS: fd 3 is not a socket",
        ),
    ] {
        let (code, lines) = Program::spawn(&mut command).run_to_its_end();
        assert_eq!((code, &lines[..]), (Some(1), &[told.to_owned()][..]));
    }
}

/// A supervisor's socket, and the name of it.
fn supervisor(is_abstract: bool, directory: &Directory) -> (UnixDatagram, String) {
    let name = format!("{}/notify-{is_abstract}-{}", directory.path(), process::id());
    let (address, name) = if is_abstract {
        (SocketAddr::from_abstract_name(&name), format!("@{name}"))
    } else {
        (SocketAddr::from_pathname(&name), name)
    };
    let socket = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    (socket, name)
}

fn told(supervisor: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4096];
    let length = supervisor.recv(&mut bytes).expect("the supervisor is told something");
    String::from_utf8(bytes[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_supervisor_is_told_that_it_serves_that_it_lives_and_that_it_ends() {
    let directory = Directory::new("supervisor");
    for is_abstract in [false, true] {
        let (socket, name) = supervisor(is_abstract, &directory);
        let mut command = Program::command();
        command.args(LOOPBACK).args(["--drain-delay", "1s", "--drain", "2s", "--interval", "20ms"]);
        let mut program = Program::spawn(command.env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "100000"));
        let first = told(&socket);
        let at = format!("STATUS=serving on {} for up to ", program.addr());
        assert!(first[0] == "READY=1" && first[1].starts_with(&at) && first.len() == 2, "{first:?}");
        (0..3).for_each(|_| assert_eq!(told(&socket), ["WATCHDOG=1"]));
        let mut client = Raw::websocket(program.addr(), "/websocket?Id=A");
        program.signal(Signal::TERM);
        let mut last = told(&socket);
        while last == ["WATCHDOG=1"] {
            last = told(&socket);
        }
        let expected =
            ["STOPPING=1", "EXTEND_TIMEOUT_USEC=13000000", "STATUS=draining for 3 s, then shutting down"];
        assert_eq!(last, expected);
        assert_eq!(told(&socket), ["WATCHDOG=1"], "also while it drains");
        while client.frame() != close_frame(1012, "service restart") {}
        drop(client);
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[test]
fn a_supervisor_that_does_not_read_holds_up_nothing() {
    let directory = Directory::new("supervisor");
    let (socket, name) = supervisor(false, &directory);
    let mut command = Program::command();
    let mut program =
        Program::spawn(command.args(LOOPBACK).env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "1000"));
    let addr = program.addr();
    // The queue has room for a few datagrams; then it is full.
    let own = UnixDatagram::unbound().unwrap();
    own.set_nonblocking(true).unwrap();
    eventually("the queue is full", || own.send_to(b"x", &name).is_err());
    assert_eq!(status(&fetch(addr, get("/", "")).0), 200);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    drop(socket);
}

#[test]
fn under_a_supervisor_sigusr2_starts_nothing_and_says_what_to_do() {
    let directory = Directory::new("supervisor");
    let (_socket, name) = supervisor(false, &directory);
    let program = Program::spawn(Program::command().args(LOOPBACK).env("NOTIFY_SOCKET", &name));
    let addr = program.addr();
    program.signal(Signal::USR2);
    let line = program.wait_for_line("cannot restart at SIGUSR2");
    assert!(line.ends_with("would lose track of the successor; use systemctl restart"), "{line}");
    assert_eq!(status(&fetch(addr, get("/", "")).0), 200);
}

#[test]
fn where_the_successor_fails_the_program_goes_on_and_says_why() {
    let www = Directory::new("pages");
    www.write("index.html", "a page");
    let mut line = Line::start(&["--www", www.path()]);
    let addr = line.first.addr();
    let mut client = Raw::websocket(addr, "/websocket?Id=A");
    let moved = format!("{}-moved", www.path());
    fs::rename(www.path(), &moved).unwrap();
    line.signal(Signal::USR2);
    let told = line.first.wait_for_line("the successor failed, so this process keeps serving: ");
    assert!(told.contains(www.path()) && told.contains("No such file"), "{told}");
    assert_eq!(client.frame().first, 0x81);
    fs::rename(&moved, www.path()).unwrap();
    // Once more, and this time it can.
    line.succeed();
    while client.frame() != close_frame(1012, "service restart") {}
    assert_eq!(status(&fetch(addr, get("/", "")).0), 200);
    line.signal(Signal::TERM);
    eventually("it ends", || !is_running(line.serving[1]));
}

#[test]
fn a_program_that_was_replaced_is_succeeded_by_the_new_one_with_both_of_its_ports() {
    let directory = Directory::new("upgrade");
    let path = format!("{}/threadcast", directory.path());
    let install = || {
        fs::copy(env!("CARGO_BIN_EXE_threadcast"), format!("{path}.new")).unwrap();
        fs::rename(format!("{path}.new"), &path).unwrap();
    };
    install();
    let mut command = Command::new(&path);
    command.args(LOOPBACK).args(["--tls-self-signed", "--http-port", "0", "--drain", "0s"]);
    let mut line = Line::of(Program::spawn(&mut command));
    let http = line.first.addr_in("redirects to it");
    install();
    line.succeed();
    assert_eq!(line.first.wait().code(), Some(0));
    let (head, _) = fetch(http, get("/", ""));
    let to = format!("https://localhost:{}/", line.first.addr().port());
    assert_eq!((status(&head), header_values(&head, "Location")), (308, vec![to.as_str()]));
    line.succeed();
    eventually("the second one ends", || !is_running(line.serving[1]));
    assert_eq!(status(&fetch(http, get("/", "")).0), 308);
    let lines = line.first.lines();
    assert!(!lines.iter().any(|line| line.contains("sets no option")), "{lines:#?}");
}

#[test]
fn while_the_successor_starts_another_sigusr2_changes_nothing_and_a_stop_ends_both() {
    let directory = Directory::new("token");
    let fifo = format!("{}/token", directory.path());
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let token = fifo.clone();
    let write = thread::spawn(move || fs::write(token, "a-token-of-16-and-more").unwrap());
    let mut line = Line::start(&["--publish-token-file", &fifo]);
    write.join().unwrap();
    // The next one waits for its token.
    line.signal(Signal::USR2);
    let started = line.first.wait_for_line("starts, to replace this one");
    line.signal(Signal::USR2);
    line.first.wait_for_line("ignoring a SIGUSR2, since the successor is still starting");
    line.signal(Signal::TERM);
    assert_eq!(line.first.wait().code(), Some(0));
    let process = support::restarts::words_after(&started, "process ").parse().unwrap();
    eventually("the successor ends", || !is_running(process));
}

/// The files in the manual's page, by name.
fn units() -> Vec<(String, String)> {
    let page = fs::read_to_string("src/guide/restarts.md").unwrap();
    let blocks = page.split("```ini ").skip(1).map(|rest| rest.split_once("\n```").expect("an end").0);
    blocks
        .map(|block| block.split_once('\n').expect("a name"))
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

#[test]
fn the_units_of_the_manual_are_as_systemd_wants_them_and_hardened() {
    let directory = Directory::new("units");
    let units = units();
    assert_eq!(units.len(), 2, "{units:?}");
    for (name, text) in &units {
        directory.write(name, text.replace("/usr/local/bin/threadcast", env!("CARGO_BIN_EXE_threadcast")));
    }
    for (name, _) in &units {
        let packaged = fs::read_to_string(format!("tests/package/{name}")).unwrap();
        // The man page is not installed here.
        let packaged = packaged.replace("Documentation=man:threadcast(1)\n", "");
        let packaged = packaged.replace("/usr/bin/threadcast", env!("CARGO_BIN_EXE_threadcast"));
        directory.write(&name.replace("threadcast", "packaged"), packaged);
    }
    // With a secret, as the page says.
    let page = fs::read_to_string("src/guide/restarts.md").unwrap();
    let [load, option] = ["LoadCredential=token:/etc/threadcast/token", "--publish-token-file %d/token"];
    assert!(page.contains(&format!("`{load}`")) && page.contains(&format!("`{option}`")), "{page}");
    let secret = fs::read_to_string(format!("{}/threadcast.service", directory.path())).unwrap();
    let secret = secret.replace("DynamicUser=yes", &format!("DynamicUser=yes\n{load}"));
    directory.write("secret.service", secret.replace("--drain 0s", &format!("--drain 0s {option}")));
    let analyze = |args: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command
            .args(args)
            .args(["threadcast.service", "packaged.service", "secret.service"])
            .current_dir(&directory.0);
        command
            .env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path()))
            .output()
            .expect("systemd-analyze runs")
    };
    // An unknown key is a line, and no failure.
    let output = analyze(&["verify", "./threadcast.socket", "./packaged.socket"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = analyze(&["security", "--offline=true", "--threshold=15"]);
    assert!(output.status.success(), "{output:?}");
    let service = &units.iter().find(|(name, _)| name == "threadcast.service").expect("a service").1;
    for line in ["Type=notify", "RestartSec=3", "After=network-online.target", "WatchdogSec=30", "--drain 0s"]
    {
        assert!(service.contains(line), "{line}");
    }
}

/// The lines that only one of two texts has, if the other lines are the same.
fn differences<'a>(one: &'a str, other: &'a str) -> [Vec<&'a str>; 2] {
    let split = |text: &'a str, by: &str| -> (Vec<_>, Vec<_>) {
        text.lines().partition(|line| by.lines().any(|other| other == *line))
    };
    let ((both, of_one), (also, of_other)) = (split(one, other), split(other, one));
    assert_eq!(both, also);
    [of_one, of_other]
}

#[test]
fn the_packages_units_differ_from_those_of_the_manual_in_these_lines_alone() {
    let files =
        fs::read_dir("tests/package").unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.filter(|name| name.starts_with("threadcast.")).collect();
    files.sort();
    assert_eq!(files, ["threadcast.service", "threadcast.socket", "threadcast.toml"]);
    let mut units = units();
    units.sort();
    let [(_, service), (_, socket)] = &units[..] else { panic!("{units:?}") };
    let packaged = ["service", "socket"]
        .map(|kind| fs::read_to_string(format!("tests/package/threadcast.{kind}")).unwrap());
    let start = "ExecStart=/usr/local/bin/threadcast";
    let started = service.lines().find_map(|line| line.strip_prefix(start)).expect("its options");
    assert_eq!(
        differences(service, &packaged[0]),
        [
            vec!["Description=threadcast", &format!("{start}{started}")],
            vec![
                "Description=threadcast, a WebSocket server with one thread per client",
                "Documentation=man:threadcast(1)",
                "ExecStart=/usr/bin/threadcast --config /etc/threadcast/threadcast.toml",
                "ExecReload=/bin/kill -HUP $MAINPID",
                "EnvironmentFile=-/etc/default/threadcast",
            ]
        ]
    );
    let differ = [
        vec!["Description=The port of threadcast"],
        vec!["Description=The port of threadcast, kept while it restarts"],
    ];
    assert_eq!(differences(socket, &packaged[1]), differ);
    // The options of the manual's unit are in the package's file, and no others.
    let file = fs::read_to_string("tests/package/threadcast.toml").unwrap();
    let keys = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<_> = keys.map(|line| line.replace(" = \"", " ").replace('"', "")).collect();
    let options: Vec<_> = started.split("--").skip(1).map(str::trim).collect();
    assert_eq!(keys, options);
}

#[test]
fn with_the_packages_file_a_reload_closes_nobody_and_a_restart_all_at_once_with_1012() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = supervised(&[&socket], &["--config", "tests/package/threadcast.toml"]);
    let mut program = Program::spawn(command.env("THREADCAST_INTERVAL", "20ms"));
    let mut client = Raw::websocket(program.addr(), "/websocket?Id=A");
    // As the unit's ExecReload does.
    program.signal(Signal::HUP);
    (0..5).for_each(|_| assert_eq!(client.frame().first, 0x81));
    program.signal(Signal::TERM);
    while client.frame() != close_frame(1012, "service restart") {}
    drop(client);
    assert_eq!(program.wait().code(), Some(0));
    let lines = program.lines();
    assert!(!lines.iter().any(|line| line.contains("warning") || line.starts_with("[WARN]")), "{lines:#?}");
}
