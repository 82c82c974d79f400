//! Opens a file beneath a directory, safe against directories and links that move at the same time.
//!
//! The kernel resolves the name (`openat2`, `RESOLVE_BENEATH`): the checked file is the opened file. Where the kernel
//! cannot, because it is older than 5.6 or a sandbox forbids it, this walks the name part by part and follows no link.

use std::fs::File;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open as open_path, openat, openat2};
use rustix::io::{self, Errno};

use super::{forbidden, missing};
use crate::error::{Error, Result};
use crate::http::body::Part;

/// Flags to look at a file without opening it: a pipe does not block, a device does nothing.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Flags to read a file. Without `NONBLOCK`, a pipe that has replaced the file since would block.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// How often to resolve a name again, if something on the machine was renamed at the same time and the kernel cannot
/// tell whether it was on the way.
const TRIES: usize = 64;

/// Resolves a name below a directory, whose path is `root`, and opens it.
type Resolve = fn(root: &Path, directory: &OwnedFd, name: &str, flags: OFlags) -> io::Result<OwnedFd>;

/// Opens `name`, a relative path without `..`, beneath the root, which may be a link.
///
/// # Errors
/// [`Error::Refused`]: 404 if the file does not exist, 403 if it is not a regular file inside the root.
pub(super) fn open(root: &Path, name: &str) -> Result<Part> {
    open_by(resolved, root, name)
}

fn open_by(resolve: Resolve, root: &Path, name: &str) -> Result<Part> {
    let opened = open_path(root, LOOK | OFlags::DIRECTORY, Mode::empty()).and_then(|directory| {
        match regular_file(|flags| resolve(root, &directory, name, flags)) {
            Err(Errno::NOSYS | Errno::PERM) => regular_file(|flags| walked(&directory, name, flags)),
            result => result,
        }
    });
    let doing = || format!("cannot open {}", root.join(name).display());
    let file = opened.map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => missing(),
        Errno::ACCESS | Errno::XDEV | Errno::ISDIR => forbidden(),
        // The descriptors may have run out, which is not the client's fault.
        _ => Error::io(doing())(error.into()),
    })?;
    let metadata = file.metadata().map_err(Error::io(doing()))?;
    if metadata.is_file() { Ok(Part::File(file, metadata)) } else { Err(forbidden()) }
}

/// Opens a file to read it, after a look at its type.
fn regular_file(open: impl Fn(OFlags) -> io::Result<OwnedFd>) -> io::Result<File> {
    match FileType::from_raw_mode(fstat(open(LOOK)?)?.st_mode) {
        FileType::RegularFile => open(READ).map(File::from),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::ISDIR),
    }
}

/// Resolves with the kernel, which refuses every absolute link. So this looks up the target of such a link first, and
/// opens the result beneath the root too.
fn resolved(root: &Path, directory: &OwnedFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    match openat2_again(directory, Path::new(name), flags) {
        Err(Errno::XDEV) => {
            let real = |path: &Path| {
                path.canonicalize().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::XDEV))
            };
            let (root, target) = (real(root)?, real(&root.join(name))?);
            openat2_again(directory, target.strip_prefix(root).map_err(|_| Errno::XDEV)?, flags)
        }
        result => result,
    }
}

fn openat2_again(directory: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = || openat2(directory, path, flags, Mode::empty(), beneath);
    let is_over = |result: &io::Result<OwnedFd>| !matches!(result, Err(Errno::AGAIN | Errno::INTR));
    std::iter::repeat_with(open).take(TRIES).find(is_over).unwrap_or(Err(Errno::AGAIN))
}

/// Walks part by part, from one directory to the next. Follows no link.
fn walked(directory: &OwnedFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let open = |at: &OwnedFd, part: &str, flags| openat(at, part, flags | OFlags::NOFOLLOW, Mode::empty());
    let Some((above, last)) = name.rsplit_once('/') else { return open(directory, name, flags) };
    let mut parts = above.split('/').filter(|part| !part.is_empty());
    let first = open(directory, parts.next().ok_or(Errno::NOENT)?, LOOK | OFlags::DIRECTORY)?;
    let below = parts.try_fold(first, |at, part| open(&at, part, LOOK | OFlags::DIRECTORY))?;
    // A slash at the end names a directory, which the server does not serve.
    if last.is_empty() { Err(Errno::NOTDIR) } else { open(&below, last, flags) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn without_openat2(_: &Path, _: &OwnedFd, _: &str, _: OFlags) -> io::Result<OwnedFd> {
        Err(Errno::NOSYS)
    }

    fn forbidden_openat2(_: &Path, _: &OwnedFd, _: &str, _: OFlags) -> io::Result<OwnedFd> {
        Err(Errno::PERM)
    }

    /// Returns the length of the file, or the status of the refusal.
    fn length(resolve: Resolve, root: &Path, name: &str) -> std::result::Result<u64, u16> {
        match open_by(resolve, root, name) {
            Ok(part) => Ok(part.len()),
            Err(Error::Refused { status, .. }) => Err(status),
            Err(other) => panic!("{name}: {other}"),
        }
    }

    fn directory(name: &str) -> PathBuf {
        let top = std::env::temp_dir().join(format!("threadcast-beneath-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("root/sub/deep")).unwrap();
        top
    }

    #[test]
    fn where_the_kernel_does_not_resolve_a_name_no_link_is_followed() {
        let top = directory("walk");
        let root = top.join("root");
        fs::write(top.join("secret"), "secret").unwrap();
        fs::write(root.join("x"), "x").unwrap();
        fs::write(root.join("sub/deep/xyz"), "xyz").unwrap();
        symlink("x", root.join("file-link")).unwrap();
        symlink("sub", root.join("sub-link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(&root, top.join("root-link")).unwrap();
        for (name, by_the_kernel, by_walking) in [
            ("x", Ok(1), Ok(1)),
            ("sub/deep/xyz", Ok(3), Ok(3)),
            ("sub//deep/xyz", Ok(3), Ok(3)),
            ("file-link", Ok(1), Err(404)),
            ("sub-link/deep/xyz", Ok(3), Err(404)),
            ("out", Err(403), Err(404)),
            ("up/secret", Err(403), Err(404)),
            ("sub", Err(403), Err(403)),
            ("sub/", Err(403), Err(404)),
            ("x/", Err(404), Err(404)),
            ("x/y", Err(404), Err(404)),
            ("none", Err(404), Err(404)),
            ("none/x", Err(404), Err(404)),
        ] {
            for root in [&root, &top.join("root-link")] {
                assert_eq!(length(resolved, root, name), by_the_kernel, "{name} by the kernel");
                for without in [without_openat2, forbidden_openat2] {
                    assert_eq!(length(without, root, name), by_walking, "{name} by walking");
                }
            }
        }
        fs::remove_dir_all(&top).unwrap();
    }
}
