//! The choices of a WebSocket's maker in the exchange.

use super::Exchange;
use crate::error::Result;
use crate::http::origin::Origin;

/// The origin that stands for all.
const ANY: &str = "*";
/// Most bytes in a message, unless the application allows more.
const MAX_MESSAGE: usize = 1 << 30;
/// Most bytes that may wait for one client.
const MAX_BACKLOG: usize = 1 << 30;

/// The choices; of most WebSockets none.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub(crate) subprotocol: Option<Box<str>>,
    pub(crate) max_backlog: Option<usize>,
    pub(crate) max_message: Option<usize>,
    origins: Vec<Origin>,
    any_origin: bool,
}

impl Choices {
    /// Returns those of a client, which offers, and does not choose.
    pub(crate) fn of(subprotocol: Option<String>) -> Choices {
        Choices { subprotocol: subprotocol.map(String::into), ..Choices::default() }
    }

    /// Returns whether a page of this origin may connect, as far as the maker has said so.
    pub(crate) fn allow(&self, origin: &str) -> bool {
        self.any_origin
            || (!self.origins.is_empty()
                && Origin::parse(origin).is_ok_and(|origin| self.origins.contains(&origin)))
    }
}

/// For a WebSocket, in the function given to [`websocket_with`](crate::Application::websocket_with), and in `open`.
impl Exchange<'_> {
    /// Chooses the first of `ours` that the client offers (RFC 6455, section 1.9), and returns it; the 101 has it, and
    /// [`Connection::subprotocol`](crate::Connection::subprotocol). `None` if it offers none of them. That is not an
    /// error: a client that needs one leaves then. A choice that was made before stays.
    ///
    /// ```
    /// use threadcast::{Application, Connection, Error, Messages};
    ///
    /// Application::new().websocket_with("/graphql", |exchange| {
    ///     if exchange.choose_subprotocol(&["graphql-transport-ws"]).is_none() {
    ///         return Err(Error::refused(400, "This endpoint speaks graphql-transport-ws."));
    ///     }
    ///     Ok(|_: &Connection, _: &mut Messages| Ok(()))
    /// });
    /// ```
    pub fn choose_subprotocol<'o>(&mut self, ours: &[&'o str]) -> Option<&'o str> {
        if let Some(chosen) = self.choices.subprotocol.as_deref() {
            return ours.iter().find(|name| **name == chosen).copied();
        }
        let offered = self.request.header("Sec-WebSocket-Protocol").unwrap_or_default();
        let is_offered = |name: &&&str| offered.split(',').any(|offer| offer.trim() == **name);
        let chosen = ours.iter().filter(|name| !name.is_empty()).find(is_offered).copied()?;
        self.choices.subprotocol = Some(chosen.into());
        Some(chosen)
    }

    /// Lets pages of these origins connect, such as `https://example.com`, beside those that the handler's
    /// [`check_origin`](crate::WebSocketHandler::check_origin) allows, which are the server's own by default. `*` stands
    /// for every origin. May be called again, for more.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if it is not an origin: scheme, host, and a port if it is not the
    /// scheme's.
    pub fn allow_origins<O: AsRef<str>>(&mut self, origins: impl IntoIterator<Item = O>) -> Result<()> {
        for origin in origins {
            match origin.as_ref() {
                ANY => self.choices.any_origin = true,
                origin => self.choices.origins.push(Origin::parse(origin)?),
            }
        }
        Ok(())
    }

    /// Sets the bytes of backlog at which this client is a slow consumer, in place of the application's
    /// [`max_backlog`](crate::Application::max_backlog).
    ///
    /// # Panics
    /// If `bytes` is 0, or more than 1 GiB.
    #[track_caller]
    pub fn max_backlog(&mut self, bytes: usize) {
        assert!((1..=MAX_BACKLOG).contains(&bytes), "a backlog is from 1 byte to 1 GiB, not {bytes}");
        self.choices.max_backlog = Some(bytes);
    }

    /// Sets the most bytes in a message from this client, in place of the application's
    /// [`max_message`](crate::Application::max_message): 1 GiB at most, or the application's where that is more.
    pub fn max_message(&mut self, bytes: usize) {
        self.choices.max_message = Some(bytes);
    }

    /// Returns the choices, which are made now.
    pub(crate) fn take_choices(&mut self, application_max: usize) -> Choices {
        let mut choices = std::mem::take(&mut self.choices);
        choices.max_message = choices.max_message.map(|bytes| bytes.min(application_max.max(MAX_MESSAGE)));
        choices.origins = Vec::new();
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_a_table() {
        let cookies = crate::http::cookies::CookieRules::default();
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let peer = "127.0.0.1:1".parse().unwrap();
        let (request, _) = crate::http::request::Request::parse(head, peer).unwrap().unwrap();
        for (allowed, origin, expected) in [
            (&["https://a.test"][..], "https://a.test", true),
            (&["https://a.test"], "https://A.test:443", true),
            (&["https://a.test"], "http://a.test", false),
            (&["https://a.test"], "https://a.test.evil.test", false),
            (&["https://a.test", "https://b.test:8443"], "https://b.test:8443", true),
            (&["https://a.test"], "null", false),
            (&["https://a.test"], "*", false),
            (&["*"], "null", true),
            (&["*"], "https://anybody.test", true),
            (&[], "https://a.test", false),
        ] {
            let mut exchange = Exchange::new(&request, &cookies);
            exchange.allow_origins(allowed).unwrap();
            assert_eq!(exchange.choices.allow(origin), expected, "{allowed:?} {origin}");
        }
        let mut exchange = Exchange::new(&request, &cookies);
        for wrong in ["a.test", "https://a.test/", "https://", "https://*.a.test/x", ""] {
            assert!(exchange.allow_origins([wrong]).is_err(), "{wrong}");
        }
    }
}
