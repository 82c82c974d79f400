//! Turns results into tables, charts, the page of the results and the README's rows of it.

mod bars;
pub mod charts;
pub mod numbers;
pub mod page;
mod palette;
#[cfg(test)]
pub mod samples;
pub mod tables;
pub mod verdicts;
