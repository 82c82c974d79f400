//! Faults of Redis, and of the network to it: a machine's own clients notice nothing; the others get no message twice
//! or out of order, and get messages again within the promised time.

use support::fleet as machines;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use machines::{BACK, Machine, Redis, endure, two};
use rustix::process::Signal;
use support::network::{in_a_private_network, ip};
use support::{eventually, threads};
use threadcast::Fleet;

/// Longer than a link's silence, an answer and a pause together.
const STOPPED: Duration = Duration::from_secs(20);

fn wait_until_down(fleets: &[&Fleet; 2]) {
    eventually("the links are down", || fleets.iter().all(|fleet| !fleet.stats().is_linked));
}

/// Publishes more than subscribers can take.
fn flood(redis: &Redis) {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", redis.port)).unwrap();
    let mut connection = client.get_connection_with_timeout(support::DEADLINE).unwrap();
    connection.set_read_timeout(Some(support::DEADLINE)).unwrap();
    connection.set_write_timeout(Some(support::DEADLINE)).unwrap();
    let mut pipeline = redis::pipe();
    for _ in 0..1000 {
        pipeline.cmd("PUBLISH").arg("threadcast:flood").arg("x".repeat(900)).ignore();
    }
    (0..50).for_each(|_| pipeline.exec(&mut connection).unwrap());
}

#[test]
fn no_fault_of_redis_is_seen_here_and_after_it_the_others_hear_again() {
    let mut redis = Redis::start(&[]);
    let mut machines = two(&redis);
    endure("killed and started again", &mut machines, |fleets| {
        redis.kill();
        wait_until_down(fleets);
        redis.again();
    });
    endure("stopped for 20 s", &mut machines, |fleets| {
        redis.signal(Signal::STOP);
        // This is the length of the fault; it waits for nothing.
        thread::park_timeout(STOPPED);
        wait_until_down(fleets);
        redis.signal(Signal::CONT);
    });
    endure("restarted at once", &mut machines, |_| {
        redis.kill();
        redis.again();
    });
    for line in ["CLIENT KILL TYPE pubsub", "CLIENT KILL TYPE normal", "FLUSHALL"] {
        endure(line, &mut machines, |_| assert!(!redis.say(line).starts_with('-')));
    }
    endure("a flood", &mut machines, |_| flood(&redis));
    endure("a flood, and Redis cuts off who is slow", &mut machines, |_| {
        assert_eq!(redis.say(r#"CONFIG SET client-output-buffer-limit "pubsub 4kb 0 0""#), "+OK");
        flood(&redis);
        assert_eq!(redis.say(r#"CONFIG SET client-output-buffer-limit "pubsub 32mb 0 0""#), "+OK");
    });
}

const HALF_OPEN: &str = "a_link_that_fails_silently_is_noticed_and_replaced";

#[test]
fn a_link_that_fails_silently_is_noticed_and_replaced() {
    in_a_private_network(HALF_OPEN, half_open);
}

fn half_open() {
    ip(&["address", "add", "10.0.0.1/32", "dev", "lo"]);
    let redis = Redis::start(&["--bind", "0.0.0.0", "--protected-mode", "no"]);
    let mut options = redis.options();
    options.url = options.url.replace("127.0.0.1", "10.0.0.1");
    let mut machines = [Machine::join_with(&options), Machine::join_with(&options)];
    endure("half-open", &mut machines, |fleets| {
        // From now on no packet passes in either direction.
        ip(&["address", "delete", "10.0.0.1/32", "dev", "lo"]);
        wait_until_down(fleets);
        ip(&["address", "add", "10.0.0.1/32", "dev", "lo"]);
    });
    ip(&["address", "delete", "10.0.0.1/32", "dev", "lo"]);
    let begun = Instant::now();
    machines.into_iter().for_each(|machine| machine.fleet.leave());
    assert!(begun.elapsed() < BACK, "left after {:?}", begun.elapsed());
    assert!(!threads(std::process::id()).iter().any(|name| name.starts_with("fleet-")), "they have ended");
}
