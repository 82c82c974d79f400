//! How long a publish takes to reach each client, on its own machine and through Redis, compared with python's
//! `websockets` and redis-py. All servers are separate processes, and take turns.
//!
//! `make bench` shows the lines, for 1,000 clients. With fewer, and in a debug build, the test only checks that both
//! deliver everything.

#[path = "../support/mod.rs"]
mod support;
use support::fleet as machines;
use support::python;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;
use std::{env, io};

use machines::Redis;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use support::{Program, Raw, frame};
use threadcast::{
    Application, Connection, Exchange, Fleet, FleetOptions, Hub, Message, Result, Server, WebSocketHandler,
};

const TEST: &str = "each_client_gets_messages_from_its_machine_and_through_redis";
/// The default number of clients.
const FEW: usize = 50;
/// Messages of each kind to each server.
const TURNS: usize = 60;
const REDIS: &str = "THREADCAST_TEST_REDIS";
const TOPIC: &str = "news";

/// The counterpart of [`serve`].
const PYTHON: &str = r#"
import asyncio, sys
import redis.asyncio
from websockets.asyncio.server import broadcast, serve

async def main():
    clients, bus = set(), redis.asyncio.Redis(port=int(sys.argv[1]))

    async def handle(websocket):
        if websocket.request.path == "/ws":
            clients.add(websocket)
            await websocket.wait_closed()
            clients.discard(websocket)
            return
        async for message in websocket:
            if message.startswith("here"):
                broadcast(clients, message)
            else:
                await bus.publish("python", message)

    listening = bus.pubsub()
    await listening.subscribe("python")
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print("threadcast is at http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1], flush=True)
        async for message in listening.listen():
            if message["type"] == "message":
                broadcast(clients, message["data"].decode())

asyncio.run(main())
"#;

// ---- the servers ----

struct Subscriber(Hub);

impl WebSocketHandler for Subscriber {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.0.subscribe(TOPIC, connection).map(drop)
    }
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        Ok(())
    }
}

struct Publisher(Hub);

impl WebSocketHandler for Publisher {
    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        match message.as_text() {
            Some(text) if text.starts_with("here") => self.0.publish_here(TOPIC, text).map(drop),
            _ => self.0.publish(TOPIC, message).map(drop),
        }
    }
}

fn serve() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("ends with the other test");
    let hub = Hub::new();
    let (subscribed, published) = (hub.clone(), hub.clone());
    let application = Application::new()
        .ping_interval(None)
        .stack_size(64 << 10)
        .websocket("/ws", move || Subscriber(subscribed.clone()))
        .websocket("/publish", move || Publisher(published.clone()));
    let server = Server::bind("127.0.0.1:0", application).expect("binds");
    let options = FleetOptions::new(&env::var(REDIS).expect("is set"));
    let _fleet = Fleet::join(&hub, &options, || 0).expect("joins");
    println!("threadcast is at http://{}/", server.local_addr());
    server.join();
}

// ---- their clients ----

/// Two servers in a fleet, and the clients of the second one.
struct Side {
    _servers: [Program; 2],
    /// One to each server; the second one's clients are `here`.
    publishers: [Raw; 2],
    clients: Vec<Raw>,
    readable: OwnedFd,
}

impl Side {
    fn start(count: usize, spawn: impl Fn() -> Program) -> Side {
        let servers = [spawn(), spawn()];
        let [first, second] = servers.each_ref().map(Program::addr);
        let readable = epoll::create(epoll::CreateFlags::empty()).expect("an epoll");
        let client = |n: usize| {
            let raw = Raw::websocket(second, "/ws");
            epoll::add(&readable, &raw.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)
                .expect("is watched");
            raw
        };
        let clients = (0..count).map(client).collect();
        let publisher = |addr: SocketAddr| Raw::websocket(addr, "/publish");
        Side { _servers: servers, publishers: [first, second].map(publisher), clients, readable }
    }

