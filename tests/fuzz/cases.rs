//! A client's input: requests and frames, valid ones and broken ones, from a seed.

use std::fmt::Write as _;

use crate::answers::Answer;
use crate::support::deflate::{TAIL, deflated};
use crate::support::dice::Dice;
use crate::support::{self, Wire, close_frame, frame, upgrade};
use crate::{MAX_BODY, MAX_MESSAGE};

/// The most bytes in an input that is not [`Ending::Greedy`]. The kernel buffers as many in both directions without a
/// reader, so that writing all of it before reading cannot block.
const MAX_INPUT: usize = 250_000;
/// Set in the first frame of a compressed message.
const RSV1: u8 = 0x40;
/// The most bytes of an input that goes byte by byte.
const MAX_BYTEWISE: usize = 600;

/// A client's input, and how the client leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub pieces: Vec<Vec<u8>>,
    pub ending: Ending,
    /// The expected answers, if the input is not broken.
    pub answers: Option<Vec<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Ends its own direction, and reads to the end of the server's.
    HalfClose,
    /// Ends nothing, if the server is going to end the connection on its own.
    Patient,
    /// Leaves with RST.
    Reset,
    /// Leaves with its answers unread.
    Leave,
    /// Sends the last piece in a loop, reads nothing, and the server has to disconnect it.
    Greedy,
}

impl Ending {
    pub fn name(self) -> &'static str {
        ENDINGS.iter().find(|(_, ending)| *ending == self).expect("all are there").0
    }
}

const ENDINGS: [(&str, Ending); 5] = [
    ("half-close", Ending::HalfClose),
    ("patient", Ending::Patient),
    ("reset", Ending::Reset),
    ("leave", Ending::Leave),
    ("greedy", Ending::Greedy),
];

impl Case {
    pub fn generate(seed: u64) -> Case {
        let mut dice = Dice(seed);
        if dice.one_in(5000) {
            let frame = if dice.one_in(2) {
                client_frame(&mut dice, 0x82, &[7; 60_000])
            } else {
                client_frame(&mut dice, 0x89, &[7; 125]).repeat(400)
            };
            return Case {
                pieces: vec![upgrade("/ws", "").into(), frame],
                ending: Ending::Greedy,
                answers: None,
            };
        }
        let (mut input, answers) = conversation(&mut dice);
        let broken = dice.one_in(2);
        if broken {
            mutate(&mut dice, &mut input);
        }
        let ending = match dice.below(16) {
            0 => Ending::Reset,
            1 => Ending::Leave,
            2..=8 => Ending::Patient,
            _ => Ending::HalfClose,
        };
        // An end in the middle: a prefix of the answers, which the comparison of the two runs checks.
        let cut = dice.one_in(8);
        if cut {
            let length = dice.below(input.len());
            input.truncate(length);
        }
        let answers = if broken || cut { None } else { Some(answers) };
        Case { pieces: pieces(&mut dice, &input), ending, answers }
    }

    /// As a file: `send "…"` for each piece, how it ends, then, if known, the answers: `answer 200`, `last answer 400`,
    /// `frame 0x81 "…"`. A file may have comments, and `send 9 "…"` for a piece that repeats nine times.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            let _ = writeln!(text, "send \"{}\"", piece.escape_ascii());
        }
        text.push_str(self.ending.name());
        text.push('\n');
        for answer in self.answers.iter().flatten() {
            let _ = match answer {
                Answer::Response(status, false) => writeln!(text, "answer {status}"),
                Answer::Response(status, true) => writeln!(text, "last answer {status}"),
                Answer::Frame(Wire { first, payload }) => {
                    writeln!(text, "frame {first:#x} \"{}\"", payload.escape_ascii())
                }
            };
        }
        text
    }

    pub fn from_text(text: &str) -> Case {
        let mut case = Case { pieces: Vec::new(), ending: Ending::HalfClose, answers: None };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (words, bytes) = match line.split_once('"') {
                Some((words, rest)) => (words, unescape(rest.strip_suffix('"').expect("a quote at the end"))),
                None => (line, Vec::new()),
            };
            let words: Vec<_> = words.split_whitespace().collect();
            let status = |digits: &str| digits.parse().expect("a status");
            let answer = match words[..] {
                ["send"] => {
                    case.pieces.push(bytes);
                    continue;
                }
                ["send", count] => {
                    case.pieces.push(bytes.repeat(count.parse().expect("a count")));
                    continue;
                }
                ["answer", digits] => Answer::Response(status(digits), false),
                ["last", "answer", digits] => Answer::Response(status(digits), true),
                ["frame", first] => {
                    let first = u8::from_str_radix(first.trim_start_matches("0x"), 16).expect("a byte");
                    Answer::Frame(frame(first, bytes))
                }
                _ => {
                    let known = ENDINGS.iter().find(|(name, _)| *name == line);
                    case.ending = known.unwrap_or_else(|| panic!("not a line of a case: {line:?}")).1;
                    continue;
                }
            };
            case.answers.get_or_insert_default().push(answer);
        }
        case
    }
}

