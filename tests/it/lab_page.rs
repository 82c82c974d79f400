//! The lab's page, in a real browser: everything that it shows has really happened.
//!
//! With `THREADCAST_SCREENSHOTS=DIR`, also writes pictures of the page to `DIR`.

use crate::support;
use support::browser;
use support::relay;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, thread};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use browser::Page;
use relay::Relay;
use support::{Program, Raw, eventually};

const LAB: &[&str] = &["--lab", "--interval", "250ms", "--logging", "none"];

/// The page, with the six clients that start in an empty lab.
fn open(program: &Program) -> Page {
    let page = Page::open(program.addr(), "/lab");
    page.wait_for("the lab's clients", "lab.names.length === 6 && lab.model.sortedLanes().length >= 8");
    page
}

/// The lane of the client of this name, as a JavaScript expression.
fn lane_of(name: &str) -> String {
    format!(
        "[...lab.model.lanes.values()].find((l) => l.role === 'client' && lab.model.clients.get(l.number) === '{name}')"
    )
}

#[test]
fn the_users_own_colours_leave_the_legend_as_it_is() {
    let program = Program::start(LAB);
    let page = open(&program);
    let colors = "[...document.querySelectorAll('.legend .swatch:not(.unknown)')]\
                  .map((swatch) => getComputedStyle(swatch).backgroundColor)";
    for scheme in ["light", "dark"] {
        page.look(scheme, 1366, 900);
        let chosen = page.eval(colors);
        page.force_colors(scheme);
        assert_eq!(page.eval(colors), chosen, "{scheme}");
        assert!(page.is(&format!("new Set({colors}).size === 5")), "{}", page.eval(colors));
        // The pressed button is not the one beside it.
        let button = |id: &str| page.eval(&format!("getComputedStyle($('{id}')).backgroundColor"));
        assert_ne!(button("show-threads"), button("show-beside"), "{scheme}");
        if let Some(directory) = env::var_os("THREADCAST_SCREENSHOTS_FORCED").map(PathBuf::from) {
            page.take_picture(&directory.join(format!("lab-forced-{scheme}.png")));
        }
    }
}

#[test]
fn a_thousand_pushes_a_second_are_drawn_once_a_frame_at_most() {
    let program = Program::start(&["--lab", "--interval", "1ms", "--logging", "none"]);
    let page = open(&program);
    // Twice as many as frames, or more.
    page.wait_for("the numbers", "parseInt($('number-pushes').textContent.replace(',', '')) > 120");
    let drawn = page.eval(
        "new Promise((resolve) => {
           const clear = CanvasRenderingContext2D.prototype.clearRect;
           let [drawings, frames] = [0, 0];
           CanvasRenderingContext2D.prototype.clearRect = function (...box) {
             drawings += this.canvas.id === 'lanes';
             clear.apply(this, box);
           };
           (function frame() {
             frames += 1;
             if (frames === 60) resolve({ drawings, frames });
             else requestAnimationFrame(frame);
           })();
         })",
    );
    assert!((1..=60).contains(&drawn["drawings"].as_u64().expect("a number")), "{drawn}");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn the_focus_moves_on_when_the_lab_is_lost() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.eval("$('spin').focus(), 0");
    drop(program);
    page.wait_for("the end", "state === 'closed'");
    assert_eq!(page.eval("document.activeElement.id"), "pause");
}

#[test]
fn a_clients_name_turns_no_sentence_round() {
    let program = Program::start(LAB);
    let page = open(&program);
    let name = "\u{202e}evil\u{2069}\u{202e}";
    let mut client = Raw::websocket(program.addr(), "/websocket?Id=%E2%80%AEevil%E2%81%A9%E2%80%AE");
    page.wait_for("its lane", &format!("!!{}", lane_of(name)));
    let isolated = "\u{2068}\u{202e}evil\u{202e}\u{2069}";
    // The story is of the last five seconds, and a slow machine may need longer from one call to the next.
    eventually("the story", || {
        client.send_frame(0x81, "a message");
        page.click("pause");
        let told = page.is(&format!("$('story').textContent.includes('{isolated}')"));
        if !told {
            page.click("pause");
        }
        told
    });
    assert!(page.is(&format!("!$('story').textContent.replaceAll('{isolated}', '').includes('\u{202e}')")));
}

