//! A feed reader that reconnects when the connection ends, after growing pauses with jitter, so that clients do not
//! come back all at once.
//!
//!     cargo run --example reconnect -- ws://localhost:8888/websocket?Id=A
//!
//! Messages that the server sent while nobody was connected may be lost, and so may those in flight at the end, in both
//! directions. `write_message` is `Ok` for accepted messages, not for delivered ones. If that matters, number the
//! messages, and ask for those after the last one that came.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use threadcast::{Error, Result, client, printable};

/// The first pause, and the longest; each is twice as long as the one before, until a message has come.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("reconnect: the server's address is missing, as ws://localhost:8888/websocket?Id=A");
        return ExitCode::from(2);
    };
    let mut pause = FIRST;
    loop {
        let ended = read(&url, &mut pause);
        if let Err(error) = &ended
            && is_final(error)
        {
            eprintln!("reconnect: {}", printable(error));
            return ExitCode::FAILURE;
        }
        let least = ended.as_ref().err().and_then(asked_for).unwrap_or_default();
        let why = ended.map_or_else(|error| error.to_string(), |()| "the server has closed".to_owned());
        // Anywhere between half of the pause and all of it: a thousand clients come back one after the other.
        let jittered = least + pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        eprintln!("away: {}; again in {} ms", printable(why), jittered.as_millis());
        thread::sleep(jittered);
        pause = (pause * 2).min(LONGEST);
    }
}

/// Prints messages until the connection ends.
fn read(url: &str, pause: &mut Duration) -> Result<()> {
    let (_connection, messages) = client::connect(url)?;
    eprintln!("connected");
    // A terminal would obey what the server sends.
    let is_terminal = stdout().is_terminal();
    for message in messages {
        let message = message?;
        if is_terminal {
            println!("{}", printable(message).at_most(usize::MAX));
        } else {
            println!("{message}");
        }
        *pause = FIRST;
    }
    Ok(())
}

/// Returns whether it is no use to come back: the next time it would be the same.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Invalid(_) => true,
        Error::Handshake { answer: Some(answer), .. } => {
            answer.status < 500 && ![408, 425, 429].contains(&answer.status)
        }
        _ => false,
    }
}

/// Returns how long a server that has no room wants to be left alone.
fn asked_for(error: &Error) -> Option<Duration> {
    let Error::Handshake { answer: Some(answer), .. } = error else { return None };
    let mut headers = answer.headers.iter();
    let (_, seconds) = headers.find(|(name, _)| name.eq_ignore_ascii_case("Retry-After"))?;
    Some(Duration::from_secs(seconds.parse().ok()?).min(LONGEST))
}