/// Reverses `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("something after a backslash") {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8(digits).expect("hex digits");
                u8::from_str_radix(&digits, 16).expect("hex digits")
            }
            plain => plain,
        });
    }
    bytes
}

/// Requests, and usually a WebSocket, with the expected answers.
fn conversation(dice: &mut Dice) -> (Vec<u8>, Vec<Answer>) {
    let (mut input, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..dice.below(6).saturating_sub(2) {
        let (head, status, last) = if dice.one_in(3) { with_body(dice) } else { request(dice) };
        input.extend(head);
        answers.push(Answer::Response(status, last));
        if last {
            // The server must not parse the bytes after it as a request.
            for _ in 0..dice.below(3) {
                input.extend(request(dice).0);
            }
            return (input, answers);
        }
    }
    if !dice.one_in(8) {
        let target = dice.pick(&["/ws", "/ws?Id=A", "/ws?a=%00&b=%e2%82%ac", "http://h:1/ws?x"]);
        let (offer, is_compressed) = dice.pick(&[
            ("", false),
            ("", false),
            ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", true),
            ("Sec-WebSocket-Extensions: x\r\nsec-websocket-extensions:permessage-deflate\r\n", true),
            (
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"9\", permessage-deflate\r\n",
                true,
            ),
            ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n", false),
        ]);
        let lines = lines(dice) + offer;
        input.extend(upgrade(target, &lines).bytes());
        answers.push(Answer::Response(101, false));
        frames(dice, is_compressed, &mut input, &mut answers);
    }
    (input, answers)
}

/// A request, its expected status, and whether the connection ends with that.
fn request(dice: &mut Dice) -> (Vec<u8>, u16, bool) {
    const HOST: &str = "Host: h\r\n";
    let long = format!("{HOST}X: {}\r\n", "y".repeat(17_000));
    let many = format!("{HOST}{}", "X: y\r\n".repeat(120));
    let handshake =
        |more: &str| format!("{HOST}Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{more}");
    let (no_key, old, foreign) = (
        handshake("Sec-WebSocket-Version: 13\r\n"),
        handshake("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        handshake(
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://other.test\r\n",
        ),
    );
    let rows = [
        ("GET", "/page", "1.1", HOST, 200, false),
        ("HEAD", "/page?a=b", "1.1", HOST, 200, false),
        ("GET", "/page?a=1&a=%C3%A9+x&&b", "1.1", HOST, 200, false),
        ("GET", "http://h/page", "1.1", HOST, 200, false),
        ("GET", "/page?a=%ff", "1.1", HOST, 400, false),
        ("GET", "/nothing", "1.1", HOST, 404, false),
        ("POST", "/page", "1.1", HOST, 405, false),
        ("POST", "/page", "1.1", "Host: h\r\nContent-Length: 0\r\n", 405, false),
        ("GET", "/files/clock.js", "1.1", HOST, 200, false),
        ("GET", "/files/nothing.js", "1.1", HOST, 404, false),
        ("GET", "/files/../Cargo.toml", "1.1", HOST, 403, false),
        ("GET", "/files/%2e%2e/Cargo.toml", "1.1", HOST, 403, false),
        ("GET", "/page", "1.1", "Host: h\r\nConnection: close\r\n", 200, true),
        ("GET", "/page", "1.0", "", 200, true),
        ("GET", "/page", "1.1", "", 400, true),
        ("GET", "/page", "1.1", "Host: h\r\nHost: h\r\n", 400, true),
        ("GET", "/page", "1.1", "Host: h\r\nbad name: x\r\n", 400, true),
        ("GET", "/page", "1.1", "Host: h\r\nTransfer-Encoding: chunked\r\n", 400, true),
        ("GET", "/page", "1.1", "Host: h\r\nContent-Length: 7\r\n", 400, true),
        ("POST", "/nothing", "1.1", "Host: h\r\nContent-Length: 7\r\n", 404, true),
        ("POST", "/page", "1.1", "Host: h\r\nContent-Length: 7\r\nContent-Length: 7\r\n", 400, true),
        ("POST", "/page", "1.1", "Host: h\r\nOrigin: http://evil\r\n", 403, false),
        ("OPTIONS", "/page", "1.1", HOST, 204, false),
        ("OPTIONS", "*", "1.1", HOST, 204, false),
        ("GET", "/page", "1.1", &long, 431, true),
        ("GET", "/page", "1.1", &many, 431, true),
        ("GET", "/ws", "1.1", HOST, 426, true),
        ("GET", "/ws", "1.1", &no_key, 400, true),
        ("GET", "/ws", "1.1", &old, 426, true),
        ("GET", "/ws", "1.1", &foreign, 403, true),
    ];
    let (method, target, version, head, status, last) = rows[dice.below(rows.len())];
    let lines = lines(dice);
    (format!("{method} {target} HTTP/{version}\r\n{head}{lines}\r\n").into(), status, last)
}

/// A request with a body, in full or in chunks, for a path with a parameter.
fn with_body(dice: &mut Dice) -> (Vec<u8>, u16, bool) {
    let (path, found) =
        [("a", 200), ("%C3%A9%2f", 200), ("{name}", 200), ("a/b", 404), ("", 404), ("%ff", 400)]
            [dice.below(6)];
    let (length, fits) = [(0, true), (5, true), (MAX_BODY, true), (MAX_BODY + 1, false)][dice.below(4)];
    let body: Vec<u8> = b"a=1&b=%ff&".iter().copied().cycle().take(length).collect();
    let (method, media, expected) = [
        ("POST", "application/x-www-form-urlencoded", 200),
        ("POST", "text/plain", 200),
        ("POST", "multipart/form-data; boundary=a", 415),
        ("PUT", "application/json", 400),
        ("PUT", "text/plain", 415),
        ("DELETE", "text/plain", 405),
    ][dice.below(6)];
    let counted = dice.one_in(2);
    let has_body = length > 0 || !counted;
    let multipart = media.starts_with("multipart");
    let (status, last) = match () {
        () if found != 200 => (found, found == 400 || has_body),
        () if multipart && has_body => (415, true),
        () if !fits => (413, true),
        () if multipart => (200, false),
        () => (expected, false),
    };
    let lines = lines(dice);
    let head = format!("{method} /form/{path} HTTP/1.1\r\nHost: h\r\nContent-Type: {media}\r\n{lines}");
    let mut bytes = head.into_bytes();
    if counted {
        bytes.extend(format!("Content-Length: {length}\r\n\r\n").bytes());
        bytes.extend(body);
    } else {
        bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        let size = 1 + dice.below(2000);
        for chunk in body.chunks(size.max(length / 100)) {
            let extension = dice.pick(&["", ";a", ";a=\"b\"", " ; a"]);
            bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(
            dice.pick(&["0\r\n\r\n", "00;a\r\n\r\n", "0\r\nX: y\r\nContent-Length: 9\r\n\r\n"]).bytes(),
        );
    }
    (bytes, status, last)
}

/// Header lines without an effect.
fn lines(dice: &mut Dice) -> String {
    let all = [
        "Cookie: c=d; e=\"f\\073\"; s=2|1:0|10:1300000000|1:s|4:YWJj|00; =;;\r\n",
        "cookie: c\r\n",
        "Accept-Language:de,en;q=0.5 \r\n",
        "X-Umlaut: \u{e4}\u{f6}\u{20ac}\r\n",
        "If-None-Match: \"x\", W/\"y\"\r\n",
        "X-Empty:\r\n",
    ];
    (0..dice.below(4)).map(|_| dice.pick(&all)).collect()
}

/// Frames of a client, some of them compressed if `is_compressed`, and the expected answers.
fn frames(dice: &mut Dice, is_compressed: bool, input: &mut Vec<u8>, answers: &mut Vec<Answer>) {
    // After the server's Close nothing comes any more.
    let mut closing = false;
    let mut answer = |frame: Wire, closing: bool| {
        if !closing {
            answers.push(Answer::Frame(frame));
        }
    };
    for _ in 0..dice.below(10) {
        match dice.below(24) {
            0..=15 => {
                let text = dice.one_in(2);
                let length = length(dice).min(MAX_INPUT.saturating_sub(input.len() + 20_000));
                let payload = if text { text_of(dice, length).into() } else { dice.bytes(length) };
                let opcode = if text { 1 } else { 2 };
                let pings = if is_compressed && !dice.one_in(4) {
                    let data = compressed(dice, &payload);
                    message(dice, opcode | RSV1, &data, input)
                } else {
                    message(dice, opcode, &payload, input)
                };
                for ping in pings {
                    answer(frame(0x8a, ping), closing);
                }
                answer(frame(0x80 | opcode, payload), closing);
            }
            16..=19 => {
                let payload = control(dice);
                input.extend(client_frame(dice, 0x89, &payload));
                answer(frame(0x8a, payload), closing);
            }
            20 | 21 => {
                let payload = control(dice);
                input.extend(client_frame(dice, 0x8a, &payload));
            }
            22 => {
                input.extend(client_frame(dice, 0x81, b"close"));
                answer(close_frame(4000, "asked to"), closing);
                closing = true;
            }
            _ => {
                let which = dice.below(2);
                input.extend(client_frame(dice, 0x81, [&b"fail"[..], b"panic"][which]));
                answer(close_frame(1011, "internal error"), closing);
                input.extend(client_frame(dice, 0x81, b"too late"));
                return;
            }
        }
    }
    match dice.below(8) {
        0 | 1 => return,
        2 | 3 => {
            let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999];
            let code: u16 = codes[dice.below(codes.len())];
            let reason = dice.below(124);
            let payload = [&code.to_be_bytes()[..], text_of(dice, reason).as_bytes()].concat();
            let payload = if dice.one_in(4) { Vec::new() } else { payload };
            input.extend(client_frame(dice, 0x88, &payload));
            // The code comes back, the reason does not.
            answer(frame(0x88, &payload[..payload.len().min(2)]), closing);
        }
        4 => {
            let over = MAX_MESSAGE + 1 + dice.below(2) * dice.below(usize::MAX / 4);
            input.push(0x82);
            input.push(0xff);
            input.extend((over as u64).to_be_bytes());
            input.extend([0; 4]);
            answer(close_frame(1009, "message too big"), closing);
        }
        _ => {
            let (bytes, code) =
                if is_compressed && dice.one_in(2) { misuse(dice) } else { violation(dice, is_compressed) };
            input.extend(bytes);
            answer(code, closing);
        }
    }
    let length = dice.below(200);
    input.extend(dice.bytes(length));
}

/// A payload, compressed in one of several ways.
fn compressed(dice: &mut Dice, payload: &[u8]) -> Vec<u8> {
    let (one, other) = payload.split_at(dice.below(payload.len() + 1));
    match dice.below(6) {
        // Two blocks with a flush between them.
        0 => [deflated(one), TAIL.to_vec(), deflated(other)].concat(),
        1 => stored(payload, 1 + dice.below(65_535)),
        // A block that claims to be the last, and is not.
        2 => {
            let length = u8::try_from(one.len().min(255)).expect("is at most that");
            let (one, other) = payload.split_at(length.into());
            [&[1, length, 0, !length, 0xff][..], one, &deflated(other)].concat()
        }
        _ => deflated(payload),
    }
}

/// A payload in stored blocks of this size. It ends with the first byte of an empty block, whose rest is not sent.
fn stored(payload: &[u8], size: usize) -> Vec<u8> {
    let blocks = payload.chunks(size).flat_map(|block| {
        let length = (block.len() as u16).to_le_bytes();
        [&[0][..], &length, &length.map(|byte| !byte), block].concat()
    });
    blocks.chain([0]).collect()
}

/// A message in one or more frames, with Pings between them. Returns their payloads.
fn message(dice: &mut Dice, opcode: u8, payload: &[u8], input: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut pings = Vec::new();
    let mut cuts: Vec<_> = (0..dice.below(4)).map(|_| dice.below(payload.len() + 1)).collect();
    cuts.extend([0, payload.len()]);
    cuts.sort_unstable();
    for (index, ends) in cuts.windows(2).enumerate() {
        let fin = if index + 2 == cuts.len() { 0x80 } else { 0 };
        let opcode = if index == 0 { opcode } else { 0 };
        input.extend(client_frame(dice, fin | opcode, &payload[ends[0]..ends[1]]));
        if fin == 0 && dice.one_in(2) {
            let ping = control(dice);
            input.extend(client_frame(dice, 0x89, &ping));
            pings.push(ping);
        }
    }
    pings
}

/// A violation of the protocol, and the server's expected Close.
fn violation(dice: &mut Dice, is_compressed: bool) -> (Vec<u8>, Wire) {
    let protocol = || close_frame(1002, "protocol error");
    let invalid = || close_frame(1007, "invalid UTF-8");
    let peers = || close_frame(1002, "");
    let mut masked = |first, payload: &[u8]| client_frame(dice, first, payload);
    let mut all = vec![
        (vec![0x81, 2, b'h', b'i'], protocol()),
        (vec![0x89, 0], protocol()),
        (masked(if is_compressed { 0xa1 } else { 0xc1 }, b"reserved bit"), protocol()),
        (masked(0x93, b"reserved bit and opcode"), protocol()),
        (masked(0x83, b"reserved opcode"), protocol()),
        (masked(0x8b, b""), protocol()),
        (masked(0x80, b"nothing to continue"), protocol()),
        (masked(0x09, b"a Ping in fragments"), protocol()),
        (masked(0x89, &[7; 126]), protocol()),
        ([masked(0x01, b"begun"), masked(0x81, b"begun again")].concat(), protocol()),
        (masked(0x81, b"\xff"), invalid()),
        (masked(0x81, b"\xed\xa0\x80"), invalid()),
        (masked(0x81, b"cut off \xe2\x82"), invalid()),
        ([masked(0x01, b"\xe2\x82"), masked(0x80, b"")].concat(), invalid()),
        (masked(0x88, b"x"), protocol()),
        (masked(0x88, b"\x03\xe8\xff"), invalid()),
    ];
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        all.push((masked(0x88, &code.to_be_bytes()), peers()));
    }
    let which = dice.below(all.len());
    all.swap_remove(which)
}

