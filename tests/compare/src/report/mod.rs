//! From results to what people read: sentences, tables, charts, the README's section.

mod bars;
pub mod charts;
pub mod claims;
mod details;
pub mod lesson;
mod limits;
mod lines;
pub mod numbers;
mod palette;
pub mod readme;
#[cfg(test)]
mod samples;
pub mod tables;
pub mod topics;
pub mod verdicts;
