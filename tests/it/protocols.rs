//! Protocols over WebSocket, each a function on its client's thread, to other people's clients: `graphql-ws`, MQTT.js and
//! `y-websocket`, from npm into `target`. *Protocols* in the manual has the same in short.

use crate::support;
use support::python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use support::{DEADLINE, Raw, close_frame, frame, header_values, masked, upgrade};
use threadcast::{Application, Connection, Error, Hub, Messages, Result, Server};

/// The modules of the clients; `None` without Node.js.
fn modules() -> Option<PathBuf> {
    if Command::new("node").arg("--version").output().is_err() {
        support::not_checked("protocols of npm", "Node.js is missing");
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is below target");
    let modules = target.join("test-node-protocols");
    fs::create_dir_all(&modules).expect("makes a directory");
    // Tests run side by side: one installs, the others wait for it.
    static INSTALLS: Mutex<()> = Mutex::new(());
    let _installs = INSTALLS.lock().expect("nobody else failed");
    for file in ["package.json", "package-lock.json"] {
        let (from, to) = (Path::new("tests/protocols").join(file), modules.join(file));
        if fs::read(&from).expect("reads") != fs::read(&to).unwrap_or_default() {
            let _ = fs::remove_dir_all(modules.join("node_modules"));
            fs::copy(from, to).expect("copies");
        }
    }
    if !modules.join("node_modules").exists() {
        let mut npm = Command::new("npm");
        python::run(npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&modules))
            .unwrap_or_else(|what| panic!("{what}"));
    }
    Some(modules)
}

/// Runs a script in the modules' directory, with the server's address as its argument.
fn visit(modules: &Path, script: &str, server: &Server) {
    let mut node = Command::new("node");
    let address = server.local_addr().to_string();
    python::run(node.args(["--input-type=module", "-e", script, "x", &address]).current_dir(modules))
        .unwrap_or_else(|what| panic!("{what}"));
}

/// How long a client has for its first message.
const PATIENCE: Duration = Duration::from_millis(300);

/// `graphql-transport-ws`, with one subscription: it counts to three.
fn graphql(connection: &Connection, messages: &mut Messages) -> Result<()> {
    let first = match messages.recv_timeout(PATIENCE) {
        Err(Error::TimedOut) => return Err(Error::closing(4408, "Connection initialisation timeout")),
        first => first?,
    };
    let Some(first) = first else { return Ok(()) };
    let parse = |message: &threadcast::Message| {
        message.parse::<Value>().map_err(|_| Error::closing(4400, "Invalid message"))
    };
    if parse(&first)?["type"] != "connection_init" {
        return Err(Error::closing(4401, "Unauthorized"));
    }
    connection.write_message(json!({ "type": "connection_ack" }))?;
    for message in messages {
        let message = parse(&message?)?;
        match message["type"].as_str() {
            Some("subscribe") => {
                for n in 1..=3 {
                    connection.wait_for_room(DEADLINE)?;
                    let payload = json!({ "data": { "count": n } });
                    connection
                        .write_message(json!({ "id": message["id"], "type": "next", "payload": payload }))?;
                }
                connection.write_message(json!({ "id": message["id"], "type": "complete" }))?;
            }
            Some("ping") => connection.write_message(json!({ "type": "pong" }))?,
            Some("connection_init") => return Err(Error::closing(4429, "Too many initialisation requests")),
            Some("pong" | "complete") => {}
            _ => return Err(Error::closing(4400, "Invalid message")),
        }
    }
    Ok(())
}

fn graphql_server() -> Server {
    let application = Application::new().websocket_with("/graphql", |exchange| {
        exchange.choose_subprotocol(&["graphql-transport-ws"]);
        Ok(graphql)
    });
    Server::bind("127.0.0.1:0", application).unwrap()
}

const GRAPHQL_WS: &str = r#"
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = `ws://${process.argv[2]}/graphql`;
const client = createClient({ url, webSocketImpl: WebSocket, lazy: false, keepAlive: 50 });
const pong = new Promise((resolve) => client.on('pong', (received) => received && resolve()));
const counts = [];
for await (const result of client.iterate({ query: 'subscription { count }' })) counts.push(result.data.count);
if (counts.join() !== '1,2,3') throw new Error(`counted ${counts}`);
await pong;
await client.dispose();

// One that says nothing is closed with the code that the protocol has for that.
const silent = new WebSocket(url, 'graphql-transport-ws');
const closed = await new Promise((resolve) => silent.on('close', (code, reason) => resolve(`${code} ${reason}`)));
if (closed !== '4408 Connection initialisation timeout') throw new Error(closed);
process.exit(0);
"#;

#[test]
fn graphql_ws_subscribes_pings_and_is_closed_where_it_says_nothing() {
    let Some(modules) = modules() else { return };
    visit(&modules, GRAPHQL_WS, &graphql_server());
}