/// A violation of the rules of compression, and the server's expected Close.
fn misuse(dice: &mut Dice) -> (Vec<u8>, Wire) {
    let protocol = || close_frame(1002, "protocol error");
    let too_big = || close_frame(1009, "message too big");
    let invalid = || close_frame(1007, "invalid compressed data");
    let over = MAX_MESSAGE + 1 + dice.below(2) * dice.below(1 << 20);
    let bomb = deflated(&vec![0; over]);
    let mut masked = |first, payload: &[u8]| client_frame(dice, first, payload);
    let begun = masked(0x41, &deflated(b"begun"));
    let mut all = vec![
        ([begun.clone(), masked(0xc0, b"\0")].concat(), protocol()),
        ([begun.clone(), masked(0x81, b"another")].concat(), protocol()),
        ([begun.clone(), masked(0xc1, b"\0")].concat(), protocol()),
        ([begun, vec![0x80, 0]].concat(), protocol()),
        ([masked(0x01, b"begun"), masked(0xc0, b"\0")].concat(), protocol()),
        (masked(0xc9, b"a Ping"), protocol()),
        (masked(0xc8, b""), protocol()),
        (masked(0xe1, b"\0"), protocol()),
        (masked(0xc3, b"\0"), protocol()),
        (masked(0xc0, b"\0"), protocol()),
        (vec![0xc1, 1, 0], protocol()),
        (masked(0xc1, &[0xff; 9]), invalid()),
        // A distance beyond the beginning.
        (masked(0xc2, b"\x02\x03\x22\0"), invalid()),
        (masked(0xc1, &deflated(b"\xff")), close_frame(1007, "invalid UTF-8")),
        (masked(0xc2, &bomb), too_big()),
        (masked(0xc1, &[&deflated(b"")[..], &TAIL, &bomb].concat()), too_big()),
        ([masked(0x42, &bomb[..9]), masked(0x80, &bomb[9..])].concat(), too_big()),
        // More than the inflater handles before the rest has come.
        (
            [masked(0x42, &[&stored(&[7; 17_000], 17_000)[..17_005], b"\xff"].concat()), vec![0xc0]].concat(),
            protocol(),
        ),
        // The header alone shows it.
        (masked(0xc2, &vec![0; MAX_MESSAGE * 2])[..14].to_vec(), too_big()),
    ];
    let which = dice.below(all.len());
    all.swap_remove(which)
}

