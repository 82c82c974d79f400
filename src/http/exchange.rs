//! [`Exchange`]: one request, and the response that a handler prepares. Lives on `client-N` while
//! `open` or `get` runs.

mod choices;

use std::ops::Deref;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::http::cookies::{self, CookieRules, CookieSecret, EXPIRES_DAYS};
use crate::http::request::Request;
use crate::http::response::{self, Response};
use crate::http::set_cookie::CookieAttributes;
use crate::http::static_files::StaticFiles;

pub(crate) use choices::Choices;

/// A request (it dereferences to [`Request`]), and the headers, cookies and body of its response. In `open` the
/// response is the 101, which carries headers and cookies; in `get` it is the page.
#[derive(Debug)]
pub struct Exchange<'a> {
    request: &'a Request,
    cookies: &'a CookieRules,
    pub(crate) response: Response,
    pub(crate) choices: Choices,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(request: &'a Request, cookies: &'a CookieRules) -> Exchange<'a> {
        Exchange { request, cookies, response: Response::ok(), choices: Choices::default() }
    }

    pub(crate) fn request(&self) -> &'a Request {
        self.request
    }

    /// Sets the status of a page, 200 to 599; 200 by default. To refuse, return an `Err` instead. A 204 or 205 has no
    /// body: writing one anyway turns the answer into a 500, and the log says so. In `open` the response is the 101, so
    /// setting a status turns that into a 500 too.
    ///
    /// # Panics
    /// If `status` is not from 200 to 599.
    #[track_caller]
    pub fn set_status(&mut self, status: u16) {
        assert!((200..=599).contains(&status), "a response has a status of 200 to 599, not {status}");
        self.response.status = status;
    }

    /// Sets a header of the response. A refusal keeps it, so that `WWW-Authenticate` can go with a 401, but drops those
    /// that describe the page, such as `Content-Type`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a header that only the server may write, such as `Connection`.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
        response::not_reserved(name)?;
        self.response.set(name, value);
        Ok(())
    }

    /// Appends to the body of a page: HTML in UTF-8, unless the handler sets `Content-Type`. A refusal drops the body.
    /// `open` has no page, so writing in it turns the answer into a 500, and the log says so.
    pub fn write(&mut self, body: impl AsRef<[u8]>) {
        self.response.body.write(body.as_ref());
    }

    /// Appends a file to the body, with its content type (Tornado's `render`, without its templates). The server reads
    /// it while sending, in pieces, as the client takes them. If the file shrinks during that time, the connection
    /// ends; if it grows, the server cuts it at its old length.
    ///
    /// # Errors
    /// [`Error::Refused`] with 404 or 403 if the file cannot be served.
    pub fn render(&mut self, files: &StaticFiles, path: &str) -> Result<()> {
        let (part, content_type) = files.open(path)?;
        self.response.body.push(part);
        self.response.set("Content-Type", &content_type);
        Ok(())
    }

    /// Redirects the client with a 302, to a URL or a path (Tornado's `redirect`). The client follows a redirected
    /// `POST` with a `GET`.
    ///
    /// ```
    /// use threadcast::{Exchange, RequestHandler, Result};
    ///
    /// struct Old;
    ///
    /// impl RequestHandler for Old {
    ///     fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
    ///         exchange.redirect("/new?from=old")
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that a header cannot carry: write spaces as `%20`, and percent-encode all that is
    /// not ASCII.
    pub fn redirect(&mut self, to: &str) -> Result<()> {
        self.redirect_with(302, to)
    }

    /// [`redirect`](Exchange::redirect) with another status: 301 or 308 for good, 303 to a page by `GET`, 307 and 308
    /// to keep the method (Tornado: `redirect(url, permanent=True)`, `redirect(url, status=307)`).
    ///
    /// # Errors
    /// As [`redirect`](Exchange::redirect), and for any other status.
    pub fn redirect_with(&mut self, status: u16, to: &str) -> Result<()> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Err(Error::invalid(format!(
                "a redirect has status 301, 302, 303, 307 or 308, not {status}"
            )));
        }
        if !to.bytes().all(|b| b.is_ascii_graphic()) {
            // Not shown: its query may have a token, and this goes to the log.
            return Err(Error::invalid(
                "cannot redirect: a URL has only ASCII without spaces; percent-encode the rest",
            ));
        }
        self.response.status = status;
        self.response.set("Location", to);
        Ok(())
    }

    /// Sets a cookie: `Path=/; HttpOnly; SameSite=Lax`, until the browser is closed. The client sends it with its next
    /// request.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or value that a cookie cannot carry.
    pub fn set_cookie(&mut self, name: &str, value: &str) -> Result<()> {
        self.set_cookie_with(name, value, &CookieAttributes::new())
    }

    /// [`set_cookie`](Exchange::set_cookie) with other attributes: `Secure`, `Domain`, a path, an expiry.
    ///
    /// # Errors
    /// As [`set_cookie`](Exchange::set_cookie), and for cookies that browsers silently drop: invalid attributes, a name
    /// such as `__Host-a` or `__Secure-a` without the attributes that it demands, a name and value of over 4,096 bytes.
    pub fn set_cookie_with(&mut self, name: &str, value: &str, attributes: &CookieAttributes) -> Result<()> {
        let line = self.with_rules(attributes).line(name, value, None, now())?;
        self.add_cookie(name, line);
        Ok(())
    }

    /// Makes the browser forget a cookie that was set with the default path. Adds the attributes that the name demands,
    /// such as `Secure` for `__Host-sid`, even if this server does not know of a proxy that does TLS.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid name.
    pub fn clear_cookie(&mut self, name: &str) -> Result<()> {
        self.clear_cookie_with(name, &CookieAttributes::new())
    }

    /// [`clear_cookie`](Exchange::clear_cookie) for a cookie with another path or domain: pass those with which it was
    /// set.
    ///
    /// # Errors
    /// As [`set_cookie_with`](Exchange::set_cookie_with).
    pub fn clear_cookie_with(&mut self, name: &str, attributes: &CookieAttributes) -> Result<()> {
        let line = self.with_rules(attributes).clearing_line(name, now())?;
        self.add_cookie(name, line);
        Ok(())
    }

    fn with_rules(&self, attributes: &CookieAttributes) -> CookieAttributes {
        let attributes = attributes.clone();
        if self.cookies.https_only || self.request.is_secure() { attributes.secure() } else { attributes }
    }

    fn add_cookie(&mut self, name: &str, line: String) {
        let same = |other: &str| other.split_once('=').is_some_and(|(other, _)| other == name);
        self.response.headers.retain(|(header, value)| !(header == "Set-Cookie" && same(value)));
        self.response.headers.push(("Set-Cookie".to_owned(), line));
    }

    /// Sets a cookie that nobody can change unnoticed, signed with the application's
    /// [`cookie_secret`](crate::Application::cookie_secret) in Tornado's format, for 30 days. Its holder can read it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid name, or if the application has no secret.
    pub fn set_secure_cookie(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.set_secure_cookie_with(name, value, &CookieAttributes::new())
    }

    /// [`set_secure_cookie`](Exchange::set_secure_cookie) with other attributes. The server accepts it for 31 days,
    /// however long the browser keeps it.
    ///
    /// # Errors
    /// As [`set_secure_cookie`](Exchange::set_secure_cookie), and for invalid attributes.
    pub fn set_secure_cookie_with(
        &mut self,
        name: &str,
        value: impl AsRef<[u8]>,
        attributes: &CookieAttributes,
    ) -> Result<()> {
        let now = now();
        let signed = cookies::create_signed_value(self.secret()?, name, value.as_ref(), now);
        let line = self.with_rules(attributes).line(name, &signed, Some(EXPIRES_DAYS), now)?;
        self.add_cookie(name, line);
        Ok(())
    }

    /// Returns the value of a cookie that [`set_secure_cookie`](Exchange::set_secure_cookie) (or a Tornado site with
    /// this secret) set in the last 31 days; `None` if the cookie is missing or forged.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the application has no secret.
    pub fn get_secure_cookie(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let secret = self.secret()?;
        let signed = self.request.get_cookie(name);
        Ok(signed.and_then(|s| cookies::decode_signed_value(secret, name, &s, cookies::MAX_AGE_DAYS, now())))
    }

    /// Passes on a handler's result; a refusal takes along the headers and cookies that the handler set before.
    pub(crate) fn keep_headers<T>(&mut self, mut result: Result<T>) -> Result<T> {
        if let Err(Error::Refused { headers, .. }) = &mut result {
            self.move_headers(headers);
        }
        result
    }

    /// Not inlined, to keep an idle client's stack shallow.
    #[inline(never)]
    fn move_headers(&mut self, to: &mut Vec<(String, String)>) {
        let mut set = std::mem::take(&mut self.response.headers);
        set.retain(|(name, _)| !describes_the_body(name));
        set.append(to);
        *to = set;
    }

    /// Returns the headers of the 101.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `open` has set something that only a page can have.
    #[inline(never)]
    pub(crate) fn into_upgrade_headers(self) -> Result<Vec<(String, String)>> {
        let Response { status, headers, body } = self.response;
        if status != 200 || body.len() > 0 {
            return Err(Error::invalid(
                "open has set a status or written a body, but its response is the 101: refuse with Err(Error::refused(..)), and send messages through the connection",
            ));
        }
        Ok(headers)
    }

    fn secret(&self) -> Result<&'a CookieSecret> {
        self.cookies
            .secret
            .as_ref()
            .ok_or_else(|| Error::invalid("secure cookies need Application::cookie_secret"))
    }
}

impl Deref for Exchange<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        self.request
    }
}

/// Returns whether a header describes the page, and would be wrong on a refusal.
fn describes_the_body(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        name.as_str(),
        "content-type"
            | "content-encoding"
            | "content-language"
            | "content-location"
            | "content-disposition"
            | "content-range"
            | "etag"
            | "last-modified"
            | "location"
    )
}

/// Seconds since 1970; an earlier clock counts as 0.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
