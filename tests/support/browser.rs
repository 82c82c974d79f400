//! A page in a real browser: Chromium runs headless, and the tests click, type and look. Each test opens its own tabs
//! in one shared browser, so that tests may run side by side.
//!
//! A page sets `<html data-state>` to `open` when it is. The tests' own `$` finds an element by its id.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use headless_chrome::protocol::cdp::Input::{self, DispatchMouseEventTypeOption};
use headless_chrome::protocol::cdp::Page::{AddScriptToEvaluateOnNewDocument, CaptureScreenshotFormatOption};
use headless_chrome::protocol::cdp::Target::CreateTarget;
use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Emulation, Log, Network, Runtime};
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde_json::{Value, json};

use crate::support::{DEADLINE, eventually};

/// The longest silence of the browser, and the longest answer to a call. Must be more than `support::DEADLINE`, which
/// is for the page.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(120);

/// A tab of the browser, with the page in it.
pub struct Page {
    pub tab: Arc<Tab>,
    complaints: Arc<Mutex<Vec<String>>>,
    _chromium: Arc<Chromium>,
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
        let tab = chromium.new_tab();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let listener = complaints.clone();
        let hear = move |event: &Event| listener.lock().unwrap().extend(complaint(event));
        tab.add_event_listener(Arc::new(hear)).expect("listens");
        tab.call_method(Runtime::Enable(None)).expect("reports exceptions");
        tab.call_method(Log::Enable(None)).expect("reports errors");
        // Every page counts as the front one, though several are open.
        tab.call_method(Emulation::SetFocusEmulationEnabled { enabled: true }).expect("has the focus");
        tab.call_method(AddScriptToEvaluateOnNewDocument {
            source: format!("window.$ = (id) => document.getElementById(id); {before}"),
            world_name: None,
            include_command_line_api: None,
            run_immediately: None,
        })
        .expect("adds the tests' own name");
        tab.navigate_to(url).expect("navigates");
        let page = Page { tab, complaints, _chromium: chromium };
        page.wait_for("the connection", "state === 'open'");
        page
    }

    /// The value of a JavaScript expression, or of its promise.
    pub fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    pub fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let evaluate = Runtime::Evaluate {
            expression: expression.to_owned(),
            return_by_value: Some(true),
            user_gesture: Some(true),
            object_group: None,
            include_command_line_api: None,
            silent: None,
            context_id: None,
            generate_preview: None,
            await_promise: Some(true),
            throw_on_side_effect: None,
            timeout: None,
            disable_breaks: None,
            repl_mode: None,
            allow_unsafe_eval_blocked_by_csp: None,
            unique_context_id: None,
            serialization_options: None,
        };
        let answer = self.tab.call_method(evaluate).map_err(|error| error.to_string())?;
        match answer.exception_details {
            Some(exception) => Err(format!("{exception:?}")),
            None => Ok(answer.result.value.unwrap_or(Value::Null)),
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

    /// Presses the mouse button on the middle of an element, which nothing may cover. Makes fewer calls than
    /// `Element::click`, because each takes headless_chrome a tenth of a second or two.
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
        for kind in [DispatchMouseEventTypeOption::MousePressed, DispatchMouseEventTypeOption::MouseReleased]
        {
            let event = Input::DispatchMouseEvent {
                Type: kind,
                x,
                y,
                button: Some(Input::MouseButton::Left),
                click_count: Some(1),
                modifiers: None,
                timestamp: None,
                buttons: None,
                force: None,
                tangential_pressure: None,
                tilt_x: None,
                tilt_y: None,
                twist: None,
                delta_x: None,
                delta_y: None,
                pointer_Type: None,
            };
            self.tab.call_method(event).expect("clicks");
        }
    }

    pub fn press(&self, key: &str) {
        self.tab.press_key(key).expect("presses a key");
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
        let feature = Emulation::MediaFeature { name: name.to_owned(), value: value.to_owned() };
        self.tab
            .call_method(Emulation::SetEmulatedMedia { media: None, features: Some(vec![feature]) })
            .expect("sets the preference");
    }

    /// Simulates a user who overrides the colours of all pages.
    pub fn force_colors(&self, scheme: &str) {
        let feature = |name: &str, value: &str| Emulation::MediaFeature {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let features = vec![feature("forced-colors", "active"), feature("prefers-color-scheme", scheme)];
        self.tab
            .call_method(Emulation::SetEmulatedMedia { media: None, features: Some(features) })
            .expect("sets the preferences");
        self.wait_for("the user's colours", "matchMedia('(forced-colors: active)').matches");
    }

    /// Tells the browser's pages that the network is gone, or back.
    pub fn offline(&self, offline: bool) {
        self.tab
            .call_method(Network::EmulateNetworkConditions {
                offline,
                latency: 0.0,
                download_throughput: -1.0,
                upload_throughput: -1.0,
                connection_Type: None,
                packet_loss: None,
                packet_queue_length: None,
                packet_reordering: None,
            })
            .expect("sets the network");
    }

    /// A light or dark window of this size.
    pub fn look(&self, scheme: &str, width: u32, height: u32) {
        self.prefer("prefers-color-scheme", scheme);
        self.tab
            .call_method(Emulation::SetDeviceMetricsOverride {
                width,
                height,
                device_scale_factor: 1.0,
                // A mobile browser shrinks the page until it fits, and would hide the effect.
                mobile: false,
                scale: None,
                screen_width: None,
                screen_height: None,
                position_x: None,
                position_y: None,
                dont_set_visible_size: None,
                screen_orientation: None,
                viewport: None,
                display_feature: None,
                device_posture: None,
            })
            .expect("sets the size");
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
        let png = CaptureScreenshotFormatOption::Png;
        let picture = self.tab.capture_screenshot(png, None, None, true).expect("takes a picture");
        assert!(picture.len() < 150_000, "{} bytes are too many for a README", picture.len());
        fs::create_dir_all(path.parent().expect("a directory")).expect("makes the directory");
        fs::write(path, picture).expect("writes the picture");
    }

    /// The browser's complaints about the page: exceptions, errors and warnings.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
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
        let _ = self.tab.close(false);
    }
}

