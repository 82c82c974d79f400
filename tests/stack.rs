//! The depth of the stacks of a client's threads, in a debug and in a release build: the default of `--stack-size`
//! leaves a quarter untouched on the deepest known path, for a handler to use on top. And the memory of an idle client,
//! by place.
//!
//! A touched stack page stays, so the lowest present page is the high-water mark. `cargo test --features program
//! --release --test stack -- --nocapture` shows the tables. `make footprint` shows the second one for 5,000 clients.

#[path = "../src"]
#[allow(dead_code, reason = "the program's own module, of which this test needs a part")]
mod program {
    pub mod clock;
}
use clock::options::logging::{LogFormat, LogOptions, Logging};
use program::clock;
use support::openssl;
mod support;
use support::tls;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, id};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, thread};

use openssl::{P256, RSA, openssl};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use support::deflate::deflated;
use support::dice::Dice;
use support::{Directory, Program, Raw, eventually, frame, get, masked, upgrade};
use threadcast::{
    Application, Connection, CookieSecret, Error, Exchange, Message, Messages, RequestHandler, Result,
    Server, WebSocketHandler,
};
use tls::{Identity, Secure};

/// One part in four of a stack stays untouched.
const SPARE: u64 = 4;
/// The default number of idle clients to measure.
const FEW: usize = 200;
/// glibc's arenas, except the first, begin at a multiple of this.
const ARENA: u64 = 64 << 20;
/// Keeps no freed memory for the thread that freed it.
const NO_CACHE: &str = "glibc.malloc.tcache_count=0";

// ---- the high-water mark ----

/// The stack of a blocked thread. glibc keeps its description of the thread, and the thread-local variables, at its
/// top: a page or two that no function has touched, but that count too.
struct Stack {
    size: u64,
    /// From the top to the end of the lowest page that was touched.
    deepest: u64,
    /// Pages.
    touched: u64,
    /// From the top to the current stack pointer.
    blocked: u64,
}

impl Stack {
    /// Waits until the thread exists, and is blocked.
    fn of(pid: u32, thread: &str) -> Stack {
        let mut pointer = None;
        eventually(&format!("{thread} is blocked"), || {
            let named = |task: &PathBuf| {
                fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
            };
            let Some(task) = tasks(pid).into_iter().find(named) else { return false };
            let before = blocked_at(&task);
            // No event shows that it stays blocked, so this looks twice, some time apart.
            thread::sleep(Duration::from_millis(10));
            pointer = blocked_at(&task).filter(|_| before == blocked_at(&task));
            pointer.is_some()
        });
        let pointer = pointer.expect("was found").1;
        let mappings = mappings(pid);
        let mapping = mappings.iter().find(|mapping| mapping.range.contains(&pointer));
        let range = mapping.expect("a stack is mapped").range.clone();
        let pages = present_pages(pid, range.clone());
        let lowest = pages.first().expect("a stack in use has a page");
        Stack {
            size: range.end - range.start,
            deepest: range.end - lowest,
            touched: pages.len() as u64,
            blocked: range.end - pointer,
        }
    }
}

/// The directories of a process's threads.
fn tasks(pid: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("lists threads");
    tasks.flatten().map(|task| task.path()).collect()
}

/// The system call in which a thread is blocked, and its stack pointer; `None` if it is running, or gone.
fn blocked_at(task: &std::path::Path) -> Option<(String, u64)> {
    // "running", or: number, six arguments, stack pointer, program counter.
    let line = fs::read_to_string(task.join("syscall")).ok()?;
    let pointer = line.split_whitespace().rev().nth(1)?;
    let pointer = u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()?;
    Some((line, pointer))
}

/// The addresses of the pages in `range` that are present.
fn present_pages(pid: u32, range: Range<u64>) -> Vec<u64> {
    const PRESENT_OR_SWAPPED: u64 = 3 << 62;
    let page = page_size();
    let mut entries = vec![0; ((range.end - range.start) / page * 8) as usize];
    let pagemap = File::open(format!("/proc/{pid}/pagemap")).expect("opens");
    pagemap.read_exact_at(&mut entries, range.start / page * 8).expect("reads");
    let entries = entries.chunks(8).map(|entry| u64::from_ne_bytes(entry.try_into().expect("eight bytes")));
    let pages = range.step_by(page as usize).zip(entries);
    pages.filter(|(_, entry)| entry & PRESENT_OR_SWAPPED != 0).map(|(at, _)| at).collect()
}

