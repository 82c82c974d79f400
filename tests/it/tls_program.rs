//! The program with TLS: its options, its certificates, and its port for http.

use crate::support;
use support::openssl;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openssl::{P256, certificate_of, make, openssl};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustix::process::Signal;
use support::network::{in_a_private_network, ip};
use support::{
    DEADLINE, Directory, Program, Raw, eventually, fetch, get, header_values, status, threads, upgrade,
};

/// The end of the line with the port for http.
const LEADS: &str = " redirects to it";

/// `name`, in a directory, as an argument.
fn path(directory: &Directory, name: &str) -> String {
    directory.0.join(name).to_str().expect("is UTF-8").to_owned()
}

fn program(directory: &Directory, more: &[&str]) -> Program {
    let (chain, key) = (path(directory, "chain.pem"), path(directory, "key.pem"));
    Program::start(&[&["--tls-cert", &chain, "--tls-key", &key], more].concat())
}

/// Puts `make`'s certificate `name` where the program looks for it.
fn put(directory: &Directory, name: &str, files: &[&str]) {
    for file in files {
        let (from, to) = if *file == "chain" { ("pem", "chain.pem") } else { ("key", "key.pem") };
        fs::copy(directory.0.join(format!("{name}.{from}")), directory.0.join(to)).expect("copies");
    }
}

fn curl(args: &[&str]) -> String {
    let output =
        Command::new("curl").args(["--silent", "--show-error"]).args(args).output().expect("runs curl");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_bad_file_is_one_line_at_the_start_and_exit_code_1() {
    let files = Directory::new("tls-program-bad");
    make(&files, "good", P256);
    make(&files, "other", P256);
    for (chain, key, line) in [
        ("gone", "good.key", "cannot read the certificate "),
        ("good.pem", "gone", "cannot read the private key "),
        ("good.key", "good.key", "good.key has no certificate, but a private key: are the two exchanged?"),
        ("good.pem", "other.key", "other.key does not belong to the first certificate of "),
    ] {
        let args = ["--port", "0", "--tls-cert", &path(&files, chain), "--tls-key", &path(&files, key)];
        let (code, lines) = Program::spawn(Program::command().args(args)).run_to_its_end();
        assert!(code == Some(1) && lines.len() == 1, "{lines:#?}");
        assert!(lines[0].starts_with("threadcast: ") && lines[0].contains(line), "{lines:#?}");
    }
}

#[test]
fn the_first_line_says_https_and_the_next_wss() {
    let files = Directory::new("tls-program-lines");
    make(&files, "good", P256);
    put(&files, "good", &["chain", "key"]);
    let program = program(&files, &["--lab", "--http-port", "0"]);
    program.wait_for_line("Ctrl-C ends it");
    let (addr, http) = (program.addr(), program.addr_in(LEADS));
    let lines = program.lines();
    assert!(lines[0].starts_with(&format!("threadcast is at https://{addr}/ for up to ")), "{lines:#?}");
    assert_eq!(lines[1], format!("its WebSocket is at wss://{addr}/websocket?Id=NAME"));
    assert_eq!(lines[2], format!("http://{http}/ redirects to it"));
    assert!(lines[3].starts_with(&format!("the lab is open: https://{addr}/lab ")), "{lines:#?}");
}

#[test]
fn a_key_that_others_may_read_is_warned_of() {
    let files = Directory::new("tls-program-key");
    make(&files, "good", P256);
    put(&files, "good", &["chain", "key"]);
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(files.0.join("key.pem"), fs::Permissions::from_mode(mode))
            .expect("changes the mode");
        let program = program(&files, &[]);
        program.wait_for_line("Ctrl-C ends it");
        program.signal(Signal::TERM);
        let key = path(&files, "key.pem");
        let line = format!("every user of this machine may read the private key {key}: chmod o= {key}");
        // To its end, because the order of the two streams is unknown.
        let (_, lines) = program.run_to_its_end();
        assert_eq!(
            lines.iter().any(|l| *l == format!("threadcast: warning: {line}")),
            warned,
            "{mode:o}: {lines:#?}"
        );
    }
}

