//! A relay between a browser and a server, like a proxy or a bad network: it shows the server below a prefix (`location
//! /clock/`), and it can freeze, so that every connection stays open and nothing passes.
//!
//! One thread accepts, and each connection has two, one for each direction. They end with the process.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;

/// A running relay.
pub struct Relay {
    /// Its address.
    pub addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    prefix: String,
    frozen: Mutex<bool>,
    thawed: Condvar,
    /// First lines of the requests that were not below the prefix.
    astray: Mutex<Vec<String>>,
}

impl Relay {
    /// Shows the server's `/` as `PREFIX/`. Without a prefix it passes everything on.
    pub fn start(server: SocketAddr, prefix: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            server,
            prefix: prefix.to_owned(),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
            astray: Mutex::new(Vec::new()),
        });
        let own = state.clone();
        thread::spawn(move || {
            for browser in listener.incoming().flatten() {
                let state = own.clone();
                thread::spawn(move || state.relay(browser));
            }
        });
        Relay { addr, state }
    }

    /// From now on nothing passes; no connection ends, and new ones are accepted.
    pub fn freeze(&self) {
        *self.state.frozen.lock().unwrap() = true;
    }

    /// Held bytes pass, and all later ones.
    pub fn thaw(&self) {
        *self.state.frozen.lock().unwrap() = false;
        self.state.thawed.notify_all();
    }

    /// First lines of the requests that were not below the prefix.
    pub fn astray(&self) -> Vec<String> {
        self.state.astray.lock().unwrap().clone()
    }
}

impl State {
    fn relay(self: Arc<State>, mut browser: TcpStream) {
        let Some(head) = read_head(&mut browser) else { return };
        let Some(passed) = self.below_the_prefix(&head) else {
            self.astray.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
            let _ = browser
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        };
        self.wait_while_frozen();
        let Ok(mut server) = TcpStream::connect(self.server) else { return };
        if server.write_all(passed.as_bytes()).is_err() {
            return;
        }
        let (Ok(from), Ok(to)) = (browser.try_clone(), server.try_clone()) else { return };
        let state = self.clone();
        thread::spawn(move || state.copy(from, to));
        self.copy(server, browser);
    }

    /// The head for the server: without the prefix, and as the only one of its connection, because the relay parses
    /// only the first one.
    fn below_the_prefix(&self, head: &str) -> Option<String> {
        let (method, rest) = head.split_once(' ')?;
        let rest = rest.strip_prefix(&self.prefix).filter(|rest| rest.starts_with('/'))?;
        let once = rest.replacen("Connection: keep-alive\r\n", "Connection: close\r\n", 1);
        Some(format!("{method} {once}"))
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            self.wait_while_frozen();
            if to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        self.wait_while_frozen();
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait_while_frozen(&self) {
        let frozen = self.frozen.lock().unwrap();
        drop(self.thawed.wait_while(frozen, |frozen| *frozen).unwrap());
    }
}

/// A request's head, with its empty line; `None` if the connection ends before.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
