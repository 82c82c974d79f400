//! Restarts without a gap, under load: by a supervisor that keeps the socket (`LISTEN_FDS`), and by SIGUSR2 without one.
//!
//! Small, unless `THREADCAST_RESTARTS` says how often; then with 2,000 clients and 600 connects a second.

use crate::support;

use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::restarts::{Line, is_running, supervised};
use support::{DEADLINE, Program, eventually, get, masked, status, upgrade};

/// How much of all there is.
struct Load {
    clients: usize,
    connects_a_second: u32,
    restarts: usize,
    /// Within which a client comes back, at random: what the page does.
    back_within: Duration,
}

fn load() -> Load {
    match env::var("THREADCAST_RESTARTS") {
        Ok(restarts) => Load {
            clients: env::var("THREADCAST_RESTARTS_CLIENTS")
                .map_or(2000, |clients| clients.parse().expect("a number")),
            connects_a_second: 600,
            restarts: restarts.parse().expect("THREADCAST_RESTARTS is a number"),
            back_within: Duration::from_secs(3),
        },
        Err(_) => {
            Load { clients: 30, connects_a_second: 100, restarts: 2, back_within: Duration::from_millis(200) }
        }
    }
}

/// The counts of what the clients saw.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    open: AtomicUsize,
    restarts: AtomicUsize,
    answers: AtomicUsize,
    /// 503, which is an answer.
    unavailable: AtomicUsize,
    /// Everything else, in words.
    failures: Mutex<Vec<String>>,
    /// From a try to its answer.
    longest: Mutex<Duration>,
}

impl Tally {
    fn fail(&self, what: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Connects and asks. The connection, and the status of the answer; none if it went wrong, which is counted.
    fn ask(&self, addr: SocketAddr, request: &str) -> Option<(TcpStream, u16)> {
        let begun = Instant::now();
        match try_to_ask(addr, request) {
            Ok((stream, head)) => {
                let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
                *longest = begun.elapsed().max(*longest);
                self.answers.fetch_add(1, Ordering::Relaxed);
                let status = status(&head);
                if status == 503 {
                    self.unavailable.fetch_add(1, Ordering::Relaxed);
                }
                Some((stream, status))
            }
            Err(error) => {
                self.fail(format!("{error} after {:?}", begun.elapsed()));
                None
            }
        }
    }

    /// A client of the clock, which comes back when it is told to.
    fn stay(&self, addr: SocketAddr, id: usize, back_within: Duration) {
        while !self.over.load(Ordering::Relaxed) {
            let Some((mut stream, 101)) = self.ask(addr, &upgrade(&format!("/websocket?Id={id}"), "")) else {
                thread::park_timeout(back_within / 2);
                continue;
            };
            self.open.fetch_add(1, Ordering::Relaxed);
            let code = read_to_close(&mut stream);
            // As a browser does. The server waits for this end.
            drop(stream);
            self.open.fetch_sub(1, Ordering::Relaxed);
            match code {
                Ok(1012) => _ = self.restarts.fetch_add(1, Ordering::Relaxed),
                Ok(1001) if self.over.load(Ordering::Relaxed) => {}
                other => self.fail(format!("client {id}: {other:?}")),
            }
            // As good as at random, and the same in each run.
            let part = (id * 7919 % 1000) as u32;
            thread::park_timeout(back_within * part / 1000);
        }
    }

    /// Connects again and again, in turns for a page and for a WebSocket that it closes at once.
    fn come_and_go(&self, addr: SocketAddr, number: usize, every: Duration) {
        let ticks = crossbeam_channel::tick(every);
        for n in 0.. {
            let _ = ticks.recv();
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            if n % 2 == 0 {
                match self.ask(addr, &get("/", "Connection: close\r\n")) {
                    Some((_, 200)) | None => {}
                    Some((_, status)) => self.fail(format!("a page with {status}")),
                }
            } else if let Some((mut stream, 101)) =
                self.ask(addr, &upgrade(&format!("/websocket?Id=visitor-{number}"), ""))
            {
                let _ = stream.write_all(&masked(0x88, &1000u16.to_be_bytes()));
                let _ = read_to_close(&mut stream);
            }
        }
    }
}

fn try_to_ask(addr: SocketAddr, request: &str) -> io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::Error::other("no answer"));
        }
        head.push(byte[0]);
    }
    Ok((stream, String::from_utf8_lossy(&head).into_owned()))
}

