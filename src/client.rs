//! A client: a WebSocket to a server, read by one thread and written by any other.
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
mod answer;
mod offer;
mod proxy;
mod connecting;
mod builder;
mod reconnecting;

use std::sync::{Mutex, PoisonError};
use std::{io, thread};

use crossbeam_channel::Sender;

use crate::connection::connection::Connection;
use crate::error::Result;
use crate::net::closer::{self, Errand};

pub use crate::connection::messages::Messages;
pub use builder::Builder;

/// Bytes of the stack of a pump, and of the thread that lingers.
pub(crate) const STACK: usize = 512 << 10;
pub use reconnecting::{Reconnecting, reconnecting};

/// The channel to the thread `closer`, once it runs.
static CLOSER: Mutex<Option<Sender<Errand>>> = Mutex::new(None);

/// Connects to a server, with the defaults of [`Builder`].
///
/// # Errors
/// As [`Builder::connect`].
pub fn connect(url: &str) -> Result<(Connection, Messages)> {
    Builder::new(url).connect()
}

/// Returns the channel to the process's `closer`, which the first client starts. It ends with the process.
pub(crate) fn closer() -> io::Result<Sender<Errand>> {
    let mut closer = CLOSER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(closer) = &*closer {
        return Ok(closer.clone());
    }
    let (sender, errands) = crossbeam_channel::unbounded();
    let run = move || closer::run_errands(errands, crossbeam_channel::never());
    thread::Builder::new().name("closer".to_owned()).spawn(run)?;
    Ok(closer.insert(sender).clone())
}
