//! From results to what people read: sentences, tables, charts, the README's section.

mod bars;
pub mod charts;
pub mod claims;
mod lines;
pub mod numbers;
mod palette;
pub mod readme;
pub mod tables;
pub mod topics;
