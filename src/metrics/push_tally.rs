//! Counts the pushes of one broadcast together. On the thread that pushes.

use super::Counters;

/// Pushes of one broadcast, which are counted together when this is dropped: the counters are shared by all threads that
/// push, and each change of one takes it away from the others.
#[derive(Default)]
pub(crate) struct PushTally<'a> {
    counters: Option<&'a Counters>,
    pushes: u64,
    bytes: u64,
    saved: u64,
}

impl<'a> PushTally<'a> {
    /// Counts a frame of `bytes` bytes, from which compression took `saved`.
    #[inline]
    pub(crate) fn add(&mut self, counters: &'a Counters, bytes: usize, saved: usize) {
        if !self.counters.is_some_and(|before| std::ptr::eq(before, counters)) {
            self.count();
            self.counters = Some(counters);
        }
        self.pushes += 1;
        self.bytes += bytes as u64;
        self.saved += saved as u64;
    }

    fn count(&mut self) {
        let Some(counters) = self.counters.take().filter(|_| self.pushes > 0) else { return };
        counters.pushes.add(std::mem::take(&mut self.pushes));
        counters.bytes.add(std::mem::take(&mut self.bytes));
        counters.saved.add(std::mem::take(&mut self.saved));
    }
}

impl Drop for PushTally<'_> {
    fn drop(&mut self) {
        self.count();
    }
}
