//! `tests/BEHAVIOUR.md`, *Responses*: files that are sent in pieces, refusals with headers, redirects, statuses.

use crate::support;

use std::fs::{self, File};

use rustix::fs::{CWD, FileType, Mode};
use threadcast::{
    Application, Connection, Error, Exchange, Message, RequestHandler, Result, Server, StaticFiles,
    WebSocketHandler,
};

use support::{Directory, Program, Raw, eventually, fetch, get, header_values, status, upgrade};

const MIB: u64 = 1 << 20;

/// A directory with a page.
fn directory(name: &str) -> Directory {
    let directory = Directory::new(name);
    directory.write("index.html", "<p>page");
    directory
}

/// A file without blocks on the disk.
fn sparse(directory: &Directory, name: &str, length: u64) -> File {
    let file = File::create(directory.0.join(name)).expect("creates a file");
    file.set_len(length).expect("sets its length");
    file
}

fn serve(directory: &Directory) -> Program {
    Program::start(&["--www", directory.path()])
}

/// The peak memory of a process, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("is alive");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("has a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// Bytes that a process has read from files and sockets.
fn read_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("is alive");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("counts");
    line.parse().expect("a number")
}

#[test]
fn a_large_file_is_sent_in_pieces_and_head_and_304_read_nothing_of_it() {
    let root = directory("responses-large");
    sparse(&root, "large", 300 * MIB);
    let program = serve(&root);
    let addr = program.addr();
    let page = get("/static/large", "");
    fetch(addr, get("/", ""));
    let (peak_before, read_before) = (peak(program.pid()), read_bytes(program.pid()));
    let mut slow: Vec<Raw> = (0..20).map(|_| Raw::connect(addr)).collect();
    for raw in &mut slow {
        raw.send(&page);
        let head = raw.head();
        assert_eq!(header_values(&head, "Content-Length"), [(300 * MIB).to_string()], "{head}");
    }
    let mut whole = Raw::connect(addr);
    whole.send(&page);
    let head = whole.head();
    let etag = header_values(&head, "ETag")[0].to_owned();
    for mebibyte in 0..300 {
        let piece = whole.take(MIB as usize, "the file");
        assert!(piece.iter().all(|byte| *byte == 0), "{mebibyte}");
    }
    let grown = peak(program.pid()) - peak_before;
    assert!(grown < 8 * MIB, "{grown} bytes for 21 clients of a file of 300 MiB");
    let read_for_get = read_bytes(program.pid()) - read_before;
    assert!(read_for_get >= 300 * MIB, "the file has been read: {read_for_get}");
    drop(slow);
    let read_before = read_bytes(program.pid());
    whole.send(page.replacen("GET", "HEAD", 1));
    assert_eq!(header_values(&whole.head(), "ETag"), [&etag]);
    whole.send(get("/static/large", &format!("If-None-Match: {etag}\r\n")));
    assert_eq!(status(&whole.head()), 304);
    let read = read_bytes(program.pid()) - read_before;
    assert!(read < 256 << 10, "{read} bytes read for a HEAD and a 304");
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection_and_one_that_grows_is_cut() {
    let root = directory("responses-shrinks");
    for (name, becomes, whole) in [("shrinks", 20 * MIB, false), ("grows", 90 * MIB, true)] {
        let file = sparse(&root, name, 64 * MIB);
        let program = serve(&root);
        let mut raw = Raw::connect(program.addr());
        // Both at once: the bytes after a file that has shrunk are not a second response.
        raw.send(get(&format!("/static/{name}"), "") + &get("/", "Connection: close\r\n"));
        assert_eq!(header_values(&raw.head(), "Content-Length"), [(64 * MIB).to_string()]);
        file.set_len(becomes).expect("sets its length");
        let rest = raw.rest();
        if whole {
            assert!(rest[64 * MIB as usize..].starts_with(b"HTTP/1.1 200 OK\r\n"), "{name}");
        } else {
            assert!((rest.len() as u64) < 64 * MIB, "{name}: {}", rest.len());
            assert!(rest.iter().all(|byte| *byte == 0), "{name}");
        }
    }
}

#[test]
fn a_pipe_in_the_directory_is_403_and_blocks_nobody() {
    let root = directory("responses-pipe");
    let pipe = root.0.join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("makes a pipe");
    let program = serve(&root);
    assert_eq!(status(&fetch(program.addr(), get("/static/pipe", "")).0), 403);
    let files = StaticFiles::directory(&root.0).expect("is a directory");
    assert!(matches!(files.read("pipe"), Err(Error::Refused { status: 403, .. })));
    assert_eq!(files.read("index.html").expect("is a file").as_ref(), b"<p>page");
}

/// A page, or a WebSocket's `open`, made of a function.
struct Does(fn(&mut Exchange<'_>) -> Result<()>);

impl RequestHandler for Does {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        (self.0)(exchange)
    }
}

impl WebSocketHandler for Does {
    fn open(&mut self, _: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        (self.0)(exchange)
    }
    fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
        Ok(())
    }
}

/// A server with this function as the page `/page` and as the WebSocket `/ws`.
fn does(function: fn(&mut Exchange<'_>) -> Result<()>) -> Server {
    let application =
        Application::new().page("/page", move || Does(function)).websocket("/ws", move || Does(function));
    Server::bind("127.0.0.1:0", application).expect("binds")
}

#[test]
fn a_refusal_keeps_the_headers_and_cookies_that_were_set_before_it() {
    let server = does(|exchange| {
        exchange.set_header("WWW-Authenticate", "Basic")?;
        exchange.set_header("Retry-After", "5")?;
        exchange.set_header("Content-Type", "application/json")?;
        exchange.set_header("ETag", "\"of the page\"")?;
        exchange.set_cookie("tried", "1")?;
        let refused = Error::refused(401, "Who are you?").with_header("X-Reason", "no name");
        Err(refused.with_header("retry-after", "9").with_header("Set-Cookie", "more=1"))
    });
    for request in [get("/page", ""), upgrade("/ws", "")] {
        let (head, body) = fetch(server.local_addr(), &request);
        assert_eq!((status(&head), &body[..]), (401, &b"Who are you?\n"[..]), "{head}");
        for (name, values) in [
            ("WWW-Authenticate", &["Basic"][..]),
            ("Retry-After", &["9"]),
            ("X-Reason", &["no name"]),
            ("Content-Type", &["text/plain; charset=utf-8"]),
            ("ETag", &[]),
            ("Set-Cookie", &["tried=1; HttpOnly; SameSite=Lax; Path=/", "more=1"]),
        ] {
            assert_eq!(header_values(&head, name), values, "{request}: {head}");
        }
    }
}

#[test]
fn a_failure_or_a_panic_keeps_no_header() {
    for function in [
        (|exchange| {
            exchange.set_cookie("half", "done")?;
            Err(std::io::Error::other("the disk is full").into())
        }) as fn(&mut Exchange<'_>) -> Result<()>,
        |exchange| {
            exchange.set_cookie("half", "done")?;
            panic!("a handler that panics on purpose");
        },
        |exchange| {
            exchange.set_cookie("half", "done")?;
            Err(Error::refused(401, "x").with_header("Content-Length", "3"))
        },
        |exchange| {
            exchange.set_cookie("half", "done")?;
            Err(Error::refused(401, "x").with_header("X", "a\r\nY: b"))
        },
    ] {
        let server = does(function);
        for request in [get("/page", ""), upgrade("/ws", "")] {
            let (head, body) = fetch(server.local_addr(), &request);
            assert_eq!((status(&head), &body[..]), (500, &b"Internal Server Error\n"[..]), "{head}");
            assert!(header_values(&head, "Set-Cookie").is_empty(), "{request}: {head}");
        }
    }
}

#[test]
fn an_invalid_status_is_a_500_and_a_204_has_no_body() {
    type Row = (fn(&mut Exchange<'_>) -> Result<()>, u16, &'static [&'static str]);
    let table: [Row; 8] = [
        (
            |exchange| {
                exchange.set_status(100);
                Ok(())
            },
            500,
            &["22"],
        ),
        (
            |exchange| {
                exchange.set_status(101);
                Ok(())
            },
            500,
            &["22"],
        ),
        (
            |exchange| {
                exchange.set_status(600);
                Ok(())
            },
            500,
            &["22"],
        ),
        (|_| Err(Error::refused(302, "moved")), 500, &["22"]),
        (
            |exchange| {
                exchange.set_status(204);
                Ok(())
            },
            204,
            &[],
        ),
        (
            |exchange| {
                exchange.set_status(205);
                Ok(())
            },
            205,
            &["0"],
        ),
        (
            |exchange| {
                exchange.set_status(599);
                Ok(())
            },
            599,
            &["0"],
        ),
        (
            |exchange| {
                exchange.write("a body");
                exchange.set_status(204);
                Ok(())
            },
            500,
            &["22"],
        ),
    ];
    for (row, (function, expected, length)) in table.into_iter().enumerate() {
        let server = does(function);
        let mut raw = Raw::connect(server.local_addr());
        // Both at once: the first response must end before the second.
        raw.send(get("/page", "") + &get("/none", ""));
        let (head, _) = raw.response();
        assert_eq!(status(&head), expected, "row {row}: {head}");
        assert_eq!(header_values(&head, "Content-Length"), length, "row {row}: {head}");
        assert_eq!(status(&raw.head()), 404, "row {row}");
    }
}

#[test]
fn an_open_that_sets_a_status_or_a_body_is_a_500() {
    for function in [
        (|exchange| {
            exchange.set_status(201);
            Ok(())
        }) as fn(&mut Exchange<'_>) -> Result<()>,
        |exchange| {
            exchange.write("a body");
            Ok(())
        },
        |exchange| exchange.redirect("/moved"),
        |exchange| exchange.render(&StaticFiles::Embedded(&[("a", b"a")]), "a"),
    ] {
        let server = does(function);
        let (head, body) = fetch(server.local_addr(), upgrade("/ws", ""));
        assert_eq!((status(&head), &body[..]), (500, &b"Internal Server Error\n"[..]), "{head}");
    }
}

#[test]
fn redirects_as_a_table() {
    type Row = (fn(&mut Exchange<'_>) -> Result<()>, u16, &'static [&'static str]);
    let table: [Row; 9] = [
        (|exchange| exchange.redirect("/new?a=b"), 302, &["/new?a=b"]),
        (|exchange| exchange.redirect("https://other.test/%20"), 302, &["https://other.test/%20"]),
        (|exchange| exchange.redirect_with(301, "/for/good"), 301, &["/for/good"]),
        (|exchange| exchange.redirect_with(303, "see"), 303, &["see"]),
        (|exchange| exchange.redirect_with(308, "/x"), 308, &["/x"]),
        (|exchange| exchange.redirect_with(304, "/x"), 500, &[]),
        (|exchange| exchange.redirect_with(200, "/x"), 500, &[]),
        (|exchange| exchange.redirect("/a b"), 500, &[]),
        (|exchange| exchange.redirect("/a\r\nSet-Cookie: b=c"), 500, &[]),
    ];
    for (function, expected, location) in table {
        let server = does(function);
        let (head, _) = fetch(server.local_addr(), get("/page", ""));
        assert_eq!(status(&head), expected, "{head}");
        assert_eq!(header_values(&head, "Location"), location, "{head}");
    }
}

// A file's tag covers its directory entry, the embedded page's its content.
#[test]
fn a_tag_changes_with_the_file_and_only_then() {
    let root = directory("responses-tag");
    let path = root.0.join("a.css");
    fs::write(&path, "a {}").expect("writes");
    let program = serve(&root);
    let tag = || header_values(&fetch(program.addr(), get("/static/a.css", "")).0, "ETag")[0].to_owned();
    let first = tag();
    assert_eq!(tag(), first);
    // The clock of file times ticks every few milliseconds.
    eventually("another file of the same length has another tag", || {
        fs::write(&path, "b {}").expect("writes");
        tag() != first
    });
    let embedded = Program::start(&[]);
    let tags =
        || header_values(&fetch(embedded.addr(), get("/static/clock.css", "")).0, "ETag")[0].to_owned();
    assert_eq!(tags(), tags());
}
