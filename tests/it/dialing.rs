//! How a client gets to its server: which of a name's addresses, and through a proxy.

use crate::support;
use support::{far, network, tls};

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use far::Far;
use support::{DEADLINE, Probed, Raw, run_again};
use threadcast::client::Builder;
use threadcast::{Connection, Error};
use tls::Identity;

/// The step in which a client's deadline passes.
const SHORT: Duration = Duration::from_millis(200);

/// A proxy that opens every way, and keeps the heads of the requests.
struct Proxy {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let (addr, heads) = (listener.local_addr().expect("an address"), Arc::default());
        let own: Arc<Mutex<Vec<String>>> = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let own = own.clone();
                thread::spawn(move || serve(client, &own));
            }
        });
        Proxy { addr, heads }
    }
}

fn serve(client: TcpStream, heads: &Mutex<Vec<String>>) {
    let mut client = Raw::over(client);
    let head = client.head();
    let port = head.split_whitespace().nth(1).and_then(|target| target.rsplit_once(':')).expect("a target").1;
    let server = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connects");
    heads.lock().unwrap().push(head);
    // Not all proxies know that an answer to CONNECT has no length.
    client.send(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nContent-Length: 9\r\n\r\n",
    );
    let client = client.stream;
    thread::scope(|scope| {
        scope.spawn(|| pass(&client, &server));
        pass(&server, &client);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    // Either end may have gone.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn error<T>(result: threadcast::Result<T>) -> String {
    match result {
        Ok(_) => panic!("connected"),
        Err(error) => error.to_string(),
    }
}

/// Connects, and has a message come back.
fn expect_echo(builder: &Builder) {
    let (connection, mut messages) = builder.connect().unwrap_or_else(|error| panic!("{error}"));
    connection.write_message("hi").expect("is open");
    assert_eq!(messages.recv_timeout(DEADLINE).expect("comes"), Some("hi".into()));
}

// ---- which address ----

#[test]
fn a_dead_first_address_does_not_keep_the_next_one_waiting() {
    let lines = "127.0.0.1 localhost\n127.0.0.2 two.test\n127.0.0.3 two.test\n";
    network::with_hosts("a_dead_first_address_does_not_keep_the_next_one_waiting", lines, || {
        let first =
            ("two.test", 0).to_socket_addrs().expect("two addresses").next().expect("an address").ip();
        let other = if first.to_string() == "127.0.0.2" { [127, 0, 0, 3] } else { [127, 0, 0, 2] };
        // Full from the first one on: the kernel then drops what comes, as a dead host would.
        let dead = TcpListener::bind((first, 0)).expect("binds");
        rustix::net::listen(&dead, 0).expect("listens");
        let dead = dead.local_addr().expect("an address");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&dead, SHORT) {
            queue.push(stream);
        }
        let alive = TcpListener::bind((std::net::Ipv4Addr::from(other), dead.port())).expect("binds");
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut raw = Raw::over(alive.accept().expect("accepts").0);
                raw.head();
                raw.send("HTTP/1.1 503 Alive\r\nContent-Length: 0\r\n\r\n");
            });
            let builder =
                Builder::new(&format!("ws://two.test:{}", dead.port())).connect_deadline(4 * DEADLINE);
            let line = error(builder.connect());
            assert!(line.ends_with("answered the handshake with 503 Alive"), "{line}");
        });
        // Half of the deadline was its share.
        assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    });
}

// ---- by a proxy ----

#[test]
fn by_a_proxy_a_server_is_reached_with_tls_and_without() {
    let (identity, proxy) = (Identity::new(), Proxy::start());
    let tls = identity.config();
    let plain = Probed::start_with(|application| application, Connection::write_message);
    let secure = Probed::start_with(move |application| application.tls(tls), Connection::write_message);
    let with_user = format!("http://me:se%20cret@{}/", proxy.addr);
    // The proxy looks the names up.
    let server = format!("ws://chat.test:{}/ws", plain.addr.port());
    expect_echo(&Builder::new(&server).proxy(&with_user));
    let server = format!("wss://localhost:{}/ws", secure.addr.port());
    expect_echo(&Builder::new(&server).root_certificates(&identity.chain).proxy(&proxy.addr.to_string()));
    let (plain, secure) = (plain.addr.port(), secure.addr.port());
    assert_eq!(
        *proxy.heads.lock().unwrap(),
        [
            format!(
                "CONNECT chat.test:{plain} HTTP/1.1\r\nHost: chat.test:{plain}\r\n\
                 Proxy-Authorization: Basic bWU6c2UgY3JldA==\r\n\r\n"
            ),
            format!("CONNECT localhost:{secure} HTTP/1.1\r\nHost: localhost:{secure}\r\n\r\n"),
        ]
    );
}

