//! The page, in a real browser: Chromium runs headless, the program runs in a process of its own, and
//! the tests click, type and look. Each opens tabs of its own in one browser that they share, so that
//! they may run side by side.
//!
//! With `THREADCAST_SCREENSHOTS=DIR`, pictures of the page are written to `DIR` besides.

mod support;

use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use headless_chrome::Browser;
use headless_chrome::LaunchOptions;
use headless_chrome::Tab;
use headless_chrome::protocol::cdp::Emulation;
use headless_chrome::protocol::cdp::Input;
use headless_chrome::protocol::cdp::Input::DispatchMouseEventTypeOption;
use headless_chrome::protocol::cdp::Log;
use headless_chrome::protocol::cdp::Page::CaptureScreenshotFormatOption;
use headless_chrome::protocol::cdp::Runtime;
use headless_chrome::protocol::cdp::Target::CreateTarget;
use headless_chrome::protocol::cdp::types::Event;
use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;

use support::DEADLINE;
use support::Program;
use support::Raw;
use support::eventually;

/// Four pushes a second, where a test waits for several.
const FAST: &[&str] = &["--interval", "250ms"];

/// Fast pushes that take 1.5 s. A page that tries again does so within 1 s.
const LONGER_THAN_A_TRY: usize = 7;

/// Longest silence of the browser, and longest answer to a call. Must be more than `support::DEADLINE`,
/// which is for the page.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn the_time_moves() {
    let program = Program::start(&[]);
    let page = Page::open(program.addr(), "/?Id=A");
    page.wait_for("the first push", "+$('count').textContent >= 1");
    let (first, count) = page.time_and_count();
    page.wait_for("two more pushes", &format!("+$('count').textContent >= {count} + 2"));
    let (second, _) = page.time_and_count();
    assert!(first < second, "{first}, then {second}");
    for time in [first, second] {
        let form = time.replace(|c: char| c.is_ascii_digit(), "0");
        assert!(["0000-00-00 00:00:00", "0000-00-00 00:00:00.000000"].contains(&form.as_str()), "{time}");
        program.wait_for_line(&format!("write to client A:{time}"));
    }
    assert!(page.is("document.querySelectorAll('#plot circle.dot').length === +$('count').textContent - 1"));
}

#[test]
fn the_log_shows_onopen_and_each_onmessage() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    page.wait_for("three pushes", "+$('count').textContent >= 3");
    assert_eq!(page.log_lines("onopen"), ["as A"]);
    let pushes = page.log_lines("onmessage");
    assert!(pushes.len() >= 3, "{pushes:?}");
    for push in pushes {
        program.wait_for_line(&format!("write to client A:{push}"));
    }
    assert!(page.is("document.querySelector('#log li').dataset.event === 'onopen'"));
    assert!(
        page.is("/^\\d\\d:\\d\\d:\\d\\d\\.\\d{3}$/.test(document.querySelector('#log .at').textContent)")
    );
}

#[test]
fn what_is_sent_reaches_the_server() {
    let program = Program::start(&[]);
    let page = Page::open(program.addr(), "/?Id=A");
    for text in ["hi there", "你好, 🧵", "<b>bold</b>"] {
        page.fill("message", text);
        page.click("send");
        program.wait_for_line(&format!("Client A received a message:{text}"));
        assert_eq!(page.log_lines("send").last().map(String::as_str), Some(text));
        assert!(page.is("$('message').value === ''"));
    }
}

#[test]
fn markup_is_shown_as_text() {
    let markup = "<b>bold</b><img src=x onerror=alert(1)>";
    let program = Program::start(&[]);
    let page = Page::open(program.addr(), &format!("/?Id={}", markup.replace(' ', "+")));
    page.fill("message", markup);
    page.click("send");
    program.wait_for_line(&format!("received a message:{markup}"));
    // The server sends nothing but the time, so this plays the server.
    page.eval(&format!("socket.dispatchEvent(new MessageEvent('message', {{ data: {} }}))", json!(markup)));
    // This one shows the Id in the page's words.
    let newer = Page::open(program.addr(), &format!("/?Id={}", markup.replace(' ', "+")));
    page.wait_for("the end", "state === 'closed'");
    assert!(page.text("detail").contains(markup));
    assert_eq!(page.log_lines("onopen"), [format!("as {markup}")]);
    assert_eq!(page.log_lines("send"), [markup]);
    assert!(page.log_lines("onmessage").iter().any(|line| line == markup));
    assert!(page.is("document.querySelector('b, img, #log :not(li, span)') === null"));
    drop(newer);
}

