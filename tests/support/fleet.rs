//! A test's own Redis, and hubs in a fleet around it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use threadcast::{Application, Connection, Fleet, FleetOptions, FleetStats, Hub, Message, Result};

use crate::support::{self, Event, Probed, Raw, eventually, frame};

/// A test's own Redis.
pub struct Redis {
    pub port: u16,
    arguments: Vec<String>,
    process: Child,
}

impl Redis {
    /// Starts one on a free port of the loopback, `PORT` in its arguments.
    pub fn start(arguments: &[&str]) -> Redis {
        let port = super::free_port().port();
        let own =
            ["--bind", "127.0.0.1", "--save", "", "--dir", env!("CARGO_TARGET_TMPDIR"), "--port", "PORT"];
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

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends it a line, and returns a reader of its answers.
    pub fn ask(&self, line: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(support::DEADLINE)).unwrap();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// Sends it a line, and returns the first line of the answer.
    pub fn say(&self, line: &str) -> String {
        let mut answer = String::new();
        self.ask(line).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    pub fn options(&self) -> FleetOptions {
        let mut options = FleetOptions::new(&self.url());
        options.max_message = 1000;
        options
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
        Machine::try_join(options).unwrap()
    }

    pub fn try_join(options: &FleetOptions) -> Result<Machine> {
        // No test runs long enough for a client to be pinged.
        let patient = |application: Application| application.ping_interval(Some(10 * support::DEADLINE));
        let (hub, probed) = (Hub::new(), Probed::start_with(patient, |_, _| Ok(())));
        let (client, connection) = probed.open();
        assert!(hub.subscribe("a", &connection)?);
        let fleet = Fleet::join(&hub, options, || 1)?;
        Ok(Machine { hub, fleet, client, probed })
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

// ---- faults ----

/// The time between two messages.
const PACE: Duration = Duration::from_millis(5);
/// The longest time without a message at a machine's own client. Two cores may be busy with other tests.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the others may take after a fault until they get messages again: 6 seconds to notice that nothing comes
/// back, 2 to connect, 2 of pause, 2 for a beat; and the rest for a busy machine.
pub const BACK: Duration = Duration::from_secs(20);
/// The next number. Messages in flight at the end of a fault come before those of the next fault.
static NEXT: AtomicU64 = AtomicU64::new(1);
/// Ends a client's reading.
const END: &str = "end";

/// Reads numbers until the end. Returns them, and the longest gap.
fn listen(client: &mut Raw, latest: &AtomicU64) -> (Vec<u64>, Duration) {
    let (mut heard, mut before, mut longest) = (Vec::new(), Instant::now(), Duration::ZERO);
    loop {
        let message = client.frame();
        if message == frame(0x81, END) {
            return (heard, longest);
        }
        longest = longest.max(before.elapsed());
        before = Instant::now();
        let number = String::from_utf8(message.payload).unwrap().parse().unwrap();
        latest.store(number, Relaxed);
        heard.push(number);
    }
}

/// Publishes numbers on the first machine during a fault, and after it until the second machine gets them again.
pub fn endure(what: &str, machines: &mut [Machine; 2], fault: impl FnOnce(&[&Fleet; 2])) {
    let counted = |stats: FleetStats| {
        let FleetStats { sent, lost, .. } = stats;
        sent + lost.full + lost.stale + lost.unsure
    };
    let (near_latest, far_latest, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let first = NEXT.load(Relaxed);
    let [near, far] = machines;
    let before = counted(near.fleet.stats());
    let (hubs, fleets) = ([&near.hub, &far.hub], [&near.fleet, &far.fleet]);
    let (near_client, far_client) = (&mut near.client, &mut far.client);
    let ((near_heard, longest), (far_heard, _)) = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                hubs[0].publish("a", NEXT.load(Relaxed).to_string()).unwrap();
                NEXT.fetch_add(1, Relaxed);
                thread::park_timeout(PACE);
            }
            hubs.iter().for_each(|hub| assert_eq!(hub.publish_here("a", END).unwrap(), 1));
        });
        let near = scope.spawn(|| listen(near_client, &near_latest));
        let far = scope.spawn(|| listen(far_client, &far_latest));
        eventually("the other one hears", || far_latest.load(Relaxed) > 0);
        fault(&fleets);
        let (begun, published) = (Instant::now(), NEXT.load(Relaxed));
        eventually("the other one gets new messages", || far_latest.load(Relaxed) > published);
        let back = begun.elapsed();
        assert!(back < BACK, "{what}: after {back:?}");
        eventually("both are linked", || fleets.iter().all(|fleet| fleet.stats().is_linked));
        eventually("each knows of the other", || fleets.iter().all(|fleet| fleet.stats().machines == 2));
        is_over.store(true, Relaxed);
        (near.join().unwrap(), far.join().unwrap())
    });
    let next = NEXT.load(Relaxed);
    let published = next - first;
    assert_eq!(near_heard, (first..next).collect::<Vec<_>>(), "{what}: each here, once and in order");
    assert!(longest < PAUSE, "{what}: nothing here for {longest:?}");
    assert!(far_heard.is_sorted_by(|one, next| one < next), "{what}: twice or out of order: {far_heard:?}");
    eventually("each message is sent, or counted as lost", || {
        counted(fleets[0].stats()) - before == published
    });
    println!(
        "{what}: {published} published, {} heard by the other one; at most {longest:?} without one here; {:?}",
        far_heard.len(),
        fleets[0].stats()
    );
}
