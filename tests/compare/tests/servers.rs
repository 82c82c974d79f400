//! The servers that are compared, as far as they are installed: the properties that the load generator relies on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use threadcast_compare::experiment::Setup;
use threadcast_compare::greeter::{self, Client, History};
use threadcast_compare::manifest::Manifest;
use threadcast_compare::server::Server;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/variants.toml");
/// Connections that wait to be accepted while the load generator opens 64 at once, again and again. With std's 128 some
/// are dropped, and those clients try again after a second.
const BACKLOG: u64 = 4096;
/// Built with these tests, so that at least they are looked at.
const ALWAYS: [&str; 4] = ["floor", "tokio-1", "tokio-2", "tokio-direct"];

fn manifest() -> Manifest {
    let built = Path::new(env!("CARGO_BIN_EXE_threadcast-compare")).parent().unwrap();
    Manifest::read(Path::new(MANIFEST), built).unwrap()
}

#[test]
fn every_server_has_room_for_a_storm_of_connections() {
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let wanted = BACKLOG.min(limit.trim().parse().unwrap());
    let (manifest, mut seen) = (manifest(), Vec::new());
    for variant in &manifest.variants {
        if let Err(hint) = manifest.installed(variant) {
            println!("{} is not installed: {hint}", variant.name);
            continue;
        }
        let setup = Setup { interval: Duration::from_secs(1), pad: 0 };
        let server = Server::start(&manifest, variant, &setup).unwrap();
        let filter = format!("sport = :{}", server.address.port());
        let output = Command::new("ss").args(["-Hltn", &filter]).output().expect("ss, of iproute2, starts");
        let line = String::from_utf8(output.stdout).unwrap();
        let backlog = line.split_whitespace().nth(2).and_then(|column| column.parse::<u64>().ok());
        assert!(backlog >= Some(wanted), "{}: {line}", variant.name);
        seen.push(variant.name.as_str());
    }
    assert!(ALWAYS.iter().all(|name| seen.contains(name)), "only {seen:?} were there");
}

/// Starts a greeter and its history. Says so where it is not installed.
fn started(name: &str) -> Option<(Server, History)> {
    let history = History::start().unwrap();
    match greeter::start(&manifest(), name, &history) {
        Ok(server) => Some((server, history)),
        Err(failure) => {
            println!("{name}: {failure}");
            None
        }
    }
}

#[test]
fn the_three_greeters_have_the_same_conversation() {
    for name in greeter::names() {
        let Some((server, _history)) = started(name) else { continue };
        let mut silent = Client::connect(server.address).unwrap();
        let mut client = Client::connect(server.address).unwrap();
        client.converse().unwrap();
        silent.hears("closed with 4408 no name in time").unwrap();
        // A message sent while the history is under way is echoed behind it.
        let mut hasty = Client::connect(server.address).unwrap();
        hasty.say("bob").unwrap();
        hasty.say("too early").unwrap();
        hasty.hears("welcome, bob").unwrap();
        for line in 1..=greeter::HISTORY {
            hasty.hears(&format!("line {line}")).unwrap();
        }
        hasty.hears("too early").unwrap();
    }
}

#[test]
fn the_manual_shows_the_greeters_as_they_are() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../../src/guide/greeter.md")).unwrap();
    for (source, begins) in [
        ("rivals/src/bin/greeter-straight.rs", "fn talk("),
        ("variants/greeter_callbacks.js", "function talk("),
        ("rivals/src/bin/greeter-async.rs", "async fn talk("),
    ] {
        let source = fs::read_to_string(here.join(source)).unwrap();
        let block = page.split("```").find(|block| block.starts_with(&format!("text\n{begins}")));
        let block = block.unwrap_or_else(|| panic!("the page has no {begins}")).trim_start_matches("text\n");
        assert!(source.contains(block), "this is on the page only:\n{block}");
    }
}

#[test]
fn a_debugger_finds_the_conversation_that_hangs_on_a_thread_and_in_no_other_form() {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("gdb is not installed");
        return;
    }
    for name in greeter::names() {
        let Some((server, history)) = started(name) else { continue };
        let stacks = greeter::stacks_where_it_hangs(&server, &history).unwrap();
        assert!(stacks.contains("epoll_") || stacks.contains("recv"), "{name} is not stopped:\n{stacks}");
        assert_eq!(stacks.contains("talk ("), name == "straight-line", "{name}:\n{stacks}");
    }
}

#[test]
fn what_cannot_be_built_is_left_out_with_a_line() {
    let (here, directory) =
        (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")).join("deps"));
    let source = "variants/goroutines/main.go";
    fs::create_dir_all(directory.join(source).parent().unwrap()).unwrap();
    for file in ["Makefile", source] {
        fs::copy(here.join(file), directory.join(file)).unwrap();
    }
    let mut make = Command::new("make");
    make.args(["deps", "PARTS=go:goroutines", "NEEDS=", "GO=no-such-go"]).current_dir(&directory);
    let output = make.output().expect("make starts");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("not measured, since it cannot be built here: goroutines\n"), "{said}");
}
