//! Cookies, and Tornado's signed ("secure") cookie values.
//!
//! Pure functions, any thread. The time is passed in. A Tornado site that shares the secret can read a value signed
//! here, and vice versa.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, Result};

/// Seconds in a day.
const DAY: f64 = 86_400.0;
/// Days that a secure cookie lives (Tornado: `expires_days=30`).
pub(crate) const EXPIRES_DAYS: u32 = 30;
/// Days that a signed value is valid after it was signed (Tornado: `max_age_days=31`), and the most days that its time
/// may be ahead of our clock. More than [`EXPIRES_DAYS`], as in Tornado.
pub(crate) const MAX_AGE_DAYS: f64 = 31.0;

/// An application's settings for its cookies.
#[derive(Debug, Clone, Default)]
pub(crate) struct CookieRules {
    pub(crate) secret: Option<CookieSecret>,
    /// Adds `Secure` to every cookie.
    pub(crate) https_only: bool,
}

/// The key, or the keys by version, that sign cookies (Tornado's `cookie_secret` and `key_version`).
#[derive(Clone)]
pub struct CookieSecret {
    keys: Keys,
}

#[derive(Clone)]
enum Keys {
    /// One key, for any key version that a value names, as in Tornado.
    One(String),
    /// Keys by version, and the version that signs.
    Many(BTreeMap<u32, String>, u32),
}

impl CookieSecret {
    /// Holds one secret. Refuses an empty one, because anybody could sign with it.
    pub fn new(secret: impl Into<String>) -> Result<CookieSecret> {
        Ok(CookieSecret { keys: Keys::One(not_empty(secret.into())?) })
    }

    /// Holds several secrets by key version; `current` signs, all of them verify. To rotate, add a new version, make it
    /// current, and remove the old one when its cookies have expired.
    pub fn rotating<S: Into<String>>(
        secrets: impl IntoIterator<Item = (u32, S)>,
        current: u32,
    ) -> Result<CookieSecret> {
        let mut keys = BTreeMap::new();
        for (version, secret) in secrets {
            keys.insert(version, not_empty(secret.into())?);
        }
        if !keys.contains_key(&current) {
            return Err(Error::invalid(format!("the cookie secrets have no key version {current}")));
        }
        Ok(CookieSecret { keys: Keys::Many(keys, current) })
    }

    fn signing(&self) -> (u32, &str) {
        match &self.keys {
            Keys::One(secret) => (0, secret),
            Keys::Many(keys, current) => (*current, &keys[current]),
        }
    }

    fn verifying(&self, version: u32) -> Option<&str> {
        match &self.keys {
            Keys::One(secret) => Some(secret),
            Keys::Many(keys, _) => keys.get(&version).map(String::as_str),
        }
    }
}

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecret(..)")
    }
}

fn not_empty(secret: String) -> Result<String> {
    if secret.is_empty() {
        Err(Error::invalid("the cookie secret is empty: use a long random string"))
    } else {
        Ok(secret)
    }
}

/// Signs `value` under `name`, in Tornado's format, version 2. `now` is in seconds since 1970.
///
/// ```
/// use threadcast::{CookieSecret, create_signed_value};
///
/// let secret = CookieSecret::new("It's a secret to everybody")?;
/// let signed = create_signed_value(&secret, "key", b"value", 1_300_000_000);
/// assert!(signed.starts_with("2|1:0|10:1300000000|3:key|8:dmFsdWU=|3d4e60b996ff"));
/// # Ok::<(), threadcast::Error>(())
/// ```
pub fn create_signed_value(secret: &CookieSecret, name: &str, value: &[u8], now: u64) -> String {
    let (version, key) = secret.signing();
    let value = BASE64.encode(value);
    let mut text = String::from("2|");
    for field in [&version.to_string(), &now.to_string(), name, &value] {
        text.push_str(&format!("{}:{field}|", field.len()));
    }
    let signature = HEXLOWER.encode(&mac(key, text.as_bytes()).finalize().into_bytes());
    text + &signature
}

/// Returns the value that [`create_signed_value`] signed under `name`. Returns `None` for a wrong name, secret or
/// signature, and for a value older than `max_age_days` at `now` (seconds since 1970; exactly that age is still valid).
/// Stricter than Tornado, it also rejects a value from more than 31 days ahead.
pub fn decode_signed_value(
    secret: &CookieSecret,
    name: &str,
    signed: &str,
    max_age_days: f64,
    now: u64,
) -> Option<Vec<u8>> {
    let rest = signed.strip_prefix("2|")?;
    let (version, rest) = field(rest)?;
    let (timestamp, rest) = field(rest)?;
    let (signed_name, rest) = field(rest)?;
    let (value, signature) = field(rest)?;
    let text = &signed[..signed.len() - signature.len()];
    // `verify_slice` compares in constant time. Tornado writes the signature in lower case, and accepts no other.
    let signature = HEXLOWER.decode(signature.as_bytes()).ok()?;
    mac(secret.verifying(version.parse().ok()?)?, text.as_bytes()).verify_slice(&signature).ok()?;
    let (timestamp, now) = (timestamp.parse::<u64>().ok()? as f64, now as f64);
    let fresh = timestamp >= now - max_age_days * DAY && timestamp <= now + MAX_AGE_DAYS * DAY;
    (signed_name == name && fresh).then(|| BASE64.decode(value.as_bytes()).ok())?
}

/// Splits one `length:field|` off the front: the field, and the text after the pipe.
fn field(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    let length: usize = length.parse().ok()?;
    let rest_at = length.checked_add(1)?;
    if rest.get(length..rest_at)? != "|" {
        return None;
    }
    Some((rest.get(..length)?, &rest[rest_at..]))
}

fn mac(key: &str, text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

/// Returns the value of cookie `name` in the `Cookie` header `header`; the last one wins, as in Tornado.
pub(crate) fn find(header: &str, name: &str) -> Option<String> {
    let pairs = header.split(';').map(|pair| pair.split_once('=').unwrap_or(("", pair)));
    let value = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next_back()?;
    Some(unquote(value))
}

/// Undoes the quoting of Python's `http.cookies`: `"a\054b\""` is `a,b"`.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let (mut out, mut rest) = (String::new(), inner);
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let octal = escaped.get(..3).filter(|digits| digits.bytes().all(|b| (b'0'..=b'7').contains(&b)));
        let mut chars = escaped.chars();
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &escaped[3..];
            }
            None => {
                out.push(chars.next().unwrap_or('\\'));
                rest = chars.as_str();
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests;
