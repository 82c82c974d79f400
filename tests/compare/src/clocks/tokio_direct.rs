//! The fastest clock on tokio: the broadcasting task itself writes to the sockets.
//!
//! It encodes a frame once. `try_write` puts it into the socket of each client without waking that client's task; the
//! rest of a frame that does not fit waits in the client's outbox, and only then its task wakes. With several workers,
//! as many tasks share a large crowd.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::clocks::options::ClockOptions;
use crate::clocks::tokio_outbox::{Duplex, Outbox};
use crate::clocks::tokio_server::{Route, accept, echo, upgrade};
use crate::frame;
use crate::program::commands;

/// The fewest clients that are worth another task.
const CLIENTS_PER_TASK: usize = 256;

/// Written by the clients' tasks as they come and go, read by the broadcasting one.
type Clients = Arc<Mutex<HashMap<String, Arc<Outbox>>>>;

/// Accepts forever, and broadcasts from a separate task.
pub(crate) async fn serve(listener: TcpListener, options: ClockOptions, workers: usize) {
    let clients = Clients::default();
    tokio::spawn(broadcast(Arc::clone(&clients), options, workers));
    loop {
        let outbox = Arc::new(Outbox::new(accept(&listener).await));
        tokio::spawn(welcome(outbox, Arc::clone(&clients)));
    }
}

/// Writes the time to every client, once per interval.
async fn broadcast(clients: Clients, options: ClockOptions, workers: usize) {
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let frame: Arc<[u8]> = frame::text(&options.payload(), None).into();
        let crowd: Vec<_> = lock(&clients).values().map(Arc::clone).collect();
        let share = crowd.len().div_ceil(workers).max(CLIENTS_PER_TASK);
        if crowd.len() <= share {
            push(&crowd, &frame);
            continue;
        }
        let mut tasks = JoinSet::new();
        for share in crowd.chunks(share) {
            let (share, frame) = (share.to_vec(), Arc::clone(&frame));
            tasks.spawn(async move { push(&share, &frame) });
        }
        tasks.join_all().await;
    }
}

/// Writes a frame to each of these clients. A client that cannot take it ends itself.
fn push(clients: &[Arc<Outbox>], frame: &[u8]) {
    for client in clients {
        let _ = client.push(frame);
    }
}

/// Upgrades a client, registers it, and leaves it to a task that is as small as its job.
async fn welcome(outbox: Arc<Outbox>, clients: Clients) {
    match upgrade(Duplex(Arc::clone(&outbox))).await {
        Some((socket, Route::Clock(id))) => {
            lock(&clients).insert(id.clone(), Arc::clone(&outbox));
            tokio::spawn(tell_time(socket, outbox, id, clients));
        }
        Some((socket, Route::Echo)) => {
            tokio::spawn(async move {
                tokio::select! {
                    () = echo(socket) => {}
                    () = outbox.finish_writes() => {}
                }
            });
        }
        None => {}
    }
}

/// A client's life: handles frames from its peer, finishes writes that did not fit.
async fn tell_time(mut socket: WebSocketStream<Duplex>, outbox: Arc<Outbox>, id: String, clients: Clients) {
    let read = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                commands::run(&text);
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = outbox.finish_writes() => {}
    }
    let mut clients = lock(&clients);
    if clients.get(&id).is_some_and(|registered| Arc::ptr_eq(registered, &outbox)) {
        clients.remove(&id);
    }
}

/// The clients, even if a task has panicked while it held the lock.
fn lock(clients: &Clients) -> MutexGuard<'_, HashMap<String, Arc<Outbox>>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}
