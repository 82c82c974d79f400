//! `POST /publish?topic=all`: the body is published for who has the token. Runs on `client-N`.
//!
//! Never here: the token in a line of the log, or compared byte by byte; a body that is read before the token.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::console;
use crate::clock::topics::Topics;
use threadcast::{Error, Exchange, Request, RequestHandler, Result, printable};

/// Where a token may be, besides a file.
pub const TOKEN: &str = "THREADCAST_PUBLISH_TOKEN";

/// Fewest characters of a token.
const LEAST: usize = 16;
/// Requests without the token have one line of the log in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What a publisher has to know.
pub struct Token {
    /// Where it is from, if that is a file.
    file: Option<PathBuf>,
    /// Read by `client-N`, written by `reload`, each for a moment.
    secret: RwLock<Secret>,
    /// Requests without it. Written by any `client-N`, read for `/stats`.
    refused: AtomicU64,
    /// When the log was told of them last.
    logged: Mutex<Option<Instant>>,
}

impl Token {
    /// Reads the token from a file, or else from what the environment says; `None` if there is neither.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Invalid`] for a token that no header could carry.
    pub fn find(file: Option<&Path>, environment: Option<OsString>) -> Result<Option<Token>> {
        // Compose files write an empty variable for one that is not there.
        let secret = match (file, environment.filter(|value| !value.is_empty())) {
            (Some(file), _) => {
                let secret = read(file)?;
                console::warn_if_others_may_read(file, "publish token");
                secret
            }
            (None, Some(value)) => secret(TOKEN, value.as_encoded_bytes())?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Token::new(file, secret)))
    }

    fn new(file: Option<&Path>, secret: Secret) -> Token {
        let file = file.map(Path::to_owned);
        Token { file, secret: RwLock::new(secret), refused: AtomicU64::new(0), logged: Mutex::default() }
    }

    /// Reads the file again. Returns false if there is none.
    ///
    /// # Errors
    /// As [`find`](Token::find); the token from before is kept.
    pub fn reload(&self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let secret = read(file)?;
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = secret;
        Ok(true)
    }

    /// Returns how many requests came without it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a request without it, and tells the log once a minute.
    fn refuse(&self, request: &Request) -> Error {
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_line_due(Instant::now()) {
            let ip = request.peer_addr().ip().to_canonical();
            log::warn!("a request to /publish without the right token, from {ip} ({count} so far)");
        }
        Error::refused(401, "Send the token: Authorization: Bearer TOKEN")
            .with_header("WWW-Authenticate", "Bearer")
    }

    fn is_line_due(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_EVERY);
        if is_due {
            *logged = Some(now);
        }
        is_due
    }

    /// Returns whether a request has it. How long that takes does not depend on how much of it is right.
    fn is_in(&self, request: &Request) -> bool {
        let header = request.header("Authorization").unwrap_or_default();
        let Some((scheme, theirs)) = header.split_once(' ') else { return false };
        let secret = self.secret.read().unwrap_or_else(PoisonError::into_inner);
        let keyed = secret.keyed.clone().chain_update(theirs.trim());
        keyed.verify_slice(&secret.code).is_ok() && scheme.eq_ignore_ascii_case("Bearer")
    }
}

/// What is kept of a token.
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
}

/// Reads a token.
fn read(file: &Path) -> Result<Secret> {
    let place = format!("the file {}", file.display());
    let bytes = fs::read(file).map_err(Error::io(format!("cannot read the token from {place}")))?;
    secret(&place, &bytes)
}

/// Returns what is kept of a token that is in this place.
fn secret(place: &str, bytes: &[u8]) -> Result<Secret> {
    let token = bytes.trim_ascii();
    if token.len() < LEAST || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Error::invalid(format!(
            "not a valid token in {place}: use at least {LEAST} printable ASCII characters without spaces, such as \
             openssl rand -hex 32 prints"
        )));
    }
    Ok(Secret::new(token))
}

/// The route.
pub struct PublishHandler {
    /// What has to be sent.
    pub token: Arc<Token>,
    /// Where it goes.
    pub topics: Arc<Topics>,
}

impl RequestHandler for PublishHandler {
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        if self.token.is_in(exchange) { Ok(()) } else { Err(self.token.refuse(exchange)) }
    }

    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let topic = exchange.get_argument("topic")?;
        let local = self.topics.publish(&topic, exchange.body())?;
        log::debug!("published to {local} clients of {}", printable(&topic));
        exchange.set_header("Content-Type", "application/json; charset=utf-8")?;
        exchange.write(format!("{{\"local\":{local}}}\n"));
        Ok(())
    }

    fn methods(&self) -> &'static [&'static str] {
        &["POST"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_the_token_have_one_line_a_minute() {
        let (token, begun) = (Token::new(None, Secret::new(b"0123456789abcdef")), Instant::now());
        for (seconds, due) in [(0, true), (1, false), (59, false), (60, true), (61, false), (200, true)] {
            assert_eq!(token.is_line_due(begun + Duration::from_secs(seconds)), due, "{seconds}");
        }
    }
}
