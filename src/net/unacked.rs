//! Sent bytes that the kernel still holds: a peer that acknowledges them is alive, even if it has not answered a Ping.
//!
//! Only a `client-N` whose Ping has timed out reads this. All of them together read the kernel's table at most ten
//! times a second.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a reading of the table stays valid.
const FRESH: Duration = Duration::from_millis(100);

/// Bytes that the peer's kernel has not acknowledged, and how often they were resent in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unacked {
    pub(crate) bytes: u64,
    pub(crate) retransmits: u64,
}

/// Local and remote end of a connection.
type Ends = (SocketAddr, SocketAddr);

/// The kernel's table of TCP connections, as it was a moment ago.
#[derive(Default)]
pub(crate) struct TcpTable(Mutex<Option<(Instant, HashMap<Ends, Unacked>)>>);

impl TcpTable {
    /// Returns what the kernel holds for the connection between these ends; `None` if it does not tell.
    pub(crate) fn unacked(&self, local: SocketAddr, peer: SocketAddr) -> Option<Unacked> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.as_ref().is_none_or(|(read, _)| read.elapsed() > FRESH) {
            let files = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
            let texts = files.map(|file| fs::read_to_string(file).unwrap_or_default());
            *table = Some((Instant::now(), parse(&texts.concat())));
        }
        let (_, ends) = table.as_ref()?;
        ends.get(&(canonical(local), canonical(peer))).copied()
    }
}

/// Parses lines of `/proc/net/tcp` and `tcp6`, and skips invalid ones.
fn parse(text: &str) -> HashMap<Ends, Unacked> {
    text.lines().filter_map(parse_line).collect()
}

/// `sl: local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt ...`
fn parse_line(line: &str) -> Option<(Ends, Unacked)> {
    let mut words = line.split_whitespace().skip(1);
    let ends = (address(words.next()?)?, address(words.next()?)?);
    let (queued, _) = words.nth(1)?.split_once(':')?;
    let bytes = u64::from_str_radix(queued, 16).ok()?;
    let retransmits = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    Some((ends, Unacked { bytes, retransmits }))
}

/// `0100007F:1F90`: words of 32 bits in the machine's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// An IPv4 address in its plain form, even from an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_as_a_table() {
        for (line, expected) in [
            (
                "   1: 0100007F:22B8 0200007F:C350 01 0000002A:00000000 01:00000014 00000003 0 0 1",
                Some(("127.0.0.1:8888", "127.0.0.2:50000", 42, 3)),
            ),
            (
                "2: 0000000000000000FFFF00000100007F:22B8 0000000000000000FFFF00000200007F:C350 01 \
                 00000001:00000000 04:00000014 00000000 0 0 1",
                Some(("127.0.0.1:8888", "127.0.0.2:50000", 1, 0)),
            ),
            (
                "3: 00000000000000000000000001000000:0050 00000000000000000000000001000000:0051 01 \
                 00000000:00000000 00:00000000 00000000 0 0 1",
                Some(("[::1]:80", "[::1]:81", 0, 0)),
            ),
            ("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt", None),
            ("4: 0100007F:22B8 0200007F", None),
            ("", None),
        ] {
            let expected = expected.map(|(local, peer, bytes, retransmits)| {
                ((local.parse().unwrap(), peer.parse().unwrap()), Unacked { bytes, retransmits })
            });
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }

    #[test]
    fn unacknowledged_bytes_are_visible() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_theirs, peer) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        // Both kernels are full after this.
        while ours.write(&[0; 65536]).is_ok() {}
        let table = TcpTable::default();
        let unacked = table.unacked(peer, listener.local_addr().unwrap()).unwrap();
        assert!(unacked.bytes > 0, "{unacked:?}");
        assert_eq!(table.unacked(peer, "127.0.0.1:1".parse().unwrap()), None);
    }
}
