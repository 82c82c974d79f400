use std::os::unix::ffi::OsStringExt;

use std::time::Duration;

use super::values::{OrOff, SizeOrOff, interval_or_off, size, size_or_off};
use super::*;

fn parse(args: &[&str]) -> Result<Options, (String, i32)> {
    Options::parse(["threadcast"].iter().chain(args).map(OsString::from), [])
}

#[test]
fn defaults_are_the_tutorials() {
    let options = parse(&[]).unwrap();
    assert_eq!(
        (options.port, options.address, options.pushes.interval),
        (8888, None, Duration::from_secs(1))
    );
    assert_eq!((options.clients.max_message, options.clients.max_backlog), (10 << 20, 1 << 20));
    assert_eq!(options.clients.ping_interval, OrOff(Some(Duration::from_secs(20))));
    assert_eq!(options.clients.compression, SizeOrOff(None));
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
        &["--allow-origin", "ws://example.com"],
        &["--allow-origin", "1app://example.com"],
        &["--allow-origin", "a_b://example.com"],
        &["--host", "example.com:8888"],
        &["--host", "http://example.com"],
        &["--host", "*.example.com"],
        &["--host", "a b"],
        &["--host", "."],
        &["--host", ""],
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
    for (text, shown) in [
        ("https://Example.com:443", "https://example.com"),
        ("http://a:80", "http://a"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("chrome-extension://ABCdef", "chrome-extension://abcdef"),
        (
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
        ),
        ("app://.", "app://."),
        ("x-my.app+1://host:8100", "x-my.app+1://host:8100"),
    ] {
        let options = parse(&["--allow-origin", text]).unwrap();
        assert_eq!(options.allow_origin[0].to_string(), shown, "{text}");
    }
}

#[test]
fn hosts_have_no_port() {
    for (text, host) in [
        ("Example.com", "example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "[::1]"),
        ("[FE80::1]", "[fe80::1]"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(parse(&["--host", text]).unwrap().host, [host], "{text}");
    }
}

#[test]
fn what_is_nearly_an_option_or_a_value_is_suggested() {
    for (args, hint) in [
        (&["--prot", "1"][..], "; tip: a similar argument exists: '--port' ("),
        (&["--log-fil", "x"], "; tip: a similar argument exists: '--log-file' ("),
        (&["--logging", "warn"], "; tip: a similar value exists: 'warning' ("),
    ] {
        let (text, _) = parse(args).unwrap_err();
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn nonsense_at_every_option_is_one_line() {
    let (long, escapes) = ("9".repeat(5000), "\x1b".repeat(5000));
    let mut tried = 0;
    for arg in Options::command().get_arguments().filter(|arg| arg.get_action().takes_values()) {
        let name = format!("--{}", arg.get_long().expect("has a name"));
        let not_utf8 = OsString::from_vec(b"\xff".to_vec());
        let values = ["x", "", "-1", "-1s", &long, &escapes, "\u{1b}[31m\n"].map(OsString::from);
        for value in values.into_iter().chain([not_utf8]) {
            let Err((text, code)) = Options::parse(["threadcast".into(), name.clone().into(), value], [])
            else {
                continue;
            };
            assert_eq!((text.matches('\n').count(), code), (1, 2), "{text}");
            assert!(text.len() < 250 && !text.contains('\x1b'), "{text}");
            tried += 1;
        }
        for args in [&[&name[..]][..], &[&name, "1s", &name, "1s"]] {
            let found = parse(args).map_err(|(text, _)| text);
            let repeats = matches!(arg.get_action(), clap::ArgAction::Append) && args.len() > 1;
            assert!(repeats || found.is_err_and(|text| text.contains(&name)), "{args:?}");
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn what_is_wrong_is_said_in_claps_words() {
    for (args, expected) in [
        (
            &["--port", "x"][..],
            "invalid value 'x' for '--port <PORT>': expected a number from 0 to 65535; 0 lets the system choose",
        ),
        (&["--port", "-1"], "unexpected argument '-1' found"),
        (&["--port"], "a value is required for '--port <PORT>' but none was supplied"),
        (
            &["--port=-1"],
            "invalid value '-1' for '--port <PORT>': expected a number from 0 to 65535; 0 lets the system choose",
        ),
        (
            &["--port="],
            "invalid value '' for '--port <PORT>': expected a number from 0 to 65535; 0 lets the system choose",
        ),
        (&["--port", "1", "--port", "2"], "the argument '--port <PORT>' cannot be used multiple times"),
        (&["--lab=on"], "unexpected value 'on' for '--lab' found; no more were expected"),
        (
            &["--address", "localhost"],
            "invalid value 'localhost' for '--address <IP>': expected an IP address of this machine, such as 127.0.0.1 or ::1",
        ),
        (
            &["--push-threads", "65"],
            "invalid value '65' for '--push-threads <N>': expected a number from 1 to 64",
        ),
        (
            &["--max-clients", "0"],
            "invalid value '0' for '--max-clients <N>': expected a number from 1 to 4194304",
        ),
        (
            &["--ping-interval", "999999999999999999999h"],
            "invalid value '999999999999999999999h' for '--ping-interval <TIME>': expected a time from 1ms to a year (8760h); or write off",
        ),
        (
            &["--pad", "1 MB"],
            "invalid value '1 MB' for '--pad <SIZE>': expected a whole number of bytes, KiB, MiB or GiB, such as 64KiB",
        ),
        (
            &["--stack-size", "0"],
            "invalid value '0' for '--stack-size <SIZE>': expected a size from 64KiB to 1GiB",
        ),
        (
            &["--logging", "loud"],
            "invalid value 'loud' for '--logging <LEVEL>' [possible values: debug, info, warning, error, none]",
        ),
        (
            &["--stats="],
            "a value is required for '--stats <WHO>' but none was supplied [possible values: local, public]",
        ),
        (&["--log-file", "--lab"], "a value is required for '--log-file <PATH>' but none was supplied"),
        (
            &["--topics", "a,,b"],
            "invalid value '' for '--topics <NAMES>': this is not a topic: use 1 to 256 bytes of text without control characters",
        ),
        (&["--tls-cert", "c.pem"], "the following required arguments were not provided: --tls-key <PEM>"),
        (
            &["--http-port", "80"],
            "the following required arguments were not provided: <--tls-cert <PEM>|--tls-self-signed>",
        ),
        (
            &["--tls-self-signed", "--tls-key", "k.pem"],
            "the argument '--tls-self-signed' cannot be used with '--tls-key <PEM>'",
        ),
        (&["--prot", "1"], "unexpected argument '--prot' found; tip: a similar argument exists: '--port'"),
        (&["extra"], "unexpected argument 'extra' found"),
        (
            &["--port", "1\n\nUsage: 2"],
            "invalid value '1\\n\\nUsage: 2' for '--port <PORT>': expected a number from 0 to 65535; 0 lets the system choose",
        ),
    ] {
        let expected = format!("threadcast: {expected} (--help shows the options)\n");
        assert_eq!(parse(args).err(), Some((expected, 2)), "{args:?}");
    }
}
