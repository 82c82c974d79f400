//! The page, in a real browser: the program runs in a child process, and the tests click, type and look.
//!
//! With `THREADCAST_SCREENSHOTS=DIR`, also writes pictures of the page to `DIR`.

use crate::support;
use support::browser;
use support::fleet as machines;
use support::relay;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use rustix::process::Signal;
use serde_json::json;

use browser::Page;
use machines::Redis;
use relay::Relay;
use support::{Program, Raw, fetch, get, status};

/// Four pushes a second, for tests that wait for several.
const FAST: &[&str] = &["--interval", "250ms"];

/// Fast pushes in 1.5 s. A page that retries does so within 1 s.
const LONGER_THAN_A_TRY: usize = 7;

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
fn no_push_is_read_aloud() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    let live = "output, [role=status], [role=alert], [role=log], [role=timer], [aria-live]";
    page.eval(&format!(
        "window.heard = [];
         for (const region of document.querySelectorAll('{live}')) {{
           new MutationObserver(() => heard.push(region.id))
             .observe(region, {{ subtree: true, childList: true, characterData: true }});
         }}"
    ));
    let (_, count) = page.time_and_count();
    page.wait_for("three more pushes", &format!("+$('count').textContent >= {count} + 3"));
    assert_eq!(page.eval("heard"), json!([]));
    page.click("close");
    page.wait_for("the end", "state === 'closed'");
    assert!(page.is("heard.includes('status')"), "{}", page.eval("heard"));
}

#[test]
fn the_modules_import_in_one_direction() {
    let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
    let files = fs::read_dir(www).expect("lists www").map(|file| file.expect("a file").path());
    let modules = files.filter(|path| path.extension().is_some_and(|extension| extension == "js"));
    let mut left: BTreeMap<String, Vec<String>> = modules
        .map(|path| {
            let text = fs::read_to_string(&path).expect("reads");
            let imports = text
                .lines()
                .filter_map(|line| line.split_once(" from \"./"))
                .map(|(_, rest)| rest.trim_end_matches("\";").to_owned());
            (path.file_name().expect("a name").to_string_lossy().into_owned(), imports.collect())
        })
        .collect();
    assert!(left["lab.js"].len() > 3 && !left["clock.js"].is_empty(), "{left:#?}");
    // Removes a file that imports none of the remaining ones, until none remains, or the rest is a cycle.
    while !left.is_empty() {
        let free = left.iter().find(|(_, imports)| !imports.iter().any(|name| left.contains_key(name)));
        let name = free.unwrap_or_else(|| panic!("a circle: {left:#?}")).0.clone();
        left.remove(&name);
    }
}

/// Features of browsers from the last five years. Scripts and style sheets avoid them, or have another rule for older
/// browsers.
const YOUNG: [&str; 30] = [
    ".at(",
    "toSorted",
    "toReversed",
    "toSpliced",
    ".with(",
    "structuredClone",
    "findLast",
    "groupBy",
    "hasOwn(",
    "randomUUID",
    "reportError",
    "fromAsync",
    "withResolvers",
    "Array.fromAsync",
    "static {",
    "ariaPressed",
    "ariaLabel",
    "checkVisibility",
    "roundRect",
    "popover",
    "inert",
    "AbortSignal.timeout",
    "AbortSignal.any",
    "await import",
    ":has(",
    "@layer",
    "@scope",
    "color-mix",
    "light-dark(",
    "text-wrap",
];

#[test]
fn the_pages_need_nothing_that_a_browser_of_five_years_ago_lacks() {
    let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
    for file in fs::read_dir(www).expect("lists www") {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("reads");
        for young in YOUNG {
            assert!(!text.contains(young), "{young} is in {}", path.display());
        }
    }
    // The same check at run time.
    let script = "for (const name of ['at', 'toSorted', 'toReversed', 'toSpliced', 'with', 'findLast', 'findLastIndex'])
                    delete Array.prototype[name];
                  delete String.prototype.at;
                  for (const name of ['structuredClone', 'reportError']) delete window[name];
                  for (const name of ['hasOwn', 'groupBy']) delete Object[name];
                  delete crypto.randomUUID;
                  delete Element.prototype.ariaPressed;";
    let program = Program::start(&["--lab", "--interval", "250ms", "--logging", "none"]);
    let page = Page::open_after(script, program.addr(), "/?Id=A");
    page.wait_for("three pushes", "+$('count').textContent >= 3");
    assert!(page.is("!('toSorted' in [])"), "the script ran");
    assert_eq!(page.complaints(), [""; 0]);
    let lab = Page::open_after(script, program.addr(), "/lab");
    lab.wait_for("the lab's clients", "lab.names.length === 6 && lab.model.sortedLanes().length >= 8");
    lab.click("show-beside");
    lab.wait_for("the other view", "$('show-beside').getAttribute('aria-pressed') === 'true'");
    assert_eq!(lab.complaints(), [""; 0]);
}

