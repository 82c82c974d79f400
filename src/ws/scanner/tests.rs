use proptest::prelude::*;
use tungstenite::protocol::frame::Frame as Encoder;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

use super::*;

fn frame(opcode: u8, is_final: bool, masked: bool, payload: Vec<u8>) -> Vec<u8> {
    let mut frame = Encoder::from_payload(
        FrameHeader {
            is_final,
            opcode: OpCode::from(opcode),
            mask: masked.then_some([1, 2, 3, 4]),
            ..FrameHeader::default()
        },
        payload.into(),
    );
    frame.header_mut().is_final = is_final;
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

/// Feeds `bytes` in pieces of `cut`, and returns the lengths of the frames it found.
fn frames(scanner: &mut Scanner, bytes: &[u8], cut: usize) -> Option<Vec<usize>> {
    let (mut lengths, mut length) = (Vec::new(), 0);
    for mut piece in bytes.chunks(cut) {
        while !piece.is_empty() {
            let taken = scanner.scan(piece).ok()?;
            length += taken;
            piece = &piece[taken..];
            if scanner.header.is_empty() {
                lengths.push(std::mem::take(&mut length));
            }
        }
    }
    Some(lengths)
}

proptest! {
    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut(
        payloads in prop::collection::vec((0usize..300, any::<bool>()), 1..6),
        cut in 1usize..200,
        large in prop::option::of(65_530usize..65_540),
    ) {
        let payloads = payloads.into_iter().chain(large.map(|length| (length, true)));
        let frames_in: Vec<_> = payloads.map(|(length, masked)| frame(2, true, masked, vec![7; length])).collect();
        let found = frames(&mut Scanner::new(1 << 20), &frames_in.concat(), cut);
        prop_assert_eq!(found, Some(frames_in.iter().map(Vec::len).collect()));
    }

    #[test]
    fn any_bytes_are_scanned_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        let _ = frames(&mut Scanner::new(1000), &bytes, cut);
    }
}

#[test]
fn the_limit_counts_the_whole_message_and_is_inclusive() {
    let all = |frames_in: &[Vec<u8>]| frames(&mut Scanner::new(10), &frames_in.concat(), 3).is_some();
    assert!(all(&[frame(2, true, true, vec![0; 10])]));
    assert!(!all(&[frame(2, true, true, vec![0; 11])]));
    assert!(all(&[
        frame(1, false, true, vec![0; 5]),
        frame(9, true, true, vec![0; 9]),
        frame(0, true, true, vec![0; 5])
    ]));
    assert!(!all(&[frame(1, false, true, vec![0; 5]), frame(0, true, true, vec![0; 6])]));
    assert!(all(&[frame(1, true, true, vec![0; 9]), frame(1, true, true, vec![0; 9])]));
    // From the header alone.
    assert_eq!(
        Scanner::new(10).scan(&frame(2, true, true, vec![0; 11])[..6]),
        Err(HeaderError::MessageTooLarge)
    );
    assert_eq!(
        Scanner::new(u64::MAX).scan(&[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]),
        Ok(14)
    );
}

#[test]
fn the_close_code_is_the_one_that_was_sent() {
    for (payload, close) in [
        (&b"\x03\xe9bye"[..], Some((1001, "bye"))),
        (b"\x03\xf6try later", Some((1014, "try later"))),
        (b"\x03\xe8", Some((1000, ""))),
        (b"\x03\xe7bye", None),
        (b"\x03\xe8\xff", None),
        (b"\x03", None),
        (b"", None),
    ] {
        for (masked, cut) in [(true, 100), (true, 1), (true, 3), (false, 100)] {
            let mut scanner = Scanner::new(10);
            frames(&mut scanner, &frame(8, true, masked, payload.to_vec()), cut).unwrap();
            assert_eq!(scanner.close(), close, "{payload:?}");
        }
    }
}
