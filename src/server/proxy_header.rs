//! The PROXY protocol, versions 1 and 2: how a proxy names a client before the client's first byte. On `client-N`.
//!
//! Blocks in `recv`, until the deadline of the first head. It never consumes bytes behind the header, which may be TLS.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

use crate::connection::connection::Connection;
use crate::connection::timed_io::Deadline;
use crate::error::uninterrupted;
use crate::net::tcp::Tcp;
use crate::server::client::Client;

/// How a header of version 1 begins, and its most bytes with the line end.
const V1: &[u8] = b"PROXY ";
const MAX_V1: usize = 107;
/// How a header of version 2 begins, the bytes until its length is known, and the most that may follow these.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
const MAX_V2: usize = 536;

/// How much of a header has arrived.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    /// All of it, which has this many bytes.
    Whole(usize),
    /// All bytes so far belong to it, and more must come.
    Part,
    /// Not a header.
    Wrong,
}

/// Blocks until the header has arrived. Returns the client that it names, or `None` inside for one of the proxy's own
/// checks. `None` means that the connection is unusable.
#[inline(never)]
pub(crate) fn read(client: &Client, deadline: Deadline) -> Option<Option<SocketAddr>> {
    let connection = &client.connection;
    let tcp = connection.link().tcp();
    let (mut header, mut ahead) = (Vec::new(), vec![0; V2_FIXED + MAX_V2]);
    loop {
        let seen = match peek(tcp, &mut ahead, deadline) {
            // A check by TCP alone connects and closes.
            Ok(0) if header.is_empty() => return None,
            Ok(0) => return wrong(connection),
            Ok(seen) => seen,
            Err(error) => {
                log::debug!("{connection}: no PROXY header: {error}");
                return None;
            }
        };
        let before = header.len();
        header.extend_from_slice(&ahead[..seen]);
        let extent = extent(&header);
        if let Extent::Whole(length) = extent {
            header.truncate(length);
        }
        // The header has arrived, so this does not block.
        let taken = header.len() - before;
        if !matches!(tcp.recv(&mut ahead[..taken]), Ok(length) if length == taken) {
            return None;
        }
        match extent {
            Extent::Whole(_) => return named(&header).or_else(|| wrong(connection)),
            Extent::Part => {}
            Extent::Wrong => return wrong(connection),
        }
    }
}

/// Logs that a proxy does not speak the protocol, at most once a minute.
#[cold]
#[inline(never)]
fn wrong<T>(connection: &Connection) -> Option<T> {
    let why = "let the proxy send one, or turn the PROXY protocol off";
    let peer = connection.link().peer.ip().to_canonical();
    connection.state().trouble().warn_of("a trusted proxy sends no valid PROXY header", &why, &peer);
    None
}

/// Peeks at the bytes that have arrived, and blocks at most until the deadline.
fn peek(tcp: &Tcp, bytes: &mut [u8], deadline: Deadline) -> io::Result<usize> {
    let peeked = uninterrupted(|| {
        tcp.set_recv_timeout(Some(deadline.left()?))?;
        tcp.stream.peek(bytes)
    });
    peeked.map_err(|error| deadline.named(error))
}

fn extent(bytes: &[u8]) -> Extent {
    let begins_as = |signature: &[u8]| bytes.iter().zip(signature).all(|(one, other)| one == other);
    if begins_as(V2) {
        let Some(length) = bytes.get(V2_FIXED - 2..V2_FIXED) else { return Extent::Part };
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        match V2_FIXED + length {
            _ if length > MAX_V2 => Extent::Wrong,
            whole if whole <= bytes.len() => Extent::Whole(whole),
            _ => Extent::Part,
        }
    } else if begins_as(V1) {
        let line = &bytes[..bytes.len().min(MAX_V1)];
        match line.windows(2).position(|two| two == b"\r\n") {
            Some(at) => Extent::Whole(at + 2),
            None if line.len() == MAX_V1 => Extent::Wrong,
            None => Extent::Part,
        }
    } else {
        Extent::Wrong
    }
}

/// Reads a whole header: the client, `None` inside if it names no client, and `None` if it is invalid.
fn named(header: &[u8]) -> Option<Option<SocketAddr>> {
    let (parsed, length) = ProxyHeader::parse(header, ParseConfig::default()).ok()?;
    match parsed.proxied_address() {
        _ if length != header.len() => None,
        Some(address) if address.protocol == Protocol::Stream => Some(Some(address.source)),
        Some(_) => None,
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2: version and command, family and protocol, what follows.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length[..], rest].concat()
    }

    const V4_REST: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 9, 0x30, 0x39, 0, 80];

    #[test]
    fn whose_a_header_is_as_a_table() {
        let rest6 =
            [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0x30, 0x39, 0, 80]].concat();
        let with_more = [&V4_REST[..], &[4, 0, 3, 1, 2, 3]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.9 12345 80\r\n".to_vec(), Some("192.0.2.1:12345")),
            (b"PROXY TCP6 2001:db8::1 ::1 12345 80\r\n".to_vec(), Some("[2001:db8::1]:12345")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &V4_REST), Some("192.0.2.1:12345")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.1:12345")),
            (v2(0x21, 0x21, &rest6), Some("[2001:db8::1]:12345")),
            (v2(0x20, 0x11, &V4_REST), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0, &[]), None),
        ] {
            let more = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(extent(&more), Extent::Whole(header.len()), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(extent(&header[..end]), Extent::Part, "{end} of {header:?}");
            }
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(named(&header), Some(expected), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_as_a_table() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXX",
            b"proxy ",
            b"\x16\x03\x01",
            b"\r\n\r\n\0\r\nQUIX",
            &v2(0x21, 0x11, &[0; MAX_V2 + 1]),
            &[V1, &[b'x'; MAX_V1]].concat(),
        ] {
            assert_eq!(extent(bytes), Extent::Wrong, "{bytes:?}");
        }
        for header in [
            b"PROXY TCP4 192.0.2.1 192.0.2.9 12345\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.9 99999 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 12345 80\r\n".to_vec(),
            b"PROXY TCP9 192.0.2.1 192.0.2.9 12345 80\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            v2(0x31, 0x11, &V4_REST),
            v2(0x22, 0x11, &V4_REST),
            v2(0x21, 0x12, &V4_REST),
            v2(0x21, 0x11, &V4_REST[..8]),
        ] {
            assert_eq!(extent(&header), Extent::Whole(header.len()));
            assert_eq!(named(&header), None, "{header:?}");
        }
    }
}
