//! Who waits for the backlog to shrink.

use super::*;

#[test]
fn the_reader_waits_for_half_of_the_backlog_to_be_free() {
    let (outbox, open) = behind_a_gate();
    assert!(outbox.wait_to_read(), "an empty backlog has room");
    let text = "x".repeat(100 - OVERHEAD as usize);
    for _ in 0..LIMIT / 100 - 1 {
        outbox.push(frame(&text)).unwrap();
    }
    let reader = thread::spawn({
        let outbox = outbox.clone();
        move || (outbox.wait_to_read(), outbox.state().bytes())
    });
    drop(open);
    let (alive, bytes) = reader.join().unwrap();
    assert!(alive && bytes <= LIMIT / 2, "{bytes}");
}

#[test]
fn producers_wait_longer_than_the_reader() {
    let (outbox, open) = behind_a_gate();
    outbox.push(frame("a")).unwrap();
    outbox.push(frame(&"x".repeat(LIMIT as usize / 3))).unwrap();
    assert!(outbox.has_room() && outbox.wait_to_read());
    assert!(!outbox.wait_for_room(Instant::now()));
    drop(open);
}

#[test]
fn waiting_ends_at_its_deadline() {
    let (outbox, open) = behind_a_gate();
    outbox.push(frame("a")).unwrap();
    let text = "x".repeat(900);
    outbox.push(frame(&text)).unwrap();
    assert!(!outbox.wait_for_room(Instant::now()));
    assert_eq!(outbox.state().frames(), 2);
    drop(open);
}

#[test]
fn any_number_of_producers_wait_for_room_and_a_close_wakes_them() {
    for close in [false, true] {
        let (outbox, open) = behind_a_gate();
        outbox.push(frame(&"x".repeat(900))).unwrap();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let outbox = outbox.clone();
                thread::spawn(move || outbox.wait_for_room(Instant::now() + Duration::from_secs(60)))
            })
            .collect();
        if close {
            outbox.push(frame("CLOSE")).unwrap();
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
            drop(open);
        } else {
            drop(open);
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
            assert_eq!(outbox.state().frames(), 0);
        }
    }
}
