//! Which message gets a state, and which one waits.

use std::thread;

use super::*;
use crate::ws::inflate::states::{LARGE, POOL, STATES, STATES_OF_LARGE, STATES_OF_PARTS};

#[test]
fn half_messages_leave_a_state_for_those_that_are_whole() {
    let _alone = alone();
    let counts = || {
        let pool = POOL.lock().unwrap();
        (pool.parts, pool.whole, pool.free.len())
    };
    let message: Vec<u8> = (0..100_000_u64).map(|at| (at * at / 7 % 251) as u8).collect();
    let data = stored(&message);
    let wire = frame(TEXT | RSV1 | FIN, &data);
    let half = wire.len() / 2;
    let mut crowd: Vec<_> = (0..100).map(|_| Inflater::new(MAX, true)).collect();
    for inflater in &mut crowd {
        let first = read(inflater, &wire[..1000], 100).unwrap();
        assert!(first.is_empty() && inflater.message.as_ref().unwrap().state.is_none());
    }
    assert_eq!(counts().0, 0);
    let firsts: Vec<_> = crowd.iter_mut().map(|one| read(one, &wire[1000..half], 1000).unwrap()).collect();
    assert_eq!(counts().0, STATES_OF_PARTS);
    assert_eq!(firsts.iter().filter(|first| !first.is_empty()).count(), STATES_OF_PARTS);
    // Messages without a state keep their input.
    assert!(crowd.last().unwrap().waiting() > PART as u64);
    let whole = read(&mut Inflater::new(MAX, true), &wire, 1000).unwrap();
    assert!(messages(&whole) == [(TEXT, message.clone())]);
    for (inflater, mut first) in crowd.iter_mut().zip(firsts) {
        first.extend(read(inflater, &wire[half..], 1000).unwrap());
        assert!(messages(&first) == [(TEXT, message.clone())]);
    }
    drop(crowd);
    let (parts, whole, free) = counts();
    assert_eq!((parts, whole), (0, 0));
    assert_eq!(free, STATES);
}

#[test]
fn a_message_waits_for_a_state_and_is_read_when_there_is_one() {
    let _alone = alone();
    let all: Vec<_> = (0..STATES).map(|_| Lent::wait(LARGE)).collect();
    assert!(Lent::for_a_part().is_none());
    let reader = thread::spawn(|| {
        read(&mut Inflater::new(MAX, true), &frame(TEXT | RSV1 | FIN, &deflated(b"x")), 100).unwrap()
    });
    drop(all);
    assert_eq!(messages(&reader.join().unwrap()), [(TEXT, b"x".to_vec())]);
    assert_eq!(POOL.lock().unwrap().free.len(), STATES);
}

#[test]
fn a_small_message_does_not_wait_for_large_ones_and_those_wait_for_each_other() {
    let _alone = alone();
    let large: Vec<_> = (0..STATES_OF_LARGE).map(|_| Lent::wait(LARGE + 1)).collect();
    let parts: Vec<_> = std::iter::from_fn(Lent::for_a_part).collect();
    assert_eq!(parts.len(), STATES_OF_PARTS);
    let next = thread::spawn(|| drop(Lent::wait(LARGE + 1)));
    while !POOL.lock().unwrap().is_waited_for_by_large() {
        thread::yield_now();
    }
    let small = STATES - STATES_OF_LARGE - STATES_OF_PARTS;
    let taken: Vec<_> = (0..small).map(|_| Lent::wait(LARGE)).collect();
    assert!(!next.is_finished() && POOL.lock().unwrap().is_waited_for_by_large());
    drop((taken, parts));
    assert!(!next.is_finished(), "what others give back is not for a large one");
    drop(large);
    next.join().unwrap();
    assert_eq!(POOL.lock().unwrap().free.len(), STATES);
}

#[test]
fn a_message_of_half_a_million_empty_last_blocks_is_read() {
    let _alone = alone();
    for (blocks, text) in [(1, ""), (500_000, ""), (500_000, "x")] {
        let mut data = [3, 0].repeat(blocks);
        data.extend(deflated(text.as_bytes()));
        let read = read(&mut Inflater::new(MAX, true), &frame(TEXT | RSV1 | FIN, &data), 10_000).unwrap();
        assert_eq!(messages(&read), [(TEXT, text.as_bytes().to_vec())], "{blocks}");
    }
}
