//! [`compress`]: compresses a message for permessage-deflate (RFC 7692, section 7.2.1), on the thread that pushes it.
//!
//! Each message is compressed without context from the previous one, so a few compressors serve every connection of the
//! process. Never here: waiting for one of them.

use std::sync::Mutex;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Compressors of the process: the most messages that are compressed concurrently.
const COMPRESSORS: usize = 8;
/// Ends the flushed data, and is not sent.
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The most bytes that compression adds to an empty message.
const SPARE: usize = 128;
/// The compressors' window is `1 << MAX_WINDOW_BITS` bytes, the largest in the protocol.
pub(crate) const MAX_WINDOW_BITS: u8 = 15;
/// From 0 to 9. Higher levels cost half as much again and save 2 %. Level 1 panics in zlib-rs 0.6.8 if the output
/// buffer is smaller than it expects.
/// not find the room that it wants.
const LEVEL: u32 = 2;

/// Created on first use, and kept: one takes up to 300 KiB.
static POOL: [Mutex<Option<Compress>>; COMPRESSORS] = [const { Mutex::new(None) }; COMPRESSORS];

/// Returns the compressed payload, or `None` if it is not smaller or all compressors are busy.
pub(crate) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    let mut place = POOL.iter().find_map(|place| place.try_lock().ok())?;
    let compressor = place.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false));
    compressor.reset();
    // Large enough for the worst case, so that one call does it.
    let mut compressed = Vec::with_capacity(payload.len() + payload.len() / 8 + SPARE);
    let status = compressor.compress_vec(payload, &mut compressed, FlushCompress::Sync);
    let is_whole = matches!(status, Ok(Status::Ok)) && compressed.len() < compressed.capacity();
    if !is_whole || !compressed.ends_with(&TAIL) {
        return None;
    }
    compressed.truncate(compressed.len() - TAIL.len());
    (compressed.len() < payload.len()).then_some(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incompressible_message_stays_uncompressed() {
        for payload in [&b""[..], b"a", b"abc", &[0xff; 3], b"0123456789abcdef"] {
            assert_eq!(compress(payload), None, "{payload:?}");
        }
        let compressed = compress(&[b'x'; 4096]).expect("becomes smaller");
        assert!(compressed.len() < 64, "{}", compressed.len());
    }

    #[test]
    fn nobody_waits_for_a_compressor() {
        let all: Vec<_> = POOL.iter().map(|place| place.lock().unwrap()).collect();
        assert_eq!(compress(&[b'x'; 4096]), None);
        drop(all);
        assert!(compress(&[b'x'; 4096]).is_some());
    }
}
