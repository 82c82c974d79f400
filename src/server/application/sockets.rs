//! The kernel's buffer for each socket.

use super::Application;

impl Application {
    /// Sets the most bytes that the kernel may hold for a client, sent and not acknowledged (`SO_SNDBUF`). Linux
    /// doubles the number, and uses at least 4,608. Unless it is set, the kernel's buffer grows with the connection, up
    /// to 4 MB (`net.ipv4.tcp_wmem`).
    ///
    /// The [`backlog`](crate::Connection::backlog) does not include bytes in the kernel. So a slow client may get data
    /// that is seconds old, long before it is a slow consumer. Where only the newest values count, such as prices, 16
    /// KiB or 64 KiB make the backlog accurate. Fast, distant clients pay for it: each round trip carries at most this
    /// number of bytes.
    ///
    /// # Panics
    /// If `bytes` is 0, or more than 1 GiB.
    #[track_caller]
    pub fn send_buffer(mut self, bytes: usize) -> Application {
        assert!((1..=1 << 30).contains(&bytes), "a send buffer has 1 byte to 1 GiB, not {bytes}");
        self.settings.send_buffer = Some(bytes);
        self
    }
}
