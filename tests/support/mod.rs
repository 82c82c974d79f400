//! Shared by the black-box tests: a server whose handler reports its events, the program itself, and a client that
//! speaks bytes. Nothing waits for a time; everything waits for an event, with a deadline that names it.
#![allow(dead_code, reason = "no test crate uses all of this")]

pub mod browser;
pub mod deflate;
pub mod devtools;
pub mod dice;
pub mod far;
pub mod fleet;
pub mod network;
pub mod openssl;
pub mod python;
pub mod relay;
pub mod restarts;
pub mod tls;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use threadcast::{Application, Capacity, Connection, Exchange, Message, Result, Server, WebSocketHandler};

/// How long any event may take before its test fails. Long, since two cores may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The bytes that a [`Probed`] server buffers for all its clients, unless a test sets another limit.
const BUFFERED: u64 = 1 << 30;

/// An event of a handler.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Open(Connection),
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Option<String>),
}

/// Reports its events. After that, `on_message` calls the function that it got.
pub struct Probe {
    events: Sender<Event>,
    reply: Reply,
}

type Reply = Arc<dyn Fn(&Connection, Message) -> Result<()> + Send + Sync>;

impl WebSocketHandler for Probe {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        let _ = self.events.send(Event::Open(connection.clone()));
        Ok(())
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let _ = self.events.send(Event::Message(message.clone()));
        (self.reply)(connection, message)
    }
    fn on_close(&mut self, connection: &Connection) {
        let reason = connection.close_reason().map(str::to_owned);
        let _ = self.events.send(Event::Close(connection.close_code(), reason));
    }
    fn on_ping(&mut self, _: &Connection, payload: &[u8]) {
        let _ = self.events.send(Event::Ping(payload.to_vec()));
    }
    fn on_pong(&mut self, _: &Connection, payload: &[u8]) {
        let _ = self.events.send(Event::Pong(payload.to_vec()));
    }
}

/// A server in this process, with a [`Probe`] at `/ws`.
pub struct Probed {
    pub server: Server,
    pub addr: SocketAddr,
    pub events: Receiver<Event>,
}

impl Probed {
    /// Starts one that only reports messages.
    pub fn start() -> Probed {
        Probed::start_with(|application| application, |_, _| Ok(()))
    }

    /// `settings` changes the application; `reply` is the handler's answer to a message.
    pub fn start_with(
        settings: impl FnOnce(Application) -> Application,
        reply: impl Fn(&Connection, Message) -> Result<()> + Send + Sync + 'static,
    ) -> Probed {
        Probed::start_within(Capacity::new(1000), settings, reply)
    }

    /// As [`start_with`](Probed::start_with), for fewer clients.
    pub fn start_within(
        capacity: Capacity,
        settings: impl FnOnce(Application) -> Application,
        reply: impl Fn(&Connection, Message) -> Result<()> + Send + Sync + 'static,
    ) -> Probed {
        let (sender, events) = crossbeam_channel::unbounded();
        let reply: Reply = Arc::new(reply);
        let probe = move || Probe { events: sender.clone(), reply: reply.clone() };
        // This machine's limits may be unknown, and then the default allows few buffered bytes.
        let application = settings(Application::new().max_buffered(BUFFERED).websocket("/ws", probe));
        let server = Server::bind_with("127.0.0.1:0", application, capacity).expect("binds");
        Probed { addr: server.local_addr(), server, events }
    }

    pub fn next(&self, what: &str) -> Event {
        self.events.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("waited for {what}"))
    }

    /// An open client, and its connection.
    pub fn open(&self) -> (Raw, Connection) {
        let raw = Raw::websocket(self.addr, "/ws");
        match self.next("open") {
            Event::Open(connection) => (raw, connection),
            other => panic!("waited for open, got {other:?}"),
        }
    }

    pub fn expect_message(&self, message: impl Into<Message>) {
        assert_eq!(self.next("a message"), Event::Message(message.into()));
    }

    pub fn expect_close(&self, code: Option<u16>, reason: Option<&str>) {
        assert_eq!(self.next("on_close"), Event::Close(code, reason.map(str::to_owned)));
    }
}

/// A frame as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    pub first: u8,
    pub payload: Vec<u8>,
}

/// `0x81`, `0x82` and so on: FIN and the opcode.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Wire {
    Wire { first, payload: payload.as_ref().to_vec() }
}

