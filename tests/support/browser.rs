//! A page in a real browser: Chromium runs headless, and the tests click, type and look. Each test opens its own tabs
//! in one shared browser, so that tests may run side by side.
//!
//! A page sets `<html data-state>` to `open` when it is. The tests' own `$` finds an element by its id.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::devtools::DevTools;
use crate::support::{DEADLINE, eventually};

/// A headless browser that only its pages' servers hear of, and that no dialogue stops.
const SWITCHES: [&str; 22] = [
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-features=Translate",
    "--disable-hang-monitor",
    "--disable-quic",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--ignore-certificate-errors",
    "--no-first-run",
    "--password-store=basic",
    "--window-size=1280,900",
];

/// A tab of the browser, with the page in it.
pub struct Page {
    chromium: Arc<Chromium>,
    target: String,
    session: String,
}

impl Page {
    /// Opens a tab, and waits until its connection is open.
    pub fn open(addr: SocketAddr, target: &str) -> Page {
        Page::open_at(&format!("http://{addr}{target}"), "")
    }

    /// Opens a tab in which this script runs before those of the page.
    pub fn open_after(script: &str, addr: SocketAddr, target: &str) -> Page {
        Page::open_at(&format!("http://{addr}{target}"), script)
    }

    /// Opens a tab with a name and a password in the address.
    pub fn open_as(user: &str, addr: SocketAddr, target: &str) -> Page {
        Page::open_at(&format!("http://{user}@{addr}{target}"), "")
    }

    /// Opens a tab by https, with any certificate.
    pub fn open_secure(addr: SocketAddr, target: &str) -> Page {
        Page::open_at(&format!("https://{addr}{target}"), "")
    }