fn page_size() -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("reads");
    number_after(&smaps, "KernelPageSize:").expect("has a page size") * 1024
}

/// The number after a name at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

struct Mapping {
    range: Range<u64>,
    /// Empty for an anonymous mapping.
    name: String,
    writable: bool,
    resident_kib: u64,
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("reads");
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let address = |text: &str| u64::from_str_radix(text, 16).ok();
        if let Some((start, end)) = words[0].split_once('-')
            && let (Some(start), Some(end)) = (address(start), address(end))
        {
            let (name, writable) = (words.get(5).copied().unwrap_or_default().to_owned(), words[1]);
            let writable = writable.contains('w');
            mappings.push(Mapping { range: start..end, name, writable, resident_kib: 0 });
        } else if words[0] == "Rss:" {
            mappings.last_mut().expect("its mapping comes first").resident_kib =
                words[1].parse().expect("a number");
        }
    }
    mappings
}

// ---- the deepest paths ----

/// A way to get deep. Returns connections that must stay open while the test looks at the stack; by then the server has
/// answered, so at most the last few instructions before it blocks are missing.
type Drive = fn(SocketAddr) -> Vec<Raw>;

/// Name, thread, drive: for the program, with `--lab`.
const OF_THE_PROGRAM: &[(&str, &str, Drive)] = &[
    ("a handshake, then idle", "client-1", |addr| vec![Raw::websocket(addr, "/websocket?Id=A")]),
    ("a handshake with 99 headers and a cookie of 8 KiB", "client-1", |addr| {
        let mut head = format!("Cookie: {}\r\n", "name=value; ".repeat(8192 / 12));
        (0..93).for_each(|n| head += &format!("X-{n}: {n}\r\n"));
        let mut raw = Raw::connect(addr);
        raw.send(upgrade("/websocket?Id=A", &head));
        assert!(raw.head().starts_with("HTTP/1.1 101 "));
        settled(raw)
    }),
    ("a handshake that replaces an older session", "client-2", |addr| {
        let older = Raw::websocket(addr, "/websocket?Id=A");
        let newer = Raw::websocket(addr, "/websocket?Id=A");
        [settled(newer), vec![older]].concat_all()
    }),
    ("a handshake that is refused", "client-1", |addr| {
        answered(addr, &upgrade("/websocket", "Origin: http://localhost\r\n"), "HTTP/1.1 400 ")
    }),
    ("a malformed head", "client-1", |addr| answered(addr, "what?\r\n\r\n", "HTTP/1.1 400 ")),
    ("a head with 200 headers", "client-1", |addr| {
        answered(addr, &get("/", &"X: x\r\n".repeat(200)), "HTTP/1.1 431 ")
    }),
    ("the page, from a directory", "client-1", |addr| answered(addr, &get("/", ""), "HTTP/1.1 200 ")),
    ("a file, from a directory", "client-1", |addr| {
        answered(addr, &get("/static/clock.js", "If-None-Match: \"a\"\r\n"), "HTTP/1.1 200 ")
    }),
    ("a file that is not there", "client-1", |addr| {
        answered(addr, &get("/static/a/../%2e%2e/b", ""), "HTTP/1.1 40")
    }),
    ("the page /stats", "client-1", |addr| answered(addr, &get("/stats", ""), "HTTP/1.1 200 ")),
    ("a text of 300 KiB in fragments, logged", "client-1", |addr| {
        let mut raw = Raw::websocket(addr, "/websocket?Id=A");
        let part = "\u{1b}é".repeat(20_000);
        raw.send_frame(0x01, &part);
        (0..3).for_each(|_| raw.send_frame(0x00, &part));
        raw.send_frame(0x80, &part);
        settled(raw)
    }),
    ("an echo of 300 KiB", "client-1", |addr| {
        let mut raw = Raw::websocket(addr, "/echo?Id=A");
        raw.send_frame(0x82, vec![1; 300 << 10]);
        assert_eq!(raw.frame().payload.len(), 300 << 10);
        settled(raw)
    }),
    ("a compressed handshake, then idle", "client-1", |addr| vec![compressed(addr, "/websocket?Id=A")]),
    ("a compressed echo of 300 KiB, in fragments", "client-1", |addr| {
        let mut raw = compressed(addr, "/echo?Id=A");
        let payload = deflated(&Dice(1).bytes(20 << 10).repeat(15));
        raw.send_frame(0x42, &payload[..payload.len() / 2]);
        raw.send_frame(0x80, &payload[payload.len() / 2..]);
        assert_eq!(raw.frame().first, 0xc2);
        settled(raw)
    }),
    ("invalid compressed data", "client-1", |addr| {
        close(compressed(addr, "/websocket?Id=A"), 0xc1, &[0xff; 100], 1007)
    }),
    ("a compressed message over the limit", "client-1", |addr| {
        close(compressed(addr, "/websocket?Id=A"), 0xc2, &deflated(&[0; 600 << 10]), 1009)
    }),
    ("a text that is not UTF-8", "client-1", |addr| closed(addr, 0x81, &[0xff], 1007)),
    ("a message over the limit", "client-1", |addr| closed(addr, 0x82, &[0; 600 << 10], 1009)),
    ("an opcode that does not exist", "client-1", |addr| closed(addr, 0x83, b"", 1002)),
    ("a Close with a reason", "client-1", |addr| {
        closed(addr, 0x88, &[&1000u16.to_be_bytes()[..], &[b'r'; 123]].concat(), 1000)
    }),
    ("a handler that panics", "client-1", |addr| closed(addr, 0x81, b"panic", 1011)),
    ("messages to a client that does not read", "client-1", stuck),
    ("the same", "pump-1", stuck),
];

