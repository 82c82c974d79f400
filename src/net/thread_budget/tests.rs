use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn clients_and_pumps_have_separate_permits() {
    for (clients, delivery, permits, pumps) in [
        (1, Delivery::Inline, 1, 2),
        (7, Delivery::Inline, 7, 8),
        (16, Delivery::Inline, 16, 8),
        (100, Delivery::Inline, 100, 12),
        (15_870, Delivery::Inline, 15_870, 256),
        (7935, Delivery::Handoff, 15_870, 0),
    ] {
        let budget = Arc::new(ThreadBudget::new(clients, delivery, 64 << 10));
        let taken: Vec<_> = std::iter::from_fn(|| budget.permit(Duration::ZERO)).collect();
        assert_eq!((taken.len(), budget.books().free_pumps), (permits, pumps), "{clients} {delivery:?}");
        drop(taken);
        assert!(budget.permit(Duration::ZERO).is_some());
    }
}

/// A budget for two clients, whose reaper runs.
fn for_two() -> Arc<ThreadBudget> {
    let budget = Arc::new(ThreadBudget::new(2, Delivery::Inline, 64 << 10));
    budget.start_reaper().unwrap();
    budget
}

/// A pump that reports if the budget had no room for it.
struct Pump(crossbeam_channel::Sender<&'static str>, bool);

impl Pump {
    fn runs(mut self, until: &crossbeam_channel::Receiver<()>) {
        self.1 = true;
        self.0.send("begins").unwrap();
        let _ = until.recv();
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.1 {
            self.0.send("given up").unwrap();
        }
    }
}

#[test]
fn a_pump_without_a_permit_waits_for_the_next_one_that_ends() {
    let budget = for_two();
    let (said, says) = crossbeam_channel::unbounded();
    let spawn = |patience| {
        let (end, until) = crossbeam_channel::bounded::<()>(0);
        let pump = Pump(said.clone(), false);
        let worker = budget.spawn_pump("x".to_owned(), patience, move || pump.runs(&until));
        (worker.unwrap(), end)
    };
    let says = || says.recv_timeout(PATIENCE).expect("a pump says something");
    let mut running: Vec<_> = (0..3).map(|_| spawn(PATIENCE)).collect();
    assert_eq!([says(), says(), says()], ["begins"; 3]);
    let (second, _second_ends) = spawn(PATIENCE);
    let (third, _third_ends) = spawn(PATIENCE);
    assert_eq!(budget.books().waiting.len(), 2);
    second.join();
    assert_eq!(says(), "given up", "its client has left");
    drop(running.pop());
    assert_eq!(says(), "begins");
    let (_, _ends) = spawn(Duration::from_millis(1));
    assert_eq!(says(), "given up", "it has waited too long");
    assert!(budget.books().waiting.is_empty());
    // Clients still get threads while all pumps are at work.
    budget.spawn("x".to_owned(), Duration::ZERO, || {}).unwrap().join();
    let (_, _ends) = spawn(PATIENCE);
    budget.join_all(Instant::now() + Duration::from_millis(1));
    assert_eq!(says(), "given up", "the server shuts down");
    drop((running, _third_ends));
    third.join();
}

#[test]
fn over_the_budget_no_thread_is_started_until_one_has_ended() {
    let budget = for_two();
    let (end, wait) = crossbeam_channel::bounded::<()>(0);
    let spawn = |patience| {
        let wait = wait.clone();
        budget.spawn("x".to_owned(), patience, move || _ = wait.recv())
    };
    let _both = (spawn(Duration::ZERO).unwrap(), spawn(Duration::ZERO).unwrap());
    let error = spawn(Duration::ZERO).err().expect("the budget is spent");
    assert_eq!(error.to_string(), "the limit of threads is reached");
    drop(end);
    spawn(PATIENCE).unwrap();
    budget.join_all(Instant::now() + PATIENCE);
    let books = budget.books();
    assert_eq!((books.running, books.free), (0, 2));
}

#[test]
fn a_thread_that_does_not_end_keeps_nobody_longer_than_the_deadline() {
    let budget = for_two();
    let (end, wait) = crossbeam_channel::bounded::<()>(0);
    let worker = budget.spawn("x".to_owned(), PATIENCE, move || _ = wait.recv()).unwrap();
    budget.join_all(Instant::now() + Duration::from_millis(1));
    assert_eq!(budget.books().running, 1);
    drop(end);
    worker.join();
    assert_eq!(budget.books().running, 0);
}

/// The threads of this process that have the name.
fn named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    // A thread that is just ending has no name.
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

#[test]
fn however_many_threads_end_there_are_never_more_of_them_than_permits() {
    let (budget, permits) = (Arc::new(ThreadBudget::new(40, Delivery::Inline, 64 << 10)), 40);
    budget.start_reaper().unwrap();
    let mut most = 0;
    for n in 0..5000 {
        budget.spawn("ends-at-once".to_owned(), PATIENCE, || {}).unwrap();
        if n % 50 == 0 {
            most = most.max(named("ends-at-once"));
        }
    }
    // A joined thread stays in the list for a moment; its stack is already free.
    assert!(most <= 2 * permits, "{most}");
    budget.join_all(Instant::now() + PATIENCE);
    assert_eq!(named("ends-at-once"), 0);
}

#[test]
fn a_thousand_threads_that_end_together_are_all_joined() {
    let budget = Arc::new(ThreadBudget::new(1000, Delivery::Inline, 64 << 10));
    budget.start_reaper().unwrap();
    let (end, wait) = crossbeam_channel::bounded::<()>(0);
    for _ in 0..1000 {
        let wait = wait.clone();
        let run = move || _ = wait.recv();
        budget.spawn("ends-together".to_owned(), Duration::ZERO, run).unwrap();
    }
    drop(end);
    budget.join_all(Instant::now() + PATIENCE);
    assert_eq!((budget.books().running, named("ends-together")), (0, 0));
}

#[test]
fn after_a_join_another_thread_can_start() {
    let budget = for_two();
    let _one_is_left = budget.permit(Duration::ZERO);
    for n in 0..5000 {
        let worker = budget.spawn("x".to_owned(), Duration::ZERO, || {}).expect("it has ended");
        // So that threads are joined at every moment of their end.
        (0..n % 500 * 10).for_each(|_| std::hint::spin_loop());
        worker.join();
    }
}

#[test]
fn a_thread_that_panics_returns_its_permit() {
    let budget = for_two();
    for _ in 0..9 {
        budget.spawn("x".to_owned(), PATIENCE, || panic!("as planned")).unwrap().join();
    }
    let books = budget.books();
    assert_eq!((books.running, books.free), (0, 2));
}