#[test]
fn a_close_by_the_user_shows_what_came_back_and_is_final() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    for (round, (code, reason, shown, logged)) in [
        ("4000", "bye", "4000", "Client A is closed 4000 bye"),
        ("1000", "", "1000", "Client A is closed 1000"),
        ("", "", "1005", "Client A is closed"),
    ]
    .into_iter()
    .enumerate()
    {
        page.eval("socket.addEventListener('close', (event) => { window.cameBack = event }), 0");
        page.fill("close-code", code);
        page.fill("close-reason", reason);
        page.click("close");
        page.wait_for("the end", "state === 'closed' && cameBack.target === socket");
        assert_eq!([page.text("closed-code"), page.text("closed-clean")], [shown, "true"]);
        assert_eq!(page.text("closed-reason"), page.eval("cameBack.reason || '(none)'"));
        program.wait_for_line(logged);

        until_a_try_would_have_been_seen(&program);
        assert!(
            page.is(
                "state === 'closed' && $('countdown').hidden && $('send').disabled && $('close').disabled"
            )
        );
        assert_eq!(page.text("count-onopen"), (round + 1).to_string());
        assert_eq!(page.text("count-onerror"), "0");

        assert_eq!(page.text("connect"), "Connect");
        page.click("connect");
        page.wait_for("a new connection", "state === 'open'");
    }
}

#[test]
fn a_bad_close_code_is_explained_and_nothing_is_sent() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    for (code, reason, wrong, error) in [
        ("999", "", "close-code", "999 is not for pages to send"),
        ("1001", "", "close-code", "1001 is not for pages to send"),
        ("2999", "", "close-code", "2999 is not for pages to send"),
        ("5000", "", "close-code", "5000 is not for pages to send"),
        ("1e3", "", "close-code", "is not a number"),
        ("", "bye", "close-code", "A reason needs a code"),
        ("4000", &"é".repeat(62), "close-reason", "124 bytes"),
    ] {
        page.fill("close-code", code);
        page.fill("close-reason", reason);
        page.click("close");
        page.wait_for("an error", &format!("$('close-error').textContent.includes({})", json!(error)));
        assert!(page.is(&format!("document.activeElement.id === '{wrong}'")), "{error}");
        assert!(page.is("document.activeElement.getAttribute('aria-invalid') === 'true'"), "{error}");
    }
    let (_, count) = page.time_and_count();
    page.wait_for("pushes to go on", &format!("+$('count').textContent >= {count} + 2"));
    assert!(page.is("state === 'open'"));
    assert_eq!(page.log_lines("close"), [""; 0]);
    assert!(!program.lines().iter().any(|line| line.contains("is closed")));

    page.fill("close-reason", &"é".repeat(61));
    page.click("close");
    page.wait_for(
        "the end, since 122 bytes fit",
        "state === 'closed' && $('close-error').textContent === ''",
    );
    assert_eq!(page.text("closed-code"), "4000");
}

#[test]
fn the_page_comes_back_by_itself_when_the_server_does() {
    let program = Program::start(FAST);
    let addr = program.addr();
    let page = Page::open(addr, "/?Id=A");
    page.wait_for("a push", "+$('count').textContent >= 1");
    drop(program); // kills it

    page.wait_for(
        "a countdown",
        "state === 'closed' && /^Try 1 in \\d+ s$/.test($('countdown').textContent)",
    );
    assert!(page.is("!$('countdown').hidden && !$('connect').hidden"));
    assert_eq!([page.text("closed-code"), page.text("closed-clean")], ["1006", "false"]);
    page.wait_for("a try that fails", "/^Try 2 in \\d+ s$/.test($('countdown').textContent)");
    assert!(!page.log_lines("onerror").is_empty());
    let (before, count) = page.time_and_count();

    let program = start_at(addr);
    page.wait_for("a new connection", "state === 'open'");
    page.wait_for("pushes", &format!("+$('count').textContent >= {count} + 2"));
    assert!(page.time_and_count().0 > before);
    assert!(page.is("$('countdown').hidden && $('connect').hidden"));
    program.wait_for_line("write to client A:");
}