/// The test waits for the end of such a path.
const WITH_A_BACKTRACE: &str = ", with a backtrace";
/// Functions that wait for a message: without a deadline, and with one.
const A_FUNCTION: &str = "a function in recv, idle";
const A_PATIENT_FUNCTION: &str = "a function in recv_timeout, idle";
/// And for the line that ends this path.
const GIVEN_UP: &str = "a client that reads nothing in 10 s is disconnected, logged";
const LAST_WORDS: &str = "it has read nothing within the write deadline";

/// A way to get deep over TLS.
type DriveTls = fn(SocketAddr, &Arc<ClientConfig>) -> Secure;

const OVER_TLS: &[(&str, &str, DriveTls)] = &[
    ("a handshake, then idle", "client-1", |addr, config| Secure::websocket(addr, config, "/websocket?Id=A")),
    ("the page, from a directory", "client-1", |addr, config| {
        let mut client = Secure::connect(addr, config);
        client.send(get("/", ""));
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        client
    }),
    ("an echo of 300 KiB", "client-1", |addr, config| {
        let mut client = Secure::websocket(addr, config, "/echo?Id=A");
        client.send_frame(0x82, vec![1; 300 << 10]);
        assert_eq!(client.frame().1.len(), 300 << 10);
        client
    }),
    ("a handshake that fails", "client-1", |addr, config| {
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = Secure::connect(addr, &Arc::new(config));
        client.tls.write_all(b"GET").expect_err("an alert");
        client
    }),
    ("an invalid record", "client-1", |addr, config| {
        let mut client = Secure::websocket(addr, config, "/websocket?Id=A");
        client
            .tls
            .sock
            .write_all(b"\x17\x03\x03\x00\x20 which is not a record of theirs ...")
            .expect("sends");
        client.rest().expect_err("an alert");
        client
    }),
    ("messages to a client that does not read", "client-1", stuck_over_tls),
    ("the same", "pump-1", stuck_over_tls),
];

