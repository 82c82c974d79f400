//! `tests/BEHAVIOUR.md`, *Pages and requests*: the pages and files, and requests that a client must not send.

use crate::support;

use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::fs::{RenameFlags, renameat_with};

use threadcast::{Application, Error, Exchange, RequestHandler, Result, Server};

use support::{DEADLINE, Directory, Program, Raw, fetch, frame, get, header_values, masked, status, upgrade};

/// The most bytes of a request head.
const MAX_HEAD: usize = 16 * 1024;
/// How long a head may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A kernel timer may be early by one tick.
const TICK: Duration = Duration::from_millis(50);

const FILES: [(&str, &str, &[u8]); 4] = [
    ("index.html", "text/html; charset=utf-8", include_bytes!("../../www/index.html")),
    ("clock.css", "text/css; charset=utf-8", include_bytes!("../../www/clock.css")),
    ("clock.js", "text/javascript; charset=utf-8", include_bytes!("../../www/clock.js")),
    ("favicon.svg", "image/svg+xml", include_bytes!("../../www/favicon.svg")),
];

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    match header_values(head, name)[..] {
        [value] => value,
        ref other => panic!("{name} occurs {} times in {head}", other.len()),
    }
}

/// Checks that all bytes are one response, which says that it is the last.
fn assert_is_one_last_response(all: &[u8], expected: u16, case: &str) {
    let text = String::from_utf8_lossy(all);
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{case}: no head in {text:?}"));
    assert_eq!(status(head), expected, "{case}: {text}");
    assert_eq!(header(head, "Connection"), "close", "{case}");
    let status_lines =
        text.match_indices("HTTP/1.1 ").filter(|(at, _)| text[at + 9..].starts_with(char::is_numeric));
    assert_eq!(status_lines.count(), 1, "{case}: {text}");
}

// `GET /` renders index.html.
#[test]
fn the_root_is_the_page_with_the_websocket_client() {
    let program = Program::start(&[]);
    for target in ["/", "/?Id=A", "http://localhost/", "http://localhost"] {
        let (head, body) = fetch(program.addr(), get(target, ""));
        assert_eq!(status(&head), 200, "{target}");
        assert_eq!(header(&head, "Content-Type"), "text/html; charset=utf-8", "{target}");
        assert_eq!(header(&head, "Cache-Control"), "no-cache", "{target}");
        assert_eq!(header(&head, "X-Content-Type-Options"), "nosniff", "{target}");
        assert!(header(&head, "Content-Security-Policy").contains("default-src 'self'"), "{target}");
        assert_eq!(body, FILES[0].2, "{target}");
    }
}

#[test]
fn the_files_in_the_binary_have_their_content_types_and_every_byte() {
    let program = Program::start(&[]);
    for (name, content_type, content) in FILES {
        let (head, body) = fetch(program.addr(), get(&format!("/static/{name}"), ""));
        assert_eq!(status(&head), 200, "{name}");
        assert_eq!(header(&head, "Content-Type"), content_type, "{name}");
        assert_eq!(body, content, "{name}");
    }
}

#[test]
fn pages_say_what_they_may_do_and_files_are_asked_for_again() {
    let root = Directory::new("http-own-page");
    root.write("index.html", "<script>hello()</script>");
    root.write("lab.html", "<script>hello()</script>");
    root.write("a.js", "hello()");
    let (ours, own) = (Program::start(&["--lab"]), Program::start(&["--lab", "--www", root.path()]));
    for target in ["/", "/lab"] {
        let (head, _) = fetch(ours.addr(), get(target, ""));
        for part in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
        {
            assert!(header(&head, "Content-Security-Policy").contains(part), "{target} {part}: {head}");
        }
        // A page's author decides its policy.
        let (head, _) = fetch(own.addr(), get(target, ""));
        assert_eq!((status(&head), header(&head, "Cache-Control")), (200, "no-cache"), "{target}");
        assert!(header_values(&head, "Content-Security-Policy").is_empty(), "{target}: {head}");
    }
    for (program, target) in
        [(&ours, "/static/clock.js"), (&ours, "/lab/lab.js"), (&own, "/static/a.js"), (&own, "/lab/a.js")]
    {
        let (head, _) = fetch(program.addr(), get(target, ""));
        assert_eq!(header(&head, "Cache-Control"), "no-cache", "{target}");
        let known = format!("If-None-Match: {}\r\n", header(&head, "ETag"));
        let mut raw = Raw::connect(program.addr());
        raw.send(get(target, &known));
        let head = raw.head();
        assert_eq!((status(&head), header(&head, "Cache-Control")), (304, "no-cache"), "{target}");
    }
}

