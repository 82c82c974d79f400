use super::*;

fn request(lines: &str) -> Box<Request> {
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    Request::parse(head.as_bytes(), ([127, 0, 0, 1], 1).into()).unwrap().unwrap().0
}

fn head(response: &Response, then: Then) -> String {
    String::from_utf8(response.head(then).unwrap()).unwrap()
}

/// Returns the bytes after the head.
fn body(response: &Response, request: Option<&Request>) -> Vec<u8> {
    let mut written = Vec::new();
    let wrote = response.write_to(b"head".to_vec(), request, |piece| {
        written.extend_from_slice(piece);
        Ok(())
    });
    wrote.unwrap();
    written.split_off(4)
}

#[test]
fn a_response_has_a_length_a_date_and_a_body_that_head_leaves_out() {
    let mut response = Response::ok();
    response.body.write(b"hello");
    let head_with = |then| head(&response, then);
    let full = head_with(Then::KeepAlive);
    assert!(full.starts_with("HTTP/1.1 200 OK\r\n") && full.ends_with("\r\n\r\n"), "{full}");
    for line in
        ["\r\nContent-Length: 5\r\n", "\r\nDate: ", "\r\nServer: threadcast/", "text/html; charset=utf-8"]
    {
        assert!(full.contains(line), "{line} in {full}");
    }
    assert!(!full.contains("Connection"));
    assert!(head_with(Then::Close).starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"));
    let get = request("");
    let as_head = Request::parse(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", get.peer_addr()).unwrap().unwrap().0;
    assert_eq!(body(&response, Some(&get)), b"hello");
    assert_eq!(body(&response, None), b"hello");
    assert_eq!(body(&response, Some(&as_head)), b"");
}

#[test]
fn a_large_body_is_not_chunked() {
    let mut response = Response::ok();
    response.body.write(&[b'x'; 100_000]);
    assert!(head(&response, Then::KeepAlive).contains("\r\nContent-Length: 100000\r\n"));
}

#[test]
fn if_none_match_as_a_table() {
    let page = || {
        let mut page = Response::ok();
        page.body.write(b"page");
        page
    };
    let tagged = page().with_etag(&request(""));
    let etag = &tagged.headers.iter().find(|(name, _)| name == "ETag").unwrap().1;
    for (line, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{etag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (String::new(), 200),
    ] {
        let response = page().with_etag(&request(&line));
        assert_eq!(response.status, status, "{line}");
        assert!(head(&response, Then::KeepAlive).contains("Content-Length: 4\r\n"));
        let expected: &[u8] = if status == 200 { b"page" } else { b"" };
        assert_eq!(body(&response, Some(&request(&line))), expected, "{line}");
    }
    assert_eq!(Response::refusal(404, "x").with_etag(&request("If-None-Match: *\r\n")).status, 404);
}

#[test]
fn a_header_cannot_begin_another_one() {
    let response = Response::ok().with("X", "a\r\nSet-Cookie: b");
    assert!(response.head(Then::Close).unwrap_err().to_string().contains("cannot carry"));
}

#[test]
fn a_204_has_no_length_and_cannot_have_a_body() {
    for (status, length) in [(204, ""), (205, "Content-Length: 0\r\n"), (200, "Content-Length: 0\r\n")] {
        let mut response = Response { status, ..Response::ok() };
        let head = head(&response, Then::Close);
        assert_eq!(head.contains("Content-Length"), !length.is_empty(), "{head}");
        assert!(head.contains(length) && head.ends_with("\r\n\r\n"), "{head}");
        response.body.write(b"x");
        assert_eq!(response.head(Then::Close).is_ok(), status == 200, "{status}");
    }
}

#[test]
fn neither_an_error_nor_debug_shows_a_headers_value() {
    let response = Response::ok().with("Set-Cookie", "who=SECRET\n");
    let error = response.head(Then::Close).unwrap_err().to_string();
    assert!(error.contains("Set-Cookie") && !error.contains("SECRET"), "{error}");
    let debug = format!("{response:?}");
    assert!(debug.contains("Set-Cookie") && !debug.contains("SECRET"), "{debug}");
}
