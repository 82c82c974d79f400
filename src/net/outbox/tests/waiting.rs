//! Threads that wait for the backlog to shrink.

use std::time::{Duration, Instant};

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
fn the_reader_and_a_producer_take_turns() {
    const ROUNDS: usize = 40;
    // Two of them are over half of the limit, and one is over a quarter.
    let text = "x".repeat(300 - OVERHEAD as usize);
    // The pump writes one frame for each permit, and all of them once the sender of permits is gone.
    let (permits, gate) = crossbeam_channel::unbounded::<()>();
    let wait = || {
        let gate = gate.clone();
        Step::Call(Box::new(move || {
            let _ = gate.recv();
        }))
    };
    let now = Mutex::new(std::iter::repeat_with(|| Step::Full).take(4 * ROUNDS).collect());
    let blocking = Mutex::new(std::iter::repeat_with(wait).take(4 * ROUNDS).collect());
    let outbox = outbox(Fake { now, blocking, ..Fake::default() }, LIMIT);
    outbox.push(frame(&text)).unwrap();
    outbox.push(frame(&text)).unwrap();
    let went = Mutex::new(String::new());
    thread::scope(|scope| {
        let turn = |who, waits: fn(&Outbox<Fake>) -> bool| {
            let (outbox, went, text) = (&outbox, &went, &text);
            scope.spawn(move || {
                while waits(outbox) && went.lock().unwrap().len() < ROUNDS {
                    went.lock().unwrap().push(who);
                    outbox.push(frame(text)).unwrap();
                }
            });
        };
        turn('r', Outbox::wait_to_read);
        turn('p', |outbox| outbox.wait_for_room(Instant::now() + Duration::from_secs(60)));
        let deadline = Instant::now() + Duration::from_secs(60);
        let until = |ready: &dyn Fn() -> bool| {
            while !ready() {
                assert!(Instant::now() < deadline, "{}", went.lock().unwrap());
                thread::yield_now();
            }
        };
        let turns = || went.lock().unwrap().len();
        // Under the lock: between two looks, one of them may leave and push.
        let both_wait = || {
            let sleepers = outbox.sleepers.lock().unwrap();
            sleepers.count == 2 && !outbox.has_room()
        };
        while turns() < ROUNDS {
            until(&|| both_wait() || turns() >= ROUNDS);
            let before = (outbox.state().frames(), turns());
            permits.send(()).unwrap();
            until(&|| outbox.state().frames() < before.0 || turns() > before.1 || turns() >= ROUNDS);
        }
        drop(permits);
    });
    let went = went.into_inner().unwrap();
    // Two in quick succession may be noted in reverse order.
    let read = went.chars().filter(|who| *who == 'r').count();
    assert!(read.abs_diff(went.len() - read) <= 3, "{went}");
}

#[test]
fn producers_that_wait_do_not_keep_the_reader_from_reading() {
    let (outbox, open) = behind_a_gate();
    outbox.push(frame(&"x".repeat(300))).unwrap();
    assert!(!outbox.wait_for_room(Instant::now()));
    let producer = thread::spawn({
        let outbox = outbox.clone();
        move || outbox.wait_for_room(Instant::now() + Duration::from_secs(60))
    });
    while outbox.sleepers.lock().unwrap().count == 0 {
        thread::yield_now();
    }
    for _ in 0..3 {
        assert!(outbox.wait_to_read());
    }
    drop(open);
    assert!(producer.join().unwrap());
}

#[test]
fn waiting_ends_at_its_deadline() {
    let (outbox, open) = behind_a_gate();
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

#[test]
fn before_the_101_a_producer_waits_for_it() {
    let outbox = Arc::new(Outbox::new(Fake::default(), LIMIT));
    assert!(!outbox.wait_for_room(Instant::now()));
    let producer = thread::spawn({
        let outbox = outbox.clone();
        move || outbox.wait_for_room(Instant::now() + Duration::from_secs(60))
    });
    while outbox.sleepers.lock().unwrap().count == 0 {
        thread::yield_now();
    }
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    assert!(producer.join().unwrap());
}
