use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use proptest::prelude::*;
use rustix::process::{Resource, Rlimit};

use super::*;
use crate::connection::broadcast::broadcast;
use crate::connection::connection::tests::{connection, poison};

#[test]
fn topics_as_a_table() {
    let (hub, one) = (Hub::new(), connection());
    for topic in ["a", " ", "weather/today", "你", "a\tb\n", &"x".repeat(512)] {
        assert!(hub.subscribe(topic, &one).unwrap(), "{topic}");
        assert_eq!((hub.publish(topic, "hi").unwrap(), hub.count(topic)), (1, 1));
    }
    for topic in ["", &"x".repeat(513), &"é".repeat(257)] {
        let refused = hub.subscribe(topic, &one).unwrap_err().to_string();
        assert!(refused.ends_with("is not a topic: use 1 to 512 bytes of text"), "{refused}");
        assert!(hub.publish(topic, "hi").is_err() && !hub.unsubscribe(topic, &one));
    }
}

#[test]
fn an_ended_connection_is_in_no_topic_and_joins_none() {
    let (hub, other, one) = (Hub::new(), Hub::new(), connection());
    assert!(hub.subscribe("a", &one).unwrap() && other.subscribe("a", &one).unwrap());
    assert!(!hub.subscribe("a", &one).unwrap(), "it is there already");
    assert!(hub.subscribe("b", &one).unwrap() && hub.unsubscribe("b", &one) && !hub.unsubscribe("b", &one));
    one.link().leave_topics();
    assert_eq!((hub.topics(), other.topics()), (vec![], vec![]));
    assert!(matches!(hub.subscribe("a", &one), Err(Error::Closed)));
    assert!(!hub.unsubscribe("a", &one));
    assert_eq!(hub.topics(), [] as [&str; 0]);
}

#[test]
fn a_connection_that_ends_while_threads_subscribe_it_is_in_no_topic() {
    let (hub, crowd) = (Hub::new(), (0..200).map(|_| connection()).collect::<Vec<_>>());
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (hub, crowd, start) = (&hub, &crowd, &start);
            scope.spawn(move || {
                for (m, one) in crowd.iter().enumerate() {
                    let topic = ["a", "b", "c"][(n + m) % 3];
                    start.wait();
                    match n {
                        0 => one.link().leave_topics(),
                        1 => assert!(hub.publish(topic, "hi").is_ok()),
                        2 => _ = hub.unsubscribe(topic, one),
                        _ => assert!(matches!(hub.subscribe(topic, one), Ok(_) | Err(Error::Closed))),
                    }
                }
            });
        }
    });
    assert_eq!(hub.topics(), [] as [&str; 0]);
}

#[test]
fn a_hub_that_is_gone_has_nothing_to_be_left() {
    let one = connection();
    Hub::new().subscribe("a", &one).unwrap();
    one.link().leave_topics();
}

#[test]
fn behind_a_poisoned_lock_it_goes_on() {
    let (hub, one) = (Hub::new(), connection());
    hub.0.shards.iter().for_each(poison);
    assert!(hub.subscribe("a", &one).unwrap());
    assert_eq!(hub.publish("a", "hi").unwrap(), 1);
    one.link().leave_topics();
    assert_eq!(hub.count("a"), 0);
}

/// Topics in the connection's notes.
fn noted(connection: &Connection) -> usize {
    connection.link().memberships.open().map_or(0, |books| books.len())
}

#[test]
fn a_connection_keeps_nothing_of_topics_and_hubs_that_are_gone() {
    const COUNT: usize = 2000;
    let one = connection();
    for _ in 0..COUNT {
        Hub::new().subscribe("a", &one).unwrap();
        assert_eq!(noted(&one), 0, "the hub is gone");
    }
    let mut hubs: Vec<_> = (0..COUNT).map(|_| Hub::new()).collect();
    hubs.iter()
        .for_each(|hub| assert!(hub.subscribe("a", &one).unwrap() && hub.subscribe("b", &one).unwrap()));
    assert_eq!(noted(&one), 2 * COUNT);
    hubs.truncate(1);
    assert_eq!(noted(&one), 2);
    let hub = hubs.pop().unwrap();
    assert!(hub.unsubscribe("a", &one) && hub.unsubscribe("b", &one));
    let topics: Vec<_> = (0..COUNT).map(|n| format!("topic/{n}")).collect();
    topics.iter().for_each(|topic| assert!(hub.subscribe(topic, &one).unwrap()));
    assert_eq!((noted(&one), hub.topics().len()), (COUNT, COUNT));
    topics.iter().for_each(|topic| assert!(hub.unsubscribe(topic, &one)));
    assert_eq!((noted(&one), hub.topics().len()), (0, 0));
    assert!(
        hub.0.shards.iter().all(|shard| lock(shard).capacity() <= 2 * LEAST_ROOM),
        "the room is given back"
    );
    drop(hub);
    one.link().leave_topics();
}