#[test]
fn a_page_with_a_password_in_its_address_connects() {
    let program = Program::start(FAST);
    let page = Page::open_as("user:secret", program.addr(), "/?topic=news#log");
    page.wait_for("three pushes", "+$('count').textContent >= 3");
    assert!(page.is("/^\\?topic=news&Id=tab-\\w+$/.test(location.search) && location.hash === '#log'"));
    page.fill("id", "anna");
    page.press("Enter");
    page.wait_for("the new Id", "state === 'open' && location.search === '?topic=news&Id=anna'");
    assert!(page.is("$('trouble').hidden && new URL($('same-id').href).search === '?topic=news&Id=anna'"));
    assert_eq!(page.complaints(), [""; 0]);
}

// Whichever line of a script fails: the page says so, connects, and reconnects when the connection is lost.
#[test]
fn an_error_in_a_script_is_shown_and_the_page_still_connects() {
    let program = Program::start(&["--lab", "--interval", "250ms", "--logging", "none"]);
    for (script, told) in [
        ("history.replaceState = () => { throw new Error('no address') }", "no address"),
        ("delete window.ResizeObserver", "ResizeObserver"),
        ("Number.prototype.toLocaleString = () => { throw new Error('no numbers') }", "no numbers"),
        ("document.createElementNS = () => { throw new Error('no plot') }", "no plot"),
        ("Object.defineProperty(document, 'title', { set() { throw new Error('no title') } })", "no title"),
        ("Element.prototype.append = () => { throw new Error('no log') }", "no log"),
    ] {
        let page = Page::open_after(script, program.addr(), "/?Id=A");
        page.wait_for(told, &format!("!$('trouble').hidden && $('trouble').textContent.includes('{told}')"));
        page.eval("window.first = socket, socket.close(4000), 0");
        page.wait_for("another connection", "socket !== first && state === 'open'");
    }
    for (script, told) in [
        ("HTMLCanvasElement.prototype.getContext = () => { throw new Error('no canvas') }", "no canvas"),
        ("Element.prototype.replaceChildren = () => { throw new Error('no children') }", "no children"),
    ] {
        let page = Page::open_after(script, program.addr(), "/lab");
        page.wait_for(told, &format!("!$('trouble').hidden && $('trouble').textContent.includes('{told}')"));
        page.wait_for("events", "lab.model.lanes.size > 2");
    }
    let page = Page::open(program.addr(), "/?Id=B");
    page.wait_for("pushes", "+$('count').textContent >= 2");
    assert!(page.is("$('trouble').hidden"));
    page.eval(
        "document.head.append(Object.assign(document.createElement('script'), { src: 'static/none.js' }))",
    );
    page.wait_for("a file that does not come", "$('trouble').textContent.endsWith('static/none.js')");
}

#[test]
fn a_thousand_pushes_a_second_are_drawn_once_a_frame() {
    let program = Program::start(&["--interval", "1ms", "--logging", "none"]);
    let page = Page::open(program.addr(), "/?Id=A");
    page.wait_for("many pushes", "+$('count').textContent >= 300");
    let drawn = page.eval(
        "new Promise((resolve) => {
           const [before, began] = [+$('count').textContent, performance.now()];
           let [drawings, frames] = [0, 0];
           new MutationObserver(() => (drawings += 1)).observe($('count'), { childList: true, characterData: true, subtree: true });
           (function frame() {
             frames += 1;
             const pushes = +$('count').textContent - before;
             if (pushes >= 1000) resolve({ pushes, drawings, frames });
             else requestAnimationFrame(frame);
           })();
         })",
    );
    let [drawings, frames] = ["drawings", "frames"].map(|name| drawn[name].as_u64().expect("a number"));
    assert!((1..=frames + 1).contains(&drawings), "{drawn}");
    assert!(page.is("document.querySelectorAll('#log li').length <= 200"));
    // The log keeps the order: the end comes after all earlier lines.
    page.click("close");
    page.wait_for("the end", "state === 'closed'");
    assert!(page.is("$('log').lastChild.dataset.event === 'onclose'"));
    assert!(page.is("+$('count-onmessage').textContent >= +$('count').textContent"));
}

