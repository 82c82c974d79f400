//! A WebSocket server without an async runtime: one blocking OS thread per client. It includes a blocking [`client`].
//!
//! It is a *library*: Tornado's handler model for blocking Rust, and a full-duplex WebSocket, which any thread may write
//! to while another is blocked in `read`. It is a *program*, Tornado's clock example, which pushes the local time to every
//! client once a second. And it is a *lesson* in the cost of threads.
//!
//! It is not a web framework, and will not become one: no templates, no file uploads in forms, no HTTP/2.
//!
//! # The clock, whole
//!
//! ```no_run
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use threadcast::{
//!     Application, Connection, Exchange, Message, Result, Server, WebSocketHandler, broadcast, printable,
//! };
//!
//! type Clients = Arc<Mutex<HashMap<String, Connection>>>;
//!
//! struct TimeHandler(Clients, String);
//!
//! impl WebSocketHandler for TimeHandler {
//!     fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
//!         self.1 = exchange.get_argument("Id")?; // missing: the client gets a 400
//!         self.0.lock().unwrap().insert(self.1.clone(), connection.clone());
//!         Ok(())
//!     }
//!     fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
//!         println!("Client {} received a message:{}", printable(&self.1), printable(&message));
//!         Ok(())
//!     }
//!     fn on_close(&mut self, connection: &Connection) {
//!         let mut clients = self.0.lock().unwrap();
//!         if clients.get(&self.1) == Some(connection) {
//!             clients.remove(&self.1);
//!         }
//!     }
//! }
//!
//! fn main() -> Result<()> {
//!     let clients = Clients::default();
//!     let handlers = clients.clone();
//!     let application =
//!         Application::new().websocket("/websocket", move || TimeHandler(handlers.clone(), String::new()));
//!     let _server = Server::bind("0.0.0.0:8888", application)?;
//!     loop {
//!         let everybody: Vec<_> = clients.lock().unwrap().values().cloned().collect();
//!         broadcast(&everybody, chrono::Local::now().to_string())?; // does not block, however slow a client is
//!         std::thread::sleep(Duration::from_secs(1));
//!     }
//! }
//! ```
//!
//! # A chat
//!
//! ```no_run
//! use threadcast::{Application, Connection, Exchange, Hub, Message, Result, Server, WebSocketHandler};
//!
//! struct Chat(Hub);
//!
//! impl WebSocketHandler for Chat {
//!     fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
//!         self.0.subscribe("chat", connection)?; // until the connection ends
//!         Ok(())
//!     }
//!     fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
//!         self.0.publish("chat", message)?; // does not block this thread
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<()> {
//!     let hub = Hub::new();
//!     let application = Application::new().websocket("/chat", move || Chat(hub.clone()));
//!     let server = Server::bind("127.0.0.1:8888", application)?;
//!     server.join();
//!     Ok(())
//! }
//! ```
//!
//! In this chat, two readers may see two concurrent messages in different orders. If that matters, hold a lock while
//! you publish, or while you [`broadcast`] to your own list: neither blocks, and all readers see one order.
//!
//! Eight more programs are in the package's `tests/examples`: `chat`, `dashboard`, `bridge` (to processes), `rpc` (over
//! JSON), `tornado_port`, `client`, `reconnect` and `relay`. In a clone, `cargo run --example chat` starts the first
//! one.
//!
//! # The manual
//!
//! [`guide`] is the manual, in three parts:
//!
//! - *Use*: [a tutorial](guide::tutorial), [writing programs](guide::writing), [clients](guide::client), and more.
//! - *Run*: [operating](guide::operating), [metrics](guide::metrics), [attacks](guide::attacks), and more.
//! - *Understand*: [how a push travels](guide::push), [the lesson](guide::lesson), and more.
//!
//! # Threads
//!
//! | thread | blocks in | ends when |
//! |---|---|---|
//! | `listener` | `poll` of its socket and an eventfd | the server shuts down |
//! | `client-N` | `read` | the peer leaves, or its socket is shut down |
//! | `pump-N` | `write` | that client's backlog is written, or stands still; it exists only while a socket is full |
//! | `writer-N` | a channel, then `write` | its client leaves; with [`Delivery::Handoff`] only |
//! | `fleet-in`, `fleet-push`, `fleet-out` | Redis, a queue | the `Fleet` is left; with the feature `redis` only |
//! | `closer` | a channel | the server shuts down; it disconnects peers that do not answer a Close frame in time, and runs the calls that wait for an end |
//! | `reaper` | a channel | the server shuts down; it joins the threads of clients that end |
//! | `dns` | the system's resolver | it has answered; it exists only during a look-up, for a client or a `Fleet` |
//! | `connect-N` | `connect` | it has an answer, or is too late; for a name with several addresses |
//! | `tls-files` | files | it has read the certificate's files, once a second at most |
//! | `tls-N` | a channel | the server shuts down; the arithmetic of handshakes, with `Application::tls` only |
//!
//! A handler runs on its client's thread and may block. A push runs on the thread that pushes: it writes to the socket
//! at once, without blocking, and wakes no other thread. A pump takes over only if a socket is full, so a slow client
//! never delays another one.
//!
//! # Rooms
//!
//! The source is a house of rooms, bottom first: a file imports only files above it in its own room, and from
//! rooms above its own.
//!
//! | room | what is in it |
//! |---|---|
//! | `begin_again` | how a program starts with less memory for each thread |
//! | `printable`, `error`, `panics`, `metrics`, `observer`, `log_limit`, `rate`, `network` | code that all rooms use |
//! | `machine` | the limits of this machine |
//! | `http` | requests, responses, cookies, files: no sockets, no threads |
//! | `ws` | frames, messages, compression, the handshake: pure bytes |
//! | `net` | sockets, and the threads that write to them: the outbox, its pumps, the closer |
//! | `connection` | the connection of either end: its backlog, its reader, its end |
//! | `client` | connecting to a server, and reading its messages |
//! | `hub` | one message to many |
//! | `server` | handlers, sessions, one thread for each client, the listener |
//!
//! `client`, `hub` and `server` are independent: none imports another.
//!
//! The program is `main.rs` with `clock`, the application, and `lab`, for the lesson only. It uses this library as any
//! other program does.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// The manual names the items of all features.
#![cfg_attr(not(feature = "program"), allow(rustdoc::broken_intra_doc_links))]
#![deny(missing_docs, missing_debug_implementations, clippy::exhaustive_enums)]

#[cfg(not(target_os = "linux"))]
compile_error!("threadcast runs on Linux only: it counts on Linux's limits, sockets and threads");

mod begin_again;
mod printable;
mod error;
mod panics;
mod observer;
mod metrics;
mod log_limit;
mod rate;
mod network;
mod machine;
mod http;
mod ws;
mod net;
mod connection;
pub mod client;
mod hub;
mod server;
pub mod testing;
pub mod guide;

pub use begin_again::begin_again;
pub use connection::broadcast::broadcast;
pub use connection::connection::Connection;
pub use connection::messages::Messages;
pub use connection::settings::OverLimit;
pub use error::{Error, HttpAnswer, Result};
pub use http::cookies::{CookieSecret, create_signed_value, decode_signed_value};
pub use http::escape::xhtml_escape;
pub use http::exchange::Exchange;
pub use http::origin::Origin;
pub use http::request::Request;
pub use http::set_cookie::{CookieAttributes, SameSite};
pub use http::static_files::StaticFiles;
pub use hub::fan_out::FanOut;
#[cfg(feature = "redis")]
pub use hub::fleet::{Fleet, FleetLosses, FleetOptions, FleetStats};
pub use hub::topics::Hub;
pub use hub::topics::relay::Relay;
pub use machine::Limit;
pub use metrics::{DisconnectReason, Disconnects, HandshakeResults, Limited, Meter, Rejections, Stats};
pub use net::seal::Delivery;
#[cfg(feature = "tls")]
pub use net::tls::config::TlsConfig;
pub use network::Network;
pub use observer::{Event, Observer};
pub use printable::{Printable, printable};
pub use rate::Rate;
pub use server::access::Access;
pub use server::application::Application;
pub use server::capacity::Capacity;
pub use server::handler::{RequestHandler, WebSocketHandler};
pub use server::server::Server;
pub use ws::close::CloseCode;
pub use ws::message::Message;

/// Also runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