// The decoded name determines the type of a file.
#[test]
fn a_type_is_that_of_the_decoded_name() {
    let root = Directory::new("http-decoded");
    root.write("index.html", "");
    root.write("a.css", "a");
    let (ours, own) = (Program::start(&[]), Program::start(&["--www", root.path()]));
    for (program, target, content_type) in [
        (&ours, "/static/clock%2Ejs", "text/javascript; charset=utf-8"),
        (&ours, "/static/clock.j%73", "text/javascript; charset=utf-8"),
        (&ours, "/static/favicon%2esvg", "image/svg+xml"),
        (&own, "/static/a%2ecss", "text/css; charset=utf-8"),
        (&own, "/static/%61.%63ss", "text/css; charset=utf-8"),
    ] {
        let (head, _) = fetch(program.addr(), get(target, ""));
        assert_eq!((status(&head), header(&head, "Content-Type")), (200, content_type), "{target}");
    }
}

// The root may be a link: moving it to another release moves the site.
#[test]
fn a_root_that_is_a_link_is_followed_at_each_request() {
    let top = Directory::new("http-release");
    top.write("one/index.html", "<p>one");
    top.write("one/a.css", "one");
    top.write("two/index.html", "<p>two");
    top.write("two/a.css", "two");
    symlink("one", top.0.join("cur")).expect("links");
    let cur = top.0.join("cur");
    let program = Program::start(&["--www", cur.to_str().expect("UTF-8")]);
    let content = |target: &str| String::from_utf8(fetch(program.addr(), get(target, "")).1).expect("UTF-8");
    assert_eq!((content("/"), content("/static/a.css")), ("<p>one".to_owned(), "one".to_owned()));
    symlink("two", top.0.join("next")).expect("links");
    fs::rename(top.0.join("next"), &cur).expect("moves");
    fs::remove_dir_all(top.0.join("one")).expect("removes");
    assert_eq!((content("/"), content("/static/a.css")), ("<p>two".to_owned(), "two".to_owned()));
}

#[test]
fn names_that_begin_with_a_dot_are_404() {
    let root = Directory::new("http-dots");
    for name in ["index.html", ".well-known/security.txt", ".well-known/acme-challenge/token"] {
        root.write(name, "for all");
    }
    for name in
        [".env", ".git/config", "sub/.env", ".well-known/.env", "..a", ".well-known-2/x", "sub/.well-known/x"]
    {
        root.write(name, "SECRET");
    }
    let program = Program::start(&["--www", root.path()]);
    for (target, expected) in [
        (".well-known/security.txt", 200),
        (".well-known/acme-challenge/token", 200),
        ("%2ewell-known/security%2Etxt", 200),
        (".env", 404),
        ("%2eenv", 404),
        ("%2Eenv", 404),
        (".git/config", 404),
        ("%2egit/config", 404),
        (".git%2fconfig", 404),
        ("sub/.env", 404),
        ("sub/%2eenv", 404),
        ("sub//.env", 404),
        (".well-known/.env", 404),
        (".well-known-2/x", 404),
        ("sub/.well-known/x", 404),
        ("..a", 404),
        (".well-known", 404),
        (".", 404),
    ] {
        let (head, body) = fetch(program.addr(), get(&format!("/static/{target}"), ""));
        assert_eq!(status(&head), expected, "{target}");
        assert!(!body.starts_with(b"SECRET"), "{target}");
    }
}

