//! The HTTP port beside the HTTPS port: redirects pages and WebSockets to HTTPS. Runs on the HTTP server's own
//! `client-N`.

use percent_encoding::{CONTROLS, utf8_percent_encode};
use threadcast::{Application, Capacity, Error, Exchange, Origin, Request, RequestHandler, Result};

/// Concurrent clients, in addition to 16 more places. They leave at once, or make room for newer ones.
pub const CAPACITY: Capacity = Capacity::new(48);
/// The capacity with those 16.
pub const PLACES: usize = CAPACITY.clients + 16;

/// Answers every request with the address that it has on `port`.
pub fn application(port: u16, stack_size: usize) -> Application {
    Application::new().pages("/", move || RedirectHandler { port }).stack_size(stack_size)
}

struct RedirectHandler {
    port: u16,
}

impl RedirectHandler {
    /// Returns where the request should have gone to: the host is the client's word, which the server has checked.
    fn elsewhere(&self, request: &Request) -> Result<String> {
        let host = request.header("Host").unwrap_or_default();
        let host = Origin::parse(&format!("https://{host}")).map_err(|_| {
            Error::refused(
                400,
                "400: This port only redirects to https, and the request has no valid Host header",
            )
        })?;
        let origin = Origin::parse(&format!("https://{}:{}", host.host(), self.port))?;
        let query = Some(request.query()).filter(|query| !query.is_empty());
        let target = request.path().to_owned() + &query.map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("{origin}{}", utf8_percent_encode(&target, CONTROLS)))
    }

    fn redirect(&self, exchange: &mut Exchange<'_>) -> Result<()> {
        let to = self.elsewhere(exchange)?;
        exchange.redirect_with(308, &to)
    }
}

impl RequestHandler for RedirectHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        // WebSocket clients do not follow redirects, and the request had no secret in it.
        let upgrade = exchange.header("Upgrade").unwrap_or_default();
        if upgrade.split(',').any(|to| to.trim().eq_ignore_ascii_case("websocket")) {
            let to = self.elsewhere(exchange)?.replacen("https", "wss", 1);
            return Err(Error::refused(400, format!("400: This port only redirects, so connect to {to}")));
        }
        self.redirect(exchange)
    }

    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        self.redirect(exchange)
    }

    fn put(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        self.redirect(exchange)
    }

    fn delete(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        self.redirect(exchange)
    }

    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD", "POST", "PUT", "DELETE"]
    }

    /// Accepts all; the server that they are redirected to checks the origin.
    fn check_origin(&self, _: &Request, _: &str) -> bool {
        true
    }
}
