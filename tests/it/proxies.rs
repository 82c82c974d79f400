//! The manual's lines for nginx, HAProxy, Caddy and Apache, in front of the program: the page, its WebSocket and its
//! pushes pass, and the numbers do not.

use crate::support;
use support::tls;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{DEADLINE, Directory, Program, Raw, eventually, get};
use threadcast::client::Builder;
use tls::Identity;

const MANUAL: &str = "src/guide/proxies.md";
const TOKEN: &str = "token-of-the-tests";
/// Where Debian has the modules of Apache.
const MODULES: &str = "/usr/lib/apache2/modules";

/// The manual's configuration blocks with this mark.
fn blocks(mark: &str) -> Vec<String> {
    let (manual, fence) = (fs::read_to_string(MANUAL).expect("the manual"), format!("```{mark}\n"));
    let behind = manual.split(&fence).skip(1);
    behind.map(|rest| rest.split("```").next().expect("a block").to_owned()).collect()
}

fn free_port() -> u16 {
    support::free_port().port()
}

/// A new, empty directory.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// Starts a proxy, which Debian installs outside the usual PATH, and waits until it listens.
fn start(program: &str, args: &[&str], port: u16) -> Program {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").expect("a PATH"));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\"", "sh", program]).args(args).env("PATH", path).stdin(Stdio::null());
    let proxy = Program::spawn(&mut command);
    eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    proxy
}

/// The status, and the whole answer.
fn answer(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    stream.write_all(get(path, "Connection: close\r\n").as_ref()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("comes to its end");
    (answer.split_whitespace().nth(1).expect("a status").to_owned(), answer)
}

/// Checks that the time comes repeatedly, and that a Close gets its answer.
fn expect_pushes(builder: &Builder) {
    let (connection, mut messages) = builder.connect().expect("connects");
    for _ in 0..3 {
        let message = messages.recv().expect("comes").expect("goes on");
        assert!(message.as_text().is_some_and(|time| time.starts_with("20")), "{message:?}");
    }
    connection.write_message("x".repeat(100_000)).expect("is open");
    connection.close(Some(1000), Some("done")).expect("is open");
    while messages.recv().expect("ends in order").is_some() {}
    assert_eq!(messages.close_code(), Some(1000));
}

/// Checks that the proxy and the program agree on whether a target is `/stats` or `/metrics`, however it is written.
fn expect_no_numbers(port: u16) {
    let targets = [
        "/stats",
        "/stats?x",
        "http://a/stats",
        "HTTP://a/stats",
        "https://a:1/stats?x",
        "*://a/stats",
        "://a/stats",
        "x://a/stats",
        "ws://a/stats",
        "http://u@a/stats",
        "http:///stats",
        "//a/stats",
        "//stats",
        "/stats#x",
        "/stats#",
        "/./stats",
        "/x/../stats",
        "/%73tats",
        "/stats%3f",
        "/stats/",
        "/stats;x",
        "/\\stats",
        "stats",
        "a:80/stats",
    ];
    let of_both = ["stats", "metrics"].map(|page| targets.map(|target| target.replace("stats", page)));
    for target in of_both.as_flattened() {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        stream.write_all(get(target, "Connection: close\r\n").as_ref()).expect("sends");
        let mut answer = String::new();
        // A proxy that does not recognize HTTP may end it with a reset.
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains("\"capacity\"") && !answer.contains("threadcast_"), "{target}: {answer}");
    }
}

fn expect_all(port: u16, below: &str) {
    let (status, page) = answer(port, below);
    assert!(status == "200" && page.contains("static/clock.js"), "{below}: {status}");
    for (file, expected) in
        [("static/clock.js", "200"), ("stats", "404"), ("metrics", "404"), ("ready", "200")]
    {
        assert_eq!(answer(port, &format!("{below}{file}")).0, expected, "{below}{file}");
    }
    expect_pushes(&Builder::new(&format!("ws://localhost:{port}{below}websocket?Id=A")));
}

#[test]
fn nginx_passes_the_page_and_its_websocket_below_a_path_and_over_tls_too() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let [whole, below] = &blocks("nginx")[..] else { panic!("two blocks for nginx in {MANUAL}") };
    let (_, lines) = whole.split_once("8888;\n").expect("the other lines");
    let (lines, _) = lines.split_once('}').expect("the end of `location /`");
    let other = "    # and the other lines of `location /`\n";
    assert!(below.contains(other), "{below}");
    let below = below.replace(other, lines);
    let (place, identity, [port, secure]) =
        (directory("nginx"), Identity::new(), [(); 2].map(|()| free_port()));
    fs::write(place.join("chain.pem"), &identity.chain).expect("writes");
    fs::write(place.join("key.pem"), &identity.key).expect("writes");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {}/{what};", place.display()))
        .collect();
    let locations = format!("{whole}{below}").replace("8888", &program.addr().port().to_string());
    let place = place.display();
    let configuration = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log; events {{}}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl;\n\
         ssl_certificate {place}/chain.pem; ssl_certificate_key {place}/key.pem;\n{locations}}} }}\n"
    );
    let file = format!("{place}/nginx.conf");
    fs::write(&file, configuration).expect("writes");
    let _nginx = start("nginx", &["-e", &format!("{place}/error.log"), "-c", &file], port);
    for below in ["/", "/clock/"] {
        expect_all(port, below);
        let url = format!("wss://localhost:{secure}{below}websocket?Id=A");
        expect_pushes(&Builder::new(&url).root_certificates(&identity.chain));
    }
    expect_no_numbers(port);
}