/// A frame with a new mask, which may be zero.
fn client_frame(dice: &mut Dice, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = if dice.one_in(8) { [0; 4] } else { (dice.next() as u32).to_be_bytes() };
    support::masked_with(mask, first, payload)
}

/// The payload of a control frame.
fn control(dice: &mut Dice) -> Vec<u8> {
    let length = [0, 1, dice.below(126), 125][dice.below(4)];
    dice.bytes(length)
}

/// The length of a message; most are short.
fn length(dice: &mut Dice) -> usize {
    let near = |dice: &mut Dice, size: usize| size - 1 + dice.below(3);
    match dice.below(40) {
        0 => near(dice, 4096),
        1 => near(dice, 16 * 1024),
        2 => near(dice, 65536),
        3 => MAX_MESSAGE - dice.below(2),
        4 => dice.below(MAX_MESSAGE),
        5..=9 => near(dice, 126),
        10..=19 => dice.below(1000),
        _ => dice.below(30),
    }
}

/// Text of exactly this number of bytes.
fn text_of(dice: &mut Dice, length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let next = dice.pick(&["a", "\n", "\0", "\u{e9}", "\u{20ac}", "\u{1f642}"]);
        text.push_str(if text.len() + next.len() > length { "z" } else { next });
    }
    text
}