/// A Close frame with a code and a reason.
pub fn close_frame(code: u16, reason: &str) -> Wire {
    frame(0x88, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// A client that speaks bytes, over one TCP connection.
pub struct Raw {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub fn connect(addr: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(addr).expect("connects"))
    }

    /// Connects from the address 127.0.0.`host`: to a server on the loopback, another machine.
    pub fn connect_from(host: u8, addr: SocketAddr) -> Raw {
        Raw::connect_from_ip([127, 0, 0, host], addr)
    }

    /// Connects from an address of the loopback.
    pub fn connect_from_ip(ip: [u8; 4], addr: SocketAddr) -> Raw {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&socket, &SocketAddr::from((ip, 0))).expect("an address");
        rustix::net::connect(&socket, &addr).expect("connects");
        Raw::over(socket.into())
    }

    /// Either end of a connection.
    pub fn over(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        Raw { stream, unread: Vec::new() }
    }

    /// Connects with a receive buffer of this size. If the size is set later, the kernel may drop incoming packets, and
    /// with them the acknowledgement of what this end has sent.
    pub fn narrow(addr: SocketAddr, bytes: usize) -> Raw {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a size");
        rustix::net::connect(&socket, &addr).expect("connects");
        Raw::over(socket.into())
    }

    /// Connects and completes the handshake.
    pub fn websocket(addr: SocketAddr, target: &str) -> Raw {
        Raw::connect(addr).upgraded(target)
    }

    /// Completes the handshake.
    pub fn upgraded(mut self, target: &str) -> Raw {
        self.send(upgrade(target, ""));
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    /// Sends. A server that has gone shows up at the next read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("cannot send: {error}");
            }
            _ => {}
        }
    }

    /// Sends a frame, masked as a client must.
    pub fn send_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.send(masked(first, payload.as_ref()));
    }

    fn fill(&mut self, what: &str) {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("the connection ended while waiting for {what}; before that: {:?}", self.unread),
            Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
            Err(error) => panic!("waited for {what}: {error}"),
        }
    }

    /// The next bytes, this many.
    pub fn take(&mut self, length: usize, what: &str) -> Vec<u8> {
        while self.unread.len() < length {
            self.fill(what);
        }
        self.unread.drain(..length).collect()
    }

    /// The head of a response, with its empty line.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.take(end + 4, "")).expect("a head is ASCII");
            }
            self.fill("the head of a response");
        }
    }

    /// The head of a response; `None` if the connection ends, or is reset, before it.
    pub fn response_or_end(&mut self) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = self.stream.read(&mut bytes).ok().filter(|length| *length > 0)?;
        self.unread.extend_from_slice(&bytes[..length]);
        Some(self.head())
    }

    /// A response with a `Content-Length`: its head and its body.
    pub fn response(&mut self) -> (String, Vec<u8>) {
        let head = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.unwrap_or("0").parse().expect("a length");
        (head, self.take(length, "the body of a response"))
    }

    /// The next frame.
    pub fn frame(&mut self) -> Wire {
        let head = self.take(2, "a frame");
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2, "a length").try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8, "a length").try_into().unwrap()) as usize,
            short => usize::from(short),
        };
        Wire { first: head[0], payload: self.take(length, "a payload") }
    }

    /// The next frame; `None` if the connection ends before it.
    pub fn frame_or_end(&mut self) -> Option<Wire> {
        if self.unread.is_empty() {
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("waited for a frame: {error}"),
            }
        }
        Some(self.frame())
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        self.stream.read_to_end(&mut self.unread).expect("ends in order");
        std::mem::take(&mut self.unread)
    }

    /// True if the stream ended, with FIN or RST, without any bytes before.
    pub fn is_at_end(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => self.unread.is_empty(),
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Ends the connection with RST, like a machine that has crashed and come back.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("sets SO_LINGER");
    }
}

