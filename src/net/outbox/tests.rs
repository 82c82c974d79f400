//! The outbox against a scripted socket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;

use super::drain::{INLINE_BYTES, INLINE_FRAMES};
use super::*;

mod buffers;
mod fake;
mod handoff;
mod limit;
mod sealing;
mod waiting;

use fake::{Fake, Step};

const LIMIT: u64 = 1000;

fn outbox(fake: Fake, limit: u64) -> Arc<Outbox<Fake>> {
    let outbox = Arc::new(Outbox::new(fake, limit));
    outbox.link.now.lock().unwrap().push_front(Step::Take(usize::MAX));
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    outbox
}

fn with_steps(now: Vec<Step>, blocking: Vec<Step>) -> Arc<Outbox<Fake>> {
    outbox(
        Fake { now: Mutex::new(now.into()), blocking: Mutex::new(blocking.into()), ..Fake::default() },
        u64::MAX,
    )
}

fn frame(text: &str) -> Frame {
    Frame { bytes: Bytes::copy_from_slice(text.as_bytes()), is_close: text == "CLOSE" }
}

fn written(outbox: &Outbox<Fake>) -> String {
    for pump in outbox.link.pumps.lock().unwrap().drain(..) {
        pump.join().unwrap();
    }
    String::from_utf8(outbox.link.written.lock().unwrap().clone()).unwrap()
}

fn reason(outbox: &Outbox<Fake>) -> Option<DisconnectReason> {
    *outbox.link.reason.lock().unwrap()
}

#[test]
fn a_push_before_the_101_waits_for_it() {
    let outbox = Arc::new(Outbox::new(Fake::default(), LIMIT));
    outbox.push(frame("a")).unwrap();
    outbox.push(frame("CLOSE")).unwrap();
    assert_eq!(outbox.push(frame("b")), Err(PushError::Closed));
    assert_eq!(written(&outbox), "");
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    assert_eq!(written(&outbox), "101|aCLOSE");
}

#[test]
fn accepted_frames_are_written_and_rejected_ones_are_not() {
    let outbox = with_steps(vec![], vec![]);
    outbox.push(frame("a")).unwrap();
    outbox.push(frame("CLOSE")).unwrap();
    assert_eq!(outbox.push(frame("b")), Err(PushError::Closed));
    assert_eq!(outbox.push(frame("CLOSE")), Err(PushError::Closed));
    assert_eq!(written(&outbox), "101|aCLOSE");
    assert_eq!((outbox.state().frames(), outbox.state().bytes(), reason(&outbox)), (0, 0, None));
}

#[test]
fn frames_of_eight_threads_stay_whole_and_each_threads_in_order() {
    let outbox = Arc::new(Outbox::new(Fake::default(), u64::MAX));
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let outbox = &outbox;
            scope.spawn(move || {
                (0..2000).for_each(|n| outbox.push(frame(&format!("{thread}:{n}|"))).unwrap())
            });
        }
    });
    outbox.wait_until_written();
    let written = written(&outbox);
    let mut next = [0; 8];
    for frame in written.strip_prefix("101|").unwrap().split_terminator('|') {
        let (thread, n) = frame.split_once(':').unwrap();
        let next: &mut usize = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<usize>().unwrap(), *next, "thread {thread}");
        *next += 1;
    }
    assert_eq!(next, [2000; 8]);
}

#[test]
fn after_part_of_a_frame_failed_nothing_is_written() {
    let outbox = with_steps(vec![Step::Take(2), Step::Fail], vec![]);
    assert_eq!(outbox.push(frame("abcd")), Err(PushError::Closed));
    assert_eq!(outbox.push(frame("e")), Err(PushError::Closed));
    assert_eq!((written(&outbox).as_str(), reason(&outbox)), ("101|ab", Some(DisconnectReason::Failed)));
}

