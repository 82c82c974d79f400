//! Where a message ends, and where it was cut.

use super::*;
use crate::ws::compress::TAIL;

/// Returns the result of one compressed message.
fn message(data: &[u8]) -> Option<Vec<u8>> {
    let wire = frame(TEXT | RSV1 | FIN, data);
    let got = read(&mut Inflater::new(MAX, true), &wire, 64 << 10);
    match got {
        Ok(got) => messages(&got).pop().map(|(_, message)| message),
        Err(error) => {
            assert_eq!(error, InflateError::Data);
            None
        }
    }
}

#[test]
fn a_message_ends_where_a_block_ends() {
    let _alone = alone();
    let stored = |says: u16, is: usize| {
        [&[0][..], &says.to_le_bytes(), &(!says).to_le_bytes(), &vec![b'x'; is]].concat()
    };
    for (case, data, expected) in [
        ("nothing", vec![], Some(0)),
        ("an empty block's header", vec![0], Some(0)),
        ("an empty block, left in place", [&[0][..], &TAIL].concat(), Some(0)),
        ("an empty block without the start of its header", TAIL.to_vec(), None),
        ("half of the empty block", vec![0, 0, 0], None),
        ("a stored block", stored(10, 10), Some(10)),
        ("a stored block, and the next header", [stored(10, 10), vec![0]].concat(), Some(10)),
        ("a stored block, and an empty one", [stored(10, 10), vec![0], TAIL.to_vec()].concat(), Some(10)),
        ("a stored block that has too little", stored(100, 10), None),
        ("a stored block with room for the empty block's length", stored(14, 10), None),
        ("a stored block with room for some of it", stored(12, 10), None),
        (
            "a stored block that ends with what looks like an empty one",
            [stored(14, 10), TAIL.to_vec()].concat(),
            Some(14),
        ),
        ("the length of a stored block", vec![0, 10, 0], None),
        ("a last block", vec![0x4b, 0x4c, 0x04, 0x00], Some(2)),
        ("a block of codes without its end", vec![0x4a, 0x4c], None),
        ("an invalid block", vec![7], None),
    ] {
        assert_eq!(message(&data).map(|message| message.len()), expected, "{case}");
    }
}

#[test]
fn a_message_that_is_cut_anywhere_is_refused() {
    let _alone = alone();
    let noise: Vec<u8> = (0..40_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 21) as u8 % 32).collect();
    for sent in [&[b'x'; 1000], &noise[..500], &noise] {
        let data = compress(sent).expect("it becomes smaller");
        assert_eq!(message(&data).as_deref(), Some(sent));
        assert_eq!(message(&[&data[..], &TAIL].concat()).as_deref(), Some(sent), "its tail is left in place");
        let step = data.len() / 300 + 1;
        for cut in (1..data.len()).step_by(step) {
            assert_eq!(message(&data[..cut]), None, "{cut} of {}", data.len());
        }
        for extra in 1..TAIL.len() {
            let cut = [&data[..], &TAIL[..extra]].concat();
            assert_eq!(message(&cut), None, "{extra} bytes of its tail are left in place");
        }
    }
}
