//! `/clients`: who is connected, and the end of one, for who has the admin token.

use crate::support;

use serde_json::{Value, json};
use support::fleet::Redis;
use support::{Directory, Program, Raw, close_frame, eventually, fetch, header_values, masked, status};

const TOKEN: &str = "admin-0123456789abcdef";

fn serve(name: &str, args: &[&str]) -> Program {
    let directory = Directory::new(name);
    let file = directory.secret("token", format!("{TOKEN}\nanother-0123456789\n"));
    Program::start(&[&["--interval", "1h", "--admin-token-file", &file], args].concat())
}

fn request(method: &str, target: &str, token: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn list(program: &Program, query: &str) -> Value {
    let (head, body) = fetch(program.addr(), request("GET", &format!("/clients{query}"), TOKEN));
    assert_eq!(status(&head), 200, "{head}");
    assert_eq!(header_values(&head, "Content-Type"), ["application/json; charset=utf-8"]);
    assert_eq!(header_values(&head, "Cache-Control"), ["no-store"]);
    serde_json::from_slice(&body).expect("is JSON")
}

fn ids(page: &Value) -> Vec<&str> {
    page["clients"].as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an Id")).collect()
}

/// Closes a client: the status, and what is said.
fn end(program: &Program, target: &str) -> (u16, String) {
    let (head, body) = fetch(program.addr(), request("DELETE", &format!("/clients/{target}"), TOKEN));
    (status(&head), String::from_utf8(body).expect("is UTF-8"))
}

fn client(program: &Program, id: &str) -> Raw {
    Raw::websocket(program.addr(), &format!("/websocket?Id={id}"))
}

#[test]
fn it_lists_who_is_connected_and_how_they_are() {
    let program = serve("admin-list", &["--ping-interval", "100ms", "--trusted-proxy", "127.0.0.0/8"]);
    assert_eq!(list(&program, ""), json!({ "clients": [], "next": null }));
    let mut first = client(&program, "B");
    let mut behind = Raw::connect(program.addr());
    behind.send(support::upgrade("/websocket?Id=A%20%C3%A9%22", "X-Forwarded-For: 192.0.2.7\r\n"));
    assert_eq!(status(&behind.head()), 101);
    // It is pinged, and answers.
    let ping = loop {
        let frame = first.frame();
        if frame.first == 0x89 {
            break frame;
        }
    };
    first.send(masked(0x8a, &ping.payload));
    eventually("its latency is known", || list(&program, "")["clients"][1]["latency_ms"].is_number());
    let page = list(&program, "");
    assert_eq!(ids(&page), ["A é\"", "B"]);
    let [a, b] = [&page["clients"][0], &page["clients"][1]];
    assert_eq!((&a["address"], &a["latency_ms"]), (&"192.0.2.7:0".into(), &Value::Null));
    assert!(b["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{page}");
    assert_eq!(b["backlog"], 0);
    assert!(b["sent"].as_u64().is_some_and(|sent| sent >= 100), "{page}");
    let since = b["since"].as_str().expect("a time");
    let age = chrono::Utc::now() - chrono::DateTime::parse_from_rfc3339(since).expect("RFC 3339").to_utc();
    assert!((-1..=60).contains(&age.num_seconds()) && since.ends_with('Z'), "{since}");
}

#[test]
fn a_page_has_a_thousand_and_says_where_the_next_one_begins() {
    if !support::has_descriptors(2500, "the list of a thousand clients") {
        return;
    }
    let program = serve("admin-pages", &["--max-clients", "1100"]);
    let _clients: Vec<_> = (0..1003).map(|n| client(&program, &format!("{n:04}"))).collect();
    let first = list(&program, "");
    let all: Vec<_> = (0..1003).map(|n| format!("{n:04}")).collect();
    assert_eq!(ids(&first), all[..1000]);
    assert_eq!(first["next"], "0999");
    let second = list(&program, "?after=0999");
    assert_eq!((ids(&second), &second["next"]), (vec!["1000", "1001", "1002"], &Value::Null));
    assert_eq!(ids(&list(&program, "?after=0001x"))[0], "0002", "of an Id that is nobody's");
    assert_eq!(ids(&list(&program, "?after=2")), [""; 0]);
}

#[test]
fn a_client_is_closed_by_its_id_whatever_characters_that_has() {
    let program = serve("admin-close", &[]);
    for (id, target, code, reason) in [
        ("A", "A", 1008, ""),
        ("B", "B?code=4000&reason=go%20home", 4000, "go home"),
        ("a%2Fb%20%C3%A9", "a%2Fb%20%C3%A9?reason=x", 1008, "x"),
        ("a/b", "a/b", 1008, ""),
        ("", "?code=1001", 1001, ""),
    ] {
        let mut open = client(&program, id);
        assert_eq!(end(&program, target), (204, String::new()), "{id}");
        assert_eq!(open.frame(), close_frame(code, reason), "{id}");
        open.send_frame(0x88, code.to_be_bytes());
        eventually("it is gone", || list(&program, "")["clients"] == json!([]));
        assert_eq!(end(&program, target), (404, "404: No client has this Id\n".to_owned()), "{id}");
    }
    let _stays = client(&program, "A");
    for (target, status, why) in [
        ("A?code=x", 400, "A close code is a number"),
        ("A?code=1005", 400, "close code 1005 cannot be sent"),
        ("A?code=70000", 400, "A close code is a number"),
        ("%FF", 400, "Invalid unicode"),
        ("a", 404, "No client"),
    ] {
        let (code, said) = end(&program, target);
        assert!(code == status && said.contains(why), "{target}: {code} {said}");
    }
    assert_eq!(ids(&list(&program, "")), ["A"]);
    program.wait_for_line("closing client B with 4000, as 127.0.0.1 requested");
}

#[test]
fn it_is_for_who_has_the_token_alone() {
    let program = serve("admin-token", &[]);
    let mut open = client(&program, "A");
    for token in ["", "admin-0123456789abcdee", "admin-0123456789abcdef0"] {
        for (method, target) in [("GET", "/clients"), ("DELETE", "/clients/A")] {
            let (head, body) = fetch(program.addr(), request(method, target, token));
            assert_eq!(
                (status(&head), header_values(&head, "WWW-Authenticate")),
                (401, vec!["Bearer"]),
                "{token}"
            );
            assert!(!String::from_utf8_lossy(&body).contains("\"A\""));
        }
    }
    let (head, _) = fetch(program.addr(), request("GET", "/clients", "another-0123456789"));
    assert_eq!(status(&head), 200, "any line of the file");
    let (head, _) = fetch(program.addr(), request("POST", "/clients/A", TOKEN));
    assert_eq!((status(&head), header_values(&head, "Allow")), (405, vec!["DELETE, OPTIONS"]));
    program.wait_for_line("a request to /clients without a valid token, from 127.0.0.1 (1 so far)");
    let (_, stats) = fetch(program.addr(), support::get("/stats", ""));
    let stats: Value = serde_json::from_slice(&stats).expect("is JSON");
    assert_eq!(stats["unauthorized"], 6);
    open.send(masked(0x89, b"still here"));
    assert_eq!(open.frame().first, 0x8a);
    let without = Program::start(&["--interval", "1h"]);
    for (method, target) in [("GET", "/clients"), ("DELETE", "/clients/A")] {
        assert_eq!(status(&fetch(without.addr(), request(method, target, TOKEN)).0), 404);
    }
}

#[test]
fn on_many_machines_it_is_closed_where_it_is() {
    let mut redis = Redis::start(&[]);
    let url = redis.url();
    let programs = ["admin-here", "admin-there"].map(|name| serve(name, &["--redis", &url]));
    let [here, there] = &programs;
    let machines = |program: &Program| {
        let (_, stats) = fetch(program.addr(), support::get("/stats", ""));
        serde_json::from_slice::<Value>(&stats).expect("is JSON")["fleet"]["machines"].clone()
    };
    eventually("they know each other", || programs.iter().all(|program| machines(program) == 2));
    let mut open = client(there, "A");
    assert_eq!(ids(&list(here, "")), [""; 0], "a list is of one machine");
    assert_eq!(end(here, "A?code=4321&reason=go").0, 204);
    assert_eq!(open.frame(), close_frame(4321, "go"));
    open.send_frame(0x88, 4321u16.to_be_bytes());
    eventually("it is gone", || list(there, "")["clients"] == json!([]));
    assert_eq!(end(here, "A").0, 404);
    assert_eq!(end(here, "A?code=1").0, 400);
    let mut own = client(here, "B");
    redis.kill();
    eventually("it knows that nobody can be asked", || end(here, "A").0 == 503);
    assert_eq!(end(here, "B").0, 204, "its own are");
    assert_eq!(own.frame(), close_frame(1008, ""));
}
