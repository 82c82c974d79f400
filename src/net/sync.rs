//! The outbox's synchronisation: the standard library's, or under `--cfg loom` loom's, which explores the interleavings
//! (`make loom`).

#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
pub(crate) use model::*;

#[cfg(not(loom))]
mod real {
    use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use std::sync::{Condvar, Mutex};

    use crossbeam_channel::{Receiver, Sender};

    /// A crossbeam channel that uses no memory before its first send: most clients never have a backlog.
    pub(crate) struct Channel<T>(OnceLock<(Sender<T>, Receiver<T>)>);

    impl<T> Channel<T> {
        pub(crate) fn new() -> Channel<T> {
            Channel(OnceLock::new())
        }

        fn ends(&self) -> &(Sender<T>, Receiver<T>) {
            self.0.get_or_init(crossbeam_channel::unbounded)
        }

        /// Never blocks; the bound is the outbox's count of bytes.
        pub(crate) fn send(&self, item: T) {
            self.ends().0.send(item).expect("both ends live as long as the channel");
        }

        /// Blocks until an item comes.
        pub(crate) fn recv(&self) -> T {
            self.ends().1.recv().expect("both ends live as long as the channel")
        }

        /// Removes all items.
        pub(crate) fn drain(&self, each: impl FnMut(T)) {
            if let Some((_, receiver)) = self.0.get() {
                receiver.try_iter().for_each(each);
            }
        }
    }
}

#[cfg(loom)]
mod model {
    use std::collections::VecDeque;

    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex};

    /// The same channel, built of parts that loom can observe.
    pub(crate) struct Channel<T>(Mutex<VecDeque<T>>, Condvar);

    impl<T> Channel<T> {
        pub(crate) fn new() -> Channel<T> {
            Channel(Mutex::new(VecDeque::new()), Condvar::new())
        }

        pub(crate) fn send(&self, item: T) {
            self.0.lock().unwrap().push_back(item);
            self.1.notify_one();
        }

        pub(crate) fn recv(&self) -> T {
            let mut items = self.0.lock().unwrap();
            loop {
                match items.pop_front() {
                    Some(item) => return item,
                    None => items = self.1.wait(items).unwrap(),
                }
            }
        }

        pub(crate) fn drain(&self, each: impl FnMut(T)) {
            self.0.lock().unwrap().drain(..).for_each(each);
        }
    }
}
