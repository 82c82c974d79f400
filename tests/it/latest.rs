//! `Hub::publish_latest`: a slow subscriber skips what is old.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::{DEADLINE, Raw, eventually, frame};
use threadcast::{Application, Capacity, Connection, Hub, Messages, Server};

/// Bytes of a message, with its number in front: more than a kernel takes that was told to take little.
const SIZE: usize = 16 << 10;
/// Clients, and how many of them read at a tenth of the rate.
const FAST: usize = 180;
const SLOW: usize = 20;
const ROUNDS: usize = 300;

fn message(number: usize) -> Vec<u8> {
    let mut message = vec![0; SIZE];
    message[..8].copy_from_slice(&number.to_be_bytes());
    message
}

fn number(payload: &[u8]) -> usize {
    usize::from_be_bytes(payload[..8].try_into().unwrap())
}

/// Clients in a room each get all that is published there.
fn serve(hub: &Hub) -> Server {
    let hub = hub.clone();
    let application = Application::new().max_backlog(4 * SIZE).max_buffered(1 << 30).send_buffer(4096);
    // On a slow machine a client may take longer than that from one message to the next.
    let application = application.write_deadline(DEADLINE).ping_interval(None);
    let application = application.websockets("/", move |exchange| {
        let (topic, hub) = (exchange.path_rest()?, hub.clone());
        Ok(move |connection: &Connection, messages: &mut Messages| {
            for topic in topic.split('+') {
                hub.subscribe(topic, connection)?;
            }
            while messages.recv()?.is_some() {}
            Ok(())
        })
    });
    Server::bind_with("127.0.0.1:0", application, Capacity::new(300)).unwrap()
}

#[test]
fn who_reads_at_a_tenth_of_the_rate_is_one_message_behind_and_is_not_disconnected() {
    let hub = Hub::new();
    let server = serve(&hub);
    let last = Arc::new(AtomicUsize::new(0));
    let fast: Vec<_> = (0..FAST)
        .map(|_| {
            let (mut client, last) = (Raw::websocket(server.local_addr(), "/prices"), last.clone());
            thread::spawn(move || {
                let mut before = 0;
                while before < ROUNDS {
                    let now = number(&client.frame().payload);
                    assert!(now > before, "{now} behind {before}");
                    before = now;
                }
                last.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    let mut slow: Vec<_> =
        (0..SLOW).map(|_| (Raw::narrow(server.local_addr(), 4096).upgraded("/prices"), 0)).collect();
    eventually("all have subscribed", || hub.count("prices") == FAST + SLOW);
    for round in 1..=ROUNDS {
        assert_eq!(hub.publish_latest("prices", message(round)).unwrap(), FAST + SLOW);
        if round % 10 == 0 {
            for (client, before) in &mut slow {
                let now = number(&client.frame().payload);
                assert!(now > *before, "{now} behind {before}");
                *before = now;
            }
        }
        for connection in hub.subscribers("prices") {
            // The one that is being written, and the one that waits.
            let backlog = connection.backlog();
            assert!(backlog <= 2 * (SIZE as u64 + 128), "{backlog} bytes wait in round {round}");
        }
    }
    for reader in fast {
        reader.join().unwrap();
    }
    assert_eq!(last.load(Ordering::SeqCst), FAST);
    for (mut client, mut before) in slow {
        // The messages in the kernel and the pump, then the newest.
        let mut more = 0;
        while before < ROUNDS {
            let now = number(&client.frame().payload);
            assert!(now > before, "{now} behind {before}");
            (before, more) = (now, more + 1);
        }
        assert!(more <= ROUNDS / 10, "{more} messages were waiting");
    }
    assert_eq!(server.stats().slow_consumers, 0);
}

#[test]
fn of_each_topic_one_waits_and_ordinary_messages_keep_their_order() {
    let hub = Hub::new();
    let server = serve(&hub);
    let mut client = Raw::narrow(server.local_addr(), 4096).upgraded("/a+b");
    eventually("it has subscribed", || hub.count("a") + hub.count("b") == 2);
    let connection = &hub.subscribers("a")[0];
    // Until the pump holds one that the socket does not take.
    let mut large = 0;
    while connection.backlog() == 0 {
        large += 1;
        assert!(hub.publish("a", vec![0; SIZE]).unwrap() == 1 && large < 1000);
    }
    for n in 0..100 {
        hub.publish_latest("a", format!("a {n}")).unwrap();
        hub.publish_latest("b", format!("b {n}")).unwrap();
        if n == 50 {
            hub.publish("b", "between").unwrap();
        }
    }
    for _ in 0..large {
        assert_eq!(client.frame().payload.len(), SIZE);
    }
    assert_eq!(client.frame(), frame(0x81, "a 99"));
    assert_eq!(client.frame(), frame(0x81, "b 99"));
    assert_eq!(client.frame(), frame(0x81, "between"));
    // One that has left a topic gets nothing of it, and one that comes back has no old one waiting.
    hub.unsubscribe("a", connection);
    assert_eq!(hub.publish_latest("a", "nobody").unwrap(), 0);
    hub.subscribe("a", connection).unwrap();
    assert_eq!(hub.publish_latest("a", "again").unwrap(), 1);
    assert_eq!(client.frame(), frame(0x81, "again"));
    assert!(hub.publish_latest("", "nowhere").is_err());
}
