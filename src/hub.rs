//! One message to many.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod cores;
pub(crate) mod fan_out;
pub(crate) mod topics;
#[cfg(feature = "redis")]
pub(crate) mod fleet;
