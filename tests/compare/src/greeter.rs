//! `threadcast-compare greeter`: measures a conversation written in three ways, and shows where each one hangs.
//!
//! Each program asks a client's name, greets it, sends it a history that it gets over a socket, and echoes. This
//! module has the clients and the history: first one that answers, then one that never does.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::failure::{Failure, While};
use crate::manifest::Manifest;
use crate::process::Process;
use crate::report::numbers::number;
use crate::report::tables::Table;
use crate::server::{Server, free_address};

/// Lines of the history.
pub const HISTORY: usize = 20;
/// Time in which an answer must come.
const DEADLINE: Duration = Duration::from_secs(20);
/// Frames of a thread's stack that are worth a look.
const FRAMES: &str = "40";

/// A program, by its name and its command line without options, and the file that is its source.
struct Greeter {
    name: &'static str,
    command: &'static [&'static str],
    source: &'static str,
}

const GREETERS: [Greeter; 3] = [
    Greeter {
        name: "straight-line",
        command: &["{here}/../../target/rivals/release/greeter-straight"],
        source: "rivals/src/bin/greeter-straight.rs",
    },
    Greeter {
        name: "callbacks",
        command: &["node", "{here}/variants/greeter_callbacks.js"],
        source: "variants/greeter_callbacks.js",
    },
    Greeter {
        name: "async and await",
        command: &["{here}/../../target/rivals/release/greeter-async"],
        source: "rivals/src/bin/greeter-async.rs",
    },
];

/// The cost of a conversation: with `clients` of them, one after the other, all of which stay.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Memory of the server for each, in KiB, the kernel's stacks included.
    pub memory_kib: f64,
    /// CPU of the server for each, in microseconds.
    pub cpu_us: f64,
}

/// A service that yields the history, or that accepts and says nothing.
pub struct History {
    /// Where it listens.
    pub address: SocketAddr,
    silent: Arc<AtomicBool>,
    /// Each connection that has been left without an answer.
    hanging: mpsc::Receiver<TcpStream>,
}

impl History {
    /// Starts it.
    pub fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("listen for the history")?;
        let address = listener.local_addr().doing("listen for the history")?;
        let silent = Arc::new(AtomicBool::new(false));
        let (keep, hanging) = mpsc::channel();
        let told = Arc::clone(&silent);
        thread::spawn(move || {
            let lines: String = (1..=HISTORY).map(|line| format!("line {line}\n")).collect();
            for mut asking in listener.incoming().flatten() {
                if told.load(Ordering::Relaxed) {
                    let _ = keep.send(asking);
                } else {
                    let _ = asking.write_all(lines.as_bytes());
                }
            }
        });
        Ok(Self { address, silent, hanging })
    }

    /// Answers no client from now on.
    pub fn hang(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Blocks until somebody waits for an answer, which will not come while the result lives.
    pub fn somebody_hangs(&self) -> Result<TcpStream, Failure> {
        self.hanging.recv_timeout(DEADLINE).doing("wait for a client of the history")
    }
}

/// A client of a greeter.
pub struct Client(WebSocket<TcpStream>);

impl Client {
    /// Connects, and is asked for its name.
    pub fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).doing("connect to a greeter")?;
        stream.set_read_timeout(Some(DEADLINE)).doing("connect to a greeter")?;
        let (socket, _) =
            tungstenite::client(format!("ws://{address}/"), stream).doing("connect to a greeter")?;
        let mut client = Self(socket);
        client.hears("who are you?")?;
        Ok(client)
    }

    /// Sends a text.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.0.send(Message::text(text)).doing("talk to a greeter")
    }

    /// The next message: a text, or how the connection is closed.
    pub fn hear(&mut self) -> Result<String, Failure> {
        match self.0.read().doing("listen to a greeter")? {
            Message::Text(text) => Ok(text.to_string()),
            Message::Close(Some(frame)) => Ok(format!("closed with {} {}", frame.code, frame.reason)),
            other => Err(Failure::new(format!("a greeter sent {other:?}"))),
        }
    }

    /// Gets this text.
    pub fn hears(&mut self, expected: &str) -> Result<(), Failure> {
        match self.hear()? {
            text if text == expected => Ok(()),
            text => Err(Failure::new(format!("a greeter said {text:?} instead of {expected:?}"))),
        }
    }

    /// Says its name, and has the whole conversation.
    pub fn converse(&mut self) -> Result<(), Failure> {
        self.say("ann")?;
        self.hears("welcome, ann")?;
        for line in 1..=HISTORY {
            self.hears(&format!("line {line}"))?;
        }
        self.say("and an echo")?;
        self.hears("and an echo")
    }
}

