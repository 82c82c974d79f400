//! A real Prometheus: it reads `/metrics`, and the manual's rules and board mean something to it.

use crate::support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use support::fleet::Redis;
use support::{DEADLINE, Directory, Program, Raw, eventually, fetch, get};

/// The manual's one block with this mark.
fn block(mark: &str) -> String {
    let (manual, fence) =
        (fs::read_to_string("src/guide/metrics.md").expect("the manual"), format!("```{mark}\n"));
    let mut behind = manual.split(&fence).skip(1);
    let text = behind.next().and_then(|rest| rest.split("```").next()).expect("a block").to_owned();
    assert!(behind.next().is_none(), "one block of {mark}");
    text
}

/// Runs `promtool`, which has nothing to complain about.
fn promtool(args: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("runs promtool, of Debian's package prometheus");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("reads");
    let output = child.wait_with_output().expect("ends");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("is UTF-8")).concat();
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}

/// Asks a Prometheus: what it answers as `data`.
fn ask(port: u16, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    // HTTP/1.0 has no chunks.
    write!(stream, "GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let mut body: Value = serde_json::from_str(body).ok()?;
    assert_eq!(body["status"], "success", "{path}: {body}");
    Some(body["data"].take())
}

/// Returns the present value of an expression.
fn query(port: u16, expression: &str) -> Vec<Value> {
    let data = ask(port, &format!("query?query={}", utf8_percent_encode(expression, NON_ALPHANUMERIC)));
    data.and_then(|mut data| data["result"].as_array_mut().map(std::mem::take)).unwrap_or_default()
}

#[test]
fn promtool_has_nothing_to_say_about_the_text() {
    let program = Program::start(&["--interval", "20ms"]);
    let _client = Raw::websocket(program.addr(), "/websocket?Id=A");
    program.wait_for_line("write to client A");
    let (_, text) = fetch(program.addr(), get("/metrics", ""));
    assert_eq!(promtool(&["check", "metrics"], &String::from_utf8(text).expect("is UTF-8")), "");
}

#[test]
fn the_link_to_the_other_machines_is_there_and_each_of_its_names_is_in_the_manual() {
    let mut redis = Redis::start(&[]);
    let program = Program::start(&["--interval", "1h", "--redis", &redis.url()]);
    let text = || String::from_utf8(fetch(program.addr(), get("/metrics", "")).1).expect("is UTF-8");
    let manual = fs::read_to_string("src/guide/metrics.md").expect("the manual");
    let linked = text();
    assert!(
        linked.contains("\nthreadcast_fleet_connected 1\n")
            && linked.contains("\nthreadcast_fleet_machines 1\n")
    );
    let names: Vec<_> =
        linked.lines().filter_map(|line| line.strip_prefix("# TYPE threadcast_fleet_")).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        let name = name.split(' ').next().expect("a name");
        assert!(manual.contains(&format!("`threadcast_fleet_{name}")), "{name}");
    }
    redis.kill();
    eventually("the link is down", || text().contains("\nthreadcast_fleet_connected 0\n"));
    assert_eq!(promtool(&["check", "metrics"], &text()), "");
}

