//! The manual.
//!
//! Use it:
//!
//! | page | what it tells |
//! |---|---|
//! | [`writing`] | programs with the library: functions and callbacks, which thread calls what, what may block |
//! | [`protocols`] | subprotocols, a first message in time, private close codes, acknowledgements, heartbeats |
//! | [`client`] | the other end: one thread reads, any other writes, how it connects and ends |
//! | [`topics`] | one message to many: who gets it, in which order, and what it costs |
//! | [`compression`] | permessage-deflate: what it saves, what it costs, and what it reveals |
//! | [`tls`] | `https` and `wss`: in the server or in a proxy, certificates, and what it costs |
//! | [`many_machines`] | the same topics on many machines, through Redis |
//!
//! Run it:
//!
//! | page | what it tells |
//! |---|---|
//! | [`operating`] | options, signals, numbers, limits, systemd, proxies |
//! | [`configuration`] | options in the environment and in a file, logs, packages |
//! | [`metrics`] | Prometheus, health checks, alerts, a board |
//! | [`restarts`] | draining, and restarts without a gap |
//! | [`attacks`] | what strangers may do to a server, what it promises then, and what not |
//! | [`capacity`] | how many clients a machine holds, and where each byte of one is |
//!
//! Understand it:
//!
//! | page | what it tells |
//! |---|---|
//! | [`push`] | how a push travels: who writes, who waits, which thread does what |
//! | [`lesson`] | threads or an event loop, with experiments |
//! | [`teaching`] | the lab in 45 minutes: six experiments, questions and answers |
//! | [`tornado`] | Tornado's names beside threadcast's, and what is different |
//! | [`from_tungstenite`] | a client in tungstenite beside one here, and the usual hack |

#[doc = include_str!("links.md")]
#[doc = include_str!("attacks.md")]
pub mod attacks {}

#[doc = include_str!("links.md")]
#[doc = include_str!("capacity.md")]
pub mod capacity {}

#[doc = include_str!("links.md")]
#[doc = include_str!("client.md")]
pub mod client {}

#[doc = include_str!("links.md")]
#[doc = include_str!("compression.md")]
pub mod compression {}

#[doc = include_str!("links.md")]
#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("links.md")]
#[doc = include_str!("from_tungstenite.md")]
pub mod from_tungstenite {}

#[doc = include_str!("links.md")]
#[doc = include_str!("lesson.md")]
pub mod lesson {}

#[doc = include_str!("links.md")]
#[doc = include_str!("many_machines.md")]
pub mod many_machines {}

#[doc = include_str!("links.md")]
#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("links.md")]
#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("links.md")]
#[doc = include_str!("protocols.md")]
pub mod protocols {}

#[doc = include_str!("links.md")]
#[doc = include_str!("push.md")]
pub mod push {}

#[doc = include_str!("links.md")]
#[doc = include_str!("teaching.md")]
pub mod teaching {}

#[doc = include_str!("links.md")]
#[doc = include_str!("restarts.md")]
pub mod restarts {}

#[doc = include_str!("links.md")]
#[doc = include_str!("tls.md")]
pub mod tls {}

#[doc = include_str!("links.md")]
#[doc = include_str!("topics.md")]
pub mod topics {}

#[doc = include_str!("links.md")]
#[doc = include_str!("tornado.md")]
pub mod tornado {}

#[doc = include_str!("links.md")]
#[doc = include_str!("writing.md")]
pub mod writing {}