/// As above, for the library.
const OF_THE_LIBRARY: &[(&str, &str, Drive)] = &[
    ("secure cookies, a subprotocol and JSON in open", "client-1", |addr| {
        let mut raw = Raw::connect(addr);
        raw.send(upgrade(
            "/ws",
            "Cookie: visits=\"2|1:0|1:0|6:visits|4:MQ==|00\"\r\nSec-WebSocket-Protocol: a, b\r\n",
        ));
        assert!(raw.head().starts_with("HTTP/1.1 101 "));
        settled(raw)
    }),
    ("a handler that fails", "client-1", |addr| close(Raw::websocket(addr, "/ws"), 0x81, b"fail", 1011)),
    ("a panic in get, with a backtrace", "client-1", |addr| {
        answered(addr, &get("/page", ""), "HTTP/1.1 500 ")
    }),
    ("a panic in post, with a backtrace", "client-1", |addr| {
        let lines = "Origin: http://localhost\r\nTransfer-Encoding: chunked\r\n";
        let chunks = "2;x=y\r\nhi\r\n0\r\nX: y\r\n\r\n";
        answered(addr, &(get("/posts/a%20b", lines).replacen("GET", "POST", 1) + chunks), "HTTP/1.1 500 ")
    }),
    ("a panic in open, with a backtrace", "client-1", |addr| {
        answered(addr, &upgrade("/ws?panic=open", ""), "HTTP/1.1 500 ")
    }),
    ("a panic in on_message, with a backtrace", "client-1", |addr| {
        close(Raw::websocket(addr, "/ws?panic=on_message"), 0x81, b"now", 1011)
    }),
    ("a panic in on_close, with a backtrace", "client-1", |addr| {
        close(Raw::websocket(addr, "/ws?panic=on_close"), 0x88, &1000u16.to_be_bytes(), 1000)
    }),
    (A_FUNCTION, "client-1", |addr| vec![Raw::websocket(addr, "/run")]),
    (A_PATIENT_FUNCTION, "client-1", |addr| vec![Raw::websocket(addr, "/run?for=ever")]),
    ("a function that sends 300 KiB back", "client-1", |addr| {
        let mut raw = Raw::websocket(addr, "/run");
        raw.send_frame(0x82, vec![1; 300 << 10]);
        assert_eq!(raw.frame().payload.len(), 300 << 10);
        settled(raw)
    }),
    ("a panic in run, with a backtrace", "client-1", |addr| {
        close(Raw::websocket(addr, "/run"), 0x81, b"panic", 1011)
    }),
    (GIVEN_UP, "pump-1", stuck),
    ("a handler that disconnects a slow consumer", "client-2", |addr| {
        let slow = Raw::websocket(addr, "/ws");
        let mut raw = Raw::websocket(addr, "/ws");
        raw.send_frame(0x81, "fill the first");
        while raw.frame() != frame(0x81, "it is full") {}
        [settled(raw), vec![slow]].concat_all()
    }),
];

/// Joins the connections of two drives.
trait ConcatAll {
    fn concat_all(self) -> Vec<Raw>;
}

impl ConcatAll for [Vec<Raw>; 2] {
    fn concat_all(self) -> Vec<Raw> {
        self.into_iter().flatten().collect()
    }
}

/// Waits until the server has read everything.
fn settled(mut raw: Raw) -> Vec<Raw> {
    raw.send_frame(0x89, "settled");
    while raw.frame() != frame(0x8a, "settled") {}
    vec![raw]
}

/// A request whose answer begins like this; the connection stays open.
fn answered(addr: SocketAddr, request: &str, answer: &str) -> Vec<Raw> {
    let mut raw = Raw::connect(addr);
    raw.send(request);
    let (head, _) = raw.response();
    assert!(head.starts_with(answer), "{head}");
    vec![raw]
}

/// A WebSocket with compression.
fn compressed(addr: SocketAddr, target: &str) -> Raw {
    let (raw, head) = offering(addr, target);
    assert!(head.contains("\r\nSec-WebSocket-Extensions: permessage-deflate;"), "{head}");
    raw
}

