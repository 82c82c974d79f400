//! What only the lesson needs. Nothing here is reachable without `--lab`.

pub mod commands;
pub mod echo;