/// A request for a page; `more` are header lines with their line ends.
pub fn get(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

/// The response to one request on a new connection.
pub fn fetch(addr: SocketAddr, request: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    let mut raw = Raw::connect(addr);
    raw.send(request);
    raw.response()
}

/// Bytes that clients have sent to a server of this machine and that it has not read.
pub fn on_its_way(addr: SocketAddr) -> u64 {
    // With the address: a client of another server may have this port at another one.
    let SocketAddr::V4(addr) = addr else { panic!("{addr} is in another table") };
    let server = format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("reads");
    let queues = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (sent, received) = fields.get(4)?.split_once(':')?;
        let bytes = |queue| u64::from_str_radix(queue, 16).unwrap_or(0);
        match (fields[1] == server, fields[2] == server) {
            (true, _) => Some(bytes(received)),
            (_, true) => Some(bytes(sent)),
            _ => None,
        }
    });
    queues.sum()
}

/// The status in the head of a response.
pub fn status(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// A new directory, which is removed on drop.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Directory {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{process}-{number}"));
        fs::create_dir_all(&path).expect("creates a directory");
        Directory(path)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("is below a directory")).expect("creates a directory");
        fs::write(path, content).expect("writes a file");
    }

    /// Writes a file that only its owner may read. Returns where it is.
    pub fn secret(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        self.write(name, content);
        let path = self.0.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets the mode");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a UTF-8 path")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The values of a header in a head, by name in any case.
pub fn header_values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// A request for a WebSocket; `more` are header lines with their line ends.
pub fn upgrade(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A frame with a mask, which every frame of a client has (RFC 6455, section 5.3).
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    masked_with([0x12, 0x34, 0x56, 0x78], first, payload)
}

/// A frame with this mask.
pub fn masked_with(mask: [u8; 4], first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=65535 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The program, in a child process.
pub struct Program {
    child: Child,
    output: Arc<Output>,
    collectors: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Program {
    /// Starts it on a free port of the loopback, and waits until it prints its address.
    pub fn start(args: &[&str]) -> Program {
        let program =
            Program::spawn(Program::command().args(["--port", "0", "--address", "127.0.0.1"]).args(args));
        program.wait_for_line("threadcast is at http");
        program
    }

    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast"));
        without_variables(&mut command);
        command
    }

    pub fn spawn(command: &mut Command) -> Program {
        without_variables(command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let output = Arc::new(Output::default());
        let collectors = vec![
            collect(child.stdout.take().expect("piped"), output.clone()),
            collect(child.stderr.take().expect("piped"), output.clone()),
        ];
        Program { child, output, collectors }
    }

    /// The address in its first line.
    pub fn addr(&self) -> SocketAddr {
        self.addr_in("threadcast is at http")
    }

    /// The address in the first line that contains `text`.
    pub fn addr_in(&self, text: &str) -> SocketAddr {
        let line = self.wait_for_line(text);
        let url = line.split_whitespace().find(|word| word.starts_with("http")).expect("a URL");
        let host = url.split("://").nth(1).expect("a host").trim_end_matches('/');
        host.replace("localhost", "127.0.0.1").parse().expect("an address")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every line so far, of both streams.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines.lock().unwrap().clone()
    }

    /// The first line that contains `text`; blocks until it comes.
    pub fn wait_for_line(&self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {text:?} in {lines:#?}");
            lines = self.output.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signals");
    }

    /// Its exit code, and everything that it printed, once it has ended.
    pub fn run_to_its_end(mut self) -> (Option<i32>, Vec<String>) {
        let code = self.wait().code();
        for collector in self.collectors.drain(..) {
            collector.join().expect("reads to the end");
        }
        (code, self.lines())
    }

    /// Its exit status, once it has one.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_while(|_| {})
    }

    /// Its exit status; calls `act` repeatedly until it has one.
    pub fn wait_while(&mut self, mut act: impl FnMut(&Program)) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            act(self);
            status = self.child.try_wait().expect("waits");
            status.is_some()
        });
        status.expect("has ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(std::result::Result::ok) {
            output.lines.lock().unwrap().push(line);
            output.changed.notify_all();
        }
    })
}

