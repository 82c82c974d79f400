use super::*;
use crate::connection::connection::tests::accepted;
use crate::server::state::tests::state;

/// A listener that admits one client, and has places for requests.
fn listener() -> Listener {
    let (state, waker) = (state(1), Arc::new(Waker::new().unwrap()));
    let registry = Arc::new(Registry::new(state.clone(), waker.clone()));
    Listener::new(state, Arc::new(Router::new()), registry, waker)
}

#[test]
fn a_newcomer_waits_without_a_thread_for_a_place_and_not_for_ever() {
    let mut listener = listener();
    let registry = listener.registry.clone();
    let mut inside = Vec::new();
    // These clients have no threads, so they never leave.
    while registry.has_place() {
        let ((stream, peer), _) = accepted();
        inside.push(Client::new(stream, peer, listener.state.clone()));
        registry.insert(&inside[inside.len() - 1], None);
    }
    let other = SocketAddr::from(([192, 0, 2, 1], 80));
    let [((one, _), _its_end), ((late, _), mut its_end)] = [accepted(), accepted()];
    listener.admit(one, other);
    assert!(inside[0].is_evicted() && !inside[1].is_evicted());
    assert_eq!((listener.waiting.len(), listener.state.shared.budget.running()), (1, 0));
    registry.remove(&inside[0]);
    listener.start_waiting();
    assert_eq!((listener.waiting.len(), listener.state.shared.budget.running()), (0, 1));
    listener.admit(late, SocketAddr::from(([192, 0, 2, 2], 80)));
    listener.waiting[0].deadline = Instant::now();
    listener.start_waiting();
    assert_eq!((listener.waiting.len(), listener.state.shared.counters.rejected.get()), (0, 1));
    let mut answer = [0; 12];
    io::Read::read_exact(&mut its_end, &mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[test]
fn who_waits_for_a_place_cannot_keep_all_others_from_waiting() {
    let mut listener = listener();
    let (most, full) = (listener.registry.most_waiting(), listener.registry.places());
    let comes = |listener: &Listener, host: u8| {
        let ((stream, peer), its_end) = accepted();
        let peer = SocketAddr::from(([192, 0, 2, host], peer.port()));
        let client = Client::new(stream, peer, listener.state.clone());
        (client, its_end)
    };
    for _ in 0..full {
        let (inside, _) = comes(&listener, 9);
        listener.registry.insert(&inside, None);
    }
    let deadline = Instant::now() + PLACE_WAIT;
    let mut ends = Vec::new();
    for _ in 0..most {
        let (client, its_end) = comes(&listener, 1);
        listener.waiting.push_back(Newcomer { client, counted: None, deadline });
        ends.push(its_end);
    }
    for host in 2..20 {
        let ((stream, _), its_end) = accepted();
        listener.admit(stream, SocketAddr::from(([192, 0, 2, host], 80)));
        ends.push(its_end);
    }
    let mut waiting: Vec<_> = listener.waiting.iter().map(Newcomer::neighbour).collect();
    assert_eq!(waiting.len(), most);
    waiting.dedup();
    assert_eq!(waiting.len(), most, "one of each address");
    let rejected = listener.state.shared.counters.rejected.get() as usize;
    assert_eq!(rejected, 18, "the last of those, and the last of the others");
}

/// The state of a listener that was stopped while it backed off.
#[test]
fn a_listener_that_is_stopped_ends_though_nobody_wakes_it() {
    let listener = listener();
    listener.state.stop();
    listener.run(&TcpListener::bind("127.0.0.1:0").unwrap());
}

#[test]
fn a_client_is_admitted_and_leaves_and_its_thread_is_joined() {
    let mut listener = listener();
    let (state, registry) = (listener.state.clone(), listener.registry.clone());
    let ((stream, peer), its_end) = accepted();
    listener.admit(stream, peer);
    assert_eq!(registry.all().len(), 1);
    drop(its_end);
    let deadline = Instant::now() + Duration::from_secs(60);
    assert_eq!(registry.wait_until_empty(deadline), 0);
    state.shared.budget.join_all(deadline);
    assert_eq!((state.shared.counters.accepted.get(), state.shared.counters.ended.get()), (1, 1));
}