#[test]
fn lanes_appear_for_clients_and_go_with_them() {
    let program = Program::start(LAB);
    let page = open(&program);
    assert!(page.is("['listener', 'send'].every((thread) => lab.model.lanes.has(thread))"));
    let zoe = Raw::websocket(program.addr(), "/websocket?Id=zoe");
    page.wait_for("its lane", &format!("lab.view.rows.has({}?.thread)", lane_of("zoe")));
    page.wait_for("a push to it", &format!("{}.marks.some((m) => m.kind === 'wrote')", lane_of("zoe")));
    assert!(page.is(&format!("{}.segments.at(-1).kind === 'blocked'", lane_of("zoe"))));
    drop(zoe);
    page.wait_for("its end", &format!("{}?.gone > 0", lane_of("zoe")));
    page.wait_for("its lane to go", &format!("!{}", lane_of("zoe")));
    assert_eq!(page.text("dropped"), "");
}

#[test]
fn a_sleeping_handler_is_running_for_its_time_and_the_others_go_on() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.eval("$('client').value = 'cleo', $('seconds').value = 2");
    page.click("sleep");
    let slept = "(lane) => lane.segments.find((s) => s.method === 'on_message' && s.to > 0)";
    page.wait_for("its end", &format!("({slept})({})", lane_of("cleo")));
    let took = page.eval(&format!("(({{ from, to }}) => to - from)(({slept})({}))", lane_of("cleo")));
    let took = took.as_f64().expect("a time");
    assert!((2000.0..20_000.0).contains(&took), "{took} ms");
    for name in ["cleo", "ann", "fay"] {
        let pushed = page.eval(&format!(
            "(({{ from, to }}) => {}.marks.filter((m) => m.kind === 'wrote' && m.from > from && m.from < to).length)\
             (({slept})({}))",
            lane_of(name),
            lane_of("cleo")
        ));
        assert!(pushed.as_f64() >= Some(3.0), "{name} was pushed to {pushed} times");
    }
}

#[test]
fn a_handler_that_panics_ends_its_own_lane() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.eval("$('client').value = 'dan'");
    page.click("panic");
    page.wait_for("the end of its lane", &format!("{}?.gone > 0", lane_of("dan")));
    page.wait_for("its name to go", "lab.names.join() === 'ann,bob,cleo,eve,fay'");
    assert!(
        page.is("lab.model.sortedLanes().filter((l) => l.role === 'client' && l.gone === null).length >= 6")
    );
}

#[test]
fn a_pump_appears_for_a_client_that_does_not_read_and_goes_with_it() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.click("stall");
    page.wait_for("its pump", "[...lab.view.rows.keys()].some((thread) => thread.startsWith('pump-'))");
    page.wait_for(
        "its thread to wait",
        &format!("{}.segments.at(-1).kind === 'waiting'", lane_of("stalled-1")),
    );
    page.wait_for(
        "its disconnect",
        "[...lab.model.lanes.values()].some((l) => l.role === 'pump' && l.gone && l.marks.some((m) => m.kind === 'slow'))",
    );
    let lived = page.eval(
        "(({ born, gone }) => gone - born)([...lab.model.lanes.values()].find((l) => l.role === 'pump'))",
    );
    assert!((9_500.0..40_000.0).contains(&lived.as_f64().expect("a time")), "{lived} ms");
    page.wait_for(
        "its lane to go",
        "![...lab.model.lanes.keys()].some((thread) => thread.startsWith('pump-'))",
    );
}

