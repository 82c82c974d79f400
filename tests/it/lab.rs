//! The lab as its page sees it: it reports events, executes orders, and without `--lab` does not exist.

use crate::support;

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use support::{DEADLINE, Program, Raw, eventually, get, upgrade};

const QUICK: &[&str] = &["--lab", "--interval", "50ms", "--logging", "none"];

/// A watcher, and all the events that it got.
struct Watcher {
    raw: Raw,
    hello: Value,
    events: Vec<Value>,
    /// The lab's own clients, as last reported.
    crowd: Value,
    /// Numbers keep coming, so a wait for something else needs its own deadline.
    until: Instant,
}

impl Watcher {
    fn new(program: &Program) -> Watcher {
        let raw = Raw::websocket(program.addr(), "/lab/events?Id=test");
        let until = Instant::now() + DEADLINE;
        let mut watcher = Watcher { raw, hello: Value::Null, events: Vec::new(), crowd: Value::Null, until };
        watcher.hello = watcher.until("hello");
        watcher
    }

    /// The next message; keeps its events.
    fn message(&mut self) -> Value {
        loop {
            assert!(Instant::now() < self.until, "waited too long: {:#?}", self.events);
            let frame = self.raw.frame();
            if frame.first != 0x81 {
                continue;
            }
            let message: Value = serde_json::from_slice(&frame.payload).expect("JSON");
            let list = message["events"]["list"].as_array().cloned().unwrap_or_default();
            self.events.extend(list);
            message.get("crowd").into_iter().for_each(|crowd| self.crowd = crowd.clone());
            return message;
        }
    }

    /// The value of the next message of this kind.
    fn until(&mut self, key: &str) -> Value {
        loop {
            let message = self.message();
            if let Some(value) = message.get(key) {
                return value.clone();
            }
        }
    }

    /// The first matching event, past or future.
    fn event(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut looked_at = 0;
        loop {
            if let Some(event) = self.events[looked_at..].iter().find(|event| is_it(event)) {
                return event.clone();
            }
            looked_at = self.events.len();
            assert!(Instant::now() < self.until, "waited for {what} in {:#?}", self.events);
            self.message();
        }
    }

    /// The number of the client with this target.
    fn client(&mut self, target: &str) -> u64 {
        let opened = self.event(target, |event| event["is"] == "opened" && event["target"] == target);
        opened["client"].as_u64().expect("a number")
    }

    fn order(&mut self, text: &str) {
        self.raw.send_frame(0x81, text);
    }

    /// Blocks until this many clients of the lab are on this server. Returns their names.
    fn crowd(&mut self, clients: u64) -> Vec<String> {
        while self.crowd["places"]["here"] != clients {
            self.message();
        }
        serde_json::from_value(self.crowd["names"].clone()).expect("names")
    }
}

fn includes(list: &Value, client: u64) -> bool {
    list.as_array().is_some_and(|list| list.contains(&json!(client)))
}

/// The status of the response to a request.
fn status(program: &Program, request: &str) -> String {
    let mut raw = Raw::connect(program.addr());
    raw.send(request);
    raw.head().split_whitespace().nth(1).expect("a status").to_owned()
}

#[test]
fn without_the_lab_its_paths_do_not_exist() {
    let program = Program::start(&[]);
    for path in ["/lab", "/lab/lab.js", "/lab/lab.html", "/static/lab.js", "/lab/events?Id=A", "/echo?Id=A"] {
        assert_eq!(status(&program, &get(path, "")), "404", "{path}");
        assert_eq!(status(&program, &upgrade(path, "")), "404", "{path}");
    }
    assert!(!program.lines().iter().any(|line| line.contains("lab")), "{:?}", program.lines());
    let mut command = Program::command();
    command.args(["--beside", "{}"]);
    let (code, lines) = Program::spawn(&mut command).run_to_its_end();
    assert!(code == Some(2) && lines[0].contains("--lab"), "{lines:?}");
}

