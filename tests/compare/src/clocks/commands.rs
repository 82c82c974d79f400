//! `sleep N` and `spin N`: what a client can ask of the clock route, to see whom it hurts.

use std::time::{Duration, Instant};

/// Obeys one text message, on the calling thread, as a naive handler would. Other texts are ignored.
pub fn obey(text: &str) {
    let Some((verb, milliseconds)) = text.split_once(' ') else {
        return;
    };
    let Ok(milliseconds) = milliseconds.parse() else {
        return;
    };
    let time = Duration::from_millis(milliseconds);
    match verb {
        "sleep" => std::thread::sleep(time),
        "spin" => spin(time),
        _ => {}
    }
}

/// Burns CPU until `time` has passed.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}
