//! The client against third-party servers: Tornado, python's `websockets`, `ws` for Node.js. Each echoes messages of 0
//! bytes to 1 MiB, compressed if it can, pings, and closes with a code and a reason.

use crate::support;
use support::python;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{DEADLINE, Program};
use threadcast::Message;
use threadcast::client::Builder;

/// The text that makes each server close instead of echoing.
const CLOSE: &str = "close";
const SIZES: [usize; 12] = [0, 1, 125, 126, 1023, 1024, 4096, 16383, 16384, 65535, 65536, 1 << 20];

const TORNADO: &str = r#"
import tornado.httpserver, tornado.ioloop, tornado.netutil, tornado.web, tornado.websocket

class Echo(tornado.websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}
    def select_subprotocol(self, offered):
        return offered[0] if offered else None
    def on_message(self, message):
        if message == "close":
            self.close(4000, "as asked")
        else:
            self.ping(b"before")
            self.write_message(message, binary=isinstance(message, bytes))

sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
application = tornado.web.Application([("/", Echo)])
server = tornado.httpserver.HTTPServer(application)
server.add_sockets(sockets)
print("listening at", sockets[0].getsockname()[1], flush=True)
tornado.ioloop.IOLoop.current().start()
"#;

const WEBSOCKETS: &str = r#"
import asyncio
from websockets.asyncio.server import serve

async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4000, "as asked")
        else:
            await socket.ping()
            # In fragments.
            half = len(message) // 2
            await socket.send([message[:half], message[half:]])

async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["echo.v1"]) as server:
        print("listening at", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"#;

const WS: &str = r#"
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: { threshold: 0 } });
server.on('listening', () => console.log('listening at', server.address().port));
server.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => {
    if (!isBinary && message.toString() === 'close') return socket.close(4000, 'as asked');
    socket.ping('before');
    socket.send(message, { binary: isBinary });
  });
});
"#;

/// Starts a server, and speaks with it, without compression and, if it can agree, with it.
fn speak_with(command: &mut Command, compresses: bool) {
    let server = Program::spawn(command.stdin(Stdio::null()));
    let line = server.wait_for_line("listening at ");
    let port: u16 = line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    for compression in [None, Some(1)] {
        let builder =
            Builder::new(&format!("ws://localhost:{port}/")).compression(compression).subprotocol("echo.v1");
        let builder = builder.ping_interval(Some(Duration::from_millis(1))).ping_timeout(DEADLINE);
        if compression.is_some() && !compresses {
            let refused = builder.connect().expect_err("its messages would lean on those before");
            assert!(refused.to_string().contains("extensions \"permessage-deflate\""), "{refused}");
            continue;
        }
        let (connection, mut messages) = builder.connect().expect("connects");
        assert_eq!(
            (connection.is_compressed(), messages.subprotocol()),
            (compression.is_some(), Some("echo.v1"))
        );
        for size in SIZES {
            let text: String = (0..)
                .flat_map(|n: usize| format!("{{\"value\":{}}},", n * n % 977).into_bytes())
                .take(size)
                .map(char::from)
                .collect();
            for message in [Message::from(text.as_str()), Message::from(text.as_bytes())] {
                connection.wait_for_room(DEADLINE).expect("has room");
                connection.write_message(message.clone()).expect("is open");
                assert!(messages.recv().expect("comes") == Some(message), "{size} bytes");
            }
        }
        connection.write_message(CLOSE).expect("is open");
        assert_eq!(messages.recv().expect("ends"), None);
        assert_eq!((messages.close_code(), messages.close_reason()), (Some(4000), Some("as asked")));
    }
    let (connection, mut messages) =
        Builder::new(&format!("ws://127.0.0.1:{port}/")).subprotocol("echo.v1").connect().expect("connects");
    connection.close(Some(1000), Some("done")).expect("is open");
    assert_eq!(messages.recv().expect("ends"), None);
    assert_eq!(messages.close_code(), Some(1000));
}

#[test]
fn tornado_echoes_and_closes() {
    // It ignores parameters without a value, such as server_no_context_takeover, to which RFC 7692, section 7.1.1.1,
    // requires it to agree.
    speak_with(Command::new(python::python()).args(["-c", TORNADO]), false);
}

#[test]
fn websockets_for_python_echoes_and_closes() {
    speak_with(Command::new(python::python()).args(["-c", WEBSOCKETS]), true);
}

#[test]
fn ws_for_node_echoes_and_closes() {
    if Command::new("node").arg("--version").output().is_err() {
        support::not_checked("`ws` for Node.js as a server", "Node.js is missing");
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is below target");
    let modules = target.join("test-node-server");
    fs::create_dir_all(&modules).expect("makes a directory");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(Path::new("tests/compare/variants").join(file), modules.join(file)).expect("copies");
    }
    if !modules.join("node_modules/ws").exists() {
        python::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&modules))
            .unwrap_or_else(|what| panic!("{what}"));
    }
    speak_with(Command::new("node").args(["-e", WS]).current_dir(&modules), true);
}
