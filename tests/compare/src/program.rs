//! Files of the program itself, for what stands in the tree once: how a command line and a time in it are read,
//! what a push carries, what a handler does that is told to block, what `/proc` says. None of them imports
//! anything of the program.

#[path = "../../../src/lab/commands.rs"]
pub mod commands;
#[path = "../../../src/clock/interval.rs"]
pub mod interval;
#[allow(dead_code, reason = "the program names what is wrong in variables and files too")]
#[path = "../../../src/clock/mistake.rs"]
pub mod mistake;
#[path = "../../../src/lab/proc.rs"]
pub mod proc;
#[path = "../../../src/clock/time.rs"]
pub mod time;