/// A WebSocket that offers compression as browsers do, and the 101.
fn offering(addr: SocketAddr, target: &str) -> (Raw, String) {
    let mut raw = Raw::connect(addr);
    raw.send(upgrade(target, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"));
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (raw, head)
}

/// A frame to the program that makes it close. The client does not answer, so the thread waits for that, after all its
/// other work.
fn closed(addr: SocketAddr, first: u8, payload: &[u8], code: u16) -> Vec<Raw> {
    close(Raw::websocket(addr, "/websocket?Id=A"), first, payload, code)
}

fn close(mut raw: Raw, first: u8, payload: &[u8], code: u16) -> Vec<Raw> {
    raw.send_frame(first, payload);
    let close = loop {
        let frame = raw.frame();
        if frame.first == 0x88 {
            break frame;
        }
    };
    assert_eq!(close.payload[..2], code.to_be_bytes());
    assert_eq!(raw.rest(), b"");
    vec![raw]
}

/// Fills the way back, until the server stops reading too.
fn stuck(addr: SocketAddr) -> Vec<Raw> {
    let mut raw = Raw::websocket(addr, "/echo?Id=A");
    rustix::net::sockopt::set_socket_recv_buffer_size(&raw.stream, 64 << 10).expect("sets");
    raw.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("sets");
    let message = masked(0x82, &vec![0; 400 << 10]);
    while raw.stream.write_all(&message).is_ok() {}
    vec![raw]
}

fn stuck_over_tls(addr: SocketAddr, config: &Arc<ClientConfig>) -> Secure {
    let mut client = Secure::websocket(addr, config, "/echo?Id=A");
    rustix::net::sockopt::set_socket_recv_buffer_size(&client.tls.sock, 64 << 10).expect("sets");
    client.tls.sock.set_write_timeout(Some(Duration::from_millis(300))).expect("sets");
    let message = masked(0x82, &vec![0; 400 << 10]);
    while client.tls.write_all(&message).and_then(|()| client.tls.flush()).is_ok() {}
    client
}

/// The program with all options that make it go deep.
fn program(log: &OsStr, more: &[&str]) -> Program {
    let www = concat!(env!("CARGO_MANIFEST_DIR"), "/www");
    let mut command = Program::command();
    command.args(["--port", "0", "--lab", "--interval", "1h", "--max-message", "512KiB"]);
    command
        .args(["--compression", "1KiB", "--logging", "debug", "--www", www, "--log-file"])
        .arg(log)
        .args(more);
    Program::spawn(command.env("RUST_BACKTRACE", "1"))
}

/// A test's log file for the program.
fn log_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("stack-{name}-{}.log", id()))
}

#[test]
fn on_the_deepest_path_a_quarter_of_the_stack_is_left() {
    if support::is_run_again() {
        return serve_the_library();
    }
    let log = log_file("deepest");
    let mut rows = Vec::new();
    for (what, thread, drive) in OF_THE_PROGRAM {
        // A new program for each, because a new thread may get the used stack of one that has ended.
        let program = program(log.as_os_str(), &[]);
        let _open = drive(program.addr());
        rows.push((*what, *thread, Stack::of(program.pid(), thread)));
    }
    for (what, thread, drive) in OF_THE_LIBRARY {
        let mut command = Command::new(env::current_exe().expect("is a program"));
        command.args(["--exact", "on_the_deepest_path_a_quarter_of_the_stack_is_left", "--nocapture"]);
        let server = Program::spawn(command.env(support::AGAIN, "1").env("RUST_BACKTRACE", "full"));
        let _open = drive(server.addr());
        if what.ends_with(WITH_A_BACKTRACE) {
            server.wait_for_line("stack backtrace:");
        }
        if *what == GIVEN_UP {
            server.wait_for_line(LAST_WORDS);
        }
        rows.push((*what, *thread, Stack::of(server.pid(), thread)));
    }
    fs::remove_file(log).expect("was written");
    check(&rows, 2);
}

#[test]
fn over_tls_a_quarter_of_the_stack_is_left_too_whatever_the_key() {
    let (log, files) = (log_file("tls"), Directory::new("stack-tls"));
    for (name, algorithm) in [("ecdsa", P256), ("rsa", RSA)] {
        openssl(&files, &format!("genpkey {algorithm} -out {name}.key"));
        let [chain, key] = ["pem", "key"].map(|end| format!("{}/{name}.{end}", files.path()));
        let identity = Identity::of_key(&fs::read_to_string(&key).expect("was made"));
        fs::write(&chain, &identity.chain).expect("writes");
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(identity.client(&[version]));
            let mut rows = Vec::new();
            for (what, thread, drive) in OVER_TLS {
                let program = program(log.as_os_str(), &["--tls-cert", &chain, "--tls-key", &key]);
                let _open = drive(program.addr(), &config);
                rows.push((*what, *thread, Stack::of(program.pid(), thread)));
            }
            println!("{name}, {:?}:", version.version);
            // One more than without TLS: the decrypting call is below the read loop. With TLS 1.3 it is sometimes
            // needed, because the size of each read is random.
            check(&rows, 3);
        }
    }
    fs::remove_file(log).expect("was written");
}

