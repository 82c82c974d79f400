//! Clients that send more than their rate: slowed, or closed, and counted.

use crate::support;

use std::time::{Duration, Instant};

use support::{Probed, Program, Raw, close_frame, eventually, masked};
use threadcast::{Application, OverLimit, Rate};

fn limited(settings: impl FnOnce(Application) -> Application) -> Probed {
    Probed::start_with(settings, |_, _| Ok(()))
}

/// Messages of one byte, numbered, in one piece.
fn messages(count: u8) -> Vec<u8> {
    (0..count).flat_map(|n| masked(0x82, &[n])).collect()
}

#[test]
fn a_client_that_sends_too_many_messages_is_slowed_and_loses_none() {
    let probed = limited(|application| application.max_messages(Rate::per_second(20)));
    let (mut client, connection) = probed.open();
    let begun = Instant::now();
    client.send(messages(25));
    (0..25).for_each(|n| probed.expect_message(vec![n]));
    assert!(begun.elapsed() >= Duration::from_millis(240), "{:?}", begun.elapsed());
    assert!(probed.server.stats().limited.messages >= 1);
    assert!(!connection.is_closed());
}

#[test]
fn a_client_that_sends_too_many_bytes_is_slowed_and_loses_none() {
    let probed = limited(|application| application.max_bytes(Rate::per_second(100_000)));
    let (mut client, _) = probed.open();
    let begun = Instant::now();
    client.send_frame(0x82, vec![7; 120_000]);
    probed.expect_message(vec![7; 120_000]);
    assert!(begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());
    assert!(probed.server.stats().limited.bytes >= 1);
}

#[test]
fn where_it_is_to_be_closed_it_gets_1008_and_the_message_too_many_is_not_delivered() {
    let rate = Rate::per_hour(1);
    let close = |application: Application| application.over_limit(OverLimit::Close);
    let probed = limited(|application| close(application).max_messages(rate));
    let (mut client, _) = probed.open();
    client.send(messages(2));
    probed.expect_message(vec![0]);
    assert_eq!(client.frame(), close_frame(1008, "rate limit exceeded"));
    probed.expect_close(None, None);
    eventually("it is counted", || {
        let stats = probed.server.stats();
        (stats.limited.messages, stats.limited.bytes, stats.disconnects.too_fast) == (1, 0, 1)
    });

    let probed = limited(|application| close(application).max_bytes(Rate::per_second(100)));
    let (mut client, _) = probed.open();
    client.send_frame(0x82, [7; 101]);
    assert_eq!(client.frame(), close_frame(1008, "rate limit exceeded"));
    probed.expect_close(None, None);
    assert_eq!(probed.server.stats().limited.bytes, 1);
}

#[test]
fn pings_count_as_messages() {
    let settings =
        |application: Application| application.max_messages(Rate::per_hour(1)).over_limit(OverLimit::Close);
    let probed = limited(settings);
    let (mut client, _) = probed.open();
    client.send([masked(0x89, b"1"), masked(0x89, b"2")].concat());
    while client.frame() != close_frame(1008, "rate limit exceeded") {}
}

/// It would sleep for an hour.
fn asleep() -> (Probed, Raw) {
    let probed = limited(|application| application.max_messages(Rate::per_hour(1)));
    let (mut client, _) = probed.open();
    client.send(messages(2));
    probed.expect_message(vec![0]);
    eventually("the second message is too early", || probed.server.stats().limited.messages == 1);
    (probed, client)
}

#[test]
fn a_slowed_client_that_is_reset_is_gone_at_once() {
    let (probed, client) = asleep();
    client.reset();
    eventually("it is gone", || probed.server.stats().clients == 0);
}

#[test]
fn a_shutdown_ends_the_sleep_of_a_slowed_client() {
    let (probed, mut client) = asleep();
    client.send(masked(0x88, &1001_u16.to_be_bytes()));
    probed.server.shutdown();
    assert_eq!(probed.server.stats().clients, 0);
    probed.expect_message(vec![1]);
}

#[test]
fn a_close_ends_the_sleep_of_a_slowed_client() {
    let probed = limited(|application| application.max_messages(Rate::per_hour(1)));
    let (mut client, connection) = probed.open();
    client.send(messages(2));
    probed.expect_message(vec![0]);
    connection.close(Some(1000), None).unwrap();
    client.send(masked(0x88, &1000_u16.to_be_bytes()));
    probed.expect_message(vec![1]);
    probed.expect_close(Some(1000), None);
}

#[test]
fn a_slowed_client_does_not_time_out() {
    let time = Duration::from_millis(50);
    let probed = limited(|application| {
        application.max_messages(Rate::per_second(10)).ping_interval(Some(time)).ping_timeout(time)
    });
    let (mut client, _) = probed.open();
    client.send(messages(15));
    (0..15).for_each(|n| probed.expect_message(vec![n]));
}

#[test]
fn the_program_takes_rates_and_counts_in_stats_and_says_so_once() {
    let program =
        Program::start(&["--max-messages", "1/h", "--over-limit", "close", "--max-bytes", "1MiB/s"]);
    for n in 1..=2 {
        let mut client = Raw::websocket(program.addr(), &format!("/websocket?Id={n}"));
        client.send(messages(2));
        while client.frame() != close_frame(1008, "rate limit exceeded") {}
    }
    let (_, body) = support::fetch(program.addr(), support::get("/stats", ""));
    let stats: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(stats["limited"], serde_json::json!({ "messages": 2, "bytes": 0 }));
    // The log is written on a thread.
    program.wait_for_line("clients send too many messages");
    let lines = program.lines();
    let said: Vec<_> = lines.iter().filter(|line| line.contains("clients send too many messages")).collect();
    assert!(said.len() == 1 && said[0].contains(": the limit is 1/h (1 so far)"), "{lines:#?}");
}

#[test]
fn an_invalid_rate_is_one_line_that_says_what_to_write() {
    for (option, rate, says) in [
        ("--max-messages", "0/s", "allows nothing: a rate is at least 1, such as 1/h"),
        ("--max-messages", "20", "is not a rate: expected a number and /s, /m or /h, such as 20/s"),
        ("--max-messages", "1MiB/s", "is not a rate: expected a number and /s, /m or /h, such as 20/s"),
        ("--max-bytes", "0/s", "expected a size from 1B to 1GiB"),
        ("--max-bytes", "1MiB", "expected a size and /s, /m or /h, such as 64KiB/s or 1MiB/s"),
        ("--max-bytes", "1MB/s", "such as 64KiB"),
        ("--over-limit", "stop", "slow"),
    ] {
        let (code, lines) = Program::spawn(Program::command().args([option, rate])).run_to_its_end();
        assert_eq!((code, lines.len()), (Some(2), 1), "{lines:?}");
        assert!(lines[0].contains(option) && lines[0].contains(says), "{lines:?}");
    }
}
