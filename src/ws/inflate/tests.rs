use std::sync::{Mutex, MutexGuard, PoisonError};

use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::frame::Frame as Encoder;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

use super::*;
use crate::ws::compress::compress;

const MAX: usize = 1 << 20;
const TEXT: u8 = 1;
const PING: u8 = 9;

/// All tests share one pool: those that look at it run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    Inflater::prepare();
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a masked frame; `first` has its opcode and its bits.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final: first & FIN != 0,
        rsv1: first & RSV1 != 0,
        rsv2: first & 0x20 != 0,
        rsv3: first & 0x10 != 0,
        opcode: OpCode::from(first & 0x0f),
        mask: Some([1, 2, 3, 4]),
    };
    let mut bytes = Vec::new();
    Encoder::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes
}

/// Returns a message as compressed data, even if that is larger.
fn deflated(message: &[u8]) -> Vec<u8> {
    compress(message).unwrap_or_else(|| stored(message))
}

/// Returns a message as stored blocks, without compression (RFC 1951, section 3.2.4).
fn stored(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in message.chunks(0xffff) {
        bytes.push(0);
        bytes.extend((block.len() as u16).to_le_bytes());
        bytes.extend((!(block.len() as u16)).to_le_bytes());
        bytes.extend(block);
    }
    bytes.push(0);
    bytes
}

/// Returns the output of the inflater, if `wire` arrives in pieces of `cut` bytes: the first byte of each frame, and
/// its payload.
fn read(inflater: &mut Inflater, wire: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>)>, InflateError> {
    let room = cut.min(256);
    let mut out = Vec::new();
    let mut pieces = wire.chunks(cut);
    let mut piece: &[u8] = &[];
    loop {
        let ready = inflater.ready()?;
        let ready = &ready[..ready.len().min(room)];
        out.extend_from_slice(ready);
        let length = ready.len();
        if length > 0 {
            inflater.handed_out(length);
        } else if piece.is_empty() {
            let Some(next) = pieces.next() else { return Ok(frames(&out)) };
            piece = next;
        } else {
            let taken = match inflater.take(piece, room)? {
                Taken::Plain(taken) => {
                    out.extend_from_slice(&piece[..taken]);
                    taken
                }
                Taken::Kept(taken) => taken,
            };
            piece = &piece[taken..];
        }
    }
}

/// Splits masked frames: the first byte of each, and its payload. The last one may be cut short.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let mut header = Header::default();
        let length = header.take(bytes);
        let (head, rest) = bytes.split_at(length);
        let payload = &rest[..rest.len().min(header.length() as usize)];
        let mask = header.mask();
        found.push((
            head[0],
            payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
        ));
        bytes = &rest[payload.len()..];
    }
    found
}

/// Returns the data messages among frames: opcode, payload. Each must be complete.
fn messages(frames: &[(u8, Vec<u8>)]) -> Vec<(u8, Vec<u8>)> {
    let mut found: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut is_open = false;
    for (first, payload) in frames.iter().filter(|(first, _)| first & 0x0f < CLOSE) {
        assert_eq!(first & RESERVED, 0);
        assert!(payload.len() <= CHUNK);
        if first & 0x0f == CONTINUATION {
            assert!(is_open);
            found.last_mut().unwrap().1.extend(payload);
        } else {
            assert!(!is_open);
            found.push((first & 0x0f, payload.clone()));
        }
        is_open = first & FIN == 0;
    }
    assert!(!is_open);
    found
}

/// A message in compressed fragments, split at `cuts`, with a Ping after each but the last.
fn fragments(opcode: u8, data: &[u8], cuts: &[prop::sample::Index]) -> Vec<u8> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
    cuts.sort_unstable();
    let (mut wire, mut at, mut first) = (Vec::new(), 0, opcode | RSV1);
    for cut in cuts {
        wire.extend(frame(first, &data[at..cut]));
        wire.extend(frame(PING | FIN, b"ping"));
        (at, first) = (cut, CONTINUATION);
    }
    wire.extend(frame(first | FIN, &data[at..]));
    wire
}

