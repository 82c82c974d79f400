//! Inflates the messages of a server, with context takeover or without.

use flate2::{Decompress, FlushDecompress, Status};

/// The end of a flush, which a server does not send (RFC 7692, section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Buffer space per step, in bytes.
const ROOM: usize = 8192;

/// One for each client: a server may keep context from the previous message.
pub struct Inflater(Decompress);

impl Inflater {
    /// Starts without context.
    pub fn new() -> Self {
        Self(Decompress::new(false))
    }

    /// Returns the message of a payload; None if it is invalid.
    pub fn inflate(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let input = [payload, &TAIL].concat();
        let (start, mut message) = (self.0.total_in(), Vec::new());
        loop {
            message.reserve(ROOM);
            let used = (self.0.total_in() - start) as usize;
            let status = self.0.decompress_vec(&input[used..], &mut message, FlushDecompress::Sync).ok()?;
            let is_all = (self.0.total_in() - start) as usize == input.len();
            match status {
                Status::StreamEnd => return None,
                _ if message.len() == message.capacity() => {}
                _ => return is_all.then_some(message),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    #[test]
    fn messages_of_any_size_are_inflated_one_after_the_other() {
        let mut inflater = Inflater::new();
        let mut compress = Compress::new(Compression::fast(), false);
        for size in [0, 1, 100, ROOM - 1, ROOM, ROOM + 1, 1 << 20] {
            let message: Vec<u8> = (0..size).map(|at| (at * at / 7 % 251) as u8).collect();
            let mut payload = Vec::with_capacity(size + size / 8 + 128);
            compress.compress_vec(&message, &mut payload, FlushCompress::Sync).unwrap();
            assert_eq!(payload.split_off(payload.len() - TAIL.len()), TAIL);
            assert!(inflater.inflate(&payload).unwrap() == message, "{size}");
        }
        assert_eq!(inflater.inflate(&[0xff; 9]), None);
    }
}
