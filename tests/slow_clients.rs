//! Hundreds of slow clients at once, and a shutdown among full sockets: no thread is left. `tests/it/slow_clients.rs` has
//! what a single slow client does.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

use support::{DEADLINE, Event, Probed, close_frame, eventually, server_threads};
use threadcast::{Application, Connection, Message, broadcast};

/// One test after the other: they look at all threads of this process, and load the machine.
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
