//! TLS, as a client sees it that is not ours: `rustls`, on a socket of its own.

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustls::version::{TLS12, TLS13};
use support::{Event, Probed, Raw, eventually, frame, get, upgrade};
use threadcast::{Application, Exchange, RequestHandler, Result, Server};
use tls::{Identity, Secure};

const VERSIONS: [&[&rustls::SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

/// A server with a probe that echoes at `/ws`, and a page that says how it was reached.
fn echoing(identity: &Identity) -> Probed {
    let tls = identity.config();
    Probed::start_with(
        move |application| application.page("/", || Scheme).max_backlog(16 << 20).tls(tls),
        |connection, message| connection.write_message(message),
    )
}

struct Scheme;

impl RequestHandler for Scheme {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_cookie("a", "b")?;
        let scheme = if exchange.is_secure() { "https" } else { "http" };
        exchange.write(scheme);
        Ok(())
    }
}

#[test]
fn pages_and_messages_go_to_and_fro_and_the_end_is_in_order() {
    let identity = Identity::new();
    let probed = echoing(&identity);
    for versions in VERSIONS {
        let config = Arc::new(identity.client(versions));
        let mut page = Secure::connect(probed.addr, &config);
        page.send(get("/", ""));
        let head = page.head();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("; Secure"), "{head}");
        assert_eq!(page.take(5, "the page"), b"https");
        page.send(get("/", "Connection: close\r\n"));
        assert!(page.rest().expect("close_notify").ends_with(b"https"));

        let mut client = Secure::websocket(probed.addr, &config, "/ws");
        for length in [0, 1, 125, 126, 16_000, 16_384, 65_536, 1 << 20, 9 << 20] {
            let sent: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            client.send_frame(0x82, &sent);
            assert!(client.frame() == (0x82, sent), "{length}");
        }
        client.send_frame(0x88, 1000u16.to_be_bytes());
        assert_eq!(client.frame(), (0x88, 1000u16.to_be_bytes().to_vec()));
        assert!(client.rest().expect("close_notify").is_empty());
    }
    drop(probed);
}
