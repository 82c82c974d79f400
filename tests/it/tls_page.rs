//! The pages over https, in a real browser, which accepts any certificate.

use crate::support;
use support::browser;

use browser::Page;
use serde_json::json;
use support::Program;

#[test]
fn the_page_speaks_wss_and_the_time_moves() {
    let program = Program::start(&["--tls-self-signed", "--interval", "250ms", "--compression", "1B"]);
    let page = Page::open_secure(program.addr(), "/?Id=A");
    page.wait_for("three pushes", "+$('count').textContent >= 3");
    assert_eq!(page.eval("new URL(socket.url).protocol"), json!("wss:"));
    assert_eq!(page.eval("isSecureContext && location.protocol"), json!("https:"));
    page.fill("message", "hi there");
    page.click("send");
    program.wait_for_line("Client A received a message:hi there");
    page.click("close");
    page.wait_for("the end", "state === 'closed'");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn the_lab_has_its_clients_and_a_stalled_one_and_they_obey() {
    let program = Program::start(&["--tls-self-signed", "--lab", "--interval", "250ms", "--logging", "none"]);
    let page = Page::open_secure(program.addr(), "/lab");
    page.wait_for("the lab's clients", "lab.names.length === 6 && lab.model.sortedLanes().length >= 8");
    page.eval("$('client').value = 'dan'");
    page.click("panic");
    page.wait_for("the end of dan", "lab.names.join() === 'ann,bob,cleo,eve,fay'");
    page.click("stall");
    page.wait_for("its pump", "[...lab.view.rows.keys()].some((thread) => thread.startsWith('pump-'))");
}