#[test]
fn above_200_lanes_it_says_how_many_it_leaves_out() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.click("more");
    page.wait_for("more clients", "lab.names.length === 106");
    assert_eq!(page.text("left-out"), "");
    page.click("more");
    page.wait_for(
        "still more",
        "lab.view.shown.length === 200 && $('left-out').textContent.includes('not drawn')",
    );
    page.wait_for("the numbers", "+$('number-threads').textContent > 200");
    page.click("leave");
    page.wait_for("all to leave", "lab.names.length === 0");
    page.wait_for("room again", "$('left-out').textContent === '' && lab.view.shown.length < 10");
}

#[test]
fn a_pause_is_for_reading() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.wait_for("some pushes", "lab.model.pushes.filter((p) => p.lane.thread === 'send').length > 4");
    page.click("pause");
    page.wait_for("the story", "$('story').children.length > 3 && !$('story-box').hidden");
    assert!(page.text("story").contains("send wrote to"), "{}", page.text("story"));
    assert!(page.text("window").starts_with("Paused"));
    let before = page.eval("[lab.model.pausedAt, lab.view.geometry.to]");
    let _zoe = Raw::websocket(program.addr(), "/websocket?Id=zoe");
    page.wait_for(
        "time to go on",
        &format!("!!{} && lab.model.serverNow() > lab.model.pausedAt + 1000", lane_of("zoe")),
    );
    assert_eq!(page.eval("[lab.model.pausedAt, lab.view.geometry.to]"), before);
    page.click("pause");
    page.wait_for(
        "the present",
        "lab.model.pausedAt === null && lab.view.geometry.to > lab.model.serverNow() - 1000",
    );
}

#[test]
fn with_less_motion_the_lanes_move_in_steps() {
    let program = Program::start(LAB);
    let page = open(&program);
    // How far the lanes move per drawing, over some drawings.
    let steps = "new Promise((resolve) => {
        const seen = [lab.view.geometry.to];
        const look = () => {
          if (lab.view.geometry.to !== seen.at(-1)) seen.push(lab.view.geometry.to);
          if (seen.length < 5) requestAnimationFrame(look);
          else resolve(seen.slice(2).map((to, i) => to - seen[i + 1]));
        };
        look();
      })";
    let steps = || serde_json::from_value::<Vec<f64>>(page.eval(steps)).expect("numbers");
    page.prefer("prefers-reduced-motion", "reduce");
    // A drawing that comes late shortens the next step.
    let still = steps();
    assert!(still.iter().sum::<f64>() >= 800.0 * still.len() as f64, "{still:?} ms");
    page.prefer("prefers-reduced-motion", "no-preference");
    let moving = steps();
    assert!(moving.iter().any(|step| *step < 500.0), "{moving:?} ms");
}

#[test]
fn lanes_are_explained_to_the_mouse_and_to_the_keyboard() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.wait_for("some pushes", "lab.model.pushes.length > 4");
    page.click("pause");
    page.eval("$('lanes').focus()");
    page.press("ArrowDown");
    page.wait_for("a sentence", "$('spoken').textContent.startsWith('listener')");
    page.press("ArrowDown");
    page.wait_for("the next lane", "/^send (wrote|was|has)/.test($('spoken').textContent)");
    page.press("ArrowLeft");
    page.press("ArrowDown");
    page.wait_for("a client", "$('spoken').textContent.includes('client-')");
    assert!(page.is("$('explain').textContent === $('spoken').textContent"));
    page.eval(
        "(({ left, width }, row) => $('lanes').dispatchEvent(new PointerEvent('pointermove', \
           { clientX: $('lanes').getBoundingClientRect().x + left + width * 0.37, \
             clientY: $('lanes').getBoundingClientRect().y + row.middle })))(lab.view.geometry, lab.view.rows.get('listener'))",
    );
    page.wait_for("a sentence", "$('explain').textContent.includes('blocked in accept')");
    page.press(" ");
    page.wait_for("it to go on", "lab.model.pausedAt === null");
}

