//! The manual, in three parts. `make doc` builds it, and GitHub shows its pages in `src/guide`.
//!
//! # Use
//!
//! | page | what it tells |
//! |---|---|
//! | [`tutorial`] | three steps: an echo, a chat with rooms, three machines with TLS |
//! | [`writing`] | programs with the library: functions and callbacks, eight examples, errors |
//! | [`blocking`] | which thread calls a handler, and what may block there |
//! | [`protocols`] | subprotocols, a first message in time, private close codes, acknowledgements, heartbeats |
//! | [`client`] | the other end: one thread reads, any other writes, and how a connection ends |
//! | [`connecting`] | deadlines, proxies, and how a client returns after an outage |
//! | [`topics`] | one message to many: who gets it, in which order, and what it costs |
//! | [`compression`] | permessage-deflate: what it saves, what it costs, and what it reveals |
//! | [`tls`] | `https` and `wss`: in the server or in a proxy, and certificates |
//! | [`many_machines`] | the same topics on many machines, through Redis |
//!
//! # Run
//!
//! | page | what it tells |
//! |---|---|
//! | [`operating`] | options, signals, limits |
//! | [`publishing`] | messages by POST, topics, and the list of clients |
//! | [`web_pages`] | your own pages, and which web pages may connect |
//! | [`proxies`] | nginx, HAProxy, and the address of a client behind a proxy |
//! | [`configuration`] | options in the environment and in a file, logs, packages |
//! | [`metrics`] | the numbers, Prometheus, health checks, alerts, a board |
//! | [`restarts`] | draining, and restarts without a gap |
//! | [`troubleshooting`] | what a line of the log or an answer means |
//! | [`attacks`] | what a server promises under an attack, and what it does not |
//! | [`limits`] | limits for an address, for a client, and for all clients |
//! | [`redis`] | the Redis of a fleet: its size, its rights, what to watch |
//! | [`capacity`] | how many clients a machine holds, and which limit binds |
//!
//! # Understand
//!
//! | page | what it tells |
//! |---|---|
//! | [`push`] | how a push travels: who writes, who waits, which thread does what |
//! | [`memory`] | where each byte of an idle client is |
//! | [`tls_inside`] | what TLS costs, and how the server does it |
//! | [`lesson`] | threads or an event loop, and when to take which |
//! | [`greeter`] | the same program on a thread, with callbacks, and with `await` |
//! | [`echoes`] | why echoes on many connections cost more with threads, and objections |
//! | [`million`] | what a million clients need |
//! | [`teaching`] | the lab in 45 minutes: six experiments, questions and answers |
//! | [`tornado`] | Tornado's names beside threadcast's, and the differences |
//! | [`from_tungstenite`] | a client in tungstenite beside one in threadcast |

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/attacks.md")]
pub mod attacks {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/blocking.md")]
pub mod blocking {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/capacity.md")]
pub mod capacity {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/client.md")]
pub mod client {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/compression.md")]
pub mod compression {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/configuration.md")]
pub mod configuration {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/connecting.md")]
pub mod connecting {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/echoes.md")]
pub mod echoes {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/from_tungstenite.md")]
pub mod from_tungstenite {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/greeter.md")]
pub mod greeter {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/lesson.md")]
pub mod lesson {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/limits.md")]
pub mod limits {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/many_machines.md")]
pub mod many_machines {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/memory.md")]
pub mod memory {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/metrics.md")]
pub mod metrics {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/million.md")]
pub mod million {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/operating.md")]
pub mod operating {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/protocols.md")]
pub mod protocols {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/proxies.md")]
pub mod proxies {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/publishing.md")]
pub mod publishing {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/push.md")]
pub mod push {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/redis.md")]
pub mod redis {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/restarts.md")]
pub mod restarts {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/teaching.md")]
pub mod teaching {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/tls.md")]
pub mod tls {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/tls_inside.md")]
pub mod tls_inside {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/topics.md")]
pub mod topics {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/tornado.md")]
pub mod tornado {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/tutorial.md")]
pub mod tutorial {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/web_pages.md")]
pub mod web_pages {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("guide/writing.md")]
pub mod writing {}
