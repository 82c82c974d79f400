//! The network between a machine and its Redis: an address that moves to another one, and a cable that is pulled.

use crate::support;
use support::fleet as machines;

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use machines::{Machine, Redis, linked};
use rustix::process::Signal;
use support::network::{in_a_private_network, ip};
use support::{Directory, Program, eventually};
use threadcast::{Fleet, FleetOptions, Hub};

/// The time limit until the others get messages again. As in the tests of Redis' faults.
const BACK: Duration = Duration::from_secs(20);

/// An address that the test can move from one Redis to another. A connection stays with the Redis that it found.
fn movable(first: u16) -> (FleetOptions, Arc<AtomicU16>) {
    let (options, target, _) = severable(first);
    (options, target)
}

/// A movable address whose connections the test can end too.
fn severable(first: u16) -> (FleetOptions, Arc<AtomicU16>, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let target = Arc::new(AtomicU16::new(first));
    let (current, connections) = (target.clone(), Arc::new(Mutex::new(Vec::new())));
    let open = connections.clone();
    let pass = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    };
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", current.load(Relaxed))) else { continue };
            open.lock().unwrap().push(near.try_clone().unwrap());
            pass(near.try_clone().unwrap(), far.try_clone().unwrap());
            pass(far, near);
        }
    });
    (FleetOptions::new(&url), target, connections)
}

#[test]
fn where_the_address_moves_to_another_redis_a_machine_reads_and_writes_there() {
    let (first, second) = (Redis::start(&[]), Redis::start(&[]));
    let (options, target) = movable(first.port);
    let mut machines = [(); 2].map(|()| Machine::join_with(&options));
    linked(&machines);
    target.store(second.port, Relaxed);
    // The first one lives on, and so do the write links: only the subscriptions end.
    assert_eq!(first.say("CLIENT KILL TYPE pubsub"), ":2");
    let begun = Instant::now();
    eventually("both listen to the second one", || second.say("PUBLISH threadcast:probe x") == ":2");
    linked(&machines);
    eventually("each knows of the other", || machines.iter().all(|one| one.fleet.stats().machines == 2));
    assert!(begun.elapsed() < BACK, "after {:?}", begun.elapsed());
    machines[0].hub.publish("a", "new").unwrap();
    machines.iter_mut().for_each(|machine| machine.hears("new"));
    assert_eq!(first.say("PUBLISH threadcast:probe x"), ":0");
}

#[test]
fn a_machine_that_stays_at_a_demoted_primary_finds_the_new_one() {
    let (first, second) = (Redis::start(&[]), Redis::start(&[]));
    let (ways, [one, other]) = {
        let ways = [(); 2].map(|()| severable(first.port));
        let machines = [0, 1].map(|n: usize| Machine::join_with(&ways[n].0));
        (ways, machines)
    };
    let mut machines = [one, other];
    eventually("each knows of the other", || machines.iter().all(|one| one.fleet.stats().machines == 2));
    // The second Redis takes over. New connections reach it, and only the first machine has to reconnect.
    first.say(&format!("REPLICAOF 127.0.0.1 {}", second.port));
    ways.iter().for_each(|(_, target, _)| target.store(second.port, Relaxed));
    for stream in ways[0].2.lock().unwrap().drain(..) {
        let _ = stream.shutdown(Shutdown::Both);
    }
    let begun = Instant::now();
    // Both are up, because they hear themselves.
    eventually("both listen to the new primary", || second.say("PUBLISH threadcast:probe x") == ":2");
    assert!(begun.elapsed() < BACK, "after {:?}", begun.elapsed());
    linked(&machines);
    eventually("each knows of the other", || machines.iter().all(|one| one.fleet.stats().machines == 2));
    machines[1].hub.publish("a", "from the one that stayed").unwrap();
    machines.iter_mut().for_each(|machine| machine.hears("from the one that stayed"));
}

