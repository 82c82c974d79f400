//! The manual's lines for nginx, HAProxy, Caddy and Apache, in front of the program: the page, its WebSocket and its
//! pushes pass, and the numbers do not. An idle WebSocket lives on by its Pings, and a reload does what the manual says.
//! HAProxy also with the lines for a drain, and in front of Redis.

use crate::support;
use support::tls;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::fleet::Redis;
use support::{DEADLINE, Directory, Program, Raw, close_frame, eventually, fetch, frame, get};
use threadcast::client::Builder;
use tls::Identity;

const MANUAL: &str = "src/guide/proxies.md";
/// The pages about health and about Redis.
const HEALTH: &str = "src/guide/metrics.md";
const REDIS: &str = "src/guide/redis.md";
const TOKEN: &str = "token-of-the-tests";
/// Where Debian has the modules of Apache.
const MODULES: &str = "/usr/lib/apache2/modules";

/// The configuration blocks with this mark in the manual's page about proxies.
fn blocks(mark: &str) -> Vec<String> {
    blocks_in(MANUAL, mark)
}

fn blocks_in(page: &str, mark: &str) -> Vec<String> {
    let (manual, fence) = (fs::read_to_string(page).expect("the manual"), format!("```{mark}\n"));
    let behind = manual.split(&fence).skip(1);
    behind.map(|rest| rest.split("```").next().expect("a block").to_owned()).collect()
}

/// Each of them is started below.
#[test]
fn each_configuration_of_a_proxy_in_the_manual_has_its_test() {
    let mut found = Vec::new();
    for page in fs::read_dir("src/guide").expect("the manual") {
        let page = page.expect("a page").path().display().to_string();
        for mark in ["nginx", "haproxy", "caddy", "apache"] {
            let count = blocks_in(&page, mark).len();
            found.extend((count > 0).then(|| (page.clone(), mark, count)));
        }
    }
    found.sort();
    let expected = [
        (HEALTH, "haproxy", 1),
        (MANUAL, "apache", 1),
        (MANUAL, "caddy", 1),
        (MANUAL, "haproxy", 1),
        (MANUAL, "nginx", 2),
        (REDIS, "haproxy", 1),
    ];
    assert_eq!(found, expected.map(|(page, mark, count)| (page.to_owned(), mark, count)));
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

/// A command that Debian installs outside the usual PATH.
fn command(program: &str, args: &[&str]) -> Command {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").expect("a PATH"));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\"", "sh", program]).args(args).env("PATH", path).stdin(Stdio::null());
    command
}

/// A proxy with its other processes, which end when it does in order.
struct Proxy(Program);

impl Proxy {
    /// Starts it, and waits until it listens.
    fn start(program: &str, args: &[&str], port: u16) -> Proxy {
        let proxy = Proxy(Program::spawn(&mut command(program, args)));
        eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.signal(Signal::TERM);
        self.0.wait();
    }
}

/// Seconds in place of the manual's 60, and the program's options for Pings that are more frequent, and for no pushes.
const TIMEOUT: u32 = 4;
const IDLE: [&str; 6] = ["--interval", "1h", "--ping-interval", "1s", "--stats", "public"];

/// A WebSocket that nothing passes but Pings, for longer than the timeout. A reload then ends it or not, and new clients
/// are served.
fn expect_idle_and_reload(port: u16, reload: impl FnOnce(), survives: bool) {
    let addr = ([127, 0, 0, 1], port).into();
    let mut client = Raw::websocket(addr, "/websocket?Id=idle");
    let pings = |client: &mut Raw, most: u32| {
        let mut pings = 0;
        while let Some(frame) = if pings < most { client.frame_or_end() } else { None } {
            if frame.first == 0x89 {
                client.send_frame(0x8a, frame.payload);
                pings += 1;
            }
        }
        pings
    };
    let longer = TIMEOUT + 2;
    assert_eq!(pings(&mut client, longer), longer, "the proxy ends an idle WebSocket");
    reload();
    assert_eq!(pings(&mut client, longer) == longer, survives, "a WebSocket survives a reload");
    assert_eq!(answer(port, "/health").0, "200");
    Raw::websocket(addr, "/websocket?Id=B");
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
    for (file, expected) in [
        ("static/clock.js", "200"),
        ("stats", "404"),
        ("metrics", "404"),
        ("ready", "200"),
        ("health", "200"),
    ] {
        assert_eq!(answer(port, &format!("{below}{file}")).0, expected, "{below}{file}");
    }
    expect_pushes(&Builder::new(&format!("ws://localhost:{port}{below}websocket?Id=A")));
}

