//! The header `Set-Cookie`: [`CookieAttributes`], and the line that they produce. Pure; the time is passed in.

use std::time::{Duration, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Seconds in a day.
const DAY: u64 = 86_400;
/// The last second that a header can express, at the end of the year 9999.
const LAST_DATE: u64 = 253_402_300_799;
/// The most bytes of name and value together, and of a path or a domain. Browsers drop longer ones
/// (draft-ietf-httpbis-rfc6265bis, section 5.6).
const MOST_BYTES: usize = 4096;
const MOST_ATTRIBUTE_BYTES: usize = 1024;
/// The most bytes of a name to show in an error.
const SHOWN: usize = 60;
/// Days since the expiry date of a cookie that the server clears (Tornado: 365).
const CLEARED_DAYS: u64 = 365;

/// Which cross-site requests carry a cookie (the attribute `SameSite`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SameSite {
    /// None.
    Strict,
    /// Those that navigate to the page, such as a followed link.
    #[default]
    Lax,
    /// All. Browsers accept this for a `Secure` cookie only.
    None,
}

/// When a cookie expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expiry {
    /// By the default of the function that sets it.
    #[default]
    Usual,
    /// When the browser is closed.
    Session,
    /// After this number of days.
    Days(u32),
}

/// The attributes of a cookie. `new` is `Path=/; HttpOnly; SameSite=Lax`.
///
/// ```
/// use threadcast::{CookieAttributes, Exchange, Result, SameSite};
///
/// fn remember(exchange: &mut Exchange<'_>, theme: &str) -> Result<()> {
///     let attributes = CookieAttributes::new().secure().expires_days(365).same_site(SameSite::Strict);
///     exchange.set_cookie_with("theme", theme, &attributes)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieAttributes {
    path: String,
    domain: Option<String>,
    expiry: Expiry,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
}

impl Default for CookieAttributes {
    fn default() -> CookieAttributes {
        CookieAttributes::new()
    }
}

impl CookieAttributes {
    /// Returns `Path=/; HttpOnly; SameSite=Lax`.
    pub fn new() -> CookieAttributes {
        CookieAttributes {
            path: "/".to_owned(),
            domain: None,
            expiry: Expiry::Usual,
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
        }
    }

    /// Limits the cookie to this path and those below it.
    pub fn path(mut self, path: impl Into<String>) -> CookieAttributes {
        self.path = path.into();
        self
    }

    /// Sends the cookie to this domain and its subdomains. By default only the host that set it receives it.
    pub fn domain(mut self, domain: impl Into<String>) -> CookieAttributes {
        self.domain = Some(domain.into());
        self
    }

    /// Keeps the cookie for this number of days.
    pub fn expires_days(mut self, days: u32) -> CookieAttributes {
        self.expiry = Expiry::Days(days);
        self
    }

    /// Keeps the cookie until the browser closes, which is the default of [`set_cookie`](crate::Exchange::set_cookie)
    /// (Tornado: `expires_days=None`).
    pub fn until_the_browser_closes(mut self) -> CookieAttributes {
        self.expiry = Expiry::Session;
        self
    }

    /// Sends the cookie over HTTPS only. For all cookies at once, see
    /// [`Application::cookies_over_https_only`](crate::Application::cookies_over_https_only).
    pub fn secure(mut self) -> CookieAttributes {
        self.secure = true;
        self
    }

    /// Lets the page's scripts read the cookie: without `HttpOnly`, like Tornado's.
    pub fn readable_by_scripts(mut self) -> CookieAttributes {
        self.http_only = false;
        self
    }

