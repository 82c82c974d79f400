//! The clock in the usual style of tokio-tungstenite: a task and a bounded channel for each client.
//!
//! The broadcasting task puts the message, whose text is shared, into every channel; that wakes every client's task,
//! which encodes and writes it. The broadcast drops a client whose channel is full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::clocks::options::ClockOptions;
use crate::clocks::tokio_server::{Route, accept, echo, upgrade};
use crate::program::commands;

/// Messages that may wait for a client before it counts as too slow.
const BACKLOG: usize = 16;

/// A registered client: its channel, and how to end its task when it is too slow.
struct Client {
    messages: mpsc::Sender<Message>,
    task: AbortHandle,
}

/// Written by the clients' tasks as they come and go, read by the broadcasting one.
type Clients = Arc<Mutex<HashMap<String, Client>>>;

/// Accepts forever, and broadcasts from a separate task.
pub(crate) async fn serve(listener: TcpListener, options: ClockOptions, tls: Option<TlsAcceptor>) {
    let clients = Clients::default();
    tokio::spawn(broadcast(Arc::clone(&clients), options));
    loop {
        let stream = accept(&listener).await;
        let clients = Arc::clone(&clients);
        match &tls {
            None => drop(tokio::spawn(welcome(stream, clients))),
            Some(tls) => {
                let handshake = tls.accept(stream);
                tokio::spawn(async {
                    // Ignores a client whose TLS handshake fails.
                    if let Ok(stream) = handshake.await {
                        welcome(stream, clients).await;
                    }
                });
            }
        }
    }
}

/// Puts the time into every channel, once per interval.
async fn broadcast(clients: Clients, options: ClockOptions) {
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let message = Message::text(options.payload());
        lock(&clients).retain(|_, client| {
            let taken = client.messages.try_send(message.clone()).is_ok();
            if !taken {
                client.task.abort();
            }
            taken
        });
    }
}

/// Upgrades a client, registers it, and leaves it to a task that is as small as its job.
async fn welcome<S>(stream: S, clients: Clients)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match upgrade(stream).await {
        Some((socket, Route::Clock(id))) => {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            let registered = Arc::clone(&clients);
            let mut clients = lock(&clients);
            let task = tokio::spawn(tell_time(socket, receiver, id.clone(), registered));
            let client = Client { messages: sender, task: task.abort_handle() };
            clients.insert(id, client);
        }
        Some((socket, Route::Echo)) => {
            tokio::spawn(echo(socket));
        }
        None => {}
    }
}

/// A client's life: writes messages from its channel, handles frames from its peer.
async fn tell_time<S>(
    mut socket: WebSocketStream<S>,
    mut messages: mpsc::Receiver<Message>,
    id: String,
    clients: Clients,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => if socket.send(message).await.is_err() { break },
                None => return, // replaced by a newer client, or dropped as too slow
            },
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) => commands::run(&text),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    messages.close();
    let mut clients = lock(&clients);
    if clients.get(&id).is_some_and(|client| client.messages.is_closed()) {
        clients.remove(&id);
    }
}

/// The clients, even if a task has panicked while it held the lock.
fn lock(clients: &Clients) -> MutexGuard<'_, HashMap<String, Client>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}