#[test]
fn a_loop_freezes_and_threads_do_not() {
    let (port, origin) = place_for_a_page();
    let threads =
        Program::start(&["--lab", "--interval", "100ms", "--logging", "none", "--allow-origin", &origin]);
    let event_loop = start_loop(Duration::from_millis(100));
    let beside = [
        json!({ "name": "threads", "kind": "threads", "address": threads.addr(), "pid": threads.pid() }),
        json!({ "name": "loop", "kind": "loop", "address": event_loop, "pid": std::process::id() }),
        json!({ "name": "absent", "kind": "loop", "install": "make absent" }),
    ];
    let program = start_beside(&port, &beside);
    let page = open(&program);

    let worst = |name: &str| format!("+document.querySelector('[data-name={name}]').dataset.worst");
    // An order goes over a second connection.
    page.wait_for(
        "pushes from both, and both connections for orders",
        "lab.beside.columns.filter((c) => c.arrivals.length > 10 && c.trouble.readyState === 1).length === 2",
    );
    assert!(page.is(&format!("{} < 2000 && {} < 2000", worst("threads"), worst("loop"))));
    page.click("show-beside");
    page.click("all-sleep");
    page.wait_for("the loop to freeze", &format!("{} >= 2800", worst("loop")));
    page.wait_for("it to go on", "lab.beside.columns[1].arrivals.at(-1).gap < 500");
    let gaps = page.eval(&format!("[{}, {}]", worst("threads"), worst("loop")));
    assert!(gaps[0].as_f64() < Some(2500.0), "{gaps}");
    assert!(page.text("columns").contains("make absent"));
    page.wait_for(
        "their numbers",
        "lab.beside.columns[0].numbers.at(-1)?.threads > 4 && lab.beside.columns[1].numbers.length > 0",
    );

    page.eval("lab.order('come threads 50')");
    page.wait_for(
        "clients beside",
        "lab.beside.columns[0].crowd === 50 && lab.beside.columns[0].numbers.at(-1).threads > 50",
    );
    page.eval("lab.order('leave threads')");
    page.wait_for("them to leave", "lab.beside.columns[0].crowd === 0");
    // Three columns are as narrow as they can be.
    page.look("light", 390, 844);
    assert!(page.is("$('columns').offsetWidth < 600"), "{}", page.eval("$('columns').offsetWidth"));
}

/// A port for a lab, and the origin of its page, which the other servers must know before it starts.
fn place_for_a_page() -> (String, String) {
    let addr = support::free_port();
    (addr.port().to_string(), format!("http://{addr}"))
}

/// A lab at this port, with these other servers.
fn start_beside(port: &str, beside: &[Value]) -> Program {
    let mut command = Program::command();
    command.args(["--port", port]).args(LAB);
    for server in beside {
        command.args(["--beside", &server.to_string()]);
    }
    Program::spawn(&mut command)
}

/// A clock on one thread, which serves all its clients in turn, and obeys `sleep N` on that thread.
fn start_loop(interval: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("does not block");
    thread::spawn(move || {
        let mut clients: Vec<WebSocket<TcpStream>> = Vec::new();
        let mut next = Instant::now();
        loop {
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(false).expect("blocks");
                let client = tungstenite::accept(stream).expect("a handshake");
                client.get_ref().set_nonblocking(true).expect("does not block");
                clients.push(client);
            }
            clients.retain_mut(turn);
            if Instant::now() >= next {
                next = Instant::now() + interval;
                for client in &mut clients {
                    let _ = client.send(Message::text("2026-11-22 18:14:05.561472"));
                }
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    });
    addr
}

/// Returns false if the client has left.
fn turn(client: &mut WebSocket<TcpStream>) -> bool {
    match client.read() {
        Ok(Message::Text(text)) => {
            let millis = text.strip_prefix("sleep ").and_then(|millis| millis.parse().ok());
            thread::sleep(Duration::from_millis(millis.unwrap_or(0)));
            true
        }
        Ok(_) => true,
        Err(tungstenite::Error::Io(error)) => error.kind() == ErrorKind::WouldBlock,
        Err(_) => false,
    }
}

/// The place of an experiment, and its elements that must be in the window together.
const THREADS: [&str; 9] = ["sleep", "spin", "panic", "flood", "stall", "more", "storm", "leave", "again"];
const BESIDE: [&str; 5] = ["all-sleep", "all-spin", "all-more", "all-storm", "all-leave"];
/// A projector's window, and a laptop's.
const WINDOWS: [(u32, u32); 2] = [(1366, 768), (1280, 900)];

/// Those of these elements that are not wholly in the window, as a JavaScript expression.
fn out_of_the_window(page: &Page, elements: &str) -> String {
    let outside = page.eval(&format!(
        "[{elements}].filter((element) => {{
           const {{ left, top, right, bottom, height }} = element.getBoundingClientRect();
           return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight || height === 0;
         }}).map((e) => `${{e.tagName}}#${{e.id}}[${{e.dataset.number ?? ''}}]`).join(' ')"
    ));
    outside.as_str().expect("a text").to_owned()
}

