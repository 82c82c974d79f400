//! A URL path becomes a file inside the root, or a refusal.
//!
//! The root is a directory, or a table of files compiled into the binary. Called on the client's own
//! thread; a read of a slow disk delays that client only.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// Where files come from.
#[derive(Debug, Clone)]
pub enum StaticFiles {
    /// Files compiled into the binary: name (`a.css`, `sub/a.css`) and content.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// A directory, read at each request; nothing outside of it is served, not even through a link.
    Directory(PathBuf),
}

impl StaticFiles {
    /// A directory.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there or cannot be listed.
    pub fn directory(path: impl AsRef<Path>) -> Result<StaticFiles> {
        let path = path.as_ref();
        let doing = format!("cannot serve the directory {}", path.display());
        let root = fs::read_dir(path).and_then(|_| path.canonicalize()).map_err(Error::io(doing))?;
        Ok(StaticFiles::Directory(root))
    }

    /// The content of the file at URL path `path` (percent-encoded, relative to the root).
    ///
    /// # Errors
    /// [`Error::Refused`]: 404 if there is no such file, 403 for what is not a file inside the root.
    pub fn read(&self, path: &str) -> Result<Cow<'static, [u8]>> {
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
                found.map(|(_, content)| Cow::Borrowed(*content)).ok_or_else(missing)
            }
            StaticFiles::Directory(root) => {
                let full = root.join(relative).canonicalize().map_err(|_| missing())?;
                // A directory, a device or a pipe is not a file; a pipe would block its reader.
                if !full.starts_with(root) || !full.is_file() {
                    return Err(forbidden());
                }
                fs::read(&full).map(Cow::Owned).map_err(|error| match error.kind() {
                    ErrorKind::PermissionDenied => forbidden(),
                    _ => missing(),
                })
            }
        }
    }
}

/// The content type for a file name, with a charset where it is text.
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
