//! A URL path becomes a file inside the root, or a refusal.
//!
//! The root is a directory, or a table of files compiled into the binary. Called on the client's own
//! thread; a read of a slow disk delays that client only.

use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;
use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::http::body::Part;

/// Where files come from. They are sent in pieces as the client takes them; a slow client costs 64 KiB, not the file.
/// `If-None-Match` is answered; a `Range` is not, so the whole file comes, as RFC 9110, section 14.2, allows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StaticFiles {
    /// Files compiled into the binary: name (`a.css`, `sub/a.css`) and content.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// A directory, read at each request; nothing outside of it is served, not even through a link.
    Directory(PathBuf),
}

impl StaticFiles {
    /// Returns the files of a directory.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there or cannot be listed.
    pub fn directory(path: impl AsRef<Path>) -> Result<StaticFiles> {
        let path = path.as_ref();
        let doing = format!("cannot serve the directory {}", path.display());
        let root = fs::read_dir(path).and_then(|_| path.canonicalize()).map_err(Error::io(doing))?;
        Ok(StaticFiles::Directory(root))
    }

    /// Returns the whole content of the file at URL path `path` (percent-encoded, relative to the root). To answer a
    /// request with it there is [`Exchange::render`](crate::Exchange::render), which does not hold it in memory.
    ///
    /// # Errors
    /// [`Error::Refused`]: 404 if there is no such file, 403 for what is not a file inside the root.
    pub fn read(&self, path: &str) -> Result<Cow<'static, [u8]>> {
        match self.open(path)? {
            Part::Embedded(content) => Ok(Cow::Borrowed(content)),
            Part::Bytes(bytes) => Ok(Cow::Owned(bytes)),
            Part::File(mut file, _) => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).map_err(Error::io(format!("cannot read {path}")))?;
                Ok(Cow::Owned(content))
            }
        }
    }

    /// Returns that file without reading it.
    ///
    /// # Errors
    /// As [`read`](StaticFiles::read).
    pub(crate) fn open(&self, path: &str) -> Result<Part> {
        let missing = || Error::refused(404, "Not Found");
        let forbidden = || Error::refused(403, "Forbidden");
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| missing())?;
        let relative = Path::new(decoded.as_ref());
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || decoded.contains(['\0', '\\']) {
            return Err(forbidden());
        }
        match self {
            StaticFiles::Embedded(files) => {
                let found = files.iter().find(|(name, _)| *name == decoded);
                found.map(|(_, content)| Part::Embedded(content)).ok_or_else(missing)
            }
            StaticFiles::Directory(root) => {
                let full = root.join(relative).canonicalize().map_err(|_| missing())?;
                // A directory, a device or a pipe is not a file. To open one may have effects, so it is asked before;
                // and what is asked before may be another one when it is opened, so it is asked again.
                if !full.starts_with(root) || !full.is_file() {
                    return Err(forbidden());
                }
                // A pipe would block whom it finds without `NONBLOCK`; a link has been resolved already.
                let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
                let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(&full);
                let found = opened.and_then(|file| Ok((file.metadata()?, file)));
                let (metadata, file) = found.map_err(|error| match error.kind() {
                    ErrorKind::NotFound | ErrorKind::NotADirectory => missing(),
                    ErrorKind::PermissionDenied => forbidden(),
                    // No descriptor is left, perhaps: not the client's fault.
                    _ => Error::io(format!("cannot open {}", full.display()))(error),
                })?;
                if metadata.is_file() { Ok(Part::File(file, metadata)) } else { Err(forbidden()) }
            }
        }
    }
}

/// Returns the content type for a file name, with a charset where it is text.
pub(crate) fn content_type(path: &str) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let text = mime.type_() == "text" || ["javascript", "json"].contains(&mime.subtype().as_str());
    if text { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_a_table() {
        let top = std::env::temp_dir().join(format!("threadcast-static-{}", std::process::id()));
        let root = top.join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(top.join("secret"), "secret").unwrap();
        fs::write(root.join("a b.css"), "css").unwrap();
        fs::write(root.join("sub/x"), "x").unwrap();
        std::os::unix::fs::symlink(top.join("secret"), root.join("out")).unwrap();
        std::os::unix::fs::symlink(root.join("sub/x"), root.join("in")).unwrap();
        let files = StaticFiles::directory(&root).unwrap();
        for (path, expected) in [
            ("a%20b.css", Ok("css")),
            ("sub/x", Ok("x")),
            ("in", Ok("x")),
            ("out", Err(403)),
            ("sub", Err(403)),
            ("", Err(403)),
            ("../secret", Err(403)),
            ("%2e%2e/secret", Err(403)),
            ("..%2fsecret", Err(403)),
            ("sub/../../secret", Err(403)),
            ("/etc/passwd", Err(403)),
            ("%2fetc/passwd", Err(403)),
            ("a%00b", Err(403)),
            ("..\\secret", Err(403)),
            ("none", Err(404)),
            ("%ff", Err(404)),
            ("sub/x/y", Err(404)),
        ] {
            let read = files.read(path).map_err(|e| match e {
                Error::Refused { status, .. } => status,
                other => panic!("{path}: {other}"),
            });
            assert_eq!(read.as_deref(), expected.map(str::as_bytes).as_deref(), "{path}");
        }
        fs::remove_dir_all(&top).unwrap();
        let gone = StaticFiles::directory(&root).unwrap_err().to_string();
        assert!(
            gone.starts_with("cannot serve the directory ") && gone.ends_with("No such file or directory"),
            "{gone}"
        );
    }

    #[test]
    fn content_types_as_a_table() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }
}