#[test]
fn a_protocols_own_close_codes_come_from_its_handler_as_a_table() {
    let server = graphql_server();
    for (sent, code, reason) in [
        (&[r#"{"type":"ping"}"#][..], 4401, "Unauthorized"),
        (&["what?"], 4400, "Invalid message"),
        (
            &[r#"{"type":"connection_init"}"#, r#"{"type":"connection_init"}"#],
            4429,
            "Too many initialisation requests",
        ),
        (&[r#"{"type":"connection_init"}"#, "[]"], 4400, "Invalid message"),
        (&[], 4408, "Connection initialisation timeout"),
    ] {
        let mut client = Raw::connect(server.local_addr());
        client.send(upgrade("/graphql", "Sec-WebSocket-Protocol: graphql-ws, graphql-transport-ws\r\n"));
        let head = client.head();
        assert_eq!(header_values(&head, "Sec-WebSocket-Protocol"), ["graphql-transport-ws"]);
        for message in sent {
            client.send_frame(0x81, message);
        }
        if sent.len() > 1 {
            assert_eq!(client.frame(), frame(0x81, r#"{"type":"connection_ack"}"#));
        }
        assert_eq!(client.frame(), close_frame(code, reason), "{sent:?}");
    }
}

/// A room of `y-websocket`: what one says, the others hear. Its clients bring each other up to date.
fn shared_documents() -> Server {
    let hub = Hub::new();
    let application = Application::new().websockets("/docs", move |exchange| {
        let (room, hub) = (exchange.path_rest()?, hub.clone());
        Ok(move |connection: &Connection, messages: &mut Messages| {
            hub.subscribe(&room, connection)?;
            for message in messages {
                hub.publish_except(&room, message?, connection)?;
            }
            Ok(())
        })
    });
    Server::bind("127.0.0.1:0", application).unwrap()
}

const Y_WEBSOCKET: &str = r#"
import * as Y from 'yjs';
import { WebsocketProvider } from 'y-websocket';
import WebSocket from 'ws';

const open = (room) => {
  const doc = new Y.Doc();
  // Not by the browser's channel between tabs.
  const options = { WebSocketPolyfill: WebSocket, disableBc: true };
  const provider = new WebsocketProvider(`ws://${process.argv[2]}/docs`, room, doc, options);
  const connected = new Promise((resolve) => provider.on('status', ({ status }) => status === 'connected' && resolve()));
  return { doc, provider, connected, synced: new Promise((resolve) => provider.on('sync', (is) => is && resolve())) };
};
const said = (doc, text) => new Promise((resolve) => {
  const look = () => doc.getText('t').toString() === text && resolve();
  doc.on('update', look);
  look();
});

const one = open('team/notes');
await one.connected;
one.doc.getText('t').insert(0, 'hello');
const other = open('team/notes');
await other.synced;
await said(other.doc, 'hello');
other.doc.getText('t').insert(5, ' world');
await said(one.doc, 'hello world');
const apart = open('team');
await apart.connected;
apart.doc.getText('t').insert(0, 'nobody here');
await said(one.doc, 'hello world');
process.exit(0);
"#;

#[test]
fn y_websocket_shares_a_document_in_a_room_with_a_slash() {
    let Some(modules) = modules() else { return };
    visit(&modules, Y_WEBSOCKET, &shared_documents());
}

/// Packets of MQTT 3.1.1, whose bytes may come in any pieces.
#[derive(Default)]
struct Packets(Vec<u8>);

impl Packets {
    /// The next one that is whole: its first byte, and what follows its length.
    fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        let (mut length, mut at) = (0, 1);
        loop {
            let Some(byte) = self.0.get(at) else { return Ok(None) };
            length |= usize::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if at > 4 {
                return Err(Error::closing(1002, "not MQTT"));
            }
        }
        if self.0.len() < at + length {
            return Ok(None);
        }
        let packet: Vec<_> = self.0.drain(..at + length).collect();
        Ok(Some((packet[0], packet[at..].to_vec())))
    }
}

/// A text with its length before it.
fn text(bytes: &[u8]) -> Result<(String, &[u8])> {
    let wrong = || Error::closing(1002, "not MQTT");
    let (length, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(wrong)?;
    Ok((String::from_utf8(text.to_vec()).map_err(|_| wrong())?, rest))
}

/// A broker of MQTT: quality of service 0, no wildcards.
fn mqtt(hub: &Hub, connection: &Connection, messages: &mut Messages) -> Result<()> {
    let mut packets = Packets::default();
    // Until it says otherwise: the time for the first packet.
    let mut keepalive = PATIENCE;
    loop {
        while let Some((first, body)) = packets.next()? {
            match first >> 4 {
                1 => {
                    let seconds = u16::from_be_bytes(*body[8..].first_chunk().unwrap_or(&[0; 2]));
                    // The client has half as long again, and for ever if it wants that.
                    keepalive = Duration::from_millis(u64::from(seconds) * 1500).max(DEADLINE);
                    connection.write_message(vec![0x20, 2, 0, 0])?;
                }
                3 => {
                    let topic = text(&body)?.0;
                    let mut packet = vec![first];
                    let mut length = body.len();
                    while length > 0x7f {
                        packet.push(length as u8 | 0x80);
                        length >>= 7;
                    }
                    packet.push(length as u8);
                    packet.extend(body);
                    hub.publish(&topic, packet)?;
                }
                8 => {
                    hub.subscribe(&text(&body[2..])?.0, connection)?;
                    connection.write_message(vec![0x90, 3, body[0], body[1], 0])?;
                }
                12 => connection.write_message(vec![0xd0, 0])?,
                14 => return Ok(()),
                _ => return Err(Error::closing(1002, "not MQTT")),
            }
        }
        match messages.recv_timeout(keepalive) {
            Err(Error::TimedOut) => return Err(Error::closing(4000, "no packet in time")),
            Ok(Some(message)) => packets.0.extend_from_slice(message.as_bytes()),
            Ok(None) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn broker() -> Server {
    let hub = Hub::new();
    let application = Application::new().websocket_with("/mqtt", move |exchange| {
        exchange.choose_subprotocol(&["mqtt"]);
        let hub = hub.clone();
        Ok(move |connection: &Connection, messages: &mut Messages| mqtt(&hub, connection, messages))
    });
    Server::bind("127.0.0.1:0", application).unwrap()
}

const MQTT_JS: &str = r#"
import mqtt from 'mqtt';

const url = `ws://${process.argv[2]}/mqtt`;
const [one, other] = [mqtt.connect(url, { keepalive: 1 }), mqtt.connect(url, { keepalive: 1 })];
await Promise.all([one, other].map((client) => new Promise((resolve) => client.on('connect', resolve))));
await one.subscribeAsync('room/a');
const heard = [];
const all = new Promise((resolve) => one.on('message', (topic, bytes) => {
  heard.push(`${topic} ${bytes.length}`);
  if (heard.length === 3) resolve();
}));
await other.publishAsync('room/b', 'nobody');
for (const size of [0, 100, 100_000]) await other.publishAsync('room/a', 'x'.repeat(size));
await all;
if (heard.join() !== 'room/a 0,room/a 100,room/a 100000') throw new Error(heard.join());
// A heartbeat, after a second of silence.
await new Promise((resolve) => one.on('packetreceive', (packet) => packet.cmd === 'pingresp' && resolve()));
await Promise.all([one.endAsync(), other.endAsync()]);
process.exit(0);
"#;

#[test]
fn mqtt_js_subscribes_publishes_and_has_its_heartbeat_answered() {
    let Some(modules) = modules() else { return };
    visit(&modules, MQTT_JS, &broker());
}

#[test]
fn a_packet_in_pieces_is_whole_and_silence_is_an_end() {
    let server = broker();
    let mut client = Raw::websocket(server.local_addr(), "/mqtt");
    let connect = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
    for byte in connect {
        client.send(masked(0x82, &[*byte]));
    }
    assert_eq!(client.frame(), frame(0x82, [0x20, 2, 0, 0]));
    client.send(masked(0x82, &[0xc0, 0, 0xc0, 0, 0xe0, 0]));
    assert_eq!(client.frame(), frame(0x82, [0xd0, 0]));
    assert_eq!(client.frame(), frame(0x82, [0xd0, 0]));
    assert_eq!(client.frame(), close_frame(1000, ""));
    let mut client = Raw::websocket(server.local_addr(), "/mqtt");
    assert_eq!(client.frame(), close_frame(4000, "no packet in time"));
}

/// Sends no more than a window of messages ahead of the last one that is acknowledged.
fn windowed(connection: &Connection, messages: &mut Messages) -> Result<()> {
    const WINDOW: u64 = 4;
    let mut acknowledged = 0;
    for n in 1..=20_u64 {
        while n - acknowledged > WINDOW {
            let Some(message) = messages.recv_timeout(DEADLINE)? else { return Ok(()) };
            acknowledged = message.parse::<u64>()?.min(n - 1);
        }
        connection.write_message(json!(n))?;
    }
    Ok(())
}

#[test]
fn a_window_of_acknowledgement_is_a_loop() {
    let ((connection, mut messages), (client, mut answers)) = threadcast::testing::pair().unwrap();
    let handler = std::thread::spawn(move || windowed(&connection, &mut messages));
    for n in 1..=20_u64 {
        assert_eq!(answers.recv().unwrap().unwrap().parse::<u64>().unwrap(), n);
        if n % 4 == 0 {
            // It has sent what the window allows, and waits.
            let early = answers.recv_timeout(Duration::from_millis(20));
            assert!(n == 20 || matches!(early, Err(Error::TimedOut)), "{n}");
            let _ = client.write_message(json!(n));
        }
    }
    handler.join().unwrap().unwrap();
}
