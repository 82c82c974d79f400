//! A dashboard: machines post numbers, browsers see them at once.
//!
//!     DASHBOARD_TOKEN=secret cargo run --example dashboard          # http://127.0.0.1:8888
//!     curl -H 'Authorization: Bearer secret' -H 'Content-Type: application/json' \
//!          -d '{"load": 0.7, "free GiB": 12}' http://127.0.0.1:8888/metrics

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use threadcast::{
    Application, Connection, Error, Exchange, Hub, Messages, RequestHandler, Result, Server, xhtml_escape,
};

/// The topic of all numbers.
const NUMBERS: &str = "numbers";
/// The most names to keep.
const MAX_NAMES: usize = 1000;

/// The latest numbers by name.
type Latest = BTreeMap<String, f64>;

#[derive(Clone)]
struct Dashboard {
    hub: Hub,
    /// Locked during a publish, and during a subscription: a newcomer gets the current numbers, and then every change,
    /// without a gap.
    latest: Arc<Mutex<Latest>>,
    token: Arc<str>,
}

/// `POST /metrics`.
struct Metrics(Dashboard);

impl RequestHandler for Metrics {
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let authorization = exchange.header("Authorization").unwrap_or_default();
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        if !is_same(token.as_bytes(), self.0.token.as_bytes()) {
            let refused = Error::refused(401, "Which token?");
            return Err(refused.with_header("WWW-Authenticate", "Bearer realm=\"metrics\""));
        }
        let posted: Latest = exchange.body_json()?; // no JSON, or not such: the client gets a 400
        let mut latest = self.0.latest.lock().unwrap();
        let new = posted.keys().filter(|name| !latest.contains_key(*name)).count();
        if latest.len() + new > MAX_NAMES {
            return Err(Error::refused(507, format!("At most {MAX_NAMES} names are possible.")));
        }
        self.0.hub.publish(NUMBERS, json!(posted))?;
        latest.extend(posted);
        exchange.set_status(204); // done, and nothing to say
        Ok(())
    }

    /// For the header `Allow` of a 405.
    fn methods(&self) -> &'static [&'static str] {
        &["POST"]
    }
}

/// Compares two secrets in a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// A browser that watches.
fn watch(dashboard: &Dashboard, connection: &Connection, messages: &mut Messages) -> Result<()> {
    let latest = dashboard.latest.lock().unwrap();
    dashboard.hub.subscribe(NUMBERS, connection)?;
    connection.write_message(json!(*latest))?;
    drop(latest);
    messages.recv()?.map_or(Ok(()), |_| Err(Error::closing(1008, "this socket only sends")))
}

/// The page, with the numbers in it already.
struct Page(Dashboard);

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let mut rows = String::new();
        for (name, value) in self.0.latest.lock().unwrap().iter() {
            // The names come from callers with the token: they are text, not HTML.
            write!(rows, "<tr><th>{}</th><td>{value}</td></tr>", xhtml_escape(name)).map_err(Error::other)?;
        }
        exchange.write(include_str!("dashboard.html").replace("{rows}", &rows));
        Ok(())
    }
}

fn main() -> Result<()> {
    let token = std::env::var("DASHBOARD_TOKEN").unwrap_or_default();
    if token.is_empty() {
        return Err(Error::invalid("set DASHBOARD_TOKEN to the token that a POST must send"));
    }
    let dashboard = Dashboard { hub: Hub::new(), latest: Arc::default(), token: token.into() };
    let (metrics, watched, page) = (dashboard.clone(), dashboard.clone(), dashboard);
    let application = Application::new()
        .page("/", move || Page(page.clone()))
        .page("/metrics", move || Metrics(metrics.clone()))
        .websocket("/numbers", move || {
            let own = watched.clone();
            move |connection: &Connection, messages: &mut Messages| watch(&own, connection, messages)
        })
        .max_body(64 << 10);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    let server = Server::bind(address, application)?;
    println!("dashboard is at http://{}/", server.local_addr());
    server.join();
    Ok(())
}
