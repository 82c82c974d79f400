//! The code that only the lesson needs: the page `/lab`, which shows the threads at work, and the clients that break
//! them. Nothing in this module is reachable without `--lab`.
//!
//! Everything on the page has happened. The framework tells an [`Observer`](threadcast::Observer) what its
//! threads do; [`recorder`] puts that into a bounded channel, [`events`] (the thread `lab-events`) sends it
//! to the watchers, [`numbers`] reads `/proc`. The clients that are broken are real ones: [`crowd`] (the
//! thread `lab-crowd`) connects them over the loopback and speaks for them, [`nuisance`] (`lab-stalled`, `lab-flood`) is
//! one that does not read, and one that does not stop talking. The servers to
//! compare with are separate processes, see [`beside`].
//!
//! While nobody watches, both threads are blocked, and an event costs its thread one relaxed load.
//!
//! A file imports only files above it in the list at the end.
//!
//! # Routes
//!
//! | route | content |
//! |---|---|
//! | `/lab`, `/lab/FILE` | the page and what it needs |
//! | `/lab/events?Id=NAME` | a WebSocket: sends events as they happen, takes orders |
//! | `/echo?Id=NAME` | every message back |
//!
//! # From the server: JSON
//!
//! Each message is an object with one of these keys. `t` is milliseconds since the lab began. A thread is
//! called by its name, `client-7`; a client by its number, `7`.
//!
//! | key | when | value |
//! |---|---|---|
//! | `hello` | first | `t`, `you` (this watcher's client number), `watchers` (the other watchers' numbers), `interval` (ms between pushes), `delivery`, `clients` (`[[number, name], ...]` of the connected ones), `beside` (see [`beside`]), `crowd` and `dropped` (as below) |
//! | `events` | at most 20 times a second | `t`; `list`, in order for each thread; `dropped`, how many events were lost in all |
//! | `numbers` | once a second | `t`, `clients`, `pushes`, and of this process and of each one beside, as `here` and `beside.NAME`: `threads`, `resident` and `stacks` (KiB), and the counters `cpu` (ms), `voluntary`, `involuntary` |
//! | `crowd` | when it has changed | how many clients the lab itself has at each place, and the `names` of those at this server |
//! | `note` | when an order could not be carried out | a sentence |
//!
//! An event has `t`, `thread`, `is`, and mostly `client`:
//!
//! | `is` | other fields | event |
//! |---|---|---|
//! | `accepted` | | `listener` has a new client |
//! | `opened` | `target` | the 101 is written |
//! | `begins`, `ends` | `method`; `panicked` | a handler's method |
//! | `reads`, `wakes` | | the client's thread blocks in `read`; it has something, or the end |
//! | `waits` | | it does not read until its client has taken some of its backlog |
//! | `push` | `to` (ms), `wrote`, `queued` (client numbers), `frames` | a thread wrote to these clients' sockets itself, and left frames to the writers of the queued ones |
//! | `pump`, `pumped` | | a pump (or writer) has started; it has ended |
//! | `slow` | `backlog` | disconnected for its backlog |
//! | `closed` | `code` | the WebSocket is over |
//! | `gone` | | the thread is over |
//!
//! # To the server: text
//!
//! | order | effect |
//! |---|---|
//! | `say NAME TEXT` | the lab's client NAME sends `sleep 3000`, `spin 3000` or `panic` |
//! | `come PLACE N` | N more clients of the lab, `here` or at a server beside |
//! | `leave PLACE` | they all leave at once |
//! | `storm PLACE` | they all leave at once, and as many come |
//! | `flood` | a client comes that sends messages as fast as it can, for three seconds |
//! | `stall` | a client comes that asks for echoes and never reads one |
//! | `start` | the first six come, if the lab has no clients at this server |
//! | `start again` | all leave, the stalled ones too, and the first six come |

pub mod beside;
pub mod commands;
pub mod echo;
pub mod page;
pub mod proc;
pub mod visitor;
pub mod lanes;
pub mod recorder;
pub mod batch;
pub mod numbers;
pub mod orders;
pub mod events;
pub mod nuisance;
pub mod crowd;
pub mod watch;
pub mod setup;
