//! The names that a server answers to.

use super::Application;
use crate::server::handler::RequestHandler;

impl Application {
    /// Answers only requests whose `Host` is one of these names, with any port, and all others with 421. Off by default;
    /// without names it is off too. May be called again, for more names. For a server on a developer's machine, or in a
    /// network that strangers cannot reach: a page elsewhere may have a name that leads here (DNS rebinding), and the
    /// browser takes both for one origin. `localhost` stands for every name and address of the loopback: `127.0.0.1`,
    /// `[::1]`, `a.localhost`.
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

    /// Adds a page that answers requests for any `Host`, also those that [`hosts`](Application::hosts) refuses: for health
    /// checks, in which load balancers name an address, or nothing that is known.
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