#[test]
fn a_replica_cannot_serve_a_fleet_and_the_error_says_so() {
    let (primary, replica) = (Redis::start(&[]), Redis::start(&[]));
    replica.say(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    let error = Fleet::join(&Hub::new(), &FleetOptions::new(&replica.url()), || 0).unwrap_err().to_string();
    assert!(error.contains("it is a replica"), "{error}");
    // A user without the right to ask for the role can still join.
    primary.say("ACL SETUSER plain on nopass resetchannels +publish +psubscribe &threadcast[:/]*");
    let url = primary.url().replacen("//", "//plain:any@", 1);
    Fleet::join(&Hub::new(), &FleetOptions::new(&url), || 0).unwrap().leave();
}

const SILENT: &str = "while_dns_is_silent_a_stop_is_obeyed_and_a_start_fails_in_time";

#[test]
fn while_dns_is_silent_a_stop_is_obeyed_and_a_start_fails_in_time() {
    in_a_private_network(SILENT, dns_is_silent);
}

fn dns_is_silent() {
    let directory = Directory::new("silent-dns");
    directory.write("resolv.conf", "nameserver 127.0.0.1\n");
    let dns = UdpSocket::bind("127.0.0.1:53").unwrap();
    dns.set_read_timeout(Some(support::DEADLINE)).unwrap();
    let start = || {
        let script = format!(
            "mount --bind {}/resolv.conf /etc/resolv.conf && exec \"$0\" --port 0 --redis redis://redis.test",
            directory.path()
        );
        let program = env!("CARGO_BIN_EXE_threadcast");
        Program::spawn(Command::new("unshare").args(["--mount", "sh", "-c", &script, program]))
    };
    let program = start();
    dns.recv(&mut [0; 512]).expect("it asks for the name");
    program.signal(Signal::TERM);
    let begun = Instant::now();
    let (code, lines) = program.run_to_its_end();
    assert_eq!((code, lines), (Some(0), vec![]));
    // The system's resolver ends after 20 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let (code, lines) = start().run_to_its_end();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(
        lines[0].ends_with("cannot resolve redis.test: the system's resolver does not answer in time"),
        "{lines:?}"
    );
}

/// A process in another network namespace, at the other end of a cable.
struct Far(Child);

impl Far {
    /// Has the address 10.1.0.2; this end is 10.1.0.1.
    fn start(command: &str) -> Far {
        let script = format!(
            "until ip link show far >/dev/null 2>&1; do sleep 0.01; done; \
             ip address add 10.1.0.2/24 dev far; ip link set far up; exec {command}"
        );
        let mut far = Command::new("unshare");
        let far = far.args(["--net", "sh", "-c", &script]).stdout(Stdio::null()).spawn().unwrap();
        let far = Far(far);
        let pid = far.0.id().to_string();
        eventually("it has its own network", || {
            let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
            network(&pid) != network("self")
        });
        ip(&["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &pid]);
        ip(&["address", "add", "10.1.0.1/24", "dev", "near"]);
        ip(&["link", "set", "near", "up"]);
        far
    }

    /// Takes its end of the cable down or up. This end gets no notice: its packets are lost.
    fn link(&self, state: &str) {
        let pid = self.0.id().to_string();
        let words = ["--net", "--target", &pid, "ip", "link", "set", "far", state];
        assert!(Command::new("nsenter").args(words).status().unwrap().success(), "{words:?}");
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CABLE: &str = "a_cable_that_is_pulled_is_noticed_and_nothing_here_waits_for_it";

#[test]
fn a_cable_that_is_pulled_is_noticed_and_nothing_here_waits_for_it() {
    in_a_private_network(CABLE, cable);
}

fn cable() {
    let far = Far::start("redis-server --bind 10.1.0.2 --port 7000 --save '' --protected-mode no");
    eventually("Redis listens", || TcpStream::connect(("10.1.0.2", 7000)).is_ok());
    let options = FleetOptions::new("redis://10.1.0.2:7000");
    let mut machines = [(); 2].map(|()| Machine::join_with(&options));
    linked(&machines);
    far.link("down");
    let (begun, mut published, mut longest) = (Instant::now(), 0_u32, Duration::ZERO);
    eventually("the links are down", || {
        let before = Instant::now();
        machines[0].hub.publish("a", published.to_string()).unwrap();
        machines[0].hears(published.to_string());
        longest = longest.max(before.elapsed());
        published += 1;
        machines.iter().all(|one| !one.fleet.stats().is_linked)
    });
    assert!(begun.elapsed() < BACK && longest < Duration::from_secs(1), "{:?}, {longest:?}", begun.elapsed());
    let error = Fleet::join(&Hub::new(), &options, || 0).unwrap_err().to_string();
    // Which one depends on whether the kernel has noticed that nobody answers for that address.
    assert!(["no answer in time", "No route to host"].iter().any(|why| error.contains(why)), "{error}");
    far.link("up");
    let begun = Instant::now();
    linked(&machines);
    assert!(begun.elapsed() < BACK, "back after {:?}", begun.elapsed());
    machines[0].hub.publish("a", "new").unwrap();
    machines[0].hears("new");
    // Some messages written during the outage may still come: in order, and before the new ones.
    let mut last = None;
    loop {
        let text = String::from_utf8(machines[1].client.frame().payload).unwrap();
        if text == "new" {
            break;
        }
        let number = Some(text.parse::<u32>().unwrap());
        assert!(number > last, "{number:?} after {last:?}");
        last = number;
    }
}
