//! Chromium's DevTools protocol, over this crate's own client: calls from any thread, and what a tab complains of.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use threadcast::Connection;
use threadcast::client::{Builder, Messages};

/// Longest answer to a call. Must be more than `support::DEADLINE`, which is for the page.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Most bytes in a message, such as a picture.
const MAX_MESSAGE: usize = 256 << 20;

/// A browser's process, and the connection to it.
pub struct DevTools {
    child: Child,
    connection: Connection,
    shared: Arc<Shared>,
    calls: AtomicU64,
}

#[derive(Default)]
struct Shared {
    /// The waiters for answers, by call. `None` when the browser has ended.
    waiting: Mutex<Option<HashMap<u64, mpsc::Sender<Value>>>>,
    /// By session.
    complaints: Mutex<HashMap<String, Vec<String>>>,
}

impl DevTools {
    /// Starts a browser, which says on its standard error where it listens. The error is all that it said instead.
    pub fn start(command: &mut Command) -> Result<DevTools, String> {
        let mut child = command
            .args(["--remote-debugging-port=0", "about:blank"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines().map_while(Result::ok);
        let mut said = String::new();
        let url = lines.by_ref().find_map(|line| {
            said += &format!("{line}\n");
            line.strip_prefix("DevTools listening on ").map(str::to_owned)
        });
        let connected = url.ok_or(said).and_then(|url| {
            let builder = Builder::new(&url).max_message(MAX_MESSAGE);
            builder.connect().map_err(|error| error.to_string())
        });
        let (connection, messages) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        };
        // It would wait for who does not read.
        thread::spawn(move || lines.for_each(drop));
        let shared = Arc::new(Shared { waiting: Mutex::new(Some(HashMap::new())), ..Shared::default() });
        let own = shared.clone();
        thread::spawn(move || own.read(messages));
        Ok(DevTools { child, connection, shared, calls: AtomicU64::new(0) })
    }

    /// The result of a method, of the browser or of a session with a tab.
    pub fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = mpsc::channel();
        match &mut *self.shared.waiting.lock().unwrap() {
            Some(waiting) => waiting.insert(id, sender),
            None => return Err(format!("{method}: the browser has ended")),
        };
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.connection.write_message(call).map_err(|error| format!("{method}: {error}"))?;
        let mut answer = answer.recv_timeout(ANSWER_WITHIN).map_err(|error| format!("{method}: {error}"))?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    /// The complaints about the page of a session: exceptions, errors and warnings.
    pub fn complaints(&self, session: &str) -> Vec<String> {
        self.shared.complaints.lock().unwrap().get(session).cloned().unwrap_or_default()
    }
}

impl Shared {
    fn read(&self, messages: Messages) {
        for message in messages.map_while(Result::ok) {
            let mut message: Value = serde_json::from_slice(message.as_bytes()).expect("JSON");
            if let Some(id) = message["id"].as_u64() {
                let waiting = self.waiting.lock().unwrap().as_mut().and_then(|waiting| waiting.remove(&id));
                // The caller may have given up.
                let _ = waiting.map(|sender| sender.send(message));
                continue;
            }
            let params = message["params"].take();
            let complaint = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => &params["exceptionDetails"],
                Some("Runtime.consoleAPICalled") => &params,
                Some("Log.entryAdded") => &params["entry"],
                _ => continue,
            };
            let session = message["sessionId"].as_str().unwrap_or_default().to_owned();
            self.complaints.lock().unwrap().entry(session).or_default().push(complaint.to_string());
        }
        *self.waiting.lock().unwrap() = None;
    }
}

fn end(child: &mut Child) {
    // It may have ended.
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for DevTools {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