// An Id, a topic, a text, a reason: whichever way it runs, the page's own words stay in order.
#[test]
fn right_to_left_input_does_not_reverse_the_pages_sentences() {
    let (program, page) = published_to("/?Id=%E2%80%AEevil%E2%81%A9%E2%80%AE&topic=news");
    assert!(
        page.is("document.title === 'Open \u{b7} \u{2068}\u{202e}evil\u{202e}\u{2069} \u{b7} threadcast'")
    );
    assert_eq!(page.log_lines("onopen"), ["as \u{2068}\u{202e}evil\u{202e}\u{2069}"]);
    publish(&program, "news", "\u{202e}evil".as_bytes());
    page.wait_for("the message", "$('message-count').textContent === '1'");
    let isolated = "['#messages .topic', '#messages .text', '#log .text', '#log .event', '#closed-reason']\
                    .every((part) => [...document.querySelectorAll(part)].every((one) => \
                       getComputedStyle(one).display === 'block' || getComputedStyle(one).unicodeBidi === 'isolate'))";
    assert!(page.is(isolated));
    let newer = Page::open(program.addr(), "/?Id=%E2%80%AEevil%E2%81%A9%E2%80%AE");
    page.wait_for("the end", "state === 'closed' && $('closed-code').textContent === '4001'");
    assert!(
        page.text("detail").contains("the Id “\u{2068}\u{202e}evil\u{202e}\u{2069}”"),
        "{}",
        page.text("detail")
    );
    drop(newer);
}

#[test]
fn the_focus_moves_on_when_its_control_goes() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    let focused = |id: &str| page.wait_for(id, &format!("document.activeElement.id === '{id}'"));
    page.eval("$('close').focus(), 0");
    page.press("Enter");
    focused("show-pushes");
    page.wait_for("the end", "state === 'closed'");
    focused("show-pushes");
    page.eval("$('connect').focus(), 0");
    page.press("Enter");
    focused("status");
    page.wait_for("the connection", "state === 'open'");
    // The next one that can be pressed: those after it are off, too.
    page.eval("$('send').focus(), socket.close(4000), 0");
    focused("close-code");
}

#[test]
fn the_users_own_colours_hide_nothing() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    page.wait_for("some pushes", "+$('count').textContent >= 5");
    page.look("dark", 1366, 900);
    page.force_colors("dark");
    // Filled while it is open, and not otherwise.
    let background = "getComputedStyle(document.querySelector('.lamp')).backgroundColor";
    let paper = "getComputedStyle(document.body).backgroundColor";
    assert!(page.is(&format!("{background} !== {paper} && {background} !== 'rgba(0, 0, 0, 0)'")));
    if let Some(directory) = env::var_os("THREADCAST_SCREENSHOTS_FORCED").map(PathBuf::from) {
        page.take_picture(&directory.join("clock-forced.png"));
    }
    page.click("close");
    page.wait_for("the end", "state === 'closed'");
    assert!(page.is(&format!("{background} === 'rgba(0, 0, 0, 0)'")), "{}", page.eval(background));
}