// A directory of the root and a link that leads out of it are exchanged while a client asks for files.
#[test]
fn exchanging_files_while_they_are_opened_leads_nobody_out() {
    const REQUESTS: usize = 3000;
    let top = Directory::new("http-exchange");
    top.write("www/index.html", "");
    top.write("www/a/x.txt", "inside");
    top.write("outside/x.txt", "SECRET");
    symlink("../outside", top.0.join("www/b")).expect("links");
    let www = top.0.join("www");
    let program = Program::start(&["--www", www.to_str().expect("UTF-8"), "--logging", "none"]);
    let is_over = AtomicBool::new(false);
    let (mut inside, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let directory = fs::File::open(&www).expect("opens");
            while !is_over.load(Ordering::Relaxed) {
                renameat_with(&directory, "a", &directory, "b", RenameFlags::EXCHANGE).expect("exchanges");
            }
        });
        let mut raw = Raw::connect(program.addr());
        for _ in 0..REQUESTS {
            raw.send(get("/static/a/x.txt", ""));
            let (head, body) = raw.response();
            match status(&head) {
                200 if body == b"inside" => inside += 1,
                403 | 404 => refused += 1,
                _ => {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("{head}{}", String::from_utf8_lossy(&body));
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(inside > 0 && refused > 0, "both were met: {inside} and {refused}");
}

// Refuses targets that a proxy in front may parse in another way.
#[test]
fn a_target_is_a_path_or_a_url_with_a_host() {
    let program = Program::start(&[]);
    for target in [
        "*://a/stats",
        "*",
        "://a/stats",
        "ws://a/stats",
        "ftp://a/",
        "file:///etc/passwd",
        "http:///stats",
        "http://",
        "http://u@a/stats",
        "http://u:p@a/stats",
        "http://:80/stats",
        "http://a:x/",
        "http:a",
        "http:/a",
        "stats",
        "a:80",
        "?x",
        "/stats#x",
        "http://a/#x",
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(get(target, ""));
        assert_is_one_last_response(&raw.rest(), 400, target);
    }
    for (request, expected) in [
        (get("HTTP://localhost:8888/stats", ""), 200),
        (get("https://localhost/stats?x", ""), 200),
        (get("http://localhost?x", ""), 200),
        (get("http://localhost/none", ""), 404),
        (get("/none", "").replacen("GET /none", "OPTIONS *", 1), 204),
        (get("/none", "").replacen("GET /none", "CONNECT a:80", 1), 400),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(&request);
        assert_eq!(status(&raw.head()), expected, "{request}");
    }
}

// RFC 9112, section 3.2.2: the server ignores `Host` then.
#[test]
fn the_authority_of_a_url_is_the_requests_host() {
    let program = Program::start(&["--allow-origin", "https://friend.example"]);
    let request = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (target, host, expected) in [
        ("http://localhost/stats", "evil.test", 200),
        ("http://evil.test/stats", "localhost", 403),
        ("/stats", "localhost", 200),
        ("/stats", "[::1%25lo]:80", 200),
        ("/stats", "[fe80::1%lo]", 403),
    ] {
        let (head, _) = fetch(program.addr(), request(target, host));
        assert_eq!(status(&head), expected, "{target} of {host}");
    }
    for (target, origin, expected) in [
        ("http://me.test/websocket?Id=A", "http://me.test", 101),
        ("http://me.test/websocket?Id=A", "http://localhost", 403),
        ("/websocket?Id=A", "http://localhost", 101),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(upgrade(target, &format!("Origin: {origin}\r\n")));
        assert_eq!(status(&raw.head()), expected, "{target} from {origin}");
    }
}

#[test]
fn with_hosts_all_others_are_421() {
    let named = Program::start(&["--host", "Me.test", "--host", "10.0.0.1", "--host", "fe80::1"]);
    let lab = Program::start(&["--lab"]);
    let both = Program::start(&["--lab", "--host", "me.test"]);
    for (host, of_named, of_lab, of_both) in [
        ("me.test", 200, 421, 200),
        ("ME.test.:8888", 200, 421, 200),
        ("10.0.0.1:1", 200, 421, 421),
        ("[fe80::1%lo]:80", 200, 421, 421),
        ("localhost", 421, 200, 200),
        ("localhost:8888", 421, 200, 200),
        ("127.0.0.1:1", 421, 200, 200),
        ("[::1]:8888", 421, 200, 200),
        ("evil.test", 421, 421, 421),
        ("evil.test:8888", 421, 421, 421),
        ("localhost.evil.test", 421, 421, 421),
        ("x.me.test", 421, 421, 421),
        ("", 421, 421, 421),
    ] {
        for (program, expected) in [(&named, of_named), (&lab, of_lab), (&both, of_both)] {
            for target in ["/", "/static/clock.js"] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let (head, _) = fetch(program.addr(), request);
                assert_eq!(status(&head), expected, "{target} of {host:?}");
            }
        }
        for target in ["/none", "/websocket?Id=A", "/lab/events?Id=A"] {
            let mut raw = Raw::connect(lab.addr());
            raw.send(upgrade(target, "").replacen("Host: localhost", &format!("Host: {host}"), 1));
            let is_refused = status(&raw.head()) == 421;
            assert_eq!(is_refused, of_lab == 421, "{target} of {host:?}");
        }
    }
    let mut raw = Raw::connect(named.addr());
    raw.send("GET / HTTP/1.0\r\n\r\n");
    assert_is_one_last_response(&raw.rest(), 421, "HTTP/1.0 without Host");
    assert_eq!(status(&fetch(named.addr(), get("http://me.test/", "")).0), 200);
    assert_eq!(
        status(
            &fetch(named.addr(), get("http://localhost/", "").replace("Host: localhost", "Host: me.test")).0
        ),
        421
    );
}

// `--www` reads the directory at each request.
#[test]
fn files_of_a_directory_are_read_at_each_request() {
    let root = Directory::new("http-www");
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    root.write("index.html", "<p>first");
    root.write("sub/a b.txt", "text");
    root.write("sub/é.json", "{}");
    root.write("noextension", [0, 255]);
    root.write("empty.css", "");
    root.write("large.png", &large);
    symlink(root.0.join("noextension"), root.0.join("inside")).expect("links");
    let program = Program::start(&["--www", root.path()]);
    for (target, content_type, content) in [
        ("/", "text/html; charset=utf-8", &b"<p>first"[..]),
        ("/static/index.html", "text/html; charset=utf-8", b"<p>first"),
        ("/static/index.html?v=2", "text/html; charset=utf-8", b"<p>first"),
        ("/static/sub/a%20b.txt", "text/plain; charset=utf-8", b"text"),
        ("/static/sub/%C3%A9.json", "application/json; charset=utf-8", b"{}"),
        ("/static/noextension", "application/octet-stream", &[0, 255]),
        ("/static/inside", "application/octet-stream", &[0, 255]),
        ("/static/empty.css", "text/css; charset=utf-8", b""),
        ("/static/large.png", "image/png", &large),
    ] {
        let (head, body) = fetch(program.addr(), get(target, ""));
        assert_eq!(status(&head), 200, "{target}");
        assert_eq!(header(&head, "Content-Type"), content_type, "{target}");
        assert_eq!(header(&head, "Content-Length"), content.len().to_string(), "{target}");
        assert!(body == content, "{target}: {} bytes differ", body.len());
    }
    root.write("index.html", "<p>second");
    assert_eq!(fetch(program.addr(), get("/", "")).1, b"<p>second");
    fs::remove_file(root.0.join("index.html")).expect("removes");
    assert_eq!(status(&fetch(program.addr(), get("/", "")).0), 404);
}

// Traversal, a directory, a symlink out of the root: 403 or 404; missing: 404.
#[test]
fn nothing_outside_of_the_root_is_served() {
    let top = Directory::new("http-traversal");
    top.write("secret.txt", "SECRET");
    top.write("www/index.html", "<p>inside");
    top.write("www/sub/x.txt", "x");
    top.write("www-2/secret.txt", "SECRET");
    symlink(top.0.join("secret.txt"), top.0.join("www/out.txt")).expect("links");
    symlink(&top.0, top.0.join("www/up")).expect("links");
    symlink("nowhere", top.0.join("www/dangling")).expect("links");
    let www = top.0.join("www");
    let from_disk = Program::start(&["--www", www.to_str().expect("UTF-8")]);
    let embedded = Program::start(&[]);
    let absolute = format!("/static/{}", top.0.join("secret.txt").display());
    for target in [
        "/static/../secret.txt",
        "/static/sub/../../secret.txt",
        "/static/sub/../sub/x.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2E%2E%2Fsecret.txt",
        "/static/..%2fsecret.txt",
        "/static/../www-2/secret.txt",
        "/static/..\\secret.txt",
        "/static/..%5csecret.txt",
        "/static/....//secret.txt",
        "/static/%252e%252e/secret.txt",
        "/static/sub/x.txt%00.html",
        "/static/out.txt",
        "/static/up/secret.txt",
        "/static/dangling",
        "/static/",
        "/static",
        "/static/sub",
        "/static/sub/",
        "/static/.",
        "/static//",
        "/static//secret.txt",
        "/static/%2f",
        "/static/%ff",
        "/static/none",
        "/static/sub/x.txt/y",
        &absolute,
        &absolute.replacen("/static//", "/static/%2F", 1),
    ] {
        for (which, program) in [("--www", &from_disk), ("embedded", &embedded)] {
            let (head, body) = fetch(program.addr(), get(target, ""));
            assert!([403, 404].contains(&status(&head)), "{which} {target}: {head}");
            assert!(!String::from_utf8_lossy(&body).contains("SECRET"), "{which} {target}");
        }
    }
    for target in ["/static/none", "/static/sub/none.txt", "/static/clock.css.gz"] {
        for (which, program) in [("--www", &from_disk), ("embedded", &embedded)] {
            assert_eq!(status(&fetch(program.addr(), get(target, "")).0), 404, "{which} {target}");
        }
    }
    // Otherwise a server without any files would pass.
    assert_eq!(fetch(from_disk.addr(), get("/static/sub/x.txt", "")).1, b"x");
}

// The server does not support ranges, so the whole file comes, as RFC 9110 allows.
#[test]
fn a_range_is_answered_with_the_whole_file() {
    let program = Program::start(&[]);
    let (head, body) = fetch(program.addr(), get("/static/clock.css", "Range: bytes=0-3\r\n"));
    assert_eq!((status(&head), &body[..]), (200, FILES[1].2));
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let program = Program::start(&[]);
    for target in ["/", "/static/clock.js", "/static/none", "/none"] {
        let mut raw = Raw::connect(program.addr());
        raw.send(get(target, "").replacen("GET", "HEAD", 1) + &get(target, ""));
        // A body after the first head would show up as the second one.
        let (of_head, (of_get, body)) = (raw.head(), raw.response());
        let without_date = |head: &str| -> Vec<String> {
            head.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect()
        };
        assert_eq!(without_date(&of_head), without_date(&of_get), "{target}");
        assert_eq!(header(&of_head, "Content-Length"), body.len().to_string(), "{target}");
        assert!(!body.is_empty(), "{target}");
    }
}

#[test]
fn a_client_that_has_the_page_already_gets_304() {
    let root = Directory::new("http-etag");
    root.write("index.html", "<p>first");
    root.write("a.css", "a {}");
    let program = Program::start(&["--www", root.path()]);
    for target in ["/", "/static/a.css"] {
        let (head, page) = fetch(program.addr(), get(target, ""));
        let etag = header(&head, "ETag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");
        let mut raw = Raw::connect(program.addr());
        for (line, expected) in [
            (format!("If-None-Match: {etag}\r\n"), 304),
            (format!("If-None-Match: W/{etag}\r\n"), 304),
            (format!("If-None-Match: \"x\", {etag}\r\n"), 304),
            (format!("If-None-Match: \"x\"\r\nIf-None-Match: {etag}\r\n"), 304),
            ("If-None-Match: *\r\n".to_owned(), 304),
            ("If-None-Match: \"x\"\r\n".to_owned(), 200),
            (format!("If-None-Match: {}\r\n", etag.trim_matches('"')), 200),
            (String::new(), 200),
        ] {
            // All on one connection: a body after a 304 would show up as the next head.
            raw.send(get(target, &line));
            if expected == 304 {
                let head = raw.head();
                assert_eq!(status(&head), 304, "{target} {line}");
                assert_eq!(header(&head, "ETag"), etag, "{target} {line}");
                // RFC 9110, section 8.6: the length that the 200 would have, or none.
                let lengths = header_values(&head, "Content-Length");
                assert!(
                    lengths.iter().all(|length| *length == page.len().to_string()),
                    "{target} {line}: {head}"
                );
            } else {
                let (head, body) = raw.response();
                assert_eq!((status(&head), &body), (200, &page), "{target} {line}");
            }
        }
        raw.send(get(target, &format!("If-None-Match: {etag}\r\n")).replacen("GET", "HEAD", 1));
        assert_eq!(status(&raw.head()), 304, "HEAD {target}");
    }
    let (before, _) = fetch(program.addr(), get("/", ""));
    root.write("index.html", "<p>other");
    let stale = format!("If-None-Match: {}\r\n", header(&before, "ETag"));
    let (after, body) = fetch(program.addr(), get("/", &stale));
    assert_eq!((status(&after), &body[..]), (200, &b"<p>other"[..]));
    assert_eq!(status(&fetch(program.addr(), get("/none", "If-None-Match: *\r\n")).0), 404);
}

#[test]
fn a_connection_is_kept_unless_the_client_wants_it_closed() {
    let program = Program::start(&[]);
    for (case, request, kept) in [
        ("HTTP/1.1", get("/", ""), true),
        ("HTTP/1.1 keep-alive", get("/", "Connection: keep-alive\r\n"), true),
        ("a page that is not there", get("/none", ""), true),
        ("a method that is not allowed", get("/", "").replacen("GET", "DELETE", 1), true),
        ("close", get("/", "Connection: close\r\n"), false),
        ("close in a list, in capitals", get("/", "Connection: foo, CLOSE\r\n"), false),
        ("HTTP/1.0", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned(), false),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(&request);
        let (head, _) = raw.response();
        assert_eq!(header_values(&head, "Connection").contains(&"close"), !kept, "{case}: {head}");
        if kept {
            for _ in 0..3 {
                raw.send(get("/static/clock.css", ""));
                assert_eq!(raw.response().1, FILES[1].2, "{case}");
            }
        } else {
            assert!(raw.is_at_end(), "{case}");
        }
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    let mut requests = String::new();
    for _ in 0..50 {
        requests += &get("/static/clock.css", "");
        requests += &get("/none", "");
        requests += &get("/", "").replacen("GET", "PUT", 1);
    }
    requests += &get("/", "Connection: close\r\n");
    // The server does not read a request after one that closes.
    requests += &get("/static/clock.js", "");
    raw.send(requests);
    for _ in 0..50 {
        assert_eq!(raw.response().1, FILES[1].2);
        assert_eq!(status(&raw.response().0), 404);
        assert_eq!(status(&raw.response().0), 405);
    }
    assert_eq!(raw.response().1, FILES[0].2);
    assert_eq!(raw.rest(), b"");
}

#[test]
fn a_head_that_comes_byte_by_byte_is_read() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    for byte in (get("/", "") + &get("/static/clock.css", "")).bytes() {
        raw.send([byte]);
    }
    assert_eq!(raw.response().1, FILES[0].2);
    assert_eq!(raw.response().1, FILES[1].2);
}

// Also after a page, on a kept connection.
#[test]
fn a_websocket_may_follow_a_page_on_the_same_connection() {
    let program = Program::start(&["--lab"]);
    let mut raw = Raw::connect(program.addr());
    let frames = [masked(0x81, b"early"), masked(0x88, b"")].concat();
    raw.send(
        [get("/static/clock.css", "").into_bytes(), upgrade("/echo?Id=A", "").into_bytes(), frames].concat(),
    );
    assert_eq!(raw.response().1, FILES[1].2);
    assert_eq!(status(&raw.head()), 101);
    assert_eq!(raw.frame(), frame(0x81, "early"));
    assert_eq!(raw.frame(), frame(0x88, ""));
    assert_eq!(raw.rest(), b"");
}

// With upgrade headers, too.
#[test]
fn an_unknown_path_is_404_and_a_method_not_allowed_is_405() {
    let program = Program::start(&[]);
    let no_path =
        ["/none", "/websocket/", "/Websocket", "/websocket%3FId=A", "/index.html", "//", "/echo?Id=A"];
    for method in ["GET", "HEAD", "POST", "OPTIONS", "BREW"] {
        for target in no_path {
            for request in [get(target, ""), upgrade(target, "")] {
                let mut raw = Raw::connect(program.addr());
                raw.send(request.replacen("GET", method, 1));
                let head = raw.head();
                assert_eq!(status(&head), 404, "{method} {target}: {head}");
                assert!(header_values(&head, "Allow").is_empty(), "{method} {target}");
            }
        }
    }
    for (target, allow, others) in [
        ("/", "GET, HEAD, OPTIONS", &["POST", "PUT", "DELETE", "TRACE", "get", "BREW"][..]),
        ("/static/clock.css", "GET, HEAD, OPTIONS", &["POST", "PUT", "DELETE"]),
        ("/static/none", "GET, HEAD, OPTIONS", &["POST"]),
        ("/websocket?Id=A", "GET, OPTIONS", &["HEAD", "POST", "PUT", "DELETE", "get"]),
    ] {
        for method in others {
            for request in [get(target, ""), upgrade(target, "")] {
                let mut raw = Raw::connect(program.addr());
                raw.send(request.replacen("GET", method, 1));
                let head = raw.head();
                assert_eq!(status(&head), 405, "{method} {target}: {head}");
                assert_eq!(header(&head, "Allow"), allow, "{method} {target}");
            }
        }
    }
    let (head, body) = fetch(program.addr(), get("/none", ""));
    assert_eq!(
        (header(&head, "Content-Type"), &body[..]),
        ("text/plain; charset=utf-8", &b"404: Not Found\n"[..])
    );
    let (_, body) = fetch(program.addr(), get("/", "").replacen("GET", "POST", 1));
    assert_eq!(body, b"405: Method Not Allowed\n");
}

#[test]
fn bytes_after_a_body_are_never_read_as_a_second_request() {
    let program = Program::start(&[]);
    let smuggled = get("/static/clock.css", "");
    let length = format!("Content-Length: {}\r\n", smuggled.len());
    // Valid lengths, so that the refusal of a method that may have a body has another reason.
    let plain = [length.as_str(), "content-length: 5\r\n", "Transfer-Encoding: chunked\r\n"];
    let odd = [
        "Content-Length: +0\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x0\r\n",
        "Content-Length: 00\r\n",
        "Content-Length: 0, 0\r\n",
        "Content-Length: 0;\r\n",
        "Content-Length:\r\n",
        "Content-Length: abc\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "transfer-encoding: identity\r\n",
        "Transfer-Encoding: \r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        // Ways to hide a length from one of two readers.
        "Content-Length : 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
    ];
    for lines in plain.into_iter().chain(odd) {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE"] {
            if plain.contains(&lines) && ["POST", "DELETE"].contains(&method) {
                continue;
            }
            for request in [get("/", lines), get("/none", lines), upgrade("/websocket?Id=A", lines)] {
                let mut raw = Raw::connect(program.addr());
                raw.send(request.replacen("GET", method, 1) + &smuggled);
                assert_is_one_last_response(&raw.rest(), 400, &format!("{method} {lines:?}"));
            }
        }
    }
    let (head, body) = fetch(program.addr(), get("/", "Content-Length: 5\r\n"));
    assert_eq!(status(&head), 400);
    assert_eq!(body, b"This server accepts no GET request with a body.\n");
}

