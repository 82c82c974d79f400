//! The program under a supervisor that keeps its sockets, and the program with its successors.

use std::fs;
use std::net::TcpListener;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Program, eventually};

/// The program with the sockets that a supervisor keeps.
pub fn supervised(sockets: &[&TcpListener], args: &[&str]) -> Command {
    // Numbers of descriptors are the shell's to choose. The first socket is its standard input; the second one is
    // inherited by whatever this process starts at the same time, and stays open.
    let second = sockets.get(1).map(|socket| rustix::io::dup(socket).expect("a descriptor").into_raw_fd());
    let script = match second {
        None => "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"".to_owned(),
        Some(second) => {
            format!("exec 3<&0 4<&{second} </dev/null; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" \"$@\"")
        }
    };
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_threadcast")]).args(args);
    command.stdin(OwnedFd::from(sockets[0].try_clone().expect("a descriptor")));
    command
}

/// A program, and those that have taken its place.
pub struct Line {
    pub first: Program,
    pub serving: Vec<u32>,
}

impl Line {
    pub fn start(args: &[&str]) -> Line {
        Line::of(Program::start(args))
    }

    pub fn of(first: Program) -> Line {
        let serving = vec![first.pid()];
        Line { first, serving }
    }

    pub fn signal(&self, signal: Signal) {
        let process = *self.serving.last().expect("one");
        kill_process(Pid::from_raw(process as i32).expect("a process"), signal).expect("signals");
    }

    /// Sends SIGUSR2, and returns when the successor serves.
    pub fn succeed(&mut self) {
        let lines = |line: &Line| -> Vec<u32> {
            let lines =
                line.first.lines().into_iter().filter(|line| line.contains("serves: this one drains"));
            lines.map(|line| words_after(&line, "process ").parse().expect("a number")).collect()
        };
        let before = lines(self).len();
        self.signal(Signal::USR2);
        eventually("the successor serves", || lines(self).len() > before);
        self.serving.push(*lines(self).last().expect("one"));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for process in &self.serving[1..] {
            let _ = Pid::from_raw(*process as i32).map(|process| kill_process(process, Signal::KILL));
        }
    }
}

pub fn words_after(line: &str, words: &str) -> String {
    let rest = line.split(words).nth(1).unwrap_or_default();
    rest.split_whitespace().next().unwrap_or_default().to_owned()
}

pub fn is_running(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
