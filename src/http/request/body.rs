//! A handler's access to path arguments and the body. The body is whole before `post`, `put` or `delete` runs, and
//! belongs to the request.

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::{Request, arguments, last_of};
use crate::error::{Error, Result};
use crate::http::request_body::Framing;

impl Request {
    /// Returns the segment that stands for `{name}` in the path of the route, percent-decoded (Tornado: the groups of a
    /// URL's regular expression). It is never empty; a `%2F` becomes a slash.
    ///
    /// ```
    /// use threadcast::{Application, Exchange, RequestHandler, Result};
    ///
    /// struct Room;
    ///
    /// impl RequestHandler for Room {
    ///     fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
    ///         let name = exchange.path_argument("name").to_owned();
    ///         exchange.set_header("Content-Type", "text/plain; charset=utf-8")?;
    ///         exchange.write(name);
    ///         Ok(())
    ///     }
    /// }
    /// let application = Application::new().page("/room/{name}", || Room);
    /// ```
    ///
    /// # Panics
    /// If the path of the route has no `{name}`.
    #[track_caller]
    pub fn path_argument(&self, name: &str) -> &str {
        let found = self.path_arguments.iter().find(|(other, _)| other == name);
        let Some((_, value)) = found else {
            let names: Vec<_> = self.path_arguments.iter().map(|(name, _)| name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            panic!("the path {} has no parameter {name:?}; it has {names}", self.route);
        };
        value
    }

    /// Returns what follows the prefix of its route in the path, percent-decoded: of `/doc/a/b%20c` below `/doc` it is
    /// `a/b c`. Empty where the path is the route's own.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400 if it is not UTF-8.
    pub fn path_rest(&self) -> Result<String> {
        let rest = self.path().strip_prefix(&self.route).unwrap_or_default();
        let rest = percent_decode_str(rest).decode_utf8();
        Ok(rest.map_err(|_| Error::refused(400, "Invalid unicode in the path"))?.into_owned())
    }

    /// Returns the whole body; empty if the request has none.
    pub fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// Returns the last value of a form's field, by the rules of [`get_argument`](Request::get_argument) (Tornado's
    /// `get_body_argument`). A form is a body of type `application/x-www-form-urlencoded`; any other body has no
    /// fields.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400: `Missing argument NAME`, or the value is not UTF-8.
    pub fn get_body_argument(&self, name: &str) -> Result<String> {
        last_of(self.get_body_arguments(name)?, name)
    }

    /// Returns all values of a form's field, in order; empty without the field.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400 if a value is not UTF-8.
    pub fn get_body_arguments(&self, name: &str) -> Result<Vec<String>> {
        match self.media_type().as_str() {
            "application/x-www-form-urlencoded" => arguments(self.body(), name),
            _ => Ok(Vec::new()),
        }
    }

    /// Parses the body as JSON. Its `Content-Type` has to be `application/json`, or end with `+json`. `serde_json`
    /// recurses, so deep JSON needs the default [`stack_size`](crate::Application::stack_size).
    ///
    /// ```
    /// use threadcast::{Exchange, RequestHandler, Result};
    ///
    /// struct Sum;
    ///
    /// impl RequestHandler for Sum {
    ///     fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
    ///         let numbers: Vec<i64> = exchange.body_json()?; // not numbers: the client gets a 400
    ///         exchange.write(numbers.iter().sum::<i64>().to_string());
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] with 415 for a missing or another `Content-Type`, and with 400 and serde's words for invalid
    /// JSON, or JSON that does not describe a `T`.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T> {
        let media_type = self.media_type();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return Err(Error::refused(415, "The Content-Type has to be application/json."));
        }
        serde_json::from_slice(self.body())
            .map_err(|error| Error::refused(400, format!("Invalid JSON: {error}")))
    }

    /// Returns the type of the body, in lower case, without parameters.
    fn media_type(&self) -> String {
        let whole = self.header("Content-Type").unwrap_or_default();
        whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Returns the framing of the body, until it has been read.
    pub(crate) fn unread_body(&self) -> Option<Framing> {
        self.framing.filter(|_| self.body.is_none())
    }

    /// Refuses a body that no method of this type can parse, before it is read.
    pub(crate) fn check_media_type(&self) -> Result<()> {
        match self.media_type().as_str() {
            "multipart/form-data" => Err(Error::refused(
                415,
                "multipart/form-data is not supported: send fields as application/x-www-form-urlencoded, and a file \
                 as the body.",
            )),
            _ => Ok(()),
        }
    }

    /// Returns whether the client waits for a 100 before it sends the body (RFC 9110, section 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        !self.is_http_1_0() && self.header("Expect").is_some()
    }

    /// Stores the body, when it is whole.
    pub(crate) fn set_body(&mut self, body: Vec<u8>) {
        self.body = Some(body);
    }
}