#[test]
fn the_log_shows_onopen_and_each_onmessage() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    page.wait_for("three pushes", "+$('count').textContent >= 3");
    assert_eq!(page.log_lines("onopen"), ["as A"]);
    let mut pushes = page.log_lines("onmessage");
    assert_eq!(pushes.remove(0), r#"{"hello":{"interval_ms":250}}"#);
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
fn a_sent_message_reaches_the_server() {
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
    // The server sends nothing but the time, so the test plays the server.
    page.eval(&format!("socket.dispatchEvent(new MessageEvent('message', {{ data: {} }}))", json!(markup)));
    // This page shows the Id in its own words.
    let newer = Page::open(program.addr(), &format!("/?Id={}", markup.replace(' ', "+")));
    page.wait_for("the end", "state === 'closed'");
    assert!(page.text("detail").contains(markup));
    assert_eq!(page.log_lines("onopen"), [format!("as {markup}")]);
    assert_eq!(page.log_lines("send"), [markup]);
    assert!(page.log_lines("onmessage").iter().any(|line| line == markup));
    assert!(page.is("document.querySelector('b, img, #log :not(li, span)') === null"));
    drop(newer);
}

/// A program that accepts publishing, and a page of it.
fn published_to(target: &str) -> (Program, Page) {
    let mut command = Program::command();
    command.args(["--port", "0", "--address", "127.0.0.1"]).args(FAST);
    let program = Program::spawn(command.env("THREADCAST_PUBLISH_TOKEN", "token-of-the-tests"));
    let page = Page::open(program.addr(), target);
    page.wait_for("the hello", "$('stat-expected').textContent === '250 ms'");
    (program, page)
}

fn publish(program: &Program, topic: &str, body: &[u8]) {
    let lines = format!("Authorization: Bearer token-of-the-tests\r\nContent-Length: {}\r\n", body.len());
    let head = get(&format!("/publish?topic={topic}"), &lines).replacen("GET", "POST", 1);
    let (head, _) = fetch(program.addr(), [head.as_bytes(), body].concat());
    assert_eq!(status(&head), 200, "{head}");
}

#[test]
fn published_messages_are_apart_from_the_time_the_newest_on_top() {
    let (program, page) = published_to("/?Id=A&topic=news");
    assert!(page.is("document.querySelector('.messages').hidden && $('machines').hidden"));
    for (topic, body) in [
        ("all", &b"<b>hello</b>"[..]),
        ("news", "你好\n2026-11-22 18:14:05.561472".as_bytes()),
        ("id/A", b"\xff"),
        ("other", b"not for this one"),
        ("all", b"2026-11-22 18:14:05.561472"),
    ] {
        publish(&program, topic, body);
    }
    page.wait_for("four messages", "$('message-count').textContent === '4'");
    let shown = page.eval("[...$('messages').children].map((line) => line.textContent)");
    let expected = [
        "all 2026-11-22 18:14:05.561472",
        "id/A b'\\xff'",
        "news 你好\n2026-11-22 18:14:05.561472",
        "all <b>hello</b>",
    ];
    assert_eq!(shown, json!(expected));
    assert!(page.is("!document.querySelector('.messages').hidden && document.querySelector('b') === null"));
    assert_ne!(page.text("time"), "2026-11-22 18:14:05.561472", "a message is not the time");

    // The page keeps the newest 20, and they do not push other lines out of the log.
    (0..130).for_each(|number| publish(&program, "all", format!("number {number}").as_bytes()));
    page.wait_for("all of them", "$('message-count').textContent === '134'");
    assert_eq!(page.eval("$('messages').children.length"), 20);
    assert_eq!(page.eval("$('messages').firstChild.textContent"), "all number 129");
    assert_eq!(page.log_lines("onopen"), ["as A"]);
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn the_page_says_how_many_machines_the_fleet_has() {
    let redis = Redis::start(&[]);
    let machine = || Program::start(&["--redis", &redis.url(), "--interval", "250ms"]);
    let one = machine();
    let page = Page::open(one.addr(), "/?Id=A");
    page.wait_for("the fleet", "!$('machines').hidden");
    assert_eq!(page.text("machines"), "The fleet has one machine, which serves this tab.");
    let two = machine();
    page.wait_for("the other one", "$('machines').textContent.startsWith('The fleet has 2 machines,')");
    for (scheme, width) in [("light", 1366), ("dark", 390)] {
        page.look(scheme, width, 844);
        page.assert_fits(width, scheme);
    }
    redis.say("PUBLISH threadcast:all hello");
    page.wait_for("a message", "$('messages').textContent === 'all hello'");
    // The newer client is on the other machine.
    let newer = Page::open(two.addr(), "/?Id=A");
    page.wait_for("the end", "state === 'closed' && $('closed-code').textContent === '4001'");
    assert!(page.text("detail").starts_with("Replaced:"), "{}", page.text("detail"));
    newer.wait_for("the fleet", "$('machines').textContent.startsWith('The fleet has 2 machines,')");
    drop(one);
    newer.wait_for(
        "the end of the other",
        "$('machines').textContent.startsWith('The fleet has one machine')",
    );
    assert_eq!(newer.complaints(), [""; 0]);
}

#[test]
fn the_longest_message_fits_into_every_window_and_the_keyboard_scrolls_it() {
    let (program, page) = published_to("/?Id=A");
    publish(&program, "all", "W".repeat(3000).as_bytes());
    page.wait_for("the message", "$('message-count').textContent === '1'");
    assert!(page.is("$('messages').textContent.endsWith('W … (3000 characters)')"));
    page.eval("$('machines').hidden = false");
    for (scheme, width) in [("light", 1366), ("light", 390), ("dark", 390), ("dark", 320)] {
        page.look(scheme, width, 844);
        page.assert_fits(width, scheme);
        let height = page.eval("$('messages').getBoundingClientRect().height").as_f64().expect("a height");
        assert!((20.0..=150.0).contains(&height), "{width}: {height} px");
    }
    page.eval("$('messages').focus(), 0");
    page.press("End");
    page.wait_for("its end", "$('messages').scrollTop > 0");
}

#[test]
fn a_close_by_the_user_shows_code_and_reason_and_is_final() {
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
fn the_page_reconnects_when_the_server_comes_back() {
    let program = Program::start(FAST);
    let addr = program.addr();
    let page = Page::open(addr, "/?Id=A");
    page.wait_for("a push", "+$('count').textContent >= 1");
    drop(program); // kills it

    page.wait_for(
        "a countdown",
        "state === 'closed' && /^Try 1 in \\d+ s$/.test($('countdown').textContent) \
           && !$('countdown').hidden && !$('connect').hidden",
    );
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
    // In one call, or the countdown could come first.
    page.wait_for(
        "a click to connect at once",
        "state === 'closed' && ($('connect').focus(), $('connect').click(), $('state').textContent === 'Connecting')",
    );
    page.wait_for("the countdown to restart", "/^Try 1 in/.test($('countdown').textContent)");
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
fn after_a_restart_the_page_comes_back_within_three_seconds_at_random() {
    let mut program = Program::start(&["--drain", "0s"]);
    let page = Page::open(program.addr(), "/?Id=A");
    // The longest wait that there is; after a server that is gone it would be a second.
    assert!(page.is("!!(Math.random = () => 0.999)"));
    program.signal(Signal::TERM);
    page.wait_for("the end", "$('closed-code').textContent === '1012'");
    page.wait_for("a countdown", "$('countdown').textContent === 'Try 1 in 3 s'");
    assert!(page.text("detail").starts_with("Restart: another server is there, or soon will be."));
    assert!(program.wait().success());
    page.wait_for(
        "a try that fails, and the usual wait",
        "/^Try 2 in [12] s$/.test($('countdown').textContent)",
    );
}

#[test]
fn with_two_tabs_of_one_id_the_newer_continues() {
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
fn an_endless_id_is_cut_for_display() {
    let program = Program::start(FAST);
    let target = format!("/?Id={}", "W".repeat(256));
    let older = Page::open(program.addr(), &target);
    let newer = Page::open(program.addr(), &target);
    older.wait_for("the end", "state === 'closed' && $('detail').textContent.startsWith('Replaced:')");
    assert!(older.text("detail").chars().count() < 400, "{}", older.text("detail"));
    older.look("dark", 390, 844);
    older.assert_fits(390, "dark");
    assert!(newer.is("state === 'open' && $('id').value.length === 256"), "the server knows all of it");
}

#[test]
fn an_id_that_the_server_would_refuse_is_reported_and_not_sent() {
    let program = Program::start(FAST);
    let page = Page::open(program.addr(), "/?Id=A");
    page.eval(&format!("location.search = '?Id={}'", "W".repeat(257)));
    page.wait_for("what is wrong", "$('detail').textContent.includes('this one has 257')");
    assert!(page.is("state === 'closed' && $('id-error').textContent.includes('at most 256 bytes')"));
    assert_eq!(page.text("count-onerror"), "0", "nothing was tried");
    page.fill("id", "short");
    page.press("Enter");
    page.wait_for("a connection", "state === 'open'");
    assert_eq!(page.text("id-error"), "");
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
        ("clock-light.png", "light", 1366, 768),
        ("clock-dark.png", "dark", 1366, 768),
        ("", "light", 390, 844),
        ("", "dark", 390, 844),
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

    // The longest input, without a place to break the line.
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

    // Complaints come in order, so after these no others are pending. They also prove that each kind is recorded, and
    // that the policy refuses a script in the page's markup.
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
fn a_connection_that_falls_silent_is_noticed_and_replaced() {
    let program = Program::start(FAST);
    let relay = Relay::start(program.addr(), "");
    let page = Page::open(relay.addr, "/?Id=A");
    page.wait_for("pushes", "+$('count').textContent >= 2");

    // A short silence does not count.
    relay.freeze();
    until_a_try_would_have_been_seen(&program);
    relay.thaw();
    let (_, count) = page.time_and_count();
    page.wait_for("more pushes", &format!("+$('count').textContent >= {count} + 2"));
    assert_eq!([page.text("count-onopen"), page.text("notice")], ["1", ""]);

    page.eval(
        "new MutationObserver(() => window.pushedAt = performance.now()).observe($('count'), { childList: true })",
    );
    page.wait_for("a push that is noticed", "window.pushedAt");
    relay.freeze();
    page.wait_for(
        "the silence",
        "/^Silent since \\d\\d:\\d\\d:\\d\\d: .* every 250 ms/.test($('notice').textContent)",
    );
    let silence = page.eval("performance.now() - pushedAt").as_f64().expect("a number");
    assert!(silence >= 4_900.0, "after {silence} ms");
    // Its attempts are accepted, and get no answer: it gives up on them too.
    page.wait_for("a try", "state === 'connecting'");
    page.wait_for("the next one", "state === 'closed' && /^Try 2/.test($('countdown').textContent)");
    assert!(page.is("$('notice').textContent !== '' && $('count-onopen').textContent === '1'"));

    let (_, count) = page.time_and_count();
    relay.thaw();
    page.wait_for("pushes", &format!("state === 'open' && +$('count').textContent >= {count} + 2"));
    assert_eq!([page.text("count-onopen"), page.text("notice")], ["2", ""]);
    assert_eq!(page.text("count-onclose"), "0", "nobody waited for the end of the others");
}

#[test]
fn a_tab_that_was_asleep_reads_waiting_pushes_before_it_judges() {
    let program = Program::start(FAST);
    let relay = Relay::start(program.addr(), "");
    let page = Page::open(relay.addr, "/?Id=A");
    page.wait_for("a push", "+$('count').textContent >= 1");
    // The page does nothing for longer than the silence that it tolerates, and its network for nearly as long: on a
    // busy machine an order to thaw that follows the page's sleep may come too late.
    relay.freeze();
    thread::scope(|scope| {
        let (_awake, asleep) = mpsc::channel::<()>();
        let relay = &relay;
        scope.spawn(move || {
            let _ = asleep.recv_timeout(Duration::from_secs(6));
            relay.thaw();
        });
        page.eval("((until) => { while (performance.now() < until); })(performance.now() + 8000)");
    });
    let (_, count) = page.time_and_count();
    page.wait_for("the pushes that came in between", &format!("+$('count').textContent >= {count} + 10"));
    assert_eq!([page.text("count-onopen"), page.text("notice")], ["1", ""]);
}

#[test]
fn a_tab_that_wakes_or_is_online_again_sits_out_no_countdown() {
    let mut program = Program::start(FAST);
    let addr = program.addr();
    let page = Page::open(addr, "/?Id=A");
    // Its countdowns, which have a random part, take minutes now.
    page.eval("Math.random = () => 1000, 0");
    for (round, wake) in ["visibilitychange", "online"].into_iter().enumerate() {
        page.wait_for("pushes", "+$('count').textContent >= 2");
        drop(program);
        page.wait_for(
            "a countdown",
            "state === 'closed' && /^Try 1 in \\d{3} s$/.test($('countdown').textContent)",
        );
        page.offline(wake == "online");
        page.wait_for(
            "a word about it",
            &format!("$('notice').textContent.includes('offline') === {}", wake == "online"),
        );
        program = start_at(addr);
        match wake {
            "online" => page.offline(false),
            _ => drop(page.eval("document.dispatchEvent(new Event('visibilitychange'))")),
        }
        page.wait_for(
            "a new connection",
            &format!("state === 'open' && +$('count-onopen').textContent >= {}", round + 2),
        );
        page.wait_for("no word", "$('notice').textContent === ''");
    }
}

#[test]
fn behind_a_proxy_the_page_may_be_anywhere() {
    let program = Program::start(FAST);
    let relay = Relay::start(program.addr(), "/clock");
    let page = Page::open(relay.addr, "/clock/?Id=A");
    page.wait_for("pushes", "+$('count').textContent >= 2");
    program.wait_for_line("write to client A:");
    // The style sheets and the icon load, and each link leads to a page.
    assert!(page.is("getComputedStyle($('log')).listStyleType === 'none'"));
    assert!(page.is("getComputedStyle(document.querySelector('h1')).margin === '0px'"));
    let links = page.eval(
        "Promise.all([...document.querySelectorAll('a, link')].filter((a) => !a.hidden).map(async ({ href }) => \
           `${(await fetch(href)).status} ${new URL(href).pathname}`))",
    );
    let links: Vec<String> = serde_json::from_value(links).expect("texts");
    assert!(links.len() >= 6 && links.iter().all(|link| link.starts_with("200 /clock/")), "{links:#?}");
    assert!(page.is("location.pathname === '/clock/' && $('same-id').pathname === '/clock/'"));
    assert_eq!(relay.astray(), [""; 0]);
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn before_the_first_push_it_says_so_and_nothing_jumps_when_it_comes() {
    // No push comes during the test.
    let program = Program::start(&["--interval", "1h"]);
    let page = Page::open(program.addr(), "/?Id=A");
    assert_eq!(page.text("time"), "No push yet");
    page.wait_for("the hello", "$('stat-expected').textContent === '3,600,000 ms'");
    let height = "$('time').getBoundingClientRect().height";
    for width in [1366, 390] {
        page.look("light", width, 768);
        let before = page.eval(height).as_f64().expect("a height");
        page.eval("window.empty = $('time').cloneNode(true), 0");
        page.eval(&format!(
            "socket.dispatchEvent(new MessageEvent('message', {{ data: {} }}))",
            json!("2026-11-22 18:14:05.561472")
        ));
        let after = page.eval(height).as_f64().expect("a height");
        assert!((before - after).abs() < 2.0, "{before} px, then {after} px");
        page.eval("$('time').replaceWith(empty)");
    }
}

#[test]
fn with_a_lab_the_page_links_to_it() {
    let without = Program::start(FAST);
    let page = Page::open(without.addr(), "/?Id=A");
    page.wait_for("pushes", "+$('count').textContent >= 1");
    assert!(page.is("$('lab').hidden && $('send-help').textContent.includes('only logs it')"));

    let with = Program::start(&["--lab", "--interval", "250ms", "--logging", "none"]);
    let page = Page::open(with.addr(), "/?Id=A");
    page.wait_for("the link", "!$('lab').hidden");
    assert!(page.text("send-help").contains("sleep 3000"));
    page.click("lab");
    page.wait_for("the lab", "location.pathname === '/lab' && state === 'open'");
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

    page.type_text("hi there");
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

/// The program again, at the address of one that has ended.
fn start_at(addr: SocketAddr) -> Program {
    let (port, address) = (addr.port().to_string(), addr.ip().to_string());
    let program =
        Program::spawn(Program::command().args(["--port", &port, "--address", &address]).args(FAST));
    assert_eq!(program.addr(), addr);
    program
}

/// Blocks for some pushes to another client: an attempt would have shown by then.
fn until_a_try_would_have_been_seen(program: &Program) {
    let mut other = Raw::websocket(program.addr(), "/websocket?Id=metronome");
    for _ in 0..LONGER_THAN_A_TRY {
        other.frame();
    }
}
