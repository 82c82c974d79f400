//! The handshake on the client's side: its request, and the server's answer.

use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::load::event::Ended;

/// The longest response head that a server may send, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// The offer of compression that browsers make.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// The request for `target` (path and query), with or without the offer of compression, and the Sec-WebSocket-Accept
/// that must answer it.
pub fn request(target: &str, compression: bool) -> (String, String) {
    let (key, offer) = (generate_key(), if compression { OFFER } else { "" });
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    );
    (request, derive_accept_key(key.as_bytes()))
}

/// The length of a response's head; None if it is incomplete, an error unless it accepts the handshake.
pub fn head_length(bytes: &[u8], accept: &str) -> Result<Option<usize>, Ended> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_LIMIT {
            Err(Ended::Protocol("a response head of more than 16 KiB"))
        } else {
            Ok(None)
        };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    match status {
        Some(101) if head.contains(accept) => Ok(Some(end + 4)),
        Some(101) => Err(Ended::Protocol("a wrong Sec-WebSocket-Accept")),
        Some(status) => Err(Ended::Refused(status)),
        None => Err(Ended::Protocol("not an HTTP response")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_judged_once_it_is_whole() {
        for (head, expected) in [
            ("HTTP/1.1 101 Switching", Ok(None)),
            ("HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: abc=\r\n\r\nrest", Ok(Some(47))),
            ("HTTP/1.1 503 Full\r\nRetry-After: 1\r\n\r\n", Err(Ended::Refused(503))),
        ] {
            assert_eq!(head_length(head.as_bytes(), "abc="), expected, "{head}");
        }
        assert!(head_length(b"HTTP/1.1 101 OK\r\n\r\n", "abc=").is_err());
        assert!(head_length(b"SSH-2.0\r\n\r\n", "abc=").is_err());
    }
}
