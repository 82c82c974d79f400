//! The cost of a subscription, in a separate process, because it counts the memory of the whole process.

#[path = "../support/mod.rs"]
mod support;

use std::sync::Mutex;
use std::time::Instant;

use support::Probed;
use threadcast::Hub;

const CLIENTS: usize = 256;
const TOPICS: usize = 512;

/// Bytes of anonymous memory that this process has in use.
fn anonymous() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Measuring tests run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn hubs_and_topics_that_are_gone_leave_no_memory_with_a_connection() {
    const MANY: usize = 20_000;
    let _alone = ALONE.lock().unwrap();
    let probed = Probed::start();
    let (_client, connection) = probed.open();
    let grown = |what: &dyn Fn()| {
        let (before, begun) = (anonymous(), Instant::now());
        what();
        let bytes = anonymous().saturating_sub(before);
        println!("{MANY} have come and gone: {bytes} bytes, {:?}", begun.elapsed());
        bytes
    };
    let hubs = || {
        for _ in 0..MANY {
            Hub::new().subscribe("a", &connection).unwrap();
        }
    };
    assert!(grown(&hubs) < 4 << 20);
    let (hub, topics) = (Hub::new(), (0..MANY).map(|n| format!("topic/{n}")).collect::<Vec<_>>());
    let all = || {
        topics.iter().for_each(|topic| assert!(hub.subscribe(topic, &connection).unwrap()));
        topics.iter().for_each(|topic| assert!(hub.unsubscribe(topic, &connection)));
    };
    all();
    // The second round reuses the memory of the first.
    assert!(grown(&all) < 4 << 20);
}

/// Prints lines for `make bench`.
#[test]
fn a_subscription_takes_at_most_64_bytes() {
    let _alone = ALONE.lock().unwrap();
    let probed = Probed::start();
    let clients: Vec<_> = (0..CLIENTS).map(|_| probed.open()).collect();
    let (hub, topics) = (Hub::new(), (0..TOPICS).map(|n| format!("topic/{n}")).collect::<Vec<_>>());
    let before = anonymous();
    for topic in &topics {
        for (_, connection) in &clients {
            assert!(hub.subscribe(topic, connection).unwrap());
        }
    }
    let bytes = (anonymous() - before) as f64 / (CLIENTS * TOPICS) as f64;
    println!("a subscription takes {bytes:.1} bytes");
    assert!((32.0..=64.0).contains(&bytes), "{bytes}");
    assert_eq!(hub.topics().len(), TOPICS);
}