#[test]
fn each_button_is_in_the_window_with_the_lanes_and_the_numbers_that_it_changes() {
    let program = Program::start(LAB);
    let page = open(&program);
    let pictures = env::var_os("THREADCAST_SCREENSHOTS").map(PathBuf::from);
    let mut looks = Vec::new();
    for (width, height) in WINDOWS {
        page.look("light", width, height);
        // Once with a few clients, and once with a hundred more.
        for crowded in [false, true] {
            page.click("again");
            page.wait_for("the first six", "lab.names.join() === 'ann,bob,cleo,dan,eve,fay'");
            if crowded {
                page.eval("lab.order('come here 100')");
                page.wait_for("more clients", "lab.names.length === 106 && lab.view.shown.length > 100");
            }
            page.eval("$('client').value = 'eve', $('client').onchange(), $('seconds').value = 1");
            for button in THREADS {
                let what = format!("{button} at {width} x {height}, crowded: {crowded}");
                page.click(button);
                page.wait_for(&what, "document.querySelectorAll('#numbers [data-watched=true]').length > 0");
                let seen = format!(
                    "$('{button}'), $('lanes-box'), ...document.querySelectorAll('#numbers [data-watched=true]'), $('look'), $('status')"
                );
                assert_eq!(out_of_the_window(&page, &seen), "", "{what}");
                assert!(page.is("scrollY === 0"), "{what}: nothing had to be scrolled");
                looks.push(page.text("look"));
                // Its lane has a name, and is visible within the frame.
                let lane = match button {
                    "sleep" | "spin" => lane_of("eve"),
                    "stall" => "[...lab.model.lanes.values()].findLast((l) => l.role === 'pump')".to_owned(),
                    _ => continue,
                };
                let is_seen = format!(
                    "((place, box) => place?.isNamed && place.top >= box.scrollTop && \
                       place.top + place.size <= box.scrollTop + box.clientHeight)(lab.view.rows.get({lane}?.thread), $('lanes-box'))"
                );
                page.wait_for(&what, &is_seen);
                if let Some(directory) = pictures.as_deref().filter(|_| crowded && button == "stall") {
                    page.take_picture(&directory.join(format!("lab-crowded-{width}.png")));
                }
            }
        }
    }
    looks.sort();
    looks.dedup();
    assert_eq!(looks.len(), THREADS.len(), "each has its own: {looks:#?}");
}

