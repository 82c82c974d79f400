//! `threadcast --health URL`: checks a server, for the health check of a container that has no other program.
//!
//! Blocks for a second at most.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use threadcast::{Error, Result};

/// All of it: the connect, the request, the answer's first line.
const WITHIN: Duration = Duration::from_secs(1);
/// Bytes of an answer that the probe reads.
const FIRST_LINE: usize = 256;

/// Returns whether the answer to a GET is 200.
///
/// # Errors
/// [`Error::Invalid`] for a URL that is not one of plain http, and for another answer; [`Error::Io`] if none comes.
pub fn ask(url: &str) -> Result<()> {
    let (authority, path) = parse(url)?;
    let doing = || format!("no answer from {url}");
    let status = status(&authority, &path).map_err(Error::io(doing()))?;
    if status == "200" { Ok(()) } else { Err(Error::invalid(format!("{url} answers {status}"))) }
}

/// Returns the host with its port, and the path with its query.
fn parse(url: &str) -> Result<(String, String)> {
    let wrong = || {
        Error::invalid(format!(
            "not a health URL: {url:?}; write http://HOST:PORT/health, without TLS and without a user"
        ))
    };
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = (&rest[..end], if end == rest.len() { "/" } else { &rest[end..] });
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if authority.is_empty() || authority.contains('@') || !is_plain(authority) || !is_plain(path) {
        return Err(wrong());
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok((if has_port { authority.to_owned() } else { format!("{authority}:80") }, path.to_owned()))
}

fn status(authority: &str, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + WITHIN;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let connect = |address| TcpStream::connect_timeout(&address, left()?);
    let stream =
        authority.to_socket_addrs()?.find_map(|address| connect(address).map_err(|error| last = error).ok());
    let mut stream = stream.ok_or(last)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    while answer.len() < FIRST_LINE && !answer.contains(&b'\n') {
        let mut bytes = [0; FIRST_LINE];
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    let line = String::from_utf8_lossy(&answer).into_owned();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1));
    status.map(str::to_owned).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the answer is not HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_a_table() {
        for (url, expected) in [
            ("http://127.0.0.1:8888/health", Some(("127.0.0.1:8888", "/health"))),
            ("http://[::1]:80", Some(("[::1]:80", "/"))),
            ("http://[::1]/", Some(("[::1]:80", "/"))),
            ("http://localhost/ready?x=1", Some(("localhost:80", "/ready?x=1"))),
            ("https://localhost/", None),
            ("localhost:8888", None),
            ("http:///health", None),
            ("http://a:b@localhost/", None),
            ("http://localhost/a b", None),
            ("http://localhost/\r\nX: y", None),
        ] {
            let found = parse(url).ok();
            let found = found.as_ref().map(|(authority, path)| (&authority[..], &path[..]));
            assert_eq!(found, expected, "{url}");
        }
    }
}
