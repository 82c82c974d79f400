//! The newest of a kind.

use super::*;

fn push_latest(outbox: &Arc<Outbox<ModelSocket>>, slot: &Arc<Slot>, text: &'static str) {
    let frame = Frame { bytes: Bytes::from_static(text.as_bytes()), is_close: false };
    assert!(outbox.push_latest(frame, || slot.clone()).is_ok());
}

#[test]
fn the_last_one_is_written_last_and_nothing_is_left_behind() {
    for room in [9, 1] {
        model(move || {
            let outbox = begun(ModelSocket::with_room(room));
            let slot = Arc::new(Slot::new());
            let (own, of_other) = (outbox.clone(), slot.clone());
            let other = thread::spawn(move || {
                push_latest(&own, &of_other, "a");
                push_latest(&own, &of_other, "b");
            });
            assert!(push(&outbox, "x"));
            other.join().unwrap();
            let written = written(&outbox);
            assert!(written.contains('x') && written.contains('b'), "{written}");
            assert!(written.find('a') < written.find('b'), "{written}");
            assert_eq!(outbox.state().frames(), 0);
        });
    }
}

#[test]
fn of_two_that_publish_each_ones_last_is_written_or_replaced_by_the_others() {
    model_with(2, || {
        let outbox = begun(ModelSocket::with_room(1));
        let slot = Arc::new(Slot::new());
        let (own, of_other) = (outbox.clone(), slot.clone());
        let other = thread::spawn(move || push_latest(&own, &of_other, "a"));
        push_latest(&outbox, &slot, "x");
        other.join().unwrap();
        let written = written(&outbox);
        assert!(["|a", "|x", "|ax", "|xa"].contains(&written.as_str()), "{written}");
        assert_eq!(outbox.state().frames(), 0);
    });
}
