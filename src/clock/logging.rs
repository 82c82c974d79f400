//! Where log lines go, and what may be in them.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::panic;
use std::path::Path;

use log::LevelFilter;
use simplelog::ColorChoice;
use simplelog::CombinedLogger;
use simplelog::ConfigBuilder;
use simplelog::SharedLogger;
use simplelog::TermLogger;
use simplelog::TerminalMode;
use simplelog::ThreadLogMode;
use simplelog::WriteLogger;

use crate::Error;
use crate::Result;

/// Most characters of a client's text in a log line.
const SHOWN: usize = 2000;

/// Sends log lines of `level` and above to the terminal (in colour if it is one), and to `file`. Each
/// names its thread. A panic is one of them.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened.
pub fn start(level: LevelFilter, file: Option<&Path>) -> Result<()> {
    let mut config = ConfigBuilder::new();
    config
        .add_filter_allow_str("threadcast")
        .set_thread_level(LevelFilter::Error)
        .set_thread_mode(ThreadLogMode::Names)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off);
    // Without a known zone, as in a bare container, the lines are in UTC.
    let _ = config.set_time_offset_to_local();
    let config = config.build();
    let color = if std::io::stdout().is_terminal() { ColorChoice::Auto } else { ColorChoice::Never };
    let mut loggers: Vec<Box<dyn SharedLogger>> =
        vec![TermLogger::new(level, config.clone(), TerminalMode::Stdout, color)];
    if let Some(path) = file {
        let doing = format!("cannot write the log file {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(doing))?;
        loggers.push(WriteLogger::new(level, config, file));
    }
    CombinedLogger::init(loggers).map_err(|_| Error::invalid("logging has been started already"))?;
    // The client's thread logs what a handler's panic did; this line says where it was.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at {place}");
    }));
    Ok(())
}

/// `text` as it may go to a terminal or a log file: control characters and the invisible ones that
/// break or turn a line are escaped, and the end of a long one is left out.
pub fn printable(text: &str) -> Cow<'_, str> {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    let cut = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    if cut.is_none() && !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text[..cut.unwrap_or(text.len())].chars() {
        if odd(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if cut.is_some() {
        write!(shown, "... ({} bytes in all)", text.len()).expect("a String takes every write");
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unprintable_reaches_the_log() {
        for (text, shown) in [
            ("A", "A"),
            ("你 é <b>", "你 é <b>"),
            ("a\nb", "a\\nb"),
            ("\x1b[31m", "\\u{1b}[31m"),
            ("\u{9b}x\u{202e}y", "\\u{9b}x\\u{202e}y"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert!(printable(&"é".repeat(SHOWN + 1)).ends_with("é... (4002 bytes in all)"));
    }
}
