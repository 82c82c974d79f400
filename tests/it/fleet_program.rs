//! `tests/BEHAVIOUR.md`, *Many machines, the program*: several machines, with a real Redis between them.

use crate::support;
use support::fleet as machines;

use std::io::BufRead;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use machines::Redis;
use rcgen::{CertificateParams, KeyPair};
use support::{
    Directory, Program, Raw, Wire, close_frame, eventually, fetch, frame, get, status, threads, upgrade,
};

/// The program with these arguments and in this environment, on a free port.
fn command(args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Program::command();
    command.args(["--port", "0", "--address", "127.0.0.1", "--interval", "1h"]).args(args);
    command.envs(environment.iter().copied());
    command
}

/// A machine of the fleet at a Redis, with the token `token`.
fn machine(redis: &Redis) -> Program {
    let program = Program::spawn(&mut command(
        &["--redis", &redis.url()],
        &[("THREADCAST_PUBLISH_TOKEN", "token-of-the-tests")],
    ));
    program.wait_for_line("threadcast is at http://");
    program
}

fn machines<const N: usize>(redis: &Redis) -> [Program; N] {
    let programs = [(); N].map(|()| machine(redis));
    for program in &programs {
        eventually("all are linked", || fleet(program)["machines"] == N);
    }
    programs
}

fn stats(program: &Program) -> Value {
    let (head, body) = fetch(program.addr(), get("/stats", ""));
    assert_eq!(status(&head), 200, "{head}");
    serde_json::from_slice(&body).expect("is JSON")
}

fn fleet(program: &Program) -> Value {
    stats(program)["fleet"].clone()
}

fn plain(program: &Program, id: &str) -> Raw {
    Raw::websocket(program.addr(), &format!("/websocket?Id={id}"))
}

/// A client that speaks `threadcast.1`.
fn wrapped(program: &Program, id: &str) -> Raw {
    let mut raw = Raw::connect(program.addr());
    raw.send(upgrade(&format!("/websocket?Id={id}"), "Sec-WebSocket-Protocol: threadcast.1\r\n"));
    assert_eq!(status(&raw.head()), 101);
    raw
}

/// The next frame that is neither the time nor a hello.
fn message(client: &mut Raw) -> Wire {
    loop {
        let wire = client.frame();
        if !wire.payload.starts_with(b"20") && !wire.payload.starts_with(b"{\"hello\"") {
            return wire;
        }
    }
}

/// Blocks until a client hears of this number of machines.
fn is_told(client: &mut Raw, machines: usize) {
    let hello = json!({ "hello": { "interval_ms": 3_600_000, "machines": machines } }).to_string();
    while client.frame() != frame(0x81, &hello) {}
}

fn publish(program: &Program, topic: &str, body: &str) -> String {
    let lines = format!("Authorization: Bearer token-of-the-tests\r\nContent-Length: {}\r\n", body.len());
    let request = get(&format!("/publish?topic={topic}"), &lines).replacen("GET", "POST", 1);
    let (head, answer) = fetch(program.addr(), request + body);
    assert_eq!(status(&head), 200, "{head}");
    String::from_utf8(answer).expect("is UTF-8")
}