#[test]
fn a_self_signed_certificate_has_the_fingerprint_that_it_prints() {
    let files = Directory::new("tls-program-self-signed");
    let program = Program::start(&["--tls-self-signed"]);
    let line = program.wait_for_line("its new self-signed certificate, for localhost, 127.0.0.1, ::1");
    files.write("served.pem", certificate_of(program.addr()));
    let printed = openssl(&files, "x509 -in served.pem -noout -fingerprint -sha256");
    let fingerprint = printed.trim().split('=').nth(1).expect("a fingerprint");
    assert!(line.ends_with(&format!(" has the SHA-256 fingerprint {fingerprint}")), "{line} {printed}");
    // Clients that trust it accept it under each of its names.
    let port = program.addr().port();
    for name in ["localhost", "127.0.0.1"] {
        let url = format!("https://{name}:{port}/");
        let page = curl(&["--noproxy", "*", "--ipv4", "--cacert", &path(&files, "served.pem"), &url]);
        assert!(page.contains("<title>"), "{page}");
    }
    let again = Program::start(&["--tls-self-signed"]);
    assert_ne!(again.wait_for_line("its new self-signed certificate"), line, "it is made at each start");
}

#[test]
fn http_requests_are_redirected_to_https() {
    let program = Program::start(&["--tls-self-signed", "--http-port", "0"]);
    let (port, http) = (program.addr().port(), program.addr_in(LEADS));
    let ask = |method: &str, target: &str, host: &str| {
        let host = if host == "-" { String::new() } else { format!("Host: {host}\r\n") };
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let (head, _) = fetch(http, format!("{method} {target} HTTP/1.1\r\n{host}{length}\r\n"));
        (status(&head), header_values(&head, "Location").join(" ").replace(&format!(":{port}/"), ":PORT/"))
    };
    for (method, target, host, code, location) in [
        ("GET", "/", "localhost", 308, "https://localhost:PORT/"),
        ("GET", "/lab?x=1&y=%20", "Example.test:8080", 308, "https://example.test:PORT/lab?x=1&y=%20"),
        ("HEAD", "/", "127.0.0.1:80", 308, "https://127.0.0.1:PORT/"),
        ("POST", "/form", "a", 308, "https://a:PORT/form"),
        ("GET", "//evil.test/", "a", 308, "https://a:PORT//evil.test/"),
        ("GET", "http://me.test/x", "a", 308, "https://me.test:PORT/x"),
        ("GET", "HTTPS://Me.test:8080", "a", 308, "https://me.test:PORT/"),
        ("GET", "*://a/x", "a", 400, ""),
        ("GET", "/x", "[fe80::1%25lo]:80", 308, "https://[fe80::1]:PORT/x"),
        ("GET", "/", "[::1]:80", 308, "https://[::1]:PORT/"),
        ("GET", "/", "", 400, ""),
        ("GET", "/", "-", 400, ""),
        ("GET", "/", "a b", 400, ""),
        ("GET", "/", "me@evil.test", 400, ""),
        ("GET", "/", "a/evil", 400, ""),
        ("GET", "/", "a:99999", 400, ""),
        ("GET", "/", "a\r\nHost: b", 400, ""),
        ("BREW", "/", "a", 405, ""),
    ] {
        assert_eq!(ask(method, target, host), (code, location.to_owned()), "{method} {target} {host}");
    }
    let (head, body) = fetch(http, get("/", "Upgrade: h2c\r\nConnection: Upgrade\r\n"));
    assert_eq!(status(&head), 308, "{head}{body:?}");
    let (head, body) = fetch(http, upgrade("/websocket?Id=A", ""));
    let body = String::from_utf8(body).expect("is text");
    assert_eq!(
        (status(&head), body.trim_end()),
        (
            400,
            &*format!("400: This port only redirects, so connect to wss://localhost:{port}/websocket?Id=A")
        )
    );
    let page = curl(&["--noproxy", "*", "--insecure", "--location", &format!("http://{http}/")]);
    assert!(page.contains("<title>"), "{page}");
}

