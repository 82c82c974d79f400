//! The outbox over a transport that seals a frame in parts, would have to wait, or fails.

use super::fake::Seal::{self, Alert, Fail, Part, Wait};
use super::*;

fn sealing(seals: Vec<Seal>, now: Vec<Step>) -> Arc<Outbox<Fake>> {
    let outbox = with_steps(now, vec![]);
    outbox.link.seals.lock().unwrap().extend(seals);
    outbox
}

fn pumps(outbox: &Outbox<Fake>) -> usize {
    outbox.link.pumps.lock().unwrap().len()
}

#[test]
fn a_frame_is_sealed_in_parts_and_each_part_is_written_before_the_next() {
    let cases = [
        ("all at once", vec![Part(2), Part(2)], vec![], 0),
        ("full before", vec![Part(2), Part(2)], vec![Step::Full], 1),
        ("full within", vec![Part(2), Part(2)], vec![Step::Take(1), Step::Full], 1),
        ("full between", vec![Part(2), Part(2)], vec![Step::Take(2), Step::Full], 1),
        ("waits at once", vec![Wait, Part(2), Part(2)], vec![], 1),
        ("waits between", vec![Part(2), Wait, Part(2)], vec![], 1),
    ];
    for (name, seals, now, pumped) in cases {
        let outbox = sealing(seals, now);
        outbox.push(frame("abcd")).unwrap();
        assert_eq!(pumps(&outbox), pumped, "{name}");
        outbox.push(frame("e")).unwrap();
        assert_eq!((written(&outbox).as_str(), reason(&outbox)), ("101|abcde", None), "{name}");
        assert_eq!(outbox.state().frames(), 0, "{name}");
    }
}

#[test]
fn after_a_part_that_cannot_be_sealed_nothing_is_written() {
    let cases = [
        ("the first", vec![Fail], "101|"),
        ("the second", vec![Part(2), Fail], "101|ab"),
        ("the last", vec![Part(2), Part(1), Fail], "101|abc"),
        ("behind the alert that says why", vec![Part(2), Alert("!"), Fail], "101|ab!"),
    ];
    for (name, seals, expected) in cases {
        let outbox = sealing(seals, vec![]);
        assert_eq!(outbox.push(frame("abcd")), Err(PushError::Closed), "{name}");
        assert_eq!(outbox.push(frame("e")), Err(PushError::Closed), "{name}");
        let failed = Some(DisconnectReason::Failed);
        assert_eq!((written(&outbox).as_str(), reason(&outbox)), (expected, failed), "{name}");
    }
}

#[test]
fn a_pump_that_cannot_seal_ends_the_connection() {
    let outbox = sealing(vec![Part(2), Wait, Fail], vec![]);
    outbox.push(frame("abcd")).unwrap();
    assert_eq!((written(&outbox).as_str(), reason(&outbox)), ("101|ab", Some(DisconnectReason::Failed)));
    assert_eq!(outbox.push(frame("e")), Err(PushError::Closed));
}

#[test]
fn an_empty_frame_carries_the_transports_own_data() {
    let outbox = sealing(vec![Alert("!"), Part(0)], vec![]);
    outbox.push(frame("")).unwrap();
    assert_eq!((written(&outbox).as_str(), outbox.state().frames()), ("101|!", 0));
    // Nothing to write: the socket is not called.
    outbox.link.now.lock().unwrap().push_back(Step::Fail);
    outbox.push(frame("")).unwrap();
    assert_eq!((written(&outbox).as_str(), outbox.state().frames(), reason(&outbox)), ("101|!", 0, None));
}
