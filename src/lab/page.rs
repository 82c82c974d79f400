//! [`LabHandler`]: the page `/lab`. Runs on `client-N`.

use threadcast::{Exchange, RequestHandler, Result, StaticFiles};

/// As on the clock's page. The servers beside have their own ports, so the page may open any WebSocket.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'self'";

/// The page and what it needs, compiled in; below `/lab/`.
pub const PAGES: StaticFiles = StaticFiles::Embedded(&[
    ("lab.html", include_bytes!("../../www/lab.html")),
    ("lab.css", include_bytes!("../../www/lab.css")),
    ("base.js", include_bytes!("../../www/base.js")),
    ("lab-base.js", include_bytes!("../../www/lab-base.js")),
    ("lab-model.js", include_bytes!("../../www/lab-model.js")),
    ("lab-words.js", include_bytes!("../../www/lab-words.js")),
    ("lab-lanes.js", include_bytes!("../../www/lab-lanes.js")),
    ("lab-numbers.js", include_bytes!("../../www/lab-numbers.js")),
    ("lab-beside.js", include_bytes!("../../www/lab-beside.js")),
    ("lab.js", include_bytes!("../../www/lab.js")),
]);

/// Renders the page.
pub struct LabHandler {
    /// Where it is.
    pub pages: StaticFiles,
}

impl RequestHandler for LabHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_header("Cache-Control", "no-cache")?;
        if matches!(self.pages, StaticFiles::Embedded(_)) {
            exchange.set_header("Content-Security-Policy", POLICY)?;
        }
        exchange.render(&self.pages, "lab.html")
    }
}
