//! A client: a WebSocket to somebody's server, read by one thread and written by any other.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use threadcast::client;
//!
//! # fn main() -> threadcast::Result<()> {
//! let (connection, messages) = client::connect("ws://localhost:8888/websocket?Id=A")?;
//! std::thread::spawn(move || -> threadcast::Result<()> {
//!     for n in 0..1000 {
//!         connection.wait_for_room(Duration::from_secs(60))?;
//!         connection.write_message(format!("number {n}"))?;
//!     }
//!     connection.close(None, None)
//! });
//! for message in messages {
//!     println!("{}", message?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Connection`] is the type that a server's handlers have: it can be in a
//! [topic](crate::Hub) or a [`broadcast`](crate::broadcast). See [`guide::client`](crate::guide::client).

mod url;
mod offer;
mod connecting;
mod messages;
mod builder;

use std::sync::{Mutex, PoisonError};
use std::{io, thread};

use crossbeam_channel::Sender;

use crate::connection::connection::Connection;
use crate::error::Result;
use crate::net::closer::{self, Overdue};

pub use builder::Builder;
pub use messages::Messages;

/// The way to the thread `closer`, once there is one.
static CLOSER: Mutex<Option<Sender<Overdue>>> = Mutex::new(None);

/// Connects to a server, with the defaults of [`Builder`].
///
/// # Errors
/// As [`Builder::connect`].
pub fn connect(url: &str) -> Result<(Connection, Messages)> {
    Builder::new(url).connect()
}

/// Returns the way to the process's `closer`, which the first client starts. It ends with the process.
fn closer() -> io::Result<Sender<Overdue>> {
    let mut closer = CLOSER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(closer) = &*closer {
        return Ok(closer.clone());
    }
    let (sender, overdue) = crossbeam_channel::unbounded();
    let run = move || closer::run(overdue, crossbeam_channel::never());
    thread::Builder::new().name("closer".to_owned()).spawn(run)?;
    Ok(closer.insert(sender).clone())
}