#[test]
fn the_start_up_line_says_where_it_is_and_that_is_the_loopback() {
    let mut command = Program::command();
    command.args(["--port", "0", "--lab"]);
    let program = Program::spawn(&mut command);
    let addr = program.addr();
    assert!(addr.ip().is_loopback());
    program.wait_for_line(&format!("the lab is open: http://{addr}/lab"));
    for path in ["/lab", "/lab/lab.js", "/lab/lab.css"] {
        assert_eq!(status(&program, &get(path, "")), "200", "{path}");
    }
}

#[test]
fn a_bad_server_beside_is_one_line() {
    let mut command = Program::command();
    command.args(["--port", "0", "--lab", "--beside", r#"{"name": "a b"}"#]);
    let (code, lines) = Program::spawn(&mut command).run_to_its_end();
    assert!(code == Some(1) && lines.iter().any(|line| line.contains("has no name")), "{lines:?}");
}

#[test]
fn only_a_page_of_this_server_may_watch() {
    let program = Program::start(QUICK);
    let origin = |origin: &str| upgrade("/lab/events?Id=A", &format!("Origin: {origin}\r\n"));
    assert_eq!(status(&program, &origin("http://evil.example")), "403");
    assert_eq!(status(&program, &origin("http://localhost")), "101");
}

#[test]
fn a_watcher_gets_the_clients_and_then_the_events() {
    let program = Program::start(QUICK);
    let mut ann = Raw::websocket(program.addr(), "/websocket?Id=ann");
    ann.frame();
    let mut watcher = Watcher::new(&program);
    assert_eq!(watcher.hello["clients"][0][1], "ann");
    assert_eq!([&watcher.hello["interval"], &watcher.hello["delivery"]], [&json!(50), &json!("inline")]);
    let ann = watcher.hello["clients"][0][0].as_u64().expect("a number");

    let mut bob = Raw::websocket(program.addr(), "/websocket?Id=bob");
    let number = watcher.client("/websocket?Id=bob");
    let own = format!("client-{number}");
    let accepted = watcher.event("accepted", |event| event["is"] == "accepted" && event["client"] == number);
    assert_eq!(accepted["thread"], "listener");
    watcher.event("a read", |event| event["is"] == "reads" && event["thread"] == own.as_str());
    let push = watcher.event("a push to both", |event| {
        event["is"] == "push" && includes(&event["wrote"], number) && includes(&event["wrote"], ann)
    });
    assert_eq!((&push["thread"], &push["queued"]), (&json!("send"), &json!([])));
    assert!(push["to"].as_f64() >= push["t"].as_f64() && push["frames"].as_u64() >= Some(2), "{push}");

    bob.send_frame(0x88, 4000u16.to_be_bytes());
    let closed = watcher.event("the end", |event| event["is"] == "closed" && event["client"] == number);
    assert_eq!(closed["code"], 4000);
    watcher.event("its thread's end", |event| event["is"] == "gone" && event["client"] == number);
}

#[test]
fn a_handler_is_seen_for_as_long_as_it_takes_and_others_go_on() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    let mut ann = Raw::websocket(program.addr(), "/websocket?Id=ann");
    let _bob = Raw::websocket(program.addr(), "/websocket?Id=bob");
    let (number, bob) = (watcher.client("/websocket?Id=ann"), watcher.client("/websocket?Id=bob"));
    ann.send_frame(0x81, "sleep 1000");
    let of_message = |is: &'static str| {
        move |event: &Value| event["is"] == is && event["client"] == number && event["method"] == "on_message"
    };
    let begins = watcher.event("on_message", of_message("begins"))["t"].as_f64().expect("a time");
    let ends = watcher.event("its end", of_message("ends"))["t"].as_f64().expect("a time");
    assert!(ends - begins >= 1000.0, "{begins} to {ends}");
    for client in [number, bob] {
        let pushed = |event: &&Value| {
            let t = event["t"].as_f64().unwrap_or_default();
            event["thread"] == "send" && includes(&event["wrote"], client) && t > begins && t < ends
        };
        assert!(watcher.events.iter().filter(pushed).count() >= 3, "{:#?}", watcher.events);
    }
}

