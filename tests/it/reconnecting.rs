//! `client::reconnecting`: it connects again when a connection has ended, and gives up where that cannot help.

use crate::support;
use support::far;

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use far::{Far, SWITCHING, plain};
use support::{Raw, eventually};
use threadcast::client::{self, Builder, Reconnecting};
use threadcast::{Error, Message, Result};

const FIRST: Duration = Duration::from_millis(1);

fn quick(far: &Far) -> Reconnecting {
    client::reconnecting(Builder::new(&far.url())).pauses(FIRST, 4 * FIRST)
}

fn answer(status: &str, more: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n")
}

#[test]
fn it_comes_back_after_each_end_and_each_failure_that_may_pass() {
    let far = Far::bind();
    let (failed, failures) = mpsc::channel();
    let connections = quick(&far).on_failure(move |error, _| failed.send(error.to_string()).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            for (n, status) in
                ["503 Busy", "429 Slower", "408 Late", "425 Early", "500 Oh"].into_iter().enumerate()
            {
                far.answer(&answer(status, ""), b"");
                let mut raw = far.answer(SWITCHING, &plain(0x81, n.to_string()));
                // A Close, or none.
                raw.send(if n % 2 == 0 { plain(0x88, [0x03, 0xe9]) } else { Vec::new() });
            }
            drop(far.accept());
            far.answer("SSH-2.0-OpenSSH_9.6\r\n\r\n", b"");
            far.answer(&answer("401 Unauthorized", ""), b"");
        });
        let mut seen = Vec::new();
        let mut ended = None;
        for connected in connections {
            assert!(ended.is_none(), "the error is the last item");
            match connected {
                Ok((_connection, messages)) => seen.extend(messages.map_while(Result::ok)),
                Err(error) => ended = Some(error),
            }
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"].map(Message::from));
        assert!(ended.expect("an error").to_string().ends_with("401 Unauthorized"));
    });
    let failures: Vec<_> = failures.iter().collect();
    assert_eq!(failures.len(), 7, "{failures:?}");
    for (failure, end) in failures.iter().zip([
        "503 Busy",
        "429 Slower",
        "408 Late",
        "425 Early",
        "500 Oh",
        "it closed the connection",
    ]) {
        assert!(failure.ends_with(end), "{failure}");
    }
}

#[test]
fn what_would_fail_again_is_the_last_item() {
    let far = Far::bind();
    for status in ["400 Bad", "401 Who", "403 No", "404 None", "410 Gone", "426 Old", "302 Found", "200 OK"] {
        let mut connections = quick(&far).on_failure(|error, _| panic!("{error}"));
        thread::scope(|scope| {
            scope.spawn(|| far.answer(&answer(status, "Retry-After: 1\r\n"), b""));
            let error = connections.next().expect("an error").expect_err(status);
            assert!(error.to_string().ends_with(status), "{error}");
        });
        assert!(connections.next().is_none() && connections.next().is_none(), "{status}");
    }
    for builder in [Builder::new("http://a.test"), Builder::new(&far.url()).header("Host", "b.test")] {
        let error = client::reconnecting(builder).next().expect("an error").expect_err("is invalid");
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let far = Far::bind();
    let (told, pauses) = mpsc::channel();
    let mut connections = quick(&far).on_failure(move |_, pause| told.send(pause).unwrap());
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            far.answer(&answer("503 Busy", "Retry-After: 1\r\n"), b"");
            far.answer(SWITCHING, b"")
        });
        assert!(connections.next().expect("a connection").is_ok());
    });
    let second = Duration::from_secs(1);
    let pause = pauses.recv().unwrap();
    assert!(pause > second && pause <= second + FIRST, "{pause:?}");
    assert!(begun.elapsed() >= pause);
}

#[test]
fn a_server_that_is_away_is_waited_for_longer_each_time() {
    let addr = support::free_port();
    let (told, pauses) = mpsc::channel();
    let connections = client::reconnecting(Builder::new(&format!("ws://{addr}/")));
    let mut connections = connections.pauses(8 * FIRST, 64 * FIRST).on_failure(move |error, pause| {
        assert!(error.to_string().ends_with("Connection refused"), "{error}");
        // Nobody may listen any more when the connection is there.
        let _ = told.send(pause);
    });
    thread::scope(|scope| {
        scope.spawn(move || {
            for whole in [8, 16, 32, 64, 64] {
                let pause = pauses.recv().unwrap();
                assert!((whole * FIRST / 2..=whole * FIRST).contains(&pause), "{pause:?}, not {whole} ms");
            }
            let mut listener = None;
            eventually("the port is free", || {
                listener = TcpListener::bind(addr).ok();
                listener.is_some()
            });
            let mut raw = Raw::over(listener.expect("binds").accept().expect("accepts").0);
            raw.head();
            raw.send(answer("404 None", ""));
        });
        assert!(connections.next().expect("an error").is_err());
    });
}
