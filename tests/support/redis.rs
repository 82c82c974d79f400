//! A Redis of a test's own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{DEADLINE, eventually};

/// A `redis-server` on a port of its own, which ends with this.
pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    process: Child,
}

impl Redis {
    /// Starts it, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = Redis::spawn(port, &arguments);
        Redis { port, arguments, process }
    }

    fn spawn(port: u16, arguments: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]).args(arguments);
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

    /// Starts it again, where it was.
    pub fn again(&mut self) {
        self.process = Redis::spawn(self.port, &self.arguments);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says a line to it. What it answers is read line by line.
    pub fn ask(&self, line: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// Says a line to it, and returns the first line of what it answers.
    pub fn say(&self, line: &str) -> String {
        let mut answer = String::new();
        self.ask(line).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
