//! The access log: one call for each request and each WebSocket's end.

use super::Application;
use crate::server::access::{Access, AccessLog};

impl Application {
    /// Calls `report` for each request that was answered and each WebSocket that has ended, on its client's thread. It
    /// must not block. If it panics, the log says so, and its client notices nothing.
    ///
    /// ```
    /// use threadcast::Application;
    ///
    /// Application::new().access_log(|access| println!("{} {} {}", access.address, access.path, access.status));
    /// ```
    pub fn access_log(mut self, report: impl Fn(&Access<'_>) + Send + Sync + 'static) -> Application {
        self.settings.access = AccessLog::new(report);
        self
    }
}
