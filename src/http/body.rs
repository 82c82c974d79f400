//! [`Body`]: the content of a response. Bytes, and files that are read while they are sent.
//!
//! `client-N` builds and writes it. It reads a file in pieces, as the client takes them, so that a slow client costs
//! one piece, not the file. The length and the tag of a file come without reading it.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The most bytes of one file in memory at once.
pub(crate) const PIECE: usize = 64 << 10;
/// Hex digits of SHA-256 in a tag.
const TAG_DIGITS: usize = 32;

/// The SHA-256 of each embedded file, by its address and length, which never change. The first thread that serves a
/// file writes its entry.
static EMBEDDED: Mutex<BTreeMap<(usize, usize), [u8; 32]>> = Mutex::new(BTreeMap::new());

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Body {
    parts: Vec<Part>,
}

/// A part of a body.
#[derive(Debug)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// Compiled into the program.
    Embedded(&'static [u8]),
    /// As long as it was when it was opened.
    File(File, Metadata),
}

impl Part {
    /// Returns its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Embedded(content) => content.len() as u64,
            Part::File(_, metadata) => metadata.len(),
        }
    }

    /// Returns a digest that changes when the part does. For a file it covers size and modification time, which are
    /// equal on two machines that have a copy of it; it does not read the content.
    fn fingerprint(&self) -> [u8; 32] {
        match self {
            Part::Bytes(bytes) => Sha256::digest(bytes).into(),
            Part::Embedded(content) => {
                let key = (content.as_ptr() as usize, content.len());
                let mut known = EMBEDDED.lock().unwrap_or_else(PoisonError::into_inner);
                *known.entry(key).or_insert_with(|| Sha256::digest(content).into())
            }
            Part::File(_, of) => {
                let mut hash = Sha256::new();
                [of.mtime(), of.mtime_nsec()].iter().for_each(|time| hash.update(time.to_le_bytes()));
                hash.update(of.size().to_le_bytes());
                hash.finalize().into()
            }
        }
    }
}

impl Body {
    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => self.parts.push(Part::Bytes(bytes.to_vec())),
        }
    }

    /// Appends a part.
    pub(crate) fn push(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Returns the length of all parts, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }

    /// Returns a tag that changes when the body does.
    pub(crate) fn tag(&self) -> String {
        let mut hash = Sha256::new();
        self.parts.iter().for_each(|part| hash.update(part.fingerprint()));
        let mut tag = HEXLOWER.encode(&hash.finalize());
        tag.truncate(TAG_DIGITS);
        tag
    }

    /// Writes `head`, then the body, with a function that blocks until it has taken all its bytes. Cuts a file that has
    /// grown at its old length. If a file has shrunk, writes what is left of it and returns the error.
    pub(crate) fn write_to(
        &self,
        head: Vec<u8>,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut piece = head;
        for part in &self.parts {
            let bytes = match part {
                Part::Bytes(bytes) => bytes,
                Part::Embedded(content) => *content,
                Part::File(file, metadata) => {
                    read_through(file, metadata.len(), &mut piece, &mut write)?;
                    continue;
                }
            };
            // A small part goes out with the head, in one packet; a large one is not copied.
            if piece.len() + bytes.len() > PIECE {
                write(&piece)?;
                piece.clear();
                write(bytes)?;
            } else {
                piece.extend_from_slice(bytes);
            }
        }
        if piece.is_empty() { Ok(()) } else { write(&piece) }
    }
}