#[test]
fn each_button_for_the_servers_beside_is_in_the_window_with_their_plot_and_figures() {
    let (port, origin) = place_for_a_page();
    let servers = [(); 2].map(|()| Program::start(&[LAB, &["--allow-origin", &origin]].concat()));
    let running = |name: &str, server: &Program| json!({ "name": name, "kind": "threads", "address": server.addr(), "pid": server.pid() });
    let absent =
        |name: &str| json!({ "name": name, "kind": "loop", "install": "make -C tests/compare python" });
    let beside = [
        running("threadcast", &servers[0]),
        running("threadcast-handoff", &servers[1]),
        absent("tokio-1"),
        absent("tokio-2"),
        absent("tornado"),
    ];
    let program = start_beside(&port, &beside);
    let page = open(&program);
    page.click("show-beside");
    page.wait_for("pushes from both", "lab.beside.columns.filter((c) => c.arrivals.length > 4).length === 2");
    for (width, height) in WINDOWS {
        page.look("light", width, height);
        for button in BESIDE {
            let what = format!("{button} at {width} x {height}");
            page.click(button);
            let seen =
                format!("$('{button}'), $('gaps-box'), $('gaps'), $('columns'), $('look'), $('status')");
            assert_eq!(out_of_the_window(&page, &seen), "", "{what}");
            assert!(
                page.is(
                    "scrollY === 0 && $('columns').clientWidth <= $('columns').parentElement.clientWidth"
                ),
                "{what}"
            );
        }
    }
    for (scheme, width, height) in [("light", 390, 844), ("dark", 390, 844), ("light", 320, 640)] {
        page.look(scheme, width, height);
        page.wait_for("a drawing", &format!("$('gaps').clientWidth < {width} && $('gaps').width > 0"));
        page.assert_fits(width, scheme);
    }
    if let Some(directory) = env::var_os("THREADCAST_SCREENSHOTS").map(PathBuf::from) {
        page.look("light", 1366, 768);
        page.wait_for("a drawing", "$('gaps').width > 500");
        page.take_picture(&directory.join("lab-beside-light.png"));
    }
}

#[test]
fn everything_in_the_lab_can_be_read_from_the_last_row() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.eval("$('pause').click(), $('explained').scrollIntoView()");
    for view in ["show-beside", "show-threads"] {
        page.click(view);
        let small = page.eval(
            "[...document.querySelectorAll('body *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) \
               && e.checkVisibility() && parseFloat(getComputedStyle(e).fontSize) < (e.tagName === 'CODE' ? 14 : 16)) \
             .map((e) => `${e.tagName}#${e.id}`)",
        );
        assert_eq!(small, json!([]));
    }
    assert_eq!(page.eval("$('lanes').getContext('2d').font"), "16px sans-serif");
}

#[test]
fn pointing_at_a_button_explains_it() {
    let program = Program::start(LAB);
    let page = open(&program);
    page.click("panic");
    let panic = page.text("look");
    page.eval("$('more').focus()");
    page.wait_for("another text", &format!("$('look').textContent !== {}", json!(panic)));
    assert!(page.text("look").contains("kernel stacks"));
    page.eval("$('more').blur()");
    page.wait_for("that of the button pressed", &format!("$('look').textContent === {}", json!(panic)));
}

#[test]
fn start_again_brings_back_the_first_six() {
    let program = Program::start(LAB);
    let page = open(&program);
    for button in ["more", "flood", "stall", "storm", "leave", "again"] {
        page.click(button);
    }
    page.wait_for("the first six", "lab.names.join() === 'ann,bob,cleo,dan,eve,fay'");
    page.wait_for(
        "all others to have gone",
        "lab.model.sortedLanes().filter((l) => l.gone === null && lab.model.clients.has(l.number) && l.role !== 'send').length === 6",
    );
}

#[test]
fn two_pages_share_the_first_six_and_each_connection_of_theirs_is_named() {
    let program = Program::start(LAB);
    let pages = [Page::open(program.addr(), "/lab"), Page::open(program.addr(), "/lab")];
    for page in &pages {
        page.wait_for("the lab's clients", "lab.names.length === 6");
        page.wait_for(
            "the pages' own connections",
            "[...lab.model.others.values()].filter((what) => what === 'this page').length === 1 \
               && [...lab.model.others.values()].filter((what) => what === 'another page of the lab').length === 1",
        );
        page.wait_for(
            "a name for every lane of a client",
            "lab.view.shown.every(({ lane: { role, number } }) => role !== 'client' || lab.model.clients.has(number) || lab.model.others.has(number))",
        );
        assert!(page.is("lab.names.length === 6"));
    }
}