proptest! {
    #[test]
    fn any_message_inflates_to_itself_however_it_is_cut(
        sent in vec(
            (
                prop_oneof![vec(any::<u8>(), 0..300), vec(0..4u8, 0..40_000), vec(any::<u8>(), 0..40_000)],
                vec(any::<prop::sample::Index>(), 0..5),
                1..=2u8,
                any::<bool>(),
            ),
            1..4,
        ),
        cut in prop_oneof![1..40usize, 1000..70_000usize],
    ) {
        let _alone = alone();
        let (mut wire, mut pings) = (Vec::new(), 0);
        for (message, cuts, opcode, is_compressed) in &sent {
            if *is_compressed {
                wire.extend(fragments(*opcode, &deflated(message), cuts));
            } else {
                wire.extend(frame(opcode | FIN, &message[..message.len().min(CHUNK)]));
            }
            pings += if *is_compressed { cuts.len() } else { 0 };
        }
        let mut inflater = Inflater::new(MAX, true);
        let got = read(&mut inflater, &wire, cut).unwrap();
        let expected: Vec<_> = sent
            .into_iter()
            .map(|(message, _, opcode, is_compressed)| {
                let length = if is_compressed { message.len() } else { message.len().min(CHUNK) };
                (opcode, message[..length].to_vec())
            })
            .collect();
        prop_assert!(messages(&got) == expected);
        prop_assert_eq!(got.iter().filter(|(first, _)| *first == PING | FIN).count(), pings);
        prop_assert_eq!((inflater.left(), inflater.waiting()), (0, 0));
    }

    #[test]
    fn any_bytes_are_inflated_or_refused_without_a_panic(
        message in vec(0..4u8, 0..40_000),
        noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        cut in 1..70_000usize,
    ) {
        let _alone = alone();
        let mut data = deflated(&message);
        for (at, byte) in noise {
            let at = at.index(data.len());
            data[at] = byte;
        }
        let mut inflater = Inflater::new(MAX, true);
        if let Ok(got) = read(&mut inflater, &frame(TEXT | RSV1 | FIN, &data), cut) {
            prop_assert_eq!(messages(&got).len(), 1);
            prop_assert_eq!(inflater.waiting(), 0);
        }
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let _alone = alone();
    // RFC 7692, section 7.2.3: "Hello" in one fragment and in two, without compression, and with a last block.
    let hello: &[&[u8]] = &[
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // Without the zero after a last block, which zlib does not need either.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        // Two blocks.
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ];
    let mut inflater = Inflater::new(MAX, true);
    for data in hello {
        for cut in [1, 3, 100] {
            let got = read(&mut inflater, &frame(TEXT | RSV1 | FIN, data), cut).unwrap();
            assert_eq!(messages(&got), [(TEXT, b"Hello".to_vec())], "{data:x?}");
        }
        let halves = [frame(TEXT | RSV1, &data[..3]), frame(FIN, &data[3..])].concat();
        assert_eq!(messages(&read(&mut inflater, &halves, 7).unwrap()), [(TEXT, b"Hello".to_vec())]);
    }
    for nothing in [&[][..], &[0], &[3, 0]] {
        let got = read(&mut inflater, &frame(TEXT | RSV1 | FIN, nothing), 100).unwrap();
        assert_eq!(got, [(TEXT | FIN, Vec::new())]);
    }
}

#[test]
fn misuse_as_a_table() {
    let _alone = alone();
    let data = deflated(&[b'x'; 1000]);
    let begun = frame(TEXT | RSV1, &data[..4]);
    let unmasked = |first: u8| vec![first, 1, b'x'];
    let after_begun = |wire: Vec<u8>| [begun.clone(), wire].concat();
    // Frames for tungstenite to judge pass unchanged.
    let as_it_is = |wire: Vec<u8>| Ok(frames(&wire));
    for (case, wire, expected) in [
        ("RSV2", frame(TEXT | 0x20 | FIN, b"x"), None),
        ("RSV1 and RSV3", frame(TEXT | RSV1 | 0x10 | FIN, b"x"), None),
        ("RSV1 on a Ping", frame(PING | RSV1 | FIN, b"x"), None),
        ("RSV1 on a continuation of nothing", frame(RSV1 | FIN, b"x"), None),
        ("RSV1 on a reserved opcode", frame(3 | RSV1 | FIN, b"x"), None),
        ("RSV1 on a continuation", after_begun(frame(RSV1 | FIN, &data[4..])), Some(InflateError::Protocol)),
        ("RSV2 on a continuation", after_begun(frame(0x20 | FIN, &data[4..])), Some(InflateError::Protocol)),
        ("a text within", after_begun(frame(TEXT | FIN, b"x")), Some(InflateError::Protocol)),
        (
            "a compressed text within",
            after_begun(frame(TEXT | RSV1 | FIN, &data)),
            Some(InflateError::Protocol),
        ),
        ("no mask", unmasked(TEXT | RSV1 | FIN), Some(InflateError::Protocol)),
        ("no mask later", after_begun(unmasked(FIN)), Some(InflateError::Protocol)),
        ("no compressed data", frame(TEXT | RSV1 | FIN, &[0xff; 20]), Some(InflateError::Data)),
        ("an invalid stored block", frame(TEXT | RSV1 | FIN, &[0, 1, 0, 1, 0, 7]), Some(InflateError::Data)),
    ] {
        let expected = expected.map_or_else(|| as_it_is(wire.clone()), Err);
        assert_eq!(read(&mut Inflater::new(MAX, true), &wire, 100), expected, "{case}");
    }
}

#[test]
fn a_message_that_is_too_large_before_it_is_inflated_is_refused_at_its_header() {
    let limit = MAX + MAX / 16 + 1024;
    let begin = |length: usize| {
        let mut inflater = Inflater::new(MAX, true);
        let header = [&[TEXT | RSV1 | FIN, 0x80 | 127][..], &(length as u64).to_be_bytes(), &[0; 4]].concat();
        inflater.take(&header, 1)
    };
    assert_eq!(begin(limit), Ok(Taken::Kept(14)));
    assert_eq!(begin(limit + 1), Err(InflateError::TooLarge));
    assert_eq!(begin(usize::MAX), Err(InflateError::TooLarge));
    let mut inflater = Inflater::new(0, true);
    let halves = [frame(TEXT | RSV1, &[0; 1000]), frame(CONTINUATION, &[0; 25])].concat();
    assert_eq!(read(&mut inflater, &halves, 5000), Err(InflateError::TooLarge));
}

#[test]
fn the_largest_message_may_be_one_that_cannot_be_compressed() {
    let _alone = alone();
    let message: Vec<u8> = (0..MAX).map(|at| (at * at / 7 % 251) as u8).collect();
    let wire = frame(TEXT | RSV1 | FIN, &stored(&message));
    let got = read(&mut Inflater::new(MAX, true), &wire, 64 << 10).unwrap();
    assert!(messages(&got) == [(TEXT, message)]);
}

#[test]
fn a_bad_message_ends_at_the_same_frame_however_it_is_cut() {
    let _alone = alone();
    // Bad data after the last complete part waits for the rest, and the next frame is judged first.
    for (good, expected) in [(PART - 100, InflateError::Data), (PART + 100, InflateError::Protocol)] {
        let data = [&stored(&vec![7; good])[..good + 5], &[0xff; 200]].concat();
        let wire = [frame(TEXT | RSV1, &data), frame(RSV1, b"")].concat();
        for cut in [1, 999, PART, 70_000] {
            assert_eq!(read(&mut Inflater::new(MAX, true), &wire, cut), Err(expected), "{good} {cut}");
        }
    }
}

mod ends;
mod states;
