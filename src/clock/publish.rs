//! `POST /publish?topic=all`: the body is published for who has the token. Runs on `client-N`.
//!
//! Never here: a body that is read before the token.

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
    /// Where it goes.
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