#[test]
fn connect_now_does_not_wait_for_the_countdown() {
    let program = Program::start(FAST);
    let addr = program.addr();
    let page = Page::open(addr, "/?Id=A");
    drop(program);
    page.wait_for("the second countdown", "/^Try [2-9] in/.test($('countdown').textContent)");
    assert_eq!(page.text("connect"), "Connect now");
    // In one go, or the countdown could come first.
    page.wait_for(
        "a click to connect at once",
        "state === 'closed' && ($('connect').focus(), $('connect').click(), $('state').textContent === 'Connecting')",
    );
    page.wait_for("the countdown to begin anew", "/^Try 1 in/.test($('countdown').textContent)");
    assert!(page.is("document.activeElement.id === 'status'"), "the focus is not lost with the button");
    let _program = start_at(addr);
    page.wait_for("a new connection", "state === 'open' && $('connect').hidden");
}

#[test]
fn a_server_that_shuts_down_says_1001() {
    let mut program = Program::start(&[]);
    let page = Page::open(program.addr(), "/?Id=A");
    program.signal(Signal::TERM);
    page.wait_for("the end", "$('closed-code').textContent === '1001'");
    assert_eq!(page.text("closed-clean"), "true");
    let end = page.log_lines("onclose").swap_remove(0);
    assert!(end.starts_with("1001 ") && end.ends_with(", clean"), "{end}");
    page.wait_for("a countdown", "/^Try \\d+ in/.test($('countdown').textContent)");
    assert!(program.wait().success());
}

#[test]
fn of_two_tabs_with_one_id_the_newer_goes_on() {
    let program = Program::start(FAST);
    let older = Page::open(program.addr(), "/?Id=A");
    let newer = Page::open(program.addr(), "/?Id=A");
    older.wait_for("the end", "state === 'closed'");
    assert_eq!(older.text("closed-code"), "4001");
    assert_eq!(older.text("closed-reason"), "replaced");
    assert!(older.text("detail").starts_with("Replaced:"), "{}", older.text("detail"));
    assert_eq!(older.text("connect"), "Take the Id back");

    let (_, count) = newer.time_and_count();
    newer.wait_for("pushes", &format!("+$('count').textContent >= {count} + {LONGER_THAN_A_TRY}"));
    assert!(older.is("state === 'closed' && $('countdown').hidden"));
    assert_eq!([older.text("count-onopen"), older.text("count-onerror")], ["1", "0"]);

    let (_, count) = older.time_and_count();
    older.click("connect");
    older.wait_for("pushes", &format!("state === 'open' && +$('count').textContent >= {count} + 2"));
    newer.wait_for("the end", "state === 'closed' && $('detail').textContent.startsWith('Replaced:')");
}

#[test]
fn the_id_is_kept_in_the_url() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=anna");
    assert_eq!(page.eval("location.search"), "?Id=anna");
    assert_eq!(page.eval("$('id').value"), "anna");
    program.wait_for_line("write to client anna:");

    page.fill("id", "bob & co");
    page.press("Enter");
    page.wait_for("the URL to change", "location.search === '?Id=bob+%26+co'");
    program.wait_for_line("Client anna is closed 1000");
    program.wait_for_line("write to client bob & co:");
    page.wait_for("a new connection", "state === 'open' && $('count-onopen').textContent === '2'");

    page.eval("location.reload()");
    page.wait_for("the page again", "state === 'open' && $('count-onopen').textContent === '1'");
    assert_eq!(page.eval("$('id').value"), "bob & co");

    page.fill("id", " ");
    page.press("Enter");
    page.wait_for("an error", "$('id-error').textContent !== ''");
    assert_eq!(page.eval("location.search"), "?Id=bob+%26+co");

    page.click("new-id");
    page.wait_for("a new Id", "/^\\?Id=tab-\\w+$/.test(location.search)");
    assert!(page.is("location.search === `?Id=${$('id').value}` && $('id-error').textContent === ''"));
}