/// Reloads, and waits until the proxy's log, in its directory of this name, says so.
fn reload_and_wait(mut reload: Command, name: &str, said: &str) {
    assert!(reload.status().expect("runs").success());
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).join("error.log");
    eventually(said, || fs::read_to_string(&log).is_ok_and(|log| log.contains(said)));
}

/// nginx in front of the program, its ports for http and https, and its command to reload.
fn nginx(program: &Program, name: &str, identity: &Identity, seconds: u32) -> (Proxy, [u16; 2], Command) {
    let [whole, below] = &blocks("nginx")[..] else { panic!("two blocks for nginx in {MANUAL}") };
    let (_, lines) = whole.split_once("8888;\n").expect("the other lines");
    let (lines, _) = lines.split_once('}').expect("the end of `location /`");
    let other = "    # and the other lines of `location /`\n";
    assert!(below.contains(other), "{below}");
    let below = below.replace(other, lines);
    let (place, [port, secure]) = (directory(name), [(); 2].map(|()| free_port()));
    fs::write(place.join("chain.pem"), &identity.chain).expect("writes");
    fs::write(place.join("key.pem"), &identity.key).expect("writes");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {}/{what};", place.display()))
        .collect();
    let locations = format!("{whole}{below}").replace("8888", &program.addr().port().to_string());
    let locations = locations.replace("60s", &format!("{seconds}s"));
    let place = place.display();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log notice; events {{}}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl;\n\
         ssl_certificate {place}/chain.pem; ssl_certificate_key {place}/key.pem;\n{locations}}} }}\n"
    );
    let file = format!("{place}/nginx.conf");
    fs::write(&file, configuration).expect("writes");
    let log = format!("{place}/error.log");
    let args = ["-e", &log, "-c", &file];
    let nginx = Proxy::start("nginx", &args, port);
    (nginx, [port, secure], command("nginx", &[&args[..], &["-s", "reload"]].concat()))
}

#[test]
fn nginx_passes_the_page_and_its_websocket_below_a_path_and_over_tls_too() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let identity = Identity::new();
    let (_nginx, [port, secure], _) = nginx(&program, "nginx", &identity, 60);
    for below in ["/", "/clock/"] {
        expect_all(port, below);
        let url = format!("wss://localhost:{secure}{below}websocket?Id=A");
        expect_pushes(&Builder::new(&url).root_certificates(&identity.chain));
    }
    expect_no_numbers(port);
}

#[test]
fn nginx_lets_an_idle_websocket_live_also_through_a_reload() {
    let program = Program::start(&IDLE);
    let (_nginx, [port, _], reload) = nginx(&program, "nginx-idle", &Identity::new(), TIMEOUT);
    expect_idle_and_reload(port, || reload_and_wait(reload, "nginx-idle", "reconfiguring"), true);
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
        let haproxy = haproxy_of(version, &configuration, port);
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
        assert!(!haproxy.0.lines().iter().any(|line| line.contains("DOWN")), "{:#?}", haproxy.0.lines());
        assert!(!program.lines().iter().any(|line| line.contains("PROXY")), "{:#?}", program.lines());
        drop(client);
    }
}

/// HAProxy in front of the program, with a process that reloads it at SIGUSR2.
fn haproxy(program: &Program, name: &str, seconds: u32) -> (Proxy, u16) {
    let [configuration] = &blocks("haproxy")[..] else { panic!("one block for HAProxy in {MANUAL}") };
    let port = free_port();
    let configuration = configuration
        .replace("bind :80", &format!("bind 127.0.0.1:{port}"))
        .replace("60s", &format!("{seconds}s"))
        .replace("8888", &program.addr().port().to_string());
    let file = directory(name).join("haproxy.cfg");
    fs::write(&file, configuration).expect("writes");
    (Proxy::start("haproxy", &["-W", "-db", "-f", file.to_str().expect("a path")], port), port)
}

#[test]
fn haproxy_passes_the_page_and_its_websocket() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let (_haproxy, port) = haproxy(&program, "haproxy", 60);
    expect_all(port, "/");
    expect_no_numbers(port);
}

