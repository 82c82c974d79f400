//! [`LabHandler`]: the page `/lab`. Runs on `client-N`.

use threadcast::{Exchange, RequestHandler, Result, StaticFiles};

/// The page and what it needs, compiled in; below `/lab/`.
pub const PAGES: StaticFiles = StaticFiles::Embedded(&[
    ("lab.html", include_bytes!("../../www/lab.html")),
    ("lab.css", include_bytes!("../../www/lab.css")),
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
        // As on the clock's page. The servers beside have ports of their own, so any WebSocket may be made.
        exchange.set_header("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:")?;
        exchange.render(&self.pages, "lab.html")
    }
}