/// Prints the depth of each, and compares it with its limit; the first one and the functions are idle, on that number of
/// pages.
fn check(rows: &[(&str, &str, Stack)], idle_pages: u64) {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("| {build} build | thread | deepest, KiB of 64 | pages |\n|---|---|---:|---:|");
    for (what, thread, stack) in rows {
        println!("| {what} | `{thread}` | {} | {} |", stack.deepest / 1024, stack.touched);
    }
    let idle = |what: &str| what == rows[0].0 || [A_FUNCTION, A_PATIENT_FUNCTION].contains(&what);
    for (what, _, stack) in rows.iter().filter(|row| !cfg!(debug_assertions) && idle(row.0)) {
        let pages = stack.touched;
        assert!(pages <= idle_pages, "{what} has touched {pages} pages, for which each idle client pays");
    }
    for (what, thread, stack) in rows {
        assert_eq!(stack.size, 64 << 10, "the smallest stack, which is the program's default, in {thread}");
        let most = stack.size - stack.size / SPARE;
        assert!(stack.deepest <= most, "{what}: {thread} went {} bytes deep, of {most}", stack.deepest);
    }
}

// ---- the library's server ----

/// Uses parts of the library that the program's handlers do not, and panics in the method that its client names.
struct Deep {
    panics: String,
    everybody: Arc<Mutex<Vec<Connection>>>,
}

impl Deep {
    fn reach(&self, method: &str) {
        assert!(self.panics != method, "as it was told");
    }
}

impl WebSocketHandler for Deep {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        self.panics = exchange.get_argument_or("panic", "")?;
        self.reach("open");
        let visits = exchange.get_secure_cookie("visits")?.map_or(0, |value| value[0]);
        exchange.set_secure_cookie("visits", [visits])?;
        connection.write_message(Message::json(&vec![connection.id(); 100])?)?;
        self.everybody.lock().expect("no holder panics").push(connection.clone());
        Ok(())
    }

    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        offered.last().map(|offer| (*offer).to_owned())
    }

    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        self.reach("on_message");
        match message.as_text() {
            Some("fail") => Err(Error::invalid("as it was told")),
            Some("fill the first") => {
                let first = self.everybody.lock().expect("no holder panics")[0].clone();
                while first.write_message(vec![0; 64 << 10]).is_ok() {}
                connection.write_message("it is full")
            }
            _ => Ok(()),
        }
    }

    fn on_close(&mut self, _: &Connection) {
        self.reach("on_close");
    }
}

struct Panics;

impl RequestHandler for Panics {
    fn get(&mut self, _: &mut Exchange<'_>) -> Result<()> {
        panic!("as it was told");
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        panic!("as it was told, by {} with {}", exchange.path_argument("who"), exchange.body().len());
    }
}

/// The program's logger. A pump's last act is to log why it ends; this stops it there, for the test to look at.
struct Halts(Box<dyn log::Log>);

impl log::Log for Halts {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.log(record);
        while record.args().to_string().contains(LAST_WORDS) {
            thread::park();
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Serves what the program lacks, until the process ends.
fn serve_the_library() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("ends with the other test");
    let options = LogOptions {
        logging: Logging::Debug,
        log_file: None,
        log_format: LogFormat::Plain,
        access_log: false,
    };
    let (logger, started) = clock::logging::logger(&options).expect("logs");
    drop(started);
    log::set_boxed_logger(Box::new(Halts(logger))).expect("is the first");
    log::set_max_level(log::LevelFilter::Debug);
    let everybody = Arc::new(Mutex::new(Vec::new()));
    let make = move || Deep { panics: String::new(), everybody: everybody.clone() };
    let secret = CookieSecret::new("a secret of this test").expect("is long enough");
    let application = Application::new()
        .stack_size(64 << 10)
        .cookie_secret(secret)
        .websocket("/ws", make)
        .websocket("/echo", || Echo)
        .websocket_with("/run", |exchange| {
            let for_ever = !exchange.get_argument_or("for", "")?.is_empty();
            Ok(move |connection: &Connection, messages: &mut Messages| run(connection, messages, for_ever))
        })
        .page("/page", || Panics)
        .page("/posts/{who}", || Panics);
    let server = Server::bind("127.0.0.1:0", application).expect("binds");
    println!("threadcast is at http://{}/", server.local_addr());
    server.join();
}

struct Echo;

impl WebSocketHandler for Echo {
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        connection.write_message(message)
    }
}

