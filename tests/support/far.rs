//! A server that speaks bytes: the far end of a client's connection. It checks only what a test asks it to.

use std::net::{SocketAddr, TcpListener};

use threadcast::client::{Builder, Messages};
use threadcast::{Connection, Result};
use tungstenite::handshake::derive_accept_key;

use super::{Raw, Wire, header_values};

/// A listener for clients.
pub struct Far(TcpListener);

impl Far {
    pub fn bind() -> Far {
        Far(TcpListener::bind("127.0.0.1:0").expect("binds"))
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    pub fn url(&self) -> String {
        format!("ws://{}/ws?token=secret", self.addr())
    }

    /// The next client's end, and its request.
    pub fn accept(&self) -> (Raw, String) {
        let mut raw = Raw::over(self.0.accept().expect("accepts").0);
        let request = raw.head();
        (raw, request)
    }

    /// Answers the next client with `answer`, in which `ACCEPT` stands for the answer to its key, followed by `early`.
    pub fn answer(&self, answer: &str, early: &[u8]) -> Raw {
        let (mut raw, request) = self.accept();
        let key = header_values(&request, "Sec-WebSocket-Key")[0].to_owned();
        let answer = answer.replace("ACCEPT", &derive_accept_key(key.as_bytes()));
        raw.send([answer.as_bytes(), early].concat());
        raw
    }

    /// An open client, and the server's end of it.
    pub fn open(&self, builder: &Builder) -> (Connection, Messages, Raw) {
        let (connected, raw) = self.meet(builder, SWITCHING, b"");
        let (connection, messages) = connected.unwrap_or_else(|error| panic!("does not connect: {error}"));
        (connection, messages, raw)
    }

    /// The result of a client that gets this answer.
    pub fn meet(
        &self,
        builder: &Builder,
        answer: &str,
        early: &[u8],
    ) -> (Result<(Connection, Messages)>, Raw) {
        std::thread::scope(|scope| {
            let raw = scope.spawn(|| self.answer(answer, early));
            (builder.connect(), raw.join().expect("answers"))
        })
    }
}

/// The correct answer.
pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Accept: ACCEPT\r\n\r\n";

/// A server's frame: without a mask.
pub fn plain(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(short as u8),
        medium @ 126..=65535 => {
            bytes.push(126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// The next frame of a client, which must be masked.
pub fn unmasked(raw: &mut Raw) -> Wire {
    let head = raw.take(2, "a frame");
    assert!(head[1] & 0x80 != 0, "a client's frame without a mask");
    let length = match head[1] & 0x7f {
        126 => usize::from(u16::from_be_bytes(raw.take(2, "a length").try_into().unwrap())),
        127 => u64::from_be_bytes(raw.take(8, "a length").try_into().unwrap()) as usize,
        short => usize::from(short),
    };
    let mask = raw.take(4, "a mask");
    let payload = raw.take(length, "a payload");
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Wire { first: head[0], payload }
}
