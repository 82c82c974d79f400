//! `POST /publish?topic=all`: the body is published for who has the token. Runs on `client-N`.
//!
//! Never here: the token in a line of the log, or compared byte by byte; a body that is read before the token.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    keyed: Hmac<Sha256>,
    code: [u8; 32],
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
        let (place, bytes) = match (file, environment.filter(|value| !value.is_empty())) {
            (Some(file), _) => {
                let place = format!("the file {}", file.display());
                let bytes =
                    fs::read(file).map_err(Error::io(format!("cannot read the token from {place}")))?;
                console::warn_if_others_may_read(file, "publish token");
                (place, bytes)
            }
            (None, Some(value)) => (TOKEN.to_owned(), value.into_encoded_bytes()),
            (None, None) => return Ok(None),
        };
        let token = bytes.trim_ascii();
        if token.len() < LEAST || !token.iter().all(u8::is_ascii_graphic) {
            return Err(Error::invalid(format!(
                "not a valid token in {place}: use at least {LEAST} printable ASCII characters without spaces, such as \
                 openssl rand -hex 32 prints"
            )));
        }
        Ok(Some(Token::new(token)))
    }

    fn new(token: &[u8]) -> Token {
        let keyed = Hmac::<Sha256>::new_from_slice(token).expect("a key may have any length");
        let code = keyed.clone().chain_update(token).finalize().into_bytes().into();
        Token { keyed, code, refused: AtomicU64::new(0), logged: Mutex::default() }
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
        let keyed = self.keyed.clone().chain_update(theirs.trim());
        keyed.verify_slice(&self.code).is_ok() && scheme.eq_ignore_ascii_case("Bearer")
    }
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
        let (token, begun) = (Token::new(b"0123456789abcdef"), Instant::now());
        for (seconds, due) in [(0, true), (1, false), (59, false), (60, true), (61, false), (200, true)] {
            assert_eq!(token.is_line_due(begun + Duration::from_secs(seconds)), due, "{seconds}");
        }
    }
}