#[test]
fn a_request_with_a_length_of_0_is_answered_and_the_next_one_too() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    raw.send(get("/", "Content-Length: 0\r\n") + &get("/static/clock.css", ""));
    assert_eq!(raw.response().1, FILES[0].2);
    assert_eq!(raw.response().1, FILES[1].2);
}

#[test]
fn a_refused_request_in_a_pipeline_ends_it_behind_the_answers_before() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    raw.send(
        get("/static/clock.css", "") + &get("/", "Content-Length: 3\r\n") + &get("/static/clock.js", ""),
    );
    assert_eq!(raw.response().1, FILES[1].2);
    assert_is_one_last_response(&raw.rest(), 400, "the second request");
}

#[test]
fn the_refusal_reaches_a_client_that_is_still_sending_its_body() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    let length = 8 << 20;
    raw.send(get("/", &format!("Content-Length: {length}\r\n")).replacen("GET", "POST", 1));
    raw.send(vec![b'x'; length]);
    assert_is_one_last_response(&raw.rest(), 413, "a large body");
}

// A page over HTTP/1.0 is fine without a `Host`.
#[test]
fn malformed_requests_are_400_and_the_end() {
    let program = Program::start(&[]);
    for (case, request) in [
        ("HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n"),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        (
            "an upgrade without Host",
            "GET /websocket?Id=A HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        ("a space in Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("a user in Host", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),
        ("an address without its end in Host", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
        ("an invalid port in Host", "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
        ("an invalid Host in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n"),
        ("HTTP/2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/0.9", "GET /\r\n"),
        ("no version", "GET / \r\nHost: a\r\n\r\n"),
        ("no words", "hello\r\n\r\n"),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03"),
        ("a space before a colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        ("a NUL in a header", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        ("a bare CR in a header", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        ("a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("a space in the path", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a control character in the path", "GET /a\x07b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(request);
        assert_is_one_last_response(&raw.rest(), 400, case);
    }
    let mut raw = Raw::connect(program.addr());
    raw.send("GET / HTTP/1.0\r\n\r\n");
    assert_is_one_last_response(&raw.rest(), 200, "HTTP/1.0 without Host");
}

/// A request of exactly this many bytes, with `lines` header lines in addition to `Host`.
fn request_of(bytes: usize, lines: usize) -> String {
    let more = "a: b\r\n".repeat(lines - 1);
    let rest = get("/static/clock.css", &format!("{more}x: \r\n")).len();
    get("/static/clock.css", &format!("{more}x: {}\r\n", "x".repeat(bytes - rest)))
}

#[test]
fn a_head_of_16_kib_is_read_and_a_larger_one_is_431() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    for request in [request_of(MAX_HEAD, 1), request_of(MAX_HEAD, 50), request_of(4096, 99)] {
        raw.send(&request);
        assert_eq!(raw.response().1, FILES[1].2, "{} bytes", request.len());
    }
    let text = "The request head is over 16384 bytes or 100 headers.\n";
    for (case, request) in [
        ("a byte more", request_of(MAX_HEAD + 1, 1)),
        ("a header more", request_of(4096, 100)),
        ("a thousand headers", request_of(10_000, 1000)),
        ("a megabyte", request_of(1 << 20, 1)),
        ("a long path", get(&format!("/{}", "x".repeat(MAX_HEAD)), "")),
        ("a head without an end", format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}", "x".repeat(MAX_HEAD))),
        ("a path without an end", format!("GET /{}", "x".repeat(MAX_HEAD))),
        ("an upgrade", upgrade("/websocket?Id=A", &format!("x: {}\r\n", "x".repeat(MAX_HEAD)))),
    ] {
        let mut raw = Raw::connect(program.addr());
        raw.send(request);
        let all = raw.rest();
        assert_is_one_last_response(&all, 431, case);
        assert!(String::from_utf8_lossy(&all).ends_with(text), "{case}");
    }
}

// Bytes that came with the previous head do not count.
#[test]
fn the_limit_is_for_each_head_of_a_pipeline() {
    let program = Program::start(&[]);
    let mut raw = Raw::connect(program.addr());
    // The small one shifts the others off the boundaries of reads.
    let heads = request_of(200, 1) + &request_of(MAX_HEAD, 1).repeat(5);
    raw.send(heads + &request_of(MAX_HEAD + 1, 1) + &get("/", ""));
    for _ in 0..6 {
        assert_eq!(raw.response().1, FILES[1].2);
    }
    assert_is_one_last_response(&raw.rest(), 431, "the seventh");
}

// 10 s in total, whatever the rate of the bytes.
#[test]
fn a_head_that_takes_10_s_ends_its_connection_and_a_websocket_outlives_it() {
    let program = Program::start(&["--ping-interval", "off"]);
    let addr = program.addr();
    let page = get("/static/clock.css", "");
    let unfinished = "GET / HTTP/1.1\r\nHost: a\r\n";
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            let mut socket = Raw::websocket(addr, "/websocket?Id=A");
            while start.elapsed() < HEAD_DEADLINE + TICK {
                assert_eq!(socket.frame().first, 0x81);
            }
            assert_eq!(socket.frame().first, 0x81);
        });
        for (case, first, answers, drip) in [
            ("no byte", String::new(), 0, false),
            ("half a head", unfinished.to_owned(), 0, false),
            ("one byte a second", unfinished.to_owned(), 0, true),
            ("half an upgrade", upgrade("/websocket?Id=A", "")[..80].to_owned(), 0, false),
            ("nothing behind a response", page.clone(), 1, false),
            ("half a head behind two responses", page.repeat(2) + unfinished, 2, false),
            ("one byte a second behind a response", page.clone() + unfinished, 1, true),
        ] {
            scope.spawn(move || {
                let start = Instant::now();
                let mut raw = Raw::connect(addr);
                raw.send(&first);
                for _ in 0..answers {
                    assert_eq!(raw.response().1, FILES[1].2, "{case}");
                }
                if drip {
                    raw.stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a read timeout");
                    loop {
                        raw.send("x");
                        match raw.stream.read(&mut [0]) {
                            Ok(0) => break,
                            Err(error)
                                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                            other => panic!("{case}: {other:?}"),
                        }
                        assert!(start.elapsed() < DEADLINE, "{case}: waited for the end");
                    }
                } else {
                    assert!(raw.is_at_end(), "{case}");
                }
                let took = start.elapsed();
                assert!(took >= HEAD_DEADLINE - TICK, "{case}: ended after {took:?}");
            });
        }
    });
}

