//! `/health` and `/ready`: for anybody, under any name, on a full server too.

use crate::support;

use support::{Program, Raw, eventually, fetch, get, header_values, status};

/// The status and the body of a page.
fn page(program: &Program, target: &str) -> (u16, String) {
    let (head, body) = fetch(program.addr(), get(target, ""));
    (status(&head), String::from_utf8(body).expect("is UTF-8"))
}

const OK: &str = "ok\n";

#[test]
fn both_answer_ok_to_anybody_under_any_name_and_nobody_keeps_the_answer() {
    let program = Program::start(&["--host", "example.com", "--interval", "1h", "--logging", "debug"]);
    for target in ["/health", "/ready"] {
        for headers in
            ["Host: evil.test", "Host: 10.0.0.1:8888", "Host:", "Host: a\r\nX-Forwarded-For: 192.0.2.1"]
        {
            let request = format!("GET {target} HTTP/1.1\r\n{headers}\r\n\r\n");
            let (head, body) = fetch(program.addr(), request);
            assert_eq!((status(&head), &body[..]), (200, OK.as_bytes()), "{target} {headers}");
            assert_eq!(header_values(&head, "Cache-Control"), ["no-store"], "{target}");
        }
        let mut old = Raw::connect(program.addr());
        old.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        assert_eq!(status(&old.head()), 200, "without a Host");
        let mut head_alone = Raw::connect(program.addr());
        head_alone.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(status(&head_alone.head()), 200);
        assert!(head_alone.is_at_end());
        let (head, _) =
            fetch(program.addr(), format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((status(&head), header_values(&head, "Allow")), (405, vec!["GET, HEAD, OPTIONS"]));
    }
    for target in ["/", "/stats", "/metrics", "/health/", "/websocket?Id=A"] {
        let mut other = Raw::connect(program.addr());
        other.send(format!("GET {target} HTTP/1.1\r\nHost: evil.test\r\n\r\n"));
        assert_eq!(status(&other.head()), 421, "{target}");
    }
    let lines = program.lines();
    assert!(!lines.iter().any(|line| line.contains("health") || line.contains("ready")), "{lines:#?}");
}

#[test]
fn a_full_server_is_healthy_but_not_ready_and_shows_its_numbers() {
    let program = Program::start(&["--max-clients", "2", "--interval", "1h"]);
    let mut inside: Vec<_> =
        ["A", "B"].map(|id| Raw::websocket(program.addr(), &format!("/websocket?Id={id}"))).into();
    let full = (503, "full: 2 clients are connected\n".to_owned());
    assert_eq!(page(&program, "/ready"), full);
    assert_eq!(page(&program, "/health"), (200, OK.to_owned()));
    assert_eq!((page(&program, "/stats").0, page(&program, "/metrics").0), (200, 200));
    // Pages take no client's place.
    let _pages: Vec<_> = (0..4).map(|_| Raw::connect(program.addr())).collect();
    assert_eq!(page(&program, "/ready"), full);
    inside.pop();
    eventually("there is a place", || page(&program, "/ready") == (200, OK.to_owned()));
}
