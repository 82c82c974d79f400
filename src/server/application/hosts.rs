//! The host names that a server accepts.

use super::Application;
use crate::server::handler::RequestHandler;

impl Application {
    /// Answers only requests whose `Host` is one of these names, with any port, and all others with 421. Off by
    /// default, and without names. May be called again, for more names. Use it for a server on a developer's machine,
    /// or in a private network. A foreign page's name may resolve to this server (DNS rebinding), and the browser then
    /// treats both as one origin. `localhost` covers every name and address of the loopback: `127.0.0.1`, `[::1]`,
    /// `a.localhost`.
    ///
    /// ```
    /// threadcast::Application::new().hosts(["example.com", "www.example.com", "localhost"]);
    /// ```
    ///
    /// # Panics
    /// If one of them is not a name or an address, or has a port.
    #[track_caller]
    pub fn hosts<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Application {
        for name in names {
            self.settings.hosts.add(name.as_ref());
        }
        self
    }

    /// Adds a page that answers requests for any `Host`, also those that [`hosts`](Application::hosts) refuses. It is
    /// for health checks: load balancers name an address, or an unknown host.
    ///
    /// # Panics
    /// As [`page`](Application::page).
    #[track_caller]
    pub fn page_for_any_host<H: RequestHandler>(
        self,
        path: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        let mut application = self.page(path, make);
        application.routes.entry(path).any_host = true;
        application
    }
}
