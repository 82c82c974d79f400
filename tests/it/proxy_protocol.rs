//! The PROXY protocol: who the client is, and that nobody else may come.

use crate::support;
use support::tls;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use support::{DEADLINE, Directory, Event, Probed, Program, Raw, eventually, fetch, get, status, upgrade};
use threadcast::Network;
use tls::Identity;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.9 12345 80\r\n";

/// A header of version 2, with this command.
fn v2(command: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 192, 0, 2, 9, 0x30, 0x39, 0, 80];
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, 0x11, 0, 12], &addresses].concat()
}

/// Trusts 127.0.0.2 to 127.0.0.3.
fn serve() -> Probed {
    let network: Network = "127.0.0.2/31".parse().expect("a network");
    Probed::start_with(
        |application| application.trusted_proxies([network]).proxy_protocol(true),
        |_, _| Ok(()),
    )
}

/// A WebSocket behind this header: who it is.
fn address(probed: &Probed, header: &[u8], headers: &str) -> SocketAddr {
    let mut raw = Raw::connect_from(2, probed.addr);
    raw.send([header, upgrade("/ws", headers).as_ref()].concat());
    assert_eq!(status(&raw.head()), 101);
    loop {
        // Those before it may be on their way out.
        if let Event::Open(connection) = probed.next("an open") {
            return connection.peer_addr();
        }
    }
}

#[test]
fn the_client_is_who_the_header_names() {
    let probed = serve();
    for header in [V1.to_vec(), v2(0x21)] {
        assert_eq!(address(&probed, &header, "").to_string(), "192.0.2.1:12345");
        // It is not a trusted proxy, so its header does not count.
        let client = address(&probed, &header, "X-Forwarded-For: 198.51.100.1\r\n");
        assert_eq!(client.to_string(), "192.0.2.1:12345");
    }
    // Nobody is named: the proxy itself.
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20)] {
        assert_eq!(address(&probed, &header, "").ip().to_string(), "127.0.0.2");
    }
    // Behind two proxies, of which the outer one speaks HTTP.
    let outer = b"PROXY TCP4 127.0.0.3 127.0.0.2 12345 80\r\n";
    let client = address(&probed, outer, "X-Forwarded-For: 198.51.100.1\r\n");
    assert_eq!(client.to_string(), "198.51.100.1:0");
}

#[test]
fn the_header_may_come_in_pieces_and_with_what_follows() {
    let probed = serve();
    for header in [V1.to_vec(), v2(0x21)] {
        let all = [&header[..], upgrade("/ws", "").as_ref()].concat();
        for cut in [1, 5, 12, 15, 16, header.len() - 1, header.len(), header.len() + 9] {
            let mut raw = Raw::connect_from(3, probed.addr);
            raw.send(&all[..cut]);
            // The server has read it when nothing of it is on its way.
            eventually("it has come", || support::on_its_way(probed.addr) == 0);
            raw.send(&all[cut..]);
            assert_eq!(status(&raw.head()), 101, "{cut}");
            probed.next("an open");
        }
    }
    // The header stands before the first request only.
    let mut raw = Raw::connect_from(2, probed.addr);
    raw.send([V1, get("/none", "").as_ref(), get("/none", "").as_ref()].concat());
    assert_eq!([raw.response().0, raw.response().0].map(|head| status(&head)), [404, 404]);
    raw.send([V1, get("/none", "").as_ref()].concat());
    assert_ne!(status(&raw.response().0), 404);
}

#[test]
fn who_sends_none_and_who_is_not_trusted_is_closed_without_an_answer() {
    let probed = serve();
    for bytes in [
        get("/", "").as_bytes().to_vec(),
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        b"PROXY TCP4 x 192.0.2.9 12345 80\r\n".to_vec(),
        [b"PROXY ".to_vec(), vec![b'x'; 200]].concat(),
        v2(0x31),
        [&v2(0x21)[..14], &[0xff, 0xff], &[0; 600]].concat(),
    ] {
        let mut raw = Raw::connect_from(2, probed.addr);
        raw.send(&bytes);
        assert!(raw.response_or_end().is_none(), "{bytes:?}");
    }
    let mut half = Raw::connect_from(2, probed.addr);
    half.send(&V1[..10]);
    drop(half);
    for host in [1, 4] {
        let mut stranger = Raw::connect_from(host, probed.addr);
        stranger.send([V1, get("/", "").as_ref()].concat());
        assert!(stranger.response_or_end().is_none(), "{host}");
    }
    let rejections = probed.server.stats().rejections;
    assert_eq!(rejections.not_a_proxy, 2);
}