#[test]
fn a_pump_that_cannot_be_started_kills_the_connection() {
    let now = Mutex::new(vec![Step::Take(2), Step::Full].into());
    let outbox = outbox(Fake { now, no_pumps: true, ..Fake::default() }, u64::MAX);
    assert_eq!(outbox.push(frame("abcd")), Err(PushError::Closed));
    assert_eq!(
        (written(&outbox).as_str(), reason(&outbox)),
        ("101|ab", Some(DisconnectReason::NoPump { backlog: 4 + OVERHEAD }))
    );
    assert_eq!(outbox.push(frame("e")), Err(PushError::Closed));
}

#[test]
fn a_written_frame_counts_as_accepted_even_without_a_pump_for_the_next_one() {
    let outbox = outbox(Fake { no_pumps: true, ..Fake::default() }, u64::MAX);
    let other = outbox.clone();
    let push = Step::Call(Box::new(move || other.push(frame("b")).unwrap()));
    outbox.link.now.lock().unwrap().extend([push, Step::Full]);
    assert_eq!(outbox.push(frame("a")), Ok(()));
    assert_eq!(
        (written(&outbox).as_str(), reason(&outbox)),
        ("101|a", Some(DisconnectReason::NoPump { backlog: 1 + OVERHEAD }))
    );
}

#[test]
fn a_panic_of_the_drainer_kills_the_connection() {
    let outbox = with_steps(vec![Step::Panic], vec![]);
    assert!(catch_unwind(AssertUnwindSafe(|| outbox.push(frame("a")))).is_err());
    assert_eq!(outbox.push(frame("b")), Err(PushError::Closed));
    assert_eq!((written(&outbox).as_str(), reason(&outbox)), ("101|", Some(DisconnectReason::Panicked)));
}

#[test]
fn an_interrupted_write_is_taken_up_again() {
    let outbox = with_steps(vec![Step::Interrupt, Step::Take(1), Step::Interrupt], vec![]);
    outbox.push(frame("ab")).unwrap();
    let outbox_with_pump = with_steps(vec![Step::Full], vec![Step::Interrupt]);
    outbox_with_pump.push(frame("ab")).unwrap();
    assert_eq!([written(&outbox), written(&outbox_with_pump)], ["101|ab"; 2]);
}

#[test]
fn a_pusher_writes_little_for_others() {
    let outbox = with_steps(vec![], vec![]);
    let (others, frames) = (outbox.clone(), INLINE_FRAMES + 20);
    let push = move || (0..frames).for_each(|_| others.push(frame("b")).unwrap());
    // While this thread is writing its own frame, another one pushes many.
    outbox.link.now.lock().unwrap().push_back(Step::Call(Box::new(|| thread::spawn(push).join().unwrap())));
    outbox.push(frame("a")).unwrap();
    assert_eq!(outbox.link.pumps.lock().unwrap().len(), 1, "the pump has taken over");
    assert_eq!(written(&outbox), format!("101|a{}", "b".repeat(frames)));
}

#[test]
fn bytes_are_in_the_budget_too() {
    let outbox = Arc::new(Outbox::new(Fake::default(), u64::MAX));
    outbox.begin(Bytes::from_static(b"101|")).unwrap();
    let others = outbox.clone();
    let push = move || (0..2).for_each(|_| others.push(frame(&"b".repeat(INLINE_BYTES))).unwrap());
    outbox.link.now.lock().unwrap().push_back(Step::Call(Box::new(|| thread::spawn(push).join().unwrap())));
    outbox.push(frame("a")).unwrap();
    assert_eq!(outbox.link.pumps.lock().unwrap().len(), 1);
    assert_eq!(written(&outbox).len(), 5 + 2 * INLINE_BYTES);
}