#[test]
fn a_lab_that_falls_silent_is_noticed() {
    let program = Program::start(LAB);
    let relay = Relay::start(program.addr(), "");
    let page = Page::open(relay.addr, "/lab");
    page.wait_for("the lab's clients", "lab.names.length === 6");
    relay.freeze();
    page.wait_for("the lanes to stand still", "$('window').textContent.startsWith('Nothing has come')");
    assert!(page.is("lab.model.stoppedAt !== null && state === 'open'"));
    page.wait_for("the silence", "state !== 'open' && $('status').textContent.includes('Nothing has come')");
    relay.thaw();
    page.wait_for("a new connection", "state === 'open' && $('status').textContent.startsWith('Watching')");
}

#[test]
fn behind_a_proxy_the_lab_may_be_anywhere() {
    let program = Program::start(LAB);
    let relay = Relay::start(program.addr(), "/clock");
    let page = Page::open(relay.addr, "/clock/lab");
    page.wait_for("the lab's clients", "lab.names.length === 6 && lab.model.pushes.length > 0");
    let links = page.eval(
        "Promise.all([...document.querySelectorAll('a, link')].map(async ({ href }) => \
           `${(await fetch(href)).status} ${new URL(href).pathname}`))",
    );
    let links: Vec<String> = serde_json::from_value(links).expect("texts");
    assert!(links.len() >= 4 && links.iter().all(|link| link.starts_with("200 /clock/")), "{links:#?}");
    assert_eq!(relay.astray(), [""; 0]);
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn nothing_is_wider_than_the_window_in_light_and_dark() {
    let program = Program::start(LAB);
    let page = open(&program);
    let pictures = env::var_os("THREADCAST_SCREENSHOTS").map(PathBuf::from);
    page.click("stall");
    page.wait_for("its pump", "[...lab.view.rows.keys()].some((thread) => thread.startsWith('pump-'))");
    page.eval("$('client').value = 'bob', $('seconds').value = 2");
    page.click("sleep");
    page.wait_for(
        "its end",
        &format!("{}.segments.some((s) => s.method === 'on_message' && s.to)", lane_of("bob")),
    );
    page.eval("document.activeElement.blur()");
    for (name, scheme, width, height) in [
        ("lab-light.png", "light", 1366, 768),
        ("lab-dark.png", "dark", 1366, 768),
        ("", "light", 390, 844),
        ("", "dark", 390, 844),
        ("", "light", 320, 640),
    ] {
        page.look(scheme, width, height);
        page.wait_for(
            "a drawing",
            &format!(
                "lab.view.geometry.width < {width} && lab.view.geometry.to > lab.model.serverNow() - 1000"
            ),
        );
        page.assert_fits(width, scheme);
        page.eval("scrollTo(0, 0)");
        if let Some(directory) = pictures.as_deref().filter(|_| !name.is_empty()) {
            page.take_picture(&directory.join(name));
        }
    }
    // A name in too little space is cut before it becomes unreadable.
    let long = "W".repeat(30);
    page.eval(&format!(
        "window.least = 1, ((proto, draw) => {{
           proto.fillText = function (text, x, y, room = Infinity) {{
             least = Math.min(least, room / this.measureText(text).width);
             draw.apply(this, arguments);
           }};
         }})(CanvasRenderingContext2D.prototype, CanvasRenderingContext2D.prototype.fillText),
         lab.model.clients.set({}.number, '{long}'), lab.view.follow('{long}')",
        lane_of("bob")
    ));
    page.wait_for("a drawing", "least < 1");
    assert!(page.is("least > 0.6"), "squeezed to {}", page.eval("least"));
}

#[test]
fn the_browser_has_nothing_to_complain_about() {
    let program = Program::start(LAB);
    let page = open(&program);
    for button in
        ["sleep", "flood", "stall", "more", "storm", "pause", "pause", "leave", "show-beside", "show-threads"]
    {
        page.click(button);
    }
    page.wait_for("all to leave", "lab.names.length === 0");
    assert!(page.is("performance.getEntriesByType('resource').every(({ name }) => name.startsWith(origin))"));
    assert!(
        page.is("[...document.querySelectorAll('input, select, button, a, [tabindex]')].every((stop) => \
           stop.labels?.length || stop.textContent.trim() || stop.ariaLabel || stop.role)")
    );
    // Complaints come in order, so no others are pending after this one.
    page.eval("console.error('logged')");
    page.wait_for_complaint("logged");
    let complaints = page.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
}

