//! [`Origin`]: the site that a page comes from, as a browser's header or an option names it. Pure.
//!
//! RFC 6454, and RFC 3986, section 3.2, for host and port. Two texts for one origin parse to equal values.

use std::fmt;

use crate::error::{Error, Result};
use crate::http::host::host_and_port;

/// Scheme, host and port of a page, in one form: lower case, without the default port of its scheme.
///
/// ```
/// use threadcast::Origin;
///
/// let origin = Origin::parse("https://Example.com:443")?;
/// assert_eq!(origin, Origin::parse("https://example.com")?);
/// assert!(origin.is_at("example.com") && !origin.is_at("example.com:80"));
/// # Ok::<(), threadcast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    /// The effective port, explicit or by default; `None` without either.
    port: Option<u16>,
}

impl Origin {
    /// Parses scheme, host and port. Refuses a path, a query or a user's name: no browser sends one.
    ///
    /// # Errors
    /// [`Error::Invalid`], with a sentence that names the mistake and the correct form.
    pub fn parse(text: &str) -> Result<Origin> {
        let wrong = |what: &str| Err(Error::invalid(format!("{text:?} {what}")));
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return wrong("is not an origin: write scheme and host, such as https://example.com:8443");
        };
        if !text.is_ascii() {
            return wrong(
                "is not ASCII: write the host as browsers send it, such as https://xn--bcher-kva.example",
            );
        }
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let bare = authority.rsplit_once('@').map_or(authority, |(_, bare)| bare);
        let Some((host, port)) = host_and_port(bare).filter(|(host, _)| !host.is_empty()) else {
            return wrong(
                "has no valid host and port: write scheme and host, such as https://example.com:8443",
            );
        };
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or_else(|| default_port(&scheme));
        let origin = Origin { scheme, host, port };
        if bare == rest { Ok(origin) } else { wrong(&format!("is more than an origin: write {origin}")) }
    }

    /// Returns the scheme, in lower case: `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the host, in lower case: `example.com`, `[::1]`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, by default that of the scheme; `None` if the scheme has no default.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns whether a `Host` header names this host and port. A `Host` without a port has the default port of this
    /// origin's scheme: behind a proxy that does TLS, nothing else shows which scheme the browser used. An empty one
    /// matches nothing.
    pub fn is_at(&self, host: &str) -> bool {
        host_and_port(host).is_some_and(|(host, port)| {
            host == self.host && port.or_else(|| default_port(&self.scheme)) == self.port
        })
    }
}

impl fmt::Display for Origin {
    /// Writes it as a browser does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if Some(port) != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_of_one_origin_are_one() {
        for (text, shown, port) in [
            ("https://example.com", "https://example.com", Some(443)),
            ("https://example.com:443", "https://example.com", Some(443)),
            ("HTTPS://Example.COM:", "https://example.com", Some(443)),
            ("http://example.com:443", "http://example.com:443", Some(443)),
            ("http://a:080", "http://a", Some(80)),
            ("http://[0:0::1]:8080", "http://[::1]:8080", Some(8080)),
            ("http://[fe80::1%25eth0]", "http://[fe80::1]", Some(80)),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", Some(443)),
            ("chrome-extension://abc", "chrome-extension://abc", None),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!((origin.to_string().as_str(), origin.port()), (shown, port), "{text}");
            assert_eq!(Origin::parse(shown).unwrap(), origin, "{text}");
        }
    }

    #[test]
    fn an_invalid_origin_gets_an_error_that_says_what_to_write() {
        for (text, told) in [
            ("https://example.com/", "is more than an origin: write https://example.com"),
            ("https://Example.com:443/app?x#y", "is more than an origin: write https://example.com"),
            ("https://me:secret@example.com:8443", "is more than an origin: write https://example.com:8443"),
            ("https://example.com?x", "is more than an origin: write https://example.com"),
            ("https://bücher.example", "is not ASCII: write the host as browsers send it"),
            ("example.com", "is not an origin: write scheme and host"),
            ("null", "is not an origin"),
            ("", "is not an origin"),
            ("://a", "is not an origin"),
            ("https://", "has no valid host and port"),
            ("https://:443", "has no valid host and port"),
            ("https://a b", "has no valid host and port"),
            ("https://a:x", "has no valid host and port"),
            ("https://a:65536", "has no valid host and port"),
            ("https://[::1", "has no valid host and port"),
            ("https://[::1]x", "has no valid host and port"),
            ("https://[fe80::1%]", "has no valid host and port"),
        ] {
            let error = Origin::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_without_a_port_has_the_default_of_the_origins_scheme() {
        for (origin, host, is_at) in [
            ("https://me.test", "me.test", true),
            ("https://me.test", "ME.test:443", true),
            ("https://me.test:443", "me.test", true),
            ("https://me.test", "me.test:", true),
            ("https://me.test", "me.test:80", false),
            ("http://me.test", "me.test:80", true),
            ("http://me.test:8888", "me.test:8888", true),
            ("http://me.test:8888", "me.test", false),
            ("http://me.test", "me.test:8888", false),
            ("http://me.test", "you.test", false),
            ("http://[::1]:1", "[0::1]:1", true),
            ("http://[fe80::1]:1", "[fe80::1%lo]:1", true),
            ("http://[fe80::1]:1", "[fe80::2%lo]:1", false),
            ("http://me.test", "", false),
            ("http://me.test", "u@me.test", false),
            ("x-app://me.test", "me.test", true),
            ("x-app://me.test", "me.test:80", false),
        ] {
            assert_eq!(Origin::parse(origin).unwrap().is_at(host), is_at, "{origin} {host}");
        }
    }
}