#[test]
fn each_alert_comes_when_it_should() {
    let directory = Directory::new("alerts");
    directory.write("rules.yml", block("yaml rules"));
    let mut alerts = Vec::new();
    for (alert, labels, series, values) in [
        ("ThreadcastDown", "", "up", "0x30"),
        ("ThreadcastStandsStill", "", "threadcast_last_round_timestamp_seconds", "1x30"),
        ("ThreadcastRejectsClients", r#"reason="full""#, "threadcast_connections_rejected_total", "0+1x30"),
        ("ThreadcastLateRounds", "", "threadcast_rounds_late_total", "0+1x30"),
        ("ThreadcastSlowConsumers", r#"reason="stalled""#, "threadcast_connections_closed_total", "0+100x30"),
        ("ThreadcastPanics", r#"reason="panicked""#, "threadcast_connections_closed_total", "0+1x30"),
        ("ThreadcastFleetDown", "", "threadcast_fleet_connected", "0x30"),
        ("ThreadcastWrongTokens", "", "threadcast_unauthorized_total", "0+100x30"),
        ("ThreadcastLosesLogLines", "", "threadcast_log_lines_lost_total", "0+1x30"),
        ("ThreadcastAlmostFull", "", "threadcast_websockets", "95x30"),
        ("ThreadcastDescriptors", "", "process_open_fds", "95x30"),
    ] {
        let of_one = r#"job="threadcast",instance="a:1""#;
        let comma = if labels.is_empty() { "" } else { "," };
        alerts.push(alert);
        // Healthy values of what it is divided by, and the same series when all is well.
        let limits = [("threadcast_clients_limit", "100x30"), ("process_max_fds", "100x30")];
        let lines = |series: &str, values: &str, labels: &str| {
            let comma = if labels.is_empty() { "" } else { comma };
            format!("      - {{ series: '{series}{{{of_one}{comma}{labels}}}', values: '{values}' }}\n")
        };
        let limits: String = limits.iter().map(|(series, values)| lines(series, values, "")).collect();
        let test = |values: &str, expected: &str| {
            format!(
                "  - interval: 1m\n    input_series:\n{}{limits}    alert_rule_test:\n      - eval_time: 25m\n        alertname: {alert}\n        exp_alerts: {expected}\n",
                lines(series, values, labels)
            )
        };
        let well = match series {
            "threadcast_last_round_timestamp_seconds" => "0+60x30",
            "up" | "threadcast_fleet_connected" => "1x30",
            _ => "7x30",
        };
        let tests = format!("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n{}", test(well, "[]"));
        directory.write("well.yml", tests);
        promtool(&["test", "rules", &format!("{}/well.yml", directory.path())], "");
        // The test counts the alert, and does not read its annotations.
        let tests =
            format!("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n{}", test(values, "[]"));
        directory.write("bad.yml", tests);
        let output = Command::new("promtool")
            .args(["test", "rules", &format!("{}/bad.yml", directory.path())])
            .output()
            .expect("runs promtool");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{alert} does not come");
        assert!(said.contains(&format!("alertname=\"{alert}\"")), "{alert}: {said}");
        for broken in ["<error", "error expanding", "%!"] {
            assert!(!said.contains(broken), "{alert}: {said}");
        }
    }
    let rules = block("yaml rules");
    let named: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    alerts.sort_unstable();
    let mut named_sorted = named.clone();
    named_sorted.sort_unstable();
    assert_eq!(alerts, named_sorted, "each has its case above");
}

#[test]
fn it_scrapes_and_its_rules_and_its_board_have_answers() {
    let program = Program::start(&["--interval", "100ms"]);
    let _client = Raw::websocket(program.addr(), "/websocket?Id=A");
    let directory = Directory::new("prometheus");
    let port = support::free_port().port();
    let target = format!("localhost:{}", program.addr().port());
    let configuration = block("yaml prometheus").replace("localhost:8888", &target).replace("15s", "1s");
    assert!(configuration.contains(&target), "{configuration}");
    directory.write("prometheus.yml", configuration);
    directory.write("threadcast.rules.yml", block("yaml rules"));
    let file = format!("{}/prometheus.yml", directory.path());
    promtool(&["check", "config", &file], "");
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={file}"))
        .arg(format!("--storage.tsdb.path={}/data", directory.path()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _prometheus = Program::spawn(&mut command);
    eventually("it has scraped three times", || {
        let counts = query(port, "count_over_time(threadcast_websockets{job=\"threadcast\"}[1m])");
        counts
            .first()
            .and_then(|one| one["value"][1].as_str()?.parse().ok())
            .is_some_and(|count: u32| count >= 3)
    });
    let targets = ask(port, "targets").expect("answers");
    let health = &targets["activeTargets"][0];
    assert_eq!((&health["health"], &health["lastError"]), (&"up".into(), &"".into()), "{targets}");
    assert_eq!(query(port, "threadcast_websockets")[0]["value"][1], "1");

    let board: Value = serde_json::from_str(&block("json grafana")).expect("is JSON");
    assert_eq!(board["title"], "threadcast");
    let panels = board["panels"].as_array().expect("panels");
    assert!(panels.len() >= 10, "{}", panels.len());
    let mut ids = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().filter(|title| !title.is_empty()).expect("a title");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "{title} has no unit");
        ids.push(panel["id"].as_u64().expect("a number"));
        let targets = panel["targets"].as_array().filter(|targets| !targets.is_empty()).expect("targets");
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            let here = expression
                .replace("$__rate_interval", "1m")
                .replace("$job", "threadcast")
                .replace("$instance", ".*");
            assert!(!here.contains('$'), "{title}: {here}");
            eventually(&format!("{title} shows something: {here}"), || !query(port, &here).is_empty());
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "each has its number");
    let rules = ask(port, "rules").expect("answers");
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), block("yaml rules").matches("- alert: ").count());
    for rule in rules {
        let name = rule["name"].as_str().expect("a name");
        query(port, rule["query"].as_str().expect("an expression"));
        assert_ne!(rule["health"], "err", "{rule}");
        assert_eq!(rule["state"], "inactive", "{name} of a program that is well");
    }
}
