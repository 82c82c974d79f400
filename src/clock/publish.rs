//! `POST /publish?topic=all`: publishes the body, for callers with the token. Runs on `client-N`.
//!
//! Never reads a body before it has checked the token.

use std::sync::Arc;

use crate::clock::token::{Purpose, Token};
use crate::clock::topics::Topics;
use threadcast::{Exchange, RequestHandler, Result, printable};

/// The secret of a publisher.
pub const PUBLISHING: Purpose =
    Purpose { name: "publish token", route: "/publish", variable: "THREADCAST_PUBLISH_TOKEN" };

/// The route.
pub struct PublishHandler {
    /// The token that a caller has to send.
    pub token: Arc<Token>,
    /// The topics to publish to.
    pub topics: Arc<Topics>,
}

impl RequestHandler for PublishHandler {
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        self.token.check(exchange)
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
