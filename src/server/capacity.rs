//! How many clients this machine can hold, and which limit binds.
//!
//! A failed `spawn` is not a safe signal: past the limit of memory mappings a Rust thread that has *started* can abort
//! the process (rust-lang/rust#78497). A thread takes 4 mappings, or 2 after [`begin_again`](crate::begin_again()). A
//! failed allocation is not a safe signal either: it aborts as well. So the server reads every limit in advance, and
//! keeps a reserve.
//!
//! # The formula
//!
//! The capacity is the smallest of these numbers, less the places for requests beyond the clients.
//!
//! - Descriptors, mappings, threads: the limit less a reserve, which is at most a quarter of it, by what a
//!   client takes of it, and the [`pumps`] that there may be.
//! - Bytes: of what is left below the limit when the server starts, **half is for clients, a quarter for what
//!   is buffered** for and from them, and a quarter is the reserve: for pumps, for the kernel's buffers of the
//!   sockets, and for all that is not counted. A client is counted as
//!   - [`THREAD_MEMORY`] for each of its threads and [`CLIENT_MEMORY`], where memory is limited: the control
//!     group's (`memory.max`), or the machine's (`MemAvailable`);
//!   - its stacks, [`THREAD_SPACE`] for each and [`CLIENT_HEAP`], where addresses are: the process's own
//!     (`RLIMIT_AS`, `RLIMIT_DATA`), or those that the kernel may promise (`vm.overcommit_memory=2`). From
//!     addresses the server's own threads are taken first, and glibc's arenas: 64 MiB for each of up to 8 a
//!     core, whether used or not.
//!
//! Where a limit cannot be read, the number is at most [`FALLBACK`]; the other limits still hold.
//!
//! The application's memory for each client is added to a client's cost, and the program's own memory is subtracted
//! first.

mod mappings;

use std::fs;

use crate::connection::settings::Settings;
use crate::machine::{Limit, Limits};
use crate::net::seal::Delivery;
use crate::net::thread_budget::pumps;
use crate::server::application::Application;
use crate::server::settings::ServerSettings;
use crate::server::state::SPARE_PLACES;

/// Mappings left to the rest of the process: its code, heap, the allocator's arenas.
const MAPPING_RESERVE: u64 = 1024;
/// Threads left to the server's own threads, and to other processes under the same limit.
const THREAD_RESERVE: u64 = 256;
/// Descriptors left to the listener, the log, files being served, and clients that wait or are rejected.
const DESCRIPTOR_RESERVE: u64 = 128;
/// Upper bound of the reserve, as a part of the limit.
const SMALL: u64 = 4;

/// Bytes of memory for one thread: 12 KiB of its stack, 16 of its kernel stack, 8 of the kernel for the thread
/// and its mappings.
const THREAD_MEMORY: u64 = 36 << 10;
/// Bytes of memory for a client in addition to its threads: its heap, and 4 KiB of the kernel for the socket.
const CLIENT_MEMORY: u64 = CLIENT_HEAP + (4 << 10);
/// Bytes of memory that TLS takes for one client.
#[cfg(feature = "tls")]
const TLS_MEMORY: u64 = 16 << 10;
/// Bytes of heap for one client, including the allocator's cache for its thread.
const CLIENT_HEAP: u64 = 8 << 10;
/// Bytes of addresses for one thread in addition to its stack: its signal stack, and two guard pages.
const THREAD_SPACE: u64 = 32 << 10;
/// Bytes of addresses for one of the server's own threads, which have Rust's usual stack.
const SERVER_THREAD_SPACE: u64 = (2 << 20) + THREAD_SPACE;
/// The server's own threads, and one more for each core.
const SERVER_THREADS: u64 = 8;
/// Bytes of addresses that glibc takes for an arena.
const ARENA: u64 = 64 << 20;
/// The part of the free bytes that is for clients.
const CLIENTS_PART: u64 = 2;
/// The part of the free bytes that is for buffers.
const BUFFERS_PART: u64 = 4;
/// The least bytes for buffers: a server without buffers cannot serve a client.
const LEAST_BUFFERS: u64 = 1 << 20;

/// Places where limits cannot be read, such as outside Linux: for 1000 clients.
const FALLBACK: u64 = 1000 + SPARE_PLACES as u64;
/// Bytes for buffers where limits cannot be read.
const FALLBACK_BUFFERS: u64 = 64 << 20;

/// The most concurrent clients, and which limit sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capacity {
    /// The most concurrent clients: WebSockets, or connections that may become one. In addition, there are 16 places
    /// for requests, so that a full server answers its health checks.
    pub clients: usize,
    /// The limit that binds.
    pub limit: Limit,
    /// The limit that would bind next if that one were raised, and the number of clients that it allows.
    pub next: Option<(usize, Limit)>,
}

impl Capacity {
    /// At most this number of clients, whatever the machine allows.
    pub const fn new(clients: usize) -> Capacity {
        Capacity { clients, limit: Limit::Chosen, next: None }
    }

    /// Raises the soft limit of descriptors to the hard one, and reads what this machine allows. With
    /// [`Delivery::Handoff`](crate::Delivery::Handoff) every client has two threads; where addresses are limited,
    /// the [stack size](Application::stack_size) counts.
    pub fn of_this_machine(application: &Application) -> Capacity {
        let settings = &application.settings;
        let mappings = mappings::of_a_thread(settings.stack_size);
        let limits = limits_for(settings);
        limits.capacity(&ClientCost::new(&application.connections, settings, mappings))
    }
}

