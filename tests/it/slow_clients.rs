//! Clients that do not read, read slowly, or leave silently: other clients notice nothing, memory stays bounded, and no
//! thread or socket leaks.

use crate::support;

use std::net::Shutdown;
use std::time::{Duration, Instant};

use support::{DEADLINE, Probed, Program, Raw, eventually, frame, masked, server_threads, sockets, threads};
use threadcast::{Application, Capacity, Connection, Error, Message};

/// Pushes so much that the kernel, whose buffers grow to tens of megabytes, cannot take it, and a pump has to wait.
fn fill(connection: &Connection) {
    let message = Message::from(vec![0; 1 << 20]);
    eventually("a full socket", || {
        connection.write_message(message.clone()).expect("below the limit");
        connection.backlog() > 48 << 20
    });
}

/// Which of these clients have a pump. Other tests have theirs in the same process.
fn with_a_pump(stalled: &[(Raw, Connection)]) -> Vec<bool> {
    let names = server_threads();
    stalled.iter().map(|(_, connection)| names.contains(&format!("pump-{}", connection.id()))).collect()
}

fn pumps(stalled: &[(Raw, Connection)]) -> usize {
    with_a_pump(stalled).iter().filter(|has| **has).count()
}

/// A process's resident memory, in bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_full_socket_gets_a_pump_which_ends_with_the_backlog() {
    let probed = Probed::start_with(|application| application.max_backlog(64 << 20), |_, _| Ok(()));
    let (mut client, connection) = probed.open();
    fill(&connection);
    let name = format!("pump-{}", connection.id());
    // A thread has its name a moment after its start.
    eventually("it has a pump", || server_threads().contains(&name));
    connection.write_message("last").unwrap();
    while client.frame() != frame(0x81, "last") {}
    eventually("the pump has ended", || !server_threads().contains(&name));
    assert_eq!(connection.backlog(), 0);
    connection.write_message("and inline again").unwrap();
    assert_eq!(client.frame(), frame(0x81, "and inline again"));
    assert!(!server_threads().contains(&name));
}

/// Pushes more than the kernel buffers for a client that does not read.
fn stall(connection: &Connection) {
    let message = Message::from(vec![0; 1 << 20]);
    eventually("a full socket", || {
        connection.write_message(message.clone()).expect("below the limit");
        connection.backlog() > 12 << 20
    });
}

/// Pumps have their own budget, because too many threads can abort the process.
#[test]
fn a_full_socket_without_a_pump_waits_for_one_and_keeps_nobody_out() {
    let capacity = Capacity::new(20);
    let settings = |application: Application| application.max_backlog(64 << 20).write_deadline(DEADLINE);
    let probed = Probed::start_within(capacity, settings, |_, _| Ok(()));
    let mut stalled: Vec<_> = (0..9).map(|_| probed.open()).collect();
    stalled.iter().for_each(|(_, connection)| stall(connection));
    // While threads start and end, a look at all of them may miss one.
    eventually("all allowed pumps are at work", || pumps(&stalled) == 8);
    let without = with_a_pump(&stalled).iter().position(|has| !has).expect("nine, and eight pumps");
    // All places are still free for clients, and each gets its pushes.
    let mut inside: Vec<_> = (9..20).map(|_| probed.open()).collect();
    for (client, connection) in &mut inside {
        connection.write_message("undisturbed").unwrap();
        assert_eq!(client.frame(), frame(0x81, "undisturbed"));
    }
    let (mut waiting, connection) = stalled.remove(without);
    connection.write_message("last").unwrap();
    drop(stalled.pop());
    while waiting.frame() != frame(0x81, "last") {}
    assert_eq!(probed.server.stats().slow_consumers, 0);
}

/// The waiting client does not read either, so its accepted frames stay unsent.
#[test]
fn a_client_that_leaves_while_its_socket_waits_for_a_pump_is_gone_at_once() {
    let capacity = Capacity::new(20);
    let settings = |application: Application| application.max_backlog(64 << 20).write_deadline(DEADLINE);
    let probed = Probed::start_within(capacity, settings, |_, _| Ok(()));
    let mut stalled: Vec<_> = (0..9).map(|_| probed.open()).collect();
    stalled.iter().for_each(|(_, connection)| stall(connection));
    eventually("all allowed pumps are at work", || pumps(&stalled) == 8);
    let without = with_a_pump(&stalled).iter().position(|has| !has).expect("nine, and eight pumps");
    drop(stalled.remove(without));
    eventually("it is gone", || probed.server.stats().clients == 8);
    assert_eq!(pumps(&stalled), 8);
    assert_eq!(probed.server.stats().slow_consumers, 0);
}

#[test]
fn a_client_that_never_reads_is_disconnected_at_its_limit_and_counted() {
    let probed = Probed::start();
    let (_client, connection) = probed.open();
    let (mut other, other_connection) = probed.open();
    let message = vec![0; 64 * 1024];
    let mut accepted = 0;
    let error = loop {
        match connection.write_message(message.clone()) {
            Ok(()) => accepted += message.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::SlowConsumer { backlog } if backlog >= 1 << 20), "{error}");
    assert!(accepted < 64 << 20, "{accepted}");
    assert!(matches!(connection.write_message("late"), Err(Error::Closed)));
    probed.expect_close(None, None);
    assert_eq!(probed.server.stats().slow_consumers, 1);
    other_connection.write_message("undisturbed").unwrap();
    assert_eq!(other.frame(), frame(0x81, "undisturbed"));
}

