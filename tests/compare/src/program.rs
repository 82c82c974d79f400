//! Files of the program itself, for what stands in the tree once: how a time is read from a command line,
//! what a push carries, what a handler does that is told to block, what `/proc` says. None of them imports
//! anything of the program.

#[path = "../../../src/lab/commands.rs"]
pub mod commands;
#[path = "../../../src/clock/interval.rs"]
pub mod interval;
#[path = "../../../src/lab/proc.rs"]
pub mod proc;
#[path = "../../../src/clock/time.rs"]
pub mod time;
