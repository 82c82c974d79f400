//! Tasks in place of serving: `--health` asks a server, `--man` and `--completions` print.

use crate::support;

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use support::Program;

fn run(args: &[&str]) -> Output {
    Program::command().args(args).output().expect("starts")
}

/// Its exit code and its one line on standard error, or none.
fn health(url: &str) -> (Option<i32>, String) {
    let output = run(&["--health", url]);
    assert_eq!(output.stdout, b"", "{url}");
    (output.status.code(), String::from_utf8(output.stderr).expect("is UTF-8"))
}

#[test]
fn health_is_the_exit_code() {
    let program = Program::start(&[]);
    let addr = program.addr();
    assert_eq!(health(&format!("http://{addr}/")), (Some(0), String::new()));
    assert_eq!(health(&format!("http://{addr}")), (Some(0), String::new()));
    let url = format!("http://{addr}/not/there");
    assert_eq!(health(&url), (Some(1), format!("threadcast: {url} answers 404\n")));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", silent.local_addr().unwrap());
    assert_eq!(health(&url), (Some(1), format!("threadcast: no answer from {url}: timed out\n")));
    drop(silent);
    let (code, error) = health(&url);
    assert_eq!(code, Some(1));
    assert!(error.contains("Connection refused") && error.lines().count() == 1, "{error}");
    for url in ["ws://127.0.0.1/", "127.0.0.1:8888", "http://a:b@127.0.0.1/", ""] {
        let (code, error) = health(url);
        assert!(code == Some(1) && error.starts_with("threadcast: not a health URL: "), "{url} {error}");
    }
}

#[test]
fn health_over_tls_accepts_every_certificate_at_a_loopback_address() {
    let secure = Program::start(&["--tls-self-signed"]);
    let port = secure.addr().port();
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(health(&format!("https://{host}:{port}/health")), (Some(0), String::new()), "{host}");
    }
    let url = format!("https://127.0.0.1:{port}/not/there");
    assert_eq!(health(&url), (Some(1), format!("threadcast: {url} answers 404\n")));
    // Each of the two schemes, asked of the other one's server.
    let url = format!("http://127.0.0.1:{port}/health");
    assert_eq!(health(&url), (Some(1), format!("threadcast: {url} answers 400; did you mean https://?\n")));
    let plain = Program::start(&[]);
    let url = format!("https://{}/health", plain.addr());
    let (code, error) = health(&url);
    let expected = format!("threadcast: no answer from {url}: ");
    assert!(code == Some(1) && error.starts_with(&expected), "{error}");
    assert!(error.ends_with("; did you mean http://?\n") && error.lines().count() == 1, "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/health", silent.local_addr().unwrap());
    assert_eq!(health(&url), (Some(1), format!("threadcast: no answer from {url}: timed out\n")));
}

#[test]
fn the_page_for_man_has_each_option_and_man_reads_it() {
    let page = run(&["--man"]);
    assert_eq!((page.status.code(), &page.stderr[..]), (Some(0), &b""[..]));
    let text = String::from_utf8(page.stdout.clone()).expect("is UTF-8");
    for option in ["max\\-clients", "log\\-format", "check", "tls\\-cert"] {
        assert!(text.contains(&format!("\\-\\-{option}")), "{option} in {text}");
    }
    assert!(
        text.starts_with(".ie") || text.starts_with(".TH") || text.contains("\n.TH threadcast 1"),
        "{text}"
    );
}

#[test]
fn completions_are_those_of_the_shell() {
    for (shell, expected) in [
        ("bash", "complete -F _threadcast"),
        ("zsh", "#compdef threadcast"),
        ("fish", "complete -c threadcast"),
    ] {
        let output = run(&["--completions", shell]);
        let text = String::from_utf8(output.stdout).expect("is UTF-8");
        assert!(output.status.success() && text.contains(expected) && text.contains("max-clients"), "{text}");
    }
    // A shell reads them.
    let script = run(&["--completions", "bash"]).stdout;
    let mut bash = Command::new("bash");
    let mut bash = bash.args(["-n"]).stdin(Stdio::piped()).spawn().expect("starts");
    bash.stdin.take().expect("piped").write_all(&script).unwrap();
    assert!(bash.wait().unwrap().success());
    assert_eq!(run(&["--completions", "cmd"]).status.code(), Some(2));
}
