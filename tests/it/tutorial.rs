//! The tutorial: a test runs its commands in their order, types what the page says, and waits for the lines that it
//! promises. The third step needs `openssl` and `redis-server`.

use crate::support;

use std::fs;
use std::io::{PipeWriter, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{Directory, Program, eventually};

const PAGE: &str = "src/guide/tutorial.md";

/// The texts of the blocks with this mark.
fn blocks(mark: &str) -> Vec<String> {
    let (page, fence) = (fs::read_to_string(PAGE).unwrap(), format!("```{mark}\n"));
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().expect("a block").to_owned()).collect()
}

/// A terminal of the reader: a command that runs, and its keyboard.
struct Terminal(Program, PipeWriter);

impl Terminal {
    fn types(&mut self, line: &str) {
        writeln!(self.1, "{line}").unwrap();
    }

    fn shows(&self, line: &str) {
        self.0.wait_for_line(line);
    }

    /// Ctrl-D: the end of the input.
    fn ends_its_input(self) {
        let Terminal(mut program, keyboard) = self;
        drop(keyboard);
        assert!(program.wait().success());
    }
}

/// The reader's directory, whose `cargo run` starts examples that the test has built, and free ports for the page's.
struct Desk {
    directory: Directory,
    ports: Vec<(&'static str, String)>,
}

impl Desk {
    fn new(name: &str) -> Desk {
        let directory = Directory::new(name);
        let examples = support::examples(&["--examples"]);
        let cargo = format!(
            "#!/bin/sh\nwhile [ \"$1\" != --example ]; do shift; done\nname=$2; shift 2\n\
             [ \"$1\" = -- ] && shift\nexec {}/$name \"$@\"\n",
            examples.display()
        );
        directory.write("cargo", cargo);
        let cargo = Path::new(directory.path()).join("cargo");
        fs::set_permissions(cargo, fs::Permissions::from_mode(0o755)).unwrap();
        // All at once, so that they differ.
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = |free: &TcpListener| free.local_addr().unwrap().port().to_string();
        let ports = ["8888", "8443", "6380"].into_iter().zip(free.iter().map(port)).collect();
        Desk { directory, ports }
    }

    /// Runs a line of the page in a terminal.
    fn run(&self, line: &str) -> Terminal {
        let mut line = line.to_owned();
        // The programs without an argument listen on the page's port.
        if line.ends_with("tutorial_echo") || line.ends_with("tutorial_rooms") {
            line += " -- 127.0.0.1:8888";
        }
        for (page, free) in &self.ports {
            line = line.replace(page, free);
        }
        let (reads, keyboard) = pipe().unwrap();
        let path = format!("{}:{}", self.directory.path(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        // `exec` keeps the process, and with it the test's hold of it.
        let line = match line.split_once(' ') {
            Some((variable, rest)) if variable.contains('=') => format!("{variable} exec {rest}"),
            _ => format!("exec {line}"),
        };
        command.args(["-c", &line]).current_dir(self.directory.path()).env("PATH", path).stdin(reads);
        Terminal(Program::spawn(&mut command), keyboard)
    }
}

#[test]
fn the_programs_of_the_tutorial_are_its_examples() {
    for name in ["echo", "rooms", "fleet"] {
        let source = fs::read_to_string(format!("tests/examples/tutorial/{name}.rs")).unwrap();
        let blocks = blocks(&format!("rs {name}"));
        assert!(matches!(&blocks[..], [block] if source.ends_with(block)), "{name}: {blocks:#?}");
    }
    // The third step shows `main` alone, since the rest is the second one's.
    let chat = |name: &str| {
        let source = fs::read_to_string(format!("tests/examples/tutorial/{name}.rs")).unwrap();
        let from = source.find("/// A chat on this hub").expect("the chat");
        source[from..source.find("fn main()").expect("a main")].to_owned()
    };
    assert_eq!(chat("rooms"), chat("fleet"));
}

#[test]
fn each_step_of_the_tutorial_does_what_the_page_says() {
    let desk = Desk::new("tutorial");
    let steps = blocks("sh tutorial");
    let steps: Vec<Vec<&str>> = steps.iter().map(|block| block.lines().collect()).collect();
    let [echo, rooms, needs, servers, clients] = &steps[..] else { panic!("five blocks: {steps:#?}") };

    let server = desk.run(echo[0]);
    server.shows("echo is at ");
    let mut client = desk.run(echo[1]);
    client.types("hello");
    client.shows("hello");
    client.ends_its_input();
    drop(server);

    let server = desk.run(rooms[0]);
    server.shows("the chat is at ");
    two_talk(&desk, rooms[1], rooms[2]);
    drop(server);

    assert!(desk.run(needs[0]).0.wait().success(), "openssl");
    let _redis = desk.run(needs[1]);
    let redis_at = format!("127.0.0.1:{}", desk.ports[2].1);
    eventually("Redis listens", || TcpStream::connect(&redis_at).is_ok());
    let servers: Vec<_> = servers.iter().map(|line| desk.run(line)).collect();
    servers.iter().for_each(|server| server.shows("the chat is at wss://"));
    assert_eq!(servers.len(), 3);
    two_talk(&desk, clients[0], clients[1]);
}

/// Anna comes, then Ben, who says something and leaves.
fn two_talk(desk: &Desk, anna: &str, ben: &str) {
    let anna = desk.run(anna);
    anna.shows("Anna is here");
    let mut ben = desk.run(ben);
    anna.shows("Ben is here");
    ben.types("hello");
    anna.shows("Ben: hello");
    ben.shows("Ben: hello");
    ben.ends_its_input();
    anna.shows("Ben has left");
}
