//! [`connect_first`]: the first of a host's addresses that answers (RFC 8305, sections 4 and 5).
//!
//! Each attempt blocks on its own thread, `connect-N`, and a late one continues until it has an answer, which is
//! dropped, or until the deadline. A single address needs no thread. Never here: a look-up, a retry.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long an address may keep the next one waiting.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to one of these addresses. An attempt begins when the one before it has failed, or is 250 ms old; the
/// families take turns, beginning with the first address. The error is that of the attempt that failed last.
pub(crate) fn connect_first(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    if let [address] = addresses {
        return connect(*address, deadline);
    }
    let mut untried = (1..).zip(in_turns(addresses)).peekable();
    let (sender, results) = crossbeam_channel::unbounded();
    let (mut running, mut failure) = (0, io::Error::new(ErrorKind::NotFound, "it has no address"));
    loop {
        if let Some((number, address)) = untried.next() {
            let sender = sender.clone();
            // Dropped if another attempt has won, which closes the stream.
            let run = move || drop(sender.send(connect(address, deadline)));
            thread::Builder::new().name(format!("connect-{number}")).spawn(run)?;
            running += 1;
        } else if running == 0 {
            return Err(failure);
        }
        let patience = if untried.peek().is_some() { HEAD_START } else { Duration::MAX };
        let left = deadline.saturating_duration_since(Instant::now());
        match results.recv_timeout(left.min(patience)) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => (running, failure) = (running - 1, error),
            Err(_) if left <= patience => return Err(timed_out()),
            Err(_) => {}
        }
    }
}

fn connect(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(timed_out());
    }
    TcpStream::connect_timeout(&address, left).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => timed_out(),
        _ => error,
    })
}

fn timed_out() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

/// Returns the addresses with IPv6 and IPv4 in turns: if one family does not work, the other is next.
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first = |address: &&SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().partition(is_first);
    let longer = first.len().max(second.len());
    (0..longer).flat_map(|at| [first.get(at), second.get(at)]).flatten().copied().copied().collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;

    /// More than a machine under load needs, and much less than half of [`far`].
    const SOON: Duration = Duration::from_secs(20);

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(120)
    }

    fn alive() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A listener with a full queue, so that the kernel drops further connects, as a dead host would; and the streams
    /// in the queue.
    fn dead() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
        let (listener, address) = alive();
        rustix::net::listen(&listener, 0).unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queue.push(stream);
        }
        (listener, address, queue)
    }

    /// An address without a listener.
    fn refusing() -> SocketAddr {
        alive().1
    }

    #[test]
    fn a_dead_first_address_costs_a_head_start_and_not_its_share_of_the_deadline() {
        let (listener, dead, queue) = dead();
        let (_alive, alive) = alive();
        let begun = Instant::now();
        let stream = connect_first(&[dead, alive], far()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        assert!(begun.elapsed() >= HEAD_START && begun.elapsed() < SOON, "{:?}", begun.elapsed());
        // The host answers too late: the connection is closed.
        for _ in &queue {
            drop(listener.accept().unwrap());
        }
        let (mut late, _) = listener.accept().unwrap();
        assert_eq!(late.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn an_address_that_refuses_costs_nothing_and_the_last_failure_is_told() {
        let (_alive, alive) = alive();
        let begun = Instant::now();
        let stream = connect_first(&[refusing(), refusing(), refusing(), alive], far()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        let error = connect_first(&[refusing(), refusing()], far()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(begun.elapsed() < SOON);
    }

    #[test]
    fn what_nobody_answers_ends_at_the_deadline() {
        let (_listener, dead, _queue) = dead();
        for addresses in [vec![dead], vec![dead, dead], vec![dead, refusing()], vec![]] {
            let error = connect_first(&addresses, Instant::now() + 2 * HEAD_START).unwrap_err().to_string();
            let expected = if addresses.is_empty() { "it has no address" } else { "no answer in time" };
            assert_eq!(error, expected, "{addresses:?}");
        }
        let error = connect_first(&[dead], Instant::now()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn the_families_take_turns() {
        let four = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let six = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        assert_eq!(
            in_turns(&[six(1), six(2), six(3), four(4), four(5)]),
            [six(1), four(4), six(2), four(5), six(3)]
        );
        assert_eq!(in_turns(&[four(1), six(2), six(3)]), [four(1), six(2), six(3)]);
        assert_eq!(in_turns(&[four(1), four(2)]), [four(1), four(2)]);
        assert_eq!(in_turns(&[]), []);
    }
}