/// Names of the programs that this command can start.
pub fn names() -> impl Iterator<Item = &'static str> {
    GREETERS.iter().map(|greeter| greeter.name)
}

/// Starts a program; an error says how to build a missing one.
pub fn start(manifest: &Manifest, name: &str, history: &History) -> Result<Server, Failure> {
    let greeter = GREETERS.iter().find(|greeter| greeter.name == name);
    let greeter = greeter.ok_or_else(|| Failure::new(format!("unknown greeter {name}")))?;
    let words: Vec<_> = greeter.command.iter().map(|word| (*word).to_owned()).collect();
    let address = free_address()?;
    let mut command = manifest.command(&words);
    command.args(["--port", &address.port().to_string(), "--history", &history.address.to_string()]);
    Server::spawn(command, address, false, name)
        .map_err(|failure| Failure::new(format!("{failure}; `make -C tests/compare deps` builds it")))
}

/// Has this many conversations, all of which stay.
pub fn measure(server: &Server, clients: usize) -> Result<Cost, Failure> {
    let process = Process::new(server.pid());
    // The first one includes the costs that arise once.
    let mut staying = vec![Client::connect(server.address)?];
    staying[0].converse()?;
    let (cpu, memory) = (process.cpu()?, process.memory()?);
    for _ in 0..clients {
        let mut client = Client::connect(server.address)?;
        client.converse()?;
        staying.push(client);
    }
    let (more_cpu, more) = (process.cpu()? - cpu, process.memory()?);
    let stacks = 16.0 * (more.threads - memory.threads);
    let memory = more.resident - memory.resident + more.page_tables - memory.page_tables + stacks;
    Ok(Cost { memory_kib: memory / clients as f64, cpu_us: more_cpu.as_secs_f64() * 1e6 / clients as f64 })
}

/// The stacks of all threads of a server of which a conversation hangs, as gdb prints them.
pub fn stacks_where_it_hangs(server: &Server, history: &History) -> Result<String, Failure> {
    history.hang();
    let mut client = Client::connect(server.address)?;
    client.say("ann")?;
    client.hears("welcome, ann")?;
    let _hanging = history.somebody_hangs()?;
    let mut gdb = Command::new("gdb");
    gdb.args(["--batch", "--nx", "-p", &server.pid().to_string()]);
    gdb.args([
        "-ex",
        "set print frame-arguments none",
        "-ex",
        &format!("thread apply all backtrace {FRAMES}"),
    ]);
    let output = gdb.stdin(Stdio::null()).output().doing("start gdb")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Measures all programs; writes a table to stdout, and the stacks to files in `directory`.
pub fn run(manifest: &Manifest, clients: usize, directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).doing(format!("create {}", directory.display()))?;
    let mut table = Table::new(["", "lines", "memory of a client, KiB", "CPU of a conversation, µs"]);
    for greeter in &GREETERS {
        let history = History::start()?;
        let server = match start(manifest, greeter.name, &history) {
            Ok(server) => server,
            Err(failure) => {
                eprintln!("{}: not measured: {failure}", greeter.name);
                continue;
            }
        };
        let lines = lines_of_code(&manifest.here().join(greeter.source))?;
        let cost = measure(&server, clients)?;
        let cells = [lines.to_string(), number(cost.memory_kib), number(cost.cpu_us)];
        table.push([greeter.name.to_owned()].into_iter().chain(cells).collect());
        let path = directory.join(format!("{}.stacks", greeter.name.replace(' ', "-")));
        std::fs::write(&path, stacks_where_it_hangs(&server, &history)?)
            .doing(format!("write {}", path.display()))?;
    }
    println!("{}\n{} has the stacks where a conversation hangs", table.markdown(), directory.display());
    Ok(())
}

/// Lines that are neither empty nor comments.
fn lines_of_code(source: &Path) -> Result<usize, Failure> {
    let what = format!("read {}", source.display());
    let lines = BufReader::new(std::fs::File::open(source).doing(&what)?).lines();
    let lines = lines.collect::<Result<Vec<_>, _>>().doing(&what)?;
    Ok(lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count())
}