fn run(connection: &Connection, messages: &mut Messages, for_ever: bool) -> Result<()> {
    let patience = Duration::from_secs(3600);
    while let Some(message) = if for_ever { messages.recv_timeout(patience) } else { messages.recv() }? {
        assert!(message.as_text() != Some("panic"), "as it was told");
        connection.write_message(message)?;
    }
    Ok(())
}

// ---- the memory of idle clients ----

/// A process's resident memory, and the system's memory for it; in KiB.
struct Memory {
    stacks: u64,
    signal_stacks: u64,
    heap: u64,
    rest: u64,
    page_tables: u64,
    /// Of the whole system.
    kernel_stacks: u64,
}

impl Memory {
    fn of(pid: u32) -> Memory {
        let mut pointers = Vec::new();
        eventually("every thread is blocked", || {
            let blocked: Option<_> = tasks(pid).iter().map(|task| Some(blocked_at(task)?.1)).collect();
            pointers = blocked.unwrap_or_default();
            !pointers.is_empty()
        });
        pointers.sort_unstable();
        let is_stack = |range: &Range<u64>| {
            let next = pointers.partition_point(|pointer| *pointer < range.start);
            pointers.get(next).is_some_and(|pointer| range.contains(pointer))
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
        let system = fs::read_to_string("/proc/meminfo").expect("reads");
        let mut memory = Memory {
            stacks: 0,
            signal_stacks: 0,
            heap: 0,
            rest: 0,
            page_tables: number_after(&status, "VmPTE:").expect("has page tables"),
            kernel_stacks: number_after(&system, "KernelStack:").expect("has kernel stacks"),
        };
        for Mapping { range, name, writable, resident_kib } in mappings(pid) {
            let (nobodys, size) = (name.is_empty() && writable, range.end - range.start);
            *match () {
                () if is_stack(&range) => &mut memory.stacks,
                () if name == "[heap]" || (nobodys && range.start.is_multiple_of(ARENA)) => &mut memory.heap,
                () if nobodys && size <= 64 << 10 => &mut memory.signal_stacks,
                () => &mut memory.rest,
            } += resident_kib;
        }
        memory
    }
}

/// Bytes of the kernel's objects for one client, by their sizes; only the superuser may see them.
fn kernel_objects(names: &[(&str, u64)]) -> Option<u64> {
    let caches = fs::read_to_string("/proc/slabinfo").ok()?;
    let size = |name: &str| {
        let line = caches.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        line.split_whitespace().nth(3)?.parse::<u64>().ok()
    };
    names.iter().map(|(name, count)| Some(size(name)? * count)).sum()
}

/// A program without clients, and with many idle ones.
struct Idle {
    clients: usize,
    before: Memory,
    after: Memory,
    /// Of one of them.
    stack: Stack,
}

impl Idle {
    fn measure(clients: usize, tunables: &str, compression: &str) -> Idle {
        let mut command = Program::command();
        command.args(["--port", "0", "--address", "127.0.0.1", "--interval", "1h", "--ping-interval", "off"]);
        command.args(["--compression", compression, "--logging", "none"]);
        let connect = |addr, target: &str| match compression {
            "off" => offering(addr, target).0,
            _ => compressed(addr, target),
        };
        let program = Program::spawn(command.env("GLIBC_TUNABLES", tunables));
        // The first client makes what is allocated once.
        drop(connect(program.addr(), "/websocket?Id=first"));
        eventually("it is gone", || !support::threads(program.pid()).contains(&"client-1".to_owned()));
        let before = Memory::of(program.pid());
        let _open: Vec<_> =
            (0..clients).map(|n| connect(program.addr(), &format!("/websocket?Id={n}"))).collect();
        let stack = Stack::of(program.pid(), &format!("client-{}", clients + 1));
        Idle { clients, before, after: Memory::of(program.pid()), stack }
    }

