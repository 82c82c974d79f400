//! [`Control`]: the messages of a machine to the others, JSON on its channel `NAME/MACHINE/c`. Pure.

use serde_json::{Value, json};

use crate::hub::fleet::claims::Claim;
use crate::hub::fleet::others::{Beat, MOST_HEARD};

/// The most bytes of a message before it is parsed. A beat with all its names has about 5,000.
const MAX_BYTES: usize = 64 << 10;
/// The version of this protocol.
const VERSION: u64 = 1;

/// See the [module](self).
#[derive(Debug, PartialEq)]
pub(super) enum Control {
    Claim(Claim),
    Beat(Beat),
}

impl Control {
    /// Parses a message; `None` for an unknown one. `us` is this machine.
    pub(super) fn parse(bytes: &[u8], us: &str) -> Option<Control> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let told: Value = serde_json::from_slice(bytes).ok()?;
        if told["v"].as_u64() != Some(VERSION) {
            return None;
        }
        if told.get("claim").is_some() {
            return Claim::of_json(&told).map(Control::Claim);
        }
        let hears_us = match told.get("hears") {
            // Only later versions send this.
            None => true,
            Some(hears) => {
                let hears = hears.as_array()?;
                hears.len() >= MOST_HEARD || hears.iter().any(|machine| machine == us)
            }
        };
        let leaves = told.get("leaves").is_some_and(|leaves| leaves == true);
        Some(Control::Beat(Beat { clients: told["clients"].as_u64()?, leaves, hears_us }))
    }
}

/// Returns a beat: how many clients this machine has, whether it is leaving, and which machines it hears.
pub(super) fn beat(clients: u64, leaves: bool, hears: &[&str]) -> String {
    json!({ "v": VERSION, "clients": clients, "leaves": leaves, "hears": hears }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_and_claims_as_a_table() {
        let beat = |clients, leaves, hears_us| Some(Control::Beat(Beat { clients, leaves, hears_us }));
        let many = |more: &str| format!(r#"{{"v":1,"clients":2,"hears":["x"{more}]}}"#);
        for (told, expected) in [
            (r#"{"v":1,"clients":7,"leaves":false}"#.to_owned(), beat(7, false, true)),
            (r#"{"v":1,"clients":7}"#.to_owned(), beat(7, false, true)),
            (super::beat(7, true, &["us", "x"]), beat(7, true, true)),
            (super::beat(u64::MAX, false, &["x"]), beat(u64::MAX, false, false)),
            (many(""), beat(2, false, false)),
            (many(&",\"y\"".repeat(255)), beat(2, false, true)),
            (r#"{"v":1,"clients":7,"hears":7}"#.to_owned(), None),
            (r#"{"v":2,"clients":7}"#.to_owned(), None),
            (r#"{"clients":7}"#.to_owned(), None),
            (r#"{"v":1,"new":true}"#.to_owned(), None),
            (r#"{"v":1,"clients":-7}"#.to_owned(), None),
            (r#"{"v":1,"claim":"a"}"#.to_owned(), None),
            (format!(r#"{{"v":1,"clients":7,"x":"{}"}}"#, "x".repeat(MAX_BYTES)), None),
            ("[".repeat(1000), None),
            ("[]".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(Control::parse(told.as_bytes(), "us"), expected, "{}", &told[..told.len().min(80)]);
        }
        let claim = r#"{"v":1,"claim":"a","session":3,"age":1500}"#;
        assert!(matches!(Control::parse(claim.as_bytes(), "us"), Some(Control::Claim(_))));
    }
}