#[test]
fn the_port_for_http_ends_with_the_program_and_one_that_is_in_use_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = taken.local_addr().expect("has an address").port().to_string();
    let args = ["--port", "0", "--address", "127.0.0.1", "--tls-self-signed", "--http-port", &port];
    let (code, lines) = Program::spawn(Program::command().args(args)).run_to_its_end();
    let line =
        format!("cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --http-port");
    assert!(code == Some(1) && lines.len() == 1 && lines[0].contains(&line), "{lines:#?}");
    let program = Program::start(&["--tls-self-signed", "--http-port", "0"]);
    let http = program.addr_in(LEADS);
    // Neither a silent client nor one that might send another request delays the end.
    let _silent = TcpStream::connect(http).expect("connects");
    let mut asks = Raw::connect(http);
    asks.send(get("/", ""));
    assert_eq!(status(&asks.head()), 308);
    program.signal(Signal::TERM);
    let (code, _) = program.run_to_its_end();
    assert_eq!(code, Some(0));
    assert!(TcpStream::connect_timeout(&http, DEADLINE).is_err());
}

#[test]
fn openssl_changes_its_keys_between_two_requests() {
    let program = Program::start(&["--tls-self-signed"]);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &program.addr().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut openssl = command.spawn().expect("runs openssl");
    let mut to = openssl.stdin.take().expect("piped");
    let mut out = lines(openssl.stdout.take().expect("piped"));
    let mut errors = lines(openssl.stderr.take().expect("piped"));
    for _ in 0..3 {
        to.write_all(get("/nowhere", "").as_bytes()).expect("writes");
        wait_for("404: Not Found", &mut out);
        // A line that begins with K, and comes in a separate write, asks for new keys on both sides.
        to.write_all(b"K\n").expect("writes");
        wait_for("KEYUPDATE", &mut errors);
    }
    openssl.kill().expect("ends");
    openssl.wait().expect("has ended");
}

fn lines(stream: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(stream).lines().map(|line| line.expect("is text"))
}

fn wait_for(text: &str, lines: &mut impl Iterator<Item = String>) {
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains(text)) {
        said.push(lines.next().unwrap_or_else(|| panic!("no {text} in {said:#?}")));
    }
}

/// Connects until the certificate is the one that `make` made as `name`.
fn wait_for_certificate(directory: &Directory, addr: SocketAddr, name: &str) {
    let expected = fs::read_to_string(directory.0.join(format!("{name}.pem"))).expect("reads");
    eventually(&format!("the certificate {name}"), || certificate_of(addr) == expected);
}

#[test]
fn certificates_that_change_on_disk_are_for_new_connections_and_half_a_change_is_for_none() {
    const STILL: &str = "new connections still get the old certificate: ";
    let files = Directory::new("tls-program-reload");
    for name in ["old", "new", "newer"] {
        make(&files, name, P256);
    }
    put(&files, "old", &["chain", "key"]);
    let program = program(&files, &[]);
    let addr = program.addr();
    wait_for_certificate(&files, addr, "old");
    put(&files, "new", &["chain", "key"]);
    wait_for_certificate(&files, addr, "new");
    put(&files, "newer", &["chain"]);
    eventually("a warning of half a change", || {
        wait_for_certificate(&files, addr, "new");
        program.lines().iter().any(|line| line.contains(STILL) && line.contains("does not belong to"))
    });
    fs::remove_file(files.0.join("key.pem")).expect("removes");
    eventually("a warning of a file that is away", || {
        wait_for_certificate(&files, addr, "new");
        program.lines().iter().any(|line| line.contains(STILL) && line.contains("No such file"))
    });
    put(&files, "newer", &["key"]);
    wait_for_certificate(&files, addr, "newer");
    let lines = program.lines();
    assert_eq!(lines.iter().filter(|line| line.contains(STILL)).count(), 2, "once for each: {lines:#?}");
}

