use proptest::prelude::*;

use super::*;

fn parse(head: &str) -> Result<Option<(Box<Request>, usize)>> {
    Request::parse(head.as_bytes(), ([127, 0, 0, 1], 1).into())
}

fn get(target: &str) -> Box<Request> {
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
        ("http://h?x", "/", "x"),
        ("/a?u=http://x/", "/a", "u=http://x/"),
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
        ("GET *://a/stats HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
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
fn hosts_as_a_table() {
    for (host, valid) in [
        ("", true),
        ("a", true),
        ("a:", true),
        ("A.test:65535", true),
        ("[::1]:80", true),
        ("[fe80::1%lo]", true),
        ("[fe80::1%25lo]:80", true),
        ("[fe80::1%]", false),
        ("127.0.0.1", true),
        ("a_b-c.test", true),
        ("a b", false),
        ("u@h", false),
        ("[::1", false),
        ("::1", false),
        ("[a]", false),
        ("a:x", false),
        ("a:65536", false),
        ("a:-1", false),
        ("a:80:80", false),
        ("a/b", false),
        ("http://a", false),
        ("a?b", false),
        ("a#b", false),
        ("a\\b", false),
        ("b\u{fc}cher", false),
    ] {
        for version in ["1.0", "1.1"] {
            let parsed = parse(&format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n"));
            let status = match parsed {
                Ok(_) => None,
                Err(Error::Refused { status, .. }) => Some(status),
                Err(other) => panic!("{host}: {other}"),
            };
            assert_eq!(status, if valid { None } else { Some(400) }, "{host} in {version}");
        }
    }
}

#[test]
fn same_origin_as_a_table() {
    for (host, origin, same) in [
        ("a:8888", "http://a:8888", true),
        ("a:8888", "HTTP://A:8888", true),
        ("A:8888", "http://a:8888", true),
        ("a:8888", "http://a", false),
        ("a:8888", "http://a:8888.evil", false),
        ("a:8888", "http://evil/a:8888", false),
        ("a:8888", "http://a:8888/", false),
        ("a:8888", "http://a:8888@evil", false),
        ("a:8888", "http://evil@a:8888", false),
        ("a:8888", "a:8888", false),
        ("a:8888", "//a:8888", false),
        ("a:8888", "null", false),
        ("a:8888", "", false),
        ("me.test", "https://me.test", true),
        ("me.test", "http://me.test", true),
        ("me.test:443", "https://me.test", true),
        ("me.test", "https://me.test:443", true),
        ("me.test:443", "http://me.test", false),
        ("me.test", "http://me.test:443", false),
        ("me.test:80", "https://me.test", false),
        ("[::1]:1", "http://[0:0::1]:1", true),
        ("", "http://", false),
        ("", "http:///", false),
        ("", "null", false),
        ("", "", false),
        ("", "http://:80", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = parse(&head).unwrap().unwrap().0;
        assert_eq!(request.is_same_origin(origin), same, "{origin} at {host}");
    }
    assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().unwrap().0.is_same_origin("http://a"), "no Host");
}

// RFC 9112, section 3.2.2.
#[test]
fn the_authority_of_a_url_is_the_host() {
    for (target, host, expected) in [
        ("/x", "Host: other.test", "other.test"),
        ("http://me.test/x", "Host: other.test", "me.test"),
        ("HTTPS://Me.test:8443", "Host: other.test", "Me.test:8443"),
        ("http://me.test/x", "Host:", "me.test"),
    ] {
        let request = parse(&format!("GET {target} HTTP/1.1\r\n{host}\r\n\r\n")).unwrap().unwrap().0;
        assert_eq!(request.header("Host").as_deref(), Some(expected), "{target}");
        assert!(request.is_same_origin(&format!("http://{expected}")), "{target}");
        assert_eq!(request.is_same_origin("http://other.test"), expected == "other.test", "{target}");
    }
    let old = parse("GET http://me.test/x HTTP/1.0\r\n\r\n").unwrap().unwrap().0;
    assert_eq!(old.header("Host").as_deref(), Some("me.test"), "HTTP/1.0 without Host");
}

#[test]
fn the_scheme_of_an_origin_counts_where_ours_is_known() {
    for (proto, http, https) in [("", true, true), ("http", true, false), ("https", false, true)] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
        let mut request = parse(&head).unwrap().unwrap().0;
        request.trust(&[request.peer_addr().ip().into()]);
        let same = ["http://a", "https://a"].map(|origin| request.is_same_origin(origin));
        assert_eq!(same, [http, https], "{proto}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let lines = "Cookie: who=SECRET\r\nAuthorization: Bearer SECRET\r\nX-Api-Key: SECRET\r\n\
                 Sec-WebSocket-Protocol: SECRET\r\n";
    let head = format!("GET /path?token=SECRET HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    let shown = format!("{:?}", parse(&head).unwrap().unwrap().0);
    assert!(!shown.contains("SECRET"), "{shown}");
    for part in ["GET", "/path", "authorization", "127.0.0.1:1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_head_a_refusal_or_unfinished(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Request::parse(&bytes, ([127, 0, 0, 1], 1).into());
    }

    #[test]
    fn any_argument_is_read_as_it_was_encoded(name in "[a-zA-Z]{1,8}", value in "\\PC{0,40}") {
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