#[test]
fn it_stands_before_tls_too() {
    let identity = Identity::new();
    let config = identity.config();
    let network: Network = "127.0.0.1".parse().expect("a network");
    let settings = |application: threadcast::Application| {
        application.tls(config).trusted_proxies([network]).proxy_protocol(true)
    };
    let probed = Probed::start_with(settings, |_, _| Ok(()));
    let client = Arc::new(identity.client(&[&rustls::version::TLS13]));
    let mut stream = TcpStream::connect(probed.addr).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    stream.write_all(&v2(0x21)).expect("sends");
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(client, name).expect("a client");
    let mut secure = StreamOwned::new(tls, stream);
    secure.write_all(upgrade("/ws", "").as_ref()).expect("sends");
    let Event::Open(connection) = probed.next("an open") else { panic!("another event") };
    assert_eq!(connection.peer_addr().to_string(), "192.0.2.1:12345");
}

#[test]
fn the_limits_of_an_address_are_those_of_the_client() {
    let network: Network = "127.0.0.2".parse().expect("a network");
    let settings = |application: threadcast::Application| {
        application.trusted_proxies([network]).proxy_protocol(true).max_clients_per_address(1)
    };
    let probed = Probed::start_with(settings, |_, _| Ok(()));
    let ask = |header: &[u8]| {
        let mut raw = Raw::connect_from(2, probed.addr);
        raw.send([header, upgrade("/ws", "").as_ref()].concat());
        (status(&raw.head()), raw)
    };
    let (first, _inside) = ask(V1);
    assert_eq!((first, ask(V1).0), (101, 503));
    assert_eq!(ask(b"PROXY TCP4 192.0.2.2 192.0.2.9 12345 80\r\n").0, 101);
}

#[test]
fn a_client_that_is_told_is_not_of_this_machine_though_its_address_is() {
    let program = Program::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.1", "--interval", "1h"]);
    for (header, code) in [
        (&b"PROXY TCP4 127.0.0.1 127.0.0.1 12345 80\r\n"[..], 403),
        (V1, 403),
        // The proxy's own requests are.
        (b"PROXY UNKNOWN\r\n", 200),
    ] {
        let request = get("/stats", "");
        let (head, _) = fetch(program.addr(), [header, request.as_ref()].concat());
        assert_eq!(status(&head), code, "{}", String::from_utf8_lossy(header));
    }
    let (head, _) = fetch(program.addr(), [V1, get("/health", "").as_ref()].concat());
    assert_eq!(status(&head), 200);
    let mut raw = Raw::connect(program.addr());
    raw.send(get("/", ""));
    assert!(raw.response_or_end().is_none());
    program.wait_for_line("a trusted proxy sends no valid PROXY header");
}

#[test]
fn options_that_do_not_go_together_or_are_wrong_are_one_line() {
    for (args, said) in [
        (&["--proxy-protocol"][..], "--trusted-proxy"),
        (&["--trusted-proxy", "10.0.0.1/8"], "write 10.0.0.0/8, or 10.0.0.1 for that one address"),
        (&["--trusted-proxy", "proxy.test"], "is not a network"),
        (&["--trusted-proxy", "127.0.0.1", "--proxy-protocol", "--lab"], "--lab"),
    ] {
        let (code, lines) = Program::spawn(Program::command().args(args)).run_to_its_end();
        assert_eq!((code, lines.len()), (Some(2), 1), "{args:?}: {lines:?}");
        assert!(lines[0].contains(said), "{args:?}: {lines:?}");
    }
}

#[test]
fn the_program_trusts_x_forwarded_for_of_the_networks_that_it_is_told() {
    let directory = Directory::new("trusted-proxy");
    let file = directory.secret("token", "token-of-the-tests");
    let args = ["--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "127.0.0.2", "--interval", "1h"];
    let program = Program::start(&[&args[..], &["--admin-token-file", &file]].concat());
    for (host, list, expected) in [
        (2, "192.0.2.1", "192.0.2.1:0"),
        (2, "192.0.2.1, 10.1.2.3", "192.0.2.1:0"),
        (3, "192.0.2.1", "127.0.0.3:"),
    ] {
        let mut raw = Raw::connect_from(host, program.addr());
        raw.send(upgrade("/websocket?Id=A", &format!("X-Forwarded-For: {list}\r\n")));
        assert_eq!(status(&raw.head()), 101);
        let request = get("/clients", "Authorization: Bearer token-of-the-tests\r\n");
        eventually("it is registered", || {
            let body = String::from_utf8(fetch(program.addr(), request.clone()).1).expect("is UTF-8");
            body.contains(&format!("\"address\":\"{expected}"))
        });
    }
}