/// With the lines of the manual's section about it, and a bind address of the loopback that is not the usual one.
#[test]
fn haproxy_tells_the_client_by_a_proxy_header_and_checks_without_one() {
    let token = Directory::new("haproxy-token");
    let file = token.secret("token", TOKEN);
    let args = ["--proxy-protocol", "--trusted-proxy", "127.0.0.0/8", "--admin-token-file", &file];
    for version in ["send-proxy", "send-proxy-v2"] {
        let program = Program::start(&[&args[..], &["--interval", "50ms", "--logging", "warning"]].concat());
        let port = free_port();
        let configuration = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend web\n bind 127.0.0.1:{port}\n default_backend threadcast\n\
             backend threadcast\n option httpchk GET /ready\n server local {} {version} check inter 100ms\n",
            program.addr()
        );
        let file = directory(version).join("haproxy.cfg");
        fs::write(&file, configuration).expect("writes");
        let haproxy = start("haproxy", &["-db", "-f", file.to_str().expect("a path")], port);
        expect_pushes(&Builder::new(&format!("ws://localhost:{port}/websocket?Id=A")));
        let proxy = ([127, 0, 0, 1], port).into();
        let client = Raw::connect_from(77, proxy).upgraded("/websocket?Id=B");
        let mut asks = Raw::connect_from(78, proxy);
        asks.send(get("/clients", &format!("Authorization: Bearer {TOKEN}\r\n")));
        let (_, body) = asks.response();
        let clients: serde_json::Value = serde_json::from_slice(&body).expect("is JSON");
        let address = clients["clients"][0]["address"].as_str().expect("an address");
        assert!(address.starts_with("127.0.0.77:"), "{version}: {clients}");
        // Its checks come from itself, and are answered.
        assert!(!haproxy.lines().iter().any(|line| line.contains("DOWN")), "{:#?}", haproxy.lines());
        assert!(!program.lines().iter().any(|line| line.contains("PROXY")), "{:#?}", program.lines());
        drop(client);
    }
}

#[test]
fn haproxy_passes_the_page_and_its_websocket() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let [configuration] = &blocks("haproxy")[..] else { panic!("one block for HAProxy in {MANUAL}") };
    let port = free_port();
    let configuration = configuration
        .replace("bind :80", &format!("bind 127.0.0.1:{port}"))
        .replace("8888", &program.addr().port().to_string());
    let file = directory("haproxy").join("haproxy.cfg");
    fs::write(&file, configuration).expect("writes");
    let _haproxy = start("haproxy", &["-db", "-f", file.to_str().expect("a path")], port);
    expect_all(port, "/");
    expect_no_numbers(port);
}

#[test]
fn caddy_passes_the_page_and_its_websocket_and_a_reload_ends_the_websockets() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let [site] = &blocks("caddy")[..] else { panic!("one block for Caddy in {MANUAL}") };
    let (place, port) = (directory("caddy"), free_port());
    let site = site
        .replace("localhost:80 ", &format!("localhost:{port} "))
        .replace("8888", &program.addr().port().to_string());
    let (place, file) = (place.display(), format!("{place}/Caddyfile", place = place.display()));
    let with = |more: &str| format!("{{\n admin unix/{place}/admin\n}}\n{more}\n{site}");
    fs::write(&file, with("")).expect("writes");
    let own = ["CONFIG", "DATA"].map(|what| format!("XDG_{what}_HOME={place}"));
    let run = [&own[0], &own[1], "caddy", "run", "--config", &file, "--adapter", "caddyfile"];
    let _caddy = start("env", &run, port);
    expect_all(port, "/");
    expect_no_numbers(port);
    let (_connection, mut messages) =
        Builder::new(&format!("ws://localhost:{port}/websocket?Id=R")).connect().expect("connects");
    messages.recv().expect("comes").expect("goes on");
    fs::write(&file, with("# another comment")).expect("writes");
    let admin = format!("unix/{place}/admin");
    let reload = ["reload", "--force", "--config", &file, "--adapter", "caddyfile", "--address", &admin];
    let reloaded = Command::new("caddy").args(reload).output().expect("runs");
    assert!(reloaded.status.success(), "{reloaded:?}");
    while let Ok(Some(_)) = messages.recv() {}
    expect_all(port, "/");
}

#[test]
fn apache_passes_the_page_and_its_websocket() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let [lines] = &blocks("apache")[..] else { panic!("one block for Apache in {MANUAL}") };
    let (place, port) = (directory("apache"), free_port());
    let lines = lines.replace("8888", &program.addr().port().to_string());
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    let place = place.display();
    let configuration = format!(
        "{modules}ServerName localhost\nListen 127.0.0.1:{port}\nUser nobody\nGroup nogroup\n\
         DocumentRoot {place}\nPidFile {place}/pid\nErrorLog {place}/error.log\n{lines}"
    );
    let file = format!("{place}/apache.conf");
    fs::write(&file, configuration).expect("writes");
    // One process, so that none is left behind.
    let _apache = start("apache2", &["-X", "-f", &file], port);
    expect_all(port, "/");
    expect_no_numbers(port);
}