/// Bytes that may be buffered for all clients together: backlogs, bodies, and messages that are not whole.
pub(crate) fn buffers_of_this_machine(settings: &ServerSettings) -> u64 {
    limits_for(settings).buffers()
}

/// Returns what the machine allows, less the program's own use. Use that will end does not count.
fn limits_for(settings: &ServerSettings) -> Limits {
    let limits = Limits::of_this_machine().without(settings.other_memory);
    match settings.predecessor {
        Some(process) => {
            limits.when_gone(&fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default())
        }
        None => limits,
    }
}

/// The cost of a client.
struct ClientCost {
    delivery: Delivery,
    /// Mappings of each of its threads.
    mappings: u64,
    /// Bytes.
    memory: u64,
    space: u64,
}

impl ClientCost {
    fn new(connections: &Settings, settings: &ServerSettings, mappings: u64) -> ClientCost {
        let threads = connections.delivery.threads() as u64;
        let stack = settings.stack_size as u64;
        let tls = 0;
        #[cfg(feature = "tls")]
        let tls = if settings.tls.is_some() { TLS_MEMORY } else { tls };
        ClientCost {
            delivery: connections.delivery,
            mappings,
            memory: (CLIENT_MEMORY + threads * THREAD_MEMORY + tls).saturating_add(settings.client_memory),
            space: (CLIENT_HEAP + tls)
                .saturating_add(settings.client_memory)
                .saturating_add(threads.saturating_mul(stack.saturating_add(THREAD_SPACE))),
        }
    }

    /// Returns how many clients fit, with their pumps, if each thread takes `each`.
    fn most(&self, room: u64, each: u64) -> u64 {
        let takes = |clients: u64| {
            let pumps = pumps(usize::try_from(clients).unwrap_or(usize::MAX), self.delivery) as u64;
            clients.saturating_mul(self.delivery.threads() as u64).saturating_add(pumps).saturating_mul(each)
        };
        // The number of pumps grows with that of clients.
        let (mut enough, mut most) = (0, room / each);
        while enough < most {
            let middle = most - (most - enough) / 2;
            if takes(middle) <= room {
                enough = middle;
            } else {
                most = middle - 1;
            }
        }
        enough
    }
}

impl Limits {
    fn capacity(&self, client: &ClientCost) -> Capacity {
        let &ClientCost { mappings, memory, space, .. } = client;
        let after = |limit: u64, reserve: u64| limit - reserve.min(limit / SMALL);
        let threads = |limit: Option<u64>, reserve: u64, each: u64| {
            limit.map(|limit| client.most(after(limit, reserve), each))
        };
        let within = |left: Option<u64>, each: u64| left.map(|left| left / CLIENTS_PART / each);
        let rows = [
            (self.descriptors.map(|limit| after(limit, DESCRIPTOR_RESERVE)), Limit::Descriptors),
            (threads(self.mappings, MAPPING_RESERVE, mappings), Limit::Mappings),
            (threads(self.system_threads, THREAD_RESERVE, 1), Limit::SystemThreads),
            (threads(self.thread_numbers, THREAD_RESERVE, 1), Limit::ThreadNumbers),
            (threads(self.user_threads, THREAD_RESERVE, 1), Limit::UserThreads),
            (threads(self.group_threads, THREAD_RESERVE, 1), Limit::GroupThreads),
            (within(self.address_space_for_clients(), space), Limit::AddressSpace { each: space }),
            (within(self.data, space), Limit::Data { each: space }),
            (within(self.commit, space), Limit::Commit { each: space }),
            (within(self.group_memory, memory), Limit::GroupMemory { each: memory }),
            (within(self.memory, memory), Limit::Memory { each: memory }),
            (self.unread.map(|_| FALLBACK), self.unknown()),
        ];
        let mut rows: Vec<_> = rows
            .into_iter()
            .filter_map(|(places, limit)| {
                let clients = places?.saturating_sub(SPARE_PLACES as u64).max(1);
                Some((usize::try_from(clients).unwrap_or(usize::MAX), limit))
            })
            .collect();
        rows.sort_by_key(|row| row.0);
        let mut rows = rows.into_iter();
        let (clients, limit) = rows.next().unwrap_or((FALLBACK as usize - SPARE_PLACES, self.unknown()));
        Capacity { clients, limit, next: rows.next() }
    }

    fn unknown(&self) -> Limit {
        Limit::Unknown { file: self.unread.unwrap_or("/proc") }
    }

    /// Returns the addresses that remain after the server's own threads and all arenas.
    fn address_space_for_clients(&self) -> Option<u64> {
        // While glibc makes an arena, it briefly takes twice its size.
        let arenas = if self.arenas == 0 { 0 } else { (self.arenas + 1) * ARENA };
        let server = (SERVER_THREADS + self.cores) * SERVER_THREAD_SPACE;
        self.address_space.map(|left| left.saturating_sub(arenas + server))
    }

    fn buffers(&self) -> u64 {
        let hidden = self.is_memory_hidden.then_some(FALLBACK_BUFFERS * BUFFERS_PART);
        let left = Limits { address_space: self.address_space_for_clients(), ..*self }.left();
        left.into_iter()
            .chain(hidden)
            .min()
            .map_or(FALLBACK_BUFFERS, |left| left / BUFFERS_PART)
            .max(LEAST_BUFFERS)
    }
}

#[cfg(test)]
mod tests;