    /// Sets which cross-site requests carry the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> CookieAttributes {
        self.same_site = same_site;
        self
    }

    /// Returns the value of `Set-Cookie`. `now` is in seconds since 1970; `usual_days` apply unless the attributes set
    /// another expiry.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cookie that is invalid, or that no browser accepts.
    pub(crate) fn line(&self, name: &str, value: &str, usual_days: Option<u32>, now: u64) -> Result<String> {
        let days = match self.expiry {
            Expiry::Usual => usual_days,
            Expiry::Session => None,
            Expiry::Days(days) => Some(days),
        };
        let until = days.map(|days| now + u64::from(days) * DAY);
        if until.is_some_and(|until| until > LAST_DATE) {
            return Err(Error::invalid(format!("the expiry of cookie {name} is beyond the year 9999")));
        }
        self.line_until(name, value, until)
    }

    /// Returns the value of `Set-Cookie` that makes a browser forget the cookie.
    ///
    /// # Errors
    /// As [`line`](CookieAttributes::line).
    pub(crate) fn clearing_line(&self, name: &str, now: u64) -> Result<String> {
        let until = Some(now.saturating_sub(CLEARED_DAYS * DAY));
        self.clone().with_demands_of(name).line_until(name, "", until)
    }

    /// Adds the attributes that a cookie of this name must have. Without them the browser would drop the line that
    /// clears the cookie, and keep the cookie.
    fn with_demands_of(mut self, name: &str) -> CookieAttributes {
        let demands = Demands::of(name);
        self.secure |= demands.secure;
        self.http_only |= demands.http_only;
        if demands.whole_host {
            self.domain = None;
            "/".clone_into(&mut self.path);
        }
        self
    }

    fn line_until(&self, name: &str, value: &str, until: Option<u64>) -> Result<String> {
        self.check(name, value)?;
        let mut line = format!("{name}={value}");
        if self.http_only {
            line.push_str("; HttpOnly");
        }
        line.push_str(&format!("; SameSite={:?}; Path={}", self.same_site, self.path));
        if let Some(domain) = &self.domain {
            line.push_str(&format!("; Domain={domain}"));
        }
        if self.secure {
            line.push_str("; Secure");
        }
        if let Some(until) = until {
            let until = UNIX_EPOCH + Duration::from_secs(until);
            line.push_str(&format!("; Expires={}", httpdate::fmt_http_date(until)));
        }
        Ok(line)
    }

    /// Returns an error if the cookie is invalid.
    fn check(&self, name: &str, value: &str) -> Result<()> {
        check_pair(name, value)?;
        if name.len() + value.len() > MOST_BYTES {
            return Err(Error::invalid(format!(
                "browsers drop cookie {}: its name and value have {} bytes, and {MOST_BYTES} is the most; keep what is \
                 long on the server",
                name.get(..SHOWN).unwrap_or(name),
                name.len() + value.len()
            )));
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
            return Err(Error::invalid(format!(
                "{:?} cannot be the path of cookie {name}: begin it with a slash, and leave out spaces, semicolons and non-ASCII",
                self.path
            )));
        }
        let host = |domain: &String| {
            !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        };
        if let Some(domain) = self.domain.as_ref().filter(|domain| !host(domain)) {
            return Err(Error::invalid(format!(
                "{domain:?} cannot be the domain of cookie {name}: it is a name such as example.test, without a \
                 scheme or port"
            )));
        }
        let too_long = |text: &str| text.len() > MOST_ATTRIBUTE_BYTES;
        if too_long(&self.path) || self.domain.as_deref().is_some_and(too_long) {
            return Err(Error::invalid(format!(
                "browsers ignore a path or a domain of over {MOST_ATTRIBUTE_BYTES} bytes, such as cookie {name} has"
            )));
        }
        let demanded = self.clone().with_demands_of(name);
        if demanded != *self {
            return Err(Error::invalid(format!(
                "browsers drop cookie {name}: a name that begins like this has to be {}",
                Demands::of(name).in_words()
            )));
        }
        if self.same_site == SameSite::None && !self.secure {
            return Err(Error::invalid(format!(
                "browsers drop cookie {name}: with SameSite=None it has to be Secure"
            )));
        }
        Ok(())
    }
}

/// The attributes that a cookie must have because of its name's prefix.
struct Demands {
    secure: bool,
    http_only: bool,
    /// For the whole host only: the path `/`, without a domain.
    whole_host: bool,
}

impl Demands {
    /// As in draft-ietf-httpbis-rfc6265bis, section 4.1.3, and the additions of browsers since. Case does not matter.
    fn of(name: &str) -> Demands {
        let name = name.to_ascii_lowercase();
        let begins = |prefix: &str| name.starts_with(prefix);
        let (whole_host, http_only) = (begins("__host-"), begins("__http-") || begins("__host-http-"));
        Demands { secure: whole_host || http_only || begins("__secure-"), http_only, whole_host }
    }

    fn in_words(&self) -> String {
        let words = [
            (self.secure, "Secure"),
            (self.http_only, "HttpOnly"),
            (self.whole_host, "with Path=/, without a domain"),
        ];
        words
            .iter()
            .filter(|(is_demanded, _)| *is_demanded)
            .map(|(_, word)| *word)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// RFC 6265, section 4.1.1: the name is a token, the value is made of cookie-octets.
pub(crate) fn check_pair(name: &str, value: &str) -> Result<()> {
    let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    let octet = |b: u8| b.is_ascii_graphic() && !b"\",;\\".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Error::invalid(format!(
            "{name:?} cannot be a cookie's name: use letters, digits, - and _"
        )));
    }
    if !value.bytes().all(octet) {
        return Err(Error::invalid(format!(
            "the value of cookie {name} has characters that a cookie cannot carry (spaces, quotes, commas, \
             semicolons, backslashes, non-ASCII): encode it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
