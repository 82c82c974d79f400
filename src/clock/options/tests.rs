use super::*;

fn parse(args: &[&str]) -> Result<Options, (String, i32)> {
    Options::parse_from_args(["threadcast"].iter().chain(args).map(OsString::from))
}

#[test]
fn defaults_are_the_tutorials() {
    let options = parse(&[]).unwrap();
    assert_eq!((options.port, options.address, options.interval), (8888, None, Duration::from_secs(1)));
    assert_eq!((options.max_message, options.max_backlog), (10 << 20, 1 << 20));
    assert_eq!(options.ping_interval, OrOff(Some(Duration::from_secs(20))));
    assert_eq!(options.compression, SizeOrOff(None));
}

#[test]
fn sizes_are_powers_of_1024() {
    for (text, bytes) in [("1B", 1), ("512", 512), ("64KiB", 65_536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)]
    {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for text in
        ["", "0", "KiB", "1kB", "1MB", "0B", "2GiB", "99999999999999999999B", "18446744073709551615GiB"]
    {
        assert!(size(text).is_err(), "{text}");
    }
    for (text, found) in [("off", Ok(OrOff(None))), ("1s", Ok(OrOff(Some(Duration::from_secs(1)))))] {
        assert_eq!(interval_or_off(text), found);
    }
    assert!(interval_or_off("on").is_err());
    assert_eq!(size_or_off("off"), Ok(SizeOrOff(None)));
    assert_eq!(size_or_off("1KiB"), Ok(SizeOrOff(Some(1024))));
    assert!(size_or_off("on").is_err());
}

#[test]
fn a_mistake_is_one_line_and_exit_code_2() {
    for args in [
        &["--port", "x"][..],
        &["--port", "65536"],
        &["--port"],
        &["--interval", "0s"],
        &["--logging", "loud"],
        &["--allow-origin", "example.com"],
        &["--address", "nowhere"],
        &["--prot", "1"],
        &["--push-threads", "0"],
        &["--max-clients", "0"],
        &["--stats", "me"],
        &["--compression", "0"],
        &["--pad", "1KiB"],
        &["--stack-size", "65535"],
        &["--max-backlog", "2GiB"],
        &["--ping-interval", "0s"],
        &["--tls-cert", "c.pem"],
        &["--tls-key", "k.pem"],
        &["--tls-self-signed", "--tls-cert", "c.pem", "--tls-key", "k.pem"],
        &["--tls-self-signed", "--tls-key", "k.pem"],
        &["--http-port", "80"],
        &["--tls-self-signed", "--http-port", "http"],
        &["--allow-origin", "https://example.com/"],
        &["--allow-origin", "https://user@example.com"],
        &["--allow-origin", "ftp://example.com"],
        &["--allow-origin", "file://"],
        &["--allow-origin", "null"],
        &["--allow-origin", "https://*.example.com"],
        &["--allow-origin", "https://bücher.example"],
        &["--topics", "id/ann"],
        &["--topics", "a,,b"],
        &["--topics", ""],
        &["--redis", "redis://:SECRET@10.0.0.5"],
        &["--channel", "a*"],
        &["--channel", ""],
        &["extra"],
    ] {
        let (text, code) = parse(args).unwrap_err();
        assert_eq!((text.matches('\n').count(), code), (1, 2), "{args:?}: {text}");
        assert!(!text.contains("SECRET"), "{text}");
        assert!(text.starts_with("threadcast: ") && text.ends_with("(--help shows the options)\n"), "{text}");
    }
    let (help, code) = parse(&["--help"]).unwrap_err();
    assert!(help.contains("Example:") && code == 0);
}

#[test]
fn origins_are_those_that_browsers_send() {
    let options =
        parse(&["--allow-origin", "https://Example.com:443", "--allow-origin", "http://a:80"]).unwrap();
    let shown: Vec<_> = options.allow_origin.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["https://example.com", "http://a"]);
}

#[test]
fn what_is_nearly_an_option_or_a_value_is_suggested() {
    for (args, hint) in [
        (&["--prot", "1"][..], "; is it --port? ("),
        (&["--log-fil", "x"], "; is it --log-file? ("),
        (&["--logging", "warn"], "; is it warning? ("),
    ] {
        let (text, _) = parse(args).unwrap_err();
        assert!(text.contains(hint), "{text}");
    }
}