/// Breaks it in one to four places, within the maximum length of inputs.
fn mutate(dice: &mut Dice, input: &mut Vec<u8>) {
    const TOKENS: [&[u8]; 23] = [
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\0",
        b" ",
        b"%",
        b"%zz",
        b"?a=%ff",
        b"/..",
        b"HTTP/1.1",
        b"HTTP/9.9",
        b"Host: h\r\n",
        b"Content-Length: 18446744073709551616\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x88\x82\0\0\0\0\x03\xe8",
        b"\x89\x80\0\0\0\0",
        b"\x81\xfe\x00\x01\0\0\0\0a",
        b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0",
        b"\x41\x80\0\0\0\0",
        &TAIL,
    ];
    for _ in 0..1 + dice.below(4) {
        // Most of an input is payload; the interesting bytes are at its beginning, and at that of each frame.
        let end = if dice.one_in(2) { input.len().min(400) } else { input.len() };
        let at = dice.below(end);
        let to = (at + 1 + dice.below(40)).min(input.len());
        match dice.below(9) {
            _ if input.is_empty() => *input = dice.bytes(40),
            0 => input[at] ^= 1 << dice.below(8),
            1 => input[at] = [0, 1, 0x7e, 0x7f, 0x80, 0xfe, 0xff, b'\r', b'\n'][dice.below(9)],
            2 => drop(input.drain(at..to)),
            3 => drop(input.splice(at..at, dice.pick(&TOKENS).iter().copied())),
            4 => {
                let (length, noise) = (dice.below(20), dice.next());
                drop(input.splice(at..at, Dice(noise).bytes(length)));
            }
            5 => {
                let copy = input[at..to].repeat(1 + dice.below(4));
                drop(input.splice(at..at, copy));
            }
            6 => {
                let copy = input[at..to].repeat(1 + dice.below(1000));
                drop(input.splice(at..at, copy));
            }
            7 => input[at..].rotate_left(to - at),
            _ => input[at..to].reverse(),
        }
    }
    input.truncate(MAX_INPUT);
}

/// The input cut up.
fn pieces(dice: &mut Dice, input: &[u8]) -> Vec<Vec<u8>> {
    let mut ends: Vec<_> = match dice.below(4) {
        0 if input.len() <= MAX_BYTEWISE => (1..input.len()).collect(),
        0 | 1 => (0..1 + dice.below(3)).map(|_| dice.below(input.len() + 1)).collect(),
        2 => (0..1 + dice.below(30)).map(|_| dice.below(input.len().min(600) + 1)).collect(),
        _ => {
            let size = 1 + input.len() / 100 + dice.below(3000);
            (0..input.len()).step_by(size).collect()
        }
    };
    ends.push(input.len());
    ends.sort_unstable();
    let mut start = 0;
    let pieces = ends.into_iter().map(|end| input[std::mem::replace(&mut start, end)..end].to_vec());
    pieces.filter(|piece| !piece.is_empty()).collect()
}
