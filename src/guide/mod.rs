//! The manual.
//!
//! | page | what it tells |
//! |---|---|
//! | [`writing`] | programs with the library: a handler's two forms, eight examples, which thread calls what |
//! | [`protocols`] | subprotocols, a first message in time, close codes, heartbeats, windows of acknowledgement |
//! | [`client`] | the other end: one thread reads, any other writes, how it connects and ends |
//! | [`push`] | how a push travels: who writes, who waits, which thread does what |
//! | [`topics`] | one message to many: who gets it, in which order, and what it costs |
//! | [`many_machines`] | the same topics on many machines, through Redis |
//! | [`attacks`] | what strangers may do to a server, what it promises then, and what not |
//! | [`capacity`] | how many clients a machine holds, and where each byte of one is |
//! | [`compression`] | permessage-deflate: what it saves, what it costs, and what it reveals |
//! | [`tls`] | `https` and `wss`: in the server or in a proxy, certificates, and what it costs |
//! | [`lesson`] | threads, green threads or an event loop: what each costs, the same program three times, a million clients |
//! | [`teaching`] | the lesson as a lesson: six experiments in the lab, questions and answers, 45 minutes |
//! | [`tornado`] | Tornado's names beside threadcast's, and what is different |
//! | [`from_tungstenite`] | a client in tungstenite beside one here, and the usual hack |
//! | [`metrics`] | health checks, metrics, alerts, a board for Grafana |
//! | [`operating`] | options, signals, numbers, limits, systemd, proxies |
//! | [`configuration`] | options in the environment and in a file, the check, the reload, the log, packages |

#[doc = include_str!("attacks.md")]
pub mod attacks {}

#[doc = include_str!("capacity.md")]
pub mod capacity {}

#[doc = include_str!("client.md")]
pub mod client {}

#[doc = include_str!("compression.md")]
pub mod compression {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("from_tungstenite.md")]
pub mod from_tungstenite {}

#[doc = include_str!("lesson.md")]
pub mod lesson {}

#[doc = include_str!("many_machines.md")]
pub mod many_machines {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("protocols.md")]
pub mod protocols {}

#[doc = include_str!("push.md")]
pub mod push {}

#[doc = include_str!("teaching.md")]
pub mod teaching {}

#[doc = include_str!("restarts.md")]
pub mod restarts {}

#[doc = include_str!("tls.md")]
pub mod tls {}

#[doc = include_str!("topics.md")]
pub mod topics {}

#[doc = include_str!("tornado.md")]
pub mod tornado {}

#[doc = include_str!("writing.md")]
pub mod writing {}
