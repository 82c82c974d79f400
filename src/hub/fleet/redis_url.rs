//! Parses the URL of a Redis server. Pure.
//!
//! Never here: a URL, or a part of it, in an error: it may contain a password.

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::{Error, Result};

/// Parses a URL.
pub(super) fn parse(url: &str) -> Result<ConnectionInfo> {
    if is_cut_in_password(url) {
        return Err(wrong(url));
    }
    url.into_connection_info().map_err(|_| wrong(url))
}

/// Returns an error that says what to write instead.
pub(super) fn wrong(url: &str) -> Error {
    let hint = if url.starts_with("redis") && url.contains('@') {
        "; in a password write %2F, %3F, %23, %40 and %25 for the characters / ? # @ and %"
    } else {
        ""
    };
    Error::invalid(format!("not a Redis URL: use redis://HOST:PORT, or rediss://HOST:PORT with TLS{hint}"))
}

/// Returns whether the text after the host must be the rest of a password. Otherwise the part before it would become
/// the host, and go to DNS.
fn is_cut_in_password(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host_ends = rest.find(['/', '?', '#']);
    !scheme.ends_with("unix") && host_ends.is_some_and(|end| rest[end..].contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_not_percent_encoded_is_hinted_at_and_not_shown() {
        for (url, is_good, has_hint) in [
            ("redis://ann:se%2Fcret@10.0.0.5/1", true, false),
            ("redis://ann:se@cret@10.0.0.5", true, false),
            ("unix:///run/a@b/redis.sock", true, false),
            ("redis://10.0.0.5:port", false, false),
            ("http://:secret@10.0.0.5", false, false),
            ("redis://:se/cret@10.0.0.5", false, true),
            ("redis://:se?cret@10.0.0.5", false, true),
            ("redis://:se#cret@10.0.0.5", false, true),
            // This would parse as port 12 of a host called ann.
            ("redis://ann:12/cret@10.0.0.5", false, true),
            ("rediss://ann:12#cret@10.0.0.5:6380/0", false, true),
        ] {
            let said = parse(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!((said.is_empty(), said.contains("%2F")), (is_good, has_hint), "{url}: {said}");
            assert!(!said.contains("cret"), "{said}");
        }
    }
}