#[test]
fn a_backlog_that_stands_still_has_a_deadline() {
    // Long enough to fill the socket, which must not stand still before that.
    let deadline = Duration::from_secs(5);
    let settings = move |application: Application| application.max_backlog(64 << 20).write_deadline(deadline);
    let probed = Probed::start_with(settings, |_, _| Ok(()));
    let (_client, connection) = probed.open();
    fill(&connection);
    let begun = Instant::now();
    probed.expect_close(None, None);
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    // The pump disconnects it first.
    eventually("it is counted", || probed.server.stats().slow_consumers == 1);
}

#[test]
fn a_ping_flood_from_a_client_that_does_not_read_ends_in_back_pressure_and_not_in_memory() {
    let program = Program::start(&["--interval", "50ms", "--logging", "warning", "--ping-interval", "off"]);
    let mut witness = Raw::websocket(program.addr(), "/websocket?Id=witness");
    witness.frame();
    let before = resident(program.pid());
    // Narrow, or the flooder's own kernel buffers megabytes of pongs before its socket is full.
    let flooder = Raw::narrow(program.addr(), 256 << 10).upgraded("/websocket?Id=flooder");
    let mut writer = flooder.stream.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let pings = masked(0x89, &[0; 125]).repeat(1000);
        let mut sent = 0;
        while std::io::Write::write_all(&mut writer, &pings).is_ok() {
            sent += pings.len();
        }
        sent
    });
    // The flood runs until the server stops reading, and then until the write deadline ends it.
    let (mut peak, begun) = (0, Instant::now());
    while !flood.is_finished() {
        // Each byte that the kernel takes begins the write deadline again.
        assert!(begun.elapsed() < 3 * DEADLINE, "the flood has not ended");
        witness.frame();
        peak = peak.max(resident(program.pid()));
    }
    assert!(flood.join().unwrap() > 1 << 20);
    program.wait_for_line("is a slow consumer: disconnected");
    assert!(peak - before < 16 << 20, "{} bytes more", peak - before);
    (0..3).for_each(|_| drop(witness.frame()));
}

#[test]
fn an_echo_to_a_client_that_does_not_read_stops_reading_and_loses_nothing() {
    let probed = Probed::start_with(
        |application| application.max_backlog(256 << 10).write_deadline(DEADLINE),
        |connection, message| connection.write_message(message),
    );
    let (mut client, connection) = probed.open();
    let mut writer = client.stream.try_clone().unwrap();
    let messages = 400;
    let sender = std::thread::spawn(move || {
        for n in 0..messages {
            std::io::Write::write_all(&mut writer, &masked(0x82, &vec![n as u8; 64 * 1024])).unwrap();
        }
    });
    eventually("the server stops reading", || connection.backlog() > 128 << 10);
    for n in 0..messages {
        assert!(client.frame() == frame(0x82, vec![n as u8; 64 * 1024]), "{n}");
    }
    sender.join().unwrap();
}

#[test]
fn a_half_closed_peer_with_a_full_socket_leaves_no_thread_and_no_socket() {
    let program = Program::start(&["--lab", "--logging", "none", "--max-backlog", "64MiB"]);
    let (threads_before, sockets_before) = (threads(program.pid()).len(), sockets(program.pid()));
    for _ in 0..2 {
        // Narrow, or the client's kernel keeps taking in a little, and restarts the write deadline each time.
        let client = Raw::narrow(program.addr(), 256 << 10).upgraded("/echo?Id=A");
        let mut writer = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            // As much as fits; the server stops reading when its answers do not get out.
            writer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let message = masked(0x82, &vec![0; 1 << 20]);
            while std::io::Write::write_all(&mut writer, &message).is_ok() {}
        });
        sender.join().unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        eventually("its threads and its socket are gone", || {
            threads(program.pid()).len() == threads_before && sockets(program.pid()) == sockets_before
        });
        drop(client);
    }
}

#[test]
fn an_idle_client_does_not_keep_the_buffer_of_its_largest_message() {
    // By default, glibc keeps freed memory for the next caller, and learns to keep more.
    let command = &mut Program::command();
    command.env("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072");
    let program =
        Program::spawn(command.args(["--lab", "--port", "0", "--interval", "1h", "--logging", "none"]));
    let mut clients: Vec<_> =
        (0..8).map(|n| Raw::websocket(program.addr(), &format!("/echo?Id={n}"))).collect();
    let before = resident(program.pid());
    let size = 8 << 20;
    for client in &mut clients {
        let mut writer = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            std::io::Write::write_all(&mut writer, &masked(0x82, &vec![1; 8 << 20])).unwrap()
        });
        assert_eq!(client.frame().payload.len(), size);
        sender.join().unwrap();
    }
    eventually("the buffers are given back", || resident(program.pid()) < before + size);
}

#[test]
fn resets_in_the_middle_of_a_round_disturb_nobody() {
    let program = Program::start(&["--interval", "20ms", "--logging", "none"]);
    let mut witness = Raw::websocket(program.addr(), "/websocket?Id=witness");
    let doomed: Vec<_> =
        (0..250).map(|n| Raw::websocket(program.addr(), &format!("/websocket?Id=c{n}"))).collect();
    for client in doomed {
        client.reset();
    }
    (0..20).for_each(|_| assert_eq!(witness.frame().first, 0x81));
    eventually("they are gone", || {
        threads(program.pid()).iter().filter(|name| name.starts_with("client-")).count() == 1
    });
}