#[test]
fn a_proxy_that_opens_no_way_is_an_error_that_names_it_as_a_table() {
    let proxy = Far::bind();
    let builder = Builder::new("ws://chat.test:81/ws?token=secret")
        .proxy(&format!("http://me:secret@{}", proxy.addr()));
    let long = "y".repeat(20_000);
    for (answer, says, status) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\nWho, you?",
            "407 Proxy Authentication Required, Who, you?",
            Some(407),
        ),
        ("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "503 Busy", Some(503)),
        (
            "HTTP/1.1 302 Found\r\nLocation: /in\r\nContent-Length: 0\r\n\r\n",
            "302 Found, to /in; redirects are not followed",
            Some(302),
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 Switching Protocols", Some(101)),
        ("HTTP/1.1 200 OK\r\n\r\nHello", "bytes that follow its head too early", Some(200)),
        (
            &format!("HTTP/1.1 403 No\r\nX: {long}\r\n\r\n"),
            "403 No, and a head of over 16384 bytes or 100 headers",
            Some(403),
        ),
        (
            &format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n"),
            "200 OK, and a head of over 16384 bytes or 100 headers",
            Some(200),
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "bytes that are not HTTP/1.1 (invalid HTTP version)", None),
    ] {
        let failed = thread::scope(|scope| {
            let connected = scope.spawn(|| builder.connect());
            let (mut raw, head) = proxy.accept();
            assert!(
                head.starts_with("CONNECT chat.test:81 HTTP/1.1\r\n") && !head.contains("token"),
                "{head}"
            );
            raw.send(answer);
            drop(raw);
            connected.join().unwrap()
        });
        let Err(Error::Handshake { reason, answer, .. }) = failed else { panic!("{says}") };
        let expected = format!("the proxy http://{} answered CONNECT chat.test:81 with {says}", proxy.addr());
        assert_eq!((reason, answer.map(|answer| answer.status)), (expected, status));
    }
}

#[test]
fn a_proxy_that_is_not_there_or_silent_or_leaves_is_named() {
    let far = Far::bind();
    let proxy = format!("the proxy http://{}", far.addr());
    let builder = Builder::new("ws://chat.test/").proxy(&format!("me:secret@{}", far.addr()));
    thread::scope(|scope| {
        let client = scope.spawn(|| error(builder.clone().connect_deadline(SHORT).connect()));
        let _raw = far.accept().0;
        let line = client.join().unwrap();
        assert_eq!(
            line,
            format!("{proxy} did not answer CONNECT chat.test:80: not within the connect deadline")
        );
    });
    thread::scope(|scope| {
        scope.spawn(|| drop(far.accept().0));
        let line = error(builder.connect());
        assert_eq!(line, format!("{proxy} did not answer CONNECT chat.test:80: it closed the connection"));
    });
    let addr = support::free_port();
    let line = error(Builder::new("ws://chat.test/").proxy(&format!("me:secret@{addr}")).connect());
    assert_eq!(line, format!("cannot connect to the proxy http://{addr} ({addr}): Connection refused"));
    let line = error(Builder::new("ws://chat.test/").proxy("socks5://me:secret@a.test:1080").connect());
    assert_eq!(line, "not a proxy URL such as http://host:3128: only http:// proxies are supported");
}

/// Where the child finds the server.
const SERVER: &str = "THREADCAST_TEST_SERVER";

#[test]
fn the_environment_names_a_proxy_and_servers_that_need_none() {
    if support::is_run_again() {
        return by_the_environment(&std::env::var(SERVER).expect("is set"));
    }
    let (proxy, server) =
        (Proxy::start(), Probed::start_with(|application| application, Connection::write_message));
    let port = server.addr.port().to_string();
    let spellings = [
        ("https_proxy", format!("http://{}", proxy.addr), "no_proxy"),
        ("HTTPS_PROXY", proxy.addr.to_string(), "NO_PROXY"),
    ];
    for (proxy, url, exempt) in spellings {
        let mut command = Command::new(std::env::current_exe().expect("this test's path"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command.env(proxy, url).env(exempt, "a.test, 127.0.0.0/31").env(SERVER, &port);
        run_again("the_environment_names_a_proxy_and_servers_that_need_none", &mut command);
    }
    let heads = proxy.heads.lock().unwrap();
    let targets: Vec<_> = heads.iter().map(|head| head.split(' ').nth(1).expect("a target")).collect();
    assert_eq!(targets, [format!("b.test:{port}"), format!("b.test:{port}")]);
}

fn by_the_environment(port: &str) {
    let builder = |host| Builder::new(&format!("ws://{host}:{port}/ws"));
    expect_echo(&builder("b.test").proxy_from_environment());
    expect_echo(&builder("127.0.0.1").proxy_from_environment());
    expect_echo(&builder("127.0.0.1"));
}
