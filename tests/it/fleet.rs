//! Hubs on several machines, with a real Redis between them that the tests start, stop, and mistreat.

use crate::support;
use support::fleet as machines;

use std::env;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use machines::{Machine, Redis, linked, two};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use support::{Directory, close_frame, eventually};
use threadcast::{Fleet, FleetOptions, FleetStats, Hub, Message};

#[test]
fn a_message_published_on_one_machine_arrives_on_all_once_and_in_order() {
    let redis = Redis::start(&[]);
    let [mut here, mut there] = two(&redis);
    for n in 0..2000 {
        assert_eq!(here.hub.publish("a", n.to_string()).unwrap(), 1);
    }
    for machine in [&mut here, &mut there] {
        (0..2000).for_each(|n| machine.hears(n.to_string()));
    }
    there.hub.publish("a", b"\0\xff").unwrap();
    here.hears(b"\0\xff");
    there.hears(b"\0\xff");
    here.hub.publish_here("a", "for this machine").unwrap();
    here.hears("for this machine");
    // Messages of another program, text and binary, and to a topic without subscribers on this machine.
    assert_eq!(redis.say("PUBLISH threadcast:b nobody"), ":2");
    assert_eq!(redis.say("PUBLISH threadcast:a hello"), ":2");
    assert_eq!(redis.say(r#"PUBLISH threadcast:a "\xff""#), ":2");
    for machine in [&mut here, &mut there] {
        machine.hears("hello");
        machine.hears(b"\xff");
    }
    eventually("all is counted", || (here.fleet.stats().sent, there.fleet.stats().received) == (2000, 2003));
    let (sent, received) = (here.fleet.stats(), there.fleet.stats());
    assert_eq!((sent.lost, received.lost), Default::default());
    assert_eq!((sent.clients, received.clients), (2, 2));
}

#[test]
fn a_message_that_is_too_large_or_without_a_topic_stays_and_is_counted() {
    let redis = Redis::start(&[]);
    let [mut here, mut there] = two(&redis);
    here.hub.publish("a", "x".repeat(1001)).unwrap();
    here.hears("x".repeat(1001));
    assert!(here.hub.publish("", "no topic").is_err());
    redis.say(&format!("PUBLISH threadcast:a {}", "x".repeat(1001)));
    redis.say("PUBLISH threadcast: empty");
    here.hub.publish("a", "last").unwrap();
    for machine in [&mut here, &mut there] {
        machine.hears("last");
    }
    eventually("here it counted three", || here.fleet.stats().lost.refused == 3);
    eventually("two machines counted", || there.fleet.stats().lost.refused == 2);
}

#[test]
fn a_machine_is_forgotten_when_it_leaves_or_6_seconds_after_it_dies_and_an_old_link_of_it_at_once() {
    let redis = Redis::start(&[]);
    let [mut here, there] = two(&redis);
    there.fleet.leave();
    eventually("it has left", || here.fleet.stats().machines == 1);
    redis.say(r#"PUBLISH threadcast/other/c '{"v":1,"clients":7}'"#);
    eventually("another one is there", || here.fleet.stats().machines == 2);
    let begun = Instant::now();
    assert_eq!(here.fleet.stats().clients, 8);
    // Messages that Redis still has from an old link come out of order.
    for (link, text) in [(2, "one"), (1, "old"), (2, "two"), (3, "three")] {
        redis.say(&format!("PUBLISH threadcast/other/t{link}:a {text}"));
    }
    ["one", "two", "three"].into_iter().for_each(|text| here.hears(text));
    assert_eq!(here.fleet.stats().lost.stale, 1);
    eventually("it is forgotten", || here.fleet.stats().machines == 1);
    assert!((5..12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(there.hub.set_relay(std::sync::Arc::new(Nobody)), "it has no relay any more");
    let refused = Fleet::join(&there.hub, &redis.options(), || 0).unwrap_err().to_string();
    assert!(refused.contains("one fleet"), "{refused}");
    assert!(there.hub.end_relay().is_some(), "it has kept its own");
}

struct Nobody;

impl threadcast::Relay for Nobody {
    fn forward(&self, _: &str, _: &Message) {}
}

#[test]
fn without_redis_a_machines_own_clients_get_all_and_with_it_again_the_others_get_new_messages() {
    let mut redis = Redis::start(&[]);
    let mut machines = two(&redis);
    redis.kill();
    eventually("the links are down", || machines.iter().all(|one| !one.fleet.stats().is_linked));
    machines[0].hub.publish("a", "cut off").unwrap();
    machines[0].hears("cut off");
    eventually("it is lost", || {
        let lost = machines[0].fleet.stats().lost;
        lost.unsure + lost.stale == 1
    });
    machines[0].hub.publish("a", "old").unwrap();
    machines[0].hears("old");
    eventually("it is too old", || machines[0].fleet.stats().lost.stale > 0);
    redis.again();
    linked(&machines);
    machines[0].hub.publish("a", "new").unwrap();
    machines.iter_mut().for_each(|machine| machine.hears("new"));
    eventually("each knows of the other", || machines.iter().all(|one| one.fleet.stats().machines == 2));
}

#[test]
fn a_redis_that_stands_still_holds_up_no_publish() {
    let redis = Redis::start(&[]);
    let mut machines = two(&redis);
    redis.signal(Signal::STOP);
    let mut longest = Duration::ZERO;
    for n in 0..70_000 {
        let begun = Instant::now();
        // Without subscribers: this tests the queue.
        machines[0].hub.publish("nobody", n.to_string()).unwrap();
        longest = longest.max(begun.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    let stats = machines[0].fleet.stats();
    // A slow machine takes longer than the queue keeps a message.
    assert!(stats.lost.full + stats.lost.stale > 0, "{stats:?}");
    eventually("the links are down", || machines.iter().all(|one| !one.fleet.stats().is_linked));
    machines[0].hub.publish("a", "here").unwrap();
    machines[0].hears("here");
    eventually("each message that did not get through is counted", || {
        let FleetStats { sent, lost, .. } = machines[0].fleet.stats();
        sent + lost.full + lost.stale + lost.unsure == 70_001
    });
    redis.signal(Signal::CONT);
    linked(&machines);
    machines[0].hub.publish("a", "new").unwrap();
    machines.iter_mut().for_each(|machine| machine.hears("new"));
}

#[test]
fn messages_of_another_tenant_of_redis_are_bounded_and_counted() {
    let redis = Redis::start(&[]);
    let mut machines = two(&redis);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut tenant = client.get_connection().unwrap();
    let mut tell = |machine: &str, what: &str| {
        let channel = format!("threadcast/{machine}/c");
        redis::cmd("PUBLISH").arg(channel).arg(what).exec(&mut tenant).unwrap();
    };
    tell("a", r#"{"v":1,"clients":18446744073709551615,"leaves":false}"#);
    tell("b", r#"{"v":1,"clients":18446744073709551615}"#);
    let fleet = &machines[0].fleet;
    eventually("they are there", || fleet.stats().machines == 4);
    assert_eq!(fleet.stats().clients, u64::MAX, "sums saturate");
    // Messages of a later version, invalid, large and long ones: none of them makes a machine disappear.
    let huge = format!(r#"{{"v":1,"clients":1,"leaves":true,"x":"{}"}}"#, "x".repeat(64 << 10));
    let ignored = [
        ("a", r#"{"v":1,"news":[]}"#),
        ("a", r#"{"v":2,"clients":1,"leaves":true}"#),
        ("b", "[[["),
        ("b", &huge),
        (&"c".repeat(65), r#"{"v":1,"clients":1}"#),
    ];
    ignored.iter().for_each(|(machine, what)| tell(machine, what));
    eventually("all are counted", || fleet.stats().ignored == ignored.len() as u64);
    assert_eq!(fleet.stats().machines, 4);
    // Invented machines, which hear nobody.
    let mut crowd = redis::pipe();
    for number in 0..2000 {
        let told = r#"{"v":1,"clients":1,"hears":[]}"#;
        crowd.cmd("PUBLISH").arg(format!("threadcast/{number}/c")).arg(told).ignore();
    }
    crowd.exec(&mut tenant).unwrap();
    machines[0].hub.publish("a", "still here").unwrap();
    machines.iter_mut().for_each(|machine| machine.hears("still here"));
    assert!(machines.iter().all(|one| one.fleet.stats().is_linked));
}

#[test]
fn each_new_reason_of_an_outage_is_known() {
    let redis = Redis::start(&[]);
    let [machine, _other] = two(&redis);
    assert_eq!(machine.fleet.stats().reason, None);
    redis.say("CONFIG SET requirepass secret\r\nCLIENT KILL TYPE pubsub");
    let reason = || machine.fleet.stats().reason.unwrap_or_default();
    eventually("it knows that a password is missing", || reason().contains("NOAUTH"));
    assert!(!machine.fleet.stats().is_linked);
}

#[test]
fn a_failed_join_says_why_and_shows_no_password() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let port = redis.port;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_redis = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = other.accept() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let closed = support::free_port().port();
    let administrator = redis::Client::open(format!("redis://:secret@127.0.0.1:{port}")).unwrap();
    let mut administrator = administrator.get_connection().unwrap();
    for (user, rights) in [
        ("reader", "+psubscribe &threadcast[:/]*"),
        ("writer", "+publish &threadcast[:/]*"),
        ("right", "+publish +psubscribe &threadcast[:/]*"),
    ] {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(user).arg("on").arg(">hidden").arg("resetchannels");
        command.arg(rights.split(' ').collect::<Vec<_>>()).exec(&mut administrator).unwrap();
    }
    for (url, expected) in [
        (format!("redis://:wrong@127.0.0.1:{port}"), "WRONGPASS"),
        (format!("redis://127.0.0.1:{port}"), "NOAUTH"),
        (format!("redis://reader:hidden@127.0.0.1:{port}"), "NOPERM"),
        (format!("redis://writer:hidden@127.0.0.1:{port}"), "NOPERM"),
        (format!("redis://:hidden@127.0.0.1:{closed}"), "refused"),
        (format!("redis://:hidden@127.0.0.1:{no_redis}"), "the server at this address is not Redis"),
        ("http://:hidden@127.0.0.1".to_owned(), "not a Redis URL"),
        (format!("rediss://:hidden@127.0.0.1:{port}"), "cannot join the fleet"),
        ("hidden".to_owned(), "not a Redis URL"),
    ] {
        let error = refusal(&url);
        assert!(error.contains(expected) && !error.contains("wrong@"), "{url}: {error}");
    }
    let right = FleetOptions::new(&format!("redis://right:hidden@127.0.0.1:{port}"));
    assert!(!format!("{right:?}").contains("hidden"));
    Fleet::join(&Hub::new(), &right, || 0).unwrap().leave();
    let mut named = right;
    named.channel = "a*".to_owned();
    assert!(Fleet::join(&Hub::new(), &named, || 0).unwrap_err().to_string().contains("is not a fleet name"));
}

#[test]
fn an_id_belongs_to_the_last_claim_on_any_machine() {
    let redis = Redis::start(&[]);
    let mut machines = [(); 3].map(|()| Machine::join(&redis));
    let all_know = || machines.iter().all(|one| one.fleet.stats().machines == 3);
    eventually("each knows of the others", all_know);
    for race in 0..20 {
        let id = format!("id-{race}");
        let mut clients = machines.each_ref().map(|machine| machine.open());
        std::thread::scope(|scope| {
            for (machine, (_, connection)) in machines.iter().zip(&clients) {
                scope.spawn(|| machine.fleet.claim(&id, connection).unwrap());
            }
        });
        eventually("two have lost", || clients.iter().filter(|(_, its)| its.is_closed()).count() == 2);
        // When these arrive, all earlier claims have too.
        for from in [0, 1] {
            machines[from].hub.publish("a", id.clone()).unwrap();
            machines.iter_mut().for_each(|machine| machine.hears(id.clone()));
        }
        assert_eq!(clients.iter().filter(|(_, its)| its.is_closed()).count(), 2, "race {race}");
        let survivor = clients.iter().position(|(_, its)| !its.is_closed()).unwrap();
        for (n, (client, connection)) in clients.iter_mut().enumerate() {
            if n == survivor {
                assert!(machines[n].fleet.release(&id, connection), "it has the Id");
                assert!(!machines[n].fleet.release(&id, connection), "it has released it");
            } else {
                assert_eq!(client.frame(), close_frame(4001, "replaced"));
                assert!(machines[n].fleet.claim(&id, connection).is_err(), "it is closing");
            }
        }
    }
    // On one machine too; and an ended connection has no Id.
    let [(mut first, older), (second, younger)] = [(); 2].map(|()| machines[0].open());
    machines[0].fleet.claim("one", &older).unwrap();
    machines[0].fleet.claim("one", &older).unwrap();
    machines[0].fleet.claim("one", &younger).unwrap();
    assert_eq!(first.frame(), close_frame(4001, "replaced"));
    assert!(!younger.is_closed() && !machines[0].fleet.release("one", &older));
    drop(second);
    eventually("it has ended", || younger.is_closed());
    eventually("it has no Id", || !machines[0].fleet.release("one", &younger));
}

#[test]
fn where_two_got_an_id_while_the_links_were_down_the_younger_one_keeps_it() {
    let mut redis = Redis::start(&[]);
    let machines = two(&redis);
    let (mut old_client, old) = machines[0].open();
    let (_bystander, other) = machines[0].open();
    machines[0].fleet.claim("a", &old).unwrap();
    machines[0].fleet.claim("b", &other).unwrap();
    redis.kill();
    eventually("the links are down", || machines.iter().all(|one| !one.fleet.stats().is_linked));
    // Redis stays away for longer than the age difference that decides.
    let away = Instant::now();
    eventually("time passes", || away.elapsed() > Duration::from_secs(4));
    let (_young_client, young) = machines[1].open();
    machines[1].fleet.claim("a", &young).unwrap();
    assert!(!old.is_closed(), "it cannot know");
    redis.again();
    assert_eq!(old_client.frame(), close_frame(4001, "replaced"));
    linked(&machines);
    // The younger connection's machine claims again when it hears of an older one, so only the older one loses.
    let (_late_client, late) = machines[0].open();
    machines[0].fleet.claim("b", &late).unwrap();
    eventually("it takes the other one", || other.is_closed());
    assert!(!young.is_closed() && !late.is_closed());
}

const OVER_TLS: &str = "a_fleet_meets_over_tls_if_the_certificate_is_good";

#[test]
fn a_fleet_meets_over_tls_if_the_certificate_is_good() {
    let url = "THREADCAST_TEST_REDIS";
    if support::is_run_again() {
        return over_tls(&env::var(url).unwrap());
    }
    let directory = Directory::new("fleet-tls");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    directory.write("certificate", certificate.pem());
    directory.write("key", key.serialize_pem());
    let path = |name: &str| format!("{}/{name}", directory.path());
    let tls = ["--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no"];
    let files = ["--tls-cert-file", &path("certificate"), "--tls-key-file", &path("key")];
    let redis = Redis::start(&[&tls[..], &files].concat());
    let unknown = refusal(&format!("rediss://:hidden@localhost:{}", redis.port));
    assert!(unknown.contains("peer certificate") && unknown.contains("SSL_CERT_FILE"), "{unknown}");
    // The certificate authorities belong to the process.
    let mut again = Command::new(env::current_exe().unwrap());
    again.env("SSL_CERT_FILE", path("certificate")).env_remove("SSL_CERT_DIR");
    support::run_again(OVER_TLS, again.env(url, format!("rediss://localhost:{}", redis.port)));
}

fn over_tls(url: &str) {
    let other_name = refusal(&url.replace("localhost", "127.0.0.1"));
    assert!(other_name.contains("not valid for"), "{other_name}");
    let options = FleetOptions::new(url);
    let mut machines = [Machine::join_with(&options), Machine::join_with(&options)];
    // Before the second one, a read has timed out.
    for text in ["one", "two"] {
        let begun = Instant::now();
        eventually("time passes", || begun.elapsed() > Duration::from_millis(1200));
        machines[0].hub.publish("a", text).unwrap();
        machines.iter_mut().for_each(|machine| machine.hears(text));
    }
    assert!(machines.iter().all(|one| one.fleet.stats().is_linked));
}

/// The error of a failed join with this URL.
fn refusal(url: &str) -> String {
    let refused = Fleet::join(&Hub::new(), &FleetOptions::new(url), || 0).unwrap_err().to_string();
    assert!(!refused.contains("hidden") && refused.lines().count() == 1, "{refused}");
    refused
}
