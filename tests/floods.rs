//! Floods of connects, and storms of clients that leave and return together: the process stays alive, never has more
//! threads than places, and pushes continue. Checks counts only. `make stress` also runs the tests with times, at full
//! speed and for `THREADCAST_FLOOD_SECONDS` each.

mod support;
use support::deflate::{TAIL, deflated};
use support::tls::{Identity, Secure};

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::version::TLS13;
use serde_json::Value;
use support::{Directory, Program, Raw, eventually, fetch, get, masked, threads, upgrade};
use threadcast::{Application, Capacity};

/// Sockets that a flood holds open.
const HELD: usize = 100;
/// Threads of the program that do not belong to a client.
const OWN_THREADS: usize = 20;
/// Places in addition to those of 200 clients: for requests, and an eighth for pumps.
const FOR_REQUESTS: usize = 16;
const PUMPS: usize = 27;
const INTERVAL: Duration = Duration::from_millis(50);
/// How late pushes to an established client may be, except for one in a hundred.
const LATE: Duration = Duration::from_millis(200);

/// The forms of a flood: the program's options, and the bytes of each connection.
const FORMS: [(&str, &[&str], &str); 4] = [
    ("connects", &[], ""),
    ("half heads", &[], "GET /websocket?Id=half HTTP/1.1\r\nHost: loc"),
    ("connects to the port of TLS", &["--tls-self-signed"], ""),
    ("connects, with a writer for each client", &["--delivery", "handoff"], ""),
];

/// How long a flood lasts in `make stress`.
fn stress() -> Option<Duration> {
    let seconds = env::var("THREADCAST_FLOOD_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("THREADCAST_FLOOD_SECONDS is a number")))
}

fn raise_the_limit_of_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
}

fn start(args: &[&str]) -> Program {
    Program::start(&[&["--interval", "50ms", "--logging", "warning"], args].concat())
}

/// Threads that the program has for clients.
fn of_clients(program: &Program) -> usize {
    let names = threads(program.pid());
    names.iter().filter(|name| ["client-", "pump-", "writer-"].iter().any(|of| name.starts_with(of))).count()
}

fn mappings(program: &Program) -> usize {
    let maps = fs::read_to_string(format!("/proc/{}/maps", program.pid())).expect("the program is alive");
    maps.lines().count()
}

/// Connects, sends, resets the oldest, and repeats while `goes_on`, which gets the number of connects.
fn flood(addr: SocketAddr, sends: &str, mut goes_on: impl FnMut(usize) -> bool) {
    let mut held: Vec<Option<TcpStream>> = (0..HELD).map(|_| None).collect();
    let mut connects = 0;
    while goes_on(connects) {
        let mut stream = TcpStream::connect(addr).expect("connects");
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("sets SO_LINGER");
        // The server may already have rejected it.
        let _ = stream.write(sends.as_bytes());
        held[connects % HELD] = Some(stream);
        connects += 1;
    }
}

/// The program's largest number of threads, sampled often until this is asked.
struct Watch(JoinHandle<usize>);

static STOP: AtomicBool = AtomicBool::new(false);

impl Watch {
    fn begin(program: &Program) -> Watch {
        let pid = program.pid();
        STOP.store(false, Ordering::Relaxed);
        Watch(thread::spawn(move || {
            let mut most = 0;
            while !STOP.load(Ordering::Relaxed) {
                let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the program is alive");
                most = most.max(tasks.count());
                thread::park_timeout(Duration::from_millis(5));
            }
            most
        }))
    }

    fn most(self) -> usize {
        STOP.store(true, Ordering::Relaxed);
        self.0.join().expect("the program is alive")
    }
}

/// How late each push to an established client is, in order.
fn lateness(mut next_push: impl FnMut() + Send + 'static, until: Instant) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let (mut late, mut last) = (Vec::new(), Instant::now());
        while last < until {
            next_push();
            late.push(last.elapsed().saturating_sub(INTERVAL));
            last = Instant::now();
        }
        late.sort_unstable();
        late
    })
}

/// One test after the other: each uses all resources.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_flood_of_connects_leaves_no_more_threads_than_places_and_all_end() {
    let _alone = alone();
    for (form, args, sends) in FORMS {
        let program = start(&[&["--max-clients", "200"], args].concat());
        let maps = mappings(&program);
        let places =
            if args.contains(&"handoff") { 2 * (200 + FOR_REQUESTS) } else { 200 + FOR_REQUESTS + PUMPS };
        let watch = Watch::begin(&program);
        flood(program.addr(), sends, |connects| connects < 5000);
        let most = watch.most();
        assert!((1..=places + OWN_THREADS).contains(&most), "{form}: {most}");
        eventually("all threads of clients have ended", || of_clients(&program) == 0);
        // glibc keeps some stacks for the next threads.
        eventually("their mappings are gone", || mappings(&program) <= maps + 4 * places);
        if !args.contains(&"--tls-self-signed") {
            // From another address: the server briefly refuses that of the flood.
            let mut client = Raw::connect_from(2, program.addr()).upgraded("/websocket?Id=late");
            assert_eq!(client.frame().first, 0x81);
        }
    }
}

