//! threadcast beside other WebSocket servers that do the same job.
//!
//! Every server is a *variant*: a row of `variants.toml`, and nothing else. All are the same clock (see [`clocks`]).
//! For each *experiment* ([`experiment`]) the runner ([`runner`]) starts a variant as a process ([`server`]), and the
//! load generator ([`load`]) as another one, which connects the clients, takes the times, and reads the kernel's
//! figures about the server ([`process`]). The variants take turns, round after round, so that a noisy minute hits all
//! of them; a turn in which the machine was not in its usual state ([`calm`]) is repeated. [`results`] holds the
//! figures, [`report`] turns them into tables, charts and sentences, and [`bench`] checks the few ratios that
//! threadcast must meet; [`calls`] counts system calls. [`agree`] compares two runs. [`greeter`] has one conversation
//! in three programs, and [`scale`] computes the needs of more clients than fit on this machine.
//!
//! This crate is not part of the product, and may use crates that threadcast itself refuses. Code that both need is the
//! program's own file ([`program`]).

pub mod agree;
pub mod bench;
pub mod calls;
pub mod calm;
pub mod clocks;
pub mod command_line;
pub mod experiment;
pub mod failure;
pub mod figures;
pub mod frame;
pub mod greeter;
pub mod lab;
pub mod load;
pub mod machine;
pub mod manifest;
pub mod process;
pub mod program;
pub mod report;
pub mod results;
pub mod runner;
pub mod scale;
pub mod server;
pub mod stats;
pub mod values;
