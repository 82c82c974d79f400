//! A text frame as a server sends it, for the variants that encode it once and send it to all.

/// Longest payload whose length fits into the second byte of the header.
const SHORT: usize = 125;

/// The whole unmasked text frame around `text`.
pub fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 10);
    frame.push(0x81);
    if text.len() <= SHORT {
        frame.push(text.len() as u8);
    } else if let Ok(length) = u16::try_from(text.len()) {
        frame.push(126);
        frame.extend(length.to_be_bytes());
    } else {
        frame.push(127);
        frame.extend((text.len() as u64).to_be_bytes());
    }
    frame.extend(text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::text_frame;

    #[test]
    fn the_header_grows_with_the_payload() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text_frame(&"x".repeat(length));
            assert_eq!(frame[..header.len()], header, "payload of {length}");
            assert_eq!(frame.len(), header.len() + length);
        }
    }
}