/// Reads short frames until there is a Close, answers it, and returns its code.
fn read_to_close(stream: &mut TcpStream) -> io::Result<u16> {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1])];
        stream.read_exact(&mut payload)?;
        match head[0] {
            0x88 => {
                let _ = stream.write_all(&masked(0x88, &payload[..2]));
                return Ok(u16::from_be_bytes([payload[0], payload[1]]));
            }
            0x89 => stream.write_all(&masked(0x8a, &payload))?,
            _ => {}
        }
    }
}

/// Restarts again and again while there are clients: `restart` begins one, and returns at once. Then `end` ends it all.
fn under_load(kind: &str, addr: SocketAddr, mut restart: impl FnMut(), end: impl FnOnce()) {
    let Load { clients, connects_a_second, restarts, back_within } = load();
    let tally = Tally::default();
    thread::scope(|scope| {
        let small = || thread::Builder::new().stack_size(128 << 10);
        for id in 0..clients {
            let tally = &tally;
            small().spawn_scoped(scope, move || tally.stay(addr, id, back_within)).expect("a thread");
        }
        let number = connects_a_second.div_ceil(20).max(1);
        let every = Duration::from_secs(1) * number / connects_a_second;
        let visitors: Vec<_> = (0..number as usize)
            .map(|number| {
                let tally = &tally;
                small().spawn_scoped(scope, move || tally.come_and_go(addr, number, every)).expect("a thread")
            })
            .collect();
        let all_are_open = || tally.open.load(Ordering::Relaxed) == clients;
        eventually("all are here", all_are_open);
        // Of the restarts, not of the first crowd.
        *tally.longest.lock().unwrap_or_else(PoisonError::into_inner) = Duration::ZERO;
        for n in 1..=restarts {
            let begun = Instant::now();
            restart();
            eventually("all have been sent away", || tally.restarts.load(Ordering::Relaxed) >= n * clients);
            eventually("all are back", all_are_open);
            eprintln!("{kind}: all {clients} are back after {:?}", begun.elapsed());
        }
        tally.over.store(true, Ordering::Relaxed);
        // Before the end: in a socket that outlives the last server a visitor would wait in vain.
        visitors.into_iter().for_each(|visitor| visitor.join().expect("a visitor does not panic"));
        end();
    });
    let failures = tally.failures.into_inner().unwrap();
    let (answers, unavailable) = (tally.answers.into_inner(), tally.unavailable.into_inner());
    eprintln!(
        "{kind}: {restarts} restarts, {clients} clients, {answers} connects, {unavailable} of them 503, \
         {} failed, the longest wait {:?}",
        failures.len(),
        tally.longest.into_inner().unwrap()
    );
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(unavailable, 0);
}

#[test]
fn a_restart_by_a_supervisor_that_keeps_the_socket_loses_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let start = || Program::spawn(&mut supervised(&[&socket], &["--drain", "0s", "--logging", "warning"]));
    let program = Mutex::new(start());
    let stop = || {
        let mut program = program.lock().unwrap();
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0), "{:?}", program.lines());
    };
    let restart = || {
        stop();
        *program.lock().unwrap() = start();
    };
    // The socket is bound, and what comes before the first start waits in it.
    under_load("the socket kept", addr, restart, stop);
}

#[test]
fn a_restart_by_sigusr2_loses_nobody() {
    let line = Mutex::new(Line::start(&["--drain", "500ms"]));
    let addr = line.lock().unwrap().first.addr();
    let restart = || line.lock().unwrap().succeed();
    let end = || line.lock().unwrap().signal(Signal::TERM);
    under_load("SIGUSR2", addr, restart, end);
    let line = line.into_inner().unwrap();
    for process in &line.serving {
        eventually("each process ends", || !is_running(*process));
    }
}
