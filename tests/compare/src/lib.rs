//! threadcast beside other WebSocket servers that do the same job.
//!
//! Every server is a *variant*: a row of `variants.toml`, and nothing else. All are the same clock
//! (see [`clocks`]). For each *experiment* ([`experiment`]) the runner ([`runner`]) starts a variant
//! as a process of its own ([`server`]), and the load generator ([`load`]) as another one, which
//! connects the clients, takes the times, and reads what the kernel tells about the server
//! ([`process`]). The variants take turns, round after round, so that a noisy minute hits all of
//! them; a turn in which the machine was not its usual self ([`calm`]) is played again. [`results`]
//! holds what came out, [`report`] makes tables, charts and sentences of it, and [`bench`] the few
//! ratios that threadcast is held to. [`agree`] sets two runs side by side. [`greeter`] has the same conversation in
//! three programs, and [`scale`] computes what more clients than fit here would take.
//!
//! Nothing here is part of the product: this crate may use what threadcast itself refuses. What both need
//! is the program's own file ([`program`]).

pub mod agree;
pub mod bench;
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
