//! [`Token`]: the secret that callers send with one kind of request. Any thread.
//!
//! Never logs a token, and never compares one byte by byte.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::console;
use threadcast::{Error, Request, Result};

/// Fewest characters of a token.
const LEAST: usize = 16;
/// Requests without a token have one line of the log in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The purpose of a token.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// How it is called.
    pub name: &'static str,
    /// Where it has to be sent.
    pub route: &'static str,
    /// The variable that may have it, in place of a file.
    pub variable: &'static str,
}

/// One token or several, each of which is enough: so one can be replaced while callers still have the other.
pub struct Token {
    purpose: Purpose,
    /// Where they are from, if that is a file.
    file: Option<PathBuf>,
    /// Read by `client-N`, written by `reload`, each for a moment.
    secrets: RwLock<Vec<Secret>>,
    /// Requests without one. Written by any `client-N`, read for `/stats`.
    unauthorized: AtomicU64,
    /// When a log line last reported them.
    logged: Mutex<Option<Instant>>,
}

/// A token in memory.
struct Secret {
    keyed: Hmac<Sha256>,
    code: [u8; 32],
}

impl Secret {
    fn new(token: &[u8]) -> Secret {
        let keyed = Hmac::<Sha256>::new_from_slice(token).expect("a key may have any length");
        let code = keyed.clone().chain_update(token).finalize().into_bytes().into();
        Secret { keyed, code }
    }

    /// Returns whether the caller's token is this one, in a time that does not depend on how much of it is right.
    fn is(&self, theirs: &str) -> bool {
        self.keyed.clone().chain_update(theirs).verify_slice(&self.code).is_ok()
    }
}

impl Token {
    /// Reads the tokens from a file, one a line, or else from the environment; `None` if neither has one.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Invalid`] for a token that no header could carry.
    pub fn find(
        purpose: Purpose,
        file: Option<&Path>,
        environment: Option<OsString>,
    ) -> Result<Option<Token>> {
        // Compose files write an empty variable for a missing one.
        let secrets = match (file, environment.filter(|value| !value.is_empty())) {
            (Some(file), _) => {
                let secrets = read(file)?;
                console::warn_if_others_may_read(file, purpose.name);
                secrets
            }
            (None, Some(value)) => secrets(purpose.variable, value.as_encoded_bytes())?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Token::new(purpose, file, secrets)))
    }

    fn new(purpose: Purpose, file: Option<&Path>, secrets: Vec<Secret>) -> Token {
        let (file, secrets) = (file.map(Path::to_owned), RwLock::new(secrets));
        Token { purpose, file, secrets, unauthorized: AtomicU64::new(0), logged: Mutex::default() }
    }

    /// Returns what it is called.
    pub fn name(&self) -> &'static str {
        self.purpose.name
    }

    /// Reads the file again. Returns false if the token is not from a file.
    ///
    /// # Errors
    /// As [`find`](Token::find); the tokens from before are kept.
    pub fn reload(&self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let secrets = read(file)?;
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
        Ok(true)
    }

    /// Returns how many requests came without one.
    pub fn unauthorized(&self) -> u64 {
        self.unauthorized.load(Ordering::Relaxed)
    }

    /// Accepts a request that has one of the tokens.
    ///
    /// # Errors
    /// The refusal with 401 of any other, which is counted, and logged at most once a minute.
    pub fn check(&self, request: &Request) -> Result<()> {
        if self.is_in(request) {
            return Ok(());
        }
        let count = self.unauthorized.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_line_due(Instant::now()) {
            let (ip, route) = (request.peer_addr().ip().to_canonical(), self.purpose.route);
            log::warn!("a request to {route} without a valid token, from {ip} ({count} so far)");
        }
        Err(Error::refused(401, "Send the token: Authorization: Bearer TOKEN")
            .with_header("WWW-Authenticate", "Bearer"))
    }

    fn is_line_due(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_EVERY);
        if is_due {
            *logged = Some(now);
        }
        is_due
    }

    fn is_in(&self, request: &Request) -> bool {
        let header = request.header("Authorization").unwrap_or_default();
        let Some((scheme, theirs)) = header.split_once(' ') else { return false };
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().any(|secret| secret.is(theirs.trim())) && scheme.eq_ignore_ascii_case("Bearer")
    }
}

/// Reads a file of tokens.
fn read(file: &Path) -> Result<Vec<Secret>> {
    let place = format!("the file {}", file.display());
    let bytes = fs::read(file).map_err(Error::io(format!("cannot read the token from {place}")))?;
    secrets(&place, &bytes)
}

/// Returns the secrets of the tokens in this place, one a line.
fn secrets(place: &str, bytes: &[u8]) -> Result<Vec<Secret>> {
    let lines = bytes.trim_ascii().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<_> = lines.enumerate().filter(|(number, line)| *number == 0 || !line.is_empty()).collect();
    let several = lines.len() > 1;
    let secret = |(number, token): (usize, &[u8])| {
        if token.len() >= LEAST && token.iter().all(u8::is_ascii_graphic) {
            return Ok(Secret::new(token));
        }
        let line = if several { format!("line {} of ", number + 1) } else { String::new() };
        Err(Error::invalid(format!(
            "not a valid token in {line}{place}: use at least {LEAST} printable ASCII characters without spaces, e.g. from openssl rand -hex 32"
        )))
    };
    lines.into_iter().map(secret).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_the_token_have_one_line_a_minute() {
        let purpose = Purpose { name: "token", route: "/", variable: "TOKEN" };
        let (token, begun) = (Token::new(purpose, None, Vec::new()), Instant::now());
        for (seconds, due) in [(0, true), (1, false), (59, false), (60, true), (61, false), (200, true)] {
            assert_eq!(token.is_line_due(begun + Duration::from_secs(seconds)), due, "{seconds}");
        }
    }

    #[test]
    fn tokens_stand_one_a_line() {
        let (one, two) = ("0123456789abcdef", "fedcba9876543210");
        for (text, expected) in [
            (one.to_owned(), &[one][..]),
            (format!("{one}\n"), &[one]),
            (format!("  {one}\r\n\r\n\t{two} \r\n"), &[one, two]),
            (format!("\n\n{one}\n{two}"), &[one, two]),
        ] {
            let secrets = secrets("here", text.as_bytes()).unwrap();
            assert_eq!(secrets.len(), expected.len(), "{text:?}");
            assert!(secrets.iter().zip(expected).all(|(secret, token)| secret.is(token)), "{text:?}");
            assert!(!secrets.iter().any(|secret| secret.is("0123456789abcdee")), "{text:?}");
        }
        for (text, place) in [
            (String::new(), "token in here: use"),
            ("short".to_owned(), "token in here: use"),
            (format!("{one}\nshort"), "token in line 2 of here: use"),
            (format!("{one}\n\n{two} {two}\n"), "token in line 3 of here: use"),
            (format!("# mine\n{one}"), "token in line 1 of here: use"),
        ] {
            let error = secrets("here", text.as_bytes()).map(drop).unwrap_err().to_string();
            assert!(error.contains(place), "{text:?}: {error}");
        }
    }
}
