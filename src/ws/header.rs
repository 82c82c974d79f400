//! [`Header`]: a frame's header, parsed as its bytes arrive. Pure.

/// A frame's header (RFC 6455, section 5.2): two bytes, a length of up to eight, a mask of four.
const MAX_HEADER: usize = 14;
/// In the first byte, and in the second one.
pub(crate) const FIN: u8 = 0x80;
pub(crate) const MASKED: u8 = 0x80;
/// Opcodes; those of control frames begin with Close.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const CLOSE: u8 = 8;

/// The header of the current frame, as far as it has arrived.
#[derive(Default)]
pub(crate) struct Header {
    bytes: [u8; MAX_HEADER],
    /// Bytes that have arrived; 0 between two frames.
    have: usize,
}

impl Header {
    /// Takes bytes until it is complete. Returns their number.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while !self.is_complete() && taken < bytes.len() {
            self.bytes[self.have] = bytes[taken];
            self.have += 1;
            taken += 1;
        }
        taken
    }

    /// Forgets the current frame.
    pub(crate) fn clear(&mut self) {
        self.have = 0;
    }

    /// Returns whether the next byte begins a frame.
    #[cfg(any(test, feature = "deflate"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// Returns whether it is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.have >= 2 && self.have == 2 + self.length_bytes() + if self.is_masked() { 4 } else { 0 }
    }

    /// Returns the length of the payload. The header must be complete.
    pub(crate) fn length(&self) -> u64 {
        match self.bytes[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([self.bytes[2], self.bytes[3]])),
            127 => u64::from_be_bytes(self.bytes[2..10].try_into().expect("eight bytes")),
            length => u64::from(length),
        }
    }

    /// Returns the kind of the frame. The first byte must have arrived, as for the next method.
    pub(crate) fn opcode(&self) -> u8 {
        self.bytes[0] & 0x0f
    }

    /// Returns whether the frame is the last one of its message.
    pub(crate) fn is_final(&self) -> bool {
        self.bytes[0] & FIN != 0
    }

    /// Returns whether the payload is masked. Two bytes must have arrived.
    pub(crate) fn is_masked(&self) -> bool {
        self.bytes[1] & MASKED != 0
    }

    /// Returns the mask, zeros if the payload is not masked. The header must be complete.
    pub(crate) fn mask(&self) -> [u8; 4] {
        if self.is_masked() {
            self.bytes[self.have - 4..self.have].try_into().expect("four bytes")
        } else {
            [0; 4]
        }
    }

    fn length_bytes(&self) -> usize {
        match self.bytes[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }
}