#[test]
fn without_its_server_the_page_stands_still_and_says_so_until_the_server_is_back() {
    let program = Program::start(LAB);
    let addr = program.addr();
    let page = open(&program);
    page.wait_for("some pushes", "lab.model.pushes.length > 2");
    drop(program);
    page.wait_for("the loss", "state === 'closed' && $('status').textContent.includes('lost')");
    assert!(page.text("window").starts_with("Not connected"), "{}", page.text("window"));
    page.wait_for("the lanes to stand still", "lab.view.geometry.to === lab.model.stoppedAt");
    // Some drawings later, nothing has moved, but the story is readable.
    let moved = page.eval(
        "new Promise((resolve) => {
           const before = lab.view.geometry.to;
           setTimeout(() => resolve(lab.view.geometry.to - before), 300);
         })",
    );
    assert_eq!(moved.as_f64(), Some(0.0));
    assert!(page.is("getComputedStyle($('lanes')).filter === 'grayscale(1)'"));
    page.click("pause");
    assert!(page.is("!$('story-box').hidden && $('window').textContent.startsWith('Not connected')"));
    let (port, address) = (addr.port().to_string(), addr.ip().to_string());
    let _program =
        Program::spawn(Program::command().args(["--port", &port, "--address", &address]).args(LAB));
    page.wait_for("a new connection", "state === 'open' && lab.names.length === 6");
    page.wait_for("the lanes to go on", "Math.abs(lab.model.serverNow() - lab.view.geometry.to) < 1000");
    assert!(page.text("window").starts_with("The last 8 seconds"), "{}", page.text("window"));
    assert!(page.is("getComputedStyle($('lanes')).filter === 'none'"));
}

#[test]
fn each_view_has_its_own_hint_and_without_other_servers_nothing_to_press() {
    let program = Program::start(LAB);
    let page = open(&program);
    let buttons = |view: &str, disabled: bool| {
        page.is(&format!(
            "[...document.querySelectorAll('[data-view={view}] button')].every((b) => b.disabled === {disabled})"
        ))
    };
    page.click("more");
    let more = page.text("look");
    page.click("show-beside");
    assert!(page.text("look").contains("none is running"), "{}", page.text("look"));
    assert!(page.text("status").starts_with("Watching"), "{}", page.text("status"));
    assert!(page.is("$('no-beside').checkVisibility() && $('no-beside').textContent.includes('make lab')"));
    assert!(buttons("beside", true) && buttons("threads", false));
    page.click("show-threads");
    assert_eq!(page.text("look"), more);
}

#[test]
fn after_dropped_events_a_busy_lane_is_not_known_until_its_next_event() {
    let program = Program::start(LAB);
    let page = open(&program);
    // A thread that the server does not report on its own: so the test plays the server.
    let hear = |is: &str, dropped: u32| {
        page.eval(&format!(
            "((t) => lab.hear({{ events: {{ t, dropped: {dropped}, \
               list: [{{ t, thread: 'client-900', is: '{is}', client: 900 }}] }} }}))(lab.model.serverNow())"
        ));
    };
    let kind = || page.eval("lab.model.lanes.get('client-900').segments.at(-1).kind");
    hear("wakes", 0);
    assert_eq!(kind(), "running");
    assert!(page.is("$('unknown').hidden"));
    hear("other", 5);
    assert_eq!(kind(), "unknown");
    assert!(
        page.is(
            "lab.model.lanes.get('client-900').segments.every(({ from, to }) => to === null || from <= to)"
        )
    );
    hear("reads", 5);
    assert_eq!(kind(), "blocked");
}
