//! The sockets that somebody else has bound for this program: a supervisor (`LISTEN_FDS`, see sd_listen_fds(3)), or the
//! process before this one. On the thread `threadcast`, before there is another thread or another file.

use std::env;
use std::net::TcpListener;

use listenfd::ListenFd;

use crate::clock::succession::Predecessor;
use threadcast::{Error, Result};

/// Where a supervisor may name them.
const NAMES: &str = "LISTEN_FDNAMES";
/// The name of the one for `--http-port`.
const REDIRECT: &str = "redirect";

/// The sockets to listen on; `None` for one that this program has to bind.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For `--port`.
    pub main: Option<TcpListener>,
    /// For `--http-port`.
    pub redirect: Option<TcpListener>,
    /// Whether they come from a supervisor.
    pub supervised: bool,
}

impl Sockets {
    /// Takes the sockets. `redirects`: whether the program needs an HTTP port beside the HTTPS port.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a descriptor other than a TCP socket, and for more sockets than are used.
    pub fn take(predecessor: Option<&Predecessor>, redirects: bool) -> Result<Sockets> {
        if let Some(predecessor) = predecessor {
            let mut sockets = predecessor.sockets()?.into_iter();
            return Ok(Sockets { main: sockets.next(), redirect: sockets.next(), supervised: false });
        }
        let names = env::var(NAMES).unwrap_or_default();
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).filter_map(|n| given.take_tcp_listener(n).transpose());
        let mut sockets: Vec<_> = sockets
            .collect::<Result<_, _>>()
            .map_err(|error| Error::invalid(format!("LISTEN_FDS: {error}")))?;
        let used = 1 + usize::from(redirects);
        if sockets.len() > used {
            let more = if redirects { "" } else { "; --http-port uses another one" };
            return Err(Error::invalid(format!(
                "LISTEN_FDS: the supervisor passes {} sockets, and the program uses {used}{more}",
                sockets.len()
            )));
        }
        let supervised = !sockets.is_empty();
        let second = if sockets.len() > 1 { Some(1) } else { None };
        let named = names.split(':').take(sockets.len()).position(|name| name == REDIRECT);
        let redirect = named.or(second).filter(|_| redirects).map(|n| sockets.remove(n));
        Ok(Sockets { main: sockets.pop(), redirect, supervised })
    }
}