    /// KiB for each client.
    fn each(&self, of: fn(&Memory) -> u64) -> f64 {
        (of(&self.after) as f64 - of(&self.before) as f64) / self.clients as f64
    }
}

#[test]
fn where_each_byte_of_an_idle_client_goes() {
    let many = env::var("THREADCAST_FOOTPRINT").ok();
    let clients = many.map_or(FEW, |many| many.parse().expect("THREADCAST_FOOTPRINT is a number"));
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("raises to the hard limit");
    let idle = Idle::measure(clients, "", "off");
    let in_use = Idle::measure(clients, NO_CACHE, "off").each(|memory| memory.heap);
    let thread = [("task_struct", 1), ("vm_area_struct", 4)];
    let socket = [("TCP", 1), ("sock_inode_cache", 1), ("filp", 1), ("dentry", 1)];
    let objects = |names: &[_]| kernel_objects(names).map(|bytes| bytes as f64 / 1024.0);
    let rows = [
        (
            "stack: pages that were touched",
            Some(idle.each(|memory| memory.stacks)),
            "`/proc/PID/smaps`: around the stack pointer, which is in `/proc/PID/task/TID/syscall`",
        ),
        (
            "stack for signals",
            Some(idle.each(|memory| memory.signal_stacks)),
            "`/proc/PID/smaps`: the small mappings without a name",
        ),
        (
            "heap: in use",
            Some(in_use),
            "`/proc/PID/smaps`: `[heap]`, and what begins at a multiple of 64 MiB; with \
             `GLIBC_TUNABLES=glibc.malloc.tcache_count=0`",
        ),
        (
            "heap: freed, and kept by the allocator for that thread",
            Some(idle.each(|memory| memory.heap) - in_use),
            "the table without it, less the line above",
        ),
        ("anything else", Some(idle.each(|memory| memory.rest)), "`/proc/PID/smaps`: the rest"),
        ("page tables", Some(idle.each(|memory| memory.page_tables)), "`grep VmPTE /proc/PID/status`"),
        (
            "kernel: the thread's stack",
            Some(idle.each(|memory| memory.kernel_stacks)),
            "`grep KernelStack /proc/meminfo`, before and after",
        ),
        (
            "kernel: the thread and its mappings",
            objects(&thread),
            "`/proc/slabinfo`: the sizes of `task_struct` and `vm_area_struct`",
        ),
        (
            "kernel: the socket, with empty buffers",
            objects(&socket),
            "`/proc/slabinfo`: the sizes of `TCP`, `sock_inode_cache`, `filp` and `dentry`",
        ),
    ];
    println!("| {clients} idle clients | KiB each | shown by |\n|---|---:|---|");
    for (what, size, command) in rows {
        let size = size.map_or("not counted".to_owned(), |size| format!("{size:.2}"));
        println!("| {what} | {size} | {command} |");
    }
    println!("| together | {:.2} | |", rows.iter().filter_map(|(_, size, _)| *size).sum::<f64>());
    println!(
        "A client's stack: of its {} pages {} are there; it blocks {} bytes below the top.",
        idle.stack.size / page_size(),
        idle.stack.touched,
        idle.stack.blocked
    );
    let (stacks, rest) = (idle.each(|memory| memory.stacks), idle.each(|memory| memory.rest));
    assert!(stacks > 0.0 && stacks <= 48.0, "{stacks} KiB of each stack");
    assert!(rest.abs() < 1.0, "{rest} KiB each are in no line");
}

#[test]
fn an_idle_client_with_compression_keeps_no_more_stack_than_one_without() {
    let [plain, with] = ["off", "1KiB"].map(|compression| Idle::measure(FEW, "", compression));
    assert_eq!(with.stack.touched, plain.stack.touched);
    for (what, of) in
        [("stack", (|memory| memory.stacks) as fn(&Memory) -> u64), ("heap", |memory| memory.heap)]
    {
        println!("{what}: {:.2} KiB each with compression, {:.2} without", with.each(of), plain.each(of));
    }
    let all = |idle: &Idle| idle.each(|memory| memory.stacks + memory.heap);
    assert!(all(&with) < all(&plain) + 0.5, "{} KiB, {} without compression", all(&with), all(&plain));
}
