//! [`Reconnecting`]: connections to one server, each after the end of the one before. On the caller's thread.

use std::iter::FusedIterator;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, thread};

use super::builder::Builder;
use crate::connection::connection::Connection;
use crate::connection::messages::Messages;
use crate::error::{Error, HttpAnswer, Result};

/// The default of the first pause, and of the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest pause that a server may ask for.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(3600);

/// Connects again and again: an iterator of connections, which blocks until there is one.
///
/// ```no_run
/// use threadcast::client::{self, Builder};
///
/// # fn main() -> threadcast::Result<()> {
/// for connected in client::reconnecting(Builder::new("wss://feed.test/prices")) {
///     let (connection, messages) = connected?; // an error is the end: the server refuses this client
///     connection.write_message("prices since the last one, please")?;
///     for message in messages.map_while(Result::ok) {
///         println!("{message}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// The first attempt is immediate. A pause precedes each later one, twice as long as the previous pause, from 100 ms to
/// 30 s (see [`pauses`](Reconnecting::pauses)). The client waits a random part of it, at least half, so that clients
/// that lost a server together do not come back together. After a connection that lasted longer than the next pause,
/// the pauses start again from the first. A busy server may ask for more with `Retry-After`, up to an hour. The client
/// waits that time before the pause.
///
/// [`on_failure`](Reconnecting::on_failure) sees each attempt that fails and is followed by another. The iterator ends
/// at an error that the next attempt would repeat. Its last item is that error, an [`Error::Invalid`], or an
/// [`Error::Handshake`] with a status below 500 other than 408, 425 and 429.
pub fn reconnecting(builder: Builder) -> Reconnecting {
    let on_failure = Box::new(|_: &Error, _| {});
    Reconnecting { builder, first: FIRST, longest: LONGEST, pause: FIRST, last: Last::Nothing, on_failure }
}

/// Receives the error, and the time until the next attempt.
type OnFailure = dyn FnMut(&Error, Duration) + Send;

/// Connections to one server, one after the other: see [`reconnecting`].
#[must_use = "it connects only when the next connection is requested"]
pub struct Reconnecting {
    builder: Builder,
    first: Duration,
    longest: Duration,
    /// The pause before the next attempt, except the first.
    pause: Duration,
    last: Last,
    on_failure: Box<OnFailure>,
}

/// The last item.
enum Last {
    Nothing,
    ConnectionAt(Instant),
    Error,
}

impl Reconnecting {
    /// Sets the first pause and the longest, 100 ms and 30 s by default.
    ///
    /// # Panics
    /// If the first one is zero, or above the longest.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Reconnecting {
        assert!(!first.is_zero(), "a first pause of zero would never grow");
        assert!(first <= longest, "the first pause, {first:?}, is above the longest, {longest:?}");
        (self.first, self.longest, self.pause) = (first, longest, first);
        self
    }

    /// Calls the function after each failed attempt, with the error and the time until the next one. That time begins
    /// when the function returns.
    pub fn on_failure(mut self, call: impl FnMut(&Error, Duration) + Send + 'static) -> Reconnecting {
        self.on_failure = Box::new(call);
        self
    }

    /// Returns how long to wait now, and makes the next wait longer.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(self.longest);
        pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

impl Iterator for Reconnecting {
    type Item = Result<(Connection, Messages)>;

    fn next(&mut self) -> Option<Result<(Connection, Messages)>> {
        match self.last {
            Last::Nothing => {}
            Last::ConnectionAt(at) => {
                if at.elapsed() > self.pause {
                    self.pause = self.first;
                }
                thread::sleep(self.next_pause());
            }
            Last::Error => return None,
        }
        loop {
            match self.builder.connect() {
                Ok(connected) => {
                    self.last = Last::ConnectionAt(Instant::now());
                    return Some(Ok(connected));
                }
                Err(error) if is_final(&error) => {
                    self.last = Last::Error;
                    return Some(Err(error));
                }
                Err(error) => {
                    let pause = asked_for(&error) + self.next_pause();
                    (self.on_failure)(&error, pause);
                    thread::sleep(pause);
                }
            }
        }
    }
}