fn with_state(condition: &str) -> String {
    format!("((state) => ({condition}))(document.documentElement.dataset.state)")
}

fn complaint(event: &Event) -> Option<String> {
    match event {
        Event::RuntimeExceptionThrown(event) => Some(format!("{:?}", event.params.exception_details)),
        Event::RuntimeConsoleAPICalled(event) => Some(format!("{:?}", event.params)),
        Event::LogEntryAdded(event) => Some(format!("{:?}", event.params.entry)),
        _ => None,
    }
}

/// The browser. It ends with the last page, so that a failed test leaves none behind.
struct Chromium {
    browser: Option<Browser>,
    profile: PathBuf,
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
        fs::create_dir_all(&profile).expect("makes the directory of the profile");
        let launch = |sandbox| {
            let arguments = [
                "--disable-quic",
                "--disable-component-update",
                "--hide-scrollbars",
                // Only this machine; headless_chrome sets the other switches against traffic.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ];
            Browser::new(LaunchOptions {
                path: Some(executable.to_owned()),
                user_data_dir: Some(profile.clone()),
                // It leaves files in it when it is killed.
                process_envs: Some(HashMap::from([("TMPDIR".to_owned(), profile.display().to_string())])),
                port: Some(0),
                sandbox,
                args: arguments.iter().map(OsStr::new).collect(),
                window_size: Some((1280, 900)),
                idle_browser_timeout: BROWSER_TIMEOUT,
                ignore_certificate_errors: true,
                ..LaunchOptions::default()
            })
        };
        // The sandbox does not work for root, nor usually in a container. The browser shows only our pages.
        let browser = if rustix::process::geteuid().is_root() {
            launch(false)
        } else {
            launch(true).or_else(|_| launch(false))
        };
        let browser =
            browser.unwrap_or_else(|error| panic!("{} does not start: {error}", executable.display()));
        Chromium { browser: Some(browser), profile }
    }

    fn new_tab(&self) -> Arc<Tab> {
        let browser = self.browser.as_ref().expect("is there until it is dropped");
        let tab = browser.new_tab_with_options(CreateTarget {
            url: "about:blank".to_owned(),
            // A tab behind another one is not drawn, and cannot be clicked.
            new_window: Some(true),
            left: None,
            top: None,
            width: None,
            height: None,
            window_state: None,
            browser_context_id: None,
            enable_begin_frame_control: None,
            background: None,
            for_tab: None,
            hidden: None,
        });
        tab.expect("opens a tab")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        drop(self.browser.take());
        // Its processes write to the profile until the last of them has ended. That must not fail a test.
        let deadline = Instant::now() + DEADLINE;
        while self.profile.exists() && fs::remove_dir_all(&self.profile).is_err() && Instant::now() < deadline
        {
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
