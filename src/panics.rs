//! [`caught`] and [`Contained`]: the boundary that a panic in the application's code does not cross. Any thread.
//!
//! An application's code also runs when one of its values is dropped or formatted. Never here: dropping a panic payload
//! outside `catch_unwind`, because its `Drop` is the application's too.

use std::any::Any;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::printable::printable;

/// Calls `f`. The error is the text of its panic, in one line.
///
/// Nothing can catch a drop that panics while another panic unwinds: Rust ends the process.
#[inline]
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(text_of)
}

/// Takes the text out of what was passed to `panic!`, and drops it.
#[cold]
#[inline(never)]
fn text_of(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("(no text)");
    let text = printable(text).to_string();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its drop may panic as well, and so on: this one is leaked.
        mem::forget(second);
    }
    text
}

/// A value of an application. If its drop panics, the log says so, and the panic goes no further.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Contained<T> {
        Contained(Some(value))
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only its drop takes it")
    }
}

impl<T> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only its drop takes it")
    }
}

impl<T> Drop for Contained<T> {
    /// Not inlined: what a drop needs stays off its owner's stack.
    #[inline(never)]
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(text) = caught(|| drop(value)) {
            log::error!(target: crate::LOG, "a value of the application panicked when it was dropped: {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// Panics again and again when it is dropped.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Bomb(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_is_its_text_in_one_line_whatever_its_payload_does() {
        assert_eq!(caught(|| 7), Ok(7));
        for (panic, text) in [
            ((|| panic!("as\nplanned")) as fn(), "as\\nplanned"),
            (|| panic!("{} times", 2), "2 times"),
            (|| panic_any(7), "(no text)"),
            (|| panic_any(Bomb(1)), "(no text)"),
            (|| panic_any(Bomb(9)), "(no text)"),
            (|| drop(Bomb(2)), "(no text)"),
        ] {
            assert_eq!(caught(panic), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_drop_that_panics_goes_no_further() {
        drop(Contained::new(Bomb(3)));
        let mut contained = Contained::new(vec![1]);
        contained.push(2);
        assert_eq!(*contained, [1, 2]);
    }
}
