//! Files of the program itself, shared so that they exist only once: the parsing of a command line and of a time in it,
//! the payload of a push, a handler that blocks on request, the reading of `/proc`. None of them imports anything of
//! the program.

#[path = "../../../src/lab/commands.rs"]
pub mod commands;
#[path = "../../../src/clock/interval.rs"]
pub mod interval;
#[path = "../../../src/clock/mistake.rs"]
pub mod mistake;
#[path = "../../../src/lab/proc.rs"]
pub mod proc;
#[path = "../../../src/clock/time.rs"]
pub mod time;
