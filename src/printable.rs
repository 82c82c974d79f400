//! [`Printable`]: text from strangers, made safe for a log or a terminal. Pure, any thread.
//!
//! Never here: formatting a text to its end when only its beginning is shown.

use std::fmt::{self, Display, Formatter, Write};

/// The most characters that are shown, unless [`Printable::at_most`] sets another limit.
const SHOWN: usize = 2000;

/// Returns `what` as one line for a log or a terminal.
///
/// Characters that a terminal would obey, or that a reader does not see, are escaped, such as `\n`, `\u{1b}` and
/// `\u{202e}`: Unicode's categories Cc, Cf, Zl, Zp and Cn (control, format, line and paragraph separator, unassigned).
/// Shows at most 2,000 characters, and does not format the rest: a message of 10 MiB costs no more than one of 2 KiB.
///
/// ```
/// use threadcast::{Message, printable};
///
/// assert_eq!(printable("one\nline \u{1b}[31m").to_string(), r"one\nline \u{1b}[31m");
/// let message = Message::from(vec![7; 1000]);
/// assert_eq!(printable(&message).at_most(10).of_bytes(1000).to_string(), r"b'\x07\x07... (1000 bytes in all)");
/// ```
pub fn printable<T: Display>(what: T) -> Printable<T> {
    Printable { what, most: SHOWN, bytes: None }
}

/// The result of [`printable`]: its `Display` is the line.
#[derive(Debug, Clone, Copy)]
pub struct Printable<T> {
    what: T,
    most: usize,
    bytes: Option<usize>,
}

impl<T> Printable<T> {
    /// Sets the most characters to show, instead of 2,000. Three dots mark a cut.
    pub fn at_most(mut self, characters: usize) -> Printable<T> {
        self.most = characters;
        self
    }

    /// Sets the size to show after the dots.
    pub fn of_bytes(mut self, bytes: usize) -> Printable<T> {
        self.bytes = Some(bytes);
        self
    }
}

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = Line { to: f, left: self.most, is_cut: false, written: Ok(()) };
        // The error is either the cut, which ends the formatting, or that of `f`, which is in `written`.
        let _ = write!(line, "{}", self.what);
        let Line { is_cut, written, .. } = line;
        written?;
        match self.bytes {
            _ if !is_cut => Ok(()),
            Some(bytes) => write!(f, "... ({bytes} bytes in all)"),
            None => f.write_str("..."),
        }
    }
}

/// Escapes what is written to it, and fails when it is full.
struct Line<'a, 'f> {
    to: &'a mut Formatter<'f>,
    /// Characters that still fit.
    left: usize,
    is_cut: bool,
    written: fmt::Result,
}

impl Line<'_, '_> {
    /// Counts characters that are about to be written, or fails if they do not fit.
    fn take(&mut self, characters: usize) -> fmt::Result {
        self.is_cut |= characters > self.left;
        if self.is_cut {
            return Err(fmt::Error);
        }
        self.left -= characters;
        Ok(())
    }

    fn put(&mut self, text: impl Display) -> fmt::Result {
        self.written = self.written.and_then(|()| self.to.write_fmt(format_args!("{text}")));
        self.written
    }
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut begin = 0;
        for (at, c) in text.char_indices() {
            let is_plain = !is_hidden(c);
            let taken = self.take(if is_plain { 1 } else { c.escape_default().len() });
            if is_plain && taken.is_ok() {
                continue;
            }
            self.put(&text[begin..at])?;
            taken?;
            self.put(c.escape_default())?;
            begin = at + c.len_utf8();
        }
        self.put(&text[begin..])
    }
}

/// Returns whether a character is of one of the categories Cc, Cf, Zl, Zp and Cn.
///
/// Uses the table behind the standard library's `escape_debug`, which also escapes spaces (Zs), private use (Co),
/// quotes, and a combining mark that stands alone.
fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\u{2028}' | '\u{2029}' => true,
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}' => false,
        _ if c.is_control() => true,
        // The remaining white space is Zs.
        _ => {
            let stands_alone = c.escape_debug().len() == 1 || c.is_whitespace();
            !stands_alone && String::from_iter(['_', c]).escape_debug().nth(2).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped_and_visible_ones_stay_as_a_table() {
        for (text, shown) in [
            ("A", "A"),
            (r#"it's "a\b""#, r#"it's "a\b""#),
            ("你 é e\u{301} <b> \u{3000}\u{a0}\u{e000}👩🏽", "你 é e\u{301} <b> \u{3000}\u{a0}\u{e000}👩🏽"),
            ("a\r\n\tb\0\u{7f}", r"a\r\n\tb\u{0}\u{7f}"),
            ("\u{1b}[31m\u{9b}", r"\u{1b}[31m\u{9b}"),
            ("\u{61c}\u{200b}\u{ad}\u{feff}", r"\u{61c}\u{200b}\u{ad}\u{feff}"),
            ("\u{180e}\u{e0041}\u{e007f}", r"\u{180e}\u{e0041}\u{e007f}"),
            ("\u{202e}\u{2066}\u{200d}\u{2028}\u{2029}", r"\u{202e}\u{2066}\u{200d}\u{2028}\u{2029}"),
            ("\u{378}\u{ffff}\u{1fffe}", r"\u{378}\u{ffff}\u{1fffe}"),
        ] {
            assert_eq!(printable(text).to_string(), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_behind_a_whole_character() {
        for (text, most, shown) in [
            ("ééé", 3, "ééé"),
            ("éééé", 3, "ééé..."),
            ("aa\nb", 3, "aa..."),
            ("aa\nb", 4, r"aa\n..."),
            ("a", 0, "..."),
            ("", 0, ""),
        ] {
            assert_eq!(printable(text).at_most(most).to_string(), shown, "{text:?}");
        }
        let long = "é".repeat(SHOWN + 1);
        assert_eq!(printable(&long[2..]).to_string(), &long[2..]);
        let shown = printable(&long).of_bytes(long.len()).to_string();
        assert_eq!(shown, format!("{}... (4002 bytes in all)", &long[2..]));
    }

    /// Counts how many of its pieces the caller asks for.
    struct Endless<'a>(&'a std::cell::Cell<usize>);

    impl Display for Endless<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            loop {
                self.0.set(self.0.get() + 1);
                f.write_str("0123456789")?;
            }
        }
    }

    #[test]
    fn text_beyond_the_limit_is_not_formatted() {
        let pieces = std::cell::Cell::new(0);
        let shown = printable(Endless(&pieces)).at_most(25).to_string();
        assert_eq!((shown.as_str(), pieces.get()), ("0123456789012345678901234...", 3));
    }

    /// Fails to format.
    struct Faulty;

    impl Display for Faulty {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }

    #[test]
    fn a_failing_display_shows_as_much_as_it_wrote() {
        assert_eq!(printable(Faulty).to_string(), "half");
    }
}
