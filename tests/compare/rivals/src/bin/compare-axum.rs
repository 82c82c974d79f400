//! The clock on axum, as axum's chat example broadcasts: one `tokio::sync::broadcast` channel for all, to which each
//! client's task subscribes. A client that lags behind by more than the channel holds is disconnected.
//!
//! Best settings: a small read buffer instead of 128 KiB, no write buffer, TCP_NODELAY, tokio's default of a worker for
//! each core. The example spawns two tasks for each client; here a task awaits both halves, which costs less.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Parser;
use compare_rivals::{BACKLOG, version};
use futures_util::{SinkExt, StreamExt};
use threadcast_compare::clocks::options::ClockOptions;
use threadcast_compare::command_line;
use threadcast_compare::program::commands;
use tokio::net::TcpSocket;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

/// Messages that the channel holds for the slowest client, as in the example.
const WAITING: usize = 100;
/// Bytes that are reserved for reading, for each client: as many as threadcast lets it have.
const READ_BUFFER: usize = 256;

/// A clock on axum
#[derive(Parser)]
#[command(name = "axum", version = version("axum"))]
struct Options {
    #[command(flatten)]
    clock: ClockOptions,
}

#[tokio::main]
async fn main() {
    if let Err(error) = serve(command_line::options::<Options>().clock).await {
        eprintln!("compare-axum: {error}");
        std::process::exit(1);
    }
}

async fn serve(options: ClockOptions) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(options.address())?;
    let listener = socket.listen(BACKLOG)?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let (ticks, _) = broadcast::channel(WAITING);
    tokio::spawn(push(ticks.clone(), options));
    let router = Router::new().route("/websocket", get(clock)).route("/echo", get(echo)).with_state(ticks);
    axum::serve(listener, router).await
}

/// Sends the time to the channel, once each interval.
async fn push(ticks: broadcast::Sender<Utf8Bytes>, options: ClockOptions) {
    let mut due = tokio::time::interval(options.interval.max(Duration::from_millis(1)));
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        due.tick().await;
        // It only fails if nobody listens.
        let _ = ticks.send(options.payload().into());
    }
}

async fn clock(
    upgrade: WebSocketUpgrade,
    Query(query): Query<HashMap<String, String>>,
    State(ticks): State<broadcast::Sender<Utf8Bytes>>,
) -> Response {
    // The channel knows the connected clients; only a program with private messages needs a name.
    let _id = query.get("Id");
    small(upgrade).on_upgrade(move |socket| tell_time(socket, ticks.subscribe()))
}

async fn tell_time(socket: WebSocket, mut ticks: broadcast::Receiver<Utf8Bytes>) {
    let (mut sender, mut receiver) = socket.split();
    let send = async {
        while let Ok(text) = ticks.recv().await {
            if sender.send(Message::Text(text)).await.is_err() {
                break;
            }
        }
    };
    let receive = async {
        while let Some(Ok(message)) = receiver.next().await {
            if let Message::Text(text) = message {
                commands::run(&text);
            }
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    small(upgrade).on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
            if is_data && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

fn small(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(0)
}
