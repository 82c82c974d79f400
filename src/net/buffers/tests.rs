use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

/// Counts how often it had to give way.
#[derive(Default)]
struct Told(AtomicUsize);

impl Told {
    fn told(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl MayGiveWay for Told {
    fn give_way(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn holder(buffers: &Arc<Buffers>, bytes: u64) -> (Held, Arc<Told>) {
    let (mut held, counts) = (Held::new(buffers), Arc::<Told>::default());
    held.grow_to(bytes, &counts).unwrap();
    (held, counts)
}

/// Runs `run`, which waits for `leaver`; the leaver goes when it has to give way.
fn until_gone<T: Send>(leaver: (Held, Arc<Told>), run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (held, counts) = leaver;
            while counts.told() == 0 {
                thread::yield_now();
            }
            drop(held);
        });
        run()
    })
}

#[test]
fn held_bytes_are_counted_and_released() {
    let (buffers, counts) = (Arc::new(Buffers::new(100)), Arc::<Told>::default());
    assert!(buffers.hold(60, 60));
    let mut held = Held::new(&buffers);
    for bytes in [30, 40, 10] {
        held.grow_to(bytes, &counts).unwrap();
    }
    assert_eq!(buffers.used(), 100);
    assert_eq!(held.grow_to(41, &counts), Err(HoldError::Full));
    held.clear();
    held.grow_to(40, &counts).unwrap();
    drop(held);
    buffers.release(60);
    assert_eq!((buffers.used(), buffers.holders().growing.len(), counts.told()), (0, 0, 0));
}

#[test]
fn sizes_are_ranked_by_eighths() {
    for bytes in (1..5000).chain((0..64).map(|bit| 1 << bit)).chain([u64::MAX]) {
        let least = least(size(bytes) << AGE_BITS);
        assert!(least <= bytes && bytes - least <= bytes / 8, "{bytes} {least}");
        assert!(size(bytes - 1) <= size(bytes));
    }
}

#[test]
fn at_the_limit_the_largest_holder_gives_way_and_among_equals_the_oldest() {
    let buffers = Arc::new(Buffers::new(1000));
    let mut small = holder(&buffers, 100);
    let older = holder(&buffers, 400);
    let younger = holder(&buffers, 400);
    let (mut newcomer, counts) = holder(&buffers, 100);
    let older_told = older.1.clone();
    until_gone(older, || newcomer.grow_to(300, &counts)).unwrap();
    assert_eq!((older_told.told(), buffers.used()), (1, 800));
    // It is the largest now.
    assert_eq!(newcomer.grow_to(600, &counts), Err(HoldError::Full));
    drop(newcomer);
    assert_eq!((small.1.told(), younger.1.told(), counts.told()), (0, 0, 0));
    small.0.grow_to(200, &small.1).unwrap();
}

#[test]
fn a_holder_is_asked_once_to_give_way_and_then_keeps_no_more() {
    let buffers = Arc::new(Buffers::new(1000));
    let (mut large, told) = holder(&buffers, 900);
    assert!(buffers.hold(200, 200), "a push does not wait");
    assert_eq!((told.told(), buffers.used()), (1, 1100));
    assert!(buffers.hold(100, 100) && told.told() == 1, "there will be room for it");
    assert!(!buffers.hold(100, 100), "but not for any number");
    assert_eq!(large.grow_to(2000, &told), Err(HoldError::GiveWay));
    assert!(!large.settle(), "too late");
    drop(large);
    buffers.release(400);
    assert_eq!((buffers.used(), buffers.holders().leaving), (0, 0));
}

#[test]
fn a_complete_message_never_gives_way_and_a_push_prevails_only_over_smaller_clients() {
    let buffers = Arc::new(Buffers::new(1000));
    let (mut whole, told) = holder(&buffers, 500);
    assert!(whole.settle());
    let (_part, part_told) = holder(&buffers, 450);
    assert!(!buffers.hold(100, 600));
    buffers.release(100);
    assert_eq!((told.told(), part_told.told()), (0, 0));
    assert!(buffers.hold(100, 100));
    assert_eq!((told.told(), part_told.told()), (0, 1));
    buffers.release(100);
}

#[test]
fn a_holder_that_does_not_go_in_time_is_not_waited_for() {
    let buffers = Arc::new(Buffers::new(100));
    let (_stuck, told) = holder(&buffers, 90);
    let (mut held, counts) = (Held::new(&buffers), Arc::<Told>::default());
    assert_eq!(held.grow_to(20, &counts), Err(HoldError::Full));
    assert_eq!(told.told(), 1);
}
