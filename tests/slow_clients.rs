//! The cost of slow clients in memory and threads: a flood, hundreds at once, a shutdown among full sockets.
//! `tests/it/slow_clients.rs` has what a single slow client does.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use support::{DEADLINE, Event, Probed, Program, Raw, close_frame, eventually, masked, server_threads};
use threadcast::{Application, Connection, Message, broadcast};

/// One test after the other: they look at all threads of this process, at memory, and load the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pushes so much that the kernel, whose buffers grow to tens of megabytes, cannot take it, and a pump has to wait.
fn fill(connection: &Connection) {
    let message = Message::from(vec![0; 1 << 20]);
    eventually("a full socket", || {
        connection.write_message(message.clone()).expect("below the limit");
        connection.backlog() > 48 << 20
    });
}

/// A process's resident memory, in bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_ping_flood_from_a_client_that_does_not_read_ends_in_back_pressure_and_not_in_memory() {
    let _alone = alone();
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
fn an_idle_client_does_not_keep_the_buffer_of_its_largest_message() {
    let _alone = alone();
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

/// 500 clients that read at random speeds, 8 threads that write to each of them at once, messages of 0 to 300 KiB:
/// frames are whole, each sender's are in order, and only disconnected clients lose any.
#[test]
fn a_chat_under_load_keeps_frames_whole_and_each_senders_in_order() {
    let _alone = alone();
    const CLIENTS: usize = 500;
    const SENDERS: usize = 8;
    const ROUNDS: usize = 5;
    let settings = |application: Application| {
        application.max_backlog(2 << 20).write_deadline(DEADLINE).ping_interval(None)
    };
    let probed = Probed::start_with(settings, |_, _| Ok(()));
    let (clients, connections): (Vec<_>, Vec<_>) = (0..CLIENTS).map(|_| probed.open()).unzip();
    let connections = Arc::new(connections);
    let start = Arc::new(Barrier::new(SENDERS));
    let received: Arc<Vec<_>> = Arc::new((0..CLIENTS).map(|_| AtomicUsize::new(0)).collect());
    let expected: Arc<Vec<_>> = Arc::new((0..SENDERS).map(|sender| vec![sender as u8; 300 << 10]).collect());
    let readers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, mut client)| {
            let (expected, received) = (expected.clone(), received.clone());
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(move || {
                    let mut next = [0; SENDERS];
                    loop {
                        // Some yield first, and are slow because of it.
                        (0..n % 3 * 10).for_each(|_| std::thread::yield_now());
                        let Some(message) = client.frame_or_end() else { return (next, false) };
                        if message.first == 0x88 {
                            return (next, true);
                        }
                        let (sender, round) =
                            (usize::from(message.payload[0]), usize::from(message.payload[1]));
                        assert_eq!(round, next[sender], "of sender {sender}");
                        assert!(message.payload[2..] == expected[sender][..message.payload.len() - 2]);
                        next[sender] += 1;
                        received[n].fetch_add(1, Ordering::Relaxed);
                    }
                })
                .unwrap()
        })
        .collect();
    let refused = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (connections, start, refused) = (connections.clone(), start.clone(), refused.clone());
            std::thread::spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    let length = [0, 10, 1000, 20_000, 300 << 10][(sender + round) % 5];
                    let mut message = vec![sender as u8; length + 2];
                    message[1] = round as u8;
                    let accepted = broadcast(connections.iter(), message).unwrap();
                    refused.fetch_add(CLIENTS - accepted, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    // After the Close a client has five seconds, and reading the rest may take longer.
    eventually("each one has got everything, or is disconnected", || {
        let got = |n: usize| received[n].load(Ordering::Relaxed) == SENDERS * ROUNDS;
        connections.iter().enumerate().all(|(n, connection)| got(n) || connection.is_closed())
    });
    for connection in connections.iter() {
        let _ = connection.close(Some(1000), None);
    }
    let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    let complete = ends.iter().filter(|(next, closed)| *closed && *next == [ROUNDS; SENDERS]).count();
    let disconnected = probed.server.stats().slow_consumers as usize;
    assert_eq!(complete + disconnected, CLIENTS, "each one got everything, or was disconnected and counted");
    assert_eq!(disconnected == 0, refused.load(Ordering::Relaxed) == 0);
    assert!(complete > 0);
    eventually("no pump is left", || server_threads().iter().all(|name| !name.starts_with("pump-")));
}

#[test]
fn shutdown_joins_every_thread_even_of_clients_that_do_not_read() {
    let _alone = alone();
    let probed = Probed::start_with(|application| application.max_backlog(64 << 20), |_, _| Ok(()));
    let stuck: Vec<_> = (0..3).map(|_| probed.open()).collect();
    stuck.iter().for_each(|(_, connection)| fill(connection));
    let (mut client, _) = probed.open();
    let answer = std::thread::spawn(move || {
        assert_eq!(client.frame(), close_frame(1001, "server shutting down"));
        client.send_frame(0x88, 1001u16.to_be_bytes());
        client.rest()
    });
    probed.server.shutdown();
    assert_eq!(answer.join().unwrap(), b"");
    assert_eq!(probed.server.stats().clients, 0);
    // The kernel takes a moment to forget a thread that has been joined.
    eventually("every thread is gone", || server_threads().is_empty());
    assert_eq!(probed.events.try_iter().filter(|event| matches!(event, Event::Close(..))).count(), 4);
}