impl FusedIterator for Reconnecting {}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").finish_non_exhaustive()
    }
}

/// Returns whether the next attempt would fail too.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Invalid(_) => true,
        _ => answer(error)
            .is_some_and(|answer| answer.status < 500 && ![408, 425, 429].contains(&answer.status)),
    }
}

/// Returns how long the server asks the client to wait: seconds, or until a date (RFC 9110, section 10.2.3).
fn asked_for(error: &Error) -> Duration {
    let headers = answer(error).map(|answer| answer.headers.iter()).into_iter().flatten();
    let mut values =
        headers.filter(|(name, _)| name.eq_ignore_ascii_case("Retry-After")).map(|(_, value)| value);
    let time = values.next().and_then(|value| match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    });
    time.unwrap_or_default().min(LONGEST_ASKED_FOR)
}

fn answer(error: &Error) -> Option<&HttpAnswer> {
    match error {
        Error::Handshake { answer, .. } => answer.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, retry_after: &str) -> Error {
        let headers = vec![("retry-after".to_owned(), retry_after.to_owned())];
        let answer = HttpAnswer { status, headers, body: Vec::new() };
        Error::Handshake { reason: String::new(), answer: Some(Box::new(answer)) }
    }

    #[test]
    fn what_is_final_as_a_table() {
        for (status, expected) in [
            (101, true),
            (200, true),
            (302, true),
            (400, true),
            (401, true),
            (404, true),
            (407, true),
            (408, false),
            (425, false),
            (426, true),
            (429, false),
            (500, false),
            (503, false),
            (599, false),
        ] {
            assert_eq!(is_final(&refusal(status, "1")), expected, "{status}");
        }
        assert!(is_final(&Error::invalid("x")));
        assert!(!is_final(&Error::io("x")(std::io::Error::other("y"))));
        assert!(!is_final(&Error::Handshake { reason: String::new(), answer: None }));
    }

    #[test]
    fn what_a_server_asks_for_as_a_table() {
        let in_a_minute = SystemTime::now() + Duration::from_secs(61);
        for (retry_after, seconds) in [
            ("0", 0..=0),
            (" 120 ", 120..=120),
            ("86400", 3600..=3600),
            ("18446744073709551616", 0..=0),
            ("-1", 0..=0),
            ("soon", 0..=0),
            ("", 0..=0),
            (&httpdate::fmt_http_date(in_a_minute), 30..=61),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0..=0),
        ] {
            let asked_for = asked_for(&refusal(503, retry_after)).as_secs();
            assert!(seconds.contains(&asked_for), "{retry_after:?}: {asked_for}");
        }
        assert_eq!(asked_for(&Error::Closed), Duration::ZERO);
    }

    #[test]
    fn pauses_grow_to_the_longest_and_are_random_from_their_half_on() {
        let ms = Duration::from_millis;
        let mut reconnecting = reconnecting(Builder::new("ws://a.test")).pauses(ms(100), ms(350));
        let mut pauses = Vec::new();
        for whole in [100, 200, 350, 350, 350, 350] {
            let pause = reconnecting.next_pause();
            assert!((ms(whole) / 2..=ms(whole)).contains(&pause), "{pause:?} of {whole} ms");
            pauses.push(pause);
        }
        pauses.dedup();
        assert_eq!(pauses.len(), 6, "{pauses:?}");
    }

    #[test]
    fn pauses_that_cannot_be_are_a_panic_with_a_sentence() {
        for (first, longest, says) in [(0, 1, "zero"), (2, 1, "above the longest")] {
            let (first, longest) = (Duration::from_secs(first), Duration::from_secs(longest));
            let set = move || reconnecting(Builder::new("ws://a.test")).pauses(first, longest);
            let panic = std::panic::catch_unwind(set).unwrap_err();
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string());
            assert!(text.contains(says), "{text}");
        }
    }
}
