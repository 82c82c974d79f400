//! For the tests of programs: two ends of one connection, without a server.
//!
//! Test a handler that is a function of `(&Connection, &mut Messages)` like any other function. Code that needs a
//! request is not covered: the function given to [`websocket_with`](crate::Application::websocket_with), and `open`.
//!
//! ```
//! use std::time::Duration;
//!
//! use threadcast::{Connection, Messages, Result, testing};
//!
//! fn greet(connection: &Connection, messages: &mut Messages) -> Result<()> {
//!     connection.write_message("who are you?")?;
//!     let Some(name) = messages.recv_timeout(Duration::from_secs(3))? else { return Ok(()) };
//!     connection.write_message(format!("hello, {name}"))
//! }
//!
//! # fn main() -> Result<()> {
//! let ((connection, mut messages), (client, mut answers)) = testing::pair()?;
//! let handler = std::thread::spawn(move || greet(&connection, &mut messages));
//! assert_eq!(answers.recv()?, Some("who are you?".into()));
//! client.write_message("Ann")?;
//! assert_eq!(answers.recv()?, Some("hello, Ann".into()));
//! handler.join().unwrap()?;
//! # Ok(())
//! # }
//! ```

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use tungstenite::Bytes;
use tungstenite::protocol::Role;

use crate::client::{STACK, closer};
use crate::connection::connection::Connection;
use crate::connection::messages::Messages;
use crate::connection::settings::Settings;
use crate::connection::state::SharedState;
use crate::error::{Error, Result};
use crate::net::maybe_tls::MaybeTls;
use crate::net::tcp::Tcp;
use crate::net::thread_budget::ThreadBudget;
use crate::observer::Observer;

/// Returns both ends of a WebSocket over the loopback, the server's first, with the defaults of
/// [`Application`](crate::Application) and [`Builder`](crate::client::Builder). An end whose `Messages` are dropped
/// closes with 1001. At the end of a connection the client waits for the server, so each end should have its own
/// reading thread.
///
/// # Errors
/// [`Error::Io`] if the system has no socket or no thread.
pub fn pair() -> Result<((Connection, Messages), (Connection, Messages))> {
    let (server, client) = sockets().map_err(Error::io("cannot connect over the loopback"))?;
    Ok((end(server, Role::Server)?, end(client, Role::Client)?))
}

fn sockets() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let own = client.local_addr()?;
    loop {
        let (server, peer) = listener.accept()?;
        // Another program on this machine may have been faster.
        if peer == own {
            return Ok((server, client));
        }
    }
}

fn end(stream: TcpStream, role: Role) -> Result<(Connection, Messages)> {
    let failed = || Error::io("cannot make a pair of connections");
    stream.set_nodelay(true).map_err(failed())?;
    let peer = stream.peer_addr().map_err(failed())?;
    let settings = Settings::default();
    let interval = settings.ping_interval;
    let closer = closer().map_err(failed())?;
    let budget = Arc::new(ThreadBudget::new(1, settings.delivery, STACK));
    let (counters, observer) = (Arc::default(), Observer::default());
    let state = SharedState::new(settings, u64::MAX, counters, budget, observer, closer);
    let transport = MaybeTls::Plain(Tcp::new(stream, true));
    let connection = Connection::over(transport, role, peer, Arc::new(state));
    connection.link().set_path("/", peer);
    connection.link().tcp().set_recv_timeout(interval).map_err(failed())?;
    // No bytes precede the first frame.
    let _ = connection.outbox().begin(Bytes::new());
    let messages = Messages::of_owner(&connection, Vec::new(), connection.to_string(), Vec::new());
    Ok((connection, messages))
}