/// Reads `left` bytes of a file through `piece`, which may hold bytes before and after the call.
fn read_through(
    mut file: &File,
    mut left: u64,
    piece: &mut Vec<u8>,
    write: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while left > 0 {
        if piece.len() >= PIECE {
            write(piece)?;
            piece.clear();
        }
        let have = piece.len();
        let wanted = left.min((PIECE - have) as u64) as usize;
        piece.reserve_exact(wanted);
        piece.resize(have + wanted, 0);
        let read = file.read(&mut piece[have..]);
        piece.truncate(have + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                write(piece)?;
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the file has shrunk while it was sent",
                ));
            }
            Ok(read) => left -= read as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an unnamed file with this content.
    fn file(content: &[u8]) -> (std::path::PathBuf, Part) {
        let name = format!("threadcast-body-{}-{}", std::process::id(), content.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let metadata = file.metadata().unwrap();
        (path, Part::File(file, metadata))
    }

    /// Returns the bytes, in the pieces in which they were written.
    fn written(body: &Body) -> (Vec<Vec<u8>>, io::Result<()>) {
        let mut pieces = Vec::new();
        let result = body.write_to(b"head".to_vec(), |piece| {
            pieces.push(piece.to_vec());
            Ok(())
        });
        (pieces, result)
    }

    #[test]
    fn a_file_is_written_in_pieces_between_other_parts() {
        let content: Vec<u8> = (0..200_001_u32).map(|n| (n % 251) as u8).collect();
        let (path, part) = file(&content);
        let mut body = Body::default();
        body.write(b"before");
        body.push(part);
        body.write(b"af");
        body.write(b"ter");
        std::fs::remove_file(path).unwrap();
        assert_eq!(body.len(), 200_001 + 11);
        let (pieces, result) = written(&body);
        result.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE), "no more than a piece at a time");
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.concat(), [b"headbefore", &content[..], b"after"].concat());
    }

    #[test]
    fn a_small_body_is_one_piece_with_its_head_and_a_large_one_is_not_copied() {
        let body = |length: usize| {
            let mut body = Body::default();
            body.push(Part::Embedded(b"embedded"));
            body.write(&vec![b'x'; length]);
            body
        };
        assert_eq!(written(&body(3)).0, [b"headembeddedxxx"]);
        assert_eq!(written(&body(PIECE)).0.iter().map(Vec::len).collect::<Vec<_>>(), [12, PIECE]);
    }

    #[test]
    fn a_file_that_grows_is_cut_and_one_that_shrinks_is_an_error() {
        for (length, now, fits) in [(1000, 2000, true), (1001, 1001, true), (1002, 500, false)] {
            let (path, part) = file(&vec![b'a'; length]);
            let mut body = Body::default();
            body.push(part);
            File::options().write(true).open(&path).unwrap().set_len(now).unwrap();
            let (pieces, result) = written(&body);
            std::fs::remove_file(path).unwrap();
            assert_eq!(result.is_ok(), fits, "{length} {now}");
            assert_eq!(pieces.concat().len(), 4 + length.min(now as usize), "{length} {now}");
        }
    }

    #[test]
    fn a_tag_is_the_same_until_something_changes() {
        let tag = |parts: Vec<Part>| Body { parts }.tag();
        let bytes = |text: &str| Part::Bytes(text.into());
        assert_eq!(tag(vec![bytes("a")]), tag(vec![bytes("a")]));
        assert_eq!(tag(vec![Part::Embedded(b"a")]), tag(vec![bytes("a")]));
        assert_ne!(tag(vec![bytes("a")]), tag(vec![bytes("b")]));
        assert_ne!(tag(vec![bytes("a"), bytes("b")]), tag(vec![bytes("ab")]));
        // Two files stand for copies on two machines: the inodes and creation times differ.
        let tag_at = |content: &[u8], seconds: u64| {
            let (path, part) = file(content);
            let Part::File(file, _) = part else { unreachable!("a file") };
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
            let metadata = file.metadata().unwrap();
            std::fs::remove_file(path).unwrap();
            tag(vec![Part::File(file, metadata)])
        };
        assert_eq!(tag_at(b"tagged", 7), tag_at(b"tagged", 7));
        assert_ne!(tag_at(b"tagged", 8), tag_at(b"tagged", 7));
        assert_ne!(tag_at(b"tagged more", 7), tag_at(b"tagged", 7));
    }
}