#[test]
fn a_full_socket_passes_the_rest_of_the_frame_to_a_pump() {
    let outbox = with_steps(vec![Step::Take(1), Step::Full], vec![Step::Take(1), Step::Full, Step::Take(1)]);
    // The deadline is zero, so the pump gives up the first time that it makes no progress.
    outbox.push(frame("abcd")).unwrap();
    assert_eq!(written(&outbox), "101|ab");
    assert!(matches!(reason(&outbox), Some(DisconnectReason::Stalled { .. })));

    let outbox = with_steps(vec![Step::Take(1), Step::Full], vec![Step::Take(1), Step::Take(1)]);
    outbox.push(frame("abcd")).unwrap();
    outbox.push(frame("e")).unwrap();
    outbox.wait_until_written();
    assert_eq!(written(&outbox), "101|abcde");
    outbox.push(frame("f")).unwrap();
    assert_eq!(written(&outbox), "101|abcdef", "and the next pusher writes inline again");
    assert_eq!(reason(&outbox), None);
}

/// An outbox with a limit of [`LIMIT`], whose pump blocks in the write of a first frame until the sender is dropped.
/// Further pushes wait behind that.
fn behind_a_gate() -> (Arc<Outbox<Fake>>, crossbeam_channel::Sender<()>) {
    let (outbox, open) = before_a_gate();
    outbox.push(frame("0")).unwrap();
    (outbox, open)
}

/// The same outbox without the first frame.
fn before_a_gate() -> (Arc<Outbox<Fake>>, crossbeam_channel::Sender<()>) {
    let (open, gate) = crossbeam_channel::bounded::<()>(0);
    let wait = Step::Call(Box::new(move || assert!(gate.recv().is_err())));
    let (now, blocking) = (Mutex::new(vec![Step::Full].into()), Mutex::new(vec![wait].into()));
    (outbox(Fake { now, blocking, ..Fake::default() }, LIMIT), open)
}

#[test]
fn a_push_over_the_limit_disconnects_and_counts() {
    let (outbox, open) = behind_a_gate();
    let text = "x".repeat(100 - OVERHEAD as usize);
    for _ in 0..LIMIT / 100 {
        outbox.push(frame(&text)).unwrap();
    }
    let backlog = LIMIT + 1 + OVERHEAD;
    assert_eq!(outbox.push(frame("y")), Err(PushError::Full(backlog)));
    assert_eq!(reason(&outbox), Some(DisconnectReason::Overflow { backlog }));
    assert_eq!(outbox.push(frame("y")), Err(PushError::Closed));
    drop(open);
    let written = written(&outbox);
    assert!(
        ["101|", "101|0"].contains(&written.as_str()),
        "after the death no other frame is begun: {written}"
    );
}

#[test]
fn a_close_is_exempt_from_the_limit() {
    let (outbox, open) = behind_a_gate();
    outbox.push(frame(&"x".repeat(5000))).unwrap();
    outbox.push(frame("CLOSE")).unwrap();
    let told = || outbox.link.close_written.load(Ordering::Relaxed);
    assert!(!told(), "the peer cannot answer what it has not got");
    drop(open);
    assert!(written(&outbox).ends_with("xCLOSE") && told());
}

#[test]
fn a_death_wakes_the_reader() {
    let (outbox, open) = behind_a_gate();
    outbox.push(frame(&"x".repeat(900))).unwrap();
    let reader = thread::spawn({
        let outbox = outbox.clone();
        move || outbox.wait_to_read()
    });
    outbox.kill(DisconnectReason::Done);
    assert!(!reader.join().unwrap());
    drop(open);
}

#[test]
fn nothing_follows_a_close_and_nothing_accepted_before_it_is_lost() {
    for _ in 0..200 {
        let outbox = with_steps(vec![], vec![]);
        let accepted = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let count = (0..50).filter(|_| outbox.push(frame("a")).is_ok()).count();
                    *accepted.lock().unwrap() += count;
                });
            }
            scope.spawn(|| outbox.push(frame("CLOSE")).unwrap());
        });
        outbox.wait_until_written();
        let accepted = "a".repeat(*accepted.lock().unwrap());
        assert_eq!(written(&outbox), format!("101|{accepted}CLOSE"));
    }
}