/// Takes a lease of a file: a program that opens it waits until the lease is released, or for 45 s
/// (`lease-break-time`), as if the file system hung.
const LEASE: &str = "
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], 'r+')
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
signal.pause()
";

#[test]
fn while_a_certificate_cannot_be_read_clients_are_served_and_a_stop_is_obeyed() {
    let files = Directory::new("tls-program-hangs");
    make(&files, "own", P256);
    put(&files, "own", &["chain", "key"]);
    let mut program = program(&files, &[]);
    let addr = program.addr();
    let url = format!("https://localhost:{}/", addr.port());
    let page = || curl(&["--insecure", "--max-time", "20", &url]);
    assert!(page().contains("<html"));
    let key = path(&files, "key.pem");
    let lease = Program::spawn(Command::new("python3").args(["-c", LEASE, &key]));
    lease.wait_for_line("held");
    eventually("somebody reads the file, and waits", || {
        assert!(page().contains("<html"));
        threads(program.pid()).iter().any(|name| name == "tls-files")
    });
    // More than the threads for handshakes, over more than a second.
    (0..12).for_each(|_| assert!(page().contains("<html")));
    assert!(threads(program.pid()).iter().any(|name| name == "tls-files"), "it still waits");
    let begun = Instant::now();
    program.signal(Signal::TERM);
    assert!(program.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

const VERIFIED: &str = "a_health_check_of_another_machine_verifies_the_certificate";

#[test]
fn a_health_check_of_another_machine_verifies_the_certificate() {
    in_a_private_network(VERIFIED, verified);
}

/// With an address that is not a loopback one, though it is this machine's.
fn verified() {
    const HOST: &str = "192.0.2.1";
    ip(&["address", "add", HOST, "dev", "lo"]);
    let directory = Directory::new("verified");
    for (name, host) in [("right", HOST), ("other", "192.0.2.2")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.self_signed(&key).expect("a certificate");
        directory.write(&format!("{name}.pem"), certificate.pem());
        directory.secret(&format!("{name}.key"), key.serialize_pem());
    }
    let health = |url: &str, roots: &str| {
        let mut command = Program::command();
        let command = command.args(["--health", url]).env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        let output = command.output().expect("starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("is UTF-8"))
    };
    let trust = "; SSL_CERT_FILE names a file of trusted authorities, and at a loopback address any certificate will do\n";
    for (served, trusted, expected) in [
        ("right", "right", None),
        ("right", "other", Some("UnknownIssuer")),
        ("other", "other", Some("certificate not valid for name")),
    ] {
        let file = |end: &str| path(&directory, &format!("{served}.{end}"));
        let args = ["--tls-cert", &file("pem"), "--tls-key", &file("key"), "--port", "0"];
        let program = Program::spawn(Program::command().args(args));
        let port = program.addr().port();
        let roots = path(&directory, &format!("{trusted}.pem"));
        let url = format!("https://{HOST}:{port}/health");
        let (code, error) = health(&url, &roots);
        match expected {
            None => assert_eq!((code, &error[..]), (Some(0), "")),
            Some(why) => {
                assert!(
                    code == Some(1) && error.contains(why) && error.ends_with(trust),
                    "{served}: {error}"
                );
                assert_eq!(error.lines().count(), 1, "{error}");
            }
        }
        assert_eq!(health(&format!("https://127.0.0.1:{port}/health"), &roots), (Some(0), String::new()));
        let (code, error) = health(&url, "/dev/null");
        assert!(
            code == Some(1) && error.contains("no root certificates: install ca-certificates"),
            "{error}"
        );
    }
}
