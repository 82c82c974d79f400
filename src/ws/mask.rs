//! Masks of a client's frames (RFC 6455, section 5.3). Pure, any thread.
//!
//! Many connections may share a frame, so this masks a copy.

use crate::ws::frame::Frame;
use crate::ws::header::{Header, MASKED};

const MASK: usize = 4;

/// Returns a copy of a frame without a mask, with a fresh random one.
///
/// Not inlined: a server's push never runs it.
#[cold]
#[inline(never)]
pub(crate) fn masked(frame: &Frame) -> Frame {
    masked_with(rand::random(), frame)
}

fn masked_with(mask: [u8; MASK], frame: &Frame) -> Frame {
    let mut header = Header::default();
    let length = header.take(&frame.bytes);
    if !header.is_complete() {
        // An empty frame, with which the transport writes only its own data.
        return frame.clone();
    }
    let (header, payload) = frame.bytes.split_at(length);
    let mut bytes = Vec::with_capacity(frame.bytes.len() + MASK);
    bytes.extend_from_slice(header);
    bytes[1] |= MASKED;
    bytes.extend_from_slice(&mask);
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    apply(mask, &mut bytes[begin..]);
    Frame { bytes: bytes.into(), is_close: frame.is_close }
}

/// Returns a complete frame, masked or not, without its mask.
pub(crate) fn unmasked(frame: &[u8]) -> Vec<u8> {
    let mut header = Header::default();
    let length = header.take(frame);
    if !header.is_complete() || !header.is_masked() {
        return frame.to_vec();
    }
    let mut bytes = [&frame[..length - MASK], &frame[length..]].concat();
    bytes[1] &= !MASKED;
    apply(header.mask(), &mut bytes[length - MASK..]);
    bytes
}

/// Masks or unmasks. Word by word, which a compiler vectorizes.
fn apply(mask: [u8; MASK], payload: &mut [u8]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<MASK>();
    for each in words {
        *each = (u32::from_ne_bytes(*each) ^ word).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tungstenite::Bytes;

    use super::*;

    const ONES: [u8; MASK] = [1, 2, 4, 8];

    fn frame(bytes: &[u8]) -> Frame {
        Frame { bytes: Bytes::copy_from_slice(bytes), is_close: false }
    }

    #[test]
    fn a_mask_is_put_on_a_copy_and_comes_off_again() {
        for (plain, expected) in [
            (&b""[..], &b""[..]),
            (b"\x89\x00", b"\x89\x80\x01\x02\x04\x08"),
            (b"\x81\x05\0\0\0\0\0", b"\x81\x85\x01\x02\x04\x08\x01\x02\x04\x08\x01"),
        ] {
            let shared = frame(plain);
            let copy = masked_with(ONES, &shared);
            assert_eq!((&copy.bytes[..], &shared.bytes[..]), (expected, plain));
            assert_eq!((unmasked(&copy.bytes), unmasked(plain)), (plain.to_vec(), plain.to_vec()));
        }
        for length in [126_u16, 127, 65_535] {
            let plain = [&[0x82, 126][..], &length.to_be_bytes(), &vec![7; usize::from(length)]].concat();
            let copy = masked_with(ONES, &frame(&plain));
            assert_eq!((copy.bytes.len(), copy.bytes[1]), (plain.len() + MASK, MASKED | 126));
            assert!(unmasked(&copy.bytes) == plain, "{length}");
        }
        let long = [&[0x82, 127][..], &65_536_u64.to_be_bytes(), &[7; 65_536]].concat();
        assert!(unmasked(&masked_with(ONES, &frame(&long)).bytes) == long);
    }

    #[test]
    fn each_frame_has_its_own_mask() {
        let masks: HashSet<_> = (0..100).map(|_| masked(&frame(b"\x81\x01a")).bytes[2..6].to_vec()).collect();
        assert!(masks.len() > 90, "{}", masks.len());
    }
}
