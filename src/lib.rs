//! A WebSocket server without an async runtime: one blocking OS thread per client.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod clock;
pub mod lab;
mod web;

pub use web::application::Application;
pub use web::capacity::Capacity;
pub use web::capacity::Limit;
pub use web::connection::Connection;
pub use web::connection::broadcast;
pub use web::cookies::CookieSecret;
pub use web::cookies::create_signed_value;
pub use web::cookies::decode_signed_value;
pub use web::error::Error;
pub use web::error::Result;
pub use web::exchange::Exchange;
pub use web::handler::RequestHandler;
pub use web::handler::WebSocketHandler;
pub use web::message::Message;
pub use web::request::Request;
pub use web::server::Server;
pub use web::static_files::StaticFiles;
pub use web::stats::Stats;
