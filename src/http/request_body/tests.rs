use proptest::prelude::*;

use super::*;

/// The most bytes in a body here.
const MAX: usize = 100;

fn status_of(error: Error) -> u16 {
    match error {
        Error::Refused { status, .. } => status,
        other => panic!("no refusal: {other}"),
    }
}

/// A body and the bytes after it, `None` if it is incomplete, or the status of its refusal.
type Decoded = std::result::Result<Option<(Vec<u8>, Vec<u8>)>, u16>;

/// Feeds pieces until the body ends.
fn decode(framing: Framing, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = BodyDecoder::new(framing, MAX).map_err(status_of)?;
    let mut behind = Vec::new();
    for piece in pieces {
        let taken = decoder.take(piece).map_err(status_of)?;
        assert!(decoder.is_done() || taken == piece.len(), "takes all until it is done");
        behind.extend_from_slice(&piece[taken..]);
    }
    Ok(decoder.is_done().then(|| (decoder.into_body(), behind)))
}

#[test]
fn framings_as_a_table() {
    let length = |length| Ok(Some(Framing::Length(length)));
    let chunked = Ok(Some(Framing::Chunked));
    for (lines, http_1_0, expected) in [
        (&[][..], false, Ok(None)),
        (&["Content-Length: 0"][..], false, Ok(None)),
        (&["Content-Length: 5"], false, length(5)),
        (&["Content-Length: 5"], true, length(5)),
        (&["Content-Length: 18446744073709551615"], false, length(u64::MAX)),
        (&["Content-Length: 18446744073709551616"], false, Err(400)),
        (&["Content-Length: 5", "Content-Length: 5"], false, Err(400)),
        (&["Content-Length: 5", "Content-Length: 6"], false, Err(400)),
        (&["Content-Length: 5, 5"], false, Err(400)),
        (&["Content-Length: +5"], false, Err(400)),
        (&["Content-Length: -5"], false, Err(400)),
        (&["Content-Length: 0x5"], false, Err(400)),
        (&["Content-Length: 05"], false, Err(400)),
        (&["Content-Length: 5.0"], false, Err(400)),
        (&["Content-Length: five"], false, Err(400)),
        (&["Content-Length: "], false, Err(400)),
        (&["Transfer-Encoding: chunked"], false, chunked),
        (&["Transfer-Encoding: CHUNKED"], false, chunked),
        (&["Transfer-Encoding: chunked"], true, Err(400)),
        (&["Transfer-Encoding: chunked", "Content-Length: 5"], false, Err(400)),
        (&["Transfer-Encoding: chunked", "Content-Length: 0"], false, Err(400)),
        (&["Transfer-Encoding: gzip, chunked"], false, Err(501)),
        (&["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], false, Err(501)),
        (&["Transfer-Encoding: , chunked"], false, Err(501)),
        (&["Transfer-Encoding: chunked, gzip"], false, Err(400)),
        (&["Transfer-Encoding: chunked, chunked"], false, Err(400)),
        (&["Transfer-Encoding: gzip"], false, Err(400)),
        (&["Transfer-Encoding: identity"], false, Err(400)),
        (&["Transfer-Encoding: xchunked"], false, Err(400)),
        (&["Transfer-Encoding: chunked;q=1"], false, Err(400)),
        (&["Transfer-Encoding: "], false, Err(400)),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        assert_eq!(Framing::of(&headers, http_1_0).map_err(status_of), expected, "{lines:?}");
    }
}

#[test]
fn chunked_bodies_as_a_table() {
    let long_extension = format!("1;{}\r\na\r\n", "x".repeat(4000));
    let body = |body: &str, behind: &str| Ok(Some((body.into(), behind.into())));
    for (bytes, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", body("hello", "")),
        ("5\r\nhello\r\n0\r\n\r\nGET /", body("hello", "GET /")),
        ("2\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n", body("hello", "")),
        ("A\r\n0123456789\r\n000\r\n\r\n", body("0123456789", "")),
        ("2\r\n\r\n\r\n0\r\n\r\n", body("\r\n", "")),
        ("0\r\n\r\n", body("", "")),
        ("1;name=value;\"q\"\r\na\r\n0;last\r\n\r\n", body("a", "")),
        ("1 ;x\r\na\r\n0\r\n\r\n", body("a", "")),
        ("1\r\na\r\n0\r\nX: y\r\nContent-Length: 7\r\n\r\nrest", body("a", "rest")),
        ("5\r\nhel", Ok(None)),
        ("1\r\na\r\n", Ok(None)),
        ("1\r\na\r\n0\r\n", Ok(None)),
        ("1\r\na\r\n0\r\n\r", Ok(None)),
        ("5\nhello\r\n0\r\n\r\n", Err(400)),
        ("5\r\nhello\n0\r\n\r\n", Err(400)),
        ("5\r\nhello\r\n0\n\r\n", Err(400)),
        ("5\r\nhello\r\n0\r\n\n", Err(400)),
        ("5\r\nhello0\r\n\r\n", Err(400)),
        ("5\r\nhello!\r\n0\r\n\r\n", Err(400)),
        ("5\rhello\r\n", Err(400)),
        ("5\r\r\nhello\r\n", Err(400)),
        ("+5\r\nhello\r\n", Err(400)),
        ("-5\r\nhello\r\n", Err(400)),
        ("0x5\r\nhello\r\n", Err(400)),
        (" 5\r\nhello\r\n", Err(400)),
        ("5 \r\nhello\r\n", Err(400)),
        ("5 x\r\nhello\r\n", Err(400)),
        ("5g\r\nhello\r\n", Err(400)),
        (";x\r\n", Err(400)),
        ("\r\n", Err(400)),
        ("1;a\0b\r\n", Err(400)),
        ("1;a\nb\r\n", Err(400)),
        ("00000000000000005\r\nhello\r\n", Err(400)),
        ("0\r\n folded: x\r\n\r\n", Err(400)),
        ("0\r\nno colon\r\n\r\n", Err(400)),
        ("0\r\n: no name\r\n\r\n", Err(400)),
        ("64\r\n", Ok(None)),
        ("65\r\n", Err(413)),
        ("1\r\na\r\n64\r\n", Err(413)),
        ("ffffffffffffffff\r\n", Err(413)),
        (&long_extension.repeat(4), Ok(None)),
        (&long_extension.repeat(5), Err(400)),
        (&format!("1;{}", "x".repeat(MAX_LINE)), Err(400)),
        (&format!("0\r\n{}", format!("X: {}\r\n", "y".repeat(4000)).repeat(5)), Err(400)),
    ] {
        assert_eq!(decode(Framing::Chunked, &[bytes.as_bytes()]), expected, "{bytes:.60?}");
    }
}

#[test]
fn counted_bodies_as_a_table() {
    let body = |body: &str, behind: &str| Ok(Some((body.into(), behind.into())));
    for (length, bytes, expected) in [
        (5, "hello", body("hello", "")),
        (5, "helloGET /", body("hello", "GET /")),
        (5, "hell", Ok(None)),
        (101, "", Err(413)),
        (u64::MAX, "", Err(413)),
    ] {
        assert_eq!(decode(Framing::Length(length), &[bytes.as_bytes()]), expected, "{length} {bytes}");
    }
}

#[test]
fn the_deadline_of_a_body_as_a_table() {
    let begun = Instant::now();
    let at = |millis| begun + Duration::from_millis(millis);
    for (case, came, deadline) in [
        ("nothing", &[][..], 10_000),
        ("a byte, late", &[(9_000, 1)][..], 10_000),
        ("a byte a second", &[(1_000, 1), (2_000, 1), (3_000, 1)], 10_000),
        ("a second's worth at once", &[(0, 16 << 10)], 10_000),
        ("a second's worth, late", &[(5_000, 16 << 10)], 11_000),
        ("ten seconds' worth, then nothing", &[(4_000, 160 << 10)], 14_000),
        ("exactly the rate", &[(10_000, 160 << 10), (20_000, 160 << 10)], 30_000),
    ] {
        let mut pace = Pace::begin(begun);
        came.iter().for_each(|(millis, bytes)| pace.took(*bytes, at(*millis)));
        assert_eq!(pace.deadline(), at(deadline), "{case}");
    }
}

/// Encodes a body in chunks of these sizes, with extensions and a trailer.
fn encode(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut bytes, mut rest, mut sizes) = (Vec::new(), body, sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        bytes.extend(format!("{:x};n={}\r\n", chunk.len(), rest.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = behind;
    }
    bytes.extend_from_slice(b"0\r\nX: y\r\n\r\n");
    bytes
}

proptest! {
    #[test]
    fn any_body_in_any_chunks_comes_out_whole(
        body in prop::collection::vec(any::<u8>(), 0..MAX),
        sizes in prop::collection::vec(1usize..40, 1..5),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let bytes = [encode(&body, &sizes), behind.clone()].concat();
        prop_assert_eq!(decode(Framing::Chunked, &[&bytes]), Ok(Some((body, behind))));
    }

    #[test]
    fn any_cut_is_decoded_alike(
        body in prop::collection::vec(any::<u8>(), 0..MAX),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = encode(&body, &[7, 1, 20]);
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.extend([0, bytes.len()]);
        ends.sort_unstable();
        let pieces: Vec<_> = ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        let single: Vec<_> = bytes.chunks(1).collect();
        let whole = decode(Framing::Chunked, &[&bytes]);
        prop_assert_eq!(&decode(Framing::Chunked, &pieces), &whole);
        prop_assert_eq!(&decode(Framing::Chunked, &single), &whole);
    }

    #[test]
    fn any_bytes_are_a_body_a_refusal_or_unfinished(bytes in "[0-9a-f;\r\n x:]{0,60}") {
        let _ = decode(Framing::Chunked, &[bytes.as_bytes()]);
    }
}
