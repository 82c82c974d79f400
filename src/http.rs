//! HTTP, in bytes and values: no sockets, no threads.
//!
//! A file imports only files above it in this list, and rooms above this one in `src/lib.rs`.

pub(crate) mod escape;
pub(crate) mod cookies;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod set_cookie;
pub(crate) mod request_body;
pub(crate) mod request;
pub(crate) mod body;
pub(crate) mod response;
pub(crate) mod router;
pub(crate) mod static_files;
pub(crate) mod exchange;