#[test]
fn a_message_published_at_redis_or_a_machine_reaches_all_clients_once() {
    let redis = Redis::start(&[]);
    let [one, two, three] = machines(&redis);
    let (mut a, mut b, mut c) = (plain(&one, "A"), wrapped(&two, "B"), plain(&three, "C"));
    redis.say("PUBLISH threadcast:all hello");
    for (client, text) in
        [(&mut a, "hello"), (&mut b, r#"{"topic":"all","text":"hello"}"#), (&mut c, "hello")]
    {
        assert_eq!(message(client), frame(0x81, text));
    }
    // One client, on whichever machine.
    redis.say("PUBLISH threadcast:id/B for-B");
    assert_eq!(message(&mut b), frame(0x81, r#"{"topic":"id/B","text":"for-B"}"#));
    assert_eq!(publish(&one, "id/C", "for C"), "{\"local\":0}\n");
    assert_eq!(message(&mut c), frame(0x81, "for C"));
    // The publishing machine gets its own message once, and first.
    assert_eq!(publish(&one, "all", "1"), "{\"local\":1}\n");
    assert_eq!(publish(&one, "all", "2"), "{\"local\":1}\n");
    for client in [&mut a, &mut c] {
        assert_eq!([message(client), message(client)], [frame(0x81, "1"), frame(0x81, "2")]);
    }
    redis.say("PUBLISH threadcast:all last");
    assert_eq!(message(&mut a), frame(0x81, "last"));
}

#[test]
fn an_id_is_one_clients_on_whatever_machine() {
    let redis = Redis::start(&[]);
    let [one, two] = machines(&redis);
    let mut older = plain(&one, "A");
    let mut other = plain(&one, "B");
    let mut newer = plain(&two, "A");
    while older.frame() != close_frame(4001, "replaced") {}
    older.send_frame(0x88, 4001u16.to_be_bytes());
    one.wait_for_line("Client A is closed 4001");
    redis.say("PUBLISH threadcast:id/A hello");
    assert_eq!(message(&mut newer), frame(0x81, "hello"));
    // Within one machine nothing changes.
    let mut newest = plain(&two, "A");
    while newer.frame() != close_frame(4001, "replaced") {}
    redis.say("PUBLISH threadcast:all hello");
    for client in [&mut other, &mut newest] {
        assert_eq!(message(client), frame(0x81, "hello"));
    }
}

#[test]
fn clients_of_threadcast_1_get_the_number_of_machines_and_its_changes() {
    let redis = Redis::start(&[]);
    let one = machine(&redis);
    let mut a = wrapped(&one, "A");
    let mut bare = plain(&one, "bare");
    assert_eq!(a.frame(), frame(0x81, r#"{"hello":{"interval_ms":3600000,"machines":1}}"#));
    let mut two = machine(&redis);
    is_told(&mut a, 2);
    let mut b = wrapped(&two, "B");
    is_told(&mut b, 2);
    // A machine that ends announces it.
    let mut channels = redis.ask("PSUBSCRIBE threadcast/*");
    two.signal(Signal::TERM);
    assert_eq!(two.wait().code(), Some(0));
    let mut line = String::new();
    while !line.contains("\"leaves\":true") {
        line.clear();
        assert_ne!(channels.read_line(&mut line).expect("reads"), 0);
    }
    is_told(&mut a, 1);
    // A machine that dies is missed.
    let mut three = machine(&redis);
    is_told(&mut a, 2);
    three.signal(Signal::KILL);
    three.wait();
    is_told(&mut a, 1);
    // The others got nothing from all this.
    redis.say("PUBLISH threadcast:all hello");
    assert!(!bare.frame().payload.starts_with(b"{"));
}

#[test]
fn stats_has_the_fleet_and_says_since_when_its_link_is_down() {
    let mut redis = Redis::start(&[]);
    let [one, two] = machines(&redis);
    let mut a = plain(&one, "A");
    let _b = plain(&two, "B");
    publish(&one, "all", "1");
    redis.say("PUBLISH threadcast:all 2");
    assert_eq!([message(&mut a), message(&mut a)], [frame(0x81, "1"), frame(0x81, "2")]);
    eventually("both are counted", || {
        let found = fleet(&one);
        // The two clients, and those that ask: this one, and perhaps one at the other machine.
        (3..=4).contains(&found["clients"].as_u64().expect("a number"))
            && (&found["sent"], &found["received"]) == (&json!(1), &json!(1))
    });
    let found = fleet(&one);
    assert_eq!((&found["machines"], &found["link"]), (&json!(2), &json!("up")));
    assert!(found["link_seconds"].is_u64());
    assert_eq!(found["lost"], json!({ "full": 0, "stale": 0, "refused": 0, "unsure": 0 }));

    redis.kill();
    eventually("the link is down", || fleet(&one)["link"] == "down");
    one.wait_for_line("lost the fleet's link to Redis");
    for page in ["/health", "/ready"] {
        assert_eq!(status(&fetch(one.addr(), get(page, "")).0), 200, "{page}");
    }
    // Its own clients get everything, and the others are out of reach.
    assert_eq!(publish(&one, "all", "3"), "{\"local\":1}\n");
    assert_eq!(message(&mut a), frame(0x81, "3"));
    // Unless it was written to the link that had just broken, it has waited for too long.
    eventually("it is lost for the others", || {
        let lost = &fleet(&one)["lost"];
        [&lost["stale"], &lost["unsure"]].into_iter().filter_map(Value::as_u64).sum::<u64>() == 1
    });
    eventually("it is alone", || fleet(&one)["machines"] == 1);
    redis.again();
    eventually("they are linked again", || fleet(&one)["machines"] == 2 && fleet(&one)["link"] == "up");
    // At the level of the outage's beginning, or `--logging warning` would show only that.
    let is_end =
        |line: &String| line.starts_with("[WARN]") && line.ends_with("the fleet's link to Redis is up");
    eventually("the log says so", || one.lines().iter().any(is_end));
}

#[test]
fn a_redis_that_stands_still_delays_neither_the_time_nor_publishing() {
    let redis = Redis::start(&[]);
    let args = ["--redis", &redis.url(), "--interval", "50ms", "--port", "0", "--address", "127.0.0.1"];
    let program =
        Program::spawn(Program::command().args(args).env("THREADCAST_PUBLISH_TOKEN", "token-of-the-tests"));
    let mut client = plain(&program, "A");
    redis.signal(Signal::STOP);
    for number in 0..100 {
        let text = format!("number {number}");
        assert_eq!(publish(&program, "all", &text), "{\"local\":1}\n");
        assert_eq!(message(&mut client), frame(0x81, text));
    }
    // A second client, and its Id.
    let mut newer = plain(&program, "A");
    while client.frame() != close_frame(4001, "replaced") {}
    (0..20).for_each(|_| assert_eq!(newer.frame().first, 0x81));
    redis.signal(Signal::CONT);
}

#[test]
fn fleets_of_two_names_at_one_redis_do_not_hear_each_other() {
    let redis = Redis::start(&[]);
    let [one, two] = ["app-1", "app_2.x"].map(|name| {
        let url = redis.url();
        let program = Program::spawn(&mut command(
            &["--channel", name],
            &[("THREADCAST_REDIS", &url), ("THREADCAST_PUBLISH_TOKEN", "token-of-the-tests")],
        ));
        program.wait_for_line("threadcast is at http://");
        program
    });
    let (mut a, mut b) = (plain(&one, "A"), plain(&two, "A"));
    publish(&one, "all", "1");
    redis.say("PUBLISH app_2.x:all 2");
    redis.say("PUBLISH app-1:all 3");
    assert_eq!([message(&mut a), message(&mut a)], [frame(0x81, "1"), frame(0x81, "3")]);
    assert_eq!(message(&mut b), frame(0x81, "2"));
}

#[test]
fn stopped_and_continued_it_keeps_its_link() {
    let redis = Redis::start(&[]);
    let program = machine(&redis);
    let state = format!("/proc/{}/stat", program.pid());
    for _ in 0..5 {
        program.signal(Signal::STOP);
        eventually("it is stopped", || std::fs::read_to_string(&state).unwrap().contains(") T "));
        program.signal(Signal::CONT);
        assert_eq!(fleet(&program)["link"], "up");
    }
    // Longer than the silence after which a link counts as broken.
    program.signal(Signal::STOP);
    let stopped = std::time::Instant::now();
    eventually("seven seconds have passed", || stopped.elapsed().as_secs() >= 7);
    program.signal(Signal::CONT);
    let before = fleet(&program)["link_seconds"].as_u64().unwrap();
    eventually("it is up for longer", || fleet(&program)["link_seconds"].as_u64().unwrap() > before + 3);
    assert!(!program.lines().iter().any(|line| line.contains("has broken")), "{:#?}", program.lines());
}

#[test]
fn an_outage_has_each_of_its_reasons_in_the_log_once_and_the_present_one_in_stats() {
    let redis = Redis::start(&[]);
    let program = machine(&redis);
    assert_eq!(fleet(&program)["link_reason"], Value::Null);
    redis.say("CONFIG SET requirepass secret\r\nCLIENT KILL TYPE pubsub");
    program.wait_for_line("link to Redis is still down: NOAUTH");
    let reason = || fleet(&program)["link_reason"].to_string();
    eventually("stats have it", || reason().contains("NOAUTH"));
    let times = program.lines().iter().filter(|line| line.contains("NOAUTH")).count();
    assert_eq!(times, 1, "{:#?}", program.lines());
}

#[test]
fn a_database_in_the_url_is_warned_of_unless_the_fleet_has_a_name() {
    let redis = Redis::start(&[]);
    let url = format!("{}/1", redis.url());
    let warned = |args: &[&str]| {
        let program = Program::spawn(&mut command(args, &[("THREADCAST_REDIS", &url)]));
        program.wait_for_line("threadcast is at http://");
        program.signal(Signal::TERM);
        let (code, lines) = program.run_to_its_end();
        assert_eq!(code, Some(0));
        lines.iter().any(|line| line.contains("does not separate fleets") && line.contains("--channel"))
    };
    assert!(warned(&[]) && !warned(&["--channel", "second"]));
}

#[test]
fn a_redis_that_cannot_be_had_is_one_line_without_the_url_and_exit_1() {
    let locked = Redis::start(&["--requirepass", "right"]);
    let at = |user: &str| locked.url().replacen("//", &format!("//{user}@"), 1);
    // Nobody listens on it any more.
    let free = support::free_port();
    let web = machine(&Redis::start(&[]));
    let failed = "threadcast: cannot join the fleet at Redis: ";
    for (url, expected) in [
        (format!("redis://:SECRET@{free}"), format!("{failed}Connection refused")),
        (at(":SECRET"), format!("{failed}WRONGPASS")),
        (locked.url(), format!("{failed}NOAUTH")),
        (format!("redis://{}", web.addr()), format!("{failed}the server at this address is not Redis")),
        ("http://:SECRET@10.0.0.5".to_owned(), "threadcast: THREADCAST_REDIS: not a Redis URL".to_owned()),
        (" ".to_owned(), "threadcast: THREADCAST_REDIS: not a Redis URL".to_owned()),
    ] {
        let (code, lines) = Program::spawn(&mut command(&[], &[("THREADCAST_REDIS", &url)])).run_to_its_end();
        assert_eq!((code, lines.len()), (Some(1), 1), "{url}: {lines:?}");
        assert!(lines[0].starts_with(&expected), "{url}: {lines:?}");
        assert!(!lines[0].contains("SECRET") && !lines[0].contains("://:"), "{lines:?}");
    }
    let right = at(":right");
    let program = Program::spawn(&mut command(&["--logging", "debug"], &[("THREADCAST_REDIS", &right)]));
    program.wait_for_line("threadcast is at http://");
    program.signal(Signal::TERM);
    let (code, lines) = program.run_to_its_end();
    assert_eq!(code, Some(0));
    assert!(!lines.iter().any(|line| line.contains("right") || line.contains("redis://")), "{lines:#?}");
}

#[test]
fn a_fleet_meets_over_tls() {
    let directory = Directory::new("fleet-program-tls");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    directory.write("certificate", certificate.pem());
    directory.write("key", key.serialize_pem());
    let path = |name: &str| format!("{}/{name}", directory.path());
    let tls = ["--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no", "--requirepass", "SECRET"];
    let files = ["--tls-cert-file", &path("certificate"), "--tls-key-file", &path("key")];
    let redis = Redis::start(&[&tls[..], &files].concat());
    let url = format!("rediss://:SECRET@localhost:{}", redis.port);
    let (code, lines) = Program::spawn(&mut command(&[], &[("THREADCAST_REDIS", &url)])).run_to_its_end();
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("peer certificate") && !lines[0].contains("SECRET"), "{lines:?}");
    let trusted = [("THREADCAST_REDIS", &url[..]), ("SSL_CERT_FILE", &path("certificate"))];
    let [one, two] = [(); 2].map(|()| Program::spawn(&mut command(&[], &trusted)));
    for program in [&one, &two] {
        eventually("both are linked", || fleet(program)["machines"] == 2);
    }
}

#[test]
fn a_password_in_an_option_is_refused_in_one_line_without_it() {
    for url in ["redis://:SECRET@10.0.0.5", "unix:/run/redis.sock?user=a&pass=SECRET"] {
        let (code, lines) = Program::spawn(&mut command(&["--redis", url], &[])).run_to_its_end();
        let expected = "threadcast: --redis: put a URL with a password into THREADCAST_REDIS, since every user can \
                        see this one (--help shows the options)";
        assert_eq!((code, &lines[..]), (Some(2), &[expected.to_owned()][..]));
    }
}

#[test]
fn without_redis_nothing_of_a_fleet_runs_or_shows() {
    let redis = Redis::start(&[]);
    let (with, without) = (machine(&redis), Program::spawn(&mut command(&[], &[])));
    without.wait_for_line("threadcast is at http://");
    let of_fleet = |program: &Program| {
        let mut names = threads(program.pid());
        names.retain(|name| name.starts_with("fleet"));
        names.sort();
        names
    };
    assert_eq!(of_fleet(&with), ["fleet-in", "fleet-out", "fleet-push"]);
    assert_eq!(of_fleet(&without), [] as [&str; 0]);
    assert_eq!(stats(&without).get("fleet"), None);
}

/// The offsets of a fleet's ports from the first.
const PORTS: [u16; 5] = [0, 10, 11, 12, 13];

fn free_ports() -> u16 {
    support::free_ports(&PORTS)
}

/// The script, which keeps its logs in a directory of this name. A background process of a shell ignores SIGINT and
/// SIGQUIT, and if the tests ran in one, the script would too.
fn fleet_to_play_with(port: u16, name: &str) -> Program {
    let mut command = Command::new("env");
    command.args(["--default-signal", "tests/fleet.sh"]).env("PORT", port.to_string());
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    Program::spawn(command.env("THREADCAST", env!("CARGO_BIN_EXE_threadcast")))
}

/// Fails if anybody listens at a fleet's ports.
fn expect_silence(port: u16) {
    for port in PORTS.map(|more| port + more) {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port}");
    }
}

/// Runs the command of a line that the script has printed, without its comment.
fn run(line: &str) {
    let command = line.trim().split("   ").next().expect("a command");
    let output = Command::new("timeout").args(["20", "sh", "-c", command]).output().expect("runs");
    assert!(output.status.success(), "{command}: {output:?}");
}

#[test]
fn the_demo_fleet_does_what_it_prints_and_ends_everything_that_it_started() {
    let port = free_ports();
    let script = fleet_to_play_with(port, "fleet-to-play-with");
    script.wait_for_line("Ctrl-C ends all of it");
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let connect = |id: &str| {
        let mut raw = Raw::connect(at(port));
        raw.send(upgrade(&format!("/websocket?Id={id}"), "Sec-WebSocket-Protocol: threadcast.1\r\n"));
        assert_eq!(status(&raw.head()), 101);
        raw
    };
    // HAProxy takes machines in turn.
    let mut clients = ["NAME", "B", "C"].map(connect);
    for words in ["PUBLISH threadcast:all", "curl"] {
        run(&script.wait_for_line(words));
        for client in &mut clients {
            assert_eq!(message(client), frame(0x81, r#"{"topic":"all","text":"hello"}"#), "{words}");
        }
    }
    run(&script.wait_for_line("PUBLISH threadcast:id/NAME"));
    assert_eq!(message(&mut clients[0]), frame(0x81, r#"{"topic":"id/NAME","text":"hello"}"#));
    let numbers = |machine: u16| -> Option<Value> {
        let (head, body) = fetch(at(port + 10 + machine), get("/stats", ""));
        assert_eq!(status(&head), 200, "{head}");
        serde_json::from_slice(&body).ok()
    };
    eventually("they are three", || numbers(2).is_some_and(|found| found["fleet"]["machines"] == 3));
    run(&script.wait_for_line("kill -STOP"));
    eventually("its link is down", || numbers(2).is_some_and(|found| found["fleet"]["link"] == "down"));
    run(&script.wait_for_line("kill -CONT"));
    eventually("its link is up", || numbers(2).is_some_and(|found| found["fleet"]["link"] == "up"));
    run(&script.wait_for_line("kill -KILL"));
    eventually("they are two", || numbers(2).is_some_and(|found| found["fleet"]["machines"] == 2));
    // Its clients move to the other machines.
    (0..3).for_each(|_| drop(connect("D")));
    let (head, _) = fetch(at(port), get("/stats", ""));
    assert_eq!(status(&head), 404, "the numbers are not for clients of the proxy");

    script.signal(Signal::TERM);
    let (code, lines) = script.run_to_its_end();
    assert_eq!(code, Some(0));
    let last = lines.last().expect("a line");
    assert!(
        last.starts_with("Ctrl-C ends all of it. "),
        "nothing is said of the machine that was killed: {last}"
    );
    expect_silence(port);
}

#[test]
fn the_fleet_to_play_with_ends_at_each_signal_of_a_terminal() {
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP] {
        let port = free_ports();
        let script = fleet_to_play_with(port, "fleet-to-end");
        script.wait_for_line("Ctrl-C ends all of it");
        script.signal(signal);
        let (code, lines) = script.run_to_its_end();
        assert_eq!(code, Some(0), "{signal:?}: {lines:?}");
        expect_silence(port);
    }
}

#[test]
fn the_fleet_to_play_with_says_which_port_is_in_use() {
    let port = free_ports();
    let _taken = TcpListener::bind(("127.0.0.1", port + 11)).expect("is free");
    let script = fleet_to_play_with(port, "fleet-in-use");
    let expected = format!("fleet: port {} is in use; try make fleet PORT={}", port + 11, port + 1000);
    assert_eq!(script.run_to_its_end(), (Some(1), vec![expected]));
    assert!(TcpStream::connect(("127.0.0.1", port + 10)).is_err(), "Redis has ended");
}
