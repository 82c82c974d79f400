//! `--access-log`: a line for each request and each WebSocket's end. Runs on `client-N`, and leaves the writing
//! to the threads of the log.

use log::Level;
use log::kv::{ToValue, Value};

use crate::clock::logging;
use threadcast::Access;

/// Machines request these every few seconds, so they get no lines.
const UNLOGGED: [&str; 2] = ["/health", "/ready"];

/// Writes the line.
pub fn write(access: &Access<'_>) {
    if UNLOGGED.contains(&access.path) {
        return;
    }
    let Access { method, path, status, close_code, bytes, .. } = *access;
    let address = access.address.ip().to_canonical().to_string();
    let seconds = (access.elapsed.as_secs_f64() * 1e6).round() / 1e6;
    let (what, code) = match close_code {
        Some(code) => (format!("WebSocket {path} closed"), code),
        None => (format!("{method} {path}"), status),
    };
    let mut fields: Vec<(&str, Value<'_>)> = vec![("address", address.to_value()), ("path", path.to_value())];
    match &close_code {
        Some(code) => fields.push(("close_code", code.to_value())),
        None => fields.extend([("method", method.to_value()), ("status", status.to_value())]),
    }
    fields.extend([("bytes", bytes.to_value()), ("seconds", seconds.to_value())]);
    let line = format_args!("{address} {what} {code} {bytes} bytes {seconds:.6} s");
    logging::always(Level::Info, line, &fields);
}