/// Cargo with the environment of a shell. With the variables that Cargo sets for a test, it would rebuild `ring`, whose
/// build script watches them, and everything that depends on it; and again when a shell starts it.
pub fn cargo() -> Command {
    const OF_A_PACKAGE: [&str; 4] = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_"];
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        if OF_A_PACKAGE.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds these examples, which `cargo it` does not, with the features and the profile of this test. Returns their
/// directory.
pub fn examples(which: &[&str]) -> PathBuf {
    // target/PROFILE/deps/it-0123456789abcdef
    let test = std::env::current_exe().expect("this test's path");
    let profile = test.ancestors().nth(2).expect("a profile's directory");
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--locked", "--workspace", "--features", "program"]).args(which);
    cargo.arg("--target-dir").arg(profile.parent().expect("the target directory"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    python::run(&mut cargo).unwrap_or_else(|what| panic!("{what}"));
    profile.join("examples")
}

/// Set in a process that [`run_again`] has started.
pub const AGAIN: &str = "RUN_AGAIN_BY_A_TEST";

pub fn is_run_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// Keeps the variables of the tests, and of the user who runs them, from a program: each could be an option. Those that
/// the command sets stay.
fn without_variables(command: &mut Command) {
    let set: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("THREADCAST_") && !set.contains(name))
    {
        command.env_remove(name);
    }
}

/// Runs the test with this name (without its module) again, in the process that `command` makes of this binary and its
/// arguments. Returns its stderr if it passed.
pub fn run_again(test: &str, command: &mut Command) -> String {
    let output = command.args([test, "--nocapture"]).env(AGAIN, "1").output().expect("starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains(" 1 passed"), "{}: {printed}{errors}", output.status);
    errors
}

/// How long bytes go both ways, from `THREADCAST_DUPLEX_SECONDS`.
pub fn duplex_time() -> Option<Duration> {
    let seconds = std::env::var("THREADCAST_DUPLEX_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("THREADCAST_DUPLEX_SECONDS is a number")))
}

/// Blocks until `done`, for conditions without a signal, such as a count in `/proc`.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Says that a test has not run, and why. Not with `println!`, which shows only if a test fails.
pub fn not_checked(what: &str, why: &str) {
    writeln!(std::io::stderr(), "NOT CHECKED: {what}: {why}").expect("stderr is open");
}

/// Sends a signal by its name or number, as another process. The shell's own `kill` is there without the package procps.
pub fn kill(pid: u32, signal: &str) {
    let mut kill = Command::new("bash");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid.to_string()]);
    assert!(kill.status().expect("bash runs").success(), "{signal}");
}

/// A port of the loopback on which nobody listens.
pub fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_ports(&[0])))
}

/// The first of ports of the loopback on which nobody listens: it, and those at these offsets from it. They are outside
/// the range from which the system assigns ports, so no other test gets them at the same time.
pub fn free_ports(offsets: &[u16]) -> u16 {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("reads");
    let lowest: u16 = range.split_whitespace().next().and_then(|port| port.parse().ok()).expect("a port");
    let width = offsets.iter().max().map_or(1, |last| usize::from(*last) + 1);
    let ports = 1024..if lowest > 2048 { lowest } else { u16::MAX };
    // Each process begins at another one, and no port is returned twice.
    let begin = std::process::id() as usize * 97;
    let mut found = (0..ports.len()).map(|_| {
        let number = begin + ASKED.fetch_add(width, Ordering::Relaxed);
        ports.start + (number % (ports.len() - width)) as u16
    });
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    found.find(|port| offsets.iter().all(|offset| is_free(port + offset))).expect("some are free")
}

/// Raises the limit of descriptors, as the program does, from the usual 1,024. Returns false, and says so, if that is
/// not enough for `what`.
pub fn has_descriptors(descriptors: u64, what: &str) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
    let is_enough = maximum.is_none_or(|maximum| maximum >= descriptors);
    if !is_enough {
        not_checked(what, &format!("needs {descriptors} descriptors; raise it with ulimit -Hn"));
    }
    is_enough
}

/// The names of a process's threads.
pub fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("lists threads");
    let names =
        tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
    names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Names of a server's threads begin with these.
pub const SERVER_THREADS: [&str; 7] = ["client-", "pump-", "writer-", "listener", "closer", "reaper", "tls-"];

/// The names of the threads of servers in this process, sorted. The tests' own threads come and go beside them.
pub fn server_threads() -> Vec<String> {
    let mut names = threads(std::process::id());
    names.retain(|name| SERVER_THREADS.iter().any(|prefix| name.starts_with(prefix)));
    names.sort_unstable();
    names
}

/// The number of open sockets of a process. It does not count other descriptors, which come and go: at the start, the
/// time zone's file and those of the control groups are open for a moment.
pub fn sockets(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("lists descriptors").flatten();
    let targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}