#[test]
fn a_handler_that_panics_ends_its_own_thread_only() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    watcher.order("come here 2");
    assert_eq!(watcher.crowd(2), ["ann", "bob"]);
    let ann = watcher.client("/websocket?Id=ann");
    watcher.order("say ann panic");
    let ends = watcher.event("the panic", |event| event["is"] == "ends" && event["panicked"] == true);
    assert_eq!((&ends["client"], &ends["method"]), (&json!(ann), &json!("on_message")));
    watcher.event("its end", |event| event["is"] == "gone" && event["client"] == ann);
    assert_eq!(watcher.crowd(1), ["bob"]);
}

#[test]
fn the_labs_clients_come_speak_and_leave() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    watcher.order("come here 30");
    let names = watcher.crowd(30);
    assert_eq!((names[0].as_str(), names[29].as_str()), ("ann", "crowd-30"));
    let last = watcher.client("/websocket?Id=crowd-30");
    watcher.order("say crowd-30 spin 50");
    watcher.event("on_message", |event| event["client"] == last && event["method"] == "on_message");
    watcher.order("leave here");
    let closed = watcher.event("its end", |event| event["is"] == "closed" && event["client"] == last);
    assert_eq!(closed["code"], 1001);
    assert!(watcher.crowd(0).is_empty());
    eventually("no thread is left behind", || {
        support::threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count() <= 2
    });
}

#[test]
fn however_many_ask_the_first_six_come_once_and_start_again_brings_them_back() {
    let program = Program::start(QUICK);
    let (mut one, mut other) = (Watcher::new(&program), Watcher::new(&program));
    let first = ["ann", "bob", "cleo", "dan", "eve", "fay"];
    // Each order is answered with the new crowd.
    one.order("start");
    other.order("start");
    for _ in 0..2 {
        assert_eq!(one.until("crowd")["names"], json!(first));
    }
    one.order("come here 20");
    one.crowd(26);
    one.order("stall");
    one.client("/echo?Id=stalled-1");
    one.order("start again");
    assert_eq!(one.crowd(6), first);
    eventually("the others have left", || {
        support::threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count() == 8
    });
    assert_eq!(one.crowd["stalled"], 0);
}

#[test]
fn in_a_storm_everybody_leaves_and_returns() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    watcher.order("come here 30");
    let names = watcher.crowd(30);
    let before: Vec<_> = names.iter().map(|name| watcher.client(&format!("/websocket?Id={name}"))).collect();
    watcher.events.clear();
    watcher.order("storm here");
    for name in &names {
        let now = watcher.client(&format!("/websocket?Id={name}"));
        assert!(!before.contains(&now), "{name} is client {now} still");
    }
    for client in before {
        watcher.event("the end of it", |event| event["is"] == "gone" && event["client"] == client);
    }
    assert_eq!(watcher.crowd(30), names);
}

#[test]
fn a_flood_ends_by_itself_and_the_others_get_their_pushes_meanwhile() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    watcher.order("come here 1");
    let ann = watcher.client("/websocket?Id=ann");
    watcher.order("flood");
    let flood = watcher.client("/websocket?Id=flood-1");
    watcher.events.clear();
    watcher.event("a push to ann", |event| event["is"] == "push" && includes(&event["wrote"], ann));
    assert!(!watcher.events.iter().any(|event| event["is"] == "gone"), "the flood was over already");
    watcher.event("its end", |event| event["is"] == "gone" && event["client"] == flood);
    assert_eq!(watcher.crowd(1), ["ann"]);
}

#[test]
fn a_watcher_learns_which_clients_are_watchers_too() {
    let program = Program::start(QUICK);
    let one = Watcher::new(&program);
    let other = Watcher::new(&program);
    assert_eq!(one.hello["watchers"], json!([]));
    assert_eq!(other.hello["watchers"], json!([one.hello["you"]]));
}

#[test]
fn an_order_that_cannot_be_carried_out_is_answered() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    for (order, answer) in [
        ("dance", "unknown order"),
        ("come here 0", "not a number of clients"),
        ("come nowhere 1", "unknown server"),
        ("say ann sleep 1", "no client \"ann\""),
    ] {
        watcher.order(order);
        let note = watcher.until("note");
        assert!(note.as_str().is_some_and(|note| note.contains(answer)), "{order}: {note}");
    }
}

