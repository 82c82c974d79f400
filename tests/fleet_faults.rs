//! What happens to Redis, and to the way there, is not seen by a machine's own clients; the others hear nothing twice and
//! nothing out of order, and are there again within the promised time.

#[path = "support/fleet.rs"]
mod machines;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use machines::{Machine, Redis, two};
use rustix::process::Signal;
use support::network::{in_a_network_of_its_own, ip};
use support::{Raw, eventually, frame, threads};
use threadcast::FleetStats;

/// From one message to the next.
const PACE: Duration = Duration::from_millis(5);
/// The longest time without a message at a machine's own client. Two cores may be busy with other tests.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may take after a fault until the others hear again: 6 seconds to notice that nothing comes back, 2 to
/// connect, 2 of pause, 2 for a beat; and the rest for a busy machine.
const BACK: Duration = Duration::from_secs(20);
/// Ends a client's reading.
const END: &str = "end";

/// Reads numbers until the end. Returns them, and the longest time between two.
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

/// Publishes numbers on the first machine while a fault comes and goes, and until the second one hears them again.
fn endure(what: &str, machines: &mut [Machine; 2], fault: impl FnOnce(&[&threadcast::Fleet; 2])) {
    let counted = |stats: FleetStats| {
        let FleetStats { sent, lost, .. } = stats;
        sent + lost.full + lost.stale + lost.unsure
    };
    let (next, near_latest, far_latest, is_over) =
        (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let [near, far] = machines;
    let before = counted(near.fleet.stats());
    let (hubs, fleets) = ([&near.hub, &far.hub], [&near.fleet, &far.fleet]);
    let (near_client, far_client) = (&mut near.client, &mut far.client);
    let ((near_heard, longest), (far_heard, _)) = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                hubs[0].publish("a", next.load(Relaxed).to_string()).unwrap();
                next.fetch_add(1, Relaxed);
                thread::park_timeout(PACE);
            }
            hubs.iter().for_each(|hub| assert_eq!(hub.publish_here("a", END).unwrap(), 1));
        });
        let near = scope.spawn(|| listen(near_client, &near_latest));
        let far = scope.spawn(|| listen(far_client, &far_latest));
        eventually("the other one hears", || far_latest.load(Relaxed) > 0);
        fault(&fleets);
        let (begun, published) = (Instant::now(), next.load(Relaxed));
        eventually("the other one hears what is new", || far_latest.load(Relaxed) > published);
        let back = begun.elapsed();
        assert!(back < BACK, "{what}: after {back:?}");
        eventually("both are linked", || fleets.iter().all(|fleet| fleet.stats().is_linked));
        eventually("each knows of the other", || fleets.iter().all(|fleet| fleet.stats().machines == 2));
        is_over.store(true, Relaxed);
        (near.join().unwrap(), far.join().unwrap())
    });
    let published = next.into_inner() - 1;
    assert_eq!(near_heard, (1..=published).collect::<Vec<_>>(), "{what}: each here, once and in order");
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

fn wait_until_down(fleets: &[&threadcast::Fleet; 2]) {
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
    endure("stopped until all have noticed", &mut machines, |fleets| {
        redis.signal(Signal::STOP);
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

const HALF_OPEN: &str = "a_link_that_goes_down_without_a_word_is_noticed_and_made_anew";

#[test]
fn a_link_that_goes_down_without_a_word_is_noticed_and_made_anew() {
    in_a_network_of_its_own(HALF_OPEN, half_open);
}

fn half_open() {
    ip(&["address", "add", "10.0.0.1/32", "dev", "lo"]);
    let redis = Redis::start(&["--bind", "0.0.0.0", "--protected-mode", "no"]);
    let mut options = redis.options();
    options.url = options.url.replace("127.0.0.1", "10.0.0.1");
    let mut machines = [Machine::join_with(&options), Machine::join_with(&options)];
    endure("half-open", &mut machines, |fleets| {
        // From here on there is no way to it, and none back.
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
