//! Third-party clients, with compression, and with TLS: python's `websockets`, `ws` for Node.js if it is installed,
//! Chromium. Each sends messages of 0 bytes to 1 MiB, also in fragments if it can, and gets them back.
//!
//! The first two come from PyPI and npm, into `target`, in the versions that `tests/compare` measures.

use crate::support;
use support::{browser, python};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use browser::Page;
use support::Program;

/// `websockets`, as a client.
const WEBSOCKETS: &str = r#"
import asyncio, ssl, sys
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

SIZES = [0, 1, 125, 126, 1023, 1024, 4096, 16383, 16384, 65535, 65536, 1 << 20]
EACH = '{"id":17,"name":"sensor","value":%d},'

def text(size):
    return "".join(EACH % (n * n % 977) for n in range(size // 30 + 1))[:size]

# The certificate is one of the server's own making.
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE

async def echoes(url, **parameters):
    tls = TLS if url.startswith("wss:") else None
    async with connect(url, ssl=tls, max_size=None, extensions=[Deflate(**parameters)]) as client:
        assert client.protocol.extensions, "no compression"
        for size in SIZES:
            message = text(size)
            for sent in [message, message.encode()]:
                await client.send(sent)
                assert await client.recv() == sent, size
            await client.send([message[at:at + 10_000] for at in range(0, size, 10_000)] or [""])
            assert await client.recv() == message, size
        await (await client.ping())
    print("ok", parameters)

async def main(url):
    await echoes(url)
    await echoes(url, client_max_window_bits=True)
    await echoes(url, server_max_window_bits=9, client_max_window_bits=9)
    await echoes(url, server_no_context_takeover=True, client_no_context_takeover=True)

asyncio.run(main(sys.argv[1]))
"#;

/// `ws`, as a client.
const WS: &str = r#"
const { WebSocket } = require('ws');
const SIZES = [0, 1, 125, 126, 1023, 1024, 4096, 16383, 16384, 65535, 65536, 1 << 20];

function text(size) {
  let all = '';
  for (let n = 0; all.length < size; n += 1) all += `{"id":17,"name":"sensor","value":${(n * n) % 977}},`;
  return all.slice(0, size);
}

function echoes(url, parameters) {
  return new Promise((resolve, reject) => {
    const options = { perMessageDeflate: { threshold: 0, ...parameters }, rejectUnauthorized: false };
    const client = new WebSocket(url, options);
    const left = SIZES.flatMap((size) => [[text(size), false], [text(size), true]]);
    const next = () => {
      if (left.length === 0) return client.close(1000);
      const [message, binary] = left[0];
      client.send(binary ? Buffer.from(message) : message);
      if (message.length > 1) {
        // As fragments, with a ping between them.
        const half = message.length / 2;
        client.send(message.slice(0, half), { fin: false, binary });
        client.ping('between');
        client.send(message.slice(half), { fin: true, binary });
      }
    };
    let seen = 0;
    client.on('open', () => {
      if (!client.extensions.includes('permessage-deflate')) reject(new Error('no compression'));
      next();
    });
    client.on('message', (got, binary) => {
      const [message, sent] = left[0];
      if (got.toString() !== message || binary !== sent) reject(new Error(`${message.length} bytes came back wrong`));
      seen += 1;
      if (seen < (message.length > 1 ? 2 : 1)) return;
      seen = 0;
      left.shift();
      next();
    });
    client.on('error', reject);
    client.on('close', (code) => (left.length === 0 && code === 1000 ? resolve() : reject(new Error(`closed ${code}`))));
  });
}

(async () => {
  for (const parameters of [{}, { serverMaxWindowBits: 10 }, { clientMaxWindowBits: 9 }, { serverNoContextTakeover: true }]) {
    await echoes(process.argv[2], parameters);
    console.log('ok', JSON.stringify(parameters));
  }
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
"#;

/// In a page of the program.
const IN_A_PAGE: &str = r#"
new Promise((resolve) => {
  const left = [0, 1, 125, 126, 1023, 1024, 4096, 16383, 16384, 65535, 65536, 1 << 20].flatMap((size) => {
    let all = '';
    for (let n = 0; all.length < size; n += 1) all += `{"id":17,"name":"sensor","value":${(n * n) % 977}},`;
    return [all.slice(0, size), new TextEncoder().encode(all.slice(0, size))];
  });
  const client = new WebSocket(`${location.protocol.replace('http', 'ws')}//${location.host}/echo?Id=one`);
  client.binaryType = 'arraybuffer';
  const next = () => (left.length === 0 ? client.close(1000) : client.send(left[0]));
  client.onopen = next;
  client.onmessage = ({ data }) => {
    const sent = left.shift();
    const got = typeof data === 'string' ? data : new Uint8Array(data);
    const same = got.length === sent.length && typeof got === typeof sent && got.toString() === sent.toString();
    if (same) next(); else resolve(`${sent.length} bytes came back wrong`);
  };
  client.onclose = ({ code }) => resolve(`${client.extensions}, ${left.length} left, ${code}`);
})"#;

/// The directory of the pins.
const VARIANTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compare/variants");

fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is below target").join(name)
}

/// Runs a command to its end. Returns its output.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}", said.concat());
    said.concat()
}

/// Arguments of the programs: compress everything, or large messages, or everything over TLS.
const PROGRAMS: [&[&str]; 3] = [
    &["--lab", "--logging", "none", "--compression", "1B"],
    &["--lab", "--logging", "none", "--compression", "1KiB"],
    &["--lab", "--logging", "none", "--compression", "1KiB", "--tls-self-signed"],
];

/// Calls `client` with the address of an echo at each of the programs.
fn with_an_echo(client: impl Fn(&str) -> String) {
    for args in PROGRAMS {
        let scheme = if args.contains(&"--tls-self-signed") { "wss" } else { "ws" };
        let program = Program::start(args);
        let printed = client(&format!("{scheme}://{}/echo?Id=one", program.addr()));
        assert_eq!(printed.matches("ok ").count(), 4, "{printed}");
    }
}

#[test]
fn websockets_for_python_sends_and_gets_compressed_messages_of_any_size() {
    with_an_echo(|url| run(Command::new(python::python()).args(["-c", WEBSOCKETS, url])));
}

#[test]
fn ws_for_node_sends_and_gets_compressed_messages_of_any_size() {
    if Command::new("node").arg("--version").output().is_err() {
        support::not_checked("`ws` for Node.js as a client", "Node.js is missing");
        return;
    }
    let modules = target("test-node");
    fs::create_dir_all(&modules).expect("makes a directory");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(Path::new(VARIANTS).join(file), modules.join(file)).expect("copies");
    }
    if !modules.join("node_modules/ws").exists() {
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&modules));
    }
    with_an_echo(|url| run(Command::new("node").args(["-e", WS, "ws", url]).current_dir(&modules)));
}

#[test]
fn chromium_sends_and_gets_compressed_messages_of_any_size() {
    for args in PROGRAMS {
        let program = Program::start(args);
        let open = if args.contains(&"--tls-self-signed") { Page::open_secure } else { Page::open };
        let page = open(program.addr(), "/?Id=A");
        let ended = page.eval(IN_A_PAGE);
        let extensions = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(ended, format!("{extensions}, 0 left, 1000"));
    }
}