#[test]
fn a_client_that_does_not_read_gets_a_pump() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    watcher.order("stall");
    let stalled = watcher.client("/echo?Id=stalled-1");
    let pump = watcher.event("its pump", |event| event["is"] == "pump" && event["client"] == stalled);
    assert_eq!(pump["thread"], format!("pump-{stalled}").as_str());
    watcher.event("its thread to wait", |event| event["is"] == "waits" && event["client"] == stalled);
}

#[test]
fn the_numbers_are_those_of_the_process() {
    let program = Program::start(QUICK);
    let _clients: Vec<_> =
        (0..5).map(|n| Raw::websocket(program.addr(), &format!("/websocket?Id={n}"))).collect();
    let mut watcher = Watcher::new(&program);
    let (first, second) = (watcher.until("numbers"), watcher.until("numbers"));
    assert_eq!(second["clients"], 6);
    let here = &second["here"];
    let number = |of: &Value, key: &str| of[key].as_u64().unwrap_or_else(|| panic!("no {key} in {of}"));
    assert!((8..30).contains(&number(here, "threads")), "{here}");
    assert_eq!(number(here, "stacks"), 16 * number(here, "threads"));
    assert!((500..200_000).contains(&number(here, "resident")), "{here}");
    assert!(number(here, "cpu") < 60_000, "{here}");
    for grows in ["voluntary", "involuntary", "cpu"] {
        assert!(number(here, grows) >= number(&first["here"], grows), "{grows}: {first} {second}");
    }
    assert!(number(&second, "pushes") > number(&first, "pushes"), "{first} {second}");
    let seconds = (second["t"].as_f64().unwrap() - first["t"].as_f64().unwrap()) / 1000.0;
    assert!((0.9..30.0).contains(&seconds), "{seconds}");
}

#[test]
fn excess_events_are_dropped_and_counted_and_the_rest_continues() {
    let program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    let mut flood = Raw::websocket(program.addr(), "/websocket?Id=flood");
    let frames = support::masked(0x81, b"x").repeat(200_000);
    let sender = std::thread::spawn(move || {
        flood.send(frames);
        flood
    });
    let mut dropped = 0;
    while dropped == 0 {
        dropped = watcher.until("events")["dropped"].as_u64().expect("a count");
    }
    let _flood = sender.join().expect("sends");
    watcher.events.clear();
    watcher.event("a push", |event| event["is"] == "push" && event["thread"] == "send");
    // A later page does not count them as its own.
    let later = Watcher::new(&program);
    assert!(later.hello["dropped"].as_u64() >= Some(dropped), "{}", later.hello["dropped"]);
}

#[test]
fn nobody_wakes_the_labs_threads_while_nobody_watches() {
    let program = Program::start(QUICK);
    drop(Watcher::new(&program));
    let mut ann = Raw::websocket(program.addr(), "/websocket?Id=ann");
    eventually("the last watcher to have left", || {
        let before = switches(program.pid());
        (0..10).for_each(|_| drop(ann.frame()));
        switches(program.pid()) == before
    });
}

/// How often each of the lab's threads has gone to sleep.
fn switches(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("lists threads").flatten();
    let status = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let own = status.filter(|status| status.lines().next().is_some_and(|line| line.contains("lab-")));
    let mut lines: Vec<_> = own
        .map(|status| {
            let count = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
            format!("{} {}", status.lines().next().unwrap_or_default(), count.unwrap_or_default())
        })
        .collect();
    lines.sort();
    assert_eq!(lines.len(), 2, "{lines:?}");
    lines
}

#[test]
fn it_ends_with_its_watchers_and_its_own_clients() {
    let mut program = Program::start(QUICK);
    let mut watcher = Watcher::new(&program);
    watcher.order("come here 5");
    watcher.crowd(5);
    watcher.order("stall");
    watcher.event("a pump", |event| event["is"] == "pump");
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success());
}
