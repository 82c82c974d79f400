//! The manual.
//!
//! | page | what it tells |
//! |---|---|
//! | [`behaviour`] | what happens in each case, with the test that holds threadcast to it |

#[doc = include_str!("behaviour.md")]
pub mod behaviour {}
