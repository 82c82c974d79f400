//! [`Access`]: a request that was answered, or a WebSocket that has ended, for an application that logs them. On
//! `client-N`.
//!
//! Without such a log nothing is measured. Never here: a query, which may have a token in it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::panics::{Contained, caught};

/// A request that was answered, or a WebSocket that has ended: the argument of [`Application::access_log`]'s function.
///
/// [`Application::access_log`]: crate::Application::access_log
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Access<'a> {
    /// The client's address: the peer's, or the one that a trusted proxy names.
    pub address: SocketAddr,
    /// The method; `-` if what came was not a request.
    pub method: &'a str,
    /// The path, as the client sent it, without its query; `-` if what came was not a request.
    pub path: &'a str,
    /// The status; 101 for a WebSocket that has ended.
    pub status: u16,
    /// The code of the peer's Close frame: 1005 if it had none, 1006 if none came. `None` for a request.
    pub close_code: Option<u16>,
    /// Bytes sent to the client, heads and frames included.
    pub bytes: u64,
    /// Since the head was read; for a WebSocket since the client connected.
    pub elapsed: Duration,
}

type AccessTell = Box<dyn Fn(&Access<'_>) + Send + Sync>;

/// The application's function to call, if it has set one.
#[derive(Clone, Default)]
pub(crate) struct AccessLog(Option<Arc<Contained<AccessTell>>>);

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessLog").field(&self.0.is_some()).finish()
    }
}

impl AccessLog {
    pub(crate) fn new(report: impl Fn(&Access<'_>) + Send + Sync + 'static) -> AccessLog {
        AccessLog(Some(Arc::new(Contained::new(Box::new(report)))))
    }

    /// Returns the time at which a head has been read, if the application has set a function.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    /// Calls the application's function, if it has set one.
    pub(crate) fn tell<'a>(&self, access: impl FnOnce() -> Access<'a>) {
        if let Some(report) = &self.0 {
            tell(report, &access());
        }
    }
}

/// Not inlined: a client's stack has no room for it.
#[cold]
#[inline(never)]
fn tell(report: &Contained<AccessTell>, access: &Access<'_>) {
    if let Err(text) = caught(|| report(access)) {
        log::error!("the access log panicked: {text}");
    }
}