/// Opens WebSockets, each as soon as there is room for it.
fn come(addr: SocketAddr, clients: usize) -> Vec<TcpStream> {
    let open = |n: usize| {
        let mut opened = None;
        eventually("a client gets in", || {
            let mut raw = Raw::connect(addr);
            raw.send(upgrade(&format!("/websocket?Id={n}"), ""));
            let is_open = raw.response_or_end().is_some_and(|head| head.starts_with("HTTP/1.1 101 "));
            opened = is_open.then_some(raw.stream);
            is_open
        });
        opened.expect("it gets in")
    };
    (0..clients).map(open).collect()
}

/// Loses them all at once, like a network that fails.
fn lose(clients: Vec<TcpStream>) {
    for client in &clients {
        rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO)).expect("sets SO_LINGER");
    }
}

#[test]
fn clients_that_leave_and_return_together_leave_no_more_threads_than_places_and_all_end() {
    let _alone = alone();
    raise_the_limit_of_descriptors();
    let of_this_machine = Capacity::of_this_machine(&Application::new().stack_size(64 << 10)).clients;
    let descriptors = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    let (places, clients, times) = match stress() {
        Some(_) => (of_this_machine, (of_this_machine * 9 / 10).min(descriptors - 200), 5),
        None => (1200, 1000, 3),
    };
    let program = Program::start(&["--logging", "warning", "--max-clients", &places.to_string()]);
    let watch = Watch::begin(&program);
    for _ in 0..times {
        let all = come(program.addr(), clients);
        assert_eq!(all.len(), clients);
        lose(all);
    }
    let most = watch.most();
    assert!((clients..=places + FOR_REQUESTS + 256 + OWN_THREADS).contains(&most), "{most}");
    eventually("all threads of clients have ended", || of_clients(&program) == 0);
    // glibc keeps 40 MiB of stacks, each of which is two mappings, for the next threads.
    eventually("their mappings are gone", || mappings(&program) < 3000);
    assert_eq!(come(program.addr(), 1).len(), 1);
}

#[test]
#[ignore = "measures times on an idle machine, in `make stress`"]
fn floods_at_full_speed_delay_no_push() {
    let time = stress().expect("THREADCAST_FLOOD_SECONDS is set");
    let _alone = alone();
    let (identity, files) = (Identity::new(), Directory::new("floods"));
    let [chain, key] = [("chain.pem", &identity.chain), ("key.pem", &identity.key)].map(|(name, pem)| {
        let path = files.0.join(name);
        fs::write(&path, pem).expect("writes");
        path.to_str().expect("UTF-8").to_owned()
    });
    let secure = ["--tls-cert", &chain, "--tls-key", &key];
    for (form, args, sends) in FORMS {
        let is_plain = !args.contains(&"--tls-self-signed");
        let args = if is_plain { args } else { &secure };
        for max_clients in [&["--max-clients", "200"][..], &[]] {
            let program = start(&[max_clients, args].concat());
            let until = Instant::now() + time;
            let target = "/websocket?Id=witness";
            let late = if is_plain {
                let mut witness = Raw::websocket(program.addr(), target);
                lateness(move || drop(witness.frame()), until)
            } else {
                let config = Arc::new(identity.client(&[&TLS13]));
                let mut witness = Secure::websocket(program.addr(), &config, target);
                lateness(move || drop(witness.frame()), until)
            };
            let watch = Watch::begin(&program);
            let mut connects = 0;
            flood(program.addr(), sends, |so_far| {
                connects = so_far;
                Instant::now() < until
            });
            let most = watch.most();
            let late = late.join().expect("the witness receives its pushes");
            let hundredth = late[late.len() * 99 / 100];
            println!("{form} {max_clients:?}: {connects} connects, {most} threads, late: {hundredth:?}");
            assert!(hundredth <= LATE, "{form} {max_clients:?}: {hundredth:?}");
            eventually("all threads of clients have ended", || of_clients(&program) == 0);
        }
    }
}

