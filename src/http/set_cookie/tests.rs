use super::*;

const NOW: u64 = 1_300_000_000;

#[test]
fn lines_as_a_table() {
    let new = CookieAttributes::new;
    let table = [
        (new(), None, "HttpOnly; SameSite=Lax; Path=/"),
        (new(), Some(30), "HttpOnly; SameSite=Lax; Path=/; Expires=Tue, 12 Apr 2011 07:06:40 GMT"),
        (
            new().expires_days(0),
            Some(30),
            "HttpOnly; SameSite=Lax; Path=/; Expires=Sun, 13 Mar 2011 07:06:40 GMT",
        ),
        (new().until_the_browser_closes(), Some(30), "HttpOnly; SameSite=Lax; Path=/"),
        (
            new().path("/a").domain("b.test").secure().readable_by_scripts().same_site(SameSite::None),
            None,
            "SameSite=None; Path=/a; Domain=b.test; Secure",
        ),
        (new().same_site(SameSite::Strict), None, "HttpOnly; SameSite=Strict; Path=/"),
    ];
    for (attributes, usual, expected) in table {
        assert_eq!(attributes.line("k", "v", usual, NOW).unwrap(), format!("k=v; {expected}"));
    }
    let cleared = new().clearing_line("k", NOW).unwrap();
    assert_eq!(cleared, "k=; HttpOnly; SameSite=Lax; Path=/; Expires=Sat, 13 Mar 2010 07:06:40 GMT");
    assert!(new().expires_days(u32::MAX).line("k", "v", None, NOW).is_err(), "past the last date");
}

#[test]
fn an_invalid_cookie_is_an_error_that_names_it() {
    let new = CookieAttributes::new;
    for (name, value, attributes, part) in [
        ("", "v", new(), "name"),
        ("a b", "v", new(), "name"),
        ("a;b", "v", new(), "name"),
        ("k", "a b", new(), "the value of cookie k"),
        ("k", "a;b", new(), "the value of cookie k"),
        ("k", "é", new(), "the value of cookie k"),
        ("k", "\n", new(), "the value of cookie k"),
        ("k", "v", new().path(""), "path of cookie k"),
        ("k", "v", new().path("a"), "path of cookie k"),
        ("k", "v", new().path("/; Domain=evil.test"), "path of cookie k"),
        ("k", "v", new().domain(""), "domain of cookie k"),
        ("k", "v", new().domain("b.test:80"), "domain of cookie k"),
        ("k", "v", new().domain("b.test; Secure"), "domain of cookie k"),
        ("k", "v", new().same_site(SameSite::None), "Secure"),
        ("k", "v", new().path(format!("/{}", "a".repeat(1024))), "over 1024 bytes"),
        ("k", "v", new().domain("a".repeat(1025)), "over 1024 bytes"),
        ("__Host-k", "v", new(), "Secure, with Path=/, without a domain"),
        ("__host-k", "v", new(), "cookie __host-k"),
        ("__Host-k", "v", new().secure().domain("b.test"), "Secure, with Path=/, without a domain"),
        ("__Host-k", "v", new().secure().path("/a"), "Secure, with Path=/, without a domain"),
        ("__Secure-k", "v", new(), "has to be Secure"),
        ("__SECURE-k", "v", new(), "has to be Secure"),
        ("__Http-k", "v", new().secure().readable_by_scripts(), "Secure, HttpOnly"),
        ("__Http-k", "v", new(), "Secure, HttpOnly"),
        ("__Host-Http-k", "v", new().secure().readable_by_scripts(), "HttpOnly, with Path=/"),
    ] {
        let error = attributes.line(name, value, None, NOW).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_name_that_demands_something_is_fine_with_it() {
    let secure = || CookieAttributes::new().secure();
    for (name, attributes) in [
        ("__Host-k", secure()),
        ("__Host-k", secure().readable_by_scripts()),
        ("__Secure-k", secure().path("/a").domain("b.test")),
        ("__Http-k", secure().path("/a")),
        ("__Host-Http-k", secure()),
        ("__Hostk", CookieAttributes::new()),
        ("_Host-k", CookieAttributes::new()),
    ] {
        attributes.line(name, "v", None, NOW).unwrap();
    }
}

#[test]
fn name_and_value_have_4096_bytes_at_most() {
    let line = |name: &str, length: usize| CookieAttributes::new().line(name, &"v".repeat(length), None, NOW);
    line("k", 4095).unwrap();
    line("name", 4092).unwrap();
    for (name, length) in [("k", 4096), ("name", 4093), (&"k".repeat(4097), 0)] {
        let error = line(name, length).unwrap_err().to_string();
        assert!(error.contains("4096 is the most") && error.len() < 300, "{error}");
    }
}

#[test]
fn a_clearing_cookie_has_the_attributes_that_its_name_demands() {
    let new = CookieAttributes::new;
    let expires = "Expires=Sat, 13 Mar 2010 07:06:40 GMT";
    for (name, attributes, expected) in [
        ("__Host-sid", new(), "HttpOnly; SameSite=Lax; Path=/; Secure"),
        ("__host-sid", new().path("/a").domain("b.test"), "HttpOnly; SameSite=Lax; Path=/; Secure"),
        ("__Secure-sid", new().path("/a"), "HttpOnly; SameSite=Lax; Path=/a; Secure"),
        ("__Http-sid", new().readable_by_scripts(), "HttpOnly; SameSite=Lax; Path=/; Secure"),
        ("sid", new().path("/a"), "HttpOnly; SameSite=Lax; Path=/a"),
    ] {
        let line = attributes.clearing_line(name, NOW).unwrap();
        assert_eq!(line, format!("{name}=; {expected}; {expires}"), "{name}");
    }
}
