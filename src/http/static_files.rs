//! Maps a URL path to a file inside the root, or to a refusal.
//!
//! The root is a directory, or a table of files compiled into the binary. The client's own thread calls this, so a slow
//! disk delays that client only.

use std::borrow::Cow;
use std::fs;
use std::io::Read;
use std::path::{self, Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::http::body::Part;

mod beneath;

/// The one name with a leading dot whose files are public (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// A source of files. The server sends them in pieces as the client takes them; a slow client costs 64 KiB, not the
/// file. It honours `If-None-Match`. It answers a `Range` with the whole file, as RFC 9110, section 14.2, allows. A
/// name that begins with a dot is a 404, except `.well-known` at the top: `.env` and `.git` are private.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StaticFiles {
    /// Files compiled into the binary: name (`a.css`, `sub/a.css`) and content.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// A directory, opened at each request, so that it may be a link that moves to a new release. Serves nothing
    /// outside of it, not even through a link. Follows links within it where the system has `openat2` (Linux 5.6, and a
    /// sandbox that allows it); without it, they are a 404.
    Directory(PathBuf),
}

impl StaticFiles {
    /// Returns the files of a directory. A relative path starts at the current directory.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory is missing or cannot be listed.
    pub fn directory(path: impl AsRef<Path>) -> Result<StaticFiles> {
        let path = path.as_ref();
        let doing = format!("cannot serve the directory {}", path.display());
        let root = fs::read_dir(path).and_then(|_| path::absolute(path)).map_err(Error::io(doing))?;
        Ok(StaticFiles::Directory(root))
    }

    /// Returns the whole content of the file at URL path `path` (percent-encoded, relative to the root). To answer a
    /// request with it, call [`Exchange::render`](crate::Exchange::render), which does not hold it in memory.
    ///
    /// # Errors
    /// [`Error::Refused`]: 404 if the file does not exist, 403 if it is not a regular file inside the root.
    pub fn read(&self, path: &str) -> Result<Cow<'static, [u8]>> {
        match self.open(path)?.0 {
            Part::Embedded(content) => Ok(Cow::Borrowed(content)),
            Part::Bytes(bytes) => Ok(Cow::Owned(bytes)),
            Part::File(mut file, _) => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).map_err(Error::io(format!("cannot read {path}")))?;
                Ok(Cow::Owned(content))
            }
        }
    }

    /// Returns the file without reading it, and its content type.
    ///
    /// # Errors
    /// As [`read`](StaticFiles::read).
    pub(crate) fn open(&self, path: &str) -> Result<(Part, String)> {
        let name = percent_decode_str(path).decode_utf8().map_err(|_| missing())?;
        check(&name)?;
        let part = match self {
            StaticFiles::Embedded(files) => {
                let found = files.iter().find(|(other, _)| *other == name);
                found.map(|(_, content)| Part::Embedded(content)).ok_or_else(missing)?
            }
            StaticFiles::Directory(root) => beneath::open(root, &name)?,
        };
        Ok((part, content_type(&name)))
    }
}

fn missing() -> Error {
    Error::refused(404, "Not Found")
}

fn forbidden() -> Error {
    Error::refused(403, "Forbidden")
}

/// Refuses a name that would leave the root, or that names a hidden file.
fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('/') || name.contains(['\0', '\\']) {
        return Err(forbidden());
    }
    if name.split('/').any(|part| part == "..") {
        return Err(forbidden());
    }
    let below = name.strip_prefix(WELL_KNOWN).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    if below.split('/').any(|part| part.starts_with('.')) { Err(missing()) } else { Ok(()) }
}

/// Returns the content type for a file name, with a charset for text.
fn content_type(path: &str) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let text = mime.type_() == "text" || ["javascript", "json"].contains(&mime.subtype().as_str());
    if text { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn urls_as_a_table() {
        let top = std::env::temp_dir().join(format!("threadcast-static-{}", std::process::id()));
        let root = top.join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(top.join("secret"), "secret").unwrap();
        fs::write(root.join("a b.css"), "css").unwrap();
        fs::write(root.join("sub/x"), "x").unwrap();
        fs::create_dir_all(root.join(".well-known")).unwrap();
        fs::write(root.join(".well-known/x"), "known").unwrap();
        fs::write(root.join(".well-known/.env"), "secret").unwrap();
        fs::write(root.join(".env"), "secret").unwrap();
        symlink(top.join("secret"), root.join("out")).unwrap();
        symlink("../../secret", root.join("sub/up")).unwrap();
        symlink(root.join("sub/x"), root.join("in")).unwrap();
        symlink("../sub/x", root.join("sub/relative")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let files = StaticFiles::directory(&root).unwrap();
        for (path, expected) in [
            ("a%20b.css", Ok("css")),
            ("sub/x", Ok("x")),
            ("in", Ok("x")),
            ("sub/relative", Ok("x")),
            ("sub//x", Ok("x")),
            ("out", Err(403)),
            ("sub/up", Err(403)),
            ("dangling", Err(404)),
            ("loop", Err(404)),
            (".env", Err(404)),
            ("%2eenv", Err(404)),
            ("%2Eenv", Err(404)),
            ("sub/.env", Err(404)),
            ("sub/%2egit/config", Err(404)),
            ("./a%20b.css", Err(404)),
            (".well-known/x", Ok("known")),
            ("%2ewell-known%2fx", Ok("known")),
            (".well-known/.env", Err(404)),
            (".well-known/../.env", Err(403)),
            (".well-known", Err(404)),
            ("sub/.well-known/x", Err(404)),
            ("sub/x/", Err(404)),
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
    fn a_name_is_decoded_before_its_type_is_told() {
        let files = StaticFiles::Embedded(&[("clock.js", b"x")]);
        for name in ["clock.js", "clock%2Ejs", "%63lock.j%73"] {
            assert_eq!(files.open(name).unwrap().1, "text/javascript; charset=utf-8", "{name}");
        }
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
