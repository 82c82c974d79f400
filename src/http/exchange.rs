//! [`Exchange`]: one request, and the response that a handler prepares. Lives on `client-N` while
//! `open` or `get` runs.

use std::ops::Deref;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::http::cookies::{self, CookieSecret};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::static_files::{self, StaticFiles};

/// Headers that the server itself writes: the hop's, the handshake's, and the length.
const RESERVED: [&str; 7] = [
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
];

/// A request (it dereferences to [`Request`]) and what goes back with the response. In `open` that
/// response is the 101, which carries the headers and cookies; in `get` it is the page.
#[derive(Debug)]
pub struct Exchange<'a> {
    request: &'a Request,
    secret: Option<&'a CookieSecret>,
    pub(crate) response: Response,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(request: &'a Request, secret: Option<&'a CookieSecret>) -> Exchange<'a> {
        Exchange { request, secret, response: Response::ok() }
    }

    /// Sets the status of a page, 200 to 599; 200 unless set. A refusal is an `Err` instead.
    pub fn set_status(&mut self, status: u16) {
        self.response.status = status.clamp(200, 599);
    }

    /// Sets a header of the response.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a header that the server itself writes, such as `Connection`.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid(format!("the header {name} is the server's own")));
        }
        self.response.set(name, value);
        Ok(())
    }

    /// Adds to the body of a page: HTML in UTF-8, unless its `Content-Type` is set.
    pub fn write(&mut self, body: impl AsRef<[u8]>) {
        self.response.body.extend_from_slice(body.as_ref());
    }

    /// Writes a file as the body, with its content type (Tornado's `render`, without its templates).
    ///
    /// # Errors
    /// [`Error::Refused`] with 404 or 403 if it cannot be served.
    pub fn render(&mut self, files: &StaticFiles, path: &str) -> Result<()> {
        let content = files.read(path)?;
        self.response.set("Content-Type", &static_files::content_type(path));
        self.write(content);
        Ok(())
    }

    /// Sets a cookie: `Path=/; HttpOnly; SameSite=Lax`, until the browser is closed. It is in the client's
    /// next request.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or value that a cookie cannot carry.
    pub fn set_cookie(&mut self, name: &str, value: &str) -> Result<()> {
        self.add_cookie(name, cookies::set_cookie(name, value, None)?);
        Ok(())
    }

    fn add_cookie(&mut self, name: &str, line: String) {
        let same = |other: &str| other.split_once('=').is_some_and(|(other, _)| other == name);
        self.response.headers.retain(|(header, value)| !(header == "Set-Cookie" && same(value)));
        self.response.headers.push(("Set-Cookie".to_owned(), line));
    }

    /// Sets a cookie that nobody can change unnoticed, signed with the application's
    /// [`cookie_secret`](crate::Application::cookie_secret) in Tornado's format, for 30 days. It can be
    /// read by whoever has it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that a cookie cannot have, or if there is no secret.
    pub fn set_secure_cookie(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let now = now();
        let signed = cookies::create_signed_value(self.secret()?, name, value.as_ref(), now);
        self.add_cookie(name, cookies::set_cookie(name, &signed, Some(now))?);
        Ok(())
    }

    /// The value of a cookie set with [`set_secure_cookie`](Exchange::set_secure_cookie) (or by a
    /// Tornado site with the same secret) in the last 31 days; `None` if there is none, or a forged one.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the application has no secret.
    pub fn get_secure_cookie(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let secret = self.secret()?;
        let signed = self.request.get_cookie(name);
        Ok(signed.and_then(|s| cookies::decode_signed_value(secret, name, &s, cookies::MAX_AGE_DAYS, now())))
    }

    fn secret(&self) -> Result<&'a CookieSecret> {
        self.secret.ok_or_else(|| Error::invalid("secure cookies need Application::cookie_secret"))
    }
}

impl Deref for Exchange<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        self.request
    }
}

/// Seconds since 1970; a clock set before that counts as then.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
