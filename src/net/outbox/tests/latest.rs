//! The newest of a kind takes the place of the one that waits.

use super::*;

/// An outbox whose pump waits for the gate, with one frame that it is writing.
fn held() -> (Arc<Outbox<Fake>>, crossbeam_channel::Sender<()>) {
    let (open, gate) = crossbeam_channel::bounded::<()>(0);
    let blocking = vec![Step::Call(Box::new(move || assert!(gate.recv().is_err())))];
    let (now, blocking) = (Mutex::new(vec![Step::Full].into()), Mutex::new(blocking.into()));
    let outbox = outbox(Fake { now, blocking, ..Fake::default() }, LIMIT);
    outbox.push(frame("first|")).unwrap();
    (outbox, open)
}

#[test]
fn an_idle_socket_gets_each() {
    let outbox = with_steps(Vec::new(), Vec::new());
    for text in ["a", "b", "c"] {
        outbox.push_latest(frame(text), || panic!("nothing is on its way")).unwrap();
    }
    assert_eq!(written(&outbox), "101|abc");
}

#[test]
fn behind_others_at_most_one_of_each_kind_waits_in_the_order_in_which_they_began() {
    let (outbox, open) = held();
    let (one, other) = (Arc::new(Slot::new()), Arc::new(Slot::new()));
    for n in 0..1000 {
        outbox.push_latest(frame(&format!("one {n}|")), || one.clone()).unwrap();
        if n == 0 {
            outbox.push(frame("between|")).unwrap();
        }
        outbox.push_latest(frame(&format!("other {n}|")), || other.clone()).unwrap();
    }
    assert_eq!(outbox.state().frames(), 4);
    assert!(outbox.bytes() < 5 * (OVERHEAD + 10), "{}", outbox.bytes());
    outbox.push(frame("CLOSE")).unwrap();
    assert_eq!(outbox.push_latest(frame("late"), || one.clone()), Err(PushError::Closed));
    drop(open);
    assert_eq!(written(&outbox), "101|first|one 999|between|other 999|CLOSE");
    assert_eq!((outbox.bytes(), outbox.state().frames(), reason(&outbox)), (0, 0, None));
}

#[test]
fn a_full_backlog_takes_what_replaces_and_nothing_more() {
    let (outbox, open) = held();
    let (one, other) = (Arc::new(Slot::new()), Arc::new(Slot::new()));
    outbox.push_latest(frame("old|"), || one.clone()).unwrap();
    outbox.push(frame(&"x".repeat(LIMIT as usize))).unwrap();
    outbox.push_latest(frame("new|"), || one.clone()).unwrap();
    assert!(matches!(outbox.push_latest(frame("more"), || other.clone()), Err(PushError::Full(_))));
    assert!(matches!(reason(&outbox), Some(DisconnectReason::Overflow)));
    assert_eq!(outbox.push_latest(frame("late"), || one.clone()), Err(PushError::Closed));
    drop(open);
    written(&outbox);
}
