//! Threads that wait for the backlog to shrink.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_thread_that_waits_for_the_end_is_woken() {
    model(|| {
        let outbox = begun(ModelSocket::with_room(1));
        assert!(push(&outbox, "a"));
        outbox.wait_until_written();
        assert_eq!(written(&outbox), "|a");
    });
}

#[test]
fn a_death_wakes_waiting_threads() {
    model(|| {
        let outbox = Arc::new(Outbox::new(ModelSocket::with_room(9), 1000));
        let killer = outbox.clone();
        let killer = thread::spawn(move || killer.kill(DisconnectReason::Done));
        outbox.wait_until_written();
        killer.join().unwrap();
        assert!(outbox.state().is_dead());
    });
}

#[test]
fn producers_that_wait_for_room_are_all_woken() {
    model_with(2, || {
        // The pump writes the response, and more than half of the limit waits behind it.
        let outbox = begun(ModelSocket::with_room(0));
        assert!(outbox.push(Frame { bytes: Bytes::from_static(&[b'a'; 600]), is_close: false }).is_ok());
        let wait =
            |outbox: &Outbox<ModelSocket>| outbox.wait_for_room(Instant::now() + Duration::from_secs(3600));
        let other = outbox.clone();
        let other = thread::spawn(move || wait(&other));
        assert!(wait(&outbox) && other.join().unwrap());
        assert_eq!(written(&outbox), "|a");
    });
}

#[test]
fn the_reader_and_a_producer_both_get_their_turn() {
    model_with(2, || {
        let outbox = begun(ModelSocket::with_room(0));
        assert!(outbox.push(Frame { bytes: Bytes::from_static(&[b'a'; 600]), is_close: false }).is_ok());
        let other = outbox.clone();
        let other = thread::spawn(move || other.wait_to_read());
        assert!(outbox.wait_for_room(Instant::now() + Duration::from_secs(3600)) && other.join().unwrap());
        assert_eq!(written(&outbox), "|a");
    });
}