#[test]
fn a_hub_that_goes_while_its_subscribers_end_leaves_nothing() {
    for _ in 0..200 {
        let (hub, crowd) = (Hub::new(), (0..4).map(|_| connection()).collect::<Vec<_>>());
        crowd.iter().for_each(|one| assert!(hub.subscribe("a", one).unwrap()));
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                drop(hub);
            });
            start.wait();
            crowd.iter().for_each(|one| one.link().leave_topics());
        });
        assert!(crowd.iter().all(|one| noted(one) == 0));
    }
}

/// Checks the output of `make bench`.
#[test]
fn on_one_thread_a_publish_costs_as_much_as_a_broadcast() {
    // Each push leaves 90 bytes in a backlog, which holds 1 MiB.
    const ROUNDS: usize = if cfg!(debug_assertions) { 2 } else { 100 };
    const CROWD: usize = if cfg!(debug_assertions) { 600 } else { 5000 };
    let limits = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
    let mut shared = Shared::default();
    shared.fan_out = FanOut::with_threads(1);
    let hub = Hub(Arc::new(shared));
    let crowd: Vec<_> = (0..CROWD).map(|_| connection()).collect();
    for one in &crowd {
        hub.subscribe("all", one).unwrap();
    }
    let mut times = [0.0; 2];
    for round in 0..2 * ROUNDS {
        let begun = Instant::now();
        let sent = match round % 2 {
            0 => broadcast(&crowd, "2026-11-22 18:14:05.561472").unwrap(),
            _ => hub.publish("all", "2026-11-22 18:14:05.561472").unwrap(),
        };
        times[round % 2] += begun.elapsed().as_secs_f64();
        assert_eq!(sent, crowd.len());
    }
    println!("a publish to {CROWD} on one thread: {:.2} of a broadcast to the same", times[1] / times[0]);
}

#[derive(Debug, Clone)]
enum Act {
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    End(usize),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn it_is_a_map_of_sets(steps in prop::collection::vec(prop_oneof![
        6 => (0usize..3, 0usize..150).prop_map(|(topic, who)| Act::Subscribe(topic, who)),
        3 => (0usize..3, 0usize..150).prop_map(|(topic, who)| Act::Unsubscribe(topic, who)),
        1 => (0usize..150).prop_map(Act::End),
    ], 0..600)) {
        let topics = ["a", "b", "c"];
        let crowd: Vec<_> = (0..150).map(|_| connection()).collect();
        let (hub, mut ended) = (Hub::new(), BTreeSet::new());
        let mut model: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for step in steps {
            match step {
                Act::Subscribe(topic, who) => {
                    let subscribed = hub.subscribe(topics[topic], &crowd[who]).ok();
                    let expected = (!ended.contains(&who))
                        .then(|| model.entry(topics[topic]).or_default().insert(crowd[who].id()));
                    prop_assert_eq!(subscribed, expected);
                }
                Act::Unsubscribe(topic, who) => {
                    let removed = model.entry(topics[topic]).or_default().remove(&crowd[who].id());
                    prop_assert_eq!(hub.unsubscribe(topics[topic], &crowd[who]), removed);
                }
                Act::End(who) => {
                    ended.insert(who);
                    crowd[who].link().leave_topics();
                    model.values_mut().for_each(|set| _ = set.remove(&crowd[who].id()));
                }
            }
        }
        model.retain(|_, set| !set.is_empty());
        prop_assert_eq!(hub.topics().into_iter().collect::<BTreeSet<_>>(), model.keys().map(|k| k.to_string()).collect());
        for topic in topics {
            let set = model.remove(topic).unwrap_or_default();
            prop_assert_eq!(hub.count(topic), set.len());
            prop_assert_eq!(hub.publish(topic, "hi").unwrap(), set.len());
            prop_assert_eq!(hub.subscribers(topic).iter().map(Connection::id).collect::<BTreeSet<_>>(), set);
        }
    }
}

#[test]
fn a_second_form_is_made_once_for_all_and_not_at_all_for_nobody() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let (plain, second) = Hub::in_two_forms(move |topic, message| {
        counter.fetch_add(1, Ordering::Relaxed);
        format!("{topic}: {message}").into()
    });
    let crowd: Vec<_> = std::iter::repeat_with(connection).take(5).collect();
    crowd[..2].iter().for_each(|one| assert!(plain.subscribe("a", one).unwrap()));
    crowd[2..].iter().for_each(|one| assert!(second.subscribe("a", one).unwrap()));
    assert_eq!((plain.publish("a", "hi").unwrap(), made.load(Ordering::Relaxed)), (5, 1));
    let backlogs: Vec<_> = crowd.iter().map(|one| one.backlog() - 64 - 2).collect();
    assert_eq!(backlogs, [2, 2, 5, 5, 5], "the bytes of hi, and of a: hi");
    assert_eq!((plain.publish("b", "hi").unwrap(), made.load(Ordering::Relaxed)), (0, 1));
    // Messages that are published in the second hub stay there.
    assert_eq!((second.publish("a", "hi").unwrap(), made.load(Ordering::Relaxed)), (3, 1));
    assert_eq!((plain.count("a"), second.count("a")), (2, 3));
    assert!(plain.publish("", "hi").is_err());
}
