//! [`Cores`]: pins the threads that share a round of pushes.
//!
//! A kernel runs a woken thread on an idle core, if it can tell which one is idle. In a virtual machine it was seen to
//! fail at that (`perf sched timehist`), perhaps because an idle core looks like one that the host has taken away. The
//! thread then waits on the core of the thread that woke it.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The cores that this process may use.
pub struct Cores(Vec<usize>);

impl Cores {
    /// Returns the cores of the calling thread.
    pub fn usable() -> Cores {
        let set = sched_getaffinity(None).unwrap_or_default();
        Cores((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
    }

    /// Pins each of `threads` to a core, and none to that of the calling thread. A core that has gone or is forbidden
    /// changes nothing: the kernel chooses, as before.
    pub fn spread(&self, threads: impl Iterator<Item = Pid>) {
        for (thread, core) in threads.zip(self.beside(sched_getcpu())) {
            let mut set = CpuSet::new();
            set.set(core);
            let _ = sched_setaffinity(Some(thread), &set);
        }
    }

    /// Returns the other cores in turn, forever, beginning after `own`.
    fn beside(&self, own: usize) -> impl Iterator<Item = usize> {
        let (before, behind): (Vec<_>, Vec<_>) =
            self.0.iter().copied().filter(|core| *core != own).partition(|core| *core < own);
        behind.into_iter().chain(before).cycle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_is_on_the_publishers_core_and_the_others_take_turns() {
        for (usable, own, expected) in [
            (vec![0, 1], 0, vec![1, 1, 1, 1]),
            (vec![0, 1], 1, vec![0, 0, 0, 0]),
            (vec![0, 1, 2, 3], 1, vec![2, 3, 0, 2]),
            (vec![2, 5, 7], 5, vec![7, 2, 7, 2]),
            (vec![3], 3, vec![]),
            (vec![], 3, vec![]),
        ] {
            assert_eq!(Cores(usable.clone()).beside(own).take(4).collect::<Vec<_>>(), expected, "{usable:?}");
        }
    }

    #[test]
    fn a_thread_runs_on_the_core_that_it_is_given() {
        let cores = Cores::usable();
        let (tell, hear) = crossbeam_channel::bounded(0);
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let _ = wait.recv();
            sched_getcpu()
        });
        let id = hear.recv().unwrap();
        cores.spread([id].into_iter());
        let set = sched_getaffinity(Some(id)).unwrap();
        drop(go);
        let core = thread.join().unwrap();
        assert!(set.is_set(core) && cores.0.contains(&core));
        assert_eq!(set.count() == 1, cores.0.len() > 1, "the only core there is stays everybody's");
    }
}
