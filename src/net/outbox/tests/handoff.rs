//! The outbox with a writer thread for each client.

use super::*;

fn handed_off() -> Fake {
    Fake { delivery: Delivery::Handoff, ..Fake::default() }
}

#[test]
fn handed_off_a_writer_writes_all_and_ends_with_the_close() {
    let outbox = Arc::new(Outbox::new(handed_off(), u64::MAX));
    outbox.push(frame("a")).unwrap();
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    outbox.wait_until_written();
    outbox.push(frame("b")).unwrap();
    outbox.push(frame("CLOSE")).unwrap();
    assert_eq!(outbox.push(frame("c")), Err(PushError::Closed));
    assert_eq!(written(&outbox), "101|abCLOSE", "the writer has ended");
    assert_eq!((outbox.state().frames(), reason(&outbox)), (0, None));
}

#[test]
fn handed_off_a_death_ends_the_writer() {
    let outbox = Arc::new(Outbox::new(handed_off(), u64::MAX));
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    outbox.wait_until_written();
    outbox.kill(DisconnectReason::Done);
    assert_eq!(written(&outbox), "101|", "the writer has ended");
}