#[test]
fn haproxy_lets_an_idle_websocket_live_also_through_a_reload() {
    let program = Program::start(&IDLE);
    let (haproxy, port) = haproxy(&program, "haproxy-idle", TIMEOUT);
    let workers = || haproxy.0.lines().iter().filter(|line| line.contains("New worker")).count();
    let reload = || {
        let before = workers();
        haproxy.0.signal(Signal::USR2);
        eventually("there is another worker", || workers() > before);
    };
    expect_idle_and_reload(port, reload, true);
}

/// HAProxy with these lines.
fn haproxy_of(name: &str, configuration: &str, port: u16) -> Proxy {
    let file = directory(name).join("haproxy.cfg");
    fs::write(&file, configuration).expect("writes");
    Proxy::start("haproxy", &["-db", "-f", file.to_str().expect("a path")], port)
}

/// With the lines of the manual's page about health, in front of two machines.
#[test]
fn haproxy_sends_nobody_to_a_draining_machine_once_it_knows() {
    let [backend] = &blocks_in(HEALTH, "haproxy")[..] else { panic!("one block for HAProxy") };
    let args = ["--interval", "50ms", "--drain-delay", "3s", "--drain", "0s"];
    let mut machines = [(); 2].map(|()| Program::start(&args));
    let port = free_port();
    let [one, two] = machines.each_ref().map(|program| program.addr().to_string());
    let backend = backend.replace("10.0.0.1:8888", &one).replace("10.0.0.2:8888", &two);
    let configuration = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend web\n bind 127.0.0.1:{port}\n default_backend threadcast\n{}",
        backend.replace("inter 2s", "inter 100ms")
    );
    let haproxy = haproxy_of("haproxy-drain", &configuration, port);
    let addr = ([127, 0, 0, 1], port).into();
    let mut client = Raw::websocket(addr, "/websocket?Id=A");
    let mut serving = None;
    eventually("one of them has the client", || {
        let has = |program: &Program| program.lines().iter().any(|line| line.contains("write to client A:"));
        serving = machines.iter().position(has);
        serving.is_some()
    });
    let serving = &mut machines[serving.expect("one")];
    serving.signal(Signal::TERM);
    eventually("HAProxy knows", || {
        assert_eq!(answer(port, "/").0, "200");
        haproxy.0.lines().iter().any(|line| line.contains("is DOWN") && line.contains("code: 503"))
    });
    let expect_the_other = || {
        for id in 0..10 {
            assert_eq!(answer(port, "/").0, "200");
            Raw::websocket(addr, &format!("/websocket?Id={id}"));
        }
    };
    expect_the_other();
    while client.frame() != close_frame(1012, "service restart") {}
    drop(client);
    assert_eq!(serving.wait().code(), Some(0));
    expect_the_other();
}

/// With the lines of the manual's page about Redis: the primary becomes the replica, and both go on.
#[test]
fn haproxy_follows_the_primary_of_redis_and_the_fleet_is_linked_again() {
    let [lines] = &blocks_in(REDIS, "haproxy")[..] else { panic!("one block for HAProxy") };
    let (one, two) = (Redis::start(&[]), Redis::start(&[]));
    two.say(&format!("REPLICAOF 127.0.0.1 {}", one.port));
    let port = free_port();
    let mut configuration = lines.replace("127.0.0.1:6379", &format!("127.0.0.1:{port}"));
    for (address, redis) in [("10.0.0.5:6379", &one), ("10.0.0.6:6379", &two)] {
        configuration = configuration.replace(address, &format!("127.0.0.1:{}", redis.port));
    }
    let haproxy = haproxy_of("haproxy-redis", &configuration, port);
    let said = |text: &str| eventually(text, || haproxy.0.lines().iter().any(|line| line.contains(text)));
    said("Server primary/two is DOWN");
    let url = format!("redis://127.0.0.1:{port}");
    let machines = [(); 2].map(|()| Program::start(&["--interval", "1h", "--redis", &url]));
    let linked = |what: &str| {
        eventually(what, || {
            machines.iter().all(|program| {
                let (_, body) = fetch(program.addr(), get("/stats", ""));
                let stats: serde_json::Value = serde_json::from_slice(&body).expect("is JSON");
                stats["fleet"]["machines"] == 2
            })
        });
    };
    linked("they are a fleet");
    two.say("REPLICAOF NO ONE");
    one.say(&format!("REPLICAOF 127.0.0.1 {}", two.port));
    said("Server primary/one is DOWN");
    // The first time was at the start.
    let is_up =
        |program: &Program| program.lines().iter().filter(|line| line.ends_with("to Redis is up")).count();
    eventually("their links are new", || machines.iter().all(|program| is_up(program) > 1));
    linked("they are a fleet again");
    let clients = machines.iter().zip(["A", "B"]);
    let clients = clients.map(|(program, id)| Raw::websocket(program.addr(), &format!("/websocket?Id={id}")));
    let clients: Vec<_> = clients.collect();
    two.say("PUBLISH threadcast:all hello");
    for mut client in clients {
        while client.frame() != frame(0x81, "hello") {}
    }
}