#[test]
fn half_open_connections_disturb_nobody() {
    // A quarter of the capacity is for half-open connections.
    let program = Program::start(&["--lab", "--max-clients", "1000"]);
    let addr = program.addr();
    let mut talking = Raw::websocket(addr, "/echo?Id=A");
    let start = Instant::now();
    let unfinished = ["", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r"];
    let mut half_open: Vec<Raw> = (0..200)
        .map(|n| {
            let mut raw = Raw::connect(addr);
            raw.send(unfinished[n % unfinished.len()]);
            raw
        })
        .collect();
    assert_eq!(fetch(addr, get("/", "")).1, FILES[0].2);
    talking.send_frame(0x81, "still here");
    assert_eq!(talking.frame(), frame(0x81, "still here"));
    assert_eq!(status(&fetch(addr, upgrade("/echo?Id=B", "")).0), 101);
    let took = start.elapsed();
    assert!(took < HEAD_DEADLINE - TICK, "the others were waited for: {took:?}");
    // They were waiting all the time, and get answers when they continue.
    for (n, raw) in half_open.iter_mut().enumerate() {
        let sent = unfinished[n % unfinished.len()];
        let whole = get("/", "");
        match whole.strip_prefix(sent) {
            Some(rest) => raw.send(rest),
            None => panic!("{sent:?} does not begin a request"),
        }
    }
    for (n, raw) in half_open.iter_mut().enumerate() {
        assert_eq!(raw.response().1, FILES[0].2, "{:?}", unfinished[n % unfinished.len()]);
    }
}

/// A page made of a function.
struct Page(fn(&mut Exchange<'_>) -> Result<()>);

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        (self.0)(exchange)
    }
}

/// Answers with its name.
struct Named(&'static str);

impl RequestHandler for Named {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write(self.0);
        Ok(())
    }
}

#[test]
fn pages_below_a_prefix_answer_where_no_other_route_does() {
    let application = Application::new()
        .pages("/", || Named("all"))
        .pages("/a/", || Named("below"))
        .page("/a/exact", || Named("exact"));
    let server = Server::bind("127.0.0.1:0", application).unwrap();
    for (path, name) in [
        ("/", "all"),
        ("/x/y?z", "all"),
        ("/a", "all"),
        ("/a/", "below"),
        ("/a/b/c", "below"),
        ("/a/exact", "exact"),
    ] {
        let (head, body) = fetch(server.local_addr(), get(path, ""));
        assert_eq!((status(&head), body.as_slice()), (200, name.as_bytes()), "{path}");
    }
}

// The request is a 500, and the connection continues.
#[test]
fn a_page_that_fails_or_panics_is_a_500_and_one_that_refuses_says_why() {
    let application = Application::new()
        .page("/panics", || Page(|_| panic!("a page that panics on purpose")))
        .page("/fails", || Page(|_| Err(Error::invalid("for the log only"))))
        .page("/refuses", || Page(|_| Err(Error::refused(410, "Gone for good"))))
        .page("/injects", || Page(|exchange| exchange.set_header("X", "a\r\nSet-Cookie: b=c")))
        .page("/owns", || Page(|exchange| exchange.set_header("Content-Length", "3")))
        .page("/created", || {
            Page(|exchange| {
                exchange.set_status(201);
                exchange.set_header("Content-Type", "application/json; charset=utf-8")?;
                exchange.set_header("X-Answer", "42")?;
                exchange.write("[1,");
                exchange.write([b'2', b']']);
                Ok(())
            })
        });
    let server = Server::bind("127.0.0.1:0", application).expect("binds");
    let mut raw = Raw::connect(server.local_addr());
    for (target, expected, text) in [
        ("/panics", 500, "Internal Server Error\n"),
        ("/fails", 500, "Internal Server Error\n"),
        ("/refuses", 410, "Gone for good\n"),
        ("/injects", 500, "Internal Server Error\n"),
        ("/owns", 500, "Internal Server Error\n"),
        ("/created", 201, "[1,2]"),
    ] {
        raw.send(get(target, ""));
        let (head, body) = raw.response();
        assert_eq!((status(&head), &*String::from_utf8_lossy(&body)), (expected, text), "{target}");
        assert!(header_values(&head, "Set-Cookie").is_empty(), "{target}: {head}");
        if expected == 201 {
            assert_eq!(header(&head, "Content-Type"), "application/json; charset=utf-8");
            assert_eq!(header(&head, "X-Answer"), "42");
        }
    }
}
