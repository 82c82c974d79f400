//! Floods of connects, and storms of clients that leave and return together: the process stays alive, has never more
//! threads than places, and pushes go on. Counts only; with `THREADCAST_FLOOD_SECONDS` (`make stress`) at full speed,
//! for that long each, with times.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Program, Raw, eventually, threads, upgrade};
use threadcast::{Application, Capacity};

/// Sockets that a flood holds at a time.
const HELD: usize = 100;
/// Threads of the program that are no client's.
const OWN_THREADS: usize = 20;
/// Places beside those of 200 clients: for requests, and an eighth for pumps.
const FOR_REQUESTS: usize = 16;
const PUMPS: usize = 27;
const INTERVAL: Duration = Duration::from_millis(50);
/// How late pushes to an established client may be, but for one in a hundred.
const LATE: Duration = Duration::from_millis(200);

/// What a flood is, as the program's options and what each connection sends.
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

/// Connects, sends, resets the oldest, and goes on, while `goes_on`, which has the number of connects.
fn flood(addr: SocketAddr, sends: &str, mut goes_on: impl FnMut(usize) -> bool) {
    let mut held: Vec<Option<TcpStream>> = (0..HELD).map(|_| None).collect();
    let mut connects = 0;
    while goes_on(connects) {
        let mut stream = TcpStream::connect(addr).expect("connects");
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("sets SO_LINGER");
        // It may have been rejected already.
        let _ = stream.write(sends.as_bytes());
        held[connects % HELD] = Some(stream);
        connects += 1;
    }
}

/// The most threads that the program has, which are looked at often until this is asked.
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

/// How late the pushes to an established client come, in order.
fn lateness(mut witness: Raw, until: Instant) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let (mut late, mut last) = (Vec::new(), Instant::now());
        while last < until {
            witness.frame();
            late.push(last.elapsed().saturating_sub(INTERVAL));
            last = Instant::now();
        }
        late.sort_unstable();
        late
    })
}

/// One test at a time: each takes what there is.
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
            // From another address: that of the flood is refused for a moment.
            let mut client = Raw::connect_from(2, program.addr()).upgraded("/websocket?Id=late");
            assert_eq!(client.frame().first, 0x81);
        }
    }
}

/// Opens WebSockets, each as soon as there is room for it.
fn come(addr: SocketAddr, clients: usize) -> Vec<TcpStream> {
    let open = |n: usize| {
        let mut opened = None;
        eventually("a client is let in", || {
            let mut raw = Raw::connect(addr);
            raw.send(upgrade(&format!("/websocket?Id={n}"), ""));
            let is_open = raw.response_or_end().is_some_and(|head| head.starts_with("HTTP/1.1 101 "));
            opened = is_open.then_some(raw.stream);
            is_open
        });
        opened.expect("it is let in")
    };
    (0..clients).map(open).collect()
}

/// Loses them all at once, as a network does that fails.
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
fn floods_at_full_speed_delay_no_push() {
    let Some(time) = stress() else { return };
    let _alone = alone();
    for (form, args, sends) in FORMS {
        for max_clients in [&["--max-clients", "200"][..], &[]] {
            let program = start(&[max_clients, args].concat());
            let until = Instant::now() + time;
            let is_plain = !args.contains(&"--tls-self-signed");
            let late =
                is_plain.then(|| lateness(Raw::websocket(program.addr(), "/websocket?Id=witness"), until));
            let watch = Watch::begin(&program);
            let mut connects = 0;
            flood(program.addr(), sends, |so_far| {
                connects = so_far;
                Instant::now() < until
            });
            let most = watch.most();
            let late = late.map(|late| late.join().expect("the witness gets its pushes"));
            let hundredth = late.map(|late| late[late.len() * 99 / 100]);
            println!("{form} {max_clients:?}: {connects} connects, {most} threads, late: {hundredth:?}");
            assert!(hundredth.is_none_or(|late| late <= LATE), "{form} {max_clients:?}: {hundredth:?}");
            eventually("all threads of clients have ended", || of_clients(&program) == 0);
        }
    }
}
