//! [`Beside`]: another server of the clock, in its own process, to be watched beside this one.
//!
//! `make lab` starts them and says where they are, with `--beside JSON` for each:
//!
//! ```json
//! {"name": "tokio-1", "kind": "loop", "version": "", "address": "127.0.0.1:40001", "pid": 4711}
//! {"name": "tornado", "kind": "loop", "install": "make -C tests/compare python"}
//! ```
//!
//! A threadcast beside has a lab too, which only accepts pages of its origin. It needs `--allow-origin` with the
//! origin of this lab's page. The second server above is not installed: the page shows it as missing, with the command
//! that installs it.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// The name of the place that is this server itself.
pub const HERE: &str = "here";

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its name on the page, without spaces.
    pub name: String,
    /// `threads` or `loop`.
    pub kind: String,
    /// The version, in its own words.
    pub version: String,
    /// Its address and its process; `None` if it is not installed.
    pub running: Option<(SocketAddr, u32)>,
    /// How to install it.
    pub install: String,
}

impl Beside {
    /// Reads one server, from JSON.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Beside, String> {
        let like = r#"{"name": "b", "kind": "loop", "address": "127.0.0.1:40001", "pid": 4711}"#;
        let value: Value =
            serde_json::from_str(text).map_err(|_| format!("{text:?} is not JSON such as {like}"))?;
        let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let name = word("name");
        if name.is_empty() || name == HERE || name.contains(char::is_whitespace) {
            return Err(format!("{text:?} has no name, or one with spaces, or {HERE:?}"));
        }
        let running = match (&value["address"], value["pid"].as_u64()) {
            (Value::Null, _) => None,
            (Value::String(address), Some(pid)) => {
                let address =
                    address.parse().map_err(|_| format!("{address:?} is not an address with a port"))?;
                Some((address, u32::try_from(pid).map_err(|_| format!("{pid} is not a process"))?))
            }
            _ => return Err(format!("{text:?} needs an address and a pid, or neither")),
        };
        Ok(Beside { name, kind: word("kind"), version: word("version"), running, install: word("install") })
    }

    /// Returns it as the page gets it; `url` is null if it is not installed.
    pub fn to_json(&self) -> Value {
        let url = self.running.map(|(address, _)| format!("ws://{address}/websocket"));
        let Beside { name, kind, version, install, .. } = self;
        json!({ "name": name, "kind": kind, "version": version, "url": url, "install": install })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_as_a_table() {
        let running = r#"{"name": "a", "kind": "loop", "address": "127.0.0.1:1", "pid": 2}"#;
        let server = Beside::parse(running).unwrap();
        assert_eq!(server.running, Some(("127.0.0.1:1".parse().unwrap(), 2)));
        assert_eq!(server.to_json()["url"], "ws://127.0.0.1:1/websocket");
        let missing = Beside::parse(r#"{"name": "b", "kind": "loop", "install": "make b"}"#).unwrap();
        assert_eq!((missing.running, missing.install.as_str()), (None, "make b"));
        for wrong in [
            "",
            "{}",
            r#"{"name": "a b"}"#,
            r#"{"name": "here"}"#,
            r#"{"name": "a", "address": "127.0.0.1:1"}"#,
            r#"{"name": "a", "address": "nowhere", "pid": 1}"#,
            r#"{"name": "a", "address": 1, "pid": 1}"#,
        ] {
            assert!(Beside::parse(wrong).is_err(), "{wrong}");
        }
    }
}
