//! A Redis that a test has for itself, and hubs in a fleet around it.
#![allow(dead_code, reason = "each test file is a crate of its own, and none uses all of this")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use threadcast::{Application, Connection, Fleet, FleetOptions, Hub, Message};

use crate::support::{self, Event, Probed, Raw, eventually, frame};

/// A Redis of this test's own.
pub struct Redis {
    pub port: u16,
    arguments: Vec<String>,
    process: Child,
}

impl Redis {
    /// Starts one on a free port, `PORT` in its arguments, of the loopback.
    pub fn start(arguments: &[&str]) -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let own = ["--bind", "127.0.0.1", "--save", "", "--port", "PORT"];
        let arguments = own.iter().chain(arguments).map(|one| one.replace("PORT", &port.to_string()));
        let arguments: Vec<_> = arguments.collect();
        let process = Redis::spawn(port, &arguments);
        Redis { port, arguments, process }
    }

    fn spawn(port: u16, arguments: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(arguments);
        let spawned = command.stdout(Stdio::null()).spawn();
        let process =
            spawned.unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server"));
        eventually("Redis listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        process
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn again(&mut self) {
        self.process = Redis::spawn(self.port, &self.arguments);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Says a line to it, and returns the first line of what it answers.
    pub fn say(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(support::DEADLINE)).unwrap();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    pub fn options(&self) -> FleetOptions {
        FleetOptions { max_message: 1000, ..FleetOptions::new(&format!("redis://127.0.0.1:{}", self.port)) }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A hub in a fleet, and a client that has subscribed to the topic `a`.
pub struct Machine {
    pub hub: Hub,
    pub fleet: Fleet,
    pub client: Raw,
    pub probed: Probed,
}

impl Machine {
    pub fn join(redis: &Redis) -> Machine {
        Machine::join_with(&redis.options())
    }

    pub fn join_with(options: &FleetOptions) -> Machine {
        // No test waits so long that a client would be pinged.
        let patient = |application: Application| application.ping_interval(Some(10 * support::DEADLINE));
        let (hub, probed) = (Hub::new(), Probed::start_with(patient, |_, _| Ok(())));
        let (client, connection) = probed.open();
        assert!(hub.subscribe("a", &connection).unwrap());
        let fleet = Fleet::join(&hub, options, || 1).unwrap();
        Machine { hub, fleet, client, probed }
    }

    /// Another client, and its connection.
    pub fn open(&self) -> (Raw, Connection) {
        let raw = Raw::websocket(self.probed.addr, "/ws");
        loop {
            if let Event::Open(connection) = self.probed.next("open") {
                return (raw, connection);
            }
        }
    }

    pub fn hears(&mut self, message: impl Into<Message>) {
        let message = message.into();
        let first = if message.is_binary() { 0x82 } else { 0x81 };
        assert_eq!(self.client.frame(), frame(first, message.as_bytes()));
    }
}

pub fn two(redis: &Redis) -> [Machine; 2] {
    let both = [Machine::join(redis), Machine::join(redis)];
    eventually("each knows of the other", || both.iter().all(|one| one.fleet.stats().machines == 2));
    both
}

pub fn linked(machines: &[Machine]) {
    eventually("all are linked", || machines.iter().all(|one| one.fleet.stats().is_linked));
}