#[test]
fn a_tab_without_an_id_makes_one_up() {
    let program = Program::start(FAST);
    let [one, two] = [(); 2].map(|()| {
        let page = Page::open(program.addr(), "/");
        assert!(page.is("/^\\?Id=tab-\\w+$/.test(location.search)"));
        page
    });
    let ids = [&one, &two].map(|page| page.eval("$('id').value").as_str().map(str::to_owned).expect("an Id"));
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        program.wait_for_line(&format!("write to client {id}:"));
    }
}

#[test]
fn nothing_is_wider_than_the_window_in_light_and_dark() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    let pictures = env::var_os("THREADCAST_SCREENSHOTS").map(PathBuf::from);
    page.fill("message", "hi there");
    page.click("send");
    page.eval("document.activeElement.blur()");
    page.wait_for("some pushes", "+$('count').textContent >= 15");

    let looks = [
        ("clock-light.png", "light", 1280, 900),
        ("clock-dark.png", "dark", 1280, 900),
        ("clock-narrow-light.png", "light", 390, 844),
        ("clock-narrow-dark.png", "dark", 390, 844),
        ("", "light", 320, 640),
        ("", "dark", 320, 640),
    ];
    let mut papers = Vec::new();
    for (name, scheme, width, height) in looks {
        page.look(scheme, width, height);
        page.assert_fits(width, scheme);
        papers.push(page.eval("getComputedStyle(document.body).backgroundColor"));
        page.eval("scrollTo(0, 0)");
        if let Some(directory) = pictures.as_deref().filter(|_| !name.is_empty()) {
            page.take_picture(&directory.join(name));
        }
    }
    assert!(papers[0] != papers[1] && papers[2] == papers[0] && papers[3] == papers[1], "{papers:?}");

    // The longest that people can write, without a place to break a line.
    let long = "W".repeat(100);
    page.fill("id", &long);
    page.press("Enter");
    page.wait_for("the new Id", "state === 'open' && $('count-onopen').textContent === '2'");
    page.fill("message", &long.repeat(5));
    page.click("send");
    page.fill("close-code", "5000");
    page.click("close");
    page.eval(
        "socket.dispatchEvent(new CloseEvent('close', { code: 4001, reason: 'W'.repeat(123), wasClean: true }))",
    );
    for (_, scheme, width, height) in looks {
        page.look(scheme, width, height);
        page.assert_fits(width, scheme);
    }
}

#[test]
fn the_browser_has_nothing_to_complain_about() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    page.fill("message", "hi there");
    page.click("send");
    page.click("show-pushes");
    page.click("clear");
    page.click("new-id");
    page.wait_for("a new connection", "state === 'open' && $('count-onopen').textContent === '2'");
    page.fill("close-reason", "bye");
    page.click("close");
    page.wait_for("the end", "state === 'closed'");
    page.click("connect");
    page.wait_for("pushes", "state === 'open' && +$('count').textContent >= 3");
    assert!(page.is("performance.getEntriesByType('resource').every(({ name }) => name.startsWith(origin))"));

    // Complaints come in order, so after these there are no others under way. They prove, too, that each
    // kind is heard, and that a script in the page's markup would be refused.
    page.eval("setTimeout(() => { throw new Error('thrown') })");
    page.wait_for_complaint("thrown");
    page.eval("console.error('logged')");
    page.wait_for_complaint("logged");
    page.eval("document.body.append(Object.assign(document.createElement('script'), { text: 'stop()' }))");
    page.wait_for_complaint("Content Security Policy");
    let complaints = page.complaints();
    assert_eq!(complaints.len(), 3, "{complaints:#?}");
}

