//! The savings and costs of compression: CPU, bytes, memory, of a server in a separate process.
//!
//! `make bench` shows the lines, for 1,000 clients. With fewer, and in a debug build, the test checks what does not
//! depend on the machine.

#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::{env, fs, io};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use serde_json::{Value, json};
use support::deflate::{deflated, inflated};
use support::{Program, Raw, header_values, upgrade};
use threadcast::{Application, Connection, Message, Result, Server, WebSocketHandler, broadcast};

const TEST: &str = "compression_saves_bytes_and_costs_no_more_than_it_saves";
/// The default number of clients of each kind.
const FEW: usize = 50;
/// Rounds in a turn: few enough that they fit into the sockets of clients that do not read during a turn.
const ROUNDS: usize = 8;
const TURNS: usize = 15;
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// Sensor readings, 4 KiB of JSON.
fn readings() -> String {
    let mut dice = support::dice::Dice(17);
    let mut text = String::from("[");
    for id in 0.. {
        if text.len() >= 4096 {
            break;
        }
        let value = dice.below(100_000) as f64 / 1000.0;
        let (name, minute, second) = (dice.below(97), dice.below(60), dice.below(60));
        text += &format!(
            "{{\"id\":{id},\"name\":\"sensor-{name}\",\"value\":{value:.3},\"unit\":\"celsius\",\
             \"at\":\"2026-11-25T11:{minute:02}:{second:02}Z\"}},"
        );
    }
    text.truncate(4096);
    text
}

// ---- the server ----

/// Plain and compressed.
type Crowds = Arc<Mutex<[Vec<Connection>; 2]>>;

/// One of a crowd, which echoes.
struct Member(Crowds);

impl WebSocketHandler for Member {
    fn open(&mut self, connection: &Connection, _: &mut threadcast::Exchange<'_>) -> Result<()> {
        self.0.lock().unwrap()[usize::from(connection.is_compressed())].push(connection.clone());
        Ok(())
    }

    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        connection.write_message(message)
    }
}

/// Broadcasts to the crowd that the message names, and answers with the nanoseconds of CPU that it took.
struct Control(Crowds);

impl WebSocketHandler for Control {
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let crowd = self.0.lock().unwrap()[usize::from(message.as_text() == Some("compressed"))].clone();
        let text = readings();
        let before = cpu_ns();
        for _ in 0..ROUNDS {
            broadcast(&crowd, text.as_str())?;
        }
        connection.write_message(json!({ "cpu_ns": cpu_ns() - before }))
    }
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let line = fs::read_to_string("/proc/thread-self/schedstat").expect("reads");
    line.split_whitespace().next().expect("has a first word").parse().expect("a number")
}

fn serve() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("ends with the other test");
    let crowds = Crowds::default();
    let members = crowds.clone();
    let application = Application::new()
        .compression(Some(1024))
        .ping_interval(None)
        .stack_size(64 << 10)
        .websocket("/ws", move || Member(members.clone()))
        .websocket("/control", move || Control(crowds.clone()));
    let server = Server::bind("127.0.0.1:0", application).expect("binds");
    println!("threadcast is at http://{}/", server.local_addr());
    server.join();
}

// ---- its clients ----

fn server() -> Program {
    let mut command = std::process::Command::new(env::current_exe().expect("is a program"));
    Program::spawn(command.args(["--exact", TEST, "--nocapture"]).env(support::AGAIN, "1"))
}

fn client(program: &Program, is_compressed: bool) -> Raw {
    let mut raw = Raw::connect(program.addr());
    raw.send(upgrade("/ws", if is_compressed { OFFER } else { "" }));
    let head = raw.head();
    assert_eq!(header_values(&head, "Sec-WebSocket-Extensions").len(), usize::from(is_compressed), "{head}");
    raw
}

/// Reads the frames of one turn. Returns the payload of each.
fn read_turn(raw: &mut Raw) -> Vec<Vec<u8>> {
    (0..ROUNDS).map(|_| raw.frame().payload).collect()
}

