//! SIGHUP reloads files, and keeps the old values where a new one is wrong.

use crate::support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use support::{Directory, Program, Raw, eventually, fetch, status};

const OLD: &str = "0123456789abcdef-old";
const NEW: &str = "0123456789abcdef-new";

fn publish(addr: SocketAddr, token: &str) -> u16 {
    let request = format!(
        "POST /publish?topic=all HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 2\r\n\r\nhi"
    );
    status(&fetch(addr, request).0)
}

/// Its file, which is not for everybody.
fn write_private(directory: &Directory, name: &str, content: &str) {
    directory.write(name, content);
    fs::set_permissions(directory.0.join(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// How often a line with this text was printed.
fn count(program: &Program, text: &str) -> usize {
    program.lines().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn sighup_reads_the_publish_token_again_and_a_wrong_one_changes_nothing() {
    let directory = Directory::new("reload-token");
    write_private(&directory, "token", OLD);
    let file = format!("{}/token", directory.path());
    let program = Program::start(&["--publish-token-file", &file]);
    assert_eq!([OLD, NEW].map(|token| publish(program.addr(), token)), [200, 401]);
    directory.write("token", NEW);
    assert_eq!([OLD, NEW].map(|token| publish(program.addr(), token)), [200, 401], "nobody has said so");
    program.signal(Signal::HUP);
    program.wait_for_line("reloaded the publish token");
    assert_eq!([OLD, NEW].map(|token| publish(program.addr(), token)), [401, 200]);
    directory.write("token", "short");
    program.signal(Signal::HUP);
    program.wait_for_line(
        "cannot reload the publish token, so the old one stays in use: not a valid token in the file ",
    );
    fs::remove_file(&file).unwrap();
    program.signal(Signal::HUP);
    program.wait_for_line(
        "cannot reload the publish token, so the old one stays in use: cannot read the token from the file ",
    );
    assert_eq!([OLD, NEW].map(|token| publish(program.addr(), token)), [401, 200]);
    let lines = program.lines();
    assert!(!lines.iter().any(|line| line.contains(OLD) || line.contains(NEW)), "{lines:#?}");
}

#[test]
fn sighup_reads_the_certificate_again_and_a_wrong_one_changes_nothing() {
    let directory = Directory::new("reload-certificate");
    let write_pair = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        directory.write("cert.pem", params.self_signed(&key).unwrap().pem());
        write_private(&directory, "key.pem", &key.serialize_pem());
    };
    write_pair();
    let path = |name: &str| format!("{}/{name}", directory.path());
    let program = Program::start(&[
        "--tls-cert",
        &path("cert.pem"),
        "--tls-key",
        &path("key.pem"),
        "--interval",
        "20ms",
    ]);
    write_pair();
    program.signal(Signal::HUP);
    program.wait_for_line("reloaded the certificate");
    // The second time with the same mistake, too: somebody asks again.
    directory.write("cert.pem", "not PEM");
    for times in 1..=2 {
        program.signal(Signal::HUP);
        eventually("it says so", || {
            count(&program, "cannot reload the certificate, so the old one stays in use: ") == times
        });
    }
    assert_eq!(count(&program, "shutting down"), 0);
}

#[test]
fn with_a_configuration_sighup_is_no_end_and_says_what_only_a_restart_changes() {
    let directory = Directory::new("reload-configuration");
    directory.write("a.toml", "max-clients = 10\ninterval = \"20ms\"\n");
    let file = format!("{}/a.toml", directory.path());
    let program = Program::start(&["--config", &file]);
    let mut client = Raw::websocket(program.addr(), "/websocket?Id=A");
    directory.write("a.toml", "interval = \"30ms\"\nmax-clients = 11\nport = 9\n");
    program.signal(Signal::HUP);
    // The port is that of the line.
    let line = program.wait_for_line("only a restart changes ");
    assert!(line.ends_with("only a restart changes interval, max-clients"), "{line}");
    directory.write("a.toml", "max-clients = \"x\"\n");
    program.signal(Signal::HUP);
    let line = program.wait_for_line("the configuration has a mistake, so a restart would fail: ");
    assert!(line.contains("a.toml:1)': expected a number from 1 to 4194304"), "{line}");
    (0..3).for_each(|_| assert_eq!(client.frame().first, 0x81));
    assert_eq!(count(&program, "shutting down"), 0);
}
