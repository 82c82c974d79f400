//! `POST /publish?topic=all`: the body is published for who has the token. Runs on `client-N`.
//!
//! Never here: the token in a line of the log, or compared byte by byte.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::logging::printable;
use crate::clock::topics::Topics;
use threadcast::{Error, Exchange, Request, RequestHandler, Result};

/// Where a token may be, besides a file.
pub const TOKEN: &str = "THREADCAST_PUBLISH_TOKEN";

/// What a publisher has to know.
pub struct Token {
    keyed: Hmac<Sha256>,
    code: [u8; 32],
}

impl Token {
    /// Reads the token from a file, or else from what the environment says; `None` if there is neither.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Invalid`] for a token that no header could carry.
    pub fn find(file: Option<&Path>, environment: Option<OsString>) -> Result<Option<Token>> {
        let (place, bytes) = match (file, environment) {
            (Some(file), _) => {
                let place = format!("the file {}", file.display());
                let bytes =
                    fs::read(file).map_err(Error::io(format!("cannot read the token from {place}")))?;
                (place, bytes)
            }
            (None, Some(value)) => (TOKEN.to_owned(), value.into_encoded_bytes()),
            (None, None) => return Ok(None),
        };
        let token = bytes.trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(Error::invalid(format!(
                "the token in {place} is none: write ASCII characters without spaces, such as openssl rand -hex 32 prints"
            )));
        }
        Ok(Some(Token::new(token)))
    }

    fn new(token: &[u8]) -> Token {
        let keyed = Hmac::<Sha256>::new_from_slice(token).expect("a key may have any length");
        let code = keyed.clone().chain_update(token).finalize().into_bytes().into();
        Token { keyed, code }
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
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        if !self.token.is_in(exchange) {
            let refused = Error::refused(401, "Send the token: Authorization: Bearer TOKEN");
            return Err(refused.with_header("WWW-Authenticate", "Bearer"));
        }
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