#[test]
fn a_keyboard_is_enough() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    let mut stops = Vec::new();
    while stops.last().is_none_or(|stop| stop != "message") {
        page.press("Tab");
        assert!(page.is("document.activeElement.matches(':focus-visible')"), "after {stops:?}");
        let stop = page.eval(
            "(({ id, labels, textContent }) => id || labels?.[0]?.textContent || textContent)(document.activeElement)",
        );
        stops.push(stop.as_str().expect("a name").to_owned());
        assert!(stops.len() < 20, "{stops:?}");
    }
    assert_eq!(stops, ["id", "Use", "new-id", "message"]);

    page.tab.type_str("hi there").expect("types");
    page.press("Enter");
    program.wait_for_line("Client A received a message:hi there");
    assert!(page.is("document.activeElement.id === 'message' && $('message').value === ''"));

    let rest = ["send", "close-code", "close-reason", "close"];
    for stop in rest {
        page.press("Tab");
        assert_eq!(page.eval("document.activeElement.id"), stop);
    }
    page.press("Enter");
    page.wait_for("the end", "state === 'closed'");
    assert!(page.is(
        "[...document.querySelectorAll('input, button, a, [tabindex]')].every((stop) => \
           stop.labels?.length || stop.textContent.trim() || stop.hasAttribute('aria-labelledby') || stop.role)"
    ));
}

/// A tab of the browser, with the page in it.
struct Page {
    tab: Arc<Tab>,
    complaints: Arc<Mutex<Vec<String>>>,
    _chromium: Arc<Chromium>,
}

impl Page {
    /// Opens it, and waits until its connection is open.
    fn open(addr: SocketAddr, target: &str) -> Page {
        let chromium = Chromium::shared();
        let tab = chromium.new_tab();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let listener = complaints.clone();
        let hear = move |event: &Event| listener.lock().unwrap().extend(complaint(event));
        tab.add_event_listener(Arc::new(hear)).expect("listens");
        tab.call_method(Runtime::Enable(None)).expect("reports exceptions");
        tab.call_method(Log::Enable(None)).expect("reports errors");
        // Every page is in front, though there are several.
        tab.call_method(Emulation::SetFocusEmulationEnabled { enabled: true }).expect("has the focus");
        tab.navigate_to(&format!("http://{addr}{target}")).expect("navigates");
        let page = Page { tab, complaints, _chromium: chromium };
        page.wait_for("the connection", "state === 'open'");
        page
    }