    fn open_at(url: &str, before: &str) -> Page {
        let chromium = Chromium::shared();
        // A tab behind another one is not drawn, and cannot be clicked.
        let tab =
            chromium.call(None, "Target.createTarget", json!({ "url": "about:blank", "newWindow": true }));
        let target = string(&tab["targetId"]);
        let attach = json!({ "targetId": target, "flatten": true });
        let session = string(&chromium.call(None, "Target.attachToTarget", attach)["sessionId"]);
        let page = Page { chromium, target, session };
        page.call("Runtime.enable", json!({}));
        page.call("Log.enable", json!({}));
        page.call("Page.enable", json!({}));
        // Every page counts as the front one, though several are open.
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        let source = format!("window.$ = (id) => document.getElementById(id); {before}");
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source }));
        page.call("Page.navigate", json!({ "url": url }));
        page.wait_for("the connection", "state === 'open'");
        page
    }

    fn call(&self, method: &str, params: Value) -> Value {
        self.chromium.call(Some(&self.session), method, params)
    }

    /// The value of a JavaScript expression, or of its promise.
    pub fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    pub fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let evaluate = json!({
            "expression": expression,
            "returnByValue": true,
            "userGesture": true,
            "awaitPromise": true,
        });
        let mut answer = self.chromium.devtools.call(Some(&self.session), "Runtime.evaluate", evaluate)?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(exception.to_string()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Returns whether a condition holds, in which `$` finds an element and `state` is that of the connection.
    pub fn is(&self, condition: &str) -> bool {
        self.eval(&with_state(condition)) == Value::Bool(true)
    }

    /// Blocks until the condition holds. The page checks on each change, and at the latest after a second; an exception
    /// means that the page is not ready.
    pub fn wait_for(&self, what: &str, condition: &str) {
        let condition = with_state(condition);
        let wait = format!(
            "new Promise((resolve, reject) => {{
               const look = () => {{ try {{ if ({condition}) end(true); }} catch (error) {{ reject(error); }} }};
               const observer = new MutationObserver(look);
               const end = (value) => {{ observer.disconnect(); resolve(value); }};
               observer.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
               look();
               setTimeout(() => {{ look(); end(false); }}, 1000);
             }})"
        );
        eventually(what, || self.try_eval(&wait) == Ok(Value::Bool(true)));
    }

    pub fn text(&self, id: &str) -> String {
        self.eval(&format!("$('{id}').textContent")).as_str().expect("a text").to_owned()
    }

    /// The last push, and their number.
    pub fn time_and_count(&self) -> (String, u64) {
        let both = self.eval("[$('time').textContent, +$('count').textContent]");
        (both[0].as_str().expect("a text").to_owned(), both[1].as_u64().expect("a number"))
    }

    /// The texts of all log lines of one kind.
    pub fn log_lines(&self, event: &str) -> Vec<String> {
        let lines = self.eval(&format!(
            "[...document.querySelectorAll('#log li[data-event={event}] .text')].map((text) => text.textContent)"
        ));
        serde_json::from_value(lines).expect("texts")
    }

    /// Presses the mouse button on the middle of an element, which nothing may cover.
    pub fn click(&self, id: &str) {
        let middle = self.eval(&format!(
            "((target) => {{
               const reach = () => {{
                 const {{ x, y, width, height }} = target.getBoundingClientRect();
                 const middle = {{ x: x + width / 2, y: y + height / 2 }};
                 return target.contains(document.elementFromPoint(middle.x, middle.y)) ? middle : null;
               }};
               return reach() ?? (target.scrollIntoView({{ block: 'center' }}), reach());
             }})($('{id}'))"
        ));
        let (Some(x), Some(y)) = (middle["x"].as_f64(), middle["y"].as_f64()) else {
            panic!("nobody could click #{id}");
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key with this name, or with this character.
    pub fn press(&self, key: &str) {
        let (number, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "End" => (35, ""),
            "ArrowLeft" => (37, ""),
            "ArrowDown" => (40, ""),
            character => (character.to_ascii_uppercase().as_bytes()[0], character),
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        for (kind, text) in [(kind, text), ("keyUp", "")] {
            let event = json!({ "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": number });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Presses the keys of a text.
    pub fn type_text(&self, text: &str) {
        text.chars().for_each(|key| self.press(&key.to_string()));
    }

    /// Replaces the text of an input, like an edit by the user.
    pub fn fill(&self, id: &str, text: &str) {
        let edit = if text.is_empty() {
            "'delete'".to_owned()
        } else {
            format!("'insertText', false, {}", json!(text))
        };
        let written = self.eval(&format!(
            "$('{id}').focus(), $('{id}').select(), document.execCommand({edit}), $('{id}').value"
        ));
        assert_eq!(written, text, "in #{id}");
    }

    /// Simulates a user with this preference, such as `prefers-reduced-motion`, and no other.
    pub fn prefer(&self, name: &str, value: &str) {
        self.prefer_all(json!([{ "name": name, "value": value }]));
    }

    /// Simulates a user who overrides the colours of all pages.
    pub fn force_colors(&self, scheme: &str) {
        self.prefer_all(json!([
            { "name": "forced-colors", "value": "active" },
            { "name": "prefers-color-scheme", "value": scheme },
        ]));
        self.wait_for("the user's colours", "matchMedia('(forced-colors: active)').matches");
    }

    fn prefer_all(&self, features: Value) {
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Tells the browser's pages that the network is gone, or back.
    pub fn offline(&self, offline: bool) {
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.call("Network.emulateNetworkConditions", conditions);
    }

    /// A light or dark window of this size.
    pub fn look(&self, scheme: &str, width: u32, height: u32) {
        self.prefer("prefers-color-scheme", scheme);
        // A mobile browser shrinks the page until it fits, and would hide the effect.
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.wait_for("the new size", &format!("innerWidth === {width} && innerHeight === {height}"));
    }

    pub fn assert_fits(&self, width: u32, scheme: &str) {
        assert!(
            self.is("document.documentElement.scrollWidth <= innerWidth"),
            "{width} px, {scheme}: these stick out: {}",
            self.eval(
                "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth)\
                 .map((e) => `${e.tagName}#${e.id}.${e.className}`).join(' ')"
            )
        );
    }

    pub fn take_picture(&self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let picture = BASE64.decode(string(&picture["data"]).as_bytes()).expect("base64");
        assert!(picture.len() < 150_000, "{} bytes are too many for a README", picture.len());
        fs::create_dir_all(path.parent().expect("a directory")).expect("makes the directory");
        fs::write(path, picture).expect("writes the picture");
    }

    /// The browser's complaints about the page: exceptions, errors and warnings.
    pub fn complaints(&self) -> Vec<String> {
        self.chromium.devtools.complaints(&self.session)
    }

    pub fn wait_for_complaint(&self, text: &str) {
        eventually(text, || self.complaints().iter().any(|complaint| complaint.contains(text)));
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if thread::panicking() {
            let shown = self.try_eval("`${document.title}\n${document.body.innerText}`");
            eprintln!("the page shows: {}", shown.unwrap_or_default().as_str().unwrap_or_default());
            eprintln!("the browser complains: {:#?}", self.complaints());
        }
        let close = json!({ "targetId": self.target });
        let _ = self.chromium.devtools.call(None, "Target.closeTarget", close);
    }
}

fn with_state(condition: &str) -> String {
    format!("((state) => ({condition}))(document.documentElement.dataset.state)")
}

fn string(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// The browser. It ends with the last page, so that a failed test leaves none behind.
struct Chromium {
    devtools: DevTools,
    _profile: Profile,
}

/// Shared by all open pages.
static SHARED: Mutex<Weak<Chromium>> = Mutex::new(Weak::new());

impl Chromium {
    fn shared() -> Arc<Chromium> {
        let executable = executable();
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let chromium = Arc::new(Chromium::start(&executable));
            *shared = Arc::downgrade(&chromium);
            chromium
        })
    }

    fn start(executable: &Path) -> Chromium {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        // Not in the target directory: it holds sockets, whose paths are limited to about 100 bytes.
        let profile = env::temp_dir().join(format!("threadcast-page-{}-{number}", std::process::id()));
        let profile = Profile(profile);
        fs::create_dir_all(&profile.0).expect("makes the directory of the profile");
        let launch = |more: &[&str]| {
            let mut command = Command::new(executable);
            // It leaves files in it when it is killed.
            command.arg(format!("--user-data-dir={}", profile.0.display())).env("TMPDIR", &profile.0);
            DevTools::start(command.args(SWITCHES).args(more))
        };
        // The sandbox does not work for root, nor usually in a container. The browser shows only our pages.
        let without_sandbox = || launch(&["--no-sandbox"]);
        let devtools = if rustix::process::geteuid().is_root() {
            without_sandbox()
        } else {
            launch(&[]).or_else(|_| without_sandbox())
        };
        let devtools =
            devtools.unwrap_or_else(|error| panic!("{} does not start: {error}", executable.display()));
        Chromium { devtools, _profile: profile }
    }

    fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.devtools.call(session, method, params).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A browser's directory.
struct Profile(PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        // Its processes write to it until the last of them has ended. That must not fail a test.
        let deadline = Instant::now() + DEADLINE;
        while self.0.exists() && fs::remove_dir_all(&self.0).is_err() && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// `CHROME`, or the first of Chromium's names in `PATH`.
fn executable() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut candidates = names.iter().flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)));
    let found = env::var_os("CHROME").map(PathBuf::from).or_else(|| candidates.find(|path| path.is_file()));
    found.expect(
        "the page's tests need a browser: `apt-get install chromium`, or set CHROME to the path of one",
    )
}
