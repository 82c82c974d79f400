//! What the kernel keeps for each socket.

use super::Application;

impl Application {
    /// Sets the bytes that the kernel may hold of what is sent to a client and not acknowledged, of which Linux takes
    /// twice as many, and no fewer than 4,608 (`SO_SNDBUF`). Unless it is set, the kernel lets them grow with the
    /// connection, up to 4 MB (`net.ipv4.tcp_wmem`).
    ///
    /// What the kernel has taken is in no [`backlog`](crate::Connection::backlog). So a slow client may get data that is
    /// seconds old, long before it is a slow consumer. Where only the newest values count, such as prices, 16 KiB or
    /// 64 KiB make the backlog tell the truth. Fast clients that are far away pay for it: no more than this is on its way
    /// in each round trip.
    ///
    /// # Panics
    /// If there are none, or more than 1 GiB.
    #[track_caller]
    pub fn send_buffer(mut self, bytes: usize) -> Application {
        assert!((1..=1 << 30).contains(&bytes), "a send buffer has 1 byte to 1 GiB, not {bytes}");
        self.settings.send_buffer = Some(bytes);
        self
    }
}
