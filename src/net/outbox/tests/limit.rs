//! Which bytes the limit counts.

use super::*;

#[test]
fn behind_a_frame_above_the_limit_there_is_room_up_to_the_limit() {
    for delivery in [Delivery::Inline, Delivery::Handoff] {
        let (open, gate) = crossbeam_channel::bounded::<()>(0);
        let mut blocking = vec![Step::Call(Box::new(move || assert!(gate.recv().is_err())))];
        if delivery == Delivery::Handoff {
            blocking.insert(0, Step::Take(usize::MAX));
        }
        let (now, blocking) = (Mutex::new(vec![Step::Full].into()), Mutex::new(blocking.into()));
        let outbox = outbox(Fake { now, blocking, delivery, ..Fake::default() }, LIMIT);
        outbox.wait_until_written();
        for size in [8 * LIMIT, LIMIT / 2, LIMIT / 2] {
            outbox.push(frame(&"x".repeat(size as usize - OVERHEAD as usize))).unwrap();
        }
        assert_eq!(outbox.push(frame("y")), Err(PushError::Full(9 * LIMIT)), "{delivery:?}");
        drop(open);
        written(&outbox);
    }
}

#[test]
fn before_the_101_the_limit_counts_nothing_and_all_of_it_is_written() {
    for delivery in [Delivery::Inline, Delivery::Handoff] {
        let outbox = Arc::new(Outbox::new(Fake { delivery, ..Fake::default() }, LIMIT));
        let text = "x".repeat(2 * LIMIT as usize);
        for text in [&text, "and", " a word"] {
            outbox.push(frame(text)).unwrap();
        }
        assert_eq!(outbox.bytes(), 2 * LIMIT + 10 + 3 * OVERHEAD);
        outbox.begin(Bytes::from_static(b"101|")).unwrap();
        outbox.push(frame("CLOSE")).unwrap();
        outbox.wait_until_written();
        assert_eq!(written(&outbox), format!("101|{text}and a wordCLOSE"), "{delivery:?}");
        assert_eq!((outbox.bytes(), reason(&outbox)), (0, None));
    }
}