/// A compressed WebSocket from this host of the loopback.
fn compressed(addr: SocketAddr, host: u8, target: &str) -> Raw {
    let mut client = Raw::connect_from(host, addr);
    client.send(upgrade(target, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("permessage-deflate"), "{head}");
    client
}

/// Sends this message in a loop until `stop`, and reads the answers; reconnects if the server ends the connection.
fn sends_again_and_again(addr: SocketAddr, host: u8, message: &[u8], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let client = compressed(addr, host, "/echo?Id=bomb").stream;
        let mut answers = client.try_clone().expect("a descriptor");
        let reader = thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
        while !stop.load(Ordering::Relaxed) && (&client).write_all(message).is_ok() {}
        let _ = client.shutdown(Shutdown::Both);
        let _ = reader.join().expect("reads");
    }
}

#[test]
#[ignore = "measures times on an idle machine, in `make stress`"]
fn beside_clients_that_send_bombs_a_compressed_echo_takes_less_than_half_a_second() {
    let time = stress().expect("THREADCAST_FLOOD_SECONDS is set");
    let _alone = alone();
    // Ten megabytes that inflate to nothing: final empty blocks, and empty blocks that are not final; and a message
    // that inflates to a gigabyte, of which the server reads up to its limit.
    let zeros = [&deflated(&vec![0; 1 << 20])[..], &TAIL].concat();
    let bombs = [
        ("final empty blocks", [3, 0].repeat(5 << 20)),
        ("empty blocks that are not final", [0x02, 0x08, 0x20, 0x80, 0x00].repeat(2 << 20)),
        ("a gigabyte of zeros", zeros.repeat(1024)),
    ];
    for (name, payload) in bombs {
        let message = masked(0xc2, &payload);
        for clients in [20, 100] {
            let program = Program::start(&["--lab", "--compression", "1KiB", "--logging", "none"]);
            let (addr, stop) = (program.addr(), AtomicBool::new(false));
            let mut times = thread::scope(|scope| {
                for n in 0..clients {
                    let (message, stop) = (&message, &stop);
                    scope.spawn(move || sends_again_and_again(addr, 10 + n, message, stop));
                }
                let mut client = compressed(addr, 2, "/echo?Id=honest");
                let echo = masked(0xc1, &deflated("hello ".repeat(500).as_bytes()));
                let (begun, mut times) = (Instant::now(), Vec::new());
                while begun.elapsed() < time {
                    let sent = Instant::now();
                    client.send(&echo);
                    while client.frame().first != 0xc1 {}
                    times.push(sent.elapsed());
                    thread::park_timeout(Duration::from_millis(20));
                }
                stop.store(true, Ordering::Relaxed);
                times
            });
            times.sort_unstable();
            let [half, most] = [50, 90].map(|share| times[times.len() * share / 100]);
            println!(
                "{clients} clients send {name}: {} echoes, half {half:?}, 9 of 10 {most:?}",
                times.len()
            );
            assert!(most < Duration::from_millis(500), "{clients} clients send {name}: {most:?}");
        }
    }
}

/// How many rounds of pushes the server has sent.
fn rounds(addr: SocketAddr) -> u64 {
    let (_, body) = fetch(addr, get("/stats", ""));
    serde_json::from_slice::<Value>(&body).expect("JSON")["rounds"].as_u64().expect("a number")
}

#[test]
#[ignore = "takes every descriptor of this machine, in `make stress`"]
fn as_many_clients_as_the_start_up_line_promises_are_held_and_none_misses_a_push() {
    const ROUNDS: u64 = 5;
    let _alone = alone();
    raise_the_limit_of_descriptors();
    // The clients answer no Ping.
    let program = Program::start(&["--logging", "warning", "--ping-interval", "off"]);
    let line = program.wait_for_line("threadcast is at ");
    let promised =
        line.split_once("for up to ").and_then(|(_, rest)| rest.split_once(' ')).expect("a number");
    let promised: usize = promised.0.parse().expect("a number");
    let descriptors = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    let clients = come(program.addr(), promised.min(descriptors - 64));
    let begun = rounds(program.addr());
    eventually("some rounds are pushed", || rounds(program.addr()) > begun + ROUNDS);
    for mut client in &clients {
        client.set_nonblocking(true).expect("a socket");
        let mut bytes = Vec::new();
        let end = client.read_to_end(&mut bytes).expect_err("the client is connected");
        assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
        // The time has 26 characters, or 19 on a whole second.
        let pushes = bytes.windows(2).filter(|head| matches!(head, [0x81, 19 | 26])).count();
        assert!(pushes as u64 >= ROUNDS, "{pushes} pushes");
    }
    let mappings = mappings(&program);
    println!(
        "{} clients of {promised} are held, {:.2} mappings each",
        clients.len(),
        mappings as f64 / clients.len() as f64
    );
    assert!(mappings as f64 / clients.len() as f64 <= 2.1, "{mappings}");
}
