//! `GET /clients` and `DELETE /clients/ID`: lists and closes clients, for callers with the token. Runs on
//! `client-N`.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::clock::clients::{Clients, Listed};
use crate::clock::token::{Purpose, Token};
use threadcast::{Application, Error, Exchange, Fleet, RequestHandler, Result, printable};

/// The secret of an administrator.
pub const ADMINISTRATION: Purpose =
    Purpose { name: "admin token", route: "/clients", variable: "THREADCAST_ADMIN_TOKEN" };

/// The path before an Id.
const ONE: &str = "/clients/";

/// Most clients in one answer.
const PAGE: usize = 1000;
/// Close code if the request has none: a policy that it violates (RFC 6455, section 7.4.1).
const UNWANTED: u16 = 1008;

/// The state that the two routes share.
#[derive(Clone)]
pub struct Administration {
    /// The token that a caller has to send.
    pub token: Arc<Token>,
    /// This machine's.
    pub clients: Arc<Clients>,
    /// The other machines, if there are any.
    pub fleet: Option<Arc<Fleet>>,
}

/// The route that lists the clients.
pub struct ClientsHandler(pub Administration);

impl RequestHandler for ClientsHandler {
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        self.0.token.check(exchange)
    }

    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        // An Id may be empty, so an empty `after` differs from a missing one.
        let after = exchange.get_arguments("after")?.pop();
        let (page, has_more) = self.0.clients.page(after.as_deref(), PAGE);
        let next = page.last().filter(|_| has_more).map(|last| &last.id);
        let clients: Vec<_> = page.iter().map(describe).collect();
        exchange.set_header("Content-Type", "application/json; charset=utf-8")?;
        exchange.set_header("Cache-Control", "no-store")?;
        exchange.write(format!("{}\n", json!({ "clients": clients, "next": next })));
        Ok(())
    }
}

fn describe(Listed { id, connection, since }: &Listed) -> Value {
    let since: DateTime<Utc> = Utc::now() - since.elapsed();
    json!({
        "id": id,
        "address": connection.peer_addr().to_string(),
        "since": since.to_rfc3339_opts(SecondsFormat::Millis, true),
        "backlog": connection.backlog(),
        "sent": connection.bytes_sent(),
        "latency_ms": connection.latency().map(|latency| latency.as_micros() as f64 / 1000.0),
    })
}

/// The route of one client: its Id follows [`ONE`], and may be empty or have slashes.
pub struct ClientHandler(pub Administration);

impl RequestHandler for ClientHandler {
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        self.0.token.check(exchange)
    }

    fn delete(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let id = exchange.path().strip_prefix(ONE).unwrap_or_default();
        let id = percent_decode_str(id).decode_utf8();
        let id = id.map_err(|_| Error::refused(400, "Invalid unicode in the Id"))?;
        let code = exchange.get_arguments("code")?.pop();
        let code = code.map_or(Ok(UNWANTED), |code| code.parse());
        let code = code.map_err(|_| Error::refused(400, "A close code is a number, such as 1008 or 4000"))?;
        let reason = exchange.get_argument_or("reason", "")?;
        if !self.0.close(&id, code, &reason)? {
            return Err(Error::refused(404, "404: No client has this Id"));
        }
        log::info!(
            "closing client {} with {code}, as {} requested",
            printable(&id),
            exchange.peer_addr().ip()
        );
        exchange.set_status(204);
        Ok(())
    }

    fn methods(&self) -> &'static [&'static str] {
        &["DELETE"]
    }
}

impl Administration {
    /// Adds the two routes.
    pub fn routes(self, application: Application) -> Application {
        let (all, one) = (self.clone(), self);
        application
            .page("/clients", move || ClientsHandler(all.clone()))
            .pages(ONE, move || ClientHandler(one.clone()))
    }

    /// Closes the client of an Id, on any machine. Returns false if no client has it.
    fn close(&self, id: &str, code: u16, reason: &str) -> Result<bool> {
        let refused = |error| match error {
            Error::Invalid(why) => Error::refused(400, why),
            Error::TimedOut => Error::refused(
                504,
                "504: Not every machine answered in time, and one of them may have this client",
            ),
            Error::Closed => Error::refused(503, "503: Cannot reach the other machines now"),
            other => other,
        };
        if let Some(connection) = self.clients.find(id) {
            return match connection.close(Some(code), Some(reason)) {
                // It is closing already.
                Ok(()) | Err(Error::Closed) => Ok(true),
                Err(error) => Err(refused(error)),
            };
        }
        match &self.fleet {
            Some(fleet) => fleet.close(id, code, reason).map_err(refused),
            None => Ok(false),
        }
    }
}
