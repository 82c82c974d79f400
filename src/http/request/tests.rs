use proptest::prelude::*;

use super::*;

fn parse(head: &str) -> Result<Option<(Request, usize)>> {
    Request::parse(head.as_bytes(), ([127, 0, 0, 1], 1).into())
}

fn get(target: &str) -> Request {
    parse(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap().unwrap().0
}

#[test]
fn arguments_as_a_table() {
    let table: &[(&str, Result<&str, &str>)] = &[
        ("/w?Id=A", Ok("A")),
        ("/w?Id=A&Id=B", Ok("B")),
        ("/w?Id=a+b%20c", Ok("a b c")),
        ("/w?Id=%E4%BD%A0", Ok("你")),
        ("/w?Id=++a%20", Ok("a")),
        ("/w?id=A", Err("HTTP 400: Missing argument Id")),
        ("/w", Err("HTTP 400: Missing argument Id")),
        ("/w?Id=", Ok("")),
        ("/w?Id", Ok("")),
        ("/w?Id=a;x=1", Ok("a;x=1")),
        ("/w?Id=a%zzb%", Ok("a%zzb%")),
        ("/w?Id=%ff", Err("HTTP 400: Invalid unicode in Id")),
        ("/w?Id=a%00b%0Ac", Ok("a b\nc")),
        ("/w?%49d=A", Ok("A")),
        ("/w?Id=a=b?c", Ok("a=b?c")),
        ("http://h/w?Id=A", Ok("A")),
    ];
    for (target, expected) in table {
        let value = get(target).get_argument("Id").map_err(|e| e.to_string());
        assert_eq!(value.as_deref().map_err(String::as_str), *expected, "{target}");
    }
    assert_eq!(get("/w?a=1&b=2&a=3").get_arguments("a").unwrap(), ["1", "3"]);
    assert_eq!(get("/w").get_argument_or("a", "7").unwrap(), "7");
}

#[test]
fn paths_as_a_table() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a/b?c=d?e", "/a/b", "c=d?e"),
        ("http://h:1/a?b", "/a", "b"),
        ("http://h", "/", ""),
        ("http://h?x", "", "x"),
        ("/a?u=http://x/", "/a", "u=http://x/"),
        ("*", "*", ""),
    ] {
        let request = get(target);
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
    }
}

#[test]
fn refused_heads_as_a_table() {
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS));
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        ("hello\r\n\r\n", 400),
        ("\x16\x03\x01", 400),
        (&long, 431),
        (&long[..MAX_HEAD], 431),
        (&many, 431),
    ] {
        match parse(head) {
            Err(Error::Refused { status: got, .. }) => assert_eq!(got, status, "{head:.60}"),
            other => panic!("{head:.60}: {other:?}"),
        }
    }
    assert!(parse("GET / HTTP/1.1\r\nHost: a\r\n").unwrap().is_none());
    assert!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    assert!(parse("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap().is_some());
}

#[test]
fn same_origin_as_a_table() {
    for (host, origin, same) in [
        ("a:8888", "http://a:8888", true),
        ("a:8888", "HTTP://A:8888", true),
        ("a:8888", "http://a", false),
        ("a:8888", "http://a:8888.evil", false),
        ("a:8888", "http://evil/a:8888", false),
        ("a:8888", "a:8888", false),
        ("a:8888", "null", false),
        ("a:8888", "", false),
        ("a", "https://a", true),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = parse(&head).unwrap().unwrap().0;
        assert_eq!(request.is_same_origin(origin), same, "{origin} at {host}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_head_a_refusal_or_unfinished(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Request::parse(&bytes, ([127, 0, 0, 1], 1).into());
    }

    #[test]
    fn any_query_gives_back_what_was_encoded(name in "[a-zA-Z]{1,8}", value in "\\PC{0,40}") {
        let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
        let request = get(&format!("/w?{name}={encoded}"));
        prop_assert_eq!(request.get_argument(&name).unwrap(), value.trim());
    }

    #[test]
    fn a_head_cut_anywhere_is_unfinished(cut in 0usize..52) {
        let head = "GET /websocket?Id=A HTTP/1.1\r\nHost: localhost:8888\r\n\r\n";
        prop_assert!(parse(&head[..cut]).unwrap().is_none());
    }
}