    /// The value of a JavaScript expression, or of its promise.
    fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&self, expression: &str) -> Result<Value, String> {
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

    /// A condition in the page's own words: its `$`, and `state`, the state of the connection.
    fn is(&self, condition: &str) -> bool {
        self.eval(&with_state(condition)) == Value::Bool(true)
    }

    /// Blocks until the condition holds. The page looks each time that something changes in it, and at
    /// the latest after a second; an exception is a page that is not there yet.
    fn wait_for(&self, what: &str, condition: &str) {
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

    fn text(&self, id: &str) -> String {
        self.eval(&format!("$('{id}').textContent")).as_str().expect("a text").to_owned()
    }

    /// The last push, and how many there were.
    fn time_and_count(&self) -> (String, u64) {
        let both = self.eval("[$('time').textContent, +$('count').textContent]");
        (both[0].as_str().expect("a text").to_owned(), both[1].as_u64().expect("a number"))
    }

    /// The texts of all log lines of one kind.
    fn log_lines(&self, event: &str) -> Vec<String> {
        let lines = self.eval(&format!(
            "[...document.querySelectorAll('#log li[data-event={event}] .text')].map((text) => text.textContent)"
        ));
        serde_json::from_value(lines).expect("texts")
    }

    /// Presses the mouse button on the middle of an element, which nothing may cover. In fewer calls than
    /// `Element::click`, since each takes headless_chrome a tenth of a second or two.
    fn click(&self, id: &str) {
        let middle = self.eval(&format!(
            "((target) => {{
               target.scrollIntoView({{ block: 'center' }});
               const {{ x, y, width, height }} = target.getBoundingClientRect();
               const middle = {{ x: x + width / 2, y: y + height / 2 }};
               return target.contains(document.elementFromPoint(middle.x, middle.y)) ? middle : null;
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

    fn press(&self, key: &str) {
        self.tab.press_key(key).expect("presses a key");
    }

    /// Writes into an input, in place of what was there, as an edit of the user.
    fn fill(&self, id: &str, text: &str) {
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

    /// A light or dark window of this size.
    fn look(&self, scheme: &str, width: u32, height: u32) {
        let scheme =
            Emulation::MediaFeature { name: "prefers-color-scheme".to_owned(), value: scheme.to_owned() };
        self.tab
            .call_method(Emulation::SetEmulatedMedia { media: None, features: Some(vec![scheme]) })
            .expect("sets the scheme");
        self.tab
            .call_method(Emulation::SetDeviceMetricsOverride {
                width,
                height,
                device_scale_factor: 1.0,
                // A mobile browser makes the page smaller until it fits, and would hide what is to be seen.
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

    fn assert_fits(&self, width: u32, scheme: &str) {
        assert!(
            self.is("document.documentElement.scrollWidth <= innerWidth"),
            "{width} px, {scheme}: these stick out: {}",
            self.eval(
                "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth)\
                 .map((e) => `${e.tagName}#${e.id}.${e.className}`).join(' ')"
            )
        );
    }

    fn take_picture(&self, path: &Path) {
        let png = CaptureScreenshotFormatOption::Png;
        let picture = self.tab.capture_screenshot(png, None, None, true).expect("takes a picture");
        assert!(picture.len() < 150_000, "{} bytes are too many for a README", picture.len());
        fs::create_dir_all(path.parent().expect("a directory")).expect("makes the directory");
        fs::write(path, picture).expect("writes the picture");
    }

    /// What the browser had to say against the page: exceptions, errors and warnings.
    fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    fn wait_for_complaint(&self, text: &str) {
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

/// The program again, at the address of one that has ended.
fn start_at(addr: SocketAddr) -> Program {
    let (port, address) = (addr.port().to_string(), addr.ip().to_string());
    let program =
        Program::spawn(Program::command().args(["--port", &port, "--address", &address]).args(FAST));
    assert_eq!(program.addr(), addr);
    program
}

/// Blocks for some pushes to another client: if nothing was tried by then, nothing will be.
fn until_a_try_would_have_been_seen(program: &Program) {
    let mut other = Raw::websocket(program.addr(), "/websocket?Id=metronome");
    for _ in 0..LONGER_THAN_A_TRY {
        other.frame();
    }
}

/// The browser. It ends with the last page, so that none is left behind by a test that fails.
struct Chromium {
    browser: Option<Browser>,
    profile: PathBuf,
}

/// Of all pages that are open now.
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
        // Not in the target directory: with sockets in it, its path may have only some 100 bytes.
        let profile = env::temp_dir().join(format!("threadcast-page-{}-{number}", std::process::id()));
        fs::create_dir_all(&profile).expect("makes the directory of the profile");
        let launch = |sandbox| {
            let arguments = [
                "--disable-quic",
                "--disable-component-update",
                "--hide-scrollbars",
                // Nothing but this machine; the other switches against traffic are headless_chrome's own.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ];
            Browser::new(LaunchOptions {
                path: Some(executable.to_owned()),
                user_data_dir: Some(profile.clone()),
                // It leaves files there when it is killed.
                process_envs: Some(HashMap::from([("TMPDIR".to_owned(), profile.display().to_string())])),
                port: Some(0),
                sandbox,
                args: arguments.iter().map(OsStr::new).collect(),
                window_size: Some((1280, 900)),
                idle_browser_timeout: BROWSER_TIMEOUT,
                ..LaunchOptions::default()
            })
        };
        // Root has no sandbox, nor has a container as a rule. It sees no page but ours.
        let browser = match rustix::process::geteuid().is_root() {
            true => launch(false),
            false => launch(true).or_else(|_| launch(false)),
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
        // Its processes write to the profile until the last of them has ended. No reason to fail a test.
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