/// Caddy in front of the program, and its command to reload.
fn caddy(program: &Program, name: &str) -> (Proxy, u16, Command) {
    let [site] = &blocks("caddy")[..] else { panic!("one block for Caddy in {MANUAL}") };
    let (place, port) = (directory(name), free_port());
    let site = site
        .replace("localhost:80 ", &format!("localhost:{port} "))
        .replace("8888", &program.addr().port().to_string());
    let (place, file) = (place.display(), format!("{place}/Caddyfile", place = place.display()));
    let admin = format!("unix/{place}/admin");
    fs::write(&file, format!("{{\n admin {admin}\n}}\n{site}")).expect("writes");
    let own = ["CONFIG", "DATA"].map(|what| format!("XDG_{what}_HOME={place}"));
    let of_file = ["--config", &file, "--adapter", "caddyfile"];
    let run = [&[&own[0][..], &own[1], "caddy", "run"], &of_file[..]].concat();
    // Without --force it leaves an unchanged configuration alone.
    let reload = [&["reload", "--force", "--address", &admin], &of_file[..]].concat();
    (Proxy::start("env", &run, port), port, command("caddy", &reload))
}

#[test]
fn caddy_passes_the_page_and_its_websocket() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let (_caddy, port, _) = caddy(&program, "caddy");
    expect_all(port, "/");
    expect_no_numbers(port);
}

#[test]
fn caddy_lets_an_idle_websocket_live_and_ends_it_at_a_reload() {
    let program = Program::start(&IDLE);
    let (_caddy, port, mut reload) = caddy(&program, "caddy-idle");
    expect_idle_and_reload(port, || assert!(reload.output().expect("runs").status.success()), false);
}

/// Apache in front of the program, and its command to reload.
fn apache(program: &Program, name: &str, seconds: u32) -> (Proxy, u16, Command) {
    let [lines] = &blocks("apache")[..] else { panic!("one block for Apache in {MANUAL}") };
    let (place, port) = (directory(name), free_port());
    let lines = lines.replace("8888", &program.addr().port().to_string());
    let lines = lines.replace("ProxyTimeout 60", &format!("ProxyTimeout {seconds}"));
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    let place = place.display();
    let configuration = format!(
        "{modules}ServerName localhost\nListen 127.0.0.1:{port}\nUser nobody\nGroup nogroup\nStartServers 1\nTimeout {seconds}\n\
         DocumentRoot {place}\nPidFile {place}/pid\nErrorLog {place}/error.log\n{lines}"
    );
    let file = format!("{place}/apache.conf");
    fs::write(&file, configuration).expect("writes");
    let apache = Proxy::start("apache2", &["-DFOREGROUND", "-f", &file], port);
    (apache, port, command("apache2", &["-f", &file, "-k", "graceful"]))
}

#[test]
fn apache_passes_the_page_and_its_websocket() {
    let program = Program::start(&["--interval", "50ms", "--stats", "public"]);
    let (_apache, port, _) = apache(&program, "apache", 60);
    expect_all(port, "/");
    expect_no_numbers(port);
}

#[test]
fn apache_lets_an_idle_websocket_live_also_through_a_reload() {
    let program = Program::start(&IDLE);
    let (_apache, port, reload) = apache(&program, "apache-idle", TIMEOUT);
    expect_idle_and_reload(port, || reload_and_wait(reload, "apache-idle", "Doing graceful restart"), true);
}