    /// Publishes, and waits until each client has it. Returns after how many microseconds each client had it.
    fn publish(&mut self, from: usize, text: &str) -> Vec<f64> {
        let mut took = Vec::with_capacity(self.clients.len());
        let mut events = Vec::with_capacity(self.clients.len());
        let begun = Instant::now();
        self.publishers[from].send_frame(0x81, text);
        while took.len() < self.clients.len() {
            let patience = support::DEADLINE.try_into().expect("is not too long");
            let ready = epoll::wait(&self.readable, spare_capacity(&mut events), Some(&patience));
            assert!(ready.expect("waits") > 0, "{} of {} have {text}", took.len(), self.clients.len());
            for event in events.drain(..) {
                assert_eq!(self.clients[event.data.u64() as usize].frame(), frame(0x81, text));
                took.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
        took
    }
}

/// The number of clients that `make bench` wants.
fn many() -> Option<usize> {
    env::var("THREADCAST_FLEET").ok().map(|many| many.parse().expect("THREADCAST_FLEET is a number"))
}

/// The most messages in flight: fewer than Redis, or a machine, would drop.
const UNDER_WAY: u64 = 4096;

#[test]
fn all_that_one_machine_publishes_as_fast_as_it_can_reaches_the_other_one() {
    let redis = Redis::start(&[]);
    let [near, far] = [(); 2].map(|()| {
        let hub = Hub::new();
        let fleet = Fleet::join(&hub, &redis.options(), || 0).expect("joins");
        (hub, fleet)
    });
    let received = || far.1.stats().received;
    let (messages, begun) = (if many().is_some() { 1_000_000 } else { 20_000 }, Instant::now());
    for n in 0..messages {
        if n % 256 == 0 {
            support::eventually("the other one follows", || received() + UNDER_WAY > n);
        }
        near.0.publish(TOPIC, format!("message {n:>90}")).expect("a topic");
    }
    support::eventually("all are there", || received() == messages);
    let rate = messages as f64 / begun.elapsed().as_secs_f64();
    println!("fleet: {rate:.0} messages of 98 bytes a second from one machine to another, through one Redis");
}

/// The median, and the 99th percentile.
fn percentiles(mut took: Vec<f64>) -> [f64; 2] {
    took.sort_by(f64::total_cmp);
    [took[took.len() / 2], took[took.len() * 99 / 100]]
}

#[test]
fn each_client_gets_messages_from_its_machine_and_through_redis() {
    if support::is_run_again() {
        return serve();
    }
    let count = many().unwrap_or(FEW);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .map_err(io::Error::from)
        .expect("raises to the hard limit");
    let (redis, python) = (Redis::start(&[]), python::python());
    let url = redis.options().url;
    let ours = || {
        let mut command = Command::new(env::current_exe().expect("is a program"));
        Program::spawn(
            command.args(["--exact", TEST, "--nocapture"]).env(support::AGAIN, "1").env(REDIS, &url),
        )
    };
    let theirs = || Program::spawn(Command::new(python).args(["-c", PYTHON, &redis.port.to_string()]));
    let mut sides = [Side::start(count, ours), Side::start(count, theirs)];
    for (from, place, text) in [(1, "on its machine", "here"), (0, "through Redis", "there")] {
        let mut took = [Vec::new(), Vec::new()];
        for turn in 0..TURNS {
            for (side, took) in sides.iter_mut().zip(&mut took) {
                took.extend(side.publish(from, &format!("{text} {turn}")));
            }
        }
        let [[p50, p99], [their_p50, their_p99]] = took.map(percentiles);
        let ratio = p50 / their_p50;
        let verdict = if ratio <= 0.7 { "met" } else { "MISSED" };
        println!(
            "fleet: a publish {place} to {count} clients, p50 {p50:.0} us (p99 {p99:.0}); websockets with redis-py \
             {their_p50:.0} us ({their_p99:.0}): {ratio:.2} x, target <= 0.7: {verdict}"
        );
    }
}
