//! Commands of a client to its own handler: `sleep 2000` and `spin 2000`, in milliseconds, and `panic`.
//! Runs on `client-N`, as a handler's own work would, and shows which other clients it slows down.

use std::time::{Duration, Instant};
use std::{hint, thread};

/// The longest sleep or spin.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs the command in `text`, and returns when it is done; ignores any other text.
///
/// # Panics
/// If the command is `panic`.
pub fn run(text: &str) {
    assert!(text != "panic", "told to panic");
    let Some((command, millis)) = text.split_once(' ') else { return };
    let Ok(millis) = millis.parse() else { return };
    let time = Duration::from_millis(millis).min(LONGEST);
    match command {
        "sleep" => thread::sleep(time),
        "spin" => {
            let begun = Instant::now();
            while begun.elapsed() < time {
                hint::spin_loop();
            }
        }
        _ => {}
    }
}