/// KiB per client: idle, and after each has sent a message and got its echo.
fn memory(clients: usize, is_compressed: bool) -> [f64; 2] {
    let program = server();
    // The first client makes what is allocated once.
    let mut first = client(&program, is_compressed);
    exchange(&mut first, is_compressed);
    let before = resident_kib(program.pid());
    let mut crowd: Vec<_> = (0..clients).map(|_| client(&program, is_compressed)).collect();
    for raw in &mut crowd {
        raw.send_frame(0x89, "read");
        assert_eq!(raw.frame().first, 0x8a);
    }
    let idle = resident_kib(program.pid());
    crowd.iter_mut().for_each(|raw| exchange(raw, is_compressed));
    let after = resident_kib(program.pid());
    [idle, after].map(|kib| (kib - before) / clients as f64)
}

fn exchange(raw: &mut Raw, is_compressed: bool) {
    let text = readings();
    if is_compressed {
        raw.send_frame(0xc1, deflated(text.as_bytes()));
        let got = raw.frame();
        assert!((got.first, inflated(&got.payload, 15)) == (0xc1, text.into_bytes()));
    } else {
        raw.send_frame(0x81, &text);
        assert!(raw.frame().payload == text.as_bytes());
    }
}

fn resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("has a size");
    line.split_whitespace().next().expect("has a number").parse().expect("a number")
}

/// A line of the bench.
fn line(what: &str, value: f64, unit: &str, target: f64) {
    let verdict = if value <= target { "met" } else { "MISSED" };
    println!("compression: {what}: {value:.3} {unit}, target <= {target}: {verdict}");
}

#[test]
fn compression_saves_bytes_and_costs_no_more_than_it_saves() {
    if support::is_run_again() {
        return serve();
    }
    let many = env::var("THREADCAST_COMPRESSION").ok();
    let clients = many.as_ref().map_or(FEW, |many| many.parse().expect("THREADCAST_COMPRESSION is a number"));
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .map_err(io::Error::from)
        .expect("raises to the hard limit");
    let program = server();
    let mut crowds =
        [false, true].map(|kind| (0..clients).map(|_| client(&program, kind)).collect::<Vec<_>>());
    let mut control = Raw::websocket(program.addr(), "/control");
    let text = readings();
    let (mut ratios, mut bytes) = (Vec::new(), [0, 0]);
    for _ in 0..TURNS {
        let mut cpu = [0.0, 0.0];
        for (kind, name) in ["plain", "compressed"].into_iter().enumerate() {
            control.send_frame(0x81, name);
            let answer: Value = serde_json::from_slice(&control.frame().payload).expect("is JSON");
            cpu[kind] = answer["cpu_ns"].as_f64().expect("a number");
            for raw in &mut crowds[kind] {
                for payload in read_turn(raw) {
                    bytes[kind] = payload.len();
                    let content = if kind == 1 { inflated(&payload, 15) } else { payload };
                    assert!(content == text.as_bytes());
                }
            }
        }
        ratios.push(cpu[1] / cpu[0]);
    }
    ratios.sort_by(f64::total_cmp);
    let (cpu, smaller) = (ratios[TURNS / 2], bytes[1] as f64 / bytes[0] as f64);
    let [plain, compressed] = [false, true].map(|kind| memory(clients, kind));
    line(&format!("CPU of 4 KiB to {clients}, compressed / plain"), cpu, "x", 1.0);
    line("bytes of it on the wire, compressed / plain", smaller, "x", 0.25);
    line("memory of an idle client, compressed / plain", compressed[0] / plain[0], "x", 1.02);
    line("memory after an exchange, compressed / plain", compressed[1] / plain[1], "x", 1.3);
    println!(
        "compression: {} bytes instead of {}; KiB of a client, idle and after an exchange: {:.1} and {:.1}, \
         plain {:.1} and {:.1}",
        bytes[1], bytes[0], compressed[0], compressed[1], plain[0], plain[1]
    );
    assert!(smaller < 0.25, "{smaller}");
    // A few clients in a debug build prove no more.
    assert!(compressed[0] < plain[0] * 1.5, "{compressed:?} {plain:?}");
}
