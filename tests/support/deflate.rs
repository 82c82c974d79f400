//! Payloads of permessage-deflate, as a client makes and reads them.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Ends compressed data, and is not sent.
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A message's payload, compressed as by a client.
pub fn deflated(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + message.len() / 8 + 128);
    let mut compress = Compress::new(Compression::new(6), false);
    compress.compress_vec(message, &mut bytes, FlushCompress::Sync).unwrap();
    assert_eq!(compress.total_in(), message.len() as u64);
    assert_eq!(bytes.split_off(bytes.len() - 4), TAIL);
    bytes
}

/// A client's inflation of a payload with a window of `bits`, a few bytes per call, so that it needs its window.
/// (zlib-rs does not support 8 bits.)
pub fn inflated(payload: &[u8], bits: u8) -> Vec<u8> {
    let input = [payload, &TAIL].concat();
    let mut decompress = Decompress::new_with_window_bits(false, bits.max(9));
    let (mut bytes, mut piece) = (Vec::new(), [0; 100]);
    loop {
        let (used, made) = (decompress.total_in() as usize, decompress.total_out());
        decompress.decompress(&input[used..], &mut piece, FlushDecompress::None).expect("is compressed data");
        let length = (decompress.total_out() - made) as usize;
        bytes.extend_from_slice(&piece[..length]);
        if length == 0 {
            assert_eq!(decompress.total_in(), input.len() as u64);
            return bytes;
        }
    }
}
