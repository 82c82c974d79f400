//! `/metrics`: who may see it, in which text, and that its numbers are those of the program.

use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use support::{Directory, Program, Raw, eventually, fetch, get, header_values, status, tls, upgrade};
use tls::{Identity, Secure};

const OPENMETRICS: &str =
    "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";

fn scrape(program: &Program, headers: &str) -> (String, String) {
    let (head, body) = fetch(program.addr(), get("/metrics", headers));
    assert_eq!(status(&head), 200, "{head}");
    (head, String::from_utf8(body).expect("is UTF-8"))
}

/// The samples, by name and labels as they are written.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}")));
    samples.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

/// The families, with their types.
fn families(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn a_scraper_gets_the_text_that_it_asks_for() {
    let program = Program::start(&["--interval", "1h"]);
    let (head, plain) = scrape(&program, "");
    assert_eq!(header_values(&head, "Content-Type"), ["text/plain; version=0.0.4; charset=utf-8"]);
    assert_eq!(header_values(&head, "Cache-Control"), ["no-store"]);
    assert_eq!(header_values(&head, "Vary"), ["Accept"]);
    assert!(!plain.contains("# EOF") && plain.ends_with('\n'));
    let (head, open) = scrape(&program, OPENMETRICS);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(header_values(&head, "Content-Type"), [content_type]);
    assert!(open.ends_with("\n# EOF\n"));
    let names = |text: &str| samples(&text.replace(".0\"}", "\"}")).into_keys().collect::<BTreeSet<_>>();
    assert_eq!(
        names(&plain),
        names(&open),
        "the same samples, but that OpenMetrics writes a bound of 1 as 1.0"
    );
    assert_eq!(families(&plain)["threadcast_frames_pushed_total"], "counter");
    assert_eq!(families(&open)["threadcast_frames_pushed"], "counter");
    assert_eq!(families(&plain)["threadcast_build_info"], "gauge");
    assert_eq!(families(&open)["threadcast_build"], "info");
}

#[test]
fn it_is_for_this_machine_unless_it_is_public() {
    for (args, headers, expected) in [
        (&[][..], "Host: localhost\r\n", 200),
        (&[], "Host: evil.test\r\n", 403),
        (&[], "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n", 403),
        (&["--stats", "public"], "Host: evil.test\r\nX-Forwarded-For: 192.0.2.1\r\n", 200),
    ] {
        let program = Program::start(args);
        let mut client = Raw::connect(program.addr());
        client.send(format!("GET /metrics HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(status(&client.head()), expected, "{args:?} {headers}");
    }
}

#[test]
fn its_numbers_are_those_of_the_program() {
    let program = Program::start(&["--interval", "20ms", "--max-clients", "2"]);
    let _clients = ["A", "B"].map(|id| Raw::websocket(program.addr(), &format!("/websocket?Id={id}")));
    let mut refused = Raw::connect(program.addr());
    refused.send(upgrade("/websocket?Id=C", ""));
    assert_eq!(status(&refused.head()), 503);
    let mut without_id = Raw::connect(program.addr());
    without_id.send(upgrade("/websocket", ""));
    // A rejected client finds no room for its answer either.
    assert_eq!(status(&without_id.head()), 503);
    let mut last = BTreeMap::new();
    eventually("pushes are counted", || {
        last = samples(&scrape(&program, "").1);
        last["threadcast_frames_pushed_total"] >= 4.0
    });
    for (name, expected) in [
        ("threadcast_websockets", 2.0),
        ("threadcast_clients_limit", 2.0),
        ("threadcast_draining", 0.0),
        ("threadcast_handshakes_total{result=\"completed\"}", 2.0),
        ("threadcast_handshakes_total{result=\"failed\"}", 2.0),
        ("threadcast_connections_rejected_total{reason=\"full\"}", 2.0),
        ("threadcast_clients_behind{above_bytes=\"4096\"}", 0.0),
        ("threadcast_pumps", 0.0),
        ("threadcast_tls_handshakes_total{result=\"completed\"}", 0.0),
        ("threadcast_build_info{version=\"0.2.0\"}", 1.0),
    ] {
        assert_eq!(last.get(name), Some(&expected), "{name}");
    }
    assert!(last["threadcast_pushed_bytes_total"] >= 26.0 * last["threadcast_frames_pushed_total"]);
    assert!(last["threadcast_round_duration_seconds_count"] >= 2.0);
    assert_eq!(
        last["threadcast_round_duration_seconds_bucket{le=\"+Inf\"}"],
        last["threadcast_round_duration_seconds_count"]
    );
    assert_eq!(
        last["threadcast_round_lateness_seconds_count"],
        last["threadcast_round_duration_seconds_count"]
    );
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 60.0..now + 1.0).contains(&last["threadcast_last_round_timestamp_seconds"]), "{last:#?}");
    assert!(
        last["process_open_fds"] >= 6.0
            && last["process_threads"] >= 5.0
            && last["process_cpu_seconds_total"] >= 0.0
    );
    assert!(last["process_resident_memory_bytes"] > 1e6);
}

#[test]
fn a_client_that_does_not_read_is_seen_behind() {
    let program =
        Program::start(&["--interval", "10ms", "--lab", "--pad", "100KiB", "--max-backlog", "1GiB"]);
    let mut stalled = Raw::narrow(program.addr(), 4096);
    stalled.send(upgrade("/websocket?Id=A", ""));
    assert_eq!(status(&stalled.head()), 101);
    eventually("it is behind", || {
        let now = samples(&scrape(&program, "").1);
        let behind = ["0", "4096", "65536", "524288"]
            .map(|above| now[&format!("threadcast_clients_behind{{above_bytes=\"{above}\"}}")]);
        behind == [1.0; 4] && now["threadcast_backlog_bytes"] > 524_288.0 && now["threadcast_pumps"] == 1.0
    });
}

#[test]
fn handshakes_of_tls_are_counted() {
    let identity = Identity::new();
    let directory = Directory::new("metrics-tls");
    directory.write("chain.pem", &identity.chain);
    directory.write("key.pem", &identity.key);
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| format!("{}/{name}", directory.path()));
    let program = Program::start(&["--tls-cert", &chain, "--tls-key", &key, "--interval", "1h"]);
    let mut plain = Raw::connect(program.addr());
    plain.send(get("/", ""));
    assert_eq!(status(&plain.head()), 400);
    let config = Arc::new(identity.client(&[&rustls::version::TLS13]));
    let mut client = Secure::connect(program.addr(), &config);
    client.send(get("/metrics", ""));
    client.head();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("process_max_fds ") {
        text.extend(client.take(1, "the metrics"));
    }
    let text = String::from_utf8(text).expect("is UTF-8");
    for line in [
        "threadcast_tls_handshakes_total{result=\"completed\"} 1\n",
        "threadcast_tls_handshakes_total{result=\"failed\"} 1\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_manual_has_all_of_them_and_no_others() {
    let page = fs::read_to_string("src/guide/metrics.md").unwrap();
    let section = page.split_once("\n# Numbers for Prometheus\n").expect("the section").1;
    let section = section.split("\n# ").next().expect("begins the text");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let of_the_manual: BTreeSet<_> = names
        .filter(|name| !name.starts_with('/') && !name.contains("fleet"))
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect();
    let program = Program::start(&["--interval", "1h"]);
    let of_the_program: BTreeSet<_> = families(&scrape(&program, "").1).into_keys().collect();
    assert_eq!(of_the_manual, of_the_program);
}
