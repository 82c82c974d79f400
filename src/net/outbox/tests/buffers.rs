//! All outboxes share one limit for waiting bytes.

use super::*;
use crate::net::buffers::Buffers;

/// An outbox behind a gate, as [`behind_a_gate`], and its shared limit.
fn bounded(
    limit: u64,
    delivery: Delivery,
) -> (Arc<Outbox<Fake>>, crossbeam_channel::Sender<()>, Arc<Buffers>) {
    let (open, gate) = crossbeam_channel::bounded::<()>(0);
    let wait = Step::Call(Box::new(move || assert!(gate.recv().is_err())));
    let now = if delivery == Delivery::Inline { vec![Step::Take(usize::MAX), Step::Full] } else { vec![] };
    let blocking = if delivery == Delivery::Inline { vec![wait] } else { vec![Step::Take(usize::MAX), wait] };
    let buffers = Arc::new(Buffers::new(limit));
    let fake = Fake {
        now: Mutex::new(now.into()),
        blocking: Mutex::new(blocking.into()),
        delivery,
        buffers: Some(buffers.clone()),
        ..Fake::default()
    };
    let outbox = Arc::new(Outbox::new(fake, u64::MAX));
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    (outbox, open, buffers)
}

#[test]
fn a_frame_that_its_pusher_writes_waits_for_nobody() {
    let buffers = Arc::new(Buffers::new(0));
    let fake = Fake { buffers: Some(buffers.clone()), ..Fake::default() };
    let outbox = Arc::new(Outbox::new(fake, u64::MAX));
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    outbox.push(frame("a")).unwrap();
    assert_eq!((written(&outbox).as_str(), buffers.used()), ("101|a", 0));
}

#[test]
fn a_push_beyond_the_bound_of_all_disconnects_its_client_and_holds_nothing_on() {
    for delivery in [Delivery::Inline, Delivery::Handoff] {
        let each = 100;
        let text = "x".repeat(each as usize - OVERHEAD as usize);
        let (outbox, open, buffers) = bounded(3 * each, delivery);
        for _ in 0..3 {
            outbox.push(frame(&text)).unwrap();
        }
        assert_eq!(buffers.used(), 3 * each, "{delivery:?}");
        assert!(matches!(outbox.push(frame(&text)), Err(PushError::Full(_))));
        assert!(matches!(reason(&outbox), Some(DisconnectReason::Overflow { .. })));
        drop(open);
        written(&outbox);
        drop(outbox);
        assert_eq!(buffers.used(), 0, "{delivery:?}");
    }
}

#[test]
fn a_frame_that_does_not_fit_into_the_socket_waits_like_the_others() {
    let (outbox, open, buffers) = bounded(OVERHEAD, Delivery::Inline);
    assert_eq!(outbox.push(frame("a")), Err(PushError::Full(1 + OVERHEAD)));
    drop(open);
    drop(outbox);
    assert_eq!(buffers.used(), 0);
}

#[test]
fn written_and_lost_bytes_no_longer_count() {
    for lost in [false, true] {
        for delivery in [Delivery::Inline, Delivery::Handoff] {
            let (outbox, open, buffers) = bounded(u64::MAX, delivery);
            for text in ["a", "b", "CLOSE"] {
                outbox.push(frame(text)).unwrap();
            }
            assert_eq!(buffers.used(), 7 + 3 * OVERHEAD);
            if lost {
                outbox.kill(DisconnectReason::Done);
            }
            drop(open);
            written(&outbox);
            drop(outbox);
            assert_eq!(buffers.used(), 0, "{lost} {delivery:?}");
        }
    }
}
