//! JSON-RPC 2.0 over a small store, by WebSocket and by POST.
//!
//!     cargo run --example rpc
//!     curl -H 'Content-Type: application/json' http://127.0.0.1:8888/rpc \
//!          -d '{"jsonrpc": "2.0", "id": 1, "method": "set", "params": ["tea", "green"]}'
//!
//! The store is a map in memory, because SQLite would need a C compiler. A database would fit behind this lock too: a
//! handler may block, which holds up only its own client, and those that wait for the lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use threadcast::{Application, Connection, Exchange, Message};
use threadcast::{RequestHandler, Result, Server, WebSocketHandler};

/// The specification's codes, section 5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// Our own code, from -32000 to -32099.
const NO_SUCH_KEY: i64 = -32001;
type Failure = (i64, String);
#[derive(Clone, Default)]
struct Store(Arc<Mutex<BTreeMap<String, Value>>>);

impl Store {
    /// Answers a message, which may be a batch. `None` if it asks for no answer.
    fn answer(&self, text: &[u8]) -> Option<Value> {
        match serde_json::from_slice(text) {
            Err(error) => Some(failed(Value::Null, (PARSE_ERROR, format!("Parse error: {error}")))),
            Ok(Value::Array(batch)) if !batch.is_empty() => {
                let answers: Vec<_> = batch.iter().filter_map(|request| self.call(request)).collect();
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
            Ok(request) => self.call(&request),
        }
    }

    /// One call; without an `id` it is a notification, which never gets an answer, not even an error.
    fn call(&self, request: &Value) -> Option<Value> {
        let id = request.get("id");
        let id_is_valid = id.is_none_or(|id| id.is_null() || id.is_string() || id.is_number());
        let method = request["method"].as_str().filter(|_| id_is_valid && request["jsonrpc"] == "2.0");
        let params = &request["params"];
        let valid = params.is_null() || params.is_array() || params.is_object();
        let Some(method) = method.filter(|_| valid) else {
            let id = id.filter(|_| id_is_valid).cloned().unwrap_or_default();
            return Some(failed(id, (INVALID_REQUEST, "Invalid Request".to_owned())));
        };
        match (self.run(method, params), id?) {
            (Ok(result), id) => Some(json!({ "jsonrpc": "2.0", "id": id, "result": result })),
            (Err(failure), id) => Some(failed(id.clone(), failure)),
        }
    }

    fn run(&self, method: &str, params: &Value) -> Result<Value, Failure> {
        // By name or by position. Indexing a `Value` with a missing key or position returns null.
        let param = |at: usize, name: &str| match params {
            Value::Array(list) => list.get(at).cloned().unwrap_or_default(),
            _ => params[name].clone(),
        };
        let invalid = || (INVALID_PARAMS, "Invalid params: a key is a string".to_owned());
        let key = param(0, "key").as_str().map(str::to_owned).ok_or_else(invalid);
        let missing = || (NO_SUCH_KEY, "No such key".to_owned());
        let mut store = self.0.lock().unwrap();
        match method {
            "get" => key.and_then(|key| store.get(&key).cloned().ok_or_else(missing)),
            "set" => Ok(store.insert(key?, param(1, "value")).unwrap_or_default()),
            "delete" => key.and_then(|key| store.remove(&key).ok_or_else(missing)),
            "keys" => Ok(json!(store.keys().collect::<Vec<_>>())),
            _ => Err((METHOD_NOT_FOUND, format!("Method not found: {method}"))),
        }
    }
}

fn failed(id: Value, (code, message): Failure) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

impl WebSocketHandler for Store {
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        match self.answer(message.as_bytes()) {
            Some(answer) => connection.write_message(answer),
            None => Ok(()),
        }
    }
}

impl RequestHandler for Store {
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        // Not `body_json`, which refuses invalid JSON with a 400.
        match self.answer(exchange.body()) {
            Some(answer) => {
                exchange.set_header("Content-Type", "application/json")?;
                exchange.write(answer.to_string());
            }
            None => exchange.set_status(204),
        }
        Ok(())
    }

    fn methods(&self) -> &'static [&'static str] {
        &["POST"]
    }
}

fn main() -> Result<()> {
    let store = Store::default();
    let page = store.clone();
    let application =
        Application::new().websocket("/rpc", move || store.clone()).page("/rpc", move || page.clone());
    let address = std::env::args().nth(1);
    let server = Server::bind(address.as_deref().unwrap_or("127.0.0.1:8888"), application)?;
    println!("rpc is at http://{}/rpc", server.local_addr());
    server.join();
    Ok(())
}
